//! The price of a million webhooks, from counted calls and public prices.

use aias_tests::figures::Counts;
use serde::Deserialize;

/// Public prices, in dollars.
#[derive(Debug, Deserialize)]
pub(crate) struct Prices {
    pub(crate) as_of: String,
    pub(crate) region: String,
    pub(crate) source: String,
    gateway_http_api_per_million_requests: f64,
    lambda_per_million_requests: f64,
    pub(crate) lambda_arm64_per_gb_second: f64,
    dynamodb_per_million_write_units: f64,
    pub(crate) dynamodb_per_million_read_units: f64,
    sqs_per_million_requests: f64,
    s3_per_million_puts: f64,
    s3_per_million_gets: f64,
    logs_per_gb: f64,
}

impl Prices {
    pub(crate) fn read() -> Self {
        serde_json::from_str(include_str!("prices.json")).unwrap()
    }
}

/// One invocation: its counts, duration and memory.
#[derive(Debug, Clone)]
pub(crate) struct Invocation<'a> {
    pub(crate) counts: &'a Counts,
    pub(crate) billed_ms: f64,
    pub(crate) memory_mib: u32,
}

const MILLION: f64 = 1e6;
const GB: f64 = 1024.0 * 1024.0 * 1024.0;

/// Dollars per million webhooks, by service.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Cost {
    pub(crate) gateway: f64,
    pub(crate) lambda: f64,
    pub(crate) dynamodb: f64,
    pub(crate) sqs: f64,
    pub(crate) s3: f64,
    pub(crate) logs: f64,
    /// Log bytes per webhook.
    pub(crate) log_bytes: f64,
}

impl Cost {
    /// The names of the services.
    pub(crate) const LINES: [&str; 6] = ["gateway", "Lambda", "DynamoDB", "SQS", "S3", "logs"];

    pub(crate) fn lines(&self) -> [f64; 6] {
        [
            self.gateway,
            self.lambda,
            self.dynamodb,
            self.sqs,
            self.s3,
            self.logs,
        ]
    }

    pub(crate) fn total(&self) -> f64 {
        self.lines().iter().sum()
    }

    /// One invocation of `webhook-ingest`, and a `batch`-th of an invocation of the executor.
    pub(crate) fn of(
        prices: &Prices,
        ingest: &Invocation<'_>,
        executor: &Invocation<'_>,
        batch: u32,
    ) -> Self {
        let share = 1.0 / f64::from(batch);
        // Lambda receives and deletes the messages.
        let mut cost = Self {
            gateway: prices.gateway_http_api_per_million_requests,
            lambda: 0.0,
            dynamodb: 0.0,
            sqs: 2.0 * share * prices.sqs_per_million_requests,
            s3: 0.0,
            logs: 0.0,
            log_bytes: 0.0,
        };
        cost.add(prices, ingest, 1.0);
        cost.add(prices, executor, share);
        cost.logs = cost.log_bytes * MILLION / GB * prices.logs_per_gb;
        cost
    }

    fn add(&mut self, prices: &Prices, invocation: &Invocation<'_>, share: f64) {
        let counts = invocation.counts;
        let calls = |name: &str| {
            let of_name = |(call, times): (&String, &u32)| {
                call.starts_with(name).then_some(f64::from(*times))
            };
            counts.calls.iter().filter_map(of_name).sum::<f64>() * share
        };
        let gb_seconds =
            invocation.billed_ms.ceil() / 1e3 * f64::from(invocation.memory_mib) / 1024.0;
        self.lambda += share * prices.lambda_per_million_requests;
        self.lambda += share * gb_seconds * MILLION * prices.lambda_arm64_per_gb_second;
        self.dynamodb += share * counts.write_units * prices.dynamodb_per_million_write_units;
        self.dynamodb += share * counts.read_units * prices.dynamodb_per_million_read_units;
        self.sqs += calls("SQS.") * prices.sqs_per_million_requests;
        self.s3 += calls("S3.PUT") * prices.s3_per_million_puts;
        self.s3 += calls("S3.GET") * prices.s3_per_million_gets;
        self.log_bytes += share * counts.log_bytes as f64;
    }
}
