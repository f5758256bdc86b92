//! The execution of a run: claiming it, leaving it, ending it.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use aias_domain::{
    artifact::{Artifact, ArtifactContent},
    canonical,
    id::{ArtifactId, RunId},
    log::Entry,
    plan::Limits,
    run::{Child, MAX_CHILDREN, Run, RunError, Status},
};
use aias_engine::journal::{Effect, Request};
use aias_platform::{
    blobs::Object,
    clock::{new_secret_nonce, random},
    queue::RunMessage,
    run_log::RunLog,
    runs::notify_parent,
    store::{self, StoredRun, TenantStore},
};
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use tokio::{sync::SemaphorePermit, time::timeout};

use crate::{
    App,
    calls::{Call, StartedEffect},
    error::Error,
    outcome::MessageOutcome,
    secrets::{self, FilledRequest},
    subflow,
};

/// When the run is tried again after the plan did not allow another running run for the first time.
/// Each further time the delay is doubled, to the longest.
const FIRST_CAPACITY_DELAY: Duration = Duration::from_secs(5);
const LONGEST_CAPACITY_DELAY: Duration = Duration::from_mins(5);

/// The delay after `refusals` earlier ones, with up to a quarter less, so that runs that were
/// refused together do not return together.
fn capacity_delay(refusals: u32) -> Duration {
    let delay = FIRST_CAPACITY_DELAY.saturating_mul(1 << refusals.min(16));
    let [jitter] = random::<1>();
    delay.min(LONGEST_CAPACITY_DELAY) * (1024 - u32::from(jitter)) / 1024
}

/// The time reserved for the writes at the end of a run.
pub(crate) const WRITES: Duration = Duration::from_secs(9);

/// The part of it for the writes of a run that waits.
const LAST_WRITES: Duration = Duration::from_secs(3);

/// The longest delay of an SQS message.
const MAX_DELAY: SignedDuration = SignedDuration::from_mins(15);

/// Journals beyond this size, in bytes, are computed one at a time: a child gets 48 bytes of memory
/// for each byte, up to 1 GiB.
const LARGE_JOURNAL: usize = 4 * 1024 * 1024;

/// How much too early a waiting run may continue.
const EARLY: SignedDuration = SignedDuration::from_secs(1);

/// A start later than this after acceptance is recorded in the journal.
const LATE: SignedDuration = SignedDuration::from_secs(1);

/// How often a run that waits for another run is checked, in case a message was lost.
const CHECK_CHILD_EVERY: SignedDuration = SignedDuration::from_hours(1);

pub(crate) struct Execution<'a> {
    pub(crate) app: &'a App,
    pub(crate) store: &'a TenantStore<'a>,
    pub(crate) stored: StoredRun,
    pub(crate) limits: Limits,
    pub(crate) claimed: bool,
    /// How many times the plan did not allow the run before.
    refusals: u32,
    /// The number of journal entries, and their size in bytes of JSON.
    pub(crate) journal: usize,
    pub(crate) journal_bytes: usize,
    /// While the journal is large.
    large: Option<SemaphorePermit<'a>>,
    /// Emitted events that are not written yet.
    pub(crate) events: Vec<Value>,
    /// The end of this invocation.
    deadline: SystemTime,
}

impl<'a> Execution<'a> {
    pub(crate) fn new(
        app: &'a App,
        store: &'a TenantStore<'a>,
        run: StoredRun,
        limits: Limits,
        refusals: u32,
        deadline: SystemTime,
    ) -> Self {
        Self {
            app,
            store,
            stored: run,
            limits,
            claimed: false,
            refusals,
            journal: 0,
            journal_bytes: 0,
            large: None,
            events: Vec::new(),
            deadline,
        }
    }

    /// Writes that the run is in the phase `running`, if the plan allows one more. Returns whether
    /// it does.
    pub(crate) async fn claim(&mut self, run: Run) -> Result<bool, Error> {
        let next = StoredRun {
            run,
            version: self.stored.version,
            ..self.stored.clone()
        };
        let limit = self.limits.concurrent_runs;
        let Some(written) = self.store.start_run(next, limit).await? else {
            return Ok(false);
        };
        self.set_written(written);
        self.claimed = true;
        Ok(true)
    }

    /// Sets the nonce of the run's secret placeholders before anything that depends on it is
    /// written. The next claim includes it; a run that is already claimed is written again.
    pub(crate) async fn ensure_secret_nonce(&mut self) -> Result<(), Error> {
        if self.stored.run.secret_nonce.is_some() {
            return Ok(());
        }
        self.stored.run.secret_nonce = Some(new_secret_nonce());
        if self.claimed {
            self.store.save_run(&self.stored).await?;
            self.set_written(self.stored.clone());
        }
        Ok(())
    }

    fn set_written(&mut self, run: StoredRun) {
        self.stored = StoredRun {
            was: run.run.status,
            version: run.version + 1,
            ..run
        };
    }

    /// Leaves the run to a later message, because the plan does not allow another running run.
    pub(crate) async fn wait_for_capacity(&self) -> Result<MessageOutcome, Error> {
        let message = RunMessage {
            refusals: self.refusals.saturating_add(1),
            ..self.message()
        };
        let delay = capacity_delay(self.refusals);
        self.app.queue.send_later(&message, delay).await?;
        Ok(MessageOutcome::AtCapacity)
    }

    fn message(&self) -> RunMessage {
        let run = &self.stored.run;
        RunMessage::new(self.store.tenant_id(), run.id, run.workflow_id)
    }

    /// Faults a run that cannot be started.
    pub(crate) async fn refuse(mut self, code: &str, title: &str) -> Result<MessageOutcome, Error> {
        let now = self.app.clock.now();
        let written = self.store.log_length(&self.stored).await?;
        let mut run_log = RunLog::new(written, 0, now, now);
        let error = RunError::platform(
            code,
            title,
            format!("{title}; the event is stored, so the run can be retried"),
        );
        self.end_faulted(error, &mut run_log).await
    }

    /// Whether the run must wait until no other run in this executor has a large journal.
    pub(crate) fn needs_memory(&self) -> bool {
        self.journal_bytes > LARGE_JOURNAL && self.large.is_none()
    }

    /// Waits for that, while there is time to compute. Returns whether the run may go on. Must be
    /// called without a core, which the other run may need to end.
    pub(crate) async fn wait_for_memory(&mut self) -> bool {
        if !self.needs_memory() {
            return true;
        }
        let time = self.left().saturating_sub(self.run_time() + WRITES);
        let acquired = timeout(time, self.app.large_runs.acquire()).await;
        self.large = acquired.ok().and_then(Result::ok);
        self.large.is_some()
    }

    /// The time left in this invocation.
    pub(crate) fn left(&self) -> Duration {
        let left = self.deadline.duration_since(SystemTime::now());
        left.unwrap_or_default()
    }

    /// Whether the invocation ends before the run could use its CPU time and be written.
    pub(crate) fn lacks_time(&self) -> bool {
        self.left() < self.run_time() + WRITES
    }

    pub(crate) fn run_time(&self) -> Duration {
        Duration::from_secs(u64::from(self.limits.run_seconds))
    }

    /// Leaves the run to another invocation, by a new message. This one would be dead-lettered after
    /// five deliveries, however little time each of them had. Must be called before the run
    /// computes.
    pub(crate) async fn pass_on(&mut self) -> Result<MessageOutcome, Error> {
        if self.claimed {
            self.stored.run = self.stored.run.clone().take_back_start();
            self.store.save_run(&self.stored).await?;
        }
        let run = &self.stored.run;
        let was_started = run.status == Status::Running;
        let message = RunMessage {
            dead_attempt: was_started.then_some(run.attempts),
            ..self.message()
        };
        self.app.queue.send(&message).await?;
        Ok(MessageOutcome::PassedOn)
    }

    /// The start of the run, if that is so much later than its acceptance that timeouts are
    /// affected.
    pub(crate) fn late(&self, now: Timestamp) -> Option<Timestamp> {
        let run = &self.stored.run;
        let began = run.started_at.unwrap_or(now);
        Some(began).filter(|began| *began > run.created_at + LATE)
    }

    /// Whether the run waits longer than can be handled here.
    pub(crate) fn waits_longer(&self) -> bool {
        let run = &self.stored.run;
        let later = |at: Timestamp| at > self.app.clock.now() + EARLY;
        run.status == Status::Waiting && !run.awaits_run && run.wakes_at.is_some_and(later)
    }

    /// Writes the log and the events so far.
    pub(crate) async fn flush(&mut self, run_log: &mut RunLog) -> Result<(), Error> {
        let waiting = run_log.take();
        self.write(&waiting).await
    }

    /// Writes the events, and the log unless it is written with the run, which is about to end.
    async fn flush_at_end(&mut self, run_log: &mut RunLog) -> Result<(), Error> {
        let waiting = run_log.take();
        if self.stored.fits_into_item(&waiting)? {
            self.stored.log = waiting;
            return self.write(&[]).await;
        }
        self.write(&waiting).await
    }

    async fn write(&mut self, waiting: &[Entry]) -> Result<(), Error> {
        let run = &self.stored.run;
        let events = std::mem::take(&mut self.events);
        let (logged, emitted) = tokio::join!(
            self.store
                .append_log(run.id, waiting, self.stored.expires_at),
            self.store
                .put_events(run.id, run.events + 1, &events, self.stored.expires_at)
        );
        logged?;
        emitted?;
        let written = u32::try_from(events.len()).unwrap_or(u32::MAX);
        self.stored.run.events = self.stored.run.events.saturating_add(written);
        Ok(())
    }

    /// Lets the run wait until a time, or until one of these runs has ended. If the process dies in
    /// between, the message is redelivered and finds the run unchanged.
    pub(crate) async fn leave(
        &mut self,
        version: u32,
        until: Option<Timestamp>,
        awaited: &[RunId],
        run_log: &mut RunLog,
    ) -> Result<MessageOutcome, Error> {
        self.flush(run_log).await?;
        let now = self.app.clock.now();
        let awaits_run = !awaited.is_empty();
        let look = awaits_run.then_some(now + CHECK_CHILD_EVERY);
        let wakes_at = [until, look].into_iter().flatten().min();
        let run = self.stored.run.clone();
        let Ok(run) = run.wait(version, wakes_at, awaits_run, now) else {
            return Ok(MessageOutcome::AlreadyEnded);
        };
        // The items of a waiting run are retained until it continues, and for another retention
        // period.
        let kept = SignedDuration::from_hours(24 * i64::from(self.limits.retention_days));
        let expires_at = wakes_at.map(|at| at + kept);
        let expires_at = expires_at.filter(|at| *at > self.stored.expires_at + kept / 2);
        if let Some(expires_at) = expires_at {
            // Stopped before the invocation ends, which would end the other runs of the batch; the
            // redelivered message continues here.
            let keeps = self.store.keep_until(run.id, expires_at);
            let time = self.left().saturating_sub(LAST_WRITES);
            let kept = timeout(time, keeps).await;
            kept.map_err(|_| Error::NotEnoughTime)??;
            self.stored.expires_at = expires_at;
        }
        self.stored.run = run;
        self.store.save_run(&self.stored).await?;
        // Scheduled after the write, since an earlier message could find the run not yet waiting.
        self.schedule().await?;
        if self.any_ended(awaited).await? {
            self.app.queue.send(&self.message()).await?;
        }
        Ok(MessageOutcome::Waits)
    }

    /// Whether one of the awaited runs ended before this run was written as waiting. Its message
    /// then came too early.
    async fn any_ended(&self, awaited: &[RunId]) -> Result<bool, Error> {
        for run in awaited {
            let found = self.store.run(*run).await?;
            if found.is_none_or(|found| found.run.status.is_terminal()) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Records a child run, which is written with this run.
    pub(crate) fn note(&mut self, effect: &Effect, child: Option<RunId>) {
        let run = &mut self.stored.run;
        let child = child.map(|run_id| Child {
            run_id,
            task: effect.key.task.clone(),
        });
        if let Some(child) = child.filter(|child| !run.children.contains(child))
            && run.children.len() < MAX_CHILDREN
        {
            run.children.push(child);
        }
    }

    /// A function that starts effects.
    pub(crate) fn caller(&self) -> impl Fn(Arc<Effect>) -> Call<'a> + use<'a> {
        let (app, store, limits) = (self.app, self.store, self.limits);
        let run = Arc::new(self.stored.run.clone());
        move |effect| {
            let run = Arc::clone(&run);
            Box::pin(async move {
                match &effect.request {
                    Request::Http(request) => {
                        let secret_nonce = run.secret_nonce.as_deref().unwrap_or_default();
                        let response =
                            match secrets::fill(app, store, secret_nonce, request).await? {
                                Err(response) => response,
                                Ok(FilledRequest {
                                    request,
                                    redactions,
                                }) => {
                                    let (tenant, run) = (store.tenant_id(), run.id);
                                    let calling = app
                                        .outbound
                                        .call(tenant, run, &effect, &request, redactions);
                                    calling.await
                                }
                            };
                        Ok(StartedEffect {
                            child: None,
                            result: Some(response),
                        })
                    }
                    Request::Workflow(workflow) => {
                        subflow::run(app, store, &run, &limits, &effect, workflow).await
                    }
                }
            })
        }
    }

    /// Schedules the message with which a waiting run continues.
    pub(crate) async fn schedule(&self) -> Result<(), Error> {
        let run = &self.stored.run;
        let Some(at) = run.wakes_at else {
            return Ok(());
        };
        let delay = at.duration_since(self.app.clock.now());
        if delay > MAX_DELAY {
            let kept = self.stored.expires_at;
            self.store
                .schedule_wake(run.id, run.workflow_id, at, kept)
                .await?;
            return Ok(());
        }
        let seconds = delay.as_millis().max(0).unsigned_abs().div_ceil(1_000);
        let delay = Duration::from_secs(u64::try_from(seconds).unwrap_or_default());
        self.app.queue.send_later(&self.message(), delay).await?;
        Ok(())
    }

    pub(crate) async fn end_completed(
        &mut self,
        output: &Value,
        run_log: &mut RunLog,
    ) -> Result<MessageOutcome, Error> {
        let now = self.app.clock.now();
        let content = match ArtifactContent::of(output, &self.limits) {
            Ok(content) => content,
            Err(error) => return self.end_faulted(error, run_log).await,
        };
        let ArtifactContent {
            name,
            content_type,
            bytes,
            output_digest,
        } = content;
        let artifact = Artifact {
            id: ArtifactId {
                run_id: self.stored.run.id,
                number: 0,
            },
            name: name.to_owned(),
            content_type: content_type.to_owned(),
            size_bytes: bytes.len() as u64,
            digest: canonical::digest(&bytes),
            created_at: now,
        };
        run_log.completed(&output_digest, now);
        if bytes.len() <= self.app.inline_artifact_bytes {
            self.stored.artifact = Some(bytes);
            self.flush_at_end(run_log).await?;
        } else {
            let object = Object::artifact(self.store, artifact.id, &artifact.digest);
            let blobs = self.app.blobs.clone();
            let put = blobs.put(&object, bytes, content_type);
            let (put, flushed) = tokio::join!(put, self.flush_at_end(run_log));
            put?;
            flushed?;
        }
        let run = self.stored.run.clone();
        let Ok(run) = run.complete(output_digest, vec![artifact], now) else {
            return Ok(MessageOutcome::AlreadyEnded);
        };
        self.stored.run = run;
        self.save("completed").await
    }

    pub(crate) async fn end_faulted(
        &mut self,
        error: RunError,
        run_log: &mut RunLog,
    ) -> Result<MessageOutcome, Error> {
        let now = self.app.clock.now();
        run_log.faulted(&error, now);
        self.flush_at_end(run_log).await?;
        let Ok(run) = self.stored.run.clone().fault(error, now) else {
            return Ok(MessageOutcome::AlreadyEnded);
        };
        self.stored.run = run;
        self.save("faulted").await
    }

    /// Writes the end of the run. On a conflict, another delivery or a caller has ended it, or this
    /// message is redelivered.
    async fn save(&self, ended: &'static str) -> Result<MessageOutcome, Error> {
        match self.store.save_run(&self.stored).await {
            Ok(()) => {
                notify_parent(&self.app.queue, self.store, &self.stored.run).await?;
                Ok(MessageOutcome::Ended(ended))
            }
            Err(store::Error::Conflict) => match self.store.run(self.stored.run.id).await? {
                // Perhaps by this very write, whose answer was lost.
                Some(found) if found.run.status.is_terminal() => {
                    notify_parent(&self.app.queue, self.store, &found.run).await?;
                    Ok(MessageOutcome::AlreadyEnded)
                }
                _ => Err(store::Error::Conflict.into()),
            },
            Err(error) => Err(error.into()),
        }
    }
}
