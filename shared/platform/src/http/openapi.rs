//! Shared types of the API description, which handlers name in their `#[utoipa::path]`.
//!
//! A handler declares its parameters, bodies and responses. Two extensions declare the role that it
//! requires (`x-role`) and the codes of its problems, in addition to those of every route
//! (`x-problems`).

use serde::Serialize;
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

use super::{idempotency::MAX_KEY_BYTES, problem::Fault};

/// A problem (RFC 9457): why a request failed.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Problem)]
pub struct ProblemSchema {
    /// The URL of a page that describes the problem type. It ends with `code`.
    #[serde(rename = "type")]
    #[schema(
        format = "uri",
        example = "https://aias.example/dashboard/errors/not-found"
    )]
    kind: String,
    /// A summary of the problem type.
    #[schema(example = "Not found")]
    title: String,
    /// The status code of the response.
    #[schema(minimum = 400, maximum = 599, example = 404)]
    status: u16,
    /// An explanation of this occurrence.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    detail: Option<String>,
    /// The path of the request.
    #[schema(example = "/api/runs/run_01JD3V4ZK8QW5R7T9X1B3C5D7F")]
    instance: String,
    /// Identifies the problem type: stable, in kebab-case.
    #[schema(example = "not-found")]
    code: String,
    /// The request id, as in `x-request-id`.
    request_id: String,
    /// The faults of an invalid body or definition.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    errors: Option<Vec<Fault>>,
    /// For a plan limit: the feature.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    feature: Option<String>,
    /// For a plan limit: how much the plan allows.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    limit: Option<u64>,
    /// For a plan limit: how much is used.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    used: Option<u64>,
    /// For a plan limit: the plan.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    plan: Option<String>,
    /// For `sample-changed`: the samples whose artifacts the version changes, with their `name`,
    /// `error` and `output_patch`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, value_type = Option<Vec<Object>>)]
    samples: Option<Vec<Value>>,
    /// For `sample-faulted`: the error of the run.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, value_type = Option<Object>)]
    error: Option<Value>,
}

/// A page of a list.
#[derive(Debug, Serialize, ToSchema)]
pub struct Page<T> {
    /// The items, newest first unless the operation says otherwise.
    data: Vec<T>,
    /// The value of `cursor` for the next page; `null` at the end.
    next_cursor: Option<String>,
}

/// A repeated request with the same key and body gets the same response for 24 hours.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(dead_code, reason = "describes a header")]
pub struct IdempotencyKey {
    /// A unique string for the request, such as a UUID. A repeated request with the same key and
    /// body gets the same response for 24 hours.
    #[param(rename = "Idempotency-Key", min_length = 1, max_length = 255)]
    key: Option<String>,
}

const _: () = assert!(MAX_KEY_BYTES == 255, "documented in IdempotencyKey");

/// Makes a change conditional on the state that the caller has seen.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(dead_code, reason = "describes a header")]
pub struct IfMatch {
    /// The `ETag` of the state to change. If the object has changed since, the response is `412`.
    #[param(rename = "If-Match", min_length = 1, max_length = 1024)]
    etag: Option<String>,
}
