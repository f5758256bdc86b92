//! Requests, read from API Gateway's payload format 2.0. Any event of that form can be read:
//! `lambda_http` panics on some (`docs/decisions/0002`).

use std::{collections::BTreeMap, fmt};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use percent_encoding::percent_decode_str;
use serde::{Deserialize, Deserializer};

use super::problem::Problem;

/// An event of an HTTP API, as much of it as is used.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HttpEvent {
    #[serde(default, deserialize_with = "or_default")]
    raw_path: String,
    #[serde(default, deserialize_with = "or_default")]
    raw_query_string: String,
    #[serde(default, deserialize_with = "or_default")]
    headers: BTreeMap<String, String>,
    #[serde(default, deserialize_with = "or_default")]
    cookies: Vec<String>,
    #[serde(default)]
    body: Option<String>,
    #[serde(default, deserialize_with = "or_default")]
    is_base64_encoded: bool,
    #[serde(default, deserialize_with = "or_default")]
    request_context: RequestContext,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct RequestContext {
    #[serde(default, deserialize_with = "or_default")]
    request_id: String,
    #[serde(default, deserialize_with = "or_default")]
    domain_name: String,
    #[serde(default, deserialize_with = "or_default")]
    http: HttpContext,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct HttpContext {
    #[serde(default, deserialize_with = "or_default")]
    method: String,
    #[serde(default, deserialize_with = "or_default")]
    source_ip: String,
}

/// A member that is absent or `null` is as if it were empty: `cargo lambda watch` sends `null`.
fn or_default<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(
    d: D,
) -> Result<T, D::Error> {
    Option::<T>::deserialize(d).map(Option::unwrap_or_default)
}

impl HttpEvent {
    pub(super) fn summary(&self) -> (String, String, String) {
        let context = &self.request_context;
        (
            context.http.method.clone(),
            self.raw_path.clone(),
            context.request_id.clone(),
        )
    }
}

/// The methods that some route has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// `GET`.
    Get,
    /// `POST`.
    Post,
    /// `PUT`.
    Put,
    /// `PATCH`.
    Patch,
    /// `DELETE`.
    Delete,
    /// Any other.
    Other,
}

impl Method {
    fn read(text: &str) -> Self {
        match text {
            "GET" => Self::Get,
            "POST" => Self::Post,
            "PUT" => Self::Put,
            "PATCH" => Self::Patch,
            "DELETE" => Self::Delete,
            _ => Self::Other,
        }
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Get => "GET",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Patch => "PATCH",
            Self::Delete => "DELETE",
            Self::Other => "?",
        })
    }
}

/// A request.
#[derive(Debug)]
pub struct Request {
    /// Its method.
    pub method: Method,
    /// Its path's parts, decoded.
    pub segments: Vec<String>,
    /// Its query string, without the `?`.
    pub query: String,
    /// Its body's bytes.
    pub body: Vec<u8>,
    /// The address that it came from; empty when the gateway did not say.
    pub source_ip: String,
    /// The gateway's id of it.
    pub request_id: String,
    headers: BTreeMap<String, String>,
    domain_name: String,
}

impl Request {
    pub(super) fn read(event: HttpEvent) -> Result<Self, Problem> {
        let text = event.body.unwrap_or_default();
        let body = if event.is_base64_encoded {
            STANDARD.decode(&text).map_err(|_| {
                Problem::bad_request("malformed-body", "Malformed body")
                    .detail("the body is not base64")
            })?
        } else {
            text.into_bytes()
        };
        let mut headers: BTreeMap<String, String> = event
            .headers
            .into_iter()
            .map(|(name, value)| (name.to_ascii_lowercase(), value))
            .collect();
        if !event.cookies.is_empty() {
            headers
                .entry("cookie".to_owned())
                .or_insert_with(|| event.cookies.join("; "));
        }
        let segments = event
            .raw_path
            .trim_start_matches('/')
            .split('/')
            .map(|part| percent_decode_str(part).decode_utf8_lossy().into_owned())
            .collect();
        Ok(Self {
            method: Method::read(&event.request_context.http.method),
            segments,
            query: event.raw_query_string,
            body,
            headers,
            source_ip: event.request_context.http.source_ip,
            request_id: event.request_context.request_id,
            domain_name: event.request_context.domain_name,
        })
    }

    /// The path's parts, to be matched.
    #[must_use]
    pub fn path(&self) -> Vec<&str> {
        self.segments.iter().map(String::as_str).collect()
    }

    /// A header's value, by its name in lower case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }

    /// All headers, their names in lower case.
    pub fn headers(&self) -> impl Iterator<Item = (&str, &str)> {
        self.headers
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// A query parameter's first value.
    #[must_use]
    pub fn parameter(&self, name: &str) -> Option<String> {
        form_urlencoded::parse(self.query.as_bytes())
            .find(|(n, _)| n == name)
            .map(|(_, value)| value.into_owned())
    }

    /// Refuses query parameters that the route does not have, so that a typo never passes.
    ///
    /// # Errors
    /// When there is one.
    pub fn only_parameters(&self, allowed: &[&str]) -> Result<(), Problem> {
        for (name, _) in form_urlencoded::parse(self.query.as_bytes()) {
            // A caller may name its tenant in any query.
            if name != "tenant_id" && !allowed.contains(&name.as_ref()) {
                let detail = format!(
                    "there is no query parameter `{}` here",
                    super::problem::shown(&name)
                );
                return Err(
                    Problem::bad_request("unknown-parameter", "Unknown query parameter")
                        .detail(detail),
                );
            }
        }
        Ok(())
    }

    /// Where this API is, as its caller sees it: `https://host`.
    #[must_use]
    pub fn base_url(&self) -> String {
        let host = self.header("host").unwrap_or(&self.domain_name);
        let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
        let is_local =
            matches!(name, "127.0.0.1" | "localhost" | "[::1]") || name.ends_with(".localhost");
        let scheme =
            self.header("x-forwarded-proto")
                .unwrap_or(if is_local { "http" } else { "https" });
        format!("{scheme}://{host}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(event: &str) -> Result<Request, Problem> {
        Request::read(serde_json::from_str(event).unwrap())
    }

    #[test]
    fn any_event_can_be_read() {
        let request = read(r#"{"rawPath": "/a b/%zz/%41", "rawQueryString": "a=%zz&b", "headers": {"X-Y": "ü\u0000", "host": "not a host"},
            "body": "hi", "requestContext": {"http": {"method": "BREW"}}}"#)
        .unwrap();
        assert_eq!(request.path(), ["a b", "%zz", "A"]);
        assert_eq!(request.method, Method::Other);
        assert_eq!(request.parameter("b").as_deref(), Some(""));
        assert_eq!(request.header("x-y"), Some("ü\0"));
        assert_eq!(read("{}").unwrap().path(), [""]);
        let nulls = r#"{"rawPath": null, "rawQueryString": null, "headers": null, "cookies": null, "body": null,
            "isBase64Encoded": null, "requestContext": {"requestId": null, "domainName": null, "http": null}}"#;
        assert_eq!(read(nulls).unwrap().path(), [""]);
        assert!(read(r#"{"body": "%%%", "isBase64Encoded": true}"#).is_err());
    }

    #[test]
    fn the_base_url_is_the_callers() {
        let url = |host: &str| {
            read(&format!(r#"{{"headers": {{"host": "{host}"}}}}"#))
                .unwrap()
                .base_url()
        };
        assert_eq!(url("127.0.0.1:4566"), "http://127.0.0.1:4566");
        assert_eq!(
            url("abc.execute-api.us-east-1.amazonaws.com"),
            "https://abc.execute-api.us-east-1.amazonaws.com"
        );
    }
}
