//! Executes runs.
//!
//! ```text
//! message ─▶ ┬ run ─────┐   version      engine       ┬ artifact ┐
//!            ├ workflow ┼─▶ (cached) ─▶ (sandbox) ─▶ │          ├─▶ the run, completed
//!            └ tenant ──┘                             └ log ─────┘
//! ```
//!
//! The workflow and the tenant are read once for all messages of a batch. A run without calls
//! that ends within a second is written only at its end, in one conditional write. A run that makes
//! a call, takes longer, or is redelivered is claimed first: it is written as `running`, with its
//! version and its log.
//!
//! A run that the plan does not allow as another `running` one is left to a later message. From
//! then on it is claimed before it is computed, and its messages are sent ever later, up to five
//! minutes.
//!
//! If the process dies between two calls, the message is redelivered:
//!
//! | died after | remains | the next delivery |
//! |---|---|---|
//! | reading, computing | nothing | computes again, to the same bytes |
//! | a call was sent | nothing of its response | sends it again, with the same `Idempotency-Key` |
//! | the result was appended to the journal | the entry | continues from it |
//! | a child run was created | the child | finds it by its id, which is derived from the parent's |
//! | the run was written as waiting | a waiting run without a wake-up | schedules the wake-up |
//! | the start was taken back | a running run | starts it again |
//! | the run was passed on | its old and its new message | the second one finds it ended, or stops at the journal of the first |
//! | the artifact | an object whose key has its digest | finds it |
//! | chunks of a long log, events | those of a run that has not ended | computes the same, writes none twice |
//! | the run | everything | finds it ended, and sends the message of the parent |
//!
//! Two executors of one run append to the same index of its journal: the second finds it taken and
//! stops. A waiting run continues by a delayed message, or, if it waits longer than the maximum
//! delay, by the reconciler; until then it exists only as items in the table. A run that needs more
//! time than the invocation has left is passed on the same way, without a delay.
//!
//! A run that was started [`aias_domain::run::MAX_ATTEMPTS`] times and neither ended nor waited is
//! considered the cause of its executors' deaths. It is faulted without being started again.

mod batch_cache;
mod calls;
mod drive;
mod error;
mod execute;
mod execution;
mod outcome;
mod secrets;
mod subflow;

use std::time::SystemTime;

use aias_domain::plan::COMPUTING;
use aias_platform::{
    aws::SdkConfig,
    blobs::Blobs,
    clock::Clock,
    config::Env,
    definitions::Definitions,
    outbound::{Guard, Outbound},
    queue::Queue,
    runs::Intake,
    secrets::Keyrings,
    sqs::{self, SqsBatchResponse, SqsEvent},
    store::{MAX_INLINE_ARTIFACT, Store},
};
use aias_sandbox::Sandbox;
use tokio::sync::Semaphore;

#[derive(Debug)]
pub struct App {
    store: Store,
    blobs: Blobs,
    queue: Queue,
    intake: Intake,
    outbound: Outbound,
    keyrings: Keyrings,
    clock: Clock,
    definitions: Definitions,
    sandbox: Sandbox,
    /// One computation per core, since the CPU time of a run is limited.
    cores: Semaphore,
    /// One run with a large journal at a time: its child may have half of the memory.
    large_runs: Semaphore,
    /// Artifacts up to this size are stored in the run's item, larger ones in the bucket.
    inline_artifact_bytes: usize,
}

impl App {
    /// From `TABLE_NAME`, `BUCKET_NAME`, `RUNS_QUEUE_URL`, `KEYRING_SECRET_ARN`,
    /// `OUTBOUND_NETWORKS` and `ARTIFACT_INLINE_MAX_BYTES`.
    #[must_use]
    pub fn load(aws: &SdkConfig, env: &Env) -> Self {
        let store = Store::new(aws, env.text("TABLE_NAME"));
        let blobs = Blobs::new(aws, env.text("BUCKET_NAME"));
        let queue = Queue::new(aws, env.text("RUNS_QUEUE_URL"));
        let guard = env.parsed("OUTBOUND_NETWORKS", Guard::default());
        let inline_artifact_bytes = env.parsed("ARTIFACT_INLINE_MAX_BYTES", 0);
        if inline_artifact_bytes > MAX_INLINE_ARTIFACT {
            env.refuse("ARTIFACT_INLINE_MAX_BYTES", "must be at most 4096");
        }
        let app = Self::new(
            Intake::new(store, blobs, queue),
            guard,
            Keyrings::new(aws, env.text("KEYRING_SECRET_ARN")),
            Sandbox::of_this_binary(),
            Clock::system(),
        );
        app.with_inline_artifacts(inline_artifact_bytes)
    }

    /// As [`App::new`], with artifacts up to this size stored in the run's item.
    #[must_use]
    pub fn with_inline_artifacts(self, bytes: usize) -> Self {
        Self {
            inline_artifact_bytes: bytes.min(MAX_INLINE_ARTIFACT),
            ..self
        }
    }

    #[must_use]
    pub fn new(
        intake: Intake,
        guard: Guard,
        keyrings: Keyrings,
        sandbox: Sandbox,
        clock: Clock,
    ) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Self {
            store: intake.store.clone(),
            blobs: intake.blobs.clone(),
            queue: intake.queue.clone(),
            intake,
            outbound: Outbound::new(guard),
            keyrings,
            clock,
            definitions: Definitions::default(),
            sandbox,
            cores: Semaphore::new(cores),
            large_runs: Semaphore::new(1),
            inline_artifact_bytes: 0,
        }
    }

    /// With another number of cores.
    #[must_use]
    pub fn with_cores(self, cores: usize) -> Self {
        Self {
            cores: Semaphore::new(cores),
            ..self
        }
    }

    /// Starts a sandbox process before the first run needs it.
    pub async fn warm(&self) {
        if let Err(error) = self.sandbox.warm(COMPUTING).await {
            tracing::error!(event = "engine_start_failed", %error);
        }
    }
}

/// Executes a batch. Messages that cannot be started before `deadline` are sent again.
pub async fn handle(app: &App, event: SqsEvent, deadline: SystemTime) -> SqsBatchResponse {
    let reads = batch_cache::BatchCache::default();
    sqs::each(event, |record| {
        execute::execute(app, &reads, record, deadline)
    })
    .await
}
