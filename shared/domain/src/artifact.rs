//! Artifacts: the output of a run, with a digest.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::id::ArtifactId;

/// How many bytes of a text artifact its metadata includes.
pub const PREVIEW_BYTES: usize = 4 * 1024;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Artifact {
    /// The run's id and a number.
    pub id: ArtifactId,
    /// Its file name.
    pub name: String,
    /// Its media type.
    pub content_type: String,
    pub size_bytes: u64,
    /// `sha256:<hex>` of the artifact's bytes.
    pub digest: String,
    /// When it was made.
    pub created_at: Timestamp,
}

impl Artifact {
    /// Whether the media type is a textual one.
    #[must_use]
    pub fn is_text(&self) -> bool {
        self.content_type.starts_with("text/") || self.content_type.starts_with("application/json")
    }
}
