//! Executes the run of one message.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use aias_domain::run::{Run, RunError, Status, TransitionError};
use aias_engine::journal::Entry;
use aias_platform::{
    journal,
    queue::{ReceivedMessage, RunMessage},
    run_log::RunLog,
    runs::{self, notify_parent, read_input},
    sqs::{Disposition, SqsMessage, receive_count, sent_at_ms},
    store::{self, StoredRun, TenantStore},
    telemetry::ErrorChain,
};
use aias_sandbox::{Computation, ComputationInput, Definition};
use jiff::Timestamp;
use serde_json::Value;
use tokio::{sync::SemaphorePermit, time::sleep};

use crate::{
    App,
    batch_cache::BatchCache,
    drive::{self, DriveOutcome},
    error::Error,
    execution::Execution,
    outcome::MessageOutcome,
};

/// The age at which a message without a run is dropped, in milliseconds.
const ORPHAN_AFTER_MS: i64 = 15 * 60 * 1000;

/// Executes the run of a message.
pub(crate) async fn execute<'a>(
    app: &'a App,
    reads: &BatchCache<'a>,
    record: SqsMessage,
    deadline: SystemTime,
) -> Disposition {
    let began = std::time::Instant::now();
    let message_id = record.message_id.as_deref().unwrap_or_default();
    let message = match ReceivedMessage::parse(&record) {
        Ok(message) => message,
        Err(error) => {
            // It moves to the dead-letter queue, where an operator can inspect it.
            tracing::error!(event = "message_malformed", message_id, error = %error);
            return Disposition::Redeliver;
        }
    };
    let received = receive_count(&record);
    // A redelivered message is handled after the rest of its batch, so its reads are not shared.
    let own = BatchCache::default();
    let reads = if received > 1 { &own } else { reads };
    let result = Box::pin(work(app, reads, &record, &message, deadline)).await;
    let duration_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
    let RunMessage {
        tenant_id, run_id, ..
    } = *message.message();
    match result {
        Ok(outcome) => {
            tracing::info!(event = "message_handled", message_id, %tenant_id, %run_id, received, outcome = outcome.as_str(), duration_ms);
            Disposition::Delete
        }
        Err(error) => {
            let error = ErrorChain(&error).to_string();
            tracing::error!(event = "message_retry", message_id, %tenant_id, %run_id, received, error, duration_ms);
            Disposition::Redeliver
        }
    }
}

/// One delivery of a run, from its message to its outcome.
async fn work<'a>(
    app: &'a App,
    reads: &BatchCache<'a>,
    record: &SqsMessage,
    received: &ReceivedMessage,
    deadline: SystemTime,
) -> Result<MessageOutcome, Error> {
    let store = &app.store.tenant(received.proof());
    let message = received.message();
    let (stored, head, tenant) = tokio::join!(
        find_run(store, message),
        reads.workflow(*store, message.workflow_id),
        reads.tenant(*store)
    );
    let Some(stored) = stored? else {
        return missing_run(app, record);
    };
    let is_redelivered = receive_count(record) > 1 || message.dead_attempt.is_some();
    if let Some(outcome) = already_handled(app, store, &stored.run, record, message).await? {
        return Ok(outcome);
    }
    let Some(tenant) = tenant?.filter(|tenant| tenant.deleted_at.is_none()) else {
        return Ok(MessageOutcome::NoRun);
    };
    let limits = tenant.limits(app.clock.now());
    let mut execution = Execution::new(app, store, stored, limits, message.refusals, deadline);
    if execution.waits_longer() {
        // The executor that left it waiting may have died before scheduling the wake-up.
        execution.schedule().await?;
        return Ok(MessageOutcome::NotYet);
    }
    let version = match head? {
        None => {
            return execution
                .refuse("workflow-deleted", "The workflow is deleted")
                .await;
        }
        Some(head) if !head.can_run() => {
            return execution
                .refuse("workflow-disabled", "The workflow is disabled")
                .await;
        }
        Some(head) => execution
            .stored
            .run
            .workflow_version
            .unwrap_or_else(|| head.active_version()),
    };
    let Ok(core) = app.cores.acquire().await else {
        return Err(Error::NoRunYet);
    };
    if execution.lacks_time() {
        return execution.pass_on().await;
    }
    let was_refused = message.refusals > 0;
    let may_have_been_started = is_redelivered && execution.stored.run.status != Status::Waiting;
    if was_refused || may_have_been_started {
        match execution.stored.run.clone().start(version, app.clock.now()) {
            Ok(run) => {
                if !execution.claim(run).await? {
                    return execution.wait_for_capacity().await;
                }
            }
            Err(TransitionError::Exhausted) => {
                return execution
                    .refuse("executor-ended", "The executor died at each attempt")
                    .await;
            }
            Err(
                TransitionError::Ended(_)
                | TransitionError::NotFaulted(_)
                | TransitionError::NotSuspended(_),
            ) => {
                return Ok(MessageOutcome::AlreadyEnded);
            }
        }
    }
    compute(execution, version, core).await
}

/// The outcome of a message whose run does not exist: it may be written soon, or never.
fn missing_run(app: &App, record: &SqsMessage) -> Result<MessageOutcome, Error> {
    let sent = sent_at_ms(record).unwrap_or(i64::MAX);
    let age = app.clock.now().as_millisecond().saturating_sub(sent);
    if age > ORPHAN_AFTER_MS {
        Ok(MessageOutcome::NoRun)
    } else {
        Err(Error::NoRunYet)
    }
}

/// The outcome of a message whose run must not be executed because of its status.
async fn already_handled(
    app: &App,
    store: &TenantStore<'_>,
    run: &Run,
    record: &SqsMessage,
    message: &RunMessage,
) -> Result<Option<MessageOutcome>, Error> {
    if run.status.is_terminal() {
        // The executor that ended it may have died before sending the message to the parent.
        notify_parent(&app.queue, store, run).await?;
        return Ok(Some(MessageOutcome::AlreadyEnded));
    }
    if run.status == Status::Suspended {
        // Resuming it sends another message.
        return Ok(Some(MessageOutcome::Suspended));
    }
    let of_dead_executor = message.dead_attempt == Some(run.attempts);
    if run.status == Status::Running && receive_count(record) <= 1 && !of_dead_executor {
        // The executor of another message started it. If that executor died, its message is
        // redelivered.
        return Ok(Some(MessageOutcome::AlreadyStarted));
    }
    Ok(None)
}

/// The run of a message. The message may arrive slightly before the run's item is written.
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

/// The data of a run that its computation needs.
struct LoadedRun {
    definition: Arc<Definition>,
    input: Value,
    journal: Vec<Entry>,
    journal_bytes: usize,
}

/// Loads the data of a run, and its log; inside, the error that faults the run.
async fn load(
    execution: &Execution<'_>,
    version: u32,
    now: Timestamp,
) -> Result<(RunLog, Result<LoadedRun, RunError>), Error> {
    let (app, store) = (execution.app, execution.store);
    let run = &execution.stored.run;
    let definition = app.definitions.get(store, run.workflow_id, version);
    let input = read_input(store, &app.blobs, &execution.stored.input);
    let journal = async {
        // A run that was never started has neither a journal nor a log.
        if !run.has_journal() {
            return (Ok((Vec::new(), 0)), Ok(0));
        }
        tokio::join!(
            journal::read(store, &app.blobs, run.id),
            store.log_length(&execution.stored)
        )
    };
    let (definition, input, (journal, written)) = tokio::join!(definition, input, journal);
    let began = run.started_at.unwrap_or(now);
    let written = written?;
    // The error follows the entries that are written already.
    let error_log = RunLog::new(written.max(run.log_base), 0, began, now);
    let (journal, journal_bytes) = match journal {
        Err(error @ (journal::Error::Gone | journal::Error::TooLarge)) => {
            let title = "The journal does not exist any more";
            let error = RunError::platform("journal-gone", title, error.to_string());
            return Ok((error_log, Err(error)));
        }
        journal => journal?,
    };
    let definition = match definition? {
        Ok(definition) => definition,
        Err(error) => return Ok((error_log, Err(error))),
    };
    let input = match input {
        Err(runs::Error::InputGone) => {
            let title = "The input does not exist any more";
            let detail = "the input of the run is no longer retained";
            let error = RunError::platform("input-gone", title, detail);
            return Ok((error_log, Err(error)));
        }
        input => input?,
    };
    let loaded = LoadedRun {
        definition,
        input,
        journal,
        journal_bytes,
    };
    Ok((RunLog::new(run.log_base, written, began, now), Ok(loaded)))
}

/// Computes the run as far as possible.
async fn compute(
    mut execution: Execution<'_>,
    version: u32,
    mut core: SemaphorePermit<'_>,
) -> Result<MessageOutcome, Error> {
    let now = execution.app.clock.now();
    let (mut run_log, loaded) = load(&execution, version, now).await?;
    let loaded = match loaded {
        Ok(loaded) => loaded,
        Err(error) => return execution.end_faulted(error, &mut run_log).await,
    };
    if loaded.definition.mentions_secrets() {
        execution.ensure_secret_nonce().await?;
    }
    let run = &execution.stored.run;
    run_log.started(&run.input_digest, run.retries + 1, now);
    execution.journal = loaded.journal.len();
    execution.journal_bytes = loaded.journal_bytes;
    if execution.needs_memory() {
        drop(core);
        if !execution.wait_for_memory().await {
            return execution.pass_on().await;
        }
        core = match execution.app.cores.acquire().await {
            Ok(core) => core,
            Err(_) => return Err(Error::NoRunYet),
        };
    }
    let run = &execution.stored.run;
    let input = ComputationInput {
        definition: loaded.definition,
        run_id: run.id.to_string(),
        input: loaded.input,
        started_at: run.created_at,
        max_steps: execution.limits.steps_per_run,
        computing: execution.limits.computing,
        journal: loaded.journal,
        secret_nonce: run.secret_nonce.clone().unwrap_or_default(),
        with_data: false,
    };
    let computation = Computation::new(&execution.app.sandbox, input);
    let result =
        match drive::drive(&mut execution, computation, version, &mut run_log, core).await? {
            DriveOutcome::Ended(result) => result,
            DriveOutcome::AtCapacity => return execution.wait_for_capacity().await,
            DriveOutcome::Cancelled => return Ok(MessageOutcome::AlreadyEnded),
            DriveOutcome::Waits(until, awaited) => {
                return execution
                    .leave(version, until, &awaited, &mut run_log)
                    .await;
            }
        };
    if !execution.claimed {
        // Not written, since the end of the run includes it.
        let Ok(started) = execution.stored.run.clone().start(version, now) else {
            return Ok(MessageOutcome::AlreadyEnded);
        };
        execution.stored.run = started;
    }
    match result {
        Ok(output) => execution.end_completed(&output, &mut run_log).await,
        Err(error) => execution.end_faulted(error, &mut run_log).await,
    }
}
