//! HTTP requests and responses as values of a workflow.

use aias_domain::json;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Map, Value, json};
use url::Url;

use crate::{
    compile::calls::is_token,
    endpoint::text,
    error::{Error, Kind, cut},
    journal::{Body, EffectResult, HttpRequest, HttpResponse},
    program::Format,
};

/// The longest header value and body of a request, in bytes.
const MAX_HEADER_BYTES: usize = 8_192;
const MAX_BODY_BYTES: usize = 4 * 1024 * 1024;

/// The most headers and query parameters of a request.
const MAX_PAIRS: usize = 100;

/// Headers that describe the connection, which a workflow cannot set (RFC 9110, 9112).
const CONNECTION_HEADERS: [&str; 8] = [
    "connection",
    "content-length",
    "host",
    "keep-alive",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Headers that are left out of the `request` of a response.
const REDACTED_HEADERS: [&str; 3] = ["authorization", "cookie", "proxy-authorization"];

/// The parts of a request.
#[derive(Debug)]
pub(crate) struct Parts {
    pub(crate) method: String,
    pub(crate) url: Url,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Option<Value>,
    pub(crate) redirect: bool,
}

/// The members of an object as pairs of strings. An array has a pair per item.
///
/// # Errors
///
/// When the value is not an object, or too large.
pub(crate) fn pairs(value: &Value) -> Result<Vec<(String, String)>, String> {
    let members = match value {
        Value::Null => return Ok(Vec::new()),
        Value::Object(members) => members,
        Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
            return Err("headers and query parameters must be an object".to_owned());
        }
    };
    let mut all = Vec::new();
    for (name, value) in members {
        match value {
            Value::Null => {}
            Value::Array(items) => all.extend(items.iter().map(|v| (name.clone(), text(v)))),
            Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Object(_) => {
                all.push((name.clone(), text(value)));
            }
        }
    }
    if all.len() > MAX_PAIRS {
        return Err(format!(
            "there are more than {MAX_PAIRS} headers or query parameters"
        ));
    }
    Ok(all)
}

pub(crate) fn add_query(url: &mut Url, pairs: &[(String, String)]) {
    if !pairs.is_empty() {
        url.query_pairs_mut().extend_pairs(pairs);
    }
}

impl Parts {
    /// Builds the request. A string body is sent unchanged, any other as JSON, or as a form if the
    /// content type says so.
    ///
    /// # Errors
    ///
    /// What cannot be sent.
    pub(crate) fn request(self) -> Result<HttpRequest, String> {
        let mut headers = Vec::new();
        for (name, value) in self.headers {
            let name = name.to_ascii_lowercase();
            if !is_token(&name) {
                return Err(format!("`{name:.40}` is not a valid header name"));
            }
            if CONNECTION_HEADERS.contains(&name.as_str()) {
                return Err(format!("the header `{name}` cannot be set by a workflow"));
            }
            let fits = |b: u8| b == b'\t' || (b >= 0x20 && b != 0x7f);
            if value.len() > MAX_HEADER_BYTES || !value.bytes().all(fits) {
                return Err(format!("the header `{name}` has an invalid value"));
            }
            headers.push((name, value));
        }
        let declared = header(&headers, "content-type").map(str::to_owned);
        let is_form = declared
            .as_deref()
            .is_some_and(|t| t.starts_with("application/x-www-form-urlencoded"));
        let (body, content_type) = match self.body {
            None => (None, None),
            Some(Value::String(text)) => (Some(text), Some("text/plain; charset=utf-8")),
            Some(value) if is_form => {
                let mut form = form_urlencoded::Serializer::new(String::new());
                form.extend_pairs(pairs(&value)?);
                (Some(form.finish()), None)
            }
            Some(value) => (Some(value.to_string()), Some("application/json")),
        };
        if body
            .as_ref()
            .is_some_and(|body| body.len() > MAX_BODY_BYTES)
        {
            return Err(format!("a body has at most {MAX_BODY_BYTES} bytes"));
        }
        if let (None, Some(content_type)) = (declared, content_type) {
            headers.push(("content-type".to_owned(), content_type.to_owned()));
        }
        let method = self.method.to_ascii_uppercase();
        if !is_token(&method) || method == "CONNECT" {
            return Err(format!("`{method:.40}` is not a supported HTTP method"));
        }
        Ok(HttpRequest {
            method,
            uri: self.url.into(),
            headers,
            body,
            redirect: self.redirect,
            authentication: None,
        })
    }
}

fn header<'a>(headers: &'a [(String, String)], name: &str) -> Option<&'a str> {
    let mut all = headers.iter();
    all.find(|(n, _)| n == name)
        .map(|(_, value)| value.as_str())
}

/// Method and URI of a request, without parts that may be secret.
pub(crate) fn summary(request: &HttpRequest) -> String {
    let uri = request.uri.split(['?', '#']).next().unwrap_or_default();
    format!("{} {uri}", request.method)
}

/// The response, if it is successful.
///
/// # Errors
///
/// The DSL's communication error.
pub(crate) fn require_success(
    answer: EffectResult,
    request: &HttpRequest,
    at: &str,
) -> Result<HttpResponse, Error> {
    match answer {
        EffectResult::Http(response) => {
            let most = if request.redirect { 400 } else { 300 };
            if (200..most).contains(&response.status) {
                return Ok(response);
            }
            let excerpt = excerpt(&response.body);
            let detail = format!("{} returned {}{excerpt}", summary(request), response.status);
            Err(Error::new(Kind::Communication, at, detail).with_status(response.status))
        }
        EffectResult::Failed(failure) => Err(Error::failed(&failure, at)),
        EffectResult::Output(_) => {
            let detail = "the journal has the output of a workflow for an HTTP request";
            Err(Error::new(Kind::NonDeterministic, at, detail))
        }
    }
}

/// How much of a response is in an error, in characters.
const MAX_EXCERPT: usize = 300;

/// The start of a response's body, after a colon.
fn excerpt(body: &Body) -> String {
    let Body::Text(text) = body else {
        return String::new();
    };
    let start = cut(text, 4 * MAX_EXCERPT);
    let words: Vec<&str> = start.split_whitespace().collect();
    if words.is_empty() {
        return String::new();
    }
    format!(": {}", cut(&words.join(" "), MAX_EXCERPT))
}

/// The value of a call, in the format of `output`.
///
/// # Errors
///
/// When the content does not match its media type.
pub(crate) fn output(
    response: HttpResponse,
    request: &HttpRequest,
    format: Format,
) -> Result<Value, String> {
    Ok(match format {
        Format::Raw => Value::String(match response.body {
            Body::Text(text) => STANDARD.encode(text),
            Body::Base64(text) => text,
        }),
        Format::Content => content(&response.headers, response.body)?,
        Format::Response => {
            let requested = request
                .headers
                .iter()
                .filter(|(name, _)| !REDACTED_HEADERS.contains(&name.as_str()));
            json!({
                "request": {
                    "method": request.method,
                    "uri": request.uri,
                    "headers": object(requested),
                },
                "statusCode": response.status,
                "headers": object(response.headers.iter()),
                "content": content(&response.headers, response.body)?,
            })
        }
    })
}

/// Headers as an object; values of the same name are joined (RFC 9110, section 5.3).
fn object<'a>(headers: impl Iterator<Item = &'a (String, String)>) -> Value {
    let mut members: Map<String, Value> = Map::new();
    for (name, value) in headers {
        match members.get_mut(name) {
            Some(Value::String(text)) => {
                text.push_str(", ");
                text.push_str(value);
            }
            _ => {
                members.insert(name.clone(), Value::String(value.clone()));
            }
        }
    }
    Value::Object(members)
}

/// The content: JSON if its media type says so, else a string, or base64 if it is not UTF-8.
fn content(headers: &[(String, String)], body: Body) -> Result<Value, String> {
    let text = match body {
        Body::Base64(text) => return Ok(Value::String(text)),
        Body::Text(text) => text,
    };
    let media_type = header(headers, "content-type").unwrap_or_default();
    let media_type = media_type.split(';').next().unwrap_or_default().trim();
    let is_json = media_type.eq_ignore_ascii_case("application/json")
        || media_type.to_ascii_lowercase().ends_with("+json");
    if !is_json {
        return Ok(Value::String(text));
    }
    if text.is_empty() {
        return Ok(Value::Null);
    }
    json::parse(text.as_bytes()).map_err(|e| format!("the response is not JSON: {}", e.detail))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[expect(clippy::needless_pass_by_value, reason = "it reads better")]
    fn parts(headers: Value, body: Option<Value>) -> Parts {
        Parts {
            method: "post".into(),
            url: Url::parse("https://e.example/a").unwrap(),
            headers: pairs(&headers).unwrap(),
            body,
            redirect: false,
        }
    }

    fn response(content_type: &str, text: &str) -> HttpResponse {
        HttpResponse {
            status: 200,
            headers: vec![
                ("content-type".into(), content_type.into()),
                ("x-a".into(), "1".into()),
                ("x-a".into(), "2".into()),
            ],
            body: Body::Text(text.into()),
        }
    }

    #[test]
    fn body_is_encoded_by_content_type() {
        let request = |headers, body| parts(headers, Some(body)).request().unwrap();
        let json = request(json!({}), json!({"a": 1}));
        assert_eq!(json.body.as_deref(), Some(r#"{"a":1}"#));
        assert_eq!(
            json.headers,
            [("content-type".into(), "application/json".into())]
        );
        let form = request(
            json!({"Content-Type": "application/x-www-form-urlencoded"}),
            json!({"a": "x y", "b": [1, 2]}),
        );
        assert_eq!(form.body.as_deref(), Some("a=x+y&b=1&b=2"));
        assert_eq!(form.headers.len(), 1);
        let text = request(json!({}), json!("hello"));
        assert_eq!(text.body.as_deref(), Some("hello"));
        assert_eq!(text.method, "POST");
    }

    #[test]
    fn invalid_request_is_refused() {
        for headers in [
            json!({"Host": "other"}),
            json!({"content-length": "0"}),
            json!({"a b": "c"}),
            json!({"a": "b\r\nc: d"}),
            json!({"a": "x".repeat(9_000)}),
        ] {
            assert!(parts(headers, None).request().is_err());
        }
        assert!(
            parts(json!({}), Some(json!("x".repeat(MAX_BODY_BYTES + 1))))
                .request()
                .is_err()
        );
        assert!(pairs(&json!([])).is_err());
        let mut connect = parts(json!({}), None);
        connect.method = "CONNECT".into();
        assert!(connect.request().is_err());
    }

    #[test]
    fn output_format_is_applied() {
        let request = parts(json!({"Authorization": "secret", "x-b": "3"}), None)
            .request()
            .unwrap();
        let given = |format, response| output(response, &request, format);
        let json = || response("application/problem+json; charset=utf-8", r#"{"a":1}"#);
        assert_eq!(given(Format::Content, json()), Ok(json!({"a": 1})));
        assert_eq!(given(Format::Raw, json()), Ok(json!("eyJhIjoxfQ==")));
        assert_eq!(
            given(Format::Response, json()),
            Ok(json!({
                "request": {"method": "POST", "uri": "https://e.example/a", "headers": {"x-b": "3"}},
                "statusCode": 200,
                "headers": {"content-type": "application/problem+json; charset=utf-8", "x-a": "1, 2"},
                "content": {"a": 1},
            }))
        );
        let plain = response("text/plain", r#"{"a":1}"#);
        assert_eq!(given(Format::Content, plain), Ok(json!(r#"{"a":1}"#)));
        assert_eq!(
            given(Format::Content, response("application/json", "")),
            Ok(Value::Null)
        );
        let broken = given(Format::Content, response("application/json", "{"));
        assert!(broken.unwrap_err().starts_with("the response is not JSON"));
    }
}
