//! Problem Details (RFC 9457): the one form of every error. `detail` only ever repeats the
//! caller's own input; causes go to the log.

use std::error::Error as StdError;

use aias_domain::plan::{Limits, PlanName};
use serde::Serialize;
use serde_json::{Map, Value};

use super::response::Response;
use crate::{blobs, journal, queue, runs, secrets, store};

/// A fault of a request's body, and where it is (RFC 6901).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Fault {
    /// Into the body.
    pub pointer: String,
    /// What is wrong there.
    pub detail: String,
}

/// Why a request is not answered as it wished.
#[derive(Debug)]
pub struct Problem {
    status: u16,
    code: &'static str,
    title: &'static str,
    detail: Option<String>,
    errors: Vec<Fault>,
    members: Map<String, Value>,
    headers: Vec<(&'static str, String)>,
    cause: Option<Box<dyn StdError + Send + Sync>>,
}

/// A caller's text, cut to what a message repeats.
pub(super) fn shown(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(64).collect()
}

impl Problem {
    fn new(status: u16, code: &'static str, title: &'static str) -> Self {
        Self {
            status,
            code,
            title,
            detail: None,
            errors: Vec::new(),
            members: Map::new(),
            headers: Vec::new(),
            cause: None,
        }
    }

    /// `400`.
    #[must_use]
    pub fn bad_request(code: &'static str, title: &'static str) -> Self {
        Self::new(400, code, title)
    }

    /// `400` for a body whose faults are known.
    #[must_use]
    pub fn invalid(errors: Vec<Fault>) -> Self {
        Self {
            errors,
            ..Self::new(400, "invalid-body", "Invalid body")
        }
    }

    /// `400` for one member of a body.
    #[must_use]
    pub fn invalid_member(pointer: &str, detail: impl Into<String>) -> Self {
        Self::invalid(vec![Fault {
            pointer: pointer.to_owned(),
            detail: detail.into(),
        }])
    }

    /// `401`. What exactly is wrong with a credential is for the log alone.
    #[must_use]
    pub fn unauthorized(detail: &str) -> Self {
        let problem = Self::new(401, "unauthorized", "Unauthorized").detail(detail);
        problem.with_header("www-authenticate", "Bearer realm=\"aias\"")
    }

    /// `401` for a credential that is no good.
    #[must_use]
    pub fn bad_credential() -> Self {
        Self::unauthorized("the credential is not valid").with_header(
            "www-authenticate",
            "Bearer realm=\"aias\", error=\"invalid_token\"",
        )
    }

    pub(super) fn is_bad_credential(&self) -> bool {
        let mut headers = self.headers.iter();
        self.status == 401 && headers.any(|(_, value)| value.contains("invalid_token"))
    }

    /// The same with what is for the log alone.
    #[must_use]
    pub fn because(self, cause: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self {
            cause: Some(cause.into()),
            ..self
        }
    }

    /// `401` for a webhook whose signature does not hold.
    #[must_use]
    pub fn bad_signature() -> Self {
        let problem = Self::new(401, "bad-signature", "Bad signature");
        problem.with_header("www-authenticate", "Signature realm=\"aias\"")
    }

    /// `402`: the plan allows no more.
    #[must_use]
    pub fn plan_limit(feature: &str, limit: u64, used: u64, plan: PlanName) -> Self {
        let problem = Self::new(402, "plan-limit-exceeded", "The plan allows no more")
            .detail(format!("the plan {plan} allows {limit} {feature}"));
        problem
            .member("feature", feature)
            .member("limit", limit)
            .member("used", used)
            .member("plan", plan.as_str())
    }

    /// `403`.
    #[must_use]
    pub fn forbidden(detail: impl Into<String>) -> Self {
        Self::new(403, "forbidden", "Forbidden").detail(detail)
    }

    /// `404`, the same for what is absent and what is another tenant's.
    #[must_use]
    pub fn not_found() -> Self {
        Self::new(404, "not-found", "Not found")
    }

    /// `405`.
    #[must_use]
    pub fn method_not_allowed(allow: &str) -> Self {
        let problem = Self::new(405, "method-not-allowed", "Method not allowed");
        problem
            .detail(format!("this path answers {allow}"))
            .with_header("allow", allow)
    }

    /// `409`.
    #[must_use]
    pub fn conflict(code: &'static str, title: &'static str) -> Self {
        Self::new(409, code, title)
    }

    /// `410`.
    #[must_use]
    pub fn gone(code: &'static str, title: &'static str) -> Self {
        Self::new(410, code, title)
    }

    /// `412`.
    #[must_use]
    pub fn precondition_failed() -> Self {
        Self::new(412, "precondition-failed", "The object has changed")
            .detail("If-Match names another state than the object's own")
    }

    /// `413`.
    #[must_use]
    pub fn too_large(limit: usize) -> Self {
        Self::new(413, "body-too-large", "Body too large")
            .detail(format!("at most {limit} bytes are taken"))
    }

    /// `415`.
    #[must_use]
    pub fn unsupported_media_type(detail: impl Into<String>) -> Self {
        Self::new(415, "unsupported-media-type", "Unsupported media type").detail(detail)
    }

    /// `422`: a definition that the validator refuses.
    #[must_use]
    pub fn invalid_workflow(errors: Vec<Fault>) -> Self {
        Self {
            errors,
            ..Self::new(422, "invalid-workflow", "The definition cannot run")
        }
    }

    /// `429`.
    #[must_use]
    pub fn too_many(code: &'static str, title: &'static str, retry_after_seconds: i64) -> Self {
        Self::new(429, code, title)
            .with_header("retry-after", retry_after_seconds.max(1).to_string())
    }

    /// `503`: a dependency is down; to ask again is right.
    #[must_use]
    pub fn unavailable(cause: impl StdError + Send + Sync + 'static) -> Self {
        let problem = Self::new(503, "unavailable", "Unavailable").with_header("retry-after", "2");
        Self {
            cause: Some(Box::new(cause)),
            ..problem
        }
    }

    /// `500`: a fault of AIAS's own.
    #[must_use]
    pub fn internal(cause: impl StdError + Send + Sync + 'static) -> Self {
        Self {
            cause: Some(Box::new(cause)),
            ..Self::new(500, "internal", "Internal error")
        }
    }

    /// With a sentence about this occurrence.
    #[must_use]
    pub fn detail(self, detail: impl Into<String>) -> Self {
        Self {
            detail: Some(detail.into()),
            ..self
        }
    }

    /// With a member of its own.
    #[must_use]
    pub fn member(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.members.insert(name.to_owned(), value.into());
        self
    }

    /// With a header.
    #[must_use]
    pub fn with_header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// The stable code.
    #[must_use]
    pub fn code(&self) -> &'static str {
        self.code
    }

    /// The status code.
    #[must_use]
    pub fn status(&self) -> u16 {
        self.status
    }

    pub(super) fn cause(&self) -> Option<&(dyn StdError + 'static)> {
        self.cause.as_deref().map(|cause| cause as _)
    }

    pub(super) fn answer(&self, path: &str, request_id: &str) -> Response {
        let mut body = Map::new();
        body.insert(
            "type".to_owned(),
            format!("https://aias.dev/problems/{}", self.code).into(),
        );
        body.insert("title".to_owned(), self.title.into());
        body.insert("status".to_owned(), self.status.into());
        if let Some(detail) = &self.detail {
            body.insert("detail".to_owned(), detail.as_str().into());
        }
        body.insert("instance".to_owned(), super::loggable(path).into());
        body.insert("code".to_owned(), self.code.into());
        body.insert("request_id".to_owned(), request_id.into());
        if !self.errors.is_empty() {
            body.insert(
                "errors".to_owned(),
                serde_json::to_value(&self.errors).unwrap_or_default(),
            );
        }
        body.extend(self.members.clone());
        let text = Value::Object(body).to_string();
        let response = Response::text_of(self.status, "application/problem+json", text);
        self.headers
            .iter()
            .fold(response, |response, (name, value)| {
                response.header(name, value.as_str())
            })
    }
}

impl From<store::Error> for Problem {
    fn from(error: store::Error) -> Self {
        match error {
            store::Error::Conflict => {
                Self::conflict("conflict", "The object has changed meanwhile")
            }
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

impl From<runs::NotAdmitted> for Problem {
    fn from(why: runs::NotAdmitted) -> Self {
        match why {
            runs::NotAdmitted::MonthFull(limits) => {
                let runs = limits.runs_per_month;
                Self::plan_limit("runs", runs, runs, limits.plan)
            }
            runs::NotAdmitted::RateFull {
                retry_after_seconds,
            } => Self::too_many("rate-limited", "Too many events", retry_after_seconds),
        }
    }
}

impl From<runs::Error> for Problem {
    fn from(error: runs::Error) -> Self {
        match error {
            runs::Error::Store(error) => error.into(),
            runs::Error::Blobs(error) => error.into(),
            runs::Error::Queue(error) => error.into(),
            runs::Error::InputGone => Self::gone("input-gone", "The run's input is no longer kept"),
        }
    }
}

impl From<journal::Error> for Problem {
    fn from(error: journal::Error) -> Self {
        match error {
            journal::Error::Store(error) => error.into(),
            journal::Error::Blobs(error) => error.into(),
            journal::Error::Gone | journal::Error::TooLarge => {
                Self::gone("journal-gone", "The run's journal is no longer kept")
            }
        }
    }
}

impl Problem {
    /// The problem of a transaction that was refused.
    #[must_use]
    pub fn refused(refused: store::Refused, limits: &Limits) -> Self {
        match refused {
            store::Refused::Conflict => {
                Self::conflict("conflict", "The object exists, or has changed meanwhile")
            }
            store::Refused::Limit { count, used } => {
                Self::plan_limit(count.feature(), count.limit(limits), used, limits.plan)
            }
            store::Refused::Busy | store::Refused::Before => {
                Self::conflict("conflict", "The object has changed meanwhile")
            }
            store::Refused::LastOwner => {
                Self::conflict("last-owner", "The last owner cannot leave or step down")
            }
            store::Refused::NoTenant => Self::not_found(),
            store::Refused::Answered(_) => Self::idempotency_key_reused(),
            store::Refused::Store(error) => error.into(),
        }
    }

    /// `409` for an `Idempotency-Key` that came with another request before.
    #[must_use]
    pub fn idempotency_key_reused() -> Self {
        Self::conflict(
            "idempotency-key-reused",
            "The Idempotency-Key came with another request before",
        )
    }
}
