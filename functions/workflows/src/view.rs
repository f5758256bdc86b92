//! Workflows in the API.

use aias_domain::{
    id::WorkflowId,
    plan, timestamp,
    workflow::{Version, Workflow},
};
use aias_platform::http::{Problem, Result};
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

/// A workflow, without its definition.
#[derive(Serialize, ToSchema)]
pub(crate) struct WorkflowHead {
    id: WorkflowId,
    /// The definition's `document.name`.
    name: String,
    /// The definition's `document.namespace`.
    namespace: String,
    /// The number of the newest version.
    version: u32,
    enabled: bool,
    /// `plan` if the workflow is disabled because the plan allows fewer.
    disabled_reason: Option<&'static str>,
    #[schema(format = DateTime)]
    created_at: String,
    #[schema(format = DateTime)]
    updated_at: String,
}

pub(crate) fn head(workflow: &Workflow) -> WorkflowHead {
    WorkflowHead {
        id: workflow.id,
        name: workflow.name.clone(),
        namespace: workflow.namespace.clone(),
        version: workflow.latest,
        enabled: workflow.can_run(),
        disabled_reason: plan::disabled_reason(workflow.disabled_by_plan),
        created_at: timestamp::format(workflow.created_at),
        updated_at: timestamp::format(workflow.updated_at),
    }
}

/// A workflow.
#[derive(Serialize, ToSchema)]
#[schema(as = Workflow)]
pub(crate) struct WorkflowView {
    #[serde(flatten)]
    head: WorkflowHead,
    /// Of the definition's canonical JSON (RFC 8785).
    #[schema(pattern = "^sha256:[0-9a-f]{64}$")]
    digest: String,
    definition: Map<String, Value>,
}

impl WorkflowView {
    pub(crate) fn digest(&self) -> &str {
        &self.digest
    }
}

pub(crate) fn workflow(workflow: &Workflow, version: &Version) -> Result<WorkflowView> {
    Ok(WorkflowView {
        head: head(workflow),
        digest: version.digest.clone(),
        definition: parse(version)?,
    })
}

/// A version of a workflow, without its definition.
#[derive(Serialize, ToSchema)]
pub(crate) struct VersionHead {
    #[schema(minimum = 1)]
    version: u32,
    #[schema(pattern = "^sha256:[0-9a-f]{64}$")]
    digest: String,
    #[schema(format = DateTime)]
    created_at: String,
}

pub(crate) fn version_head(version: &Version) -> VersionHead {
    VersionHead {
        version: version.number,
        digest: version.digest.clone(),
        created_at: timestamp::format(version.created_at),
    }
}

/// A version of a workflow.
#[derive(Serialize, ToSchema)]
#[schema(as = Version)]
pub(crate) struct VersionView {
    #[serde(flatten)]
    head: VersionHead,
    definition: Map<String, Value>,
}

pub(crate) fn version(version: &Version) -> Result<VersionView> {
    Ok(VersionView {
        head: version_head(version),
        definition: parse(version)?,
    })
}

fn parse(version: &Version) -> Result<Map<String, Value>> {
    serde_json::from_str(&version.definition).map_err(Problem::internal)
}
