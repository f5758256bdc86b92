//! Problem details (RFC 9457), the only form of error responses. `detail` only repeats the caller's
//! own input; causes are only logged.

pub mod kinds;

use std::{error::Error as StdError, sync::Arc};

use aias_domain::{
    plan::{Limits, PlanName, RATE_SECONDS},
    run::ERROR_PAGES,
    tenant::MAX_CREATED_A_MONTH,
};
use axum::{
    body::Body,
    response::{IntoResponse, Response},
};
use http::{
    HeaderMap, HeaderValue, StatusCode,
    header::{ALLOW, CONTENT_TYPE, HeaderName, RETRY_AFTER, WWW_AUTHENTICATE},
};
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

pub use kinds::Kind;

use crate::{blobs, journal, queue, runs, secrets, store};

/// A fault in a request body.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Fault {
    /// An RFC 6901 pointer into the body.
    #[schema(example = "/name")]
    pub pointer: String,
    #[schema(example = "missing field `name`")]
    pub detail: String,
    /// Where it is in the body of the request, from 1, if that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, minimum = 1)]
    pub line: Option<u64>,
    /// In characters, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, minimum = 1)]
    pub column: Option<u64>,
}

impl Fault {
    /// A fault without a position.
    #[must_use]
    pub fn new(pointer: impl Into<String>, detail: impl Into<String>) -> Self {
        Self {
            pointer: pointer.into(),
            detail: detail.into(),
            line: None,
            column: None,
        }
    }
}

#[derive(Debug, Clone)]
pub struct Problem(Arc<Content>);

#[derive(Debug, Clone)]
struct Content {
    kind: &'static Kind,
    detail: Option<String>,
    errors: Vec<Fault>,
    members: Map<String, Value>,
    headers: HeaderMap,
    cause: Option<Arc<dyn StdError + Send + Sync>>,
}

/// A caller's string, cut to the length that a message may repeat.
pub(super) fn shown(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(64).collect()
}

impl Problem {
    #[must_use]
    pub fn new(kind: &'static Kind) -> Self {
        Self(Arc::new(Content {
            kind,
            detail: None,
            errors: Vec::new(),
            members: Map::new(),
            headers: HeaderMap::new(),
            cause: None,
        }))
    }

    fn change(mut self, change: impl FnOnce(&mut Content)) -> Self {
        change(Arc::make_mut(&mut self.0));
        self
    }

    /// `400` with faults of the body.
    #[must_use]
    pub fn invalid(errors: Vec<Fault>) -> Self {
        Self::new(&kinds::INVALID_BODY).change(|own| own.errors = errors)
    }

    /// `400` with a fault of one member of the body.
    #[must_use]
    pub fn invalid_member(pointer: &str, detail: impl Into<String>) -> Self {
        Self::invalid(vec![Fault::new(pointer, detail)])
    }

    /// `401` without a credential.
    #[must_use]
    pub fn unauthorized(detail: &str) -> Self {
        let challenge = HeaderValue::from_static("Bearer realm=\"aias\"");
        Self::new(&kinds::UNAUTHORIZED)
            .detail(detail)
            .with_header(WWW_AUTHENTICATE, challenge)
    }

    /// `401` for an invalid credential. The reason is only logged.
    #[must_use]
    pub fn bad_credential() -> Self {
        let challenge = HeaderValue::from_static("Bearer realm=\"aias\", error=\"invalid_token\"");
        Self::unauthorized("the credential is not valid").with_header(WWW_AUTHENTICATE, challenge)
    }

    pub(super) fn is_bad_credential(&self) -> bool {
        let challenge = self.0.headers.get(WWW_AUTHENTICATE);
        self.kind() == &kinds::UNAUTHORIZED
            && challenge.is_some_and(|value| value.as_bytes().ends_with(b"\"invalid_token\""))
    }

    /// Adds a cause, which is only logged.
    #[must_use]
    pub fn because(self, cause: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.change(|own| own.cause = Some(Arc::from(cause.into())))
    }

    /// `401` for a webhook whose signature does not match.
    #[must_use]
    pub fn bad_signature() -> Self {
        let challenge = HeaderValue::from_static("Signature realm=\"aias\"");
        Self::new(&kinds::BAD_SIGNATURE).with_header(WWW_AUTHENTICATE, challenge)
    }

    /// `402`: the plan does not allow more of a feature.
    #[must_use]
    pub fn plan_limit(feature: &str, limit: u64, used: u64, plan: PlanName) -> Self {
        Self::new(&kinds::PLAN_LIMIT_EXCEEDED)
            .detail(format!("the plan {plan} allows {limit} {feature}"))
            .member("feature", feature)
            .member("limit", limit)
            .member("used", used)
            .member("plan", plan.as_str())
    }

    /// `429`: the event rate of the plan is used up.
    #[must_use]
    pub fn event_rate(limits: &Limits) -> Self {
        Self::new(&kinds::RATE_LIMITED).detail(format!(
            "the plan {} allows {} events in {RATE_SECONDS} seconds",
            limits.plan,
            limits.burst()
        ))
    }

    /// `403`.
    #[must_use]
    pub fn forbidden(detail: impl Into<String>) -> Self {
        Self::new(&kinds::FORBIDDEN).detail(detail)
    }

    /// `404`, the same for an absent object and for another tenant's.
    #[must_use]
    pub fn not_found() -> Self {
        Self::new(&kinds::NOT_FOUND)
    }

    /// `405` for a resource that takes only the methods `allow`.
    #[must_use]
    pub fn method_not_allowed(allow: &'static str) -> Self {
        Self::new(&kinds::METHOD_NOT_ALLOWED).with_header(ALLOW, HeaderValue::from_static(allow))
    }

    /// `412`.
    #[must_use]
    pub fn precondition_failed() -> Self {
        Self::new(&kinds::PRECONDITION_FAILED).detail("If-Match does not match the current ETag")
    }

    /// `413`.
    #[must_use]
    pub fn too_large(limit: usize) -> Self {
        Self::new(&kinds::BODY_TOO_LARGE).detail(format!("the body may have at most {limit} bytes"))
    }

    /// `415`.
    #[must_use]
    pub fn unsupported_media_type(detail: impl Into<String>) -> Self {
        Self::new(&kinds::UNSUPPORTED_MEDIA_TYPE).detail(detail)
    }

    /// `422`: a definition that the validator refuses.
    #[must_use]
    pub fn invalid_workflow(errors: Vec<Fault>) -> Self {
        Self::new(&kinds::INVALID_WORKFLOW).change(|own| own.errors = errors)
    }

    /// Adds `Retry-After`, at least one second.
    #[must_use]
    pub fn retry_after(self, seconds: i64) -> Self {
        self.with_header(RETRY_AFTER, HeaderValue::from(seconds.max(1)))
    }

    /// `503`: a dependency is unavailable; the same request may succeed later.
    #[must_use]
    pub fn unavailable(cause: impl StdError + Send + Sync + 'static) -> Self {
        Self::new(&kinds::UNAVAILABLE).retry_after(2).because(cause)
    }

    /// `500`: a bug.
    #[must_use]
    pub fn internal(cause: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self::new(&kinds::INTERNAL).because(cause)
    }

    /// Adds an explanation of this occurrence.
    /// The detail, if the problem has one.
    #[must_use]
    pub fn detail_text(&self) -> Option<&str> {
        self.0.detail.as_deref()
    }

    #[must_use]
    pub fn detail(self, detail: impl Into<String>) -> Self {
        self.change(|own| own.detail = Some(detail.into()))
    }

    /// Adds an extension member.
    #[must_use]
    pub fn member(self, name: &str, value: impl Into<Value>) -> Self {
        self.change(|own| {
            own.members.insert(name.to_owned(), value.into());
        })
    }

    /// Adds a header.
    #[must_use]
    pub fn with_header(self, name: HeaderName, value: HeaderValue) -> Self {
        self.change(|own| {
            own.headers.insert(name, value);
        })
    }

    /// Adds headers.
    #[must_use]
    pub fn with_headers(
        self,
        headers: impl IntoIterator<Item = (HeaderName, HeaderValue)>,
    ) -> Self {
        self.change(|own| own.headers.extend(headers))
    }

    #[must_use]
    pub fn kind(&self) -> &'static Kind {
        self.0.kind
    }

    pub(super) fn cause(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.cause.as_deref().map(|cause| cause as _)
    }

    /// The body of the response to a request for `path`. `base_url` is that of the API
    /// ([`Head::base_url`](super::Head::base_url)), whose console describes the problem type.
    #[must_use]
    pub fn body(&self, base_url: &str, path: &str, request_id: &str) -> String {
        let own = &*self.0;
        let mut body = Map::new();
        let kind = format!("{base_url}{ERROR_PAGES}/{}", own.kind.code);
        body.insert("type".to_owned(), kind.into());
        body.insert("title".to_owned(), own.kind.title.into());
        body.insert("status".to_owned(), own.kind.status.into());
        if let Some(detail) = &own.detail {
            body.insert("detail".to_owned(), detail.as_str().into());
        }
        body.insert("instance".to_owned(), path.into());
        body.insert("code".to_owned(), own.kind.code.into());
        body.insert("request_id".to_owned(), request_id.into());
        if !own.errors.is_empty() {
            let errors = serde_json::to_value(&own.errors).unwrap_or_default();
            body.insert("errors".to_owned(), errors);
        }
        body.extend(own.members.clone());
        Value::Object(body).to_string()
    }
}

/// Sets the status and headers; a layer adds the body, which contains the path and the request id.
impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = Response::new(Body::empty());
        *response.status_mut() =
            StatusCode::from_u16(self.kind().status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        response.headers_mut().extend(self.0.headers.clone());
        response.headers_mut().insert(
            CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json"),
        );
        response.extensions_mut().insert(self);
        response
    }
}

impl From<store::Error> for Problem {
    fn from(error: store::Error) -> Self {
        match error {
            store::Error::Conflict => Self::new(&kinds::CONFLICT),
            store::Error::Unavailable(_) => Self::unavailable(error),
            store::Error::Broken(_) => Self::internal(error),
        }
    }
}

impl From<blobs::Error> for Problem {
    fn from(error: blobs::Error) -> Self {
        if error.is_transient() {
            Self::unavailable(error)
        } else {
            Self::internal(error)
        }
    }
}

impl From<queue::Error> for Problem {
    fn from(error: queue::Error) -> Self {
        Self::unavailable(error)
    }
}

impl From<secrets::Error> for Problem {
    fn from(error: secrets::Error) -> Self {
        match error {
            secrets::Error::Unavailable(_) => Self::unavailable(error),
            secrets::Error::Malformed(_) | secrets::Error::Sealed => Self::internal(error),
        }
    }
}

impl From<runs::AdmissionRefusal> for Problem {
    fn from(why: runs::AdmissionRefusal) -> Self {
        match why {
            runs::AdmissionRefusal::QuotaExceeded(limits) => {
                let runs = limits.runs_per_month;
                Self::plan_limit("runs", runs, runs, limits.plan)
            }
            runs::AdmissionRefusal::RateExceeded {
                limits,
                retry_after_seconds,
            } => Self::event_rate(&limits).retry_after(retry_after_seconds),
        }
    }
}

impl From<runs::Error> for Problem {
    fn from(error: runs::Error) -> Self {
        match error {
            runs::Error::Store(error) => error.into(),
            runs::Error::Blobs(error) => error.into(),
            runs::Error::Queue(error) => error.into(),
            runs::Error::InputGone => Self::new(&kinds::INPUT_GONE),
        }
    }
}

impl From<journal::Error> for Problem {
    fn from(error: journal::Error) -> Self {
        match error {
            journal::Error::Store(error) => error.into(),
            journal::Error::Blobs(error) => error.into(),
            journal::Error::Gone | journal::Error::TooLarge => Self::new(&kinds::JOURNAL_GONE),
        }
    }
}

impl Problem {
    /// The problem of a refused transaction, with the limits of the caller's plan.
    #[must_use]
    pub fn refused(refused: store::TransactionError, limits: &Limits) -> Self {
        match refused {
            store::TransactionError::Limit { count, used } => {
                Self::plan_limit(count.feature(), count.limit(limits), used, limits.plan)
            }
            store::TransactionError::Conflict
            | store::TransactionError::ConcurrencyLimit
            | store::TransactionError::AlreadyApplied => Self::new(&kinds::CONFLICT),
            store::TransactionError::TooManyTenants => Self::new(&kinds::TOO_MANY_TENANTS).detail(
                format!("a user creates at most {MAX_CREATED_A_MONTH} tenants a month"),
            ),
            store::TransactionError::LastOwner => Self::new(&kinds::LAST_OWNER),
            store::TransactionError::NoTenant => Self::not_found(),
            store::TransactionError::Repeated(_) => Self::new(&kinds::IDEMPOTENCY_KEY_REUSED),
            store::TransactionError::Store(error) => error.into(),
        }
    }
}
