//! Recovers work that other functions did not finish.
//!
//! One pass runs at a time: it takes a lease, which expires if the process dies.
//!
//! * **Each minute, pending runs:** the message of a run that is pending for two minutes is sent
//!   again, since the process that should have sent it may have died. Each run is checked once:
//!   the runs since the last check, of the tenants that had an accepted run since then. While
//!   messages wait in the queue, which explains why runs are pending, the check is postponed. A
//!   check of many tenants takes long, and the next one comes later.
//! * **Each minute, scheduled tasks:** a changed plan is applied; suspended runs are resumed,
//!   oldest first, at the event rate of the plan; completed runs are metered. Tasks that were
//!   missed during an outage are found for a week.
//! * **Each minute, wake-ups:** for each run that continues within the next quarter of an hour, a
//!   message is sent whose delay ends at that time.
//! * **An operator** sets or removes the enterprise plan of a tenant by invoking this function
//!   (`docs/operations.md`).
//! * **A dead-lettered message:** its run is faulted with the reason, and can be retried. A message
//!   that cannot be parsed stays in the queue for an operator.

mod dead_letters;
mod enterprise;
mod error;
mod meter;
mod pending;
mod resume;
mod scheduled_tasks;
mod wake;

use std::time::Duration;

use aias_billing::Stripe;
use aias_platform::{
    aws::SdkConfig,
    blobs::Blobs,
    clock::Clock,
    config::Env,
    queue::Queue,
    runs::Intake,
    secrets::Secret,
    sqs::{self, SqsBatchResponse, SqsEvent},
    store::{DueWork, Progress, Store},
    telemetry::ErrorChain,
};
use jiff::SignedDuration;
use serde::Deserialize;

pub use enterprise::{Enterprise, EnterpriseError};

#[derive(Debug)]
pub struct App {
    intake: Intake,
    stripe: Stripe,
    clock: Clock,
    times: PassTimes,
}

/// How long the parts of a pass may take.
#[derive(Debug, Clone, Copy)]
pub struct PassTimes {
    /// Resuming suspended runs.
    pub resuming: Duration,
    /// Checking pending runs; what is not complete by then is continued by the next pass.
    pub checking: SignedDuration,
}

impl Default for PassTimes {
    fn default() -> Self {
        Self {
            resuming: Duration::from_secs(45),
            checking: SignedDuration::from_secs(200),
        }
    }
}

/// How long a pass may take; the function's timeout.
const PASS: SignedDuration = SignedDuration::from_secs(300);
/// How far back the first pass of an installation checks.
const FIRST_LOOK_BACK: SignedDuration = SignedDuration::from_hours(2);

impl App {
    /// From `TABLE_NAME`, `BUCKET_NAME`, `RUNS_QUEUE_URL`, `STRIPE_API_KEY_ARN` and
    /// `STRIPE_API_URL`.
    #[must_use]
    pub fn load(aws: &SdkConfig, env: &Env) -> Self {
        let intake = Intake::new(
            Store::new(aws, env.text("TABLE_NAME")),
            Blobs::new(aws, env.text("BUCKET_NAME")),
            Queue::new(aws, env.text("RUNS_QUEUE_URL")),
        );
        let key = Secret::new(aws, env.text("STRIPE_API_KEY_ARN"));
        let stripe = Stripe::new(&env.text("STRIPE_API_URL"), key);
        Self::new(intake, stripe, Clock::system(), PassTimes::default())
    }

    #[must_use]
    pub fn new(intake: Intake, stripe: Stripe, clock: Clock, times: PassTimes) -> Self {
        Self {
            intake,
            stripe,
            clock,
            times,
        }
    }
}

/// The events that invoke the function.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub enum Event {
    Dead(SqsEvent),
    Enterprise(Enterprise),
    Schedule(Schedule),
}

/// Only the type of the scheduled event matters.
#[derive(Debug, Deserialize)]
pub struct Schedule {
    /// The name in the event of `EventBridge`.
    #[serde(rename = "detail-type")]
    pub detail_type: String,
}

/// Handles an event.
///
/// # Errors
///
/// Only for an operator, who sees the response.
pub async fn handle(app: &App, event: Event) -> Result<SqsBatchResponse, EnterpriseError> {
    match event {
        Event::Dead(event) => {
            Ok(sqs::each(event, |record| dead_letters::fault_run(app, record)).await)
        }
        Event::Enterprise(change) => {
            enterprise::set(app, change).await?;
            Ok(SqsBatchResponse::default())
        }
        Event::Schedule(_) => {
            pass(app, pending::RESEND_AFTER, false).await;
            Ok(SqsBatchResponse::default())
        }
    }
}

/// Runs the first pass of a process that is alone, which also sends the messages of runs that were
/// just created: no other process sends them.
pub async fn start(app: &App) {
    pass(app, SignedDuration::ZERO, true).await;
}

/// One pass, unless another one is under way. Runs that are pending for `age` are sent again.
async fn pass(app: &App, age: SignedDuration, alone: bool) {
    let (store, now) = (&app.intake.store, app.clock.now());
    let lease = match store.begin_pass(now, now + PASS, alone).await {
        Ok(Some(lease)) => lease,
        Ok(None) => {
            tracing::info!(event = "pass_under_way");
            return;
        }
        Err(error) => {
            tracing::error!(event = "pass_failed", error = %ErrorChain(&error));
            return;
        }
    };
    let mut progress = lease.progress.clone().unwrap_or(Progress {
        checked_until: now - FIRST_LOOK_BACK,
        sweep: None,
        next_sweep: None,
    });
    let due = store.due_work(now, wake::AHEAD, progress.checked_until);
    let DueWork { tasks, wakes } = due.await.unwrap_or_else(|error| {
        tracing::error!(event = "due_work_unreadable", error = %ErrorChain(&error));
        DueWork::default()
    });
    wake::send_wakeups(app, wakes).await;
    // Before the tasks: a run that one of them resumes was not pending for long.
    pending::resend(app, &mut progress, age, now + app.times.checking).await;
    scheduled_tasks::run_all(app, tasks).await;
    if let Err(error) = store.end_pass(lease, &progress).await {
        tracing::error!(event = "pass_failed", error = %ErrorChain(&error));
    }
}
