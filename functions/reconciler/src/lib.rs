//! Recovers work that other functions did not finish.
//!
//! * **Each minute, pending runs:** the message of a run that is pending for two minutes is sent
//!   again, since the process that should have sent it may have died. Only tenants with an accepted
//!   run in this hour or the previous one are checked, so idle tenants cost nothing; the runs of
//!   the last two hours are read.
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
    store::Store,
};
use serde::Deserialize;

pub use enterprise::{Enterprise, EnterpriseError};
pub use pending::resend_pending;

#[derive(Debug)]
pub struct App {
    intake: Intake,
    stripe: Stripe,
    clock: Clock,
    /// How long one pass resumes the suspended runs of a tenant.
    resume_for: Duration,
}

/// The passes start every minute.
const RESUME_FOR: Duration = Duration::from_secs(45);

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
        Self::new(intake, stripe, Clock::system(), RESUME_FOR)
    }

    #[must_use]
    pub fn new(intake: Intake, stripe: Stripe, clock: Clock, resume_for: Duration) -> Self {
        Self {
            intake,
            stripe,
            clock,
            resume_for,
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
            wake::send_wakeups(app).await;
            scheduled_tasks::run_all(app).await;
            resend_pending(app, pending::RESEND_AFTER).await;
            Ok(SqsBatchResponse::default())
        }
    }
}
