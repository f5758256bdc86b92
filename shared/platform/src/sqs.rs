//! Batches of SQS messages. Only failed messages are redelivered (`ReportBatchItemFailures`).

pub use aws_lambda_events::sqs::{BatchItemFailure, SqsBatchResponse, SqsEvent, SqsMessage};
use futures_util::future::join_all;

/// How often a message has been received, including this time.
#[must_use]
pub fn receive_count(message: &SqsMessage) -> u32 {
    let count = message.attributes.get("ApproximateReceiveCount");
    count.and_then(|text| text.parse().ok()).unwrap_or(1)
}

/// When a message was sent, in milliseconds since 1970.
#[must_use]
pub fn sent_at_ms(message: &SqsMessage) -> Option<i64> {
    message.attributes.get("SentTimestamp")?.parse().ok()
}

/// What happens to a message after it was handled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Disposition {
    Delete,
    Redeliver,
}

/// Handles every message: first deliveries concurrently, then redelivered messages one by one, so
/// that a message that kills the process affects as few others as possible.
pub async fn each<F>(event: SqsEvent, handle: impl Fn(SqsMessage) -> F) -> SqsBatchResponse
where
    F: Future<Output = Disposition>,
{
    let (first, again): (Vec<_>, Vec<_>) = event
        .records
        .into_iter()
        .partition(|message| receive_count(message) <= 1);
    let handled = |message: SqsMessage| {
        let id = message.message_id.clone().unwrap_or_default();
        let disposition = handle(message);
        async move {
            match disposition.await {
                Disposition::Delete => None,
                Disposition::Redeliver => Some(id),
            }
        }
    };
    let mut failed = join_all(first.into_iter().map(&handled)).await;
    for message in again {
        failed.push(handled(message).await);
    }
    let mut response = SqsBatchResponse::default();
    response.set_failures(failed.into_iter().flatten());
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn failed_message_is_redelivered_and_its_neighbours_are_not() {
        let event = r#"{"Records": [
            {"messageId": "a", "body": "ok"},
            {"messageId": "b", "body": "bad", "attributes": {"ApproximateReceiveCount": "2"}},
            {"messageId": "c", "body": "bad"}
        ]}"#;
        let event: SqsEvent = serde_json::from_str(event).unwrap();
        let disposition = |message: SqsMessage| async move {
            if message.body.as_deref() == Some("ok") {
                Disposition::Delete
            } else {
                Disposition::Redeliver
            }
        };
        let response = serde_json::to_string(&each(event, disposition).await).unwrap();
        assert_eq!(
            response,
            r#"{"batchItemFailures":[{"itemIdentifier":"c"},{"itemIdentifier":"b"}]}"#
        );
    }
}
