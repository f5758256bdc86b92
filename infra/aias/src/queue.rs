//! SQS in this process: the runs queue and its dead letters.
//!
//! A message is an item of the table, so it survives, and is in memory as well, so receiving one
//! reads nothing. At a start all messages are read again. Then each counts as received once, since
//! it may have been: the executor treats its run as one whose executor may have died.
//!
//! | died after | remains | after the next start |
//! |---|---|---|
//! | the item was written | the item | the message is received |
//! | the message was handled | the item | it is handled again, which is harmless |
//! | the item was deleted | nothing | nothing |

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashMap, HashSet, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use aias_platform::{
    clock::{Clock, random_id},
    sqs::{SqsBatchResponse, SqsEvent, SqsMessage},
};
use serde_json::{Value, json};
use tokio::{sync::Notify, time::Instant};
use ulid::Ulid;

use crate::table::{QUEUES, Table, TableResponse};

/// How many messages the executor receives at once, as in `template.yaml`.
const BATCH: usize = 10;
/// How often a message is received before it is a dead letter, as in `template.yaml`.
pub(crate) const MAX_RECEIVES: u32 = 5;
/// The longest delay of a message, as of SQS.
const MAX_DELAY: Duration = Duration::from_secs(900);
/// When a failed message is received again; four times longer at each time.
const REDELIVER_AFTER: Duration = Duration::from_secs(1);
/// The most messages that wait. More are refused, so that a backlog does not use up the memory; their
/// events are answered `503`, and providers retry.
const MAX_WAITING: usize = 1_000_000;
/// How many messages are read or deleted by one request.
const PAGE: usize = 25;

/// Why the queue cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum QueueError {
    #[error("the table does not store messages (status {0})")]
    Table(u16),
    #[error("a message of the table is malformed")]
    Malformed,
    #[error("{MAX_WAITING} messages wait already")]
    Full,
}

#[derive(Debug, Clone)]
struct Message {
    id: Arc<str>,
    body: Arc<str>,
    sent_at_ms: i64,
    receives: u32,
}

/// Ordered by time, then by id.
type Delayed = BinaryHeap<Reverse<(Instant, Arc<str>)>>;

#[derive(Debug, Default)]
struct State {
    ready: VecDeque<Message>,
    /// The bodies of `ready`: a second message with the same body says nothing new.
    bodies: HashSet<Arc<str>>,
    delayed: Delayed,
    delayed_messages: HashMap<Arc<str>, Message>,
    in_flight: HashMap<Arc<str>, Message>,
    dead: HashMap<Arc<str>, Message>,
}

impl State {
    fn push(&mut self, message: Message) {
        self.bodies.insert(Arc::clone(&message.body));
        self.ready.push_back(message);
    }

    fn delay(&mut self, message: Message, until: Instant) {
        self.delayed.push(Reverse((until, Arc::clone(&message.id))));
        self.delayed_messages
            .insert(Arc::clone(&message.id), message);
    }

    /// Moves the messages whose delay has ended. Returns when the next one ends.
    fn release(&mut self, now: Instant) -> Option<Instant> {
        while let Some(Reverse((until, _))) = self.delayed.peek() {
            if *until > now {
                return Some(*until);
            }
            let Some(Reverse((_, id))) = self.delayed.pop() else {
                break;
            };
            if let Some(message) = self.delayed_messages.remove(&id) {
                self.push(message);
            }
        }
        None
    }
}

/// How many messages there are.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Depth {
    pub ready: usize,
    pub in_flight: usize,
    pub delayed: usize,
    pub dead: usize,
}

impl Depth {
    fn waiting(self) -> usize {
        self.ready + self.delayed
    }
}

/// The runs queue and its dead letters.
#[derive(Debug)]
pub(crate) struct Queue {
    table: Table,
    clock: Clock,
    state: Mutex<State>,
    changed: Notify,
}

impl Queue {
    /// Reads all messages.
    ///
    /// # Errors
    ///
    /// When the table fails.
    pub(crate) async fn open(table: Table, clock: Clock) -> Result<Self, QueueError> {
        let queue = Self {
            table,
            clock,
            state: Mutex::default(),
            changed: Notify::new(),
        };
        let mut start = Value::Null;
        loop {
            let mut request = json!({"TableName": QUEUES, "Limit": 1_000});
            if !start.is_null() {
                request["ExclusiveStartKey"] = start;
            }
            let mut page: Value = serde_json::from_slice(&queue.call("Scan", &request).await?)
                .map_err(|_| QueueError::Malformed)?;
            let now_ms = queue.clock.now().as_millisecond();
            for item in page["Items"].as_array().into_iter().flatten() {
                let (message, visible_at_ms) = message_of(item).ok_or(QueueError::Malformed)?;
                let wait = u64::try_from(visible_at_ms - now_ms).unwrap_or_default();
                // A clock that was set back must not hide a message for longer than SQS could.
                let wait = Duration::from_millis(wait).min(MAX_DELAY);
                let mut state = queue.state();
                if wait.is_zero() {
                    state.push(message);
                } else {
                    state.delay(message, Instant::now() + wait);
                }
            }
            start = page["LastEvaluatedKey"].take();
            if start.is_null() {
                return Ok(queue);
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn new_id(&self) -> String {
        let ms = self.clock.now().as_millisecond();
        Ulid::from_parts(u64::try_from(ms).unwrap_or_default(), random_id()).to_string()
    }

    async fn call(&self, operation: &str, request: &Value) -> Result<Vec<u8>, QueueError> {
        let TableResponse { status, body } = self
            .table
            .respond(operation, request.to_string().as_bytes())
            .await;
        if status == 200 {
            Ok(body)
        } else {
            Err(QueueError::Table(status))
        }
    }

    /// Stores a message, and returns its id.
    ///
    /// # Errors
    ///
    /// When the table does not store it.
    pub(crate) async fn send(&self, body: &str, delay: Duration) -> Result<String, QueueError> {
        let delay = delay.min(MAX_DELAY);
        if delay.is_zero() && self.state().bodies.contains(body) {
            // The message that waits is received after this, so it sees all that this one would.
            return Ok(self.new_id());
        }
        if self.depth().waiting() >= MAX_WAITING {
            return Err(QueueError::Full);
        }
        let id = self.new_id();
        let sent_at_ms = self.clock.now().as_millisecond();
        let visible_at_ms = sent_at_ms + i64::try_from(delay.as_millis()).unwrap_or_default();
        let item = json!({"TableName": QUEUES, "Item": {
            "queue": {"S": "runs"},
            "message_id": {"S": id},
            "body": {"S": body},
            "sent_at_ms": {"N": sent_at_ms.to_string()},
            "visible_at_ms": {"N": visible_at_ms.to_string()},
        }});
        self.call("PutItem", &item).await?;
        let message = Message {
            id: id.as_str().into(),
            body: body.into(),
            sent_at_ms,
            receives: 0,
        };
        {
            let mut state = self.state();
            if delay.is_zero() {
                state.push(message);
            } else {
                state.delay(message, Instant::now() + delay);
            }
        }
        self.changed.notify_one();
        Ok(id)
    }

    /// Waits for messages, and receives some.
    pub(crate) async fn receive(&self) -> SqsEvent {
        loop {
            let changed = self.changed.notified();
            let next = {
                let mut state = self.state();
                let next = state.release(Instant::now());
                if !state.ready.is_empty() {
                    return take(&mut state);
                }
                next
            };
            match next {
                None => changed.await,
                Some(until) => {
                    tokio::select! {
                        () = changed => {}
                        () = tokio::time::sleep_until(until) => {}
                    }
                }
            }
        }
    }

    /// Deletes the handled messages of a batch. Failed ones are received again later; those that
    /// failed too often are returned.
    pub(crate) async fn settle(
        &self,
        batch: &[Arc<str>],
        response: &SqsBatchResponse,
    ) -> Vec<SqsMessage> {
        let failed: HashSet<&str> = response
            .batch_item_failures
            .iter()
            .map(|failure| failure.item_identifier.as_str())
            .collect();
        let (mut handled, mut dead) = (Vec::new(), Vec::new());
        {
            let mut state = self.state();
            for id in batch {
                let Some(message) = state.in_flight.remove(id) else {
                    continue;
                };
                if !failed.contains(&**id) {
                    handled.push(Arc::clone(id));
                } else if message.receives >= MAX_RECEIVES {
                    dead.push(record_of(&message));
                    state.dead.insert(Arc::clone(id), message);
                } else {
                    let pause = REDELIVER_AFTER * 4_u32.pow(message.receives - 1);
                    state.delay(message, Instant::now() + pause);
                }
            }
        }
        self.changed.notify_one();
        self.delete(&handled).await;
        dead
    }

    /// Deletes a dead letter that was handled.
    pub(crate) async fn delete_dead(&self, id: &str) {
        let found = self.state().dead.remove(id);
        if let Some(message) = found {
            self.delete(&[message.id]).await;
        }
    }

    /// All dead letters that were not handled.
    #[must_use]
    pub(crate) fn dead_letters(&self) -> Vec<SqsMessage> {
        self.state().dead.values().map(record_of).collect()
    }

    /// Deletes messages. One that stays because the table fails is handled again after the next
    /// start, which is harmless.
    async fn delete(&self, ids: &[Arc<str>]) {
        for page in ids.chunks(PAGE) {
            let requests: Vec<Value> = page
                .iter()
                .map(|id| json!({"DeleteRequest": {"Key": {"queue": {"S": "runs"}, "message_id": {"S": **id}}}}))
                .collect();
            let request = json!({"RequestItems": {QUEUES: requests}}).to_string();
            let response = self
                .table
                .respond_unconfirmed("BatchWriteItem", request.as_bytes());
            if response.status != 200 {
                tracing::error!(event = "messages_not_deleted", status = response.status);
            }
        }
    }

    #[must_use]
    pub(crate) fn depth(&self) -> Depth {
        let state = self.state();
        Depth {
            ready: state.ready.len(),
            in_flight: state.in_flight.len(),
            delayed: state.delayed_messages.len(),
            dead: state.dead.len(),
        }
    }
}

/// Moves the first messages into a batch.
fn take(state: &mut State) -> SqsEvent {
    let mut event = SqsEvent::default();
    let count = state.ready.len().min(BATCH);
    for mut message in state.ready.drain(..count).collect::<Vec<_>>() {
        state.bodies.remove(&message.body);
        message.receives += 1;
        event.records.push(record_of(&message));
        state.in_flight.insert(Arc::clone(&message.id), message);
    }
    event
}

/// A message as the executor receives it from SQS.
fn record_of(message: &Message) -> SqsMessage {
    let mut record = SqsMessage::default();
    record.message_id = Some(message.id.to_string());
    record.body = Some(message.body.to_string());
    record.attributes = HashMap::from([
        (
            "ApproximateReceiveCount".to_owned(),
            message.receives.to_string(),
        ),
        ("SentTimestamp".to_owned(), message.sent_at_ms.to_string()),
    ]);
    record
}

/// A message of the table, received once, and when it may be received again.
fn message_of(item: &Value) -> Option<(Message, i64)> {
    let text = |name: &str, kind: &str| item[name][kind].as_str();
    let number = |name: &str| text(name, "N")?.parse().ok();
    let message = Message {
        id: text("message_id", "S")?.into(),
        body: text("body", "S")?.into(),
        sent_at_ms: number("sent_at_ms")?,
        receives: 1,
    };
    Some((message, number("visible_at_ms")?))
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use aias_platform::sqs::receive_count;

    use super::*;
    use crate::disk_sync::Durability;

    fn file() -> PathBuf {
        let folder = std::env::temp_dir().join(format!("aias-queue-{:x}", random_id()));
        std::fs::create_dir(&folder).unwrap();
        folder.join("table.sqlite")
    }

    async fn open(file: &std::path::Path) -> Queue {
        let table = Table::open(file, Durability::Process).unwrap();
        Queue::open(table, Clock::system()).await.unwrap()
    }

    /// The bodies and receive counts of the next batch.
    async fn next(queue: &Queue) -> (Vec<Arc<str>>, Vec<(String, u32)>) {
        let event = queue.receive().await;
        let ids = event.records.iter();
        let ids = ids.map(|record| record.message_id.as_deref().unwrap().into());
        let bodies = event.records.iter();
        let bodies = bodies.map(|record| (record.body.clone().unwrap(), receive_count(record)));
        (ids.collect(), bodies.collect())
    }

    fn failing(ids: &[Arc<str>]) -> SqsBatchResponse {
        let mut response = SqsBatchResponse::default();
        response.set_failures(ids.iter().map(ToString::to_string));
        response
    }

    fn body(name: &str, receives: u32) -> (String, u32) {
        (name.to_owned(), receives)
    }

    #[tokio::test(start_paused = true)]
    async fn failed_message_is_received_again_and_then_dead() {
        let file = file();
        let queue = open(&file).await;
        queue.send("good", Duration::ZERO).await.unwrap();
        queue.send("bad", Duration::ZERO).await.unwrap();
        let (ids, bodies) = next(&queue).await;
        assert_eq!(bodies, [body("good", 1), body("bad", 1)]);
        assert!(queue.settle(&ids, &failing(&ids[1..])).await.is_empty());
        for receives in 2..=MAX_RECEIVES {
            let began = Instant::now();
            let (ids, bodies) = next(&queue).await;
            assert_eq!(bodies, [body("bad", receives)]);
            assert_eq!(began.elapsed().as_secs(), 4_u64.pow(receives - 2));
            let dead = queue.settle(&ids, &failing(&ids)).await;
            assert_eq!(dead.len(), usize::from(receives == MAX_RECEIVES));
        }
        let dead = queue.dead_letters();
        assert_eq!(dead[0].body.as_deref(), Some("bad"));
        // It survives until it is handled.
        assert_eq!(open(&file).await.depth().ready, 1);
        queue
            .delete_dead(dead[0].message_id.as_deref().unwrap())
            .await;
        assert_eq!(queue.depth().dead, 0);
        assert_eq!(open(&file).await.depth().ready, 0);
        std::fs::remove_dir_all(file.parent().unwrap()).unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn messages_survive_and_count_as_received() {
        let file = file();
        let queue = open(&file).await;
        queue.send("now", Duration::ZERO).await.unwrap();
        queue.send("later", Duration::from_secs(60)).await.unwrap();
        let (_, bodies) = next(&queue).await;
        assert_eq!(bodies, [body("now", 1)]);
        // The process ends before it has handled the first one.
        drop(queue);
        let queue = open(&file).await;
        assert_eq!((queue.depth().ready, queue.depth().delayed), (1, 1));
        let (ids, bodies) = next(&queue).await;
        assert_eq!(bodies, [body("now", 2)]);
        queue.settle(&ids, &SqsBatchResponse::default()).await;
        let began = Instant::now();
        assert_eq!(next(&queue).await.1, [body("later", 2)]);
        assert!((58..=60).contains(&began.elapsed().as_secs()));
        std::fs::remove_dir_all(file.parent().unwrap()).unwrap();
    }

    #[tokio::test]
    async fn message_is_not_stored_twice_while_it_waits() {
        let file = file();
        let queue = open(&file).await;
        for _ in 0..3 {
            queue.send("run", Duration::ZERO).await.unwrap();
        }
        assert_eq!(queue.depth().ready, 1);
        let (ids, _) = next(&queue).await;
        // The one that is handled may have read an older state.
        queue.send("run", Duration::ZERO).await.unwrap();
        assert_eq!((queue.depth().ready, queue.depth().in_flight), (1, 1));
        queue.settle(&ids, &SqsBatchResponse::default()).await;
        assert_eq!(next(&queue).await.1, [body("run", 1)]);
        std::fs::remove_dir_all(file.parent().unwrap()).unwrap();
    }

    #[tokio::test]
    async fn batch_has_at_most_ten_messages() {
        let file = file();
        let queue = open(&file).await;
        for number in 0..12 {
            queue
                .send(&number.to_string(), Duration::ZERO)
                .await
                .unwrap();
        }
        assert_eq!(next(&queue).await.0.len(), BATCH);
        assert_eq!(next(&queue).await.0.len(), 2);
        std::fs::remove_dir_all(file.parent().unwrap()).unwrap();
    }
}
