//! The runs queue: one message says that one run is to be executed.

use std::time::Duration;

use aias_domain::id::{RunId, TenantId, WorkflowId};
use aws_config::SdkConfig;
use aws_sdk_sqs::Client;
use serde::{Deserialize, Serialize};

use crate::store::Proof;

/// The queue did not take a message.
#[derive(Debug, thiserror::Error)]
#[error("the queue cannot be reached")]
pub struct Error(#[source] Box<dyn std::error::Error + Send + Sync>);

/// A message on the runs queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunMessage {
    /// Whose run it is.
    pub tenant_id: TenantId,
    /// The run.
    pub run_id: RunId,
    /// Its workflow, so that both can be read side by side.
    pub workflow_id: WorkflowId,
}

impl RunMessage {
    /// A message's text, read.
    ///
    /// # Errors
    /// When the text is not one of ours.
    pub fn read(text: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(text)
    }

    /// Only our own functions can write to the queue, so a message proves its tenant.
    #[must_use]
    pub fn proof(&self) -> Proof {
        Proof::new(self.tenant_id)
    }
}

/// The runs queue.
#[derive(Debug, Clone)]
pub struct Queue {
    client: Client,
    url: String,
}

impl Queue {
    /// The queue at this URL.
    #[must_use]
    pub fn new(aws: &SdkConfig, url: String) -> Self {
        Self {
            client: Client::new(aws),
            url,
        }
    }

    /// Asks for a run to be executed. To ask twice is harmless.
    ///
    /// # Errors
    /// When the queue does not take it.
    pub async fn send(&self, message: &RunMessage) -> Result<(), Error> {
        self.send_later(message, Duration::ZERO).await
    }

    /// The same, seen after `delay`, at most 15 minutes.
    ///
    /// # Errors
    /// When the queue does not take it.
    pub async fn send_later(&self, message: &RunMessage, delay: Duration) -> Result<(), Error> {
        let text = serde_json::to_string(message).map_err(|e| Error(Box::new(e)))?;
        let seconds = i32::try_from(delay.as_secs()).ok().filter(|s| *s > 0);
        self.client
            .send_message()
            .queue_url(&self.url)
            .message_body(text)
            .set_delay_seconds(seconds)
            .send()
            .await
            .map(|_| ())
            .map_err(|e| Error(Box::new(e)))
    }

    /// Whether the queue answers.
    ///
    /// # Errors
    /// When it does not.
    pub async fn check(&self) -> Result<(), Error> {
        self.client
            .get_queue_attributes()
            .queue_url(&self.url)
            .attribute_names(aws_sdk_sqs::types::QueueAttributeName::ApproximateNumberOfMessages)
            .send()
            .await
            .map(|_| ())
            .map_err(|e| Error(Box::new(e)))
    }
}
