//! Executes the run of one message.

use std::time::{Duration, SystemTime};

use aias_domain::run::{RunError, Status, TransitionError};
use aias_platform::{
    journal,
    queue::RunMessage,
    run_log::RunLog,
    runs::{self, notify_parent, read_input},
    sqs::{Disposition, SqsMessage, receive_count, sent_at_ms},
    store::{self, StoredRun, TenantStore},
    telemetry::ErrorChain,
};
use aias_sandbox::{Computation, ComputationInput};
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
    let message = match RunMessage::read(record.body.as_deref().unwrap_or_default()) {
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
    let (tenant_id, run_id) = (message.tenant_id, message.run_id);
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

async fn work<'a>(
    app: &'a App,
    reads: &BatchCache<'a>,
    record: &SqsMessage,
    message: &RunMessage,
    deadline: SystemTime,
) -> Result<MessageOutcome, Error> {
    let store = &app.store.tenant(message.proof());
    let (run, head, tenant) = tokio::join!(
        find_run(store, message),
        reads.workflow(*store, message.workflow_id),
        reads.tenant(*store)
    );
    let Some(run) = run? else {
        let sent = sent_at_ms(record).unwrap_or(i64::MAX);
        let age = app.clock.now().as_millisecond().saturating_sub(sent);
        return if age > ORPHAN_AFTER_MS {
            Ok(MessageOutcome::NoRun)
        } else {
            Err(Error::NoRunYet)
        };
    };
    if run.run.value.status.is_terminal() {
        // The executor that ended it may have died before sending the message to the parent.
        notify_parent(&app.queue, store, &run.run.value).await?;
        return Ok(MessageOutcome::AlreadyEnded);
    }
    if run.run.value.status == Status::Suspended {
        // Resuming it sends another message.
        return Ok(MessageOutcome::Suspended);
    }
    if run.run.value.status == Status::Running && receive_count(record) <= 1 {
        // The executor of another message started it. If that executor died, its message is
        // redelivered.
        return Ok(MessageOutcome::AlreadyStarted);
    }
    let tenant = tenant?.filter(|tenant| tenant.deleted_at.is_none());
    let Some(tenant) = tenant else {
        return Ok(MessageOutcome::NoRun);
    };
    let limits = tenant.limits(app.clock.now());
    let mut execution = Execution::new(app, store, run, limits, deadline);
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
    let Ok(core) = app.cores.acquire().await else {
        return Err(Error::NoRunYet);
    };
    if execution.lacks_time() {
        return execution.pass_on().await;
    }
    if receive_count(record) > 1 && execution.run.run.value.status != Status::Waiting {
        match execution
            .run
            .run
            .value
            .clone()
            .begin(version, app.clock.now())
        {
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

/// Computes the run as far as possible.
async fn compute(
    mut execution: Execution<'_>,
    version: u32,
    core: SemaphorePermit<'_>,
) -> Result<MessageOutcome, Error> {
    let (app, store) = (execution.app, execution.store);
    let run = &execution.run.run.value;
    let loading = app.definitions.get(store, run.workflow_id, version);
    let reading = read_input(store, &app.blobs, &execution.run.input);
    let remembering = async {
        // A run that was never started has neither a journal nor a log.
        if !run.has_journal() {
            return Ok((Vec::new(), 0, 0));
        }
        let journal = journal::read(store, &app.blobs, run.id);
        let (journal, length) = tokio::join!(journal, store.log_length(&execution.run));
        let (journal, bytes) = journal?;
        Ok::<_, Error>((journal, bytes, length?))
    };
    let (definition, input, journal) = tokio::join!(loading, reading, remembering);
    let now = app.clock.now();
    let journal = match journal {
        Err(Error::Journal(error @ (journal::Error::Gone | journal::Error::TooLarge))) => {
            let error = RunError::platform(
                "journal-gone",
                "The journal does not exist any more",
                error.to_string(),
            );
            let mut entries = RunLog::new(store.log_length(&execution.run).await?, 0, now, now);
            return execution.end_faulted(error, &mut entries).await;
        }
        journal => journal?,
    };
    let (journal, journal_bytes, written) = journal;
    let began = run.started_at.unwrap_or(now);
    let mut entries = RunLog::new(run.log_base, written, began, now);
    let definition = match definition? {
        Ok(definition) => definition,
        Err(error) => return execution.end_faulted(error, &mut entries).await,
    };
    let input = match input {
        Err(runs::Error::InputGone) => {
            let error = RunError::platform(
                "input-gone",
                "The input does not exist any more",
                "the input of the run is no longer retained",
            );
            return execution.end_faulted(error, &mut entries).await;
        }
        input => input?,
    };
    if definition.mentions_secrets() {
        execution.secret_nonce().await?;
    }
    let run = &execution.run.run.value;
    entries.started(&run.input_digest, run.retries + 1, now);
    execution.journal = journal.len();
    execution.journal_bytes = journal_bytes;
    let given = ComputationInput {
        definition,
        run_id: run.id.to_string(),
        input,
        started_at: run.created_at,
        max_steps: execution.limits.steps_per_run,
        computing: execution.limits.computing,
        journal,
        secret_nonce: run.secret_nonce.clone().unwrap_or_default(),
    };
    let computation = Computation::new(&app.sandbox, given);
    let heard = drive::drive(&mut execution, computation, version, &mut entries, core).await?;
    let outcome = match heard {
        DriveOutcome::Ended(outcome) => outcome,
        DriveOutcome::AtCapacity => return execution.wait_for_capacity().await,
        DriveOutcome::Cancelled => return Ok(MessageOutcome::AlreadyEnded),
        DriveOutcome::Waits(until, awaited) => {
            return execution
                .leave(version, until, &awaited, &mut entries)
                .await;
        }
    };
    if !execution.claimed {
        // Not written, since the end of the run includes it.
        let begun = execution.run.run.value.clone().begin(version, now);
        let Ok(begun) = begun else {
            return Ok(MessageOutcome::AlreadyEnded);
        };
        execution.run.run.value = begun;
    }
    match outcome {
        Ok(output) => execution.end_completed(&output, &mut entries).await,
        Err(error) => execution.end_faulted(error, &mut entries).await,
    }
}
