//! Artifacts: what a run made, named by its digest.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::id::ArtifactId;

/// How much of a text artifact is shown with its metadata, in bytes.
pub const PREVIEW_BYTES: usize = 4 * 1024;

/// One artifact of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Artifact {
    /// Its id: the run's and a number.
    pub id: ArtifactId,
    /// Its file name.
    pub name: String,
    /// Its media type.
    pub content_type: String,
    /// Its size.
    pub size_bytes: u64,
    /// `sha256:<hex>` of its bytes.
    pub digest: String,
    /// When it was made.
    pub created_at: Timestamp,
}

impl Artifact {
    /// Whether its bytes are text, by its media type.
    #[must_use]
    pub fn is_text(&self) -> bool {
        self.content_type.starts_with("text/") || self.content_type.starts_with("application/json")
    }
}
