//! Parsers of untrusted bytes, each as a function that accepts any bytes: it must return, and its
//! assertions must hold. The fuzzer (`fuzz/`) calls them with millions of inputs, the tests for
//! seconds.

pub mod mutate;

use std::{
    convert::Infallible,
    sync::{Arc, LazyLock},
};

use aias_domain::{
    canonical, event,
    id::RunId,
    json,
    verification::{self, HandshakeSecrets, HmacOptions, Scheme, Values, Verification},
};
use aias_engine::{
    Program,
    definition::{self, Format},
    journal::Entry,
};
use aias_platform::{
    http::{self, Gateway, Head, List, Path, Problem, Query as _, RawBody, Routes, parts_of_key},
    secrets::Keyring,
    store::Cursor,
};
use aias_sandbox::frame::{self, ChildReport, MAX_ORDER, MAX_REPORT, Order};
use axum::{
    extract::FromRequestParts,
    http::{StatusCode, request::Parts},
    routing::get,
};
use futures_util::FutureExt as _;
use jiff::Timestamp;
use serde_json::{Value, json, value::RawValue};

/// The name and the function of a target.
pub type Target = (&'static str, fn(&[u8]));

pub const ALL: &[Target] = &[
    ("api_key", api_key),
    ("cursor", cursor),
    ("definition", definition),
    ("form", form),
    ("frame", frames),
    ("http_event", http_event),
    ("jq", jq),
    ("json", json_text),
    ("sealed", sealed),
    ("verification", verification),
];

static KEYRING: LazyLock<Option<Keyring>> = LazyLock::new(|| {
    let text = r#"{"current":"k1","k1":"0123456789abcdef0123456789abcdef"}"#;
    Keyring::read(&text.to_owned().into()).ok()
});

/// A gateway with a handler that reads all parts of a request.
static GATEWAY: LazyLock<Gateway> = LazyLock::new(|| {
    let read = async |head: Head, query: AnyQuery, RawBody(body): RawBody| -> http::Result {
        for (name, _) in head.headers() {
            assert_eq!(name, name.to_ascii_lowercase());
        }
        let _ = (query.0.is_ok(), head.base_url());
        let json = http::parse::<Value>(&head, &body)?;
        http::response::json(StatusCode::OK, &json)
    };
    let id =
        async |Path(id): Path<RunId>| -> http::Result { http::response::json(StatusCode::OK, &id) };
    let routes = Routes::new()
        .route("/api/runs", get(read).post(read))
        .route("/api/runs/{id}", get(id));
    Gateway::new(http::service(routes))
});

/// The parameters of a list, or why they are refused.
struct AnyQuery(Result<List, Problem>);

impl<S: Sync> FromRequestParts<S> for AnyQuery {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self(List::read(&Head::of(parts))))
    }
}

/// An event of API Gateway, from its bytes to the response.
pub fn http_event(bytes: &[u8]) {
    let Ok(payload) = serde_json::from_slice::<Box<RawValue>>(bytes) else {
        return;
    };
    let answered = GATEWAY.respond(&payload).now_or_never();
    let response = serde_json::to_value(answered).unwrap_or_default();
    let status = response["statusCode"].as_u64();
    assert!(status.is_some_and(|status| status < 500), "{response}");
}

/// Splits an input into headers, two lines each up to an empty line, and the body.
fn request_of(bytes: &[u8]) -> (Vec<(&str, &str)>, &[u8]) {
    let mut headers = Vec::new();
    let mut rest = bytes;
    while let Some(end) = rest.iter().position(|b| *b == b'\n') {
        let (line, after) = rest.split_at(end);
        rest = after.get(1..).unwrap_or_default();
        let line = std::str::from_utf8(line).ok().filter(|l| !l.is_empty());
        let Some((name, value)) = line.and_then(|l| l.split_once(':')) else {
            break;
        };
        headers.push((name, value));
    }
    (headers, rest)
}

fn schemes() -> Vec<Scheme> {
    let names = verification::scheme_names();
    let of = |name: &&str| {
        let hmac = HmacOptions {
            header: (*name == "hmac").then(|| "x-signature".to_owned()),
            ..HmacOptions::default()
        };
        let own = Verification {
            hmac,
            ..Verification::named(name)
        };
        own.scheme().ok()
    };
    names.iter().filter_map(of).collect()
}

static SCHEMES: LazyLock<Vec<Scheme>> = LazyLock::new(schemes);

const METHODS: [&str; 4] = ["POST", "GET", "HEAD", "OPTIONS"];

/// A webhook with a scheme and a method selected by the first two bytes. It must be refused, since
/// it is not signed.
pub fn verification(bytes: &[u8]) {
    let [first, second, rest @ ..] = bytes else {
        return;
    };
    let Some(scheme) = SCHEMES.get(usize::from(*first) % SCHEMES.len()) else {
        return;
    };
    let (headers, body) = request_of(rest);
    // The header `?` is the query, which has the challenge of most handshakes.
    let query = headers.iter().find(|(name, _)| *name == "?");
    let query = query.map_or("a=b", |(_, value)| *value);
    let request = event::Request {
        method: METHODS[usize::from(*second) % METHODS.len()],
        url: "https://hooks.example.com/x?a=b",
        headers,
        query,
        body,
    };
    // The body also stands for what a provider publishes, so that its readers are reached.
    let published = Arc::new(body.to_vec());
    let mut values = Values::new(&request);
    let keys = [b"client:secret".to_vec(), vec![8; 32]];
    if let Ok(Some(request)) =
        verification::key_request(scheme, keys.first().map(Vec::as_slice), &values)
    {
        values = values.with_published_key(request, published);
    }
    if scheme.is_signed() {
        let verified = verification::verify(scheme, &keys, &values, Timestamp::UNIX_EPOCH);
        assert!(verified.is_err(), "a forged signature was accepted");
    }
    let secrets = HandshakeSecrets {
        keys: &keys,
        verify_tokens: &[],
    };
    let _ = verification::unsigned_handshake(scheme, &values, secrets);
    take(scheme, &request);
}

/// The processing of a verified webhook.
fn take(scheme: &Scheme, request: &event::Request<'_>) {
    let values = Values::new(request);
    let _ = verification::signed_handshake(scheme, &values, &[7; 32]);
    let _ = (
        event::event_id(scheme, &values),
        event::event_type(scheme, &values),
    );
    let Ok(body) = event::read_body(scheme, values) else {
        return;
    };
    let Ok(endpoint) = "whe_01JD3V4ZK8QW5R7T9X1B3C5D7F".parse() else {
        return;
    };
    let at = Timestamp::UNIX_EPOCH;
    if let Ok(input) = event::workflow_input("id", endpoint, at, scheme, request, body) {
        let again = json::parse(&canonical::to_vec(&input));
        assert!(again.is_ok(), "an input that cannot be parsed again");
    }
}

/// A form, and a query.
pub fn form(bytes: &[u8]) {
    let Ok(query) = std::str::from_utf8(bytes) else {
        return;
    };
    let request = event::Request {
        method: "POST",
        url: "https://hooks.example.com/x",
        headers: vec![("content-type", "application/x-www-form-urlencoded")],
        query,
        body: bytes,
    };
    if let Ok(scheme) = Verification::none().scheme() {
        take(&scheme, &request);
    }
}

/// Accepted JSON has one canonical form, which parses to the same value.
pub fn json_text(bytes: &[u8]) {
    let Ok(value) = json::parse(bytes) else {
        return;
    };
    let form = canonical::to_vec(&value);
    let again = json::parse(&form).map(|again| canonical::to_vec(&again));
    assert_eq!(again.ok(), Some(form));
}

/// A definition, in JSON or YAML by the first byte.
pub fn definition(bytes: &[u8]) {
    let Some((first, text)) = bytes.split_first() else {
        return;
    };
    let format = if first % 2 == 0 {
        Format::Json
    } else {
        Format::Yaml
    };
    let Ok(value) = definition::read(text, format) else {
        return;
    };
    let _ = definition::digest(&value);
    if let Err(faults) = Program::compile(&value) {
        assert!(!faults.is_empty(), "refused without a reason");
        for fault in faults {
            let there = fault.pointer.is_empty() || fault.pointer.starts_with('/');
            assert!(there, "{} is not a pointer", fault.pointer);
        }
    }
}

/// An expression.
pub fn jq(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    let definition: Value = json!({
        "document": {"dsl": "1.0.3", "namespace": "a", "name": "a", "version": "1.0.0"},
        "do": [{"a": {"set": {"x": format!("${{ {text} }}")}}}],
    });
    let _ = Program::compile(&definition);
}

/// A cursor that AIAS did not create.
pub fn cursor(bytes: &[u8]) {
    let (Ok(text), Some(keyring)) = (std::str::from_utf8(bytes), &*KEYRING) else {
        return;
    };
    let opened = Cursor::open(keyring, "list", text);
    assert!(opened.is_err(), "a forged cursor was accepted");
}

/// A sealed string that AIAS did not create.
pub fn sealed(bytes: &[u8]) {
    let (Ok(text), Some(keyring)) = (std::str::from_utf8(bytes), &*KEYRING) else {
        return;
    };
    assert!(
        keyring.open("place", text).is_err(),
        "a forged string was opened"
    );
}

/// The protocol between the executor and its children.
pub fn frames(bytes: &[u8]) {
    for max in [MAX_REPORT, MAX_ORDER] {
        let mut rest = bytes;
        while let Ok(Some(whole)) = frame::first(rest, max) {
            rest = rest.get(frame::HEAD + whole.len()..).unwrap_or_default();
            if let Ok(report) = frame::read::<ChildReport<'_>>(whole) {
                again(&report, whole);
                match report {
                    ChildReport::PendingEffects(json) => drop(frame::pending_of(&json)),
                    ChildReport::StepData(json) => drop(frame::step_data_of(&json)),
                    ChildReport::Faulted(json) => drop(frame::error_of(&json)),
                    ChildReport::Completed(json) | ChildReport::Emitted(_, json) => {
                        drop(frame::value_of(&json));
                    }
                    ChildReport::Ready(_)
                    | ChildReport::Compiled(_)
                    | ChildReport::Step(_)
                    | ChildReport::Broken => {}
                }
            }
            if let Ok(Order::Start(begin)) = frame::read::<Order<'_>>(whole) {
                drop(frame::value_of(&begin.input));
                if !json::is_deeper(&begin.journal, 200) {
                    drop(frame::trusted::<Vec<Entry>>(&begin.journal));
                }
            }
        }
    }
    // Requested effects are the same after writing and parsing them again.
    if let Ok(requested) = frame::pending_of(bytes) {
        let read = frame::pending_of(&frame::pending_json(&requested));
        assert_eq!(read.ok(), Some(requested));
    }
}

/// A parsed report is written as a report that parses to the same value.
fn again(report: &ChildReport<'_>, whole: &[u8]) {
    let mut written = Vec::new();
    let fits = frame::write(&mut written, report, MAX_REPORT).is_ok();
    assert!(fits || whole.len() > MAX_REPORT);
    let read = frame::first(&written, MAX_REPORT).ok().flatten();
    let read = read.map(frame::read::<ChildReport<'_>>);
    let read = read.and_then(Result::ok);
    assert_eq!(format!("{read:?}"), format!("{:?}", Some(report)));
}

/// An API key: an accepted one has only one form.
pub fn api_key(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    if let Some((tenant, secret)) = parts_of_key(text) {
        assert_eq!(format!("aias_{}_{secret}", tenant.ulid()), text);
    }
}
