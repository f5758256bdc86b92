//! Finishes what nobody else does.
//!
//! * **Each minute:** runs that are pending for two minutes are asked for again. Their message may
//!   have been lost with the process that was to send it; to ask twice is harmless. The tenants to
//!   look at are those that had a run accepted in this hour or the one before, so a pass costs
//!   nothing for idle ones; of these it reads the last two hours.
//! * **Each minute, too:** what is due. A plan that has changed is settled; held runs go on, the
//!   oldest first, as fast as the plan takes events; completed ones are metered. What was due while
//!   nobody looked is found for a week.
//! * **Each minute, too:** the ends of long waits, those of the next quarter of an hour: each run is
//!   asked for by a message whose delay ends when its wait does.
//! * **An operator** gives a tenant the enterprise plan with limits of its own, or takes it away, by
//!   invoking this function (`docs/operations.md`).
//! * **A message in the dead-letter queue:** its run is faulted, with the reason in it, and can be
//!   retried. A message that cannot be read stays there for people to look at.

mod dead;
mod due;
mod enterprise;
mod meter;
mod resume;
mod stuck;
mod wake;

use std::time::Duration;

use aias_billing::Stripe;
use aias_platform::{
    aws::SdkConfig,
    batch::{self, SqsBatchResponse, SqsEvent},
    blobs::Blobs,
    clock::Clock,
    config::Env,
    queue::Queue,
    runs::Intake,
    secrets::Secret,
    store::Store,
};
use serde::Deserialize;

pub use enterprise::{Enterprise, NotSet};

/// What reconciling takes.
#[derive(Debug)]
pub struct App {
    intake: Intake,
    stripe: Stripe,
    clock: Clock,
    /// How long one pass lets a tenant's held runs go on: the next one comes in a minute.
    resume_for: Duration,
}

/// See [`App::new`].
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

    /// Of its parts; a pass lets a tenant's held runs go on for `resume_for`.
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

/// What it is woken by.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub enum Event {
    /// Messages in the dead-letter queue.
    Dead(SqsEvent),
    /// An operator.
    Enterprise(Enterprise),
    /// The schedule.
    Schedule(Schedule),
}

/// The schedule's event, of which nothing is needed but that it is one.
#[derive(Debug, Deserialize)]
pub struct Schedule {
    /// What `EventBridge` calls it.
    #[serde(rename = "detail-type")]
    pub detail_type: String,
}

/// Handles any of them.
///
/// # Errors
/// Only to an operator, who is there to be told.
pub async fn handle(app: &App, event: Event) -> Result<SqsBatchResponse, NotSet> {
    match event {
        Event::Dead(event) => Ok(batch::each(event, |record| dead::bury(app, record)).await),
        Event::Enterprise(wish) => {
            enterprise::set(app, wish).await?;
            Ok(SqsBatchResponse::default())
        }
        Event::Schedule(_) => {
            wake::ask(app).await;
            due::do_all(app).await;
            stuck::ask_again(app).await;
            Ok(SqsBatchResponse::default())
        }
    }
}
