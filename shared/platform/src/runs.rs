//! Accepting runs: the input, the run's item and its message.
//!
//! If the process dies between two calls:
//!
//! | after | remains | recovered by |
//! |---|---|---|
//! | the input's object | an object without a run | the bucket's lifecycle rule |
//! | the run's item | a pending run without a message | the caller's retry, or the reconciler |
//! | the message | a message without a run | the executor: it reads the run again, then drops the message |

mod data;
mod view;

use aias_domain::{
    admission::Window,
    id::RunId,
    plan::{self, Limits},
    run::{Run, Status},
};
use jiff::{SignedDuration, Timestamp};

use crate::{
    blobs::{self, Blobs, Object},
    http::{self, Response},
    queue::{self, Queue, RunMessage},
    store::{
        self, Admission, Gate, Idempotency, Input, Store, StoredRun, Task, TenantStore,
        TransactionError,
    },
};

pub use data::{SerializedInput, read_artifact, read_input, read_output};
pub use view::{ArtifactSummary, RunAccepted, RunView};

/// The largest input, in bytes: a body in base64 with its headers, as JSON.
pub const MAX_INPUT_BYTES: usize = 4 * plan::MAX_BODY_BYTES;

/// Why a run is not accepted, or its input cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Store(#[from] store::Error),
    #[error(transparent)]
    Blobs(#[from] blobs::Error),
    #[error(transparent)]
    Queue(#[from] queue::Error),
    /// The input is missing, or is not JSON.
    #[error("the input of the run does not exist any more")]
    InputGone,
}

impl Error {
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Store(error) => error.is_transient(),
            Self::Blobs(error) => error.is_transient(),
            Self::Queue(_) => true,
            Self::InputGone => false,
        }
    }
}

/// Why a run requested by a caller is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AdmissionRefusal {
    /// The monthly run quota is used up.
    QuotaExceeded(Limits),
    /// The event rate of the window is used up.
    RateExceeded {
        limits: Limits,
        /// Seconds until the window ends.
        retry_after_seconds: i64,
    },
}

/// Accepts runs.
#[derive(Debug, Clone)]
pub struct Intake {
    pub store: Store,
    pub blobs: Blobs,
    pub queue: Queue,
    /// Tenants that are known to be at their limits.
    pub gate: Gate,
}

impl Intake {
    #[must_use]
    pub fn new(store: Store, blobs: Blobs, queue: Queue) -> Self {
        Self {
            store,
            blobs,
            queue,
            gate: Gate::default(),
        }
    }

    /// Counts a run requested by a caller. Such a run is refused instead of suspended, since the
    /// caller can retry it.
    ///
    /// # Errors
    ///
    /// When the table is unavailable; inside, why the run is refused.
    pub async fn admit(
        &self,
        store: &TenantStore<'_>,
        limits: &Limits,
        now: Timestamp,
    ) -> Result<Result<(), AdmissionRefusal>, Error> {
        Ok(match self.gate.admit(store, limits, now).await? {
            Admission::Admitted(..) => Ok(()),
            Admission::QuotaExceeded(_) => Err(AdmissionRefusal::QuotaExceeded(*limits)),
            Admission::RateExceeded(_) => Err(AdmissionRefusal::RateExceeded {
                limits: *limits,
                retry_after_seconds: Window::of(now).left_seconds,
            }),
        })
    }

    /// Writes a suspended run, and schedules resuming it for the start of the next month. Returns
    /// the existing run if there is one with this id.
    ///
    /// # Errors
    ///
    /// When a write failed. Retrying is safe.
    pub async fn suspend(
        &self,
        store: &TenantStore<'_>,
        run: &StoredRun,
        now: Timestamp,
    ) -> Result<Option<StoredRun>, Error> {
        let found = store.create_suspended_run(run).await?;
        // Scheduled after the run was written, so that the task finds it.
        store
            .schedule_task(Task::Resume, plan::month_end(now))
            .await?;
        Ok(found)
    }

    /// Stores an input in the bucket, if it does not fit into the run's item.
    ///
    /// # Errors
    ///
    /// When the bucket is unavailable.
    pub async fn store_input(
        &self,
        store: &TenantStore<'_>,
        input: SerializedInput,
    ) -> Result<Input, Error> {
        if let Some(inline) = input.inline {
            return Ok(inline);
        }
        let object = Object::input(store, &input.digest);
        self.blobs
            .put(&object, input.bytes, "application/json")
            .await?;
        Ok(Input::Blob(object.as_str().to_owned()))
    }

    /// Writes the run and sends its message, concurrently. If a run with this id exists, it is
    /// returned, and its message is sent again if it is still pending.
    ///
    /// # Errors
    ///
    /// When a call failed. Retrying is safe.
    pub async fn create_run(
        &self,
        store: &TenantStore<'_>,
        run: &StoredRun,
    ) -> Result<Option<StoredRun>, Error> {
        let message = message_of(store, run);
        let (created, sent) = tokio::join!(store.create_run(run), self.queue.send(&message));
        let found = created?;
        sent?;
        Ok(found)
    }

    /// As [`Intake::create_run`], for a request with an `Idempotency-Key`.
    ///
    /// # Errors
    ///
    /// [`store::TransactionError::Repeated`] when the request has a stored response.
    pub async fn create_run_once(
        &self,
        store: &TenantStore<'_>,
        run: &StoredRun,
        kept: Option<Idempotency>,
    ) -> Result<Result<(), TransactionError>, Error> {
        let Some(kept) = kept else {
            return self.create_run(store, run).await.map(|_| Ok(()));
        };
        match store.create_run_once(run, kept).await {
            Ok(()) => self.enqueue(store, run).await.map(Ok),
            Err(refused) => Ok(Err(refused)),
        }
    }

    /// Sends the message of the run in a stored response again, if the run is still pending: the
    /// process that stored the response may have died before it sent the message.
    ///
    /// # Errors
    ///
    /// When a call failed. Retrying is safe.
    pub async fn resend_message(
        &self,
        store: &TenantStore<'_>,
        response: &Response,
    ) -> Result<(), Error> {
        if !http::is_replayed(response) {
            return Ok(());
        }
        let Ok(accepted) = serde_json::from_str::<RunAccepted>(response.body()) else {
            return Ok(());
        };
        match store.run(accepted.run_id()).await? {
            Some(run) if run.run.status == Status::Pending => self.enqueue(store, &run).await,
            Some(_) | None => Ok(()),
        }
    }

    /// As [`Intake::create_run_once`], for a replay of another run.
    ///
    /// # Errors
    ///
    /// [`store::TransactionError::Repeated`] when the request has a stored response.
    pub async fn create_replay(
        &self,
        store: &TenantStore<'_>,
        run: &StoredRun,
        original: RunId,
        kept: Option<Idempotency>,
    ) -> Result<Result<(), TransactionError>, Error> {
        match store.create_replay(run, original, kept).await {
            Ok(()) => self.enqueue(store, run).await.map(Ok),
            Err(refused) => Ok(Err(refused)),
        }
    }

    /// Sends the message of an existing run.
    ///
    /// # Errors
    ///
    /// When the queue does not accept the message.
    pub async fn enqueue(&self, store: &TenantStore<'_>, run: &StoredRun) -> Result<(), Error> {
        Ok(self.queue.send(&message_of(store, run)).await?)
    }
}

fn message_of(store: &TenantStore<'_>, run: &StoredRun) -> RunMessage {
    RunMessage::new(store.tenant_id(), run.run.id, run.run.workflow_id)
}

/// Sends the message of the run that waits for this one, if this one has ended. Idempotent.
///
/// # Errors
///
/// When the queue does not accept the message.
pub async fn notify_parent(
    queue: &Queue,
    store: &TenantStore<'_>,
    run: &Run,
) -> Result<(), queue::Error> {
    let waiting = run.trigger.waiting_parent();
    let Some((run_id, workflow_id)) = waiting.filter(|_| run.status.is_terminal()) else {
        return Ok(());
    };
    let message = RunMessage::new(store.tenant_id(), run_id, workflow_id);
    queue.send(&message).await
}

/// A run that is not stored yet.
#[must_use]
pub fn new_run(run: Run, input: Input, retention_days: u32) -> StoredRun {
    let expires_at = expiry(run.created_at, retention_days);
    StoredRun {
        was: run.status,
        running_shard: 0,
        run,
        version: 1,
        input,
        artifact: None,
        log: Vec::new(),
        expires_at,
    }
}

/// When an object created at `at` expires, to the second.
#[must_use]
pub fn expiry(at: Timestamp, retention_days: u32) -> Timestamp {
    let kept = SignedDuration::from_hours(24 * i64::from(retention_days));
    Timestamp::from_second(at.as_second()).unwrap_or(at) + kept
}
