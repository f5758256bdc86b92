//! One message: a ladder from its text to its verdict.

use std::time::{Duration, SystemTime};

use aias_domain::{
    artifact::Artifact,
    canonical,
    id::ArtifactId,
    plan::{self, Limits},
    run::{Run, RunError, Status, TransitionError},
};
use aias_engine::Outcome;
use aias_platform::{
    batch::{SqsRecord, Verdict},
    blobs::{self, Object},
    queue::{self, RunMessage},
    runs::{self, read_input},
    store::{self, Stored, StoredRun, TenantStore},
    telemetry::Chain,
};
use serde_json::Value;
use tokio::time::{Instant, sleep, sleep_until};

use crate::{
    App,
    computation::{Computation, Given, Told},
    entries::Entries,
};

/// Why a message is not done with.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error(transparent)]
    Store(#[from] store::Error),
    #[error(transparent)]
    Blobs(#[from] blobs::Error),
    #[error(transparent)]
    Queue(#[from] queue::Error),
    #[error(transparent)]
    Input(#[from] runs::Error),
    #[error("a thread cannot be started")]
    Thread(#[from] std::io::Error),
    #[error("the run is not there yet")]
    NoRunYet,
    #[error("the environment ends before the run may")]
    TooLate,
}

/// How an execution ended, when it did.
enum Done {
    Ended(&'static str),
    HadEnded,
    HadBegun,
    NoRun,
    HandedOn,
    HeldBack,
    NoRoom,
}

/// What following a computation led to.
enum Heard {
    Ended(Result<Value, RunError>),
    /// The plan has as many runs running as it allows at once.
    NoRoom,
}

/// How long a run that computes is left alone before it is shown as running.
const CLAIM_AFTER: Duration = Duration::from_secs(1);
/// How often its log is written from then on.
const FLUSH_EVERY: Duration = Duration::from_secs(1);
/// How old a message without a run gets before it is dropped, in milliseconds.
const ORPHAN_AFTER_MS: i64 = 15 * 60 * 1000;
/// When a run is tried again that the plan had no room for.
const ROOM_AFTER: Duration = Duration::from_secs(5);
/// What the writes at the end of a run may take.
const WRITES: Duration = Duration::from_secs(9);

/// Executes the run of a message.
pub(crate) async fn execute(app: &App, record: SqsRecord, deadline: SystemTime) -> Verdict {
    let began = std::time::Instant::now();
    let message_id = record.message_id.as_str();
    let message = match RunMessage::read(&record.body) {
        Ok(message) => message,
        Err(error) => {
            // It goes to the dead-letter queue, where people can look at it.
            tracing::error!(message_id, error = %error, "a message cannot be read");
            return Verdict::Again;
        }
    };
    let result = Box::pin(work(app, &record, &message, deadline)).await;
    let duration_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
    let (tenant_id, run_id, received) = (message.tenant_id, message.run_id, record.receive_count());
    match result {
        Ok(done) => {
            let outcome = match done {
                Done::Ended(status) => status,
                Done::HadEnded => "had ended",
                Done::HadBegun => "had begun",
                Done::NoRun => "no run",
                Done::HandedOn => "handed on",
                Done::HeldBack => "held back",
                Done::NoRoom => "no room",
            };
            tracing::info!(message_id, %tenant_id, %run_id, received, outcome, duration_ms, "the message was handled");
            Verdict::Done
        }
        Err(error) => {
            let error = Chain(&error).to_string();
            tracing::error!(message_id, %tenant_id, %run_id, received, error, duration_ms, "the message comes again");
            Verdict::Again
        }
    }
}

async fn work(
    app: &App,
    record: &SqsRecord,
    message: &RunMessage,
    deadline: SystemTime,
) -> Result<Done, Error> {
    let store = &app.store.tenant(message.proof());
    let (run, head, tenant) = tokio::join!(
        find_run(store, message),
        store.workflow(message.workflow_id),
        store.tenant()
    );
    let Some(run) = run? else {
        let sent = record.sent_at_ms().unwrap_or(i64::MAX);
        let age = app.clock.now().as_millisecond().saturating_sub(sent);
        return if age > ORPHAN_AFTER_MS {
            Ok(Done::NoRun)
        } else {
            Err(Error::NoRunYet)
        };
    };
    if run.run.value.status.is_terminal() {
        return Ok(Done::HadEnded);
    }
    if run.run.value.status == Status::Suspended {
        // It goes on by a message of its own.
        return Ok(Done::HeldBack);
    }
    if run.run.value.status == Status::Running && record.receive_count() <= 1 {
        // Another message began it, and comes again should its executor have died.
        return Ok(Done::HadBegun);
    }
    let tenant = tenant?
        .map(|tenant| tenant.value)
        .filter(|tenant| tenant.deleted_at.is_none());
    let Some(tenant) = tenant else {
        return Ok(Done::NoRun);
    };
    let limits = plan::limits(&tenant, app.clock.now());
    let mut execution = Execution {
        app,
        store,
        run,
        limits,
        claimed: false,
    };

    let head = head?.map(|head| head.value);
    let version = match head {
        None => {
            return execution
                .refuse("workflow-deleted", "The workflow is deleted")
                .await;
        }
        Some(head) if !head.is_on() => {
            return execution
                .refuse("workflow-disabled", "The workflow is disabled")
                .await;
        }
        Some(head) => execution
            .run
            .run
            .value
            .workflow_version
            .unwrap_or(head.latest),
    };
    let Ok(_core) = app.cores.acquire().await else {
        return Err(Error::NoRunYet);
    };
    if execution.is_too_late(deadline) {
        return execution.hand_on().await;
    }
    if record.receive_count() > 1 {
        match execution
            .run
            .run
            .value
            .clone()
            .begin(version, app.clock.now())
        {
            Ok(run) => {
                if !execution.claim(run).await? {
                    return execution.wait_for_room().await;
                }
            }
            Err(TransitionError::Exhausted) => {
                return execution
                    .refuse("executor-ended", "The run ended its executor each time")
                    .await;
            }
            Err(
                TransitionError::Ended(_)
                | TransitionError::NotFaulted(_)
                | TransitionError::NotSuspended(_),
            ) => {
                return Ok(Done::HadEnded);
            }
        }
    }
    execution.compute(version).await
}

/// The run. Its message may be faster than its item, by a moment.
async fn find_run(
    store: &TenantStore<'_>,
    message: &RunMessage,
) -> Result<Option<StoredRun>, store::Error> {
    for pause_ms in [20, 80, 320, 0] {
        match store.run(message.run_id).await? {
            None if pause_ms > 0 => sleep(Duration::from_millis(pause_ms)).await,
            found => return Ok(found),
        }
    }
    Ok(None)
}

struct Execution<'a> {
    app: &'a App,
    store: &'a TenantStore<'a>,
    run: StoredRun,
    limits: Limits,
    claimed: bool,
}

impl Execution<'_> {
    /// Writes that the run is running, if the plan has room for one more; says whether it has.
    async fn claim(&mut self, run: Run) -> Result<bool, Error> {
        let next = StoredRun {
            run: Stored {
                value: run,
                version: self.run.run.version,
            },
            ..self.run.clone()
        };
        if !self
            .store
            .start_run(&next, self.limits.concurrent_runs)
            .await?
        {
            return Ok(false);
        }
        self.run = StoredRun {
            was: Status::Running,
            run: Stored {
                version: next.run.version + 1,
                ..next.run
            },
            ..next
        };
        self.claimed = true;
        Ok(true)
    }

    /// Leaves the run to a later message: others of its tenant have to end first.
    async fn wait_for_room(&self) -> Result<Done, Error> {
        self.app
            .queue
            .send_later(&self.message(), ROOM_AFTER)
            .await?;
        Ok(Done::NoRoom)
    }

    fn message(&self) -> RunMessage {
        let run = &self.run.run.value;
        RunMessage {
            tenant_id: self.store.tenant_id(),
            run_id: run.id,
            workflow_id: run.workflow_id,
        }
    }

    /// Ends a run that cannot be begun.
    async fn refuse(mut self, code: &str, title: &str) -> Result<Done, Error> {
        let now = self.app.clock.now();
        let written = self.store.log_length(self.run.run.value.id).await?;
        let mut entries = Entries::new(written, 0, now);
        let error = RunError::platform(
            code,
            title,
            format!("{title}; the event is kept, and can be retried"),
        );
        self.end_faulted(error, &mut entries).await
    }

    /// Whether this environment ends before the run may.
    fn is_too_late(&self, deadline: SystemTime) -> bool {
        let left = deadline
            .duration_since(SystemTime::now())
            .unwrap_or_default();
        left < self.run_time() + WRITES
    }

    fn run_time(&self) -> Duration {
        Duration::from_secs(u64::from(self.limits.run_seconds))
    }

    /// Leaves the run to another environment: by another message, unless this one holds a run that
    /// was begun.
    async fn hand_on(&self) -> Result<Done, Error> {
        let run = &self.run.run.value;
        if run.status == Status::Running {
            return Err(Error::TooLate);
        }
        self.app.queue.send(&self.message()).await?;
        Ok(Done::HandedOn)
    }

    async fn compute(mut self, version: u32) -> Result<Done, Error> {
        let run = &self.run.run.value;
        let loading = self.app.programs.get(self.store, run.workflow_id, version);
        let reading = read_input(self.store, &self.app.blobs, &self.run.input);
        let (program, input) = tokio::join!(loading, reading);
        let now = self.app.clock.now();
        let written = if self.claimed {
            self.store.log_length(run.id).await?
        } else {
            0
        };
        let mut entries = Entries::new(run.log_base, written, now);
        let program = match program? {
            Ok(program) => program,
            Err(error) => return self.end_faulted(error, &mut entries).await,
        };
        let input = match input {
            Err(runs::Error::InputGone) => {
                let error = RunError::platform(
                    "input-gone",
                    "The input is gone",
                    "the run's input is no longer kept",
                );
                return self.end_faulted(error, &mut entries).await;
            }
            input => input?,
        };
        entries.started(&run.input_digest, run.retries + 1, now);
        let given = Given {
            program,
            run_id: run.id.to_string(),
            input,
            started_at: run.created_at,
            max_steps: self.limits.steps_per_run,
            clock: self.app.clock.clone(),
        };
        let computation = Computation::begin(given)?;
        let outcome = match self.listen(computation, version, &mut entries).await? {
            Heard::Ended(outcome) => outcome,
            Heard::NoRoom => return self.wait_for_room().await,
        };
        if !self.claimed {
            // Not written: the end says it.
            let begun = self.run.run.value.clone().begin(version, now);
            let Ok(begun) = begun else {
                return Ok(Done::HadEnded);
            };
            self.run.run.value = begun;
        }
        match outcome {
            Ok(output) => self.end_completed(&output, &mut entries).await,
            Err(error) => self.end_faulted(error, &mut entries).await,
        }
    }

    /// Follows a computation to its end. From its first second on, the run is shown as running and
    /// its log is written every second.
    async fn listen(
        &mut self,
        mut computation: Computation,
        version: u32,
        entries: &mut Entries,
    ) -> Result<Heard, Error> {
        let deadline = Instant::now() + self.run_time();
        let mut flush_at = Instant::now() + CLAIM_AFTER;
        loop {
            tokio::select! {
                told = computation.next() => match told {
                    Some(Told::Step(record, at)) => entries.step(record, at),
                    Some(Told::Ended(outcome)) => return Ok(Heard::Ended(outcome_of(*outcome))),
                    None => return Ok(Heard::Ended(Err(panicked()))),
                },
                () = sleep_until(deadline) => {
                    let Some((steps, outcome)) = computation.stop().await else { return Ok(Heard::Ended(Err(timed_out()))) };
                    steps.into_iter().for_each(|(record, at)| entries.step(record, at));
                    return Ok(Heard::Ended(outcome_of(outcome)));
                }
                () = sleep_until(flush_at) => {
                    if !self.claimed {
                        let run = self.run.run.value.clone().begin(version, self.app.clock.now());
                        if let Ok(run) = run && !self.claim(run).await? {
                            computation.stop().await;
                            return Ok(Heard::NoRoom);
                        }
                    }
                    let waiting = entries.take();
                    self.store.append_log(self.run.run.value.id, &waiting, self.run.expires_at).await?;
                    flush_at = Instant::now() + FLUSH_EVERY;
                }
            }
        }
    }

    async fn end_completed(mut self, output: &Value, entries: &mut Entries) -> Result<Done, Error> {
        let now = self.app.clock.now();
        let form = canonical::to_vec(output);
        let output_digest = canonical::digest(&form);
        let (name, content_type, bytes) = match output {
            Value::String(text) => (
                "output.txt",
                "text/plain; charset=utf-8",
                text.clone().into_bytes(),
            ),
            Value::Null
            | Value::Bool(_)
            | Value::Number(_)
            | Value::Array(_)
            | Value::Object(_) => ("output.json", "application/json", form),
        };
        if bytes.len() > self.limits.artifact_bytes {
            let detail = format!(
                "the output has {} bytes; the plan allows {}",
                bytes.len(),
                self.limits.artifact_bytes
            );
            let error = RunError::platform("artifact-too-large", "The output is too large", detail);
            return self.end_faulted(error, entries).await;
        }
        let run = &self.run.run.value;
        let artifact = Artifact {
            id: ArtifactId {
                run_id: run.id,
                number: 0,
            },
            name: name.to_owned(),
            content_type: content_type.to_owned(),
            size_bytes: bytes.len() as u64,
            digest: canonical::digest(&bytes),
            created_at: now,
        };
        entries.completed(&output_digest, now);
        let object = Object::artifact(self.store, artifact.id, &artifact.digest);
        let waiting = entries.take();
        let (put, logged) = tokio::join!(
            self.app.blobs.put(&object, bytes, content_type),
            self.store.append_log(run.id, &waiting, self.run.expires_at)
        );
        put?;
        logged?;
        let Ok(run) = run.clone().complete(output_digest, vec![artifact], now) else {
            return Ok(Done::HadEnded);
        };
        self.run.run.value = run;
        self.save("completed").await
    }

    async fn end_faulted(&mut self, error: RunError, entries: &mut Entries) -> Result<Done, Error> {
        let now = self.app.clock.now();
        entries.faulted(&error, now);
        let run = &self.run.run.value;
        self.store
            .append_log(run.id, &entries.take(), self.run.expires_at)
            .await?;
        let Ok(run) = run.clone().fault(error, now) else {
            return Ok(Done::HadEnded);
        };
        self.run.run.value = run;
        self.save("faulted").await
    }

    /// The one write at the end. When the run has changed meanwhile, another delivery or a caller
    /// has ended it, or this delivery comes again.
    async fn save(&self, ended: &'static str) -> Result<Done, Error> {
        match self.store.save_run(&self.run).await {
            Ok(()) => Ok(Done::Ended(ended)),
            Err(store::Error::Conflict) => match self.store.run(self.run.run.value.id).await? {
                Some(found) if found.run.value.status.is_terminal() => Ok(Done::HadEnded),
                _ => Err(store::Error::Conflict.into()),
            },
            Err(error) => Err(error.into()),
        }
    }
}

fn outcome_of(outcome: Outcome) -> Result<Value, RunError> {
    match outcome {
        Outcome::Completed(output) => Ok(output),
        Outcome::Faulted(error) => Err(error.into()),
        Outcome::Waiting(_) => Err(panicked()),
    }
}

fn timed_out() -> RunError {
    let detail = "one step computed longer than the plan allows for the whole run";
    RunError {
        status: 408,
        ..RunError::platform("timeout", "Timeout", detail)
    }
}

fn panicked() -> RunError {
    RunError::platform(
        "engine-failed",
        "The engine failed",
        "a step made the engine fail",
    )
}
