//! Accepting runs: the input, the run's item and its message.
//!
//! If the process dies between two calls:
//!
//! | after | remains | recovered by |
//! |---|---|---|
//! | the input's object | an object without a run | the bucket's lifecycle rule |
//! | the run's item | a pending run without a message | the caller's retry, or the reconciler |
//! | the message | a message without a run | the executor: it reads the run again, then drops the message |

use aias_domain::{
    admission::Window,
    artifact::Artifact,
    canonical,
    id::{ArtifactId, RunId, WorkflowId},
    plan::{self, Limits},
    run::{Child, Run, RunError, Status, Trigger},
    timestamp,
};
use axum::http::{StatusCode, header::LOCATION};
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use crate::{
    blobs::{self, Blobs, Object},
    http::{self, WithHeader as _, response},
    queue::{self, Queue, RunMessage},
    store::{
        self, Admission, Gate, Idempotency, Input, Store, StoredRun, Task, TenantStore,
        TransactionError,
    },
};

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
        /// Seconds until the window ends.
        retry_after_seconds: i64,
    },
}

/// A workflow input: its canonical bytes and their digest.
#[derive(Debug)]
pub struct SerializedInput {
    bytes: Vec<u8>,
    pub digest: String,
    inline: Option<Input>,
}

impl SerializedInput {
    /// Serializes a workflow input.
    ///
    /// # Errors
    ///
    /// Only when serialization fails, which no JSON value causes.
    pub fn new(input: &Value) -> Result<Self, Error> {
        let bytes = canonical::to_vec(input);
        let digest = canonical::digest(&bytes);
        let inline = Input::inline(&bytes)?;
        Ok(Self {
            bytes,
            digest,
            inline,
        })
    }
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
    RunMessage {
        tenant_id: store.tenant_id(),
        run_id: run.run.id,
        workflow_id: run.run.workflow_id,
    }
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
    let message = RunMessage {
        tenant_id: store.tenant_id(),
        run_id,
        workflow_id,
    };
    queue.send(&message).await
}

/// A run that is not stored yet.
#[must_use]
pub fn new_run(run: Run, input: Input, retention_days: u32) -> StoredRun {
    let expires_at = expiry(run.created_at, retention_days);
    StoredRun {
        was: run.status,
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

/// Reads the input of a run.
///
/// # Errors
///
/// When it cannot be read.
pub async fn read_input(
    store: &TenantStore<'_>,
    blobs: &Blobs,
    input: &Input,
) -> Result<Value, Error> {
    let bytes = match input {
        Input::Inline(compressed) => Input::decompress(compressed)?,
        Input::Blob(key) => {
            let object = Object::stored(store, key).ok_or(Error::InputGone)?;
            blobs
                .get(&object, MAX_INPUT_BYTES)
                .await?
                .ok_or(Error::InputGone)?
        }
    };
    aias_domain::json::parse_stored(&bytes).map_err(|_| Error::InputGone)
}

/// Reads up to `max` bytes from the start of an artifact; `None` when it does not exist.
///
/// # Errors
///
/// When the bucket is unavailable.
pub async fn read_artifact(
    store: &TenantStore<'_>,
    blobs: &Blobs,
    run: &StoredRun,
    artifact: &Artifact,
    max: usize,
) -> Result<Option<Vec<u8>>, blobs::Error> {
    if let Some(bytes) = &run.artifact {
        return Ok(Some(bytes.get(..max).unwrap_or(bytes).to_vec()));
    }
    let object = Object::artifact(store, artifact.id, &artifact.digest);
    blobs.get_start(&object, max).await
}

#[derive(Debug, Serialize, ToSchema)]
pub struct RunAccepted {
    run_id: RunId,
    status: Status,
}

impl RunAccepted {
    /// The response with a new, pending run.
    ///
    /// # Errors
    ///
    /// As [`response::json`].
    pub fn respond(run_id: RunId) -> http::Result {
        let status = Status::Pending;
        let response = response::json(StatusCode::ACCEPTED, &Self { run_id, status })?;
        Ok(response.with(LOCATION, format!("/api/runs/{run_id}")))
    }
}

/// A run in the API.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Run)]
pub struct RunView<'a> {
    id: RunId,
    status: Status,
    workflow_id: WorkflowId,
    /// The version of the run; `null` until the run starts.
    workflow_version: Option<u32>,
    #[schema(value_type = Trigger)]
    trigger: &'a Trigger,
    /// Of the canonical JSON (RFC 8785) of the input.
    #[schema(value_type = String, pattern = "^sha256:[0-9a-f]{64}$")]
    input_digest: &'a str,
    /// Of the canonical JSON (RFC 8785) of the output; `null` until the run completes.
    #[schema(value_type = Option<String>, pattern = "^sha256:[0-9a-f]{64}$")]
    output_digest: Option<&'a str>,
    /// Why the run faulted.
    #[schema(value_type = Option<RunError>)]
    error: Option<&'a RunError>,
    /// Number of starts since the run last waited.
    attempts: u32,
    #[schema(value_type = Vec<ArtifactSummary>)]
    artifacts: Vec<ArtifactSummary<'a>>,
    /// Runs started by tasks of this run.
    #[schema(value_type = Vec<Child>)]
    children: &'a [Child],
    /// When a waiting run continues, if it waits for a time.
    #[schema(format = DateTime)]
    wakes_at: Option<String>,
    #[schema(format = DateTime)]
    created_at: String,
    #[schema(format = DateTime)]
    started_at: Option<String>,
    #[schema(format = DateTime)]
    ended_at: Option<String>,
    /// From start to end, in milliseconds.
    #[schema(minimum = 0)]
    duration_ms: Option<i64>,
}

/// An artifact in the representation of its run.
#[derive(Debug, Serialize, ToSchema)]
pub struct ArtifactSummary<'a> {
    id: ArtifactId,
    #[schema(value_type = String)]
    name: &'a str,
    #[schema(value_type = String, pattern = "^sha256:[0-9a-f]{64}$")]
    digest: &'a str,
    size_bytes: u64,
}

impl<'a> RunView<'a> {
    #[must_use]
    pub fn new(run: &'a Run) -> Self {
        let duration = run
            .started_at
            .zip(run.ended_at)
            .map(|(from, to)| to.as_millisecond() - from.as_millisecond());
        let artifact = |a: &'a Artifact| ArtifactSummary {
            id: a.id,
            name: &a.name,
            digest: &a.digest,
            size_bytes: a.size_bytes,
        };
        Self {
            id: run.id,
            status: run.status,
            workflow_id: run.workflow_id,
            workflow_version: run.workflow_version,
            trigger: &run.trigger,
            input_digest: &run.input_digest,
            output_digest: run.output_digest.as_deref(),
            error: run.error.as_ref(),
            attempts: run.attempts,
            artifacts: run.artifacts.iter().map(artifact).collect(),
            children: &run.children,
            wakes_at: run.wakes_at.map(timestamp::format),
            created_at: timestamp::format(run.created_at),
            started_at: run.started_at.map(timestamp::format),
            ended_at: run.ended_at.map(timestamp::format),
            duration_ms: duration.map(|ms| ms.max(0)),
        }
    }
}
