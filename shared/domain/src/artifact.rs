//! Artifacts: the output of a run, with a digest.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{canonical, id::ArtifactId, plan::Limits, run::RunError};

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

/// The content of an output's artifact: a string is a text file, everything else canonical JSON
/// (RFC 8785).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArtifactContent {
    pub name: &'static str,
    pub content_type: &'static str,
    pub bytes: Vec<u8>,
    /// Of the canonical JSON of the output.
    pub output_digest: String,
}

impl ArtifactContent {
    /// # Errors
    ///
    /// The error that faults the run, if the plan does not allow an artifact of this size.
    pub fn of(output: &Value, limits: &Limits) -> Result<Self, RunError> {
        let form = canonical::to_vec(output);
        let output_digest = canonical::digest(&form);
        let (name, content_type, bytes) = match output {
            Value::String(text) => (
                "output.txt",
                "text/plain; charset=utf-8",
                text.clone().into_bytes(),
            ),
            Value::Null
            | Value::Bool(_)
            | Value::Number(_)
            | Value::Array(_)
            | Value::Object(_) => ("output.json", "application/json", form),
        };
        if bytes.len() > limits.artifact_bytes {
            let detail = format!(
                "the output has {} bytes, but the plan allows {}",
                bytes.len(),
                limits.artifact_bytes
            );
            let title = "The output is too large";
            return Err(RunError::platform("artifact-too-large", title, detail));
        }
        Ok(Self {
            name,
            content_type,
            bytes,
            output_digest,
        })
    }
}
