//! A local server in place of AWS for measurements: it gives correct responses, counts every call,
//! and has a configurable latency.
//!
//! It proxies DynamoDB calls to the in-process database of `testkit`. SQS and S3 store what they
//! receive; Secrets Manager has the keyring; STS returns a session for any role. Signatures are not
//! verified.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use aias_testkit::dynamodb;
use axum::{
    Router,
    body::{Body, Bytes, to_bytes},
    extract::{Request, State},
    http::{HeaderMap, Method, StatusCode, header::CONTENT_TYPE},
    response::{IntoResponse as _, Response},
};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use serde_json::{Value, json};
use tokio::net::TcpListener;

/// The median latency of each service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Latency {
    /// In microseconds.
    pub dynamodb_us: u64,
    /// In microseconds.
    pub sqs_us: u64,
    /// In microseconds.
    pub s3_us: u64,
    /// Secrets Manager and STS, in microseconds.
    pub other_us: u64,
}

impl Latency {
    /// No latency.
    pub const NONE: Self = Self {
        dynamodb_us: 0,
        sqs_us: 0,
        s3_us: 0,
        other_us: 0,
    };

    /// The latency within a region.
    pub const REGIONAL: Self = Self {
        dynamodb_us: 4_000,
        sqs_us: 8_000,
        s3_us: 20_000,
        other_us: 15_000,
    };

    fn of(self, call: &str) -> u64 {
        match call.split_once('.').map(|(service, _)| service) {
            Some("DynamoDB") => self.dynamodb_us,
            Some("SQS") => self.sqs_us,
            Some("S3") => self.s3_us,
            _ => self.other_us,
        }
    }
}

/// A call.
#[derive(Debug, Clone, PartialEq)]
pub struct Call {
    /// Such as `DynamoDB.PutItem`.
    pub name: String,
    /// The size of the request body.
    pub sent_bytes: usize,
    /// The size of the response body.
    pub received_bytes: usize,
    /// Read units, as returned by DynamoDB.
    pub read_units: f64,
    /// Write units, as returned by DynamoDB.
    pub write_units: f64,
}

#[derive(Debug, Default)]
struct CloudState {
    calls: Vec<Call>,
    in_flight: usize,
    rounds: usize,
    messages: Vec<String>,
    objects: HashMap<String, Bytes>,
    state: u64,
}

/// The server. Clones share their state.
#[derive(Debug, Clone)]
pub struct Cloud {
    pub url: String,
    database: String,
    client: Client<HttpConnector, Body>,
    latency: Arc<Mutex<Latency>>,
    seen: Arc<Mutex<CloudState>>,
    secrets: Arc<HashMap<String, String>>,
}

/// The largest request body.
const MAX_BODY: usize = 16 * 1024 * 1024;

impl Cloud {
    /// Starts a server with an empty table and with secrets by name.
    pub async fn start(secrets: HashMap<String, String>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let cloud = Self {
            url: format!("http://{}", listener.local_addr().unwrap()),
            database: dynamodb::start().await,
            client: Client::builder(TokioExecutor::new()).build_http(),
            latency: Arc::new(Mutex::new(Latency::NONE)),
            seen: Arc::default(),
            secrets: Arc::new(secrets),
        };
        let router = Router::new().fallback(answer).with_state(cloud.clone());
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        cloud
    }

    /// Sets the latency.
    pub fn take(&self, latency: Latency) {
        *self.latency.lock().unwrap_or_else(PoisonError::into_inner) = latency;
    }

    fn seen(&self) -> MutexGuard<'_, CloudState> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The calls since the previous call of this method, and the number of sequential rounds:
    /// concurrent calls are one round.
    #[must_use]
    pub fn counted(&self) -> (Vec<Call>, usize) {
        let mut seen = self.seen();
        let rounds = std::mem::take(&mut seen.rounds);
        (std::mem::take(&mut seen.calls), rounds)
    }

    /// The messages sent since the previous call of this method.
    #[must_use]
    pub fn messages(&self) -> Vec<String> {
        std::mem::take(&mut self.seen().messages)
    }

    /// The number of objects.
    #[must_use]
    pub fn objects(&self) -> usize {
        self.seen().objects.len()
    }

    /// A random duration with this median, sometimes three times as long. The sequence is always
    /// the same.
    fn draw(&self, median_us: u64) -> Duration {
        let mut seen = self.seen();
        // SplitMix64.
        seen.state = seen.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = seen.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        let uniform = ((z ^ (z >> 31)) >> 11) as f64 / (1_u64 << 53) as f64;
        // Log-logistic with shape 5: p99 is 2.5 medians.
        let factor = (uniform.max(1e-6) / (1.0 - uniform).max(1e-6)).powf(0.2);
        Duration::from_micros((median_us as f64 * factor.min(5.0)) as u64)
    }

    async fn dynamodb(&self, target: &str, body: Bytes) -> (StatusCode, Bytes, f64) {
        // Always request the consumed capacity, even if the function does not.
        let mut requested: Value = serde_json::from_slice(&body).unwrap_or_default();
        requested["ReturnConsumedCapacity"] = json!("TOTAL");
        let request = Request::post(&self.database)
            .header("x-amz-target", target)
            .header(CONTENT_TYPE, "application/x-amz-json-1.0")
            .header("authorization", "AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/dynamodb/aws4_request, SignedHeaders=host, Signature=0")
            .header("x-amz-date", "20260101T000000Z")
            .body(Body::from(requested.to_string()))
            .unwrap();
        let response = self.client.request(request).await.unwrap();
        let status = response.status();
        let bytes = to_bytes(Body::new(response.into_body()), MAX_BODY)
            .await
            .unwrap();
        let units = serde_json::from_slice(&bytes).map_or(0.0, |answer: Value| units_of(&answer));
        (status, bytes, units)
    }

    async fn s3(&self, method: &Method, path: &str, query: &str, body: Bytes) -> Response {
        if query.contains("list-type=2") {
            let empty = "<?xml version=\"1.0\"?><ListBucketResult><KeyCount>0</KeyCount><IsTruncated>false</IsTruncated></ListBucketResult>";
            return ([(CONTENT_TYPE, "application/xml")], empty).into_response();
        }
        if *method == Method::PUT {
            let fresh = self.seen().objects.insert(path.to_owned(), body).is_none();
            let status = if fresh {
                StatusCode::OK
            } else {
                StatusCode::PRECONDITION_FAILED
            };
            return (status, [("etag", "\"0\"")]).into_response();
        }
        let found = self.seen().objects.get(path).cloned();
        found.map_or_else(
            || StatusCode::NOT_FOUND.into_response(),
            |bytes| ([("etag", "\"0\"")], bytes).into_response(),
        )
    }
}

fn units_of(answer: &Value) -> f64 {
    let tables = match answer.get("ConsumedCapacity") {
        Some(Value::Array(tables)) => tables.iter().collect(),
        capacity => Vec::from_iter(capacity),
    };
    let units = |table: &&Value| table.get("CapacityUnits")?.as_f64();
    tables.iter().filter_map(units).sum()
}

/// The name of a call, such as `SQS.SendMessage`.
fn name_of(method: &Method, headers: &HeaderMap, body: &[u8]) -> String {
    let target = headers.get("x-amz-target").and_then(|v| v.to_str().ok());
    if let Some(target) = target {
        return target
            .replace("DynamoDB_20120810", "DynamoDB")
            .replace("AmazonSQS", "SQS")
            .replace("secretsmanager", "SecretsManager");
    }
    if body.starts_with(b"Action=AssumeRole") {
        return "STS.AssumeRole".to_owned();
    }
    format!("S3.{method}")
}

async fn answer(State(cloud): State<Cloud>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let body = to_bytes(body, MAX_BODY).await.unwrap();
    let name = name_of(&parts.method, &parts.headers, &body);
    {
        let mut seen = cloud.seen();
        seen.rounds += usize::from(seen.in_flight == 0);
        seen.in_flight += 1;
    }
    let median = cloud
        .latency
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .of(&name);
    if median > 0 {
        tokio::time::sleep(cloud.draw(median)).await;
    }
    let mut call = Call {
        name,
        sent_bytes: body.len(),
        received_bytes: 0,
        read_units: 0.0,
        write_units: 0.0,
    };
    let response = respond(&cloud, &mut call, &parts, body).await;
    let mut seen = cloud.seen();
    seen.in_flight -= 1;
    seen.calls.push(call);
    response
}

async fn respond(
    cloud: &Cloud,
    call: &mut Call,
    parts: &axum::http::request::Parts,
    body: Bytes,
) -> Response {
    let requested: Value = serde_json::from_slice(&body).unwrap_or_default();
    let text = |name: &str| requested[name].as_str().unwrap_or_default().to_owned();
    let found = match call.name.split_once('.') {
        Some(("DynamoDB", operation)) => {
            let target = format!("DynamoDB_20120810.{operation}");
            let (status, bytes, units) = cloud.dynamodb(&target, body).await;
            if ["GetItem", "Query", "BatchGetItem", "TransactGetItems"].contains(&operation) {
                call.read_units = units;
            } else {
                call.write_units = units;
            }
            call.received_bytes = bytes.len();
            let kind = [(CONTENT_TYPE, "application/x-amz-json-1.0")];
            return (status, kind, bytes).into_response();
        }
        Some(("SQS", "SendMessage")) => {
            let mut seen = cloud.seen();
            seen.messages.push(text("MessageBody"));
            json!({"MessageId": format!("{:08}-0000-4000-8000-000000000000", seen.messages.len()), "MD5OfMessageBody": ""})
        }
        Some(("SQS", _)) => json!({"Attributes": {"ApproximateNumberOfMessages": "0"}}),
        Some(("SecretsManager", _)) => {
            let id = text("SecretId");
            let Some(secret) = cloud.secrets.get(&id) else {
                let none = json!({"__type": "ResourceNotFoundException", "message": id});
                return (StatusCode::BAD_REQUEST, none.to_string()).into_response();
            };
            json!({"ARN": id, "Name": id, "VersionId": "v1", "VersionStages": ["AWSCURRENT"], "SecretString": secret})
        }
        Some(("STS", _)) => {
            call.received_bytes = SESSION.len();
            return ([(CONTENT_TYPE, "text/xml")], SESSION).into_response();
        }
        _ => {
            let (path, query) = (parts.uri.path(), parts.uri.query().unwrap_or_default());
            return cloud.s3(&parts.method, path, query, body).await;
        }
    };
    let bytes = found.to_string();
    call.received_bytes = bytes.len();
    ([(CONTENT_TYPE, "application/x-amz-json-1.1")], bytes).into_response()
}

const SESSION: &str = "<AssumeRoleResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><AssumeRoleResult><Credentials><AccessKeyId>ASIATEST</AccessKeyId><SecretAccessKey>test</SecretAccessKey><SessionToken>test</SessionToken><Expiration>2099-01-01T00:00:00Z</Expiration></Credentials></AssumeRoleResult></AssumeRoleResponse>";
