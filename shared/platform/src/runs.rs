//! Accepting runs: where an input goes, and the run's item and message, side by side.
//!
//! What happens when the process dies between two calls:
//!
//! | after | is left | and who goes on |
//! |---|---|---|
//! | the input's object | an object that nobody knows | the bucket's lifecycle takes it |
//! | the run's item | a pending run without a message | the caller's retry, or the reconciler |
//! | the message | a message without a run | the executor, which asks again and then drops it |

use aias_domain::{
    admission::Window,
    artifact::Artifact,
    canonical,
    event::text_of,
    id::{ArtifactId, RunId, WorkflowId},
    plan::{self, Limits},
    run::{Child, Run, RunError, Status, Trigger},
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
        self, Admission, Gate, Idempotency, Input, Refused, Store, Stored, StoredRun, Task,
        TenantStore,
    },
};

/// The largest input that is stored, in bytes: a body in base64, with its headers, as JSON.
pub const MAX_INPUT_BYTES: usize = 4 * plan::MAX_BODY_BYTES;

/// Why a run was not accepted, or its input cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The table.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// The bucket.
    #[error(transparent)]
    Blobs(#[from] blobs::Error),
    /// The queue.
    #[error(transparent)]
    Queue(#[from] queue::Error),
    /// The input is not there, or is not JSON.
    #[error("the run's input is not there")]
    InputGone,
}

impl Error {
    /// Whether the same call may succeed later.
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

/// Why a run that a caller asks for may not begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotAdmitted {
    /// The month's runs are used up.
    MonthFull(Limits),
    /// The window's events are.
    RateFull {
        /// When it ends.
        retry_after_seconds: i64,
    },
}

/// An input on its way: its canonical bytes and their digest.
#[derive(Debug)]
pub struct Prepared {
    bytes: Vec<u8>,
    /// `sha256:<hex>` of the bytes.
    pub digest: String,
    inline: Option<Input>,
}

impl Prepared {
    /// Prepares a workflow's input.
    ///
    /// # Errors
    /// Never for values that fit into memory.
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

/// What accepting a run takes.
#[derive(Debug, Clone)]
pub struct Intake {
    /// The table.
    pub store: Store,
    /// The bucket.
    pub blobs: Blobs,
    /// The runs queue.
    pub queue: Queue,
    /// Which tenants are known to be at their limits.
    pub gate: Gate,
}

impl Intake {
    /// Of its parts.
    #[must_use]
    pub fn new(store: Store, blobs: Blobs, queue: Queue) -> Self {
        Self {
            store,
            blobs,
            queue,
            gate: Gate::default(),
        }
    }

    /// Counts a run that a caller asks for. It is refused, never held back: the caller is there to
    /// be told.
    ///
    /// # Errors
    /// When the table does not answer; inside, why the run may not begin.
    pub async fn admit(
        &self,
        store: &TenantStore<'_>,
        limits: &Limits,
        now: Timestamp,
    ) -> Result<Result<(), NotAdmitted>, Error> {
        Ok(match self.gate.admit(store, limits, now).await? {
            Admission::Admitted(..) => Ok(()),
            Admission::MonthFull(_) => Err(NotAdmitted::MonthFull(*limits)),
            Admission::RateFull(_) => Err(NotAdmitted::RateFull {
                retry_after_seconds: Window::of(now).left_seconds,
            }),
        })
    }

    /// Writes a run that is held back until the plan or the month has room for it, and has it
    /// looked at when the month turns. When it is there already, that run is returned.
    ///
    /// # Errors
    /// When either did not happen; to begin again is safe.
    pub async fn suspend(
        &self,
        store: &TenantStore<'_>,
        run: &StoredRun,
        now: Timestamp,
    ) -> Result<Option<StoredRun>, Error> {
        let found = store.create_suspended_run(run).await?;
        // Afterwards: whoever looks then sees the run.
        store.set_due(Task::Resume, plan::month_end(now)).await?;
        Ok(found)
    }

    /// Puts an input where it belongs. A small one needs no call.
    ///
    /// # Errors
    /// When the bucket does not take it.
    pub async fn place(&self, store: &TenantStore<'_>, input: Prepared) -> Result<Input, Error> {
        if let Some(inline) = input.inline {
            return Ok(inline);
        }
        let object = Object::input(store, &input.digest);
        self.blobs
            .put(&object, input.bytes, "application/json")
            .await?;
        Ok(Input::Blob(object.as_str().to_owned()))
    }

    /// Writes the run and asks for its execution, side by side. When the run is there already and
    /// still pending, only its execution is asked for; that run is returned.
    ///
    /// # Errors
    /// When either did not happen; to begin again is safe.
    pub async fn begin(
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

    /// The same for a run that a request makes once, if `kept` is its answer.
    ///
    /// # Errors
    /// [`store::Refused::Answered`] when the request was answered before.
    pub async fn begin_once(
        &self,
        store: &TenantStore<'_>,
        run: &StoredRun,
        kept: Option<Idempotency>,
    ) -> Result<Result<(), Refused>, Error> {
        let Some(kept) = kept else {
            return self.begin(store, run).await.map(|_| Ok(()));
        };
        match store.create_run_once(run, kept).await {
            Ok(()) => self.enqueue(store, run).await.map(Ok),
            Err(refused) => Ok(Err(refused)),
        }
    }

    /// Asks for the execution of a run that is there.
    ///
    /// # Errors
    /// When the queue does not take it.
    pub async fn enqueue(&self, store: &TenantStore<'_>, run: &StoredRun) -> Result<(), Error> {
        Ok(self.queue.send(&message_of(store, run)).await?)
    }
}

fn message_of(store: &TenantStore<'_>, run: &StoredRun) -> RunMessage {
    RunMessage {
        tenant_id: store.tenant_id(),
        run_id: run.run.value.id,
        workflow_id: run.run.value.workflow_id,
    }
}

/// Asks for the run that waits for this one, if there is one and this one has ended. To ask twice is
/// harmless.
///
/// # Errors
/// When the queue does not take it.
pub async fn tell_parent(
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

/// A run that is about to be written.
#[must_use]
pub fn new_run(run: Run, input: Input, retention_days: u32) -> StoredRun {
    let expires_at = expiry(run.created_at, retention_days);
    StoredRun {
        was: run.status,
        run: Stored {
            value: run,
            version: 1,
        },
        input,
        artifact: None,
        log: Vec::new(),
        expires_at,
    }
}

/// When something made at `at` goes, to the second.
#[must_use]
pub fn expiry(at: Timestamp, retention_days: u32) -> Timestamp {
    let kept = SignedDuration::from_hours(24 * i64::from(retention_days));
    Timestamp::from_second(at.as_second()).unwrap_or(at) + kept
}

/// A run's input, wherever it is.
///
/// # Errors
/// When it cannot be read.
pub async fn read_input(
    store: &TenantStore<'_>,
    blobs: &Blobs,
    input: &Input,
) -> Result<Value, Error> {
    let bytes = match input {
        Input::Inline(deflated) => Input::inflate(deflated)?,
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

/// Up to `max` bytes from an artifact's start, wherever it is; `None` when it is not there.
///
/// # Errors
/// When the bucket does not answer.
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

/// A run that was accepted.
#[derive(Debug, Serialize, ToSchema)]
pub struct RunAccepted {
    run_id: RunId,
    status: Status,
}

impl RunAccepted {
    /// The response with a new run, which is pending.
    ///
    /// # Errors
    /// As [`response::json`].
    pub fn respond(run_id: RunId) -> http::Result {
        let status = Status::Pending;
        let response = response::json(StatusCode::ACCEPTED, &Self { run_id, status })?;
        Ok(response.with(LOCATION, format!("/api/runs/{run_id}")))
    }
}

/// A run as the API shows it.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Run)]
pub struct RunView<'a> {
    id: RunId,
    status: Status,
    workflow_id: WorkflowId,
    /// The version that runs; `null` until the run starts.
    workflow_version: Option<u32>,
    #[schema(value_type = Trigger)]
    trigger: &'a Trigger,
    /// Of the input's canonical JSON (RFC 8785).
    #[schema(value_type = String, pattern = "^sha256:[0-9a-f]{64}$")]
    input_digest: &'a str,
    /// Of the output's canonical JSON (RFC 8785); `null` until the run completes.
    #[schema(value_type = Option<String>, pattern = "^sha256:[0-9a-f]{64}$")]
    output_digest: Option<&'a str>,
    /// Why the run faulted.
    #[schema(value_type = Option<RunError>)]
    error: Option<&'a RunError>,
    /// How often an executor started the run, since it last waited.
    attempts: u32,
    #[schema(value_type = Vec<ArtifactSummary>)]
    artifacts: Vec<ArtifactSummary<'a>>,
    /// The runs that this run's tasks started.
    #[schema(value_type = Vec<Child>)]
    children: &'a [Child],
    /// When a waiting run continues, where it waits for a time.
    #[schema(format = DateTime)]
    wakes_at: Option<String>,
    #[schema(format = DateTime)]
    created_at: String,
    #[schema(format = DateTime)]
    started_at: Option<String>,
    #[schema(format = DateTime)]
    ended_at: Option<String>,
    /// From the start to the end, in milliseconds.
    #[schema(minimum = 0)]
    duration_ms: Option<i64>,
}

/// An artifact as its run shows it.
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
    /// The view of a run.
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
            wakes_at: run.wakes_at.map(text_of),
            created_at: text_of(run.created_at),
            started_at: run.started_at.map(text_of),
            ended_at: run.ended_at.map(text_of),
            duration_ms: duration.map(|ms| ms.max(0)),
        }
    }
}
