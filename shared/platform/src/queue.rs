//! The runs queue: a message asks for the execution of a run.

use std::time::Duration;

use aias_domain::id::{RunId, TenantId, WorkflowId};
use aws_config::SdkConfig;
use aws_sdk_sqs::Client;
use serde::{Deserialize, Serialize};

use crate::{sqs::SqsMessage, store::Proof};

/// The queue did not accept a message.
#[derive(Debug, thiserror::Error)]
#[error("the queue cannot be reached")]
pub struct Error(#[source] Box<dyn std::error::Error + Send + Sync>);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunMessage {
    pub tenant_id: TenantId,
    pub run_id: RunId,
    /// The run's workflow, so that the executor can load both concurrently.
    pub workflow_id: WorkflowId,
    /// How many times in sequence the plan did not allow another running run. Such a run is
    /// computed only after it was written as `running`.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub refusals: u32,
    /// The starts of the running run ([`aias_domain::run::Run::attempts`]), if this message takes
    /// the place of one that was redelivered since its executor died.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dead_attempt: Option<u32>,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "the form that serde calls"
)]
fn is_zero(number: &u32) -> bool {
    *number == 0
}

impl RunMessage {
    /// The first message of a run.
    #[must_use]
    pub fn new(tenant_id: TenantId, run_id: RunId, workflow_id: WorkflowId) -> Self {
        Self {
            tenant_id,
            run_id,
            workflow_id,
            refusals: 0,
            dead_attempt: None,
        }
    }
}

/// A message received from the queue, which proves its tenant: only functions of this installation
/// can write to the queue.
#[derive(Debug, Clone, Copy)]
pub struct ReceivedMessage(RunMessage);

impl ReceivedMessage {
    /// Parses the body of an SQS record.
    ///
    /// # Errors
    ///
    /// When it is not a message of this queue.
    pub fn parse(record: &SqsMessage) -> Result<Self, serde_json::Error> {
        serde_json::from_str(record.body.as_deref().unwrap_or_default()).map(Self)
    }

    #[must_use]
    pub fn message(&self) -> &RunMessage {
        &self.0
    }

    /// Proves that the message belongs to its tenant.
    #[must_use]
    pub fn proof(&self) -> Proof {
        Proof::new(self.0.tenant_id)
    }
}

/// The messages of a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueueDepth {
    /// Waiting to be received.
    pub messages: u64,
    /// Received and not deleted yet.
    pub in_flight: u64,
    /// To be received later.
    pub delayed: u64,
}

#[derive(Debug, Clone)]
pub struct Queue {
    client: Client,
    url: String,
}

impl Queue {
    #[must_use]
    pub fn new(aws: &SdkConfig, url: String) -> Self {
        Self {
            client: Client::new(aws),
            url,
        }
    }

    /// Asks for the execution of a run. Idempotent.
    ///
    /// # Errors
    ///
    /// When the queue does not accept the message.
    pub async fn send(&self, message: &RunMessage) -> Result<(), Error> {
        self.send_later(message, Duration::ZERO).await
    }

    /// The same after `delay`, at most 15 minutes.
    ///
    /// # Errors
    ///
    /// When the queue does not accept the message.
    pub async fn send_later(&self, message: &RunMessage, delay: Duration) -> Result<(), Error> {
        let text = serde_json::to_string(message).map_err(|e| Error(Box::new(e)))?;
        let seconds = i32::try_from(delay.as_secs()).ok().filter(|s| *s > 0);
        self.client
            .send_message()
            .queue_url(&self.url)
            .message_body(text)
            // Of a standard queue: a tenant with many messages does not delay those of others.
            .message_group_id(message.tenant_id.to_string())
            .set_delay_seconds(seconds)
            .send()
            .await
            .map(|_| ())
            .map_err(|e| Error(Box::new(e)))
    }

    /// How many messages the queue has, about.
    ///
    /// # Errors
    ///
    /// When the queue cannot be reached.
    pub async fn depth(&self) -> Result<QueueDepth, Error> {
        use aws_sdk_sqs::types::QueueAttributeName as Name;

        let response = self
            .client
            .get_queue_attributes()
            .queue_url(&self.url)
            .attribute_names(Name::ApproximateNumberOfMessages)
            .attribute_names(Name::ApproximateNumberOfMessagesNotVisible)
            .attribute_names(Name::ApproximateNumberOfMessagesDelayed)
            .send()
            .await
            .map_err(|e| Error(Box::new(e)))?;
        let number = |name| {
            let text = response.attributes().and_then(|all| all.get(&name));
            text.and_then(|text| text.parse().ok()).unwrap_or_default()
        };
        Ok(QueueDepth {
            messages: number(Name::ApproximateNumberOfMessages),
            in_flight: number(Name::ApproximateNumberOfMessagesNotVisible),
            delayed: number(Name::ApproximateNumberOfMessagesDelayed),
        })
    }

    /// Checks that the queue is reachable.
    ///
    /// # Errors
    ///
    /// When it is not.
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
