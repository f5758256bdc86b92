//! The runs queue of a [`Bench`], and deliveries to the executor.

use std::time::{Duration, SystemTime};

use aias_platform::sqs::{SqsBatchResponse, SqsEvent};
use aias_testkit::{aws, wire::Wire};
use serde_json::{Value, json};

use super::Bench;

impl Bench {
    /// Receives and deletes all messages.
    pub async fn messages(&self) -> Vec<String> {
        let sqs = aws_sdk_sqs::Client::new(&aws::config(&self.aws, &Wire::default()));
        let mut bodies = Vec::new();
        loop {
            let received = sqs
                .receive_message()
                .queue_url(&self.queue)
                .max_number_of_messages(10)
                .visibility_timeout(60);
            let messages = received.send().await.unwrap().messages.unwrap_or_default();
            if messages.is_empty() {
                return bodies;
            }
            for message in messages {
                let handle = message.receipt_handle.unwrap();
                sqs.delete_message()
                    .queue_url(&self.queue)
                    .receipt_handle(handle)
                    .send()
                    .await
                    .unwrap();
                bodies.push(message.body.unwrap());
            }
        }
    }

    /// The number of waiting messages.
    pub async fn queue_depth(&self) -> u64 {
        self.queue().depth().await.unwrap().messages
    }

    /// Delivers messages to the executor, with the given receive count.
    pub async fn deliver(
        &self,
        app: &executor::App,
        bodies: &[String],
        received: u32,
    ) -> SqsBatchResponse {
        let whole = Duration::from_secs(60);
        self.deliver_within(app, bodies, received, whole).await
    }

    /// As [`Bench::deliver`], with a limited invocation time.
    pub async fn deliver_within(
        &self,
        app: &executor::App,
        bodies: &[String],
        received: u32,
        time: Duration,
    ) -> SqsBatchResponse {
        let deadline = SystemTime::now() + time;
        executor::handle(app, self.batch(bodies, received), deadline).await
    }

    #[must_use]
    pub fn batch(&self, bodies: &[String], received: u32) -> SqsEvent {
        serde_json::from_value(self.batch_json(bodies, received)).unwrap()
    }

    #[must_use]
    pub fn batch_json(&self, bodies: &[String], received: u32) -> Value {
        let sent = self.clock.now().as_millisecond().to_string();
        let record = |(index, body): (usize, &String)| {
            json!({
                "messageId": message_id(index),
                "body": body,
                "attributes": {"ApproximateReceiveCount": received.to_string(), "SentTimestamp": sent},
            })
        };
        let records: Vec<Value> = bodies.iter().enumerate().map(record).collect();
        json!({ "Records": records })
    }
}

/// The id of the message with this index in a batch, as long as a real one.
fn message_id(place: usize) -> String {
    format!("{place:08}-0000-4000-8000-000000000000")
}

/// The messages of a batch that SQS will redeliver.
#[must_use]
pub fn failed_of(response: &SqsBatchResponse, messages: &[String]) -> Vec<String> {
    let failed = |place: usize| {
        let mut failures = response.batch_item_failures.iter();
        failures.any(|failure| failure.item_identifier == message_id(place))
    };
    let messages = messages.iter().enumerate();
    messages
        .filter(|(place, _)| failed(*place))
        .map(|(_, message)| message.clone())
        .collect()
}
