//! Runs: dedup claims, items, and lists that merge the shards of a day.

use aias_domain::{
    id::RunId,
    log::Entry,
    run::{Run, Status},
};
use aws_sdk_dynamodb::types::AttributeValue;
use jiff::Timestamp;

use super::{
    Error, Idempotency, TenantStore,
    compression::{compress, decompress},
    items::{EXPIRES_AT, KIND, PutResult, RangeQuery, number},
    keys,
    run_item::{run_id_of, run_item, run_of},
    transaction::Transaction,
    transaction_error::TransactionError,
};

/// The input of a run as canonical JSON.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// Compressed, in the run's item.
    Inline(Vec<u8>),
    /// An object in the bucket, by its key.
    Blob(String),
}

/// The largest input that is compressed to see whether it fits into the run's item, in bytes.
const MAX_INLINE: usize = 32 * 1024;

/// The largest compressed input in the run's item, in bytes. An item is written twice at one write
/// unit per KiB; beyond 4 KiB an object in the bucket costs less (`docs/decisions/0003`).
const MAX_INLINE_COMPRESSED: usize = 4 * 1024;

impl Input {
    /// Compresses an input, if it then fits into the run's item.
    ///
    /// # Errors
    ///
    /// Only when compression fails.
    pub fn inline(bytes: &[u8]) -> Result<Option<Self>, Error> {
        if bytes.len() > MAX_INLINE {
            return Ok(None);
        }
        let compressed = compress(bytes)?;
        Ok((compressed.len() <= MAX_INLINE_COMPRESSED).then_some(Self::Inline(compressed)))
    }

    /// Decompresses an inline input.
    ///
    /// # Errors
    ///
    /// When it is not a compressed input.
    pub fn decompress(compressed: &[u8]) -> Result<Vec<u8>, Error> {
        decompress(compressed, MAX_INLINE)
    }
}

/// The largest value of `ArtifactInlineMaxBytes`: every list of runs reads these bytes.
pub const MAX_INLINE_ARTIFACT: usize = 4 * 1024;

/// The most replays that are listed with their run.
const MAX_REPLAYS: usize = 100;

/// A run and everything in its item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredRun {
    pub run: Run,
    /// The version counter of the item.
    pub version: u64,
    pub input: Input,
    /// The bytes of the artifact, if it is in the item instead of the bucket.
    pub artifact: Option<Vec<u8>>,
    /// The part of the log that is in the item. For most runs it is the whole log.
    pub log: Vec<Entry>,
    pub expires_at: Timestamp,
    /// The status as read or written last. Transitions from and to `running` are counted.
    pub was: Status,
    /// The shard in which the run is counted while it is `running`.
    pub running_shard: u8,
}

impl TenantStore<'_> {
    /// Writes an accepted run. Returns the existing run if there is one with this id.
    ///
    /// # Errors
    ///
    /// When the table is unavailable.
    pub async fn create_run(&self, run: &StoredRun) -> Result<Option<StoredRun>, Error> {
        match self.store.create(run_item(self.tenant, run)?).await? {
            PutResult::Written => Ok(None),
            PutResult::Exists(item) => run_of(item).map(Some),
        }
    }

    /// As [`TenantStore::create_run`], together with the response to an `Idempotency-Key`.
    ///
    /// # Errors
    ///
    /// [`TransactionError::Repeated`] when the request has a stored response.
    pub async fn create_run_once(
        &self,
        run: &StoredRun,
        idempotency: Idempotency,
    ) -> Result<(), TransactionError> {
        Transaction::new(self.store)
            .create(run_item(self.tenant, run)?)
            .response(Some(idempotency))
            .commit()
            .await
    }

    /// As [`TenantStore::create_run_once`], for a replay of another run.
    ///
    /// # Errors
    ///
    /// [`TransactionError::Repeated`] when the request has a stored response.
    pub async fn create_replay(
        &self,
        run: &StoredRun,
        original: RunId,
        idempotency: Option<Idempotency>,
    ) -> Result<(), TransactionError> {
        let key = keys::replays(self.tenant, original).key(&run.run.id.to_string());
        let mut link = key.attributes();
        link.insert(KIND.to_owned(), AttributeValue::S("replay".to_owned()));
        link.insert(EXPIRES_AT.to_owned(), number(run.expires_at.as_second()));
        Transaction::new(self.store)
            .create(run_item(self.tenant, run)?)
            .put(link)
            .response(idempotency)
            .commit()
            .await
    }

    /// The newest replays of a run, at most 100.
    ///
    /// # Errors
    ///
    /// When the table is unavailable.
    pub async fn replays(&self, original: RunId) -> Result<Vec<RunId>, Error> {
        let query = RangeQuery {
            limit: MAX_REPLAYS,
            ..RangeQuery::default()
        };
        let range = keys::replays(self.tenant, original);
        let items = self.store.range(&range, query).await?;
        Ok(items.iter().filter_map(run_id_of).collect())
    }

    /// A run with its input.
    ///
    /// # Errors
    /// When the table is unavailable.
    pub async fn run(&self, id: RunId) -> Result<Option<StoredRun>, Error> {
        let found = self.store.item(&keys::run(self.tenant, id), true).await?;
        found.map(run_of).transpose()
    }

    /// Writes a changed run. If it leaves the phase `running`, the count in its shard is decremented
    /// in the same transaction.
    ///
    /// # Errors
    ///
    /// [`Error::Conflict`] when it has changed since it was read.
    pub async fn save_run(&self, run: &StoredRun) -> Result<(), Error> {
        let item = run_item(self.tenant, run)?;
        if run.was != Status::Running || run.run.status == Status::Running {
            return self.store.replace(item, run.version).await;
        }
        Transaction::new(self.store)
            .replace(item, run.version)
            .stop_running(&keys::running(self.tenant, run.running_shard))
            .commit()
            .await
            .map_err(TransactionError::into_error)
    }
}
