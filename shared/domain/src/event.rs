//! A webhook event as it was received, and the workflow input made from it.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use jiff::Timestamp;
use serde_json::{Map, Value};

use crate::{
    canonical::digest,
    id::EndpointId,
    json,
    verification::{Scheme, Values},
};

/// The longest event id, in characters.
pub const MAX_EVENT_ID: usize = 255;

/// How many headers, and how many query or form parameters, an event may have.
pub const MAX_FIELDS: usize = 1_000;

/// The parts of an HTTP request that these rules read.
#[derive(Debug)]
pub struct Request<'a> {
    /// In upper case.
    pub method: &'a str,
    /// The URL that was called, with its query.
    pub url: &'a str,
    /// Lower-case names; each name at most once.
    pub headers: Vec<(&'a str, &'a str)>,
    /// Without the `?`.
    pub query: &'a str,
    /// The raw bytes.
    pub body: &'a [u8],
}

impl<'a> Request<'a> {
    /// The value of a header; `name` is in lower case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&'a str> {
        self.headers
            .iter()
            .find(|(n, _)| *n == name)
            .map(|(_, v)| *v)
    }

    /// The media type of the body, without parameters, in lower case.
    #[must_use]
    pub fn media_type(&self) -> String {
        let value = self.header("content-type").unwrap_or_default();
        let media_type = value.split(';').next().unwrap_or_default();
        media_type.trim().to_ascii_lowercase()
    }
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EventError {
    /// `Content-Encoding` is not supported, because signatures are over the raw body.
    #[error("the body is compressed ({0}); send it without Content-Encoding")]
    Encoded(String),
    /// The media type is JSON, but the body is not.
    #[error("the body is not JSON: {0}")]
    Json(#[from] json::ParseError),
    #[error("more than {MAX_FIELDS} fields")]
    TooManyFields,
    #[error("an event id has 1 to {MAX_EVENT_ID} characters")]
    BadEventId,
}

/// A body, parsed by its media type.
#[derive(Debug, Clone, PartialEq)]
pub enum Body {
    /// JSON or a form.
    Value(Value),
    /// Any other UTF-8 body.
    Text(String),
    /// Not UTF-8; in base64.
    Base64(String),
}

/// Parses a body by its media type, or as JSON if the scheme says that it is.
///
/// # Errors
///
/// When the body is compressed, is not the JSON that its media type claims, or has too many fields.
pub fn read_body(scheme: &Scheme, values: Values<'_>) -> Result<Body, EventError> {
    let request = values.request;
    match request.header("content-encoding") {
        None | Some("" | "identity") => {}
        Some(coding) => return Err(EventError::Encoded(coding.chars().take(32).collect())),
    }
    let media_type = request.media_type();
    if scheme.json_body || media_type == "application/json" || media_type.ends_with("+json") {
        return Ok(Body::Value(values.into_json()?));
    }
    let Ok(text) = std::str::from_utf8(request.body) else {
        return Ok(Body::Base64(STANDARD.encode(request.body)));
    };
    if media_type == "application/x-www-form-urlencoded" {
        return Ok(Body::Value(Value::Object(parameters(text)?)));
    }
    Ok(Body::Text(text.to_owned()))
}

/// The event in the form field that a provider puts it into, if it sent a form.
///
/// # Errors
///
/// When the field is not JSON.
pub fn unwrap_payload(scheme: &Scheme, body: Body) -> Result<Body, EventError> {
    let Some(field) = &scheme.payload_field else {
        return Ok(body);
    };
    match &body {
        Body::Value(Value::Object(members)) if members.len() == 1 => match members.get(field) {
            Some(Value::String(payload)) => Ok(Body::Value(json::parse(payload.as_bytes())?)),
            Some(_) | None => Ok(body),
        },
        Body::Value(_) | Body::Text(_) | Body::Base64(_) => Ok(body),
    }
}

/// Parses `name=value` pairs. A repeated name has an array of values.
fn parameters(text: &str) -> Result<Map<String, Value>, EventError> {
    let mut members = Map::new();
    for (count, (name, value)) in form_urlencoded::parse(text.as_bytes()).enumerate() {
        if count == MAX_FIELDS {
            return Err(EventError::TooManyFields);
        }
        let value = Value::String(value.into_owned());
        match members.get_mut(name.as_ref()) {
            None => {
                members.insert(name.into_owned(), value);
            }
            Some(Value::Array(values)) => values.push(value),
            Some(first) => *first = Value::Array(vec![first.take(), value]),
        }
    }
    Ok(members)
}

/// The id by which duplicates are recognised: the provider's, else `Idempotency-Key`, else none. A
/// provider's id that is too long is replaced by its digest.
///
/// # Errors
///
/// When the `Idempotency-Key` is empty or too long.
pub fn event_id(scheme: &Scheme, values: &Values<'_>) -> Result<Option<String>, EventError> {
    let is_too_long = |id: &str| id.chars().count() > MAX_EVENT_ID;
    let mut own = scheme.event_id.iter().filter_map(|text| text.text(values));
    if let Some(id) = own.find(|id| !id.is_empty()) {
        let id = if is_too_long(&id) {
            digest(id.as_bytes())
        } else {
            id
        };
        return Ok(Some(id));
    }
    match values.request.header("idempotency-key") {
        Some(key) if key.is_empty() || is_too_long(key) => Err(EventError::BadEventId),
        key => Ok(key.map(str::to_owned)),
    }
}

/// The longest event type, in characters. A longer one counts as none.
const MAX_EVENT_TYPE: usize = 255;

/// The type of the event, if the scheme knows where it is.
#[must_use]
pub fn event_type(scheme: &Scheme, values: &Values<'_>) -> Option<String> {
    let own = scheme.event_type.iter().find_map(|text| text.text(values));
    own.filter(|text| (1..=MAX_EVENT_TYPE).contains(&text.chars().count()))
}

/// The workflow's input, without credentials and signatures.
///
/// # Errors
///
/// When there are too many query parameters or headers.
pub fn workflow_input(
    id: &str,
    endpoint_id: EndpointId,
    received_at: Timestamp,
    scheme: &Scheme,
    request: &Request<'_>,
    body: Body,
) -> Result<Value, EventError> {
    if request.headers.len() > MAX_FIELDS {
        return Err(EventError::TooManyFields);
    }
    let proving: Vec<&str> = scheme.proving_headers().collect();
    let withheld = |name: &str| {
        matches!(name, "authorization" | "cookie" | "proxy-authorization")
            || proving.contains(&name)
    };
    let mut headers = Map::new();
    for (name, value) in &request.headers {
        if !withheld(name) {
            headers.insert((*name).to_owned(), Value::String((*value).to_owned()));
        }
    }
    let mut input = Map::new();
    input.insert("id".into(), id.into());
    input.insert(
        "received_at".into(),
        crate::timestamp::format(received_at).into(),
    );
    input.insert("method".into(), "POST".into());
    input.insert("headers".into(), Value::Object(headers));
    input.insert("query".into(), Value::Object(parameters(request.query)?));
    input.insert(
        "content_type".into(),
        request
            .header("content-type")
            .map_or(Value::Null, Value::from),
    );
    let (name, value) = match body {
        Body::Value(value) => ("body", value),
        Body::Text(text) => ("body", Value::String(text)),
        Body::Base64(text) => ("body_base64", Value::String(text)),
    };
    input.insert(name.into(), value);
    input.insert("endpoint_id".into(), endpoint_id.to_string().into());
    Ok(Value::Object(input))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verification::Verification;
    use serde_json::json;

    fn request<'a>(content_type: &'a str, body: &'a [u8]) -> Request<'a> {
        Request {
            method: "POST",
            url: "https://aias.example/hook",
            headers: vec![("content-type", content_type), ("idempotency-key", "k1")],
            query: "a=1&b=2&b=3",
            body,
        }
    }

    fn scheme(name: &str) -> Scheme {
        Verification::named(name).scheme().unwrap()
    }

    #[test]
    fn body_is_parsed_by_media_type() {
        let read = |content_type, body| {
            read_body(
                &Scheme::default(),
                Values::new(&request(content_type, body)),
            )
        };
        assert_eq!(
            read("application/json; charset=utf-8", b"[1]"),
            Ok(Body::Value(json!([1])))
        );
        assert_eq!(
            read("application/vnd.x+JSON", b"1"),
            Ok(Body::Value(json!(1)))
        );
        assert_eq!(
            read("application/x-www-form-urlencoded", b"a=1&b=x+y&b=%C3%BC"),
            Ok(Body::Value(json!({"a": "1", "b": ["x y", "ü"]})))
        );
        assert_eq!(read("text/plain", b"{"), Ok(Body::Text("{".into())));
        assert_eq!(
            read("application/octet-stream", b"\xff\x00"),
            Ok(Body::Base64("/wA=".into()))
        );
        assert!(matches!(
            read("application/json", b"{"),
            Err(EventError::Json(_))
        ));
        let many = "a&".repeat(MAX_FIELDS + 1);
        assert_eq!(
            read("application/x-www-form-urlencoded", many.as_bytes()),
            Err(EventError::TooManyFields)
        );
        let mut zipped = request("application/json", b"1");
        zipped.headers.push(("content-encoding", "gzip"));
        assert_eq!(
            read_body(&Scheme::default(), Values::new(&zipped)),
            Err(EventError::Encoded("gzip".into()))
        );
    }

    #[test]
    fn provider_event_id_takes_precedence() {
        let id = |name: &str, headers: &[(&'static str, &'static str)]| {
            let mut request = request("application/json", br#"{"id": "evt_1"}"#);
            request.headers = headers.to_vec();
            event_id(&scheme(name), &Values::new(&request))
        };
        let key = ("idempotency-key", "k1");
        assert_eq!(id("stripe", &[key]), Ok(Some("evt_1".into())));
        assert_eq!(id("github", &[key]), Ok(Some("k1".into())));
        let delivery = ("x-github-delivery", "d1");
        assert_eq!(id("github", &[key, delivery]), Ok(Some("d1".into())));
        let empty = [("idempotency-key", "")];
        assert_eq!(id("none", &empty), Err(EventError::BadEventId));
        assert_eq!(id("none", &[]), Ok(None));
    }

    /// The ids that these providers send are not different for each event.
    #[test]
    fn different_events_have_different_ids() {
        type Sent = (&'static [(&'static str, &'static str)], &'static str);
        let cases: [(&str, [Sent; 2]); 5] = [
            (
                "woocommerce",
                [
                    (&[("x-wc-webhook-delivery-id", "d1")], r#"{"id": 1}"#),
                    (&[("x-wc-webhook-delivery-id", "d1")], r#"{"id": 2}"#),
                ],
            ),
            (
                "zendesk",
                [
                    (&[("x-zendesk-webhook-invocation-id", "i1")], r#"{"id": 7}"#),
                    (&[("x-zendesk-webhook-invocation-id", "i2")], r#"{"id": 7}"#),
                ],
            ),
            (
                "cloudevents",
                [
                    (&[("ce-source", "/a"), ("ce-id", "1")], "{}"),
                    (&[("ce-source", "/b"), ("ce-id", "1")], "{}"),
                ],
            ),
            (
                "clickup",
                [
                    (
                        &[],
                        r#"{"webhook_id": "w", "event": "taskUpdated", "history_items": [{"id": "h"}]}"#,
                    ),
                    (
                        &[],
                        r#"{"webhook_id": "w", "event": "taskStatusUpdated", "history_items": [{"id": "h"}]}"#,
                    ),
                ],
            ),
            (
                "fastspring",
                [
                    (&[], r#"{"events": [{"id": "1"}]}"#),
                    (&[], r#"{"events": [{"id": "1"}, {"id": "2"}]}"#),
                ],
            ),
        ];
        for (name, sent) in cases {
            let id = |(headers, body): Sent| {
                let mut request = request("application/json", body.as_bytes());
                request.headers = headers.to_vec();
                event_id(&scheme(name), &Values::new(&request))
                    .unwrap()
                    .unwrap()
            };
            assert_eq!(id(sent[0]), id(sent[0]), "{name}");
            assert_ne!(id(sent[0]), id(sent[1]), "{name}");
        }
    }

    /// Mailgun's signature does not cover the event, so it must not be accepted with another one.
    #[test]
    fn token_of_mailgun_is_one_event() {
        let id = |token: &str, event: &str| {
            let body = json!({"signature": {"token": token}, "event-data": {"id": event}});
            let body = body.to_string();
            let request = request("application/json", body.as_bytes());
            event_id(&scheme("mailgun"), &Values::new(&request)).unwrap()
        };
        assert_eq!(id("t1", "e1"), id("t1", "e2"));
        assert_ne!(id("t1", "e1"), id("t2", "e1"));
    }

    #[test]
    fn long_or_empty_id_of_a_provider_is_no_error() {
        let id = |value: String| {
            let body = json!({"id": value}).to_string();
            event_id(
                &scheme("stripe"),
                &Values::new(&request("application/json", body.as_bytes())),
            )
        };
        let long = id("e".repeat(MAX_EVENT_ID + 1)).unwrap().unwrap();
        assert!(long.starts_with("sha256:"));
        assert_ne!(Ok(Some(long)), id("e".repeat(MAX_EVENT_ID + 2)));
        let longest = "e".repeat(MAX_EVENT_ID);
        assert_eq!(id(longest.clone()), Ok(Some(longest)));
        assert_eq!(id(String::new()), Ok(Some("k1".into())));
    }

    #[test]
    fn input_has_no_credentials_or_signatures() {
        let mut request = request("text/plain", b"hi");
        for name in [
            "authorization",
            "cookie",
            "webhook-signature",
            "webhook-timestamp",
            "x-y",
        ] {
            request.headers.push((name, "v"));
        }
        let at: Timestamp = "2026-11-21T00:00:00Z".parse().unwrap();
        let input = workflow_input(
            "e1",
            EndpointId::new(at, 0),
            at,
            &scheme("standard-webhooks"),
            &request,
            Body::Text("hi".into()),
        )
        .unwrap();
        assert_eq!(
            input,
            json!({
                "id": "e1", "received_at": "2026-11-21T00:00:00.000Z", "method": "POST",
                "headers": {"content-type": "text/plain", "idempotency-key": "k1", "x-y": "v"},
                "query": {"a": "1", "b": ["2", "3"]}, "content_type": "text/plain", "body": "hi",
                "endpoint_id": EndpointId::new(at, 0).to_string(),
            })
        );
    }
}
