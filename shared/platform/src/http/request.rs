//! What a request says beside its path parameters and its body.

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

/// What the server in front knows of a request. It puts this into the request's extensions; no
/// client can.
#[derive(Debug, Clone, Default)]
pub struct Origin {
    /// The request's id.
    pub request_id: String,
    /// The address that it came from; empty where the server does not know it.
    pub source_ip: String,
    /// The host name that it came to, where the request itself names none.
    pub host: String,
}

/// A request without its body.
#[derive(Debug, Clone)]
pub struct Head {
    /// Its method.
    pub method: Method,
    /// Its path and query.
    pub uri: Uri,
    headers: HeaderMap,
    /// Where it came from.
    pub origin: Origin,
}

/// A header's value as text. Unlike [`HeaderValue::to_str`] it takes UTF-8, as providers send it.
#[must_use]
pub(super) fn text_of(value: &HeaderValue) -> Option<&str> {
    std::str::from_utf8(value.as_bytes()).ok()
}

impl Head {
    /// The head of a request.
    #[must_use]
    pub fn of(parts: &Parts) -> Self {
        Self {
            method: parts.method.clone(),
            uri: parts.uri.clone(),
            headers: parts.headers.clone(),
            origin: parts.extensions.get().cloned().unwrap_or_default(),
        }
    }

    /// A header's value.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(text_of)
    }

    /// All headers, their names in lower case.
    pub fn headers(&self) -> impl Iterator<Item = (&str, &str)> {
        let texts = self.headers.iter();
        texts.filter_map(|(name, value)| Some((name.as_str(), text_of(value)?)))
    }

    /// The query string, without the `?`.
    #[must_use]
    pub fn query(&self) -> &str {
        self.uri.query().unwrap_or_default()
    }

    /// The URL of this API as the caller sees it, such as `https://host`.
    #[must_use]
    pub fn base_url(&self) -> String {
        let host = self.header(HOST.as_str()).unwrap_or(&self.origin.host);
        let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
        let is_local =
            matches!(name, "127.0.0.1" | "localhost" | "[::1]") || name.ends_with(".localhost");
        let default = if is_local { "http" } else { "https" };
        let scheme = self.header("x-forwarded-proto").unwrap_or(default);
        format!("{scheme}://{host}")
    }

    /// Refuses a change to an object whose `ETag` is not among those of `If-Match`.
    ///
    /// # Errors
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
