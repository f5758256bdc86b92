//! Servers on loopback that workflows call: those of the conformance kit, and servers that are
//! slow, fail, or require authentication.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::{Path, Query, State},
    http::{HeaderMap, Method, StatusCode, Uri},
    response::{IntoResponse, Response},
    routing::any,
};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tokio::net::TcpListener;

/// A received request.
#[derive(Debug, Clone)]
pub struct ReceivedRequest {
    pub method: String,
    /// The path and query.
    pub target: String,
    pub headers: HeaderMap,
    pub body: String,
}

impl ReceivedRequest {
    /// The value of a header, or an empty string.
    #[must_use]
    pub fn header(&self, name: &str) -> &str {
        let value = self.headers.get(name).and_then(|v| v.to_str().ok());
        value.unwrap_or_default()
    }
}

#[derive(Debug, Clone, Default)]
pub struct Hosts {
    seen: Arc<Mutex<Vec<ReceivedRequest>>>,
}

const OAUTH_TOKEN: &str = "token-of-the-hosts";

impl Hosts {
    /// Starts the servers on a free port and returns their URL without a trailing slash.
    pub async fn start(&self) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let router = Router::new()
            .route("/petstore.swagger.io/v2/{*path}", any(petstore))
            .route("/httpbin.org/basic-auth/{user}/{password}", any(basic))
            .route("/echo", any(echo))
            .route("/mirror", any(mirror))
            .route("/echo/{*path}", any(echo))
            .route("/slow/{ms}", any(slow))
            .route("/flaky/{times}/{name}", any(flaky))
            .route("/status/{status}", any(status))
            .route("/redirect", any(redirect))
            .route("/hops/{left}", any(hops))
            .route("/digest", any(digest))
            .route("/oauth2/token", any(token))
            .route("/bearer", any(bearer))
            .route("/.well-known/openid-configuration", any(discovery))
            .route("/large/{bytes}", any(large))
            .with_state(self.clone());
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        url
    }

    fn all(&self) -> MutexGuard<'_, Vec<ReceivedRequest>> {
        self.seen.lock().unwrap()
    }

    /// The received requests whose path starts with `path`.
    #[must_use]
    pub fn seen(&self, path: &str) -> Vec<ReceivedRequest> {
        let all = self.all();
        let mut seen = all.clone();
        seen.retain(|seen| seen.target.starts_with(path));
        seen
    }

    fn note(
        &self,
        method: &Method,
        uri: &Uri,
        headers: &HeaderMap,
        body: &Bytes,
    ) -> ReceivedRequest {
        let seen = ReceivedRequest {
            method: method.to_string(),
            target: uri.to_string(),
            headers: headers.clone(),
            body: String::from_utf8_lossy(body).into_owned(),
        };
        self.all().push(seen.clone());
        seen
    }
}

fn answer(status: u16, value: &Value) -> Response {
    let status = StatusCode::from_u16(status).unwrap();
    let headers = [("content-type", "application/json")];
    (status, headers, value.to_string()).into_response()
}

async fn petstore(Path(path): Path<String>) -> Response {
    let pet = |id: i64| json!({"id": id, "name": format!("pet {id}"), "status": "available"});
    match path.split('/').collect::<Vec<_>>().as_slice() {
        ["swagger.json"] => answer(
            200,
            &json!({
                "swagger": "2.0", "host": "petstore.swagger.io", "basePath": "/v2", "schemes": ["https", "http"],
                "paths": {
                    "/pet/findByStatus": {"get": {"operationId": "findPetsByStatus", "parameters": [
                        {"name": "status", "in": "query", "required": true, "type": "array", "collectionFormat": "multi"},
                    ]}},
                    "/pet/{petId}": {"get": {"operationId": "getPetById", "parameters": [
                        {"name": "petId", "in": "path", "required": true, "type": "integer"},
                    ]}},
                },
            }),
        ),
        ["pet", "findByStatus"] => answer(200, &json!([pet(1), pet(2)])),
        ["pet", id] if id.parse::<i64>().is_ok() => answer(200, &pet(id.parse().unwrap())),
        _ => answer(404, &json!({"message": "not found"})),
    }
}

async fn basic(Path((user, password)): Path<(String, String)>, headers: HeaderMap) -> Response {
    let expected = format!("Basic {}", base64_of(&format!("{user}:{password}")));
    let given = headers.get("authorization").and_then(|v| v.to_str().ok());
    if given == Some(expected.as_str()) {
        return answer(200, &json!({"authenticated": true, "user": user}));
    }
    answer(401, &json!({"authenticated": false}))
}

/// The test kit needs base64 only here.
fn base64_of(text: &str) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut encoded = String::new();
    for chunk in text.as_bytes().chunks(3) {
        let bits = chunk.iter().enumerate().fold(0_u32, |bits, (place, byte)| {
            bits | u32::from(*byte) << (16 - 8 * place)
        });
        for place in 0..4 {
            encoded.push(if place <= chunk.len() {
                char::from(LETTERS[(bits >> (18 - 6 * place)) as usize & 63])
            } else {
                '='
            });
        }
    }
    encoded
}

async fn echo(
    State(hosts): State<Hosts>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let seen = hosts.note(&method, &uri, &headers, &body);
    let parsed = serde_json::from_str::<Value>(&seen.body).unwrap_or_else(|_| json!(seen.body));
    answer(
        200,
        &json!({"method": seen.method, "target": seen.target, "body": parsed}),
    )
}

/// Repeats everything that it receives, in headers and in the body, as JSON and as bytes.
async fn mirror(
    State(hosts): State<Hosts>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let seen = hosts.note(&method, &uri, &headers, &body);
    let received = |name: &str| seen.header(name).to_owned();
    let all: Value = headers
        .iter()
        .map(|(name, value)| {
            (
                name.to_string(),
                json!(String::from_utf8_lossy(value.as_bytes())),
            )
        })
        .collect::<serde_json::Map<_, _>>()
        .into();
    let text = json!({"target": seen.target, "headers": all, "body": seen.body}).to_string();
    let own = [
        ("x-received-authorization", received("authorization")),
        ("x-received-token", received("x-token")),
    ];
    if seen.target.contains("binary") {
        let bytes = [b"\xff\xfe".as_slice(), text.as_bytes()].concat();
        return (own, bytes).into_response();
    }
    let kind = [("content-type", "application/json")];
    (kind, own, text).into_response()
}

async fn slow(
    State(hosts): State<Hosts>,
    Path(ms): Path<u64>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    hosts.note(&method, &uri, &headers, &body);
    tokio::time::sleep(Duration::from_millis(ms)).await;
    answer(200, &json!({"slept": ms}))
}

/// Fails a number of times per name, then succeeds.
async fn flaky(
    State(hosts): State<Hosts>,
    Path((times, _)): Path<(usize, String)>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let seen = hosts.note(&method, &uri, &headers, &body);
    let came = hosts.seen(&seen.target).len();
    if came > times {
        answer(200, &json!({"attempt": came}))
    } else {
        answer(503, &json!({}))
    }
}

async fn status(
    State(hosts): State<Hosts>,
    Path(status): Path<u16>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    hosts.note(&method, &uri, &headers, &body);
    answer(status, &json!({"status": status}))
}

/// Redirects to `to`, or to itself.
async fn redirect(
    State(hosts): State<Hosts>,
    Query(query): Query<HashMap<String, String>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    hosts.note(&method, &uri, &headers, &body);
    let status = query.get("status").map_or("302", String::as_str);
    let status: u16 = status.parse().unwrap();
    Response::builder()
        .status(status)
        .header(
            "location",
            query.get("to").map_or("/redirect", String::as_str),
        )
        .body(Body::empty())
        .unwrap()
}

/// Redirects a number of times.
async fn hops(Path(left): Path<usize>) -> Response {
    let Some(left) = left.checked_sub(1) else {
        return answer(200, &json!({}));
    };
    let location = format!("/hops/{left}");
    (StatusCode::FOUND, [("location", location)], "").into_response()
}

/// RFC 7616 with SHA-256, for `user` and `password`.
async fn digest(
    State(hosts): State<Hosts>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let seen = hosts.note(&method, &uri, &headers, &body);
    let given = seen.header("authorization");
    let hash = |text: &str| hex::encode(Sha256::digest(text.as_bytes()));
    let part = |name: &str| -> String {
        let begins = format!("{name}=");
        given
            .trim_start_matches("Digest ")
            .split(',')
            .find_map(|part| part.trim().strip_prefix(&begins).map(str::to_owned))
            .unwrap_or_default()
            .trim_matches('"')
            .to_owned()
    };
    let secret = hash("user:hosts:password");
    let request = hash(&format!("{method}:{}", part("uri")));
    let (nonce, count, own) = (part("nonce"), part("nc"), part("cnonce"));
    let expected = hash(&format!("{secret}:{nonce}:{count}:{own}:auth:{request}"));
    if nonce == "n0nce" && part("response") == expected {
        return answer(200, &json!({"user": part("username")}));
    }
    let challenge = r#"Digest realm="hosts", qop="auth", algorithm=SHA-256, nonce="n0nce""#;
    let status = StatusCode::UNAUTHORIZED;
    (status, [("www-authenticate", challenge)], "").into_response()
}

/// RFC 6749, 4.4, for the client `id` with the secret `secret`.
async fn token(
    State(hosts): State<Hosts>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let seen = hosts.note(&method, &uri, &headers, &body);
    let form: HashMap<_, _> = form_urlencoded::parse(seen.body.as_bytes()).collect();
    let by_form = form.get("client_id").is_some_and(|id| id == "id")
        && form
            .get("client_secret")
            .is_some_and(|secret| secret == "secret");
    let by_header = seen.header("authorization") == format!("Basic {}", base64_of("id:secret"));
    let granted = form
        .get("grant_type")
        .is_some_and(|grant| grant == "client_credentials");
    if granted && (by_form || by_header) {
        let token = json!({"access_token": OAUTH_TOKEN, "token_type": "Bearer", "expires_in": 300});
        return answer(200, &token);
    }
    answer(401, &json!({"error": "invalid_client"}))
}

async fn bearer(
    State(hosts): State<Hosts>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let seen = hosts.note(&method, &uri, &headers, &body);
    if seen.header("authorization") == format!("Bearer {OAUTH_TOKEN}") {
        return answer(200, &json!({"ok": true}));
    }
    answer(401, &json!({}))
}

async fn discovery(headers: HeaderMap) -> Response {
    let host = headers.get("host").and_then(|v| v.to_str().ok());
    let host = host.unwrap_or_default();
    let endpoint = format!("http://{host}/oauth2/token");
    answer(200, &json!({"token_endpoint": endpoint}))
}

async fn large(Path(bytes): Path<usize>) -> Response {
    "x".repeat(bytes).into_response()
}
