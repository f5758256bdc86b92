//! Responses. Bodies are strings, so that the response to an idempotent request can be stored.

use aias_domain::canonical;
use http::{
    HeaderValue, StatusCode,
    header::{CONTENT_TYPE, ETAG, HeaderName, LOCATION},
};
use serde::Serialize;

use super::problem::Problem;

pub type Response = http::Response<String>;

/// The result of a handler.
pub type Result<T = Response> = std::result::Result<T, Problem>;

#[must_use]
pub fn text(status: StatusCode, content_type: &'static str, body: String) -> Response {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let content_type = HeaderValue::from_static(content_type);
    response.headers_mut().insert(CONTENT_TYPE, content_type);
    response
}

/// A JSON response.
///
/// # Errors
///
/// When the view cannot be written as JSON.
pub fn json<T: Serialize>(status: StatusCode, view: &T) -> Result {
    let body = serde_json::to_string(view).map_err(Problem::internal)?;
    Ok(text(status, "application/json", body))
}

/// A response with an object and its `ETag`.
///
/// # Errors
///
/// As [`json`].
pub fn object<T: Serialize>(status: StatusCode, view: &T) -> Result {
    let response = json(status, view)?;
    let etag = etag_of(response.body());
    Ok(response.with(ETAG, etag))
}

/// An object with members that only this response has. Its `ETag` is that of the object as a `GET`
/// returns it.
///
/// # Errors
///
/// As [`json`].
pub fn object_with<T: Serialize, U: Serialize>(
    status: StatusCode,
    read: T,
    more: impl FnOnce(T) -> U,
) -> Result {
    let etag = etag_of(json(status, &read)?.body());
    Ok(json(status, &more(read))?.with(ETAG, etag))
}

/// `201` with a new object and its `Location`.
///
/// # Errors
///
/// As [`json`].
pub fn created<T: Serialize>(path: String, view: &T) -> Result {
    Ok(object(StatusCode::CREATED, view)?.with(LOCATION, path))
}

/// `200` with plain text, for example the challenge of a handshake.
#[must_use]
pub fn plain(body: String) -> Response {
    text(StatusCode::OK, "text/plain; charset=utf-8", body)
}

/// A response without body.
#[must_use]
pub fn empty(status: StatusCode) -> Response {
    let mut response = Response::default();
    *response.status_mut() = status;
    response
}

/// `204`.
#[must_use]
pub fn no_content() -> Response {
    empty(StatusCode::NO_CONTENT)
}

/// `302` to this URL.
#[must_use]
pub fn found(url: String) -> Response {
    let mut response = Response::default();
    *response.status_mut() = StatusCode::FOUND;
    response.with(LOCATION, url)
}

pub trait WithHeader: Sized {
    /// Adds a header. An invalid value is omitted and logged.
    #[must_use]
    fn with(self, name: HeaderName, value: impl TryInto<HeaderValue>) -> Self;
}

impl<B> WithHeader for http::Response<B> {
    fn with(mut self, name: HeaderName, value: impl TryInto<HeaderValue>) -> Self {
        if let Ok(value) = value.try_into() {
            self.headers_mut().insert(name, value);
        } else {
            tracing::error!(event = "header_value_invalid", name = name.as_str());
        }
        self
    }
}

/// The `ETag` of a body.
#[must_use]
pub fn etag_of(body: &str) -> String {
    let digest = canonical::digest(body.as_bytes());
    format!("\"{}\"", digest.get(7..39).unwrap_or_default())
}
