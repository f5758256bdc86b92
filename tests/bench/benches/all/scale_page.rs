//! `docs/scale.md`: the results of the simulation, and its plot.

use std::{fmt::Write as _, path::Path};

use crate::{
    cost::Prices,
    plot::{self, Line},
    scale::{Outage, Quotas, Service, SweptTenant, Tenants, simulate, sweep},
};

/// The measured input of the simulations.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Measured {
    pub(crate) service: Service,
    pub(crate) tenant: SweptTenant,
    /// The memory of the reconciler in `template.yaml`.
    pub(crate) reconciler_mib: u32,
}

/// Writes the page, and draws its plot.
pub(crate) fn of(measured: &Measured, prices: &Prices, plots: &Path) -> String {
    let service = &measured.service;
    let mut page = String::new();
    writeln!(
        page,
        "# Scale

For operators. This page is a simulation of the documented quotas (`tests/bench/benches/all/scale.rs`), since 100,000 events a second cannot
be generated locally. Its input is measured: {:.0} ms for a webhook, {:.0} ms for a batch of ten runs, {} write units for an event. It is
deterministic and written by `make bench`. *Default* is a new account; *raised* is one with 200,000 requests a second through API Gateway,
20,000 execution environments, a table without its initial limit, and `ExecutorConcurrency` 1,000. A provider retries a refused event after
a minute. No accepted event is lost, which the simulation checks.
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
            "## {title}\n\n| events/s | tenants | accepted/s | refused | largest backlog | processed after | longest wait | dollars per hour | limit |\n|---|---|---|---|---|---|---|---|---|"
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
        "## Ten minutes without a dependency\n\nA million tenants, default quotas at 100 events a second, raised ones above. Without DynamoDB or SQS no event is accepted, and\nproviders retry. Without S3 events are accepted and wait. A failed message is received again after `RunsQueueVisibilitySeconds`, at most five\ntimes, so that ten minutes do not reach the dead-letter queue.\n\n| events/s | without | refused | largest backlog | processed after the start of the outage | limit |\n|---|---|---|---|---|---|"
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

## How to raise a limit

| limit | raised by |
|---|---|
| requests a second through API Gateway | the account's quota *Throttle rate* of API Gateway |
| execution environments of webhook-ingest | the account's quota *Concurrent executions* of Lambda; Lambda adds 1,000 in ten seconds |
| concurrent batches of the executor | the parameter `ExecutorConcurrency`; the pollers of the queue start with 5 and grow by 300 a minute |
| write units a second of the table | the account's quota for a table; pre-warm the table before a large event |
| the partitions of one tenant's runs | nothing: the runs of one enterprise tenant on one day are in 32 partitions with 1,000 write units a second each |
| events a second of the plan | the plan: `enterprise` allows 8,000 |"
    )
    .unwrap();
    sweeps(&mut page, measured, prices);
    page
}

/// The sweeps of the reconciler.
fn sweeps(page: &mut String, measured: &Measured, prices: &Prices) {
    let tenant = &measured.tenant;
    writeln!(
        page,
        "
## Sweeps of the reconciler

The reconciler finds the pending runs whose message was lost: a sweep checks each tenant that had an event in the hour (decision
[0027](decisions/0027-check-each-run-once-in-sweeps.md)). Measured for a tenant on the free plan: {:.2} ms of CPU, {:.0} calls, {:.0} read units. The longest
delay is that of a run that was accepted right after the start of a sweep. The next sweep waits nine times as long as the last one took, at
most ten minutes.

| active tenants | `MemorySize` | a sweep takes | passes | a lost message is sent again after at most | dollars per month |
|---|---|---|---|---|---|",
        tenant.cpu_s * 1e3,
        tenant.calls,
        tenant.units
    )
    .unwrap();
    for tenants in [1e3, 1e4, 1e5, 1e6] {
        for memory_mib in [f64::from(measured.reconciler_mib), 1_769.0] {
            let swept = sweep(tenants, memory_mib, tenant, prices);
            writeln!(
                page,
                "| {tenants} | {memory_mib} | {:.1} min | {} | {:.0} min | {:.2} |",
                swept.duration / 60.0,
                swept.passes,
                swept.found_after / 60.0,
                swept.cost
            )
            .unwrap();
        }
    }
}
