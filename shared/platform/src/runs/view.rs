//! A run in the API.

use aias_domain::{
    artifact::Artifact,
    id::{ArtifactId, RunId, WorkflowId},
    run::{Child, Run, RunError, Status, Trigger},
    timestamp,
};
use axum::http::{StatusCode, header::LOCATION};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::http::{self, WithHeader as _, response};

#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct RunAccepted {
    run_id: RunId,
    status: Status,
}

impl RunAccepted {
    pub(super) fn run_id(&self) -> RunId {
        self.run_id
    }

    /// The response with a new, pending run.
    ///
    /// # Errors
    ///
    /// As [`response::json`].
    pub fn respond(run_id: RunId) -> http::Result {
        let status = Status::Pending;
        let response = response::json(StatusCode::ACCEPTED, &Self { run_id, status })?;
        Ok(response.with(LOCATION, format!("/api/runs/{run_id}")))
    }
}

/// A run in the API.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Run)]
pub struct RunView<'a> {
    id: RunId,
    status: Status,
    workflow_id: WorkflowId,
    /// The version of the run; `null` until the run starts.
    workflow_version: Option<u32>,
    #[schema(value_type = Trigger)]
    trigger: &'a Trigger,
    /// Of the canonical JSON (RFC 8785) of the input.
    #[schema(value_type = String, pattern = "^sha256:[0-9a-f]{64}$")]
    input_digest: &'a str,
    /// Of the canonical JSON (RFC 8785) of the output; `null` until the run completes.
    #[schema(value_type = Option<String>, pattern = "^sha256:[0-9a-f]{64}$")]
    output_digest: Option<&'a str>,
    /// Why the run faulted.
    #[schema(value_type = Option<RunError>)]
    error: Option<&'a RunError>,
    /// Number of starts since the run last waited.
    attempts: u32,
    #[schema(value_type = Vec<ArtifactSummary>)]
    artifacts: Vec<ArtifactSummary<'a>>,
    /// Runs started by tasks of this run.
    #[schema(value_type = Vec<Child>)]
    children: &'a [Child],
    /// When a waiting run continues, if it waits for a time.
    #[schema(format = DateTime)]
    wakes_at: Option<String>,
    #[schema(format = DateTime)]
    created_at: String,
    #[schema(format = DateTime)]
    started_at: Option<String>,
    #[schema(format = DateTime)]
    ended_at: Option<String>,
    /// From start to end, in milliseconds.
    #[schema(minimum = 0)]
    duration_ms: Option<i64>,
    /// The output, where it was requested and has at most 256 KiB of JSON. A larger one is the
    /// run's artifact.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    output: Option<Value>,
    /// The newest 100 replays of this run; only in the response for one run.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    replays: Option<Vec<RunId>>,
}

/// An artifact in the representation of its run.
#[derive(Debug, Serialize, ToSchema)]
pub struct ArtifactSummary<'a> {
    id: ArtifactId,
    #[schema(value_type = String)]
    name: &'a str,
    #[schema(value_type = String, pattern = "^sha256:[0-9a-f]{64}$")]
    digest: &'a str,
    size_bytes: u64,
}

impl<'a> RunView<'a> {
    #[must_use]
    pub fn new(run: &'a Run) -> Self {
        let duration = run
            .started_at
            .zip(run.ended_at)
            .map(|(from, to)| to.as_millisecond() - from.as_millisecond());
        let artifact = |a: &'a Artifact| ArtifactSummary {
            id: a.id,
            name: &a.name,
            digest: &a.digest,
            size_bytes: a.size_bytes,
        };
        Self {
            id: run.id,
            status: run.status,
            workflow_id: run.workflow_id,
            workflow_version: run.workflow_version,
            trigger: &run.trigger,
            input_digest: &run.input_digest,
            output_digest: run.output_digest.as_deref(),
            error: run.error.as_ref(),
            attempts: run.attempts,
            artifacts: run.artifacts.iter().map(artifact).collect(),
            children: &run.children,
            wakes_at: run.wakes_at.map(timestamp::format),
            created_at: timestamp::format(run.created_at),
            started_at: run.started_at.map(timestamp::format),
            ended_at: run.ended_at.map(timestamp::format),
            duration_ms: duration.map(|ms| ms.max(0)),
            output: None,
            replays: None,
        }
    }

    #[must_use]
    pub fn with_output(self, output: Option<Value>) -> Self {
        Self { output, ..self }
    }

    #[must_use]
    pub fn with_replays(self, replays: Vec<RunId>) -> Self {
        Self {
            replays: Some(replays),
            ..self
        }
    }
}
