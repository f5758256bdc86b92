//! Executes runs.
//!
//! ```text
//! message ─▶ ┬ run ─────┐   version      engine       ┬ artifact ┐
//!            ├ workflow ┼─▶ (kept) ─▶ (own thread) ─▶ │          ├─▶ the run, completed
//!            └ tenant ──┘                             └ log ─────┘
//! ```
//! A workflow computes only, so a run needs no claim and no write before its end; that end is one
//! conditional write. When the process dies between two calls:
//!
//! | died after | is left | the next delivery |
//! |---|---|---|
//! | reading, computing | nothing | computes again, to the same bytes |
//! | the artifact | an object named by its digest | finds it there, as it is |
//! | the log | entries of a run that has not ended | computes the same entries, writes none twice |
//! | the run | everything | finds it ended |
//!
//! A run that is still computing after a second claims itself, so that its phase, its version and
//! its log can be seen, and so does one that is delivered again. One that was begun
//! [`aias_domain::run::MAX_ATTEMPTS`] times and never ended is what ends its executor: it is
//! faulted without being begun again.

mod computation;
mod entries;
mod execute;
mod programs;

use std::time::SystemTime;

use aias_platform::{
    aws::SdkConfig,
    batch::{self, SqsBatchResponse, SqsEvent},
    blobs::Blobs,
    clock::Clock,
    config::Env,
    queue::Queue,
    store::Store,
};
use tokio::sync::Semaphore;

/// What executing takes.
#[derive(Debug)]
pub struct App {
    store: Store,
    blobs: Blobs,
    queue: Queue,
    clock: Clock,
    programs: programs::Programs,
    /// One computation for each core: a run's time is its own.
    cores: Semaphore,
}

impl App {
    /// From `TABLE_NAME`, `BUCKET_NAME` and `RUNS_QUEUE_URL`.
    #[must_use]
    pub fn load(aws: &SdkConfig, env: &Env) -> Self {
        let store = Store::new(aws, env.text("TABLE_NAME"));
        let blobs = Blobs::new(aws, env.text("BUCKET_NAME"));
        let queue = Queue::new(aws, env.text("RUNS_QUEUE_URL"));
        Self::new(store, blobs, queue, Clock::system())
    }

    /// Of its parts.
    #[must_use]
    pub fn new(store: Store, blobs: Blobs, queue: Queue, clock: Clock) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Self {
            store,
            blobs,
            queue,
            clock,
            programs: programs::Programs::default(),
            cores: Semaphore::new(cores),
        }
    }
}

/// Executes a batch. What is not begun by the time that `deadline` leaves it is asked for again.
pub async fn handle(app: &App, event: SqsEvent, deadline: SystemTime) -> SqsBatchResponse {
    batch::each(event, |record| execute::execute(app, record, deadline)).await
}

/// Whether a computation did not come back: its thread cannot be ended, only this process.
#[must_use]
pub fn is_stuck() -> bool {
    computation::any_stuck()
}
