//! What happens at rates that no machine here can make: a simulator of the documented quotas, fed with
//! the service times that were measured. It is deterministic: the same figures, the same page.
//!
//! Time goes in steps of a tenth of a second. In each, what the gateway lets through is taken by as many
//! environments of `webhook-ingest` as Lambda gives by then, as far as DynamoDB's partitions go; what was
//! taken waits in the queue until the pollers and the environments of `executor` come to it. What is
//! refused is sent again by its provider, a minute later.

use aias_domain::{id::RUN_SHARDS, plan::PlanName};

/// The quotas, as documented for an account that asked for no other.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Quotas {
    /// Requests a second that the gateway lets through.
    pub(crate) gateway: f64,
    /// Environments of all functions together.
    pub(crate) environments: f64,
    /// Environments that one function gets in addition, a second: 1,000 in ten.
    pub(crate) more_environments: f64,
    /// Batches of the queue at once at first, and in addition, a second: 300 a minute.
    pub(crate) pollers: f64,
    pub(crate) more_pollers: f64,
    /// Batches at once at most: `ExecutorConcurrency`.
    pub(crate) executors: f64,
    /// Write units a second of one partition.
    pub(crate) partition: f64,
    /// Write units a second of the table.
    pub(crate) table: f64,
}

impl Quotas {
    /// As an account begins.
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

    /// With what can be asked for, and the parameter `ExecutorConcurrency` at its largest.
    pub(crate) const RAISED: Self = Self {
        gateway: 200_000.0,
        environments: 20_000.0,
        executors: 1_000.0,
        table: 2_000_000.0,
        ..Self::DEFAULT
    };
}

/// What one event takes, as it was measured.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Service {
    /// One invocation of `webhook-ingest`, in seconds.
    pub(crate) ingest_s: f64,
    /// One invocation of `executor` with ten messages, in seconds.
    pub(crate) batch_s: f64,
    /// Write units of an event until its run has ended.
    pub(crate) units: f64,
    /// Dollars.
    pub(crate) cost: f64,
}

/// Whose events they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tenants {
    /// All of one tenant, whose plan is the widest.
    One,
    /// Of a million, none of which is large.
    Million,
}

/// What does not answer for ten minutes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outage {
    None,
    DynamoDb,
    Sqs,
    S3,
}

/// Write units of a run's own item, when it is taken and when it ends: what those partitions take.
const OWN_UNITS: f64 = 3.0;

/// Messages of a batch.
const BATCH: f64 = 10.0;

const STEP: f64 = 0.1;

/// When an outage begins and how long it is, and how long it is looked at, in seconds.
const OUTAGE_AT: f64 = 300.0;
const OUTAGE: f64 = 600.0;
const SPAN: f64 = 3_600.0;

/// After how many seconds a provider sends again what was not taken.
const AGAIN: f64 = 60.0;

/// For how long a message that failed is not seen: `RunsQueueVisibilitySeconds`.
const VISIBILITY: f64 = 360.0;

/// What came of it.
#[derive(Debug, Clone)]
pub(crate) struct Went {
    /// Events a second that are taken at the end.
    pub(crate) taken_rate: f64,
    /// The largest number of taken events whose runs had not ended.
    pub(crate) backlog: f64,
    /// Until the backlog of the beginning or of the outage is gone, in seconds; none when it grows on.
    pub(crate) drained_after: Option<f64>,
    /// The longest that an event waited for its run, in seconds.
    pub(crate) longest_wait: f64,
    /// The share of all deliveries that was refused.
    pub(crate) refused: f64,
    /// Dollars for the hour.
    pub(crate) cost: f64,
    /// What is at its limit at the end, or was first.
    pub(crate) bound: &'static str,
    /// The backlog, a point every ten seconds.
    pub(crate) course: Vec<(f64, f64)>,
}

/// Goes through an hour.
pub(crate) fn simulate(
    rate: f64,
    tenants: Tenants,
    outage: Outage,
    quotas: &Quotas,
    service: &Service,
) -> Went {
    let steps = (SPAN / STEP) as usize;
    let again_steps = (AGAIN / STEP) as usize;
    let visibility_steps = (VISIBILITY / STEP) as usize;
    let mut again = vec![0.0; steps + again_steps.max(visibility_steps) + 1];
    let mut visible_again = again.clone();
    let partitions = match tenants {
        Tenants::One => f64::from(RUN_SHARDS) * quotas.partition,
        Tenants::Million => f64::INFINITY,
    };
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
        // The way in.
        let wanted = rate * STEP + again[step];
        ingesting = (ingesting + quotas.more_environments * STEP)
            .min(quotas.environments)
            .max(1.0);
        let limits = [
            (wanted, "nothing"),
            (quotas.gateway * STEP, "the gateway's requests a second"),
            (plan * STEP, "the plan's events a second"),
            (
                ingesting / service.ingest_s * STEP,
                "environments of webhook-ingest",
            ),
            (
                quotas.table / service.units * STEP,
                "the table's write units a second",
            ),
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
        // The way out.
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
                bound = "batches of the executor at once";
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
    Went {
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
