//! Simulates rates that cannot be generated here, from the documented quotas and the measured
//! service times. It is deterministic.
//!
//! Time advances in steps of a tenth of a second. In each step, the requests admitted by API
//! Gateway are accepted by as many execution environments of `webhook-ingest` as Lambda provides by
//! then, limited by the partitions of DynamoDB. Accepted events wait in the queue until the pollers
//! and environments of `executor` process them. A refused event is sent again by its provider a
//! minute later.
//!
//! The reconciler's sweep is simulated in passes: each checks tenants until its time is over, and the
//! next one starts with the next minute.

use aias_domain::{
    id::{INDEX_SHARDS, RUN_SHARDS},
    plan::PlanName,
};

use crate::cost::Prices;

/// The documented default quotas of an account.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Quotas {
    /// Requests a second through API Gateway.
    pub(crate) gateway: f64,
    /// Execution environments of all functions together.
    pub(crate) environments: f64,
    /// Additional environments of a function per second: 1,000 in ten seconds.
    pub(crate) more_environments: f64,
    /// Concurrent batches of the queue at first, and additional ones per second: 300 a minute.
    pub(crate) pollers: f64,
    pub(crate) more_pollers: f64,
    /// The most concurrent batches: `ExecutorConcurrency`.
    pub(crate) executors: f64,
    /// Write units a second of one partition.
    pub(crate) partition: f64,
    /// Write units a second of the table.
    pub(crate) table: f64,
}

impl Quotas {
    /// The quotas of a new account.
    pub(crate) const DEFAULT: Self = Self {
        gateway: 10_000.0,
        environments: 1_000.0,
        more_environments: 100.0,
        pollers: 5.0,
        more_pollers: 5.0,
        executors: 50.0,
        partition: 1_000.0,
        table: 40_000.0,
    };

    /// Quotas after a request to AWS, with the largest `ExecutorConcurrency`.
    pub(crate) const RAISED: Self = Self {
        gateway: 200_000.0,
        environments: 20_000.0,
        executors: 1_000.0,
        table: 2_000_000.0,
        ..Self::DEFAULT
    };
}

/// The measured cost of one event.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Service {
    /// One invocation of `webhook-ingest`, in seconds.
    pub(crate) ingest_s: f64,
    /// One invocation of `executor` with ten messages, in seconds.
    pub(crate) batch_s: f64,
    /// Write units of an event until the end of its run.
    pub(crate) units: f64,
    /// Dollars.
    pub(crate) cost: f64,
}

/// The distribution of events over tenants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tenants {
    /// One tenant with the largest plan.
    One,
    /// A million small tenants.
    Million,
}

/// A service that is unavailable for ten minutes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outage {
    None,
    DynamoDb,
    Sqs,
    S3,
}

/// Write units of a run's item, when it is created and when it ends. They are spread over the run
/// partitions.
const OWN_UNITS: f64 = 3.0;

/// Messages per batch.
const BATCH: f64 = 10.0;

const STEP: f64 = 0.1;

/// The start and the duration of an outage, and the simulated time, in seconds.
const OUTAGE_AT: f64 = 300.0;
const OUTAGE: f64 = 600.0;
const SPAN: f64 = 3_600.0;

/// Seconds until a provider retries a refused event.
const AGAIN: f64 = 60.0;

/// Seconds until a failed message is visible again: `RunsQueueVisibilitySeconds`.
const VISIBILITY: f64 = 360.0;

/// The results of a simulation.
#[derive(Debug, Clone)]
pub(crate) struct SimulationResult {
    /// Events accepted a second at the end.
    pub(crate) taken_rate: f64,
    /// The largest number of accepted events whose runs had not ended.
    pub(crate) backlog: f64,
    /// Seconds until the initial backlog, or that of an outage, was processed; none if it keeps
    /// growing.
    pub(crate) drained_after: Option<f64>,
    /// The longest time that an event waited for its run, in seconds.
    pub(crate) longest_wait: f64,
    /// The share of refused deliveries.
    pub(crate) refused: f64,
    /// Dollars per hour.
    pub(crate) cost: f64,
    /// The quota that is exhausted at the end, or was first.
    pub(crate) bound: &'static str,
    /// The backlog, every ten seconds.
    pub(crate) course: Vec<(f64, f64)>,
}

/// Simulates an hour.
pub(crate) fn simulate(
    rate: f64,
    tenants: Tenants,
    outage: Outage,
    quotas: &Quotas,
    service: &Service,
) -> SimulationResult {
    let steps = (SPAN / STEP) as usize;
    let again_steps = (AGAIN / STEP) as usize;
    let visibility_steps = (VISIBILITY / STEP) as usize;
    let mut again = vec![0.0; steps + again_steps.max(visibility_steps) + 1];
    let mut visible_again = again.clone();
    let partitions = match tenants {
        Tenants::One => f64::from(RUN_SHARDS) * quotas.partition,
        Tenants::Million => f64::INFINITY,
    };
    // A tenant's first event of an hour is written to the index of active tenants. Hours of tenants
    // begin at different times.
    let first_events = match tenants {
        Tenants::One => 1.0 / 3_600.0,
        Tenants::Million => 1_000_000.0 / 3_600.0,
    };
    let first_share = f64::min(first_events / rate, 1.0);
    let index = f64::from(INDEX_SHARDS) * quotas.partition / first_share;
    let plan = match tenants {
        Tenants::One => PlanName::Enterprise.limits().events_per_second as f64,
        Tenants::Million => f64::INFINITY,
    };
    let (mut queue, mut hidden) = (0.0_f64, 0.0_f64);
    let (mut ingesting, mut pollers) = (0.0_f64, quotas.pollers);
    let (mut taken_all, mut refused_all, mut ended_all) = (0.0_f64, 0.0_f64, 0.0_f64);
    let (mut backlog, mut longest_wait, mut last_busy) = (0.0_f64, 0.0_f64, 0.0_f64);
    let (mut bound, mut course, mut taken_rate) = ("nothing", Vec::new(), 0.0);
    for step in 0..steps {
        let now = step as f64 * STEP;
        let is_out = (OUTAGE_AT..OUTAGE_AT + OUTAGE).contains(&now);
        let takes = !(is_out && matches!(outage, Outage::DynamoDb | Outage::Sqs));
        let runs = !(is_out && outage != Outage::None);
        // Arriving events.
        let wanted = rate * STEP + again[step];
        ingesting = (ingesting + quotas.more_environments * STEP)
            .min(quotas.environments)
            .max(1.0);
        let limits = [
            (wanted, "nothing"),
            (
                quotas.gateway * STEP,
                "requests a second through API Gateway",
            ),
            (plan * STEP, "events a second of the plan"),
            (
                ingesting / service.ingest_s * STEP,
                "execution environments of webhook-ingest",
            ),
            (
                quotas.table / service.units * STEP,
                "write units a second of the table",
            ),
            (index * STEP, "the index of active tenants"),
            (
                partitions / OWN_UNITS * STEP,
                "the partitions of one tenant's runs",
            ),
        ];
        let (taken, why) = limits
            .into_iter()
            .fold((f64::INFINITY, "nothing"), |least, one| {
                if one.0 < least.0 { one } else { least }
            });
        let taken = if takes { taken } else { 0.0 };
        if takes && why != "nothing" {
            bound = why;
        }
        let refused = wanted - taken;
        again[step + again_steps] += refused;
        taken_all += taken;
        refused_all += refused;
        taken_rate = taken / STEP;
        queue += taken + visible_again[step];
        hidden -= visible_again[step];
        // Processed events.
        let most = quotas.executors.min(
            quotas.environments - (taken / STEP * service.ingest_s).min(quotas.environments - 1.0),
        );
        pollers = if queue > 0.0 {
            (pollers + quotas.more_pollers * STEP).min(most)
        } else {
            pollers.max(quotas.pollers).min(most)
        };
        let capacity = pollers * BATCH / service.batch_s * STEP;
        let received = queue.min(capacity);
        queue -= received;
        if runs {
            ended_all += received;
        } else {
            hidden += received;
            visible_again[step + visibility_steps] += received;
        }
        let waiting = queue + hidden;
        if runs && received > 0.0 && queue > 0.0 {
            longest_wait = longest_wait.max(queue / (capacity / STEP));
            if capacity < taken && bound == "nothing" {
                bound = "concurrent batches of the executor";
            }
        }
        if !runs {
            longest_wait = longest_wait.max(OUTAGE_AT + OUTAGE - now);
        }
        backlog = backlog.max(waiting);
        if waiting > rate * 1.0_f64.max(service.batch_s) {
            last_busy = now;
        }
        if step % 100 == 0 {
            course.push((now, waiting));
        }
    }
    let start = if outage == Outage::None {
        0.0
    } else {
        OUTAGE_AT
    };
    let is_drained = last_busy < SPAN - 10.0;
    assert!(
        (taken_all - ended_all - queue - hidden).abs() < 1.0,
        "events are lost in the simulation"
    );
    SimulationResult {
        taken_rate,
        backlog,
        drained_after: is_drained.then_some((last_busy - start).max(0.0)),
        longest_wait,
        refused: refused_all / (taken_all + refused_all).max(1.0),
        cost: ended_all * service.cost,
        bound,
        course,
    }
}

/// The measured cost of one tenant in a sweep.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SweptTenant {
    /// CPU time of a core, in seconds.
    pub(crate) cpu_s: f64,
    /// Calls of DynamoDB, one after another.
    pub(crate) calls: f64,
    /// Read units.
    pub(crate) units: f64,
}

/// A sweep over all tenants that were active in an hour.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SweepResult {
    /// From the start of its first pass to the end of its last one, in seconds.
    pub(crate) duration: f64,
    pub(crate) passes: u32,
    /// The longest time between the acceptance of a run whose message is lost and its new message,
    /// in seconds, if each sweep takes as long.
    pub(crate) found_after: f64,
    /// Dollars per month.
    pub(crate) cost: f64,
}

/// The mean latency of a call of DynamoDB within a region.
const CALL_S: f64 = 0.005;

/// Memory that has one core.
const CORE_MIB: f64 = 1_769.0;

/// `PassTimes::checking`, the interval of passes, and the constants of `reconciler::pending`, in
/// seconds.
const CHECKING: f64 = 200.0;
const INTERVAL: f64 = 60.0;
const RESEND_AFTER: f64 = 120.0;
const WAIT_FACTOR: f64 = 9.0;
const LONGEST_WAIT: f64 = 600.0;

/// Simulates a sweep with a function of this memory.
pub(crate) fn sweep(
    tenants: f64,
    memory_mib: f64,
    tenant: &SweptTenant,
    prices: &Prices,
) -> SweepResult {
    let core = (memory_mib / CORE_MIB).min(1.0);
    // The shards side by side, each with one tenant at a time; all of them share the core.
    let one_after_another = tenant.calls * CALL_S + tenant.cpu_s / core;
    let rate = (f64::from(INDEX_SHARDS) / one_after_another).min(core / tenant.cpu_s);
    let (mut left, mut now, mut busy, mut passes) = (tenants, 0.0, 0.0, 0);
    loop {
        passes += 1;
        let time = (left / rate).min(CHECKING);
        left -= time * rate;
        busy += time;
        now += time;
        if left < 1.0 {
            break;
        }
        now = (now / INTERVAL).ceil() * INTERVAL;
    }
    // A run that is accepted just after the time up to which a sweep checks is found by the next one.
    let wait = (now * WAIT_FACTOR).min(LONGEST_WAIT);
    let next_sweep = (((now + wait) / INTERVAL).floor() + 1.0) * INTERVAL;
    let month = 30.0 * 86_400.0 / next_sweep;
    let compute = busy * memory_mib / 1_024.0 * prices.lambda_arm64_per_gb_second;
    let reads = tenants * tenant.units * prices.dynamodb_per_million_read_units / 1e6;
    SweepResult {
        duration: now,
        passes,
        found_after: RESEND_AFTER + next_sweep + now,
        cost: month * (compute + reads),
    }
}
