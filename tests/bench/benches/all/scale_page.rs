//! `docs/scale.md`: the results of the simulation, and its plot.

use std::{fmt::Write as _, path::Path};

use crate::{
    plot::{self, Line},
    scale::{Outage, Quotas, Service, Tenants, simulate},
};

/// Writes the page for the measured cost of one event, and draws its plot.
pub(crate) fn of(service: &Service, plots: &Path) -> String {
    let mut page = String::new();
    writeln!(
        page,
        "# Scale

No machine here makes 100,000 events a second. This page is a simulation of the documented quotas (`tests/bench/benches/all/scale.rs`),
fed with what was measured: {:.0} ms for a webhook, {:.0} ms for a batch of ten runs, {} write units for an event. It is
deterministic; `make bench` makes it anew. *Default* is an account that requested for nothing; *raised* is one with 200,000 requests a second
at the gateway, 20,000 environments, a table without its first limit, and `ExecutorConcurrency` at 1,000. A provider sends what was
refused again after a minute; nothing that was taken is ever lost, and the simulation checks that it adds up.
",
        service.ingest_s * 1e3,
        service.batch_s * 1e3,
        service.units
    )
    .unwrap();
    let seconds =
        |after: Option<f64>| after.map_or_else(|| "never".to_owned(), |s| format!("{s:.0} s"));
    for (title, quotas) in [
        ("Default quotas", Quotas::DEFAULT),
        ("Raised quotas", Quotas::RAISED),
    ] {
        writeln!(
            page,
            "## {title}\n\n| events/s | of | taken/s | refused | backlog at most | gone after | waits at most | dollars for the hour | what is at its limit |\n|---|---|---|---|---|---|---|---|---|"
        )
        .unwrap();
        for rate in [100.0, 10_000.0, 100_000.0] {
            for (tenants, of) in [
                (Tenants::One, "one tenant"),
                (Tenants::Million, "a million tenants"),
            ] {
                let went = simulate(rate, tenants, Outage::None, &quotas, service);
                writeln!(
                    page,
                    "| {rate} | {of} | {:.0} | {:.0} % | {:.0} | {} | {:.1} s | {:.2} | {} |",
                    went.taken_rate,
                    went.refused * 100.0,
                    went.backlog,
                    seconds(went.drained_after),
                    went.longest_wait,
                    went.cost,
                    went.bound
                )
                .unwrap();
            }
        }
        writeln!(page).unwrap();
    }
    writeln!(
        page,
        "## Ten minutes without a dependency\n\nA million tenants, default quotas at 100 events a second, raised ones above. Without DynamoDB or SQS nothing is taken, and providers\nsend again; without S3 events are taken and wait. A message that fails is seen again after `RunsQueueVisibilitySeconds`, five times at most, so\nthat ten minutes are short of the dead-letter queue.\n\n| events/s | without | refused | backlog at most | gone after the outage started | what is at its limit |\n|---|---|---|---|---|---|"
    )
    .unwrap();
    let mut lines = Vec::new();
    for rate in [100.0, 10_000.0, 100_000.0] {
        let quotas = if rate > 100.0 {
            Quotas::RAISED
        } else {
            Quotas::DEFAULT
        };
        for (outage, of) in [
            (Outage::DynamoDb, "DynamoDB"),
            (Outage::Sqs, "SQS"),
            (Outage::S3, "S3"),
        ] {
            let went = simulate(rate, Tenants::Million, outage, &quotas, service);
            writeln!(
                page,
                "| {rate} | {of} | {:.0} % | {:.0} | {} | {} |",
                went.refused * 100.0,
                went.backlog,
                seconds(went.drained_after),
                went.bound
            )
            .unwrap();
            if rate > 1e3 && rate < 1e5 {
                lines.push(Line {
                    name: format!("without {of}"),
                    points: went.course,
                });
            }
        }
    }
    plot::lines(
        &plots.join("backlog.svg"),
        "Ten minutes without a dependency, 10,000 events a second",
        ("seconds", "taken, not ended"),
        &lines,
    );
    writeln!(
        page,
        "\n![backlog](plots/backlog.svg)

## What moves it

| at its limit | what moves it |
|---|---|
| the gateway's requests a second | the account's quota *Throttle rate* of API Gateway |
| environments of webhook-ingest | the account's quota *Concurrent executions* of Lambda; it grows by 1,000 in ten seconds by itself |
| batches of the executor at once | the parameter `ExecutorConcurrency`; the queue's pollers begin with 5 and grow by 300 a minute |
| the table's write units a second | the account's quota of the table; the table is warmed before a large day |
| the partitions of one tenant's runs | nothing: a day's runs of one tenant are in 16 partitions of 1,000 write units a second each |
| the plan's events a second | the plan: `enterprise` allows 8,000 |"
    )
    .unwrap();
    page
}
