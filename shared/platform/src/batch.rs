//! A batch of SQS messages, each handled by itself: what fails is redelivered, its neighbours are
//! not (`ReportBatchItemFailures`).

use std::future::Future;

use futures_util::future::join_all;
use serde::{Deserialize, Serialize};

/// An SQS event, as much of it as is used.
#[derive(Debug, Clone, Deserialize)]
pub struct SqsEvent {
    /// The messages.
    #[serde(rename = "Records")]
    pub records: Vec<SqsRecord>,
}

/// A message.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SqsRecord {
    /// Its id.
    pub message_id: String,
    /// Its text.
    pub body: String,
    /// What SQS knows of it.
    #[serde(default)]
    pub attributes: SqsAttributes,
}

/// What SQS knows of a message.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct SqsAttributes {
    approximate_receive_count: Option<String>,
    sent_timestamp: Option<String>,
}

impl SqsRecord {
    /// How often the message was received, this time included.
    #[must_use]
    pub fn receive_count(&self) -> u32 {
        let count = self.attributes.approximate_receive_count.as_deref();
        count.and_then(|text| text.parse().ok()).unwrap_or(1)
    }

    /// When the message was sent, in milliseconds since 1970.
    #[must_use]
    pub fn sent_at_ms(&self) -> Option<i64> {
        self.attributes.sent_timestamp.as_deref()?.parse().ok()
    }
}

/// The messages that are to be redelivered.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SqsBatchResponse {
    /// One each.
    pub batch_item_failures: Vec<BatchItemFailure>,
}

/// A message that is to be redelivered.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BatchItemFailure {
    /// The message's id.
    pub item_identifier: String,
}

/// What becomes of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It is done with.
    Done,
    /// It is to come again.
    Again,
}

/// Handles every message: those that came for the first time side by side, then those that came
/// before one after the other, so that one which ends the process takes the fewest with it.
pub async fn each<F>(event: SqsEvent, handle: impl Fn(SqsRecord) -> F) -> SqsBatchResponse
where
    F: Future<Output = Verdict>,
{
    let (first, again): (Vec<_>, Vec<_>) = event
        .records
        .into_iter()
        .partition(|r| r.receive_count() <= 1);
    let handled = |record: SqsRecord| {
        let item_identifier = record.message_id.clone();
        let verdict = handle(record);
        async move {
            match verdict.await {
                Verdict::Done => None,
                Verdict::Again => Some(BatchItemFailure { item_identifier }),
            }
        }
    };
    let mut failures = join_all(first.into_iter().map(&handled)).await;
    for record in again {
        failures.push(handled(record).await);
    }
    SqsBatchResponse {
        batch_item_failures: failures.into_iter().flatten().collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_what_fails_comes_again() {
        let event = r#"{"Records": [
            {"messageId": "a", "body": "ok"},
            {"messageId": "b", "body": "bad", "attributes": {"ApproximateReceiveCount": "2"}},
            {"messageId": "c", "body": "bad"}
        ]}"#;
        let event: SqsEvent = serde_json::from_str(event).unwrap();
        let verdict = |record: SqsRecord| async move {
            if record.body == "ok" {
                Verdict::Done
            } else {
                Verdict::Again
            }
        };
        let response = serde_json::to_string(&each(event, verdict).await).unwrap();
        assert_eq!(
            response,
            r#"{"batchItemFailures":[{"itemIdentifier":"c"},{"itemIdentifier":"b"}]}"#
        );
    }
}
