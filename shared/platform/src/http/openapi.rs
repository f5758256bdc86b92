//! What the API's description has in common: types that handlers name in their `#[utoipa::path]`.
//!
//! A handler states its parameters, bodies and responses, and in two extensions the role that it
//! requires (`x-role`) and the codes of the problems that it reports beside those of every route
//! (`x-problems`).

use serde::Serialize;
use utoipa::{IntoParams, ToSchema};

use super::{idempotency::MAX_KEY_BYTES, problem::Fault};

/// A problem (RFC 9457): why a request failed.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Problem)]
pub struct ProblemSchema {
    /// A URI of the kind of problem, which ends with `code`.
    #[serde(rename = "type")]
    #[schema(format = "uri", example = "https://aias.dev/problems/not-found")]
    kind: String,
    /// A sentence about the kind of problem.
    #[schema(example = "Not found")]
    title: String,
    /// The response's status code.
    #[schema(minimum = 400, maximum = 599, example = 404)]
    status: u16,
    /// A sentence about this occurrence.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    detail: Option<String>,
    /// The request's path.
    #[schema(example = "/api/runs/run_01JD3V4ZK8QW5R7T9X1B3C5D7F")]
    instance: String,
    /// The kind of problem: stable, in kebab-case.
    #[schema(example = "not-found")]
    code: String,
    /// The request's id, as in `x-request-id`.
    request_id: String,
    /// The faults of an invalid body or definition.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    errors: Option<Vec<Fault>>,
    /// Of a plan limit: the feature.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    feature: Option<String>,
    /// Of a plan limit: how much the plan allows.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    limit: Option<u64>,
    /// Of a plan limit: how much is used.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    used: Option<u64>,
    /// Of a plan limit: the plan.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    plan: Option<String>,
}

/// A page of a list.
#[derive(Debug, Serialize, ToSchema)]
pub struct Page<T> {
    /// The items, newest first unless the operation says otherwise.
    data: Vec<T>,
    /// What `cursor` takes for the next page; `null` at the end.
    next_cursor: Option<String>,
}

/// Repeating the request with the same key and body gives the same response for 24 hours.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(dead_code, reason = "describes a header")]
pub struct IdempotencyKey {
    /// A name of the request, such as a UUID: repeating the request with the same name and body
    /// gives the same response for 24 hours.
    #[param(rename = "Idempotency-Key", min_length = 1, max_length = 255)]
    key: Option<String>,
}

const _: () = assert!(MAX_KEY_BYTES == 255, "IdempotencyKey says so");

/// A change that is made only to the state of the object that the caller has seen.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(dead_code, reason = "describes a header")]
pub struct IfMatch {
    /// The `ETag` of the state that is to be changed. If the object has another state, the response
    /// is `412`.
    #[param(rename = "If-Match", min_length = 1, max_length = 1024)]
    etag: Option<String>,
}
