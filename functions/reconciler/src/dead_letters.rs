//! Dead-lettered messages.

use aias_domain::run::RunError;
use aias_platform::{
    queue::{ReceivedMessage, RunMessage},
    run_log::RunLog,
    runs::notify_parent,
    sqs::{Disposition, SqsMessage},
    store::StoredRun,
    telemetry::ErrorChain,
};

use crate::{App, error::Error};

/// Marks the run of a dead-lettered message as faulted.
pub(crate) async fn fault_run(app: &App, record: SqsMessage) -> Disposition {
    let message_id = record.message_id.as_deref().unwrap_or_default();
    let message = match ReceivedMessage::parse(&record) {
        Ok(message) => message,
        Err(error) => {
            tracing::error!(event = "dead_letter_malformed", message_id, error = %error);
            return Disposition::Redeliver;
        }
    };
    let RunMessage {
        tenant_id, run_id, ..
    } = *message.message();
    match Box::pin(fault(app, &message)).await {
        Ok(outcome) => {
            tracing::warn!(event = "dead_letter_handled", message_id, %tenant_id, %run_id, outcome);
            Disposition::Delete
        }
        Err(error) => {
            tracing::error!(event = "dead_letter_retry", message_id, %tenant_id, %run_id, error = %ErrorChain(&error));
            Disposition::Redeliver
        }
    }
}

async fn fault(app: &App, received: &ReceivedMessage) -> Result<&'static str, Error> {
    let store = app.intake.store.tenant(received.proof());
    let Some(read) = store.run(received.message().run_id).await? else {
        return Ok("no run");
    };
    let now = app.clock.now();
    let detail = "the run's message failed at every delivery; the executor's log has the cause";
    let error = RunError::platform("dead-letter", "The run's message was dead-lettered", detail);
    let Ok(run) = read.run.clone().fault(error.clone(), now) else {
        notify_parent(&app.intake.queue, &store, &read.run).await?;
        return Ok("already ended");
    };
    let mut log = RunLog::new(store.log_length(&read).await?, 0, now, now);
    log.faulted(&error, now);
    store
        .append_log(run.id, &log.take(), read.expires_at)
        .await?;
    let run = StoredRun {
        run,
        version: read.version,
        ..read
    };
    store.save_run(&run).await?;
    notify_parent(&app.intake.queue, &store, &run.run).await?;
    Ok("faulted")
}
