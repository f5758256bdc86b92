//! The data of a run: its input and its artifact.

use aias_domain::{artifact::Artifact, canonical};
use serde_json::Value;

use super::{Error, MAX_INPUT_BYTES};
use crate::{
    blobs::{self, Blobs, Object},
    store::{Input, StoredRun, TenantStore},
};

/// A workflow input: its canonical bytes and their digest.
#[derive(Debug)]
pub struct SerializedInput {
    pub(super) bytes: Vec<u8>,
    pub digest: String,
    pub(super) inline: Option<Input>,
}

impl SerializedInput {
    /// Serializes a workflow input.
    ///
    /// # Errors
    ///
    /// Only when serialization fails, which no JSON value causes.
    pub fn new(input: &Value) -> Result<Self, Error> {
        let bytes = canonical::to_vec(input);
        let digest = canonical::digest(&bytes);
        let inline = Input::inline(&bytes)?;
        Ok(Self {
            bytes,
            digest,
            inline,
        })
    }
}

/// Reads the input of a run.
///
/// # Errors
///
/// When it cannot be read.
pub async fn read_input(
    store: &TenantStore<'_>,
    blobs: &Blobs,
    input: &Input,
) -> Result<Value, Error> {
    let bytes = match input {
        Input::Inline(compressed) => Input::decompress(compressed)?,
        Input::Blob(key) => {
            let object = Object::stored(store, key).ok_or(Error::InputGone)?;
            blobs
                .get(&object, MAX_INPUT_BYTES)
                .await?
                .ok_or(Error::InputGone)?
        }
    };
    aias_domain::json::parse_stored(&bytes).map_err(|_| Error::InputGone)
}

/// Reads up to `max` bytes from the start of an artifact; `None` when it does not exist.
///
/// # Errors
///
/// When the bucket is unavailable.
pub async fn read_artifact(
    store: &TenantStore<'_>,
    blobs: &Blobs,
    run: &StoredRun,
    artifact: &Artifact,
    max: usize,
) -> Result<Option<Vec<u8>>, blobs::Error> {
    if let Some(bytes) = &run.artifact {
        return Ok(Some(bytes.get(..max).unwrap_or(bytes).to_vec()));
    }
    let object = Object::artifact(store, artifact.id, &artifact.digest);
    blobs.get_start(&object, max).await
}

/// The largest output in a response, in bytes of JSON.
pub(super) const MAX_OUTPUT_BYTES: usize = 256 * 1024;

/// The output of a completed run, if it has at most 256 KiB. A larger one, and one that
/// is no longer retained, is none.
///
/// # Errors
///
/// When the bucket is unavailable.
pub async fn read_output(
    store: &TenantStore<'_>,
    blobs: &Blobs,
    run: &StoredRun,
) -> Result<Option<Value>, blobs::Error> {
    let Some(artifact) = run.run.artifacts.first() else {
        return Ok(None);
    };
    if artifact.size_bytes > MAX_OUTPUT_BYTES as u64 {
        return Ok(None);
    }
    let bytes = read_artifact(store, blobs, run, artifact, MAX_OUTPUT_BYTES).await?;
    let Some(bytes) = bytes else { return Ok(None) };
    if artifact.content_type == "application/json" {
        return Ok(aias_domain::json::parse_stored(&bytes).ok());
    }
    Ok(String::from_utf8(bytes).ok().map(Value::String))
}
