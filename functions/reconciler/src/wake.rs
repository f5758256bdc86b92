//! Wake-ups: sends a message whose delay ends when the run continues.

use std::time::Duration;

use aias_platform::{queue::RunMessage, store::Wake, telemetry::ErrorChain};
use futures_util::{StreamExt as _, stream};
use jiff::SignedDuration;

use crate::{App, error::Error};

/// The longest delay of an SQS message.
pub(crate) const AHEAD: SignedDuration = SignedDuration::from_mins(15);

/// How many runs are processed concurrently.
const AT_ONCE: usize = 32;

/// Sends the message of each run that continues within the longest delay. A failure affects only
/// one run.
pub(crate) async fn send_wakeups(app: &App, wakes: Vec<Wake>) {
    stream::iter(wakes)
        .for_each_concurrent(AT_ONCE, |wake| async move {
            if let Err(error) = one(app, wake).await {
                let run_id = wake.run_id;
                tracing::error!(event = "wake_failed", %run_id, error = %ErrorChain(&error));
            }
        })
        .await;
}

/// The message is sent before the item is deleted. If the process dies in between, the message is
/// sent twice, which is harmless.
async fn one(app: &App, wake: Wake) -> Result<(), Error> {
    let store = app.intake.store.tenant(wake.proof);
    let message = RunMessage::new(store.tenant_id(), wake.run_id, wake.workflow_id);
    // The wait ends within the second that the item has.
    let delay = wake.at.duration_since(app.clock.now()).as_secs() + 1;
    let delay = Duration::from_secs(u64::try_from(delay).unwrap_or_default().min(900));
    app.intake.queue.send_later(&message, delay).await?;
    Ok(store.delete_wake(&wake).await?)
}
