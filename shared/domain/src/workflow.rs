//! Workflows: a mutable head and immutable versions.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::id::WorkflowId;

/// The largest definition, in bytes of JSON or YAML.
pub const MAX_DEFINITION_BYTES: usize = 256 * 1024;

/// The head of a workflow.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Workflow {
    pub id: WorkflowId,
    /// `document.name` of the active version.
    pub name: String,
    /// `document.namespace` of the active version.
    pub namespace: String,
    /// The number of the newest version, from 1.
    pub latest: u32,
    /// The version that new runs use, if it is not the newest one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub active: Option<u32>,
    /// The number of samples.
    #[serde(default)]
    pub samples: u32,
    /// Set by the tenant.
    pub enabled: bool,
    /// Set while the plan allows fewer workflows; cleared when it allows more.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub disabled_by_plan: bool,
    /// When it was made.
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

impl Workflow {
    /// The version that new runs use.
    #[must_use]
    pub fn active_version(&self) -> u32 {
        self.active.unwrap_or(self.latest)
    }

    /// Makes new runs use a version.
    pub fn activate(&mut self, version: u32) {
        self.active = (version != self.latest).then_some(version);
    }

    /// Whether a version exists.
    #[must_use]
    pub fn has_version(&self, version: u32) -> bool {
        (1..=self.latest).contains(&version)
    }

    /// Whether the workflow can run.
    #[must_use]
    pub fn can_run(&self) -> bool {
        self.enabled && !self.disabled_by_plan
    }
}

/// An immutable version of a workflow.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Version {
    /// Its number, from 1.
    pub number: u32,
    /// `sha256:<hex>` of the RFC 8785 form of the definition.
    pub digest: String,
    /// `document.version`.
    #[serde(default)]
    pub document_version: String,
    /// The definition as a JSON string.
    #[serde(skip)]
    pub definition: String,
    /// When it was written.
    pub created_at: Timestamp,
}
