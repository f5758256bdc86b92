//! Workflows as the API shows them.

use aias_domain::{
    event::text_of,
    id::WorkflowId,
    plan,
    workflow::{Version, Workflow},
};
use aias_platform::http::Problem;
use serde::Serialize;
use serde_json::Value;

#[derive(Serialize)]
pub(crate) struct Head {
    id: WorkflowId,
    name: String,
    namespace: String,
    version: u32,
    enabled: bool,
    disabled_reason: Option<&'static str>,
    created_at: String,
    updated_at: String,
}

pub(crate) fn head(workflow: &Workflow) -> Head {
    Head {
        id: workflow.id,
        name: workflow.name.clone(),
        namespace: workflow.namespace.clone(),
        version: workflow.latest,
        enabled: workflow.is_on(),
        disabled_reason: plan::disabled_reason(workflow.disabled_by_plan),
        created_at: text_of(workflow.created_at),
        updated_at: text_of(workflow.updated_at),
    }
}

#[derive(Serialize)]
pub(crate) struct Whole {
    #[serde(flatten)]
    head: Head,
    digest: String,
    definition: Value,
}

impl Whole {
    /// The definition's digest.
    pub(crate) fn digest(&self) -> &str {
        &self.digest
    }
}

pub(crate) fn whole(workflow: &Workflow, version: &Version) -> Result<Whole, Problem> {
    Ok(Whole {
        head: head(workflow),
        digest: version.digest.clone(),
        definition: parse(version)?,
    })
}

#[derive(Serialize)]
pub(crate) struct VersionHead {
    version: u32,
    digest: String,
    created_at: String,
}

pub(crate) fn version_head(version: &Version) -> VersionHead {
    VersionHead {
        version: version.number,
        digest: version.digest.clone(),
        created_at: text_of(version.created_at),
    }
}

#[derive(Serialize)]
pub(crate) struct OneVersion {
    #[serde(flatten)]
    head: VersionHead,
    definition: Value,
}

pub(crate) fn version(version: &Version) -> Result<OneVersion, Problem> {
    Ok(OneVersion {
        head: version_head(version),
        definition: parse(version)?,
    })
}

fn parse(version: &Version) -> Result<Value, Problem> {
    serde_json::from_str(&version.definition).map_err(Problem::internal)
}
