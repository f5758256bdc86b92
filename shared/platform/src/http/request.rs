//! Requests without path parameters and body.

use std::convert::Infallible;

use axum::{
    extract::FromRequestParts,
    http::{
        HeaderMap, HeaderValue, Method, Uri,
        header::{HOST, IF_MATCH},
        request::Parts,
    },
};
use serde::Serialize;

use super::{problem::Problem, response::etag_of};

/// Properties of a request that only the server knows. It adds them as an extension, which no
/// client can do.
#[derive(Debug, Clone, Default)]
pub struct Origin {
    pub request_id: String,
    /// The address of the client; empty if unknown.
    pub source_ip: String,
    /// The host name of the server, used if the request has none.
    pub host: String,
}

/// A request without its body.
#[derive(Debug, Clone)]
pub struct Head {
    pub method: Method,
    pub uri: Uri,
    headers: HeaderMap,
    pub origin: Origin,
}

/// A header value as a string. Unlike [`HeaderValue::to_str`] it accepts UTF-8, which providers
/// send.
#[must_use]
pub(super) fn text_of(value: &HeaderValue) -> Option<&str> {
    std::str::from_utf8(value.as_bytes()).ok()
}

/// The URL of this API as the caller of a request with these headers sees it.
pub(super) fn base_url(headers: &HeaderMap, origin: &Origin) -> String {
    let header = |name: &str| headers.get(name).and_then(text_of);
    let host = header(HOST.as_str()).unwrap_or(&origin.host);
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    let is_local =
        matches!(name, "127.0.0.1" | "localhost" | "[::1]") || name.ends_with(".localhost");
    let default = if is_local { "http" } else { "https" };
    let scheme = header("x-forwarded-proto").unwrap_or(default);
    format!("{scheme}://{host}")
}

impl Head {
    #[must_use]
    pub fn of(parts: &Parts) -> Self {
        Self {
            method: parts.method.clone(),
            uri: parts.uri.clone(),
            headers: parts.headers.clone(),
            origin: parts.extensions.get().cloned().unwrap_or_default(),
        }
    }

    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(text_of)
    }

    /// All headers, with lower-case names.
    pub fn headers(&self) -> impl Iterator<Item = (&str, &str)> {
        let texts = self.headers.iter();
        texts.filter_map(|(name, value)| Some((name.as_str(), text_of(value)?)))
    }

    /// Without the `?`.
    #[must_use]
    pub fn query(&self) -> &str {
        self.uri.query().unwrap_or_default()
    }

    /// The URL of this API as the caller sees it, such as `https://host`.
    #[must_use]
    pub fn base_url(&self) -> String {
        base_url(&self.headers, &self.origin)
    }

    /// Refuses a change unless `If-Match` has the current `ETag` of the object.
    ///
    /// # Errors
    ///
    /// `412`.
    pub fn check_if_match<T: Serialize>(&self, view: &T) -> Result<(), Problem> {
        let Some(wanted) = self.header(IF_MATCH.as_str()) else {
            return Ok(());
        };
        let body = serde_json::to_string(view).map_err(Problem::internal)?;
        let etag = etag_of(&body);
        let mut tags = wanted.split(',').map(str::trim);
        if tags.any(|tag| tag == "*" || tag == etag) {
            Ok(())
        } else {
            Err(Problem::precondition_failed())
        }
    }
}

impl<S: Sync> FromRequestParts<S> for Head {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self::of(parts))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base_url_is_the_one_of_the_caller() {
        let url = |host: &str| {
            let request = http::Request::builder().header("host", host);
            let (parts, ()) = request.body(()).unwrap().into_parts();
            Head::of(&parts).base_url()
        };
        assert_eq!(url("127.0.0.1:4566"), "http://127.0.0.1:4566");
        assert_eq!(
            url("abc.execute-api.us-east-1.amazonaws.com"),
            "https://abc.execute-api.us-east-1.amazonaws.com"
        );
    }
}
