//! Drives a computation: writes its steps to the log, executes its effects, and appends their
//! results to the journal before passing them on.

use std::{pin::pin, time::Duration};

use aias_domain::{id::RunId, run::RunError};
use aias_engine::journal::{Entry, EntryEvent, PendingEffects};
use aias_platform::{
    journal::{self, MAX_JOURNAL_BYTES},
    outbound::CALL_TIMEOUT,
    run_log::RunLog,
};
use aias_sandbox::{Computation, Report, is_not_started};
use jiff::Timestamp;
use serde_json::Value;
use tokio::{
    sync::SemaphorePermit,
    time::{Instant, sleep, sleep_until},
};

use crate::{
    calls::EffectCalls,
    error::Error,
    execution::{Execution, WRITES},
};

/// Why driving a computation stopped.
pub(crate) enum DriveOutcome {
    Ended(Result<Value, RunError>),
    /// The plan does not allow another running run.
    AtCapacity,
    /// The run was ended by somebody else.
    Cancelled,
    /// The run waits until a time, if there is one, or until one of these runs has ended.
    Waits(Option<Timestamp>, Vec<RunId>),
}

/// How long a run computes before it is written as `running`.
const CLAIM_AFTER: Duration = Duration::from_secs(1);

/// How often the log is then written, and the run checked for cancellation.
const FLUSH_EVERY: Duration = Duration::from_secs(1);

/// The longest wait that is slept through, in milliseconds: SQS delays have a resolution of one
/// second.
const SHORT_MS: i64 = 2_000;

/// What to do after an effect completed or a timer expired.
enum Next {
    Entry(Box<Entry>),
    Leave(DriveOutcome),
}

/// Drives a computation until it ends or waits. From its first second on, or from its first effect,
/// the run is `running` and its log is written every second.
pub(crate) async fn drive<'a>(
    execution: &mut Execution<'a>,
    mut computation: Computation<'_>,
    version: u32,
    run_log: &mut RunLog,
    core: SemaphorePermit<'a>,
) -> Result<DriveOutcome, Error> {
    let mut driver = Driver {
        calls: EffectCalls::new(),
        version,
        flush_at: Instant::now() + CLAIM_AFTER,
    };
    let mut core = Some(core);
    // The CPU time that the run may still use.
    let mut left = execution.run_time();
    let mut since = Instant::now();
    // Until when the run computes although the invocation is about to end, for the sake of its calls
    // in progress.
    let mut give_up_at = None;
    loop {
        let report = {
            // One future for the whole report: a child that is being started, which takes long with
            // a large journal, is not started again after each flush.
            let mut next = pin!(computation.next());
            loop {
                tokio::select! {
                    report = &mut next => break report,
                    () = sleep_until(since + left) => {
                        return Ok(DriveOutcome::Ended(Err(timed_out())));
                    }
                    () = sleep_until(give_up_at.unwrap_or(since)), if give_up_at.is_some() => {
                        return Ok(passed_on(execution));
                    }
                    () = sleep_until(driver.flush_at) => {
                        if let Some(outcome) = driver.write_progress(execution, run_log).await? {
                            return Ok(outcome);
                        }
                    }
                }
            }
        };
        match report {
            Report::Step(record) => run_log.step(record, execution.app.clock.now()),
            // Not requested.
            Report::StepData(_) => {}
            Report::Emitted(number, event) => emitted(execution, number, event),
            Report::Ended(outcome) => {
                if outcome.as_ref().as_ref().is_err_and(is_not_started) {
                    // This executor lacks something; another one may have it.
                    return Err(Error::EngineNotStarted);
                }
                return Ok(DriveOutcome::Ended(*outcome));
            }
            Report::PendingEffects(requested) => {
                left = left.saturating_sub(since.elapsed());
                // While this run waits, another may use the core.
                drop(core.take());
                match driver.next_entry(execution, &requested, run_log).await? {
                    Next::Leave(outcome) => return Ok(outcome),
                    Next::Entry(entry) => {
                        if execution.lacks_time() {
                            // The entry is in the journal, so another invocation can continue from
                            // it. Calls in progress would be repeated there, so their results are
                            // awaited here.
                            if !driver.calls.is_any_in_progress() {
                                return Ok(passed_on(execution));
                            }
                            give_up_at =
                                Some(Instant::now() + execution.left().saturating_sub(WRITES));
                        }
                        if !execution.wait_for_memory().await {
                            return Ok(passed_on(execution));
                        }
                        core = execution.app.cores.acquire().await.ok();
                        since = Instant::now();
                        computation.give(*entry).await;
                    }
                }
            }
        }
    }
}

/// Leaves the run to another invocation, which continues it at once.
fn passed_on(execution: &Execution<'_>) -> DriveOutcome {
    DriveOutcome::Waits(Some(execution.app.clock.now()), Vec::new())
}

struct Driver<'a> {
    calls: EffectCalls<'a>,
    version: u32,
    flush_at: Instant,
}

impl<'a> Driver<'a> {
    /// Writes the run as `running` and its log, and checks whether it was ended by somebody else.
    async fn write_progress(
        &mut self,
        execution: &mut Execution<'a>,
        run_log: &mut RunLog,
    ) -> Result<Option<DriveOutcome>, Error> {
        if let Some(outcome) = self.claim(execution).await? {
            return Ok(Some(outcome));
        }
        execution.flush(run_log).await?;
        self.flush_at = Instant::now() + FLUSH_EVERY;
        cancelled(execution).await
    }

    async fn claim(
        &mut self,
        execution: &mut Execution<'a>,
    ) -> Result<Option<DriveOutcome>, Error> {
        if execution.claimed {
            return Ok(None);
        }
        let now = execution.app.clock.now();
        let run = execution.stored.run.clone();
        let Ok(run) = run.start(self.version, now) else {
            return Ok(Some(DriveOutcome::Cancelled));
        };
        let claimed = execution.claim(run).await?;
        Ok((!claimed).then_some(DriveOutcome::AtCapacity))
    }

    /// Waits for the next result or timer, and appends it to the journal.
    async fn next_entry(
        &mut self,
        execution: &mut Execution<'a>,
        requested: &PendingEffects,
        run_log: &mut RunLog,
    ) -> Result<Next, Error> {
        self.calls.set_requested(&requested.effects);
        loop {
            let now = execution.app.clock.now();
            let first = execution.journal == 0 && requested.until.is_some();
            if let Some(started_at) = execution.late(now).filter(|_| first) {
                return append_entry(execution, started_at, EntryEvent::Started).await;
            }
            if let Some(until) = requested.until.filter(|until| *until <= now) {
                return append_entry(execution, until.max(now), EntryEvent::TimerExpired).await;
            }
            if self.calls.is_any_waiting() && execution.left() >= CALL_TIMEOUT + WRITES {
                if let Some(outcome) = self.claim(execution).await? {
                    return Ok(Next::Leave(outcome));
                }
                let call = execution.caller();
                self.calls.start_queued(|effect| call(effect));
            }
            let under_way = self.calls.is_any_in_progress();
            if !under_way && self.calls.is_any_waiting() {
                // There is not enough time left to start an effect.
                return Ok(Next::Leave(passed_on(execution)));
            }
            let ms = requested
                .until
                .map(|until| until.duration_since(now).as_millis());
            let short = ms.filter(|ms| under_way || *ms <= i128::from(SHORT_MS));
            if !under_way && short.is_none() {
                let awaited = self.calls.awaited();
                return Ok(Next::Leave(DriveOutcome::Waits(requested.until, awaited)));
            }
            let pause = short.and_then(|ms| u64::try_from(ms).ok());
            let pause = pause.map_or(Duration::MAX, Duration::from_millis);
            tokio::select! {
                answered = self.calls.next() => {
                    let (effect, called) = answered?;
                    execution.note(&effect, called.child);
                    let Some(response) = called.result else { continue };
                    let event = EntryEvent::EffectCompleted {
                        key: effect.key.clone(),
                        digest: effect.digest(),
                        result: response,
                    };
                    return append_entry(execution, execution.app.clock.now(), event).await;
                }
                () = sleep(pause.min(FAR)), if short.is_some() => {
                    let until = requested.until.unwrap_or(now);
                    let at = until.max(execution.app.clock.now());
                    return append_entry(execution, at, EntryEvent::TimerExpired).await;
                }
                () = sleep_until(self.flush_at) => {
                    if let Some(outcome) = self.write_progress(execution, run_log).await? {
                        return Ok(Next::Leave(outcome));
                    }
                }
            }
        }
    }
}

/// Longer than any invocation.
const FAR: Duration = Duration::from_secs(3_600);

/// Appends an entry to the journal, and concurrently checks whether the run was ended by somebody
/// else.
async fn append_entry(
    execution: &mut Execution<'_>,
    at: Timestamp,
    event: EntryEvent,
) -> Result<Next, Error> {
    let entry = Entry { at, event };
    let run = &execution.stored;
    let (id, place, kept) = (run.run.id, execution.journal, run.expires_at);
    let appending = journal::append(
        execution.store,
        &execution.app.blobs,
        id,
        place,
        &entry,
        kept,
    );
    let (appended, ended) = tokio::join!(appending, cancelled(execution));
    if let Some(outcome) = ended? {
        return Ok(Next::Leave(outcome));
    }
    let Some(bytes) = appended? else {
        return Err(Error::ConcurrentExecution);
    };
    execution.journal += 1;
    execution.journal_bytes += bytes;
    if execution.journal_bytes > MAX_JOURNAL_BYTES {
        let detail = format!("the results of the run's calls exceed {MAX_JOURNAL_BYTES} bytes");
        let error = RunError::platform("journal-too-large", "The journal is too large", detail);
        return Ok(Next::Leave(DriveOutcome::Ended(Err(error))));
    }
    Ok(Next::Entry(Box::new(entry)))
}

/// Whether the run was ended by somebody else. A run that was not written yet cannot have been.
async fn cancelled(execution: &Execution<'_>) -> Result<Option<DriveOutcome>, Error> {
    let found = execution.store.run(execution.stored.run.id).await?;
    let ended = found.is_none_or(|found| found.run.status.is_terminal());
    Ok(ended.then_some(DriveOutcome::Cancelled))
}

fn emitted(execution: &mut Execution<'_>, number: u32, event: Value) {
    let written = execution.stored.run.events;
    let next = written.saturating_add(u32::try_from(execution.events.len()).unwrap_or(u32::MAX));
    if number > next {
        execution.events.push(event);
    }
}

fn timed_out() -> RunError {
    let detail = "the run has used all CPU time that its plan allows";
    RunError {
        status: 408,
        ..RunError::platform("timeout", "Timeout", detail)
    }
}
