//! Metrics in the text format of Prometheus.

use std::{fs, sync::Arc};

use prometheus::{
    Encoder as _, Histogram, HistogramOpts, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
    TextEncoder,
};

use crate::services::Services;

/// The metrics of the process. Their labels have few values, and none is of a tenant.
#[derive(Debug)]
pub(crate) struct Metrics {
    registry: Registry,
    /// By method and class of the status, such as `2xx`.
    requests: IntCounterVec,
    latency: Histogram,
    messages: IntGaugeVec,
    table_bytes: IntGauge,
    syncs: IntGauge,
    memory: IntGauge,
}

impl Metrics {
    /// # Errors
    ///
    /// Never: the names are valid and different.
    pub(crate) fn new() -> prometheus::Result<Self> {
        let requests = IntCounterVec::new(
            Opts::new(
                "aias_http_requests_total",
                "Requests, by method and class of the status",
            ),
            &["method", "status"],
        )?;
        let latency = Histogram::with_opts(
            HistogramOpts::new("aias_http_request_seconds", "Time to respond to a request")
                .buckets(vec![
                    0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 5.0,
                ]),
        )?;
        let messages = IntGaugeVec::new(
            Opts::new(
                "aias_queue_messages",
                "Messages of the runs queue, by state",
            ),
            &["state"],
        )?;
        let table_bytes = IntGauge::new("aias_table_bytes", "Size of the table's file")?;
        let syncs = IntGauge::new(
            "aias_disk_syncs",
            "Syncs of the table's log since the start",
        )?;
        let memory = IntGauge::new(
            "process_resident_memory_bytes",
            "Memory of the process, without its children",
        )?;
        let registry = Registry::new();
        registry.register(Box::new(requests.clone()))?;
        registry.register(Box::new(latency.clone()))?;
        registry.register(Box::new(messages.clone()))?;
        registry.register(Box::new(table_bytes.clone()))?;
        registry.register(Box::new(syncs.clone()))?;
        registry.register(Box::new(memory.clone()))?;
        Ok(Self {
            registry,
            requests,
            latency,
            messages,
            table_bytes,
            syncs,
            memory,
        })
    }

    /// Counts a response.
    pub(crate) fn count(&self, method: &http::Method, status: u16, seconds: f64) {
        let method = match method.as_str() {
            known @ ("GET" | "HEAD" | "POST" | "PUT" | "PATCH" | "DELETE" | "OPTIONS") => known,
            _ => "other",
        };
        let class = format!("{}xx", status / 100);
        self.requests
            .with_label_values(&[method, class.as_str()])
            .inc();
        self.latency.observe(seconds);
    }

    /// All metrics as text.
    ///
    /// # Errors
    ///
    /// Never: the metrics are well-formed.
    pub(crate) fn text(&self, services: &Arc<Services>) -> prometheus::Result<String> {
        let depth = services.queue.depth();
        for (state, count) in [
            ("ready", depth.ready),
            ("in_flight", depth.in_flight),
            ("delayed", depth.delayed),
            ("dead", depth.dead),
        ] {
            let gauge = self.messages.with_label_values(&[state]);
            gauge.set(i64::try_from(count).unwrap_or(i64::MAX));
        }
        let as_gauge = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        self.table_bytes.set(as_gauge(services.table.bytes()));
        self.syncs.set(as_gauge(services.table.sync.syncs()));
        self.memory.set(as_gauge(resident_bytes()));
        let mut text = Vec::new();
        TextEncoder::new().encode(&self.registry.gather(), &mut text)?;
        Ok(String::from_utf8_lossy(&text).into_owned())
    }
}

/// The resident memory of this process (Linux).
fn resident_bytes() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = line.and_then(|text| text.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    kilobytes.unwrap_or_default() * 1_024
}
