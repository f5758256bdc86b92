//! Workflows: a head that moves and versions that never change.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::id::WorkflowId;

/// The largest definition, in bytes of its JSON or YAML text.
pub const MAX_DEFINITION_BYTES: usize = 256 * 1024;

/// A workflow: what its newest version is, and whether it runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Workflow {
    /// Its id.
    pub id: WorkflowId,
    /// `document.name` of the newest version.
    pub name: String,
    /// `document.namespace` of the newest version.
    pub namespace: String,
    /// The newest version's number, from 1.
    pub latest: u32,
    /// Whether people want events and calls to run it.
    pub enabled: bool,
    /// Whether it is more than the plan allows: it runs again with a larger one.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub disabled_by_plan: bool,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
}

impl Workflow {
    /// Whether events and calls run it.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.enabled && !self.disabled_by_plan
    }
}

/// One version: never changed once written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Version {
    /// Its number, from 1.
    pub number: u32,
    /// `sha256:<hex>` of the definition's RFC 8785 form.
    pub digest: String,
    /// `document.version`.
    #[serde(default)]
    pub document_version: String,
    /// The definition as JSON text.
    #[serde(skip)]
    pub definition: String,
    /// When it was written.
    pub created_at: Timestamp,
}
