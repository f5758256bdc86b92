//! Executes runs.
//!
//! ```text
//! message ─▶ ┬ run ─────┐   version      engine       ┬ artifact ┐
//!            ├ workflow ┼─▶ (kept) ─▶ (sandbox) ───▶ │          ├─▶ the run, completed
//!            └ tenant ──┘                             └ log ─────┘
//! ```
//! The workflow and the tenant are read once for all messages of a batch. A workflow that only
//! computes needs no claim and no write before its end; that end is one conditional write. One that
//! asks for something claims itself first, so that its phase, its version and its log can be seen; so
//! does one that computes longer than a second, and one that is delivered again. When the process dies
//! between two calls:
//!
//! | died after | is left | the next delivery |
//! |---|---|---|
//! | reading, computing | nothing | computes again, to the same bytes |
//! | a call went out | nothing of its answer | calls again, by the same `Idempotency-Key` |
//! | an answer's entry in the journal | the entry | goes on from it |
//! | a child run began | the child | finds it by its id, which is made of the parent's |
//! | the run was left waiting | a waiting run that nobody asks for | has it asked for |
//! | the artifact | an object named by its digest | finds it there, as it is |
//! | chunks of a long log, the events | those of a run that has not ended | computes the same, writes none twice |
//! | the run | everything | finds it ended, and tells the run that waits for it |
//!
//! Two executors of one run write to the same places of its journal: the second finds its place taken
//! and stops. A run that waits is asked for by a message with a delay, or, when it waits for longer
//! than a message can, by the reconciler; meanwhile it is nothing but items in the table. Near the end
//! of this environment's time a run is left the same way, to go on at once elsewhere.
//!
//! One that was begun [`aias_domain::run::MAX_ATTEMPTS`] times and neither ended nor waited is what
//! ends its executor: it is faulted without being begun again.

mod calls;
mod execute;
mod execution;
mod follow;
mod reads;
mod secrets;
mod subflow;

use std::time::SystemTime;

use aias_domain::plan::COMPUTING;
use aias_platform::{
    aws::SdkConfig,
    batch::{self, SqsBatchResponse, SqsEvent},
    blobs::Blobs,
    clock::Clock,
    config::Env,
    definitions::Definitions,
    outbound::{Guard, Outbound},
    queue::Queue,
    runs::Intake,
    secrets::Keyrings,
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
            inline_artifact_bytes: 0,
        }
    }

    /// Starts a sandbox process before the first run needs it.
    pub async fn warm(&self) {
        if let Err(error) = self.sandbox.warm(COMPUTING).await {
            tracing::error!(%error, "the engine cannot be started");
        }
    }
}

/// Executes a batch. Messages that cannot be started before `deadline` are sent again.
pub async fn handle(app: &App, event: SqsEvent, deadline: SystemTime) -> SqsBatchResponse {
    let reads = reads::Reads::default();
    batch::each(event, |record| {
        execute::execute(app, &reads, record, deadline)
    })
    .await
}
