//! Extractors for path parameters and bodies. Their rejections are problems.

use std::sync::Arc;

use aias_domain::{json, plan::Limits};
use axum::{
    body::{Bytes, to_bytes},
    extract::{FromRequest, FromRequestParts, Request},
    http::request::Parts,
};
use serde::{Deserialize, Deserializer, de::DeserializeOwned};
use serde_json::Value;

use super::{
    auth::Caller,
    problem::{Fault, Problem},
    request::Head,
    response::Result,
};

/// Path parameters. A malformed one matches no object: `404`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Path<T>(pub T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Path<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self> {
        let path = axum::extract::Path::<T>::from_request_parts(parts, state).await;
        path.map(|axum::extract::Path(value)| Self(value))
            .map_err(|_| Problem::not_found())
    }
}

/// The largest body of a request that is not a definition, an input or an event, in bytes.
pub(super) const MAX_BODY_BYTES: usize = 64 * 1024;

/// A type that can be read from a body.
pub trait RequestBody: DeserializeOwned + Send {
    /// The largest body under the limits of the caller's plan.
    #[must_use]
    fn max_bytes(limits: Option<&Limits>) -> usize {
        let _ = limits;
        MAX_BODY_BYTES
    }

    /// The value of an empty body or `null`; none if the body is required.
    #[must_use]
    fn empty() -> Option<Self> {
        None
    }
}

/// A JSON body. Members that `T` does not have are refused.
#[derive(Debug)]
pub struct JsonBody<T> {
    pub value: T,
    /// The body itself.
    pub bytes: Bytes,
}

impl<T: RequestBody, S: Send + Sync> FromRequest<S> for JsonBody<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self> {
        let (parts, body) = request.into_parts();
        let caller = parts.extensions.get::<Arc<Caller>>();
        let max = T::max_bytes(caller.map(|caller| &caller.limits));
        let bytes = read(body, max).await?;
        let is_empty = bytes.is_empty() || bytes.trim_ascii() == b"null";
        let value = match is_empty.then(T::empty).flatten() {
            Some(value) => value,
            None => parse(&Head::of(&parts), &bytes)?,
        };
        Ok(Self { value, bytes })
    }
}

/// A body of any type, of at most [`RawBody::MAX_BYTES`].
#[derive(Debug)]
pub struct RawBody(pub Bytes);

impl RawBody {
    /// The largest payload of Lambda.
    pub const MAX_BYTES: usize = 6 * 1024 * 1024;
}

impl<S: Send + Sync> FromRequest<S> for RawBody {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self> {
        read(request.into_body(), Self::MAX_BYTES).await.map(Self)
    }
}

async fn read(body: axum::body::Body, max: usize) -> Result<Bytes> {
    to_bytes(body, max)
        .await
        .map_err(|error| Problem::too_large(max).because(error))
}

/// Parses a JSON body.
///
/// # Errors
///
/// `400` with a pointer to the fault, `415`.
pub fn parse<T: DeserializeOwned>(head: &Head, body: &[u8]) -> Result<T> {
    let header = |name| head.header(name).unwrap_or_default();
    let media_type = header("content-type").split(';').next().unwrap_or_default();
    if !media_type.trim().eq_ignore_ascii_case("application/json") {
        return Err(Problem::unsupported_media_type(
            "the body must be application/json",
        ));
    }
    if !["", "identity"].contains(&header("content-encoding")) {
        return Err(Problem::unsupported_media_type(
            "the body must not be compressed",
        ));
    }
    let value = json::parse(body)
        .map_err(|error| Problem::invalid(vec![Fault::new(error.pointer, error.detail)]))?;
    from_value(value)
}

/// Deserializes a member that may be `null`, which differs from a missing one: for
/// `#[serde(default, deserialize_with = "present")]`.
///
/// # Errors
///
/// When the value is not a `T`.
pub fn present<'de, T, D>(deserializer: D) -> std::result::Result<Option<T>, D::Error>
where
    T: Deserialize<'de>,
    D: Deserializer<'de>,
{
    T::deserialize(deserializer).map(Some)
}

fn from_value<T: DeserializeOwned>(value: Value) -> Result<T> {
    serde_path_to_error::deserialize(value).map_err(|error| {
        let mut pointer = String::new();
        for segment in error.path() {
            match segment {
                serde_path_to_error::Segment::Seq { index } => {
                    json::push_token(&mut pointer, &index.to_string());
                }
                serde_path_to_error::Segment::Map { key } => json::push_token(&mut pointer, key),
                serde_path_to_error::Segment::Enum { variant } => {
                    json::push_token(&mut pointer, variant);
                }
                serde_path_to_error::Segment::Unknown => {}
            }
        }
        Problem::invalid_member(&pointer, error.inner().to_string())
    })
}
