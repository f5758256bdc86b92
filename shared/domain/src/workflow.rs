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
    /// Whether events and calls run it.
    pub enabled: bool,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
}

/// One version: never changed once written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Version {
    /// Its number, from 1.
    pub number: u32,
    /// `sha256:<hex>` of the definition's RFC 8785 form.
    pub digest: String,
    /// The definition as JSON text.
    #[serde(skip)]
    pub definition: String,
    /// When it was written.
    pub created_at: Timestamp,
}
