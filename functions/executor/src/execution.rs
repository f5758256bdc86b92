//! A run in the hands of this executor: how it is claimed, left and ended.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use aias_domain::{
    artifact::Artifact,
    canonical,
    id::{ArtifactId, RunId},
    log::Entry,
    plan::Limits,
    run::{Child, MAX_CHILDREN, Run, RunError, Status},
};
use aias_engine::journal::{Effect, Request};
use aias_platform::{
    blobs::Object,
    clock::new_mark,
    entries::Entries,
    queue::RunMessage,
    runs::tell_parent,
    store::{self, Stored, StoredRun, TenantStore},
};
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use crate::{
    App,
    calls::{Call, Called},
    execute::{Done, Error},
    secrets::{self, Filled},
    subflow,
};

/// When a run is tried again that the plan had no room for.
const ROOM_AFTER: Duration = Duration::from_secs(5);

/// What the writes at the end of a run may take.
pub(crate) const WRITES: Duration = Duration::from_secs(9);

/// The longest delay of a message on the queue.
const MAX_DELAY: SignedDuration = SignedDuration::from_mins(15);

/// How much too early a waiting run may be gone on with.
const EARLY: SignedDuration = SignedDuration::from_secs(1);

/// How late a run may begin without a word in its journal.
const LATE: SignedDuration = SignedDuration::from_secs(1);

/// A run that waits for another one is looked at this often, should nobody tell it.
const LOOK_AGAIN: SignedDuration = SignedDuration::from_hours(1);

pub(crate) struct Execution<'a> {
    pub(crate) app: &'a App,
    pub(crate) store: &'a TenantStore<'a>,
    pub(crate) run: StoredRun,
    pub(crate) limits: Limits,
    pub(crate) claimed: bool,
    /// How many entries its journal has, and how many bytes of JSON these.
    pub(crate) journal: usize,
    pub(crate) journal_bytes: usize,
    /// Events that it emitted and that are not written yet; they follow those that are.
    pub(crate) events: Vec<Value>,
    /// When this environment is ended.
    deadline: SystemTime,
}

impl<'a> Execution<'a> {
    pub(crate) fn new(
        app: &'a App,
        store: &'a TenantStore<'a>,
        run: StoredRun,
        limits: Limits,
        deadline: SystemTime,
    ) -> Self {
        Self {
            app,
            store,
            run,
            limits,
            claimed: false,
            journal: 0,
            journal_bytes: 0,
            events: Vec::new(),
            deadline,
        }
    }

    /// Writes that the run is running, if the plan has room for one more; says whether it has.
    pub(crate) async fn claim(&mut self, run: Run) -> Result<bool, Error> {
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
        self.written(next);
        self.claimed = true;
        Ok(true)
    }

    /// Gives the run the mark that its secrets' names have, before anything is written that depends
    /// on it: a claim takes it along; a run that is claimed already is written once more.
    pub(crate) async fn mark(&mut self) -> Result<(), Error> {
        if self.run.run.value.mark.is_some() {
            return Ok(());
        }
        self.run.run.value.mark = Some(new_mark());
        if self.claimed {
            self.store.save_run(&self.run).await?;
            self.written(self.run.clone());
        }
        Ok(())
    }

    fn written(&mut self, run: StoredRun) {
        self.run = StoredRun {
            was: run.run.value.status,
            run: Stored {
                version: run.run.version + 1,
                ..run.run
            },
            ..run
        };
    }

    /// Leaves the run to a later message: others of its tenant have to end first.
    pub(crate) async fn wait_for_room(&self) -> Result<Done, Error> {
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
    pub(crate) async fn refuse(mut self, code: &str, title: &str) -> Result<Done, Error> {
        let now = self.app.clock.now();
        let written = self.store.log_length(&self.run).await?;
        let mut entries = Entries::new(written, 0, now, now);
        let error = RunError::platform(
            code,
            title,
            format!("{title}; the event is kept, and can be retried"),
        );
        self.end_faulted(error, &mut entries).await
    }

    /// What is left of this environment's time.
    pub(crate) fn left(&self) -> Duration {
        let left = self.deadline.duration_since(SystemTime::now());
        left.unwrap_or_default()
    }

    /// Whether this environment ends before the run may compute and write as long as it is allowed.
    pub(crate) fn is_too_late(&self) -> bool {
        self.left() < self.run_time() + WRITES
    }

    pub(crate) fn run_time(&self) -> Duration {
        Duration::from_secs(u64::from(self.limits.run_seconds))
    }

    /// Leaves the run to another environment: by another message, unless this one holds a run that
    /// was begun.
    pub(crate) async fn hand_on(&self) -> Result<Done, Error> {
        let run = &self.run.run.value;
        if run.status == Status::Running {
            return Err(Error::TooLate);
        }
        self.app.queue.send(&self.message()).await?;
        Ok(Done::HandedOn)
    }

    /// When the run began, if that is so much later than it was accepted that it matters to what
    /// takes time.
    pub(crate) fn late(&self, now: Timestamp) -> Option<Timestamp> {
        let run = &self.run.run.value;
        let began = run.started_at.unwrap_or(now);
        Some(began).filter(|began| *began > run.created_at + LATE)
    }

    /// Whether the run waits, and longer than to be worth a look.
    pub(crate) fn waits_longer(&self) -> bool {
        let run = &self.run.run.value;
        let later = |at: Timestamp| at > self.app.clock.now() + EARLY;
        run.status == Status::Waiting && !run.awaits_run && run.wakes_at.is_some_and(later)
    }

    /// Writes the log and the events so far.
    pub(crate) async fn flush(&mut self, entries: &mut Entries) -> Result<(), Error> {
        let waiting = entries.take();
        self.write(&waiting).await
    }

    /// Writes the events, and the log unless it goes with the run, whose end is to be written.
    async fn flush_at_end(&mut self, entries: &mut Entries) -> Result<(), Error> {
        let waiting = entries.take();
        if self.run.has_room_for(&waiting)? {
            self.run.log = waiting;
            return self.write(&[]).await;
        }
        self.write(&waiting).await
    }

    async fn write(&mut self, waiting: &[Entry]) -> Result<(), Error> {
        let run = &self.run.run.value;
        let events = std::mem::take(&mut self.events);
        let (logged, emitted) = tokio::join!(
            self.store.append_log(run.id, waiting, self.run.expires_at),
            self.store
                .put_events(run.id, run.events + 1, &events, self.run.expires_at)
        );
        logged?;
        emitted?;
        let written = u32::try_from(events.len()).unwrap_or(u32::MAX);
        self.run.run.value.events = self.run.run.value.events.saturating_add(written);
        Ok(())
    }

    /// Leaves the run until a time, or until one of these runs has ended. When the process dies on the
    /// way, the message that brought the run comes again and finds it as it is.
    pub(crate) async fn leave(
        &mut self,
        version: u32,
        until: Option<Timestamp>,
        awaited: &[RunId],
        entries: &mut Entries,
    ) -> Result<Done, Error> {
        self.flush(entries).await?;
        let now = self.app.clock.now();
        let awaits_run = !awaited.is_empty();
        let look = awaits_run.then_some(now + LOOK_AGAIN);
        let wakes_at = [until, look].into_iter().flatten().min();
        let run = self.run.run.value.clone();
        let Ok(run) = run.wait(version, wakes_at, awaits_run, now) else {
            return Ok(Done::HadEnded);
        };
        // What the run needs to go on is kept until it does, and as long again.
        let kept = SignedDuration::from_hours(24 * i64::from(self.limits.retention_days));
        let expires_at = wakes_at.map(|at| at + kept);
        let expires_at = expires_at.filter(|at| *at > self.run.expires_at + kept / 2);
        if let Some(expires_at) = expires_at {
            self.store.keep_until(run.id, expires_at).await?;
            self.run.expires_at = expires_at;
        }
        self.run.run.value = run;
        self.store.save_run(&self.run).await?;
        // Afterwards: a message that is faster than this write would find the run as it was.
        self.schedule().await?;
        if self.any_ended(awaited).await? {
            self.app.queue.send(&self.message()).await?;
        }
        Ok(Done::Waits)
    }

    /// Whether a run that this one waits for has ended meanwhile: it asked for this one before this
    /// one waited.
    async fn any_ended(&self, awaited: &[RunId]) -> Result<bool, Error> {
        for run in awaited {
            let found = self.store.run(*run).await?;
            if found.is_none_or(|found| found.run.value.status.is_terminal()) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Notes a run that an effect began, to be written with this one.
    pub(crate) fn note(&mut self, effect: &Effect, child: Option<RunId>) {
        let run = &mut self.run.run.value;
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

    /// What begins an effect.
    pub(crate) fn caller(&self) -> impl Fn(Arc<Effect>) -> Call<'a> + use<'a> {
        let (app, store, limits) = (self.app, self.store, self.limits);
        let run = Arc::new(self.run.run.value.clone());
        move |effect| {
            let run = Arc::clone(&run);
            Box::pin(async move {
                match &effect.request {
                    Request::Http(request) => {
                        let mark = run.mark.as_deref().unwrap_or_default();
                        let answer = match secrets::fill(app, store, mark, request).await? {
                            Err(answer) => answer,
                            Ok(Filled { request, concealed }) => {
                                let (tenant, run) = (store.tenant_id(), run.id);
                                let calling =
                                    app.outbound.call(tenant, run, &effect, &request, concealed);
                                calling.await
                            }
                        };
                        Ok(Called {
                            child: None,
                            answer: Some(answer),
                        })
                    }
                    Request::Workflow(workflow) => {
                        subflow::run(app, store, &run, &limits, &effect, workflow).await
                    }
                }
            })
        }
    }

    /// Has a waiting run asked for when it is to go on.
    pub(crate) async fn schedule(&self) -> Result<(), Error> {
        let run = &self.run.run.value;
        let Some(at) = run.wakes_at else {
            return Ok(());
        };
        let delay = at.duration_since(self.app.clock.now());
        if delay > MAX_DELAY {
            let kept = self.run.expires_at;
            self.store
                .set_wake(run.id, run.workflow_id, at, kept)
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
        entries: &mut Entries,
    ) -> Result<Done, Error> {
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
        let run_id = self.run.run.value.id;
        let artifact = Artifact {
            id: ArtifactId { run_id, number: 0 },
            name: name.to_owned(),
            content_type: content_type.to_owned(),
            size_bytes: bytes.len() as u64,
            digest: canonical::digest(&bytes),
            created_at: now,
        };
        entries.completed(&output_digest, now);
        if bytes.len() <= self.app.inline_artifact_bytes {
            self.run.artifact = Some(bytes);
            self.flush_at_end(entries).await?;
        } else {
            let object = Object::artifact(self.store, artifact.id, &artifact.digest);
            let blobs = self.app.blobs.clone();
            let put = blobs.put(&object, bytes, content_type);
            let (put, flushed) = tokio::join!(put, self.flush_at_end(entries));
            put?;
            flushed?;
        }
        let run = self.run.run.value.clone();
        let Ok(run) = run.complete(output_digest, vec![artifact], now) else {
            return Ok(Done::HadEnded);
        };
        self.run.run.value = run;
        self.save("completed").await
    }

    pub(crate) async fn end_faulted(
        &mut self,
        error: RunError,
        entries: &mut Entries,
    ) -> Result<Done, Error> {
        let now = self.app.clock.now();
        entries.faulted(&error, now);
        self.flush_at_end(entries).await?;
        let Ok(run) = self.run.run.value.clone().fault(error, now) else {
            return Ok(Done::HadEnded);
        };
        self.run.run.value = run;
        self.save("faulted").await
    }

    /// The one write at the end. When the run has changed meanwhile, another delivery or a caller
    /// has ended it, or this delivery comes again.
    async fn save(&self, ended: &'static str) -> Result<Done, Error> {
        match self.store.save_run(&self.run).await {
            Ok(()) => {
                tell_parent(&self.app.queue, self.store, &self.run.run.value).await?;
                Ok(Done::Ended(ended))
            }
            Err(store::Error::Conflict) => match self.store.run(self.run.run.value.id).await? {
                Some(found) if found.run.value.status.is_terminal() => Ok(Done::HadEnded),
                _ => Err(store::Error::Conflict.into()),
            },
            Err(error) => Err(error.into()),
        }
    }
}
