//! A webhook event as it was received, and the workflow input made from it.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use jiff::Timestamp;
use serde_json::{Map, Value};

use crate::{
    id::EndpointId,
    json,
    verification::{EventIdSource, Scheme, TimestampSource},
};

/// The longest event id, in characters. A longer one is refused rather than cut.
pub const MAX_EVENT_ID: usize = 255;

/// How many headers, and how many query or form parameters, an event may have.
pub const MAX_FIELDS: usize = 1_000;

/// The parts of an HTTP request that these rules read.
#[derive(Debug)]
pub struct Request<'a> {
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

    fn media_type(&self) -> String {
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

/// Parses a body by its media type.
///
/// # Errors
///
/// When the body is compressed, is not the JSON that its media type claims, or has too many fields.
pub fn read_body(request: &Request<'_>) -> Result<Body, EventError> {
    match request.header("content-encoding") {
        None | Some("" | "identity") => {}
        Some(coding) => return Err(EventError::Encoded(coding.chars().take(32).collect())),
    }
    let media_type = request.media_type();
    if media_type == "application/json" || media_type.ends_with("+json") {
        return Ok(Body::Value(json::parse(request.body)?));
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
    let Some(field) = scheme.payload_field else {
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

/// Whether an event is a test that the provider sends when an endpoint is set up.
#[must_use]
pub fn is_ping(scheme: &Scheme, request: &Request<'_>) -> bool {
    scheme
        .ping
        .is_some_and(|(name, value)| request.header(name) == Some(value))
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

/// The id by which duplicates are recognised: the provider's, else `Idempotency-Key`, else none.
///
/// # Errors
///
/// When the id is empty or too long.
pub fn event_id(
    scheme: &Scheme,
    request: &Request<'_>,
    body: &Body,
) -> Result<Option<String>, EventError> {
    let own = match &scheme.event_id {
        EventIdSource::None => None,
        EventIdSource::Header(name) => request.header(name).map(str::to_owned),
        EventIdSource::Body(pointer) => match body {
            Body::Value(value) => value.pointer(pointer).and_then(|id| match id {
                Value::String(id) => Some(id.clone()),
                Value::Number(id) => Some(id.to_string()),
                Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
            }),
            Body::Text(_) | Body::Base64(_) => None,
        },
    };
    let id = own.or_else(|| request.header("idempotency-key").map(str::to_owned));
    match id {
        Some(id) if id.is_empty() || id.chars().count() > MAX_EVENT_ID => {
            Err(EventError::BadEventId)
        }
        id => Ok(id),
    }
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
    let signature = scheme.signature.as_ref();
    let withheld = |name: &str| {
        matches!(name, "authorization" | "cookie" | "proxy-authorization")
            || signature.is_some_and(|s| s.header == name || is_stamp(s.timestamp, name))
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

fn is_stamp(source: Option<TimestampSource>, name: &str) -> bool {
    match source {
        Some(TimestampSource::Header(header)) => header == name,
        Some(TimestampSource::Field(_)) | None => false,
    }
}

/// A challenge that a provider sends to validate a URL, to be sent back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Challenge(pub String);

/// The longest challenge that is sent back, in bytes.
const MAX_CHALLENGE: usize = 1024;

/// The challenge of a Slack `url_verification` request.
#[must_use]
pub fn slack_challenge(body: &Body) -> Option<Challenge> {
    let Body::Value(Value::Object(members)) = body else {
        return None;
    };
    (members.get("type")? == "url_verification")
        .then(|| members.get("challenge")?.as_str())
        .flatten()
        .filter(|challenge| challenge.len() <= MAX_CHALLENGE)
        .map(|challenge| Challenge(challenge.to_owned()))
}

/// The verify token and the challenge of a `hub.mode=subscribe` request.
#[must_use]
pub fn hub_challenge(query: &str) -> Option<(String, Challenge)> {
    let query = parameters(query).ok()?;
    let get = |name: &str| query.get(name)?.as_str();
    if get("hub.mode")? != "subscribe" {
        return None;
    }
    let challenge = get("hub.challenge").filter(|c| c.len() <= MAX_CHALLENGE)?;
    Some((
        get("hub.verify_token")?.to_owned(),
        Challenge(challenge.to_owned()),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verification::Verification;
    use serde_json::json;

    fn request<'a>(content_type: &'a str, body: &'a [u8]) -> Request<'a> {
        Request {
            headers: vec![("content-type", content_type), ("idempotency-key", "k1")],
            query: "a=1&b=2&b=3",
            body,
        }
    }

    fn scheme(name: &str) -> Scheme {
        Verification {
            scheme: name.into(),
            ..Verification::none()
        }
        .scheme()
        .unwrap()
    }

    #[test]
    fn body_is_parsed_by_media_type() {
        let read = |content_type, body| read_body(&request(content_type, body));
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
        assert_eq!(read_body(&zipped), Err(EventError::Encoded("gzip".into())));
    }

    #[test]
    fn provider_event_id_takes_precedence() {
        let body = Body::Value(json!({"id": "evt_1"}));
        let mut request = request("application/json", b"");
        assert_eq!(
            event_id(&scheme("stripe"), &request, &body),
            Ok(Some("evt_1".into()))
        );
        assert_eq!(
            event_id(&scheme("github"), &request, &body),
            Ok(Some("k1".into()))
        );
        request.headers.push(("x-github-delivery", "d1"));
        assert_eq!(
            event_id(&scheme("github"), &request, &body),
            Ok(Some("d1".into()))
        );
        request.headers[1].1 = "";
        assert_eq!(
            event_id(&scheme("none"), &request, &body),
            Err(EventError::BadEventId)
        );
        request.headers.remove(1);
        assert_eq!(event_id(&scheme("none"), &request, &body), Ok(None));
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

    #[test]
    fn challenges_are_recognised_and_limited() {
        let slack = |v| slack_challenge(&Body::Value(v));
        assert_eq!(
            slack(json!({"type": "url_verification", "challenge": "c"})),
            Some(Challenge("c".into()))
        );
        assert_eq!(
            slack(json!({"type": "event_callback", "challenge": "c"})),
            None
        );
        assert_eq!(
            slack(json!({"type": "url_verification", "challenge": "c".repeat(1025)})),
            None
        );
        assert_eq!(
            hub_challenge("hub.mode=subscribe&hub.challenge=42&hub.verify_token=t"),
            Some(("t".into(), Challenge("42".into())))
        );
        assert_eq!(
            hub_challenge("hub.mode=unsubscribe&hub.challenge=42&hub.verify_token=t"),
            None
        );
    }
}
