//! What reads foreign bytes, each as a function of any bytes: it must come back, and what it asserts
//! must hold. The fuzzer (`fuzz/`) drives them with millions of inputs, the tests for seconds.

pub mod mutate;

use std::{convert::Infallible, sync::LazyLock};

use aias_domain::{
    canonical, event,
    id::RunId,
    json,
    verification::{self, Handshake, HmacOptions, Scheme, Verification},
};
use aias_engine::{
    Program,
    definition::{self, Format},
    journal::Entry,
};
use aias_platform::{
    http::{self, Gateway, Head, List, Path, Problem, Query as _, RawBody, parts_of_key},
    secrets::Keyring,
    store::Cursor,
};
use aias_sandbox::frame::{self, MAX_ORDER, MAX_WORD, Order, Word};
use axum::{
    extract::FromRequestParts,
    http::{StatusCode, request::Parts},
    routing::get,
};
use futures_util::FutureExt as _;
use jiff::Timestamp;
use serde_json::{Value, json, value::RawValue};
use utoipa_axum::router::OpenApiRouter;

/// A name, and what is done with any bytes.
pub type Target = (&'static str, fn(&[u8]));

/// All of them.
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

/// A function as far as it reads requests.
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
    let routes = OpenApiRouter::new()
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

/// API Gateway's event: the whole way from its bytes to the response.
pub fn http_event(bytes: &[u8]) {
    let Ok(payload) = serde_json::from_slice::<Box<RawValue>>(bytes) else {
        return;
    };
    let answered = GATEWAY.respond(&payload).now_or_never();
    let response = serde_json::to_value(answered).unwrap_or_default();
    let status = response["statusCode"].as_u64();
    assert!(status.is_some_and(|status| status < 500), "{response}");
}

/// Splits an input into the fields that a request has: two lines each, up to an empty one; then the
/// body.
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
    let of = |scheme: &&str| {
        let hmac = HmacOptions {
            header: Some("x-signature".to_owned()),
            ..HmacOptions::default()
        };
        Verification {
            scheme: (*scheme).to_owned(),
            hmac: if *scheme == "hmac" {
                hmac
            } else {
                HmacOptions::default()
            },
        }
        .scheme()
        .ok()
    };
    names.iter().filter_map(of).collect()
}

static SCHEMES: LazyLock<Vec<Scheme>> = LazyLock::new(schemes);

/// A webhook by each scheme, chosen by the first byte: nobody without the key gets in.
pub fn verification(bytes: &[u8]) {
    let Some((first, rest)) = bytes.split_first() else {
        return;
    };
    let Some(scheme) = SCHEMES.get(usize::from(*first) % SCHEMES.len()) else {
        return;
    };
    let (headers, body) = request_of(rest);
    let request = event::Request {
        headers,
        query: "",
        body,
    };
    let now = Timestamp::UNIX_EPOCH;
    if let Some(signature) = &scheme.signature {
        let keys = [vec![7; 32], vec![8; 32]];
        let header = |name: &str| request.header(name);
        let verified = verification::verify(signature, &keys, header, body, now);
        assert!(verified.is_err(), "a forged signature was taken");
    }
    take(scheme, &request);
}

/// What follows when a webhook has proved itself.
fn take(scheme: &Scheme, request: &event::Request<'_>) {
    let Ok(body) = event::read_body(request) else {
        return;
    };
    if scheme.handshake == Handshake::SlackChallenge {
        let _ = event::slack_challenge(&body);
    }
    let _ = event::event_id(scheme, request, &body);
    let Ok(endpoint) = "whe_01JD3V4ZK8QW5R7T9X1B3C5D7F".parse() else {
        return;
    };
    let at = Timestamp::UNIX_EPOCH;
    if let Ok(input) = event::workflow_input("id", endpoint, at, scheme, request, body) {
        let again = json::parse(&canonical::to_vec(&input));
        assert!(again.is_ok(), "an input that cannot be read again");
    }
}

/// A form, and a query.
pub fn form(bytes: &[u8]) {
    let Ok(query) = std::str::from_utf8(bytes) else {
        return;
    };
    let _ = event::hub_challenge(query);
    let request = event::Request {
        headers: vec![("content-type", "application/x-www-form-urlencoded")],
        query,
        body: bytes,
    };
    if let Ok(scheme) = Verification::none().scheme() {
        take(&scheme, &request);
    }
}

/// JSON: what is taken has one canonical form, which reads as the same.
pub fn json_text(bytes: &[u8]) {
    let Ok(value) = json::parse(bytes) else {
        return;
    };
    let form = canonical::to_vec(&value);
    let again = json::parse(&form).map(|again| canonical::to_vec(&again));
    assert_eq!(again.ok(), Some(form));
}

/// A definition, as JSON or YAML by the first byte.
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
            assert!(there, "{} is no pointer", fault.pointer);
        }
    }
}

/// An expression: it compiles or is refused.
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

/// A cursor that we did not make.
pub fn cursor(bytes: &[u8]) {
    let (Ok(text), Some(keyring)) = (std::str::from_utf8(bytes), &*KEYRING) else {
        return;
    };
    let opened = Cursor::open(keyring, "list", text);
    assert!(opened.is_err(), "a forged cursor was taken");
}

/// A sealed text that we did not seal.
pub fn sealed(bytes: &[u8]) {
    let (Ok(text), Some(keyring)) = (std::str::from_utf8(bytes), &*KEYRING) else {
        return;
    };
    assert!(keyring.open("place", text).is_err(), "a forged text opened");
}

/// What a child of the sandbox says, and what it is told: frames, and what they hold.
pub fn frames(bytes: &[u8]) {
    for max in [MAX_WORD, MAX_ORDER] {
        let mut rest = bytes;
        while let Ok(Some(whole)) = frame::first(rest, max) {
            rest = rest.get(frame::HEAD + whole.len()..).unwrap_or_default();
            if let Ok(word) = frame::read::<Word<'_>>(whole) {
                again(&word, whole);
                match word {
                    Word::Asked(json) => drop(frame::asked_of(&json)),
                    Word::Faulted(json) => drop(frame::error_of(&json)),
                    Word::Completed(json) | Word::Emitted(_, json) => drop(frame::value_of(&json)),
                    Word::Ready(_) | Word::Compiled(_) | Word::Step(_) | Word::Broken => {}
                }
            }
            if let Ok(Order::Begin(begin)) = frame::read::<Order<'_>>(whole) {
                drop(frame::value_of(&begin.input));
                if !json::is_deeper(&begin.journal, 200) {
                    drop(frame::trusted::<Vec<Entry>>(&begin.journal));
                }
            }
        }
    }
    // What is asked for is the same when it is read again.
    if let Ok(asked) = frame::asked_of(bytes) {
        let read = frame::asked_of(&frame::asked_json(&asked));
        assert_eq!(read.ok(), Some(asked));
    }
}

/// A word that was read is written as a word that reads the same.
fn again(word: &Word<'_>, whole: &[u8]) {
    let mut written = Vec::new();
    let fits = frame::write(&mut written, word, MAX_WORD).is_ok();
    assert!(fits || whole.len() > MAX_WORD);
    let read = frame::first(&written, MAX_WORD).ok().flatten();
    let read = read.map(frame::read::<Word<'_>>);
    let read = read.and_then(Result::ok);
    assert_eq!(format!("{read:?}"), format!("{:?}", Some(word)));
}

/// An API key's token: what is taken is spelled in one way.
pub fn api_key(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    if let Some((tenant, secret)) = parts_of_key(text) {
        assert_eq!(format!("aias_{}_{secret}", tenant.ulid()), text);
    }
}
