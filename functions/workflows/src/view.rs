//! Workflows in the API.

use aias_domain::{
    id::WorkflowId,
    plan, timestamp,
    workflow::{Version, Workflow},
};
use aias_platform::http::{Fault, Problem, Result};
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

/// A workflow, without its definition.
#[derive(Serialize, ToSchema)]
pub(crate) struct WorkflowHead {
    id: WorkflowId,
    /// `document.name` of the active version.
    name: String,
    /// `document.namespace` of the active version.
    namespace: String,
    /// The number of the newest version.
    version: u32,
    /// The version that new runs use.
    active_version: u32,
    /// The number of samples.
    #[schema(maximum = 20)]
    samples: u32,
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
        active_version: workflow.active_version(),
        samples: workflow.samples,
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
    /// Of the canonical JSON (RFC 8785) of the definition.
    #[schema(pattern = "^sha256:[0-9a-f]{64}$")]
    digest: String,
    /// Of the newest version.
    definition: Map<String, Value>,
    /// Probable mistakes in the definition of this request.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    warnings: Option<Vec<Fault>>,
}

impl WorkflowView {
    pub(crate) fn with_warnings(self, warnings: Vec<Fault>) -> Self {
        Self {
            warnings: Some(warnings),
            ..self
        }
    }

    pub(crate) fn digest(&self) -> &str {
        &self.digest
    }
}

pub(crate) fn workflow(workflow: &Workflow, version: &Version) -> Result<WorkflowView> {
    Ok(WorkflowView {
        head: head(workflow),
        digest: version.digest.clone(),
        definition: parse(version)?,
        warnings: None,
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

/// The namespace and the name in a version's definition.
pub(crate) fn document_name(version: &Version) -> Result<(String, String)> {
    let definition = parse(version)?;
    let named = |member: &str| {
        let named = definition.get("document").and_then(|own| own.get(member));
        named.and_then(Value::as_str).unwrap_or_default().to_owned()
    };
    Ok((named("namespace"), named("name")))
}
