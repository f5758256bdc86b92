//! Samples of a workflow: a small item that changes, and an item with its recording, which does not.
//! The workflow's head counts them, so their number is exact.

use aias_domain::{
    id::WorkflowId,
    sample::{MAX_SAMPLE_BYTES, MAX_SAMPLES, Sample, SampleName},
    workflow::Workflow,
};
use aws_sdk_dynamodb::{primitives::Blob, types::AttributeValue};

use crate::recording::Recording;

use super::{
    Error, Idempotency, Stored, TenantStore,
    compression::{compress, decompress},
    items::{Item, KIND, RangeQuery, item, stored},
    keys,
    transaction_error::TransactionError,
};

const RECORDING: &str = "recording";

/// The largest recording, in bytes of JSON.
const MAX_RECORDING_BYTES: usize = 32 * 1024 * 1024;

/// The compressed recording of a sample.
#[derive(Debug, Clone)]
pub struct CompressedRecording(Vec<u8>);

impl CompressedRecording {
    /// Compresses a recording. Returns none if it is too large for an item.
    ///
    /// # Errors
    ///
    /// Only when compression fails.
    pub fn of(recording: &Recording) -> Result<Option<Self>, Error> {
        let json = serde_json::to_vec(recording).map_err(|e| Error::Broken(Box::new(e)))?;
        if json.len() > MAX_RECORDING_BYTES {
            return Ok(None);
        }
        let compressed = compress(&json)?;
        Ok((compressed.len() <= MAX_SAMPLE_BYTES).then_some(Self(compressed)))
    }
}

impl TenantStore<'_> {
    pub(super) fn sample_item(&self, workflow: WorkflowId, sample: &Sample) -> Result<Item, Error> {
        let key = keys::samples(self.tenant, workflow).key(sample.name.as_str());
        item(&key, "sample", sample)
    }

    /// The samples of a workflow, by name.
    ///
    /// # Errors
    ///
    /// When the table is unavailable.
    pub async fn samples(&self, workflow: WorkflowId) -> Result<Vec<Stored<Sample>>, Error> {
        let query = RangeQuery {
            limit: usize::try_from(MAX_SAMPLES).unwrap_or(usize::MAX),
            forward: true,
            ..RangeQuery::default()
        };
        let range = keys::samples(self.tenant, workflow);
        let found = self.store.range(&range, query).await?;
        found.into_iter().map(stored).collect()
    }

    /// # Errors
    ///
    /// When the table is unavailable.
    pub async fn sample(
        &self,
        workflow: WorkflowId,
        name: &SampleName,
    ) -> Result<Option<Stored<Sample>>, Error> {
        let key = keys::samples(self.tenant, workflow).key(name.as_str());
        let found = self.store.item(&key, true).await?;
        found.map(stored).transpose()
    }

    /// The recording of a sample; none if the sample was deleted meanwhile.
    ///
    /// # Errors
    ///
    /// When the table is unavailable.
    pub async fn recording(
        &self,
        workflow: WorkflowId,
        name: &SampleName,
    ) -> Result<Option<Recording>, Error> {
        let key = keys::recordings(self.tenant, workflow).key(name.as_str());
        let Some(found) = self.store.item(&key, true).await? else {
            return Ok(None);
        };
        let Some(AttributeValue::B(bytes)) = found.get(RECORDING) else {
            return Err(Error::broken("an item of a recording has no recording"));
        };
        let json = decompress(bytes.as_ref(), MAX_RECORDING_BYTES)?;
        let recording = serde_json::from_slice(&json).map_err(|e| Error::Broken(Box::new(e)))?;
        Ok(Some(recording))
    }

    /// Adds a sample; `head` counts it already.
    ///
    /// # Errors
    ///
    /// [`TransactionError::Conflict`] when the workflow has changed since it was read, or has a
    /// sample with this name.
    pub async fn create_sample(
        &self,
        head: &Stored<Workflow>,
        sample: &Sample,
        recording: CompressedRecording,
        idempotency: Option<Idempotency>,
    ) -> Result<(), TransactionError> {
        let id = head.value.id;
        let key = keys::recordings(self.tenant, id).key(sample.name.as_str());
        let mut own = key.attributes();
        let kind = AttributeValue::S("recording".to_owned());
        own.insert(KIND.to_owned(), kind);
        own.insert(
            RECORDING.to_owned(),
            AttributeValue::B(Blob::new(recording.0)),
        );
        self.transaction()?
            .replace(self.workflow_item(&head.value)?, head.version)
            .create(self.sample_item(id, sample)?)
            .create(own)
            .response(idempotency)
            .commit()
            .await
    }

    /// Removes a sample; `head` does not count it any more.
    ///
    /// # Errors
    ///
    /// [`TransactionError::Conflict`] when the workflow or the sample has changed since it was read.
    pub async fn delete_sample(
        &self,
        head: &Stored<Workflow>,
        read: &Stored<Sample>,
    ) -> Result<(), TransactionError> {
        let (id, name) = (head.value.id, read.value.name.as_str());
        let samples = keys::samples(self.tenant, id);
        let recordings = keys::recordings(self.tenant, id);
        self.transaction()?
            .replace(self.workflow_item(&head.value)?, head.version)
            .delete_read(&samples.key(name), read.version)
            .delete(&recordings.key(name))
            .commit()
            .await
    }
}
