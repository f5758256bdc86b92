//! The connection between the SDK and AWS. It counts calls and write units, and can fail from any
//! call on, as if the process died.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard},
};

use aias_platform::client::Client;
use aws_smithy_runtime_api::{
    client::{
        http::{
            HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings,
            SharedHttpClient, SharedHttpConnector,
        },
        orchestrator::{HttpRequest, HttpResponse},
        result::ConnectorError,
        runtime_components::RuntimeComponents,
    },
    http::StatusCode,
};
use aws_smithy_types::{body::SdkBody, byte_stream::ByteStream};
use serde_json::Value;
use tokio::sync::Notify;

/// When the process dies, relative to a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// Before the call is sent.
    Before,
    /// After AWS has processed the call, before its response arrives.
    After,
}

#[derive(Debug, Default)]
struct State {
    calls: Vec<String>,
    write_units: f64,
    writes: BTreeMap<String, u64>,
    in_flight: usize,
    rounds: usize,
    break_at: Option<(usize, Side)>,
    /// The call whose answer is lost.
    lost: Option<usize>,
    lost_name: Option<String>,
    /// The call that waits before it is sent, until [`Wire::resume`].
    pause_at: Option<usize>,
    /// Whether queries have no number.
    skips_queries: bool,
    hides_indexes: bool,
    /// The calls that have a number.
    numbered: usize,
}

/// The connection. Clones share their state.
#[derive(Debug, Clone)]
pub struct Wire {
    inner: SharedHttpClient,
    state: Arc<Mutex<State>>,
    paused: Arc<Notify>,
    resumed: Arc<Notify>,
}

impl Default for Wire {
    fn default() -> Self {
        Self {
            inner: Client::new().shared(),
            state: Arc::default(),
            paused: Arc::default(),
            resumed: Arc::default(),
        }
    }
}

impl Wire {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// Fails all calls from number `number` on, counted from 0. Whether AWS processes that call
    /// itself depends on `side`.
    pub fn break_at(&self, number: usize, side: Side) {
        self.state().break_at = Some((number, side));
    }

    /// As [`Wire::break_at`], but queries have no number: a death before a query equals one before
    /// the next call.
    pub fn break_beside_queries_at(&self, number: usize, side: Side) {
        let mut state = self.state();
        state.break_at = Some((number, side));
        state.skips_queries = true;
    }

    /// Lets queries of an index find nothing, as if it did not have the newest items yet.
    pub fn hide_indexes(&self, hidden: bool) {
        self.state().hides_indexes = hidden;
    }

    /// Loses the answer of a call, counted from 0, though AWS processes it. Later calls succeed, such
    /// as the SDK's retry.
    pub fn lose_answer_of(&self, number: usize) {
        self.state().lost = Some(number);
    }

    /// Loses the answer of the next call with this name.
    pub fn lose_answer_of_next(&self, name: &str) {
        self.state().lost_name = Some(name.to_owned());
    }

    /// Lets a call, counted from 0, wait before it is sent.
    pub fn pause_at(&self, number: usize) {
        self.state().pause_at = Some(number);
    }

    /// Waits until a call waits.
    pub async fn paused(&self) {
        self.paused.notified().await;
    }

    /// Sends the call that waits.
    pub fn resume(&self) {
        self.resumed.notify_one();
    }

    /// Whether the answer of a call was lost.
    #[must_use]
    pub fn has_lost_answer(&self) -> bool {
        let state = self.state();
        state.lost.is_some_and(|number| state.numbered > number)
    }

    fn done(&self) {
        let mut state = self.state();
        state.in_flight = state.in_flight.saturating_sub(1);
    }

    /// Whether the connection has failed.
    #[must_use]
    pub fn is_broken(&self) -> bool {
        let state = self.state();
        state
            .break_at
            .is_some_and(|(number, _)| state.numbered > number)
    }

    /// The names of the calls so far, such as `DynamoDB.PutItem`.
    #[must_use]
    pub fn calls(&self) -> Vec<String> {
        self.state().calls.clone()
    }

    /// The consumed write units so far, as returned by DynamoDB.
    #[must_use]
    pub fn write_units(&self) -> f64 {
        self.state().write_units
    }

    /// The items written so far to each partition key of the table. An item of a transaction counts
    /// twice, as DynamoDB charges it.
    #[must_use]
    pub fn writes_by_partition(&self) -> BTreeMap<String, u64> {
        self.state().writes.clone()
    }

    /// The number of sequential rounds: concurrent calls are one round.
    #[must_use]
    pub fn rounds(&self) -> usize {
        self.state().rounds
    }

    pub fn reset(&self) {
        *self.state() = State::default();
    }
}

fn name_of(request: &HttpRequest) -> String {
    match request.headers().get("x-amz-target") {
        Some(target) => target
            .replace("DynamoDB_20120810", "DynamoDB")
            .replace("AmazonSQS", "SQS"),
        None => format!("S3.{}", request.method()),
    }
}

fn written_partitions(name: &str, request: &HttpRequest) -> Vec<(String, u64)> {
    let body = request.body().bytes().unwrap_or_default();
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    let partition = |write: &Value| {
        let key = write.get("Item").or_else(|| write.get("Key"))?;
        Some(key["PK"]["S"].as_str()?.to_owned())
    };
    match name {
        "DynamoDB.PutItem" | "DynamoDB.UpdateItem" | "DynamoDB.DeleteItem" => {
            Vec::from_iter(partition(&body).map(|partition| (partition, 1)))
        }
        "DynamoDB.TransactWriteItems" => {
            let items = body["TransactItems"]
                .as_array()
                .cloned()
                .unwrap_or_default();
            let writes = items.iter().filter_map(Value::as_object).flatten();
            let partitions = writes.filter_map(|(_, write)| partition(write));
            partitions.map(|partition| (partition, 2)).collect()
        }
        _ => Vec::new(),
    }
}

/// Whether a query is of an index.
fn has_index(request: &HttpRequest) -> bool {
    let body = request.body().bytes().unwrap_or_default();
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    body["IndexName"].is_string()
}

impl HttpClient for Wire {
    fn http_connector(
        &self,
        settings: &HttpConnectorSettings,
        components: &RuntimeComponents,
    ) -> SharedHttpConnector {
        SharedHttpConnector::new(Connection {
            inner: self.inner.http_connector(settings, components),
            wire: self.clone(),
        })
    }
}

#[derive(Debug)]
struct Connection {
    inner: SharedHttpConnector,
    wire: Wire,
}

fn broken() -> ConnectorError {
    ConnectorError::io("the process has died".into())
}

impl HttpConnector for Connection {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let name = name_of(&request);
        if self.wire.state().hides_indexes && name == "DynamoDB.Query" && has_index(&request) {
            let body = SdkBody::from(r#"{"Items":[],"Count":0,"ScannedCount":0}"#);
            let empty = HttpResponse::new(StatusCode::try_from(200).unwrap(), body);
            return HttpConnectorFuture::ready(Ok(empty));
        }
        let (number, break_at, is_lost, waits) = {
            let mut state = self.wire.state();
            state.calls.push(name.clone());
            for (partition, count) in written_partitions(&name, &request) {
                *state.writes.entry(partition).or_default() += count;
            }
            state.rounds += usize::from(state.in_flight == 0);
            state.in_flight += 1;
            let is_skipped = state.skips_queries && name == "DynamoDB.Query";
            let number = state.numbered;
            if state.lost_name.as_ref() == Some(&name) {
                state.lost_name = None;
                state.lost = Some(number);
            }
            state.numbered += usize::from(!is_skipped);
            let break_at = state.break_at;
            // A skipped call fails only if an earlier call failed.
            let break_at = break_at.filter(|(at, _)| !is_skipped || number > *at);
            let is_lost = state.lost == Some(number) && !is_skipped;
            let waits = state.pause_at == Some(number) && !is_skipped;
            (number, break_at, is_lost, waits)
        };
        if break_at.is_some_and(|(at, side)| number > at || (number == at && side == Side::Before))
        {
            self.wire.done();
            return HttpConnectorFuture::ready(Err(broken()));
        }
        let (inner, wire) = (self.inner.clone(), self.wire.clone());
        HttpConnectorFuture::new(async move {
            if waits {
                wire.paused.notify_one();
                wire.resumed.notified().await;
            }
            let response = inner.call(request).await;
            wire.done();
            let response = response?;
            if is_lost || break_at.is_some_and(|(at, _)| number == at) {
                return Err(broken());
            }
            if name.starts_with("DynamoDB.") {
                counted(response, &wire).await
            } else {
                Ok(response)
            }
        })
    }
}

async fn counted(mut response: HttpResponse, wire: &Wire) -> Result<HttpResponse, ConnectorError> {
    let body = std::mem::replace(response.body_mut(), SdkBody::empty());
    let bytes = ByteStream::new(body)
        .collect()
        .await
        .map_err(|e| ConnectorError::io(e.into()))?
        .into_bytes();
    if let Ok(answer) = serde_json::from_slice::<Value>(&bytes) {
        // A transaction returns an entry per table.
        let capacity = answer.get("ConsumedCapacity");
        let tables = match capacity {
            Some(Value::Array(tables)) => tables.iter().collect(),
            capacity => Vec::from_iter(capacity),
        };
        let units = tables
            .into_iter()
            .filter_map(|table| table.get("CapacityUnits")?.as_f64());
        wire.state().write_units += units.sum::<f64>();
    }
    *response.body_mut() = SdkBody::from(bytes);
    Ok(response)
}
