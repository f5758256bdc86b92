//! Log chunks: compressed entries in order. Each flush writes one item. Entries left at the end of
//! a run are written into the run's item if they are small, which saves a write for most runs.

use aias_domain::{id::RunId, log::Entry, run::Status};
use aws_sdk_dynamodb::{primitives::Blob, types::AttributeValue};
use jiff::Timestamp;

use super::{
    Error, StoredRun, TenantStore,
    compression::{compress, decompress},
    items::{EXPIRES_AT, Item, KIND, PutResult, RangeQuery, number, number_of},
    keys,
};

/// The most entries of one chunk, so that an item stays below 400 KB.
pub(crate) const MAX_ENTRIES: usize = 250;

const ENTRIES: &str = "entries";
const LAST: &str = "last";

/// The largest part of a log in its run's item, in bytes of JSON: the entries of fifty tasks, which
/// compress to less than 1 KiB. An item of its own costs one write unit, as does another KiB in the
/// run's item, or two if the run is written in a transaction.
const MAX_IN_RUN: usize = 8 * 1024;
const MAX_IN_RUNNING: usize = 3 * 1024;

/// The largest chunk after decompression, in bytes.
const MAX_DECOMPRESSED: usize = 64 * 1024 * 1024;

fn json(entries: &[Entry]) -> Result<Vec<u8>, Error> {
    serde_json::to_vec(entries).map_err(|e| Error::Broken(Box::new(e)))
}

impl StoredRun {
    /// Whether entries fit into this run's item, which has none yet.
    ///
    /// # Errors
    ///
    /// Only when serialization fails.
    pub fn fits_into_item(&self, entries: &[Entry]) -> Result<bool, Error> {
        if !self.log.is_empty() || entries.is_empty() || entries.len() > MAX_ENTRIES {
            return Ok(false);
        }
        // A run in the phase `running` is written in a transaction (`save_run`).
        let max = match self.was {
            Status::Running => MAX_IN_RUNNING,
            Status::Pending
            | Status::Waiting
            | Status::Suspended
            | Status::Cancelled
            | Status::Faulted
            | Status::Completed => MAX_IN_RUN,
        };
        Ok(json(entries)?.len() <= max)
    }
}

impl TenantStore<'_> {
    /// Appends consecutive entries to a run's log. Entries that another delivery has written are
    /// skipped.
    ///
    /// # Errors
    ///
    /// When the table is unavailable.
    pub async fn append_log(
        &self,
        run: RunId,
        entries: &[Entry],
        expires_at: Timestamp,
    ) -> Result<(), Error> {
        let mut rest = entries;
        // Bounded: each iteration writes a chunk, or finds one that another delivery wrote.
        for _ in 0..10_000 {
            let Some(first) = rest.first() else {
                return Ok(());
            };
            let (chunk, after) = rest.split_at(rest.len().min(MAX_ENTRIES));
            match self
                .store
                .create(self.chunk_item(run, first.seq, chunk, expires_at)?)
                .await?
            {
                PutResult::Written => rest = after,
                PutResult::Exists(_) => {
                    let next = self.chunks_length(run).await?;
                    let written = rest.iter().take_while(|entry| entry.seq < next).count();
                    if written == 0 {
                        return Err(Error::Conflict);
                    }
                    rest = rest.split_at(written).1;
                }
            }
        }
        Ok(())
    }

    fn chunk_item(
        &self,
        run: RunId,
        first: u32,
        chunk: &[Entry],
        expires_at: Timestamp,
    ) -> Result<Item, Error> {
        let entries = AttributeValue::B(Blob::new(compress(&json(chunk)?)?));
        let last = chunk.last().map_or(first, |entry| entry.seq);
        let mut item = keys::log_chunk(self.tenant, run, first).attributes();
        item.insert(KIND.to_owned(), AttributeValue::S("log".to_owned()));
        item.insert(ENTRIES.to_owned(), entries);
        item.insert(LAST.to_owned(), number(last));
        item.insert(EXPIRES_AT.to_owned(), number(expires_at.as_second()));
        Ok(item)
    }

    /// The number of entries in a run's log, which is the next number.
    ///
    /// # Errors
    ///
    /// When the table is unavailable.
    pub async fn log_length(&self, run: &StoredRun) -> Result<u32, Error> {
        let own = run.log.last().map_or(0, |e| e.seq.saturating_add(1));
        Ok(self.chunks_length(run.run.id).await?.max(own))
    }

    /// The number of entries in chunks.
    async fn chunks_length(&self, run: RunId) -> Result<u32, Error> {
        let query = RangeQuery {
            limit: 1,
            ..RangeQuery::default()
        };
        let chunks = self
            .store
            .range(&keys::log_chunks(self.tenant, run), query)
            .await?;
        let last = chunks.first().and_then(|chunk| number_of(chunk, LAST));
        Ok(last.map_or(0, |last| {
            u32::try_from(last).unwrap_or(u32::MAX).saturating_add(1)
        }))
    }

    /// Up to `limit` entries of a run's log from number `from`, oldest first.
    ///
    /// # Errors
    ///
    /// When the table is unavailable.
    pub async fn log(&self, run: &StoredRun, from: u32, limit: usize) -> Result<Vec<Entry>, Error> {
        let range = keys::log_chunks(self.tenant, run.run.id);
        // The chunk with entry `from` starts at most one chunk length before it.
        let start = from.saturating_sub(u32::try_from(MAX_ENTRIES).unwrap_or(u32::MAX));
        let after = start.checked_sub(1).map(|before| format!("{before:08}"));
        let mut entries = Vec::new();
        let chunks = limit.saturating_add(MAX_ENTRIES).min(1_000);
        let query = RangeQuery {
            after: after.as_deref(),
            limit: chunks,
            forward: true,
            ..RangeQuery::default()
        };
        for chunk in self.store.range(&range, query).await? {
            let Some(AttributeValue::B(bytes)) = chunk.get(ENTRIES) else {
                continue;
            };
            let text = decompress(bytes.as_ref(), MAX_DECOMPRESSED)?;
            let all: Vec<Entry> =
                serde_json::from_slice(&text).map_err(|e| Error::Broken(Box::new(e)))?;
            entries.extend(all.into_iter().filter(|entry| entry.seq >= from));
            if entries.len() >= limit {
                break;
            }
        }
        // Entries in the run's item are older than those of a retry and newer than those of their
        // own attempt.
        let own = run.log.iter().filter(|entry| entry.seq >= from);
        entries.extend(own.cloned());
        entries.sort_by_key(|entry| entry.seq);
        entries.truncate(limit);
        Ok(entries)
    }
}
