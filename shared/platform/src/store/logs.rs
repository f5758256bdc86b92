//! Log chunks: entries in order, deflated. There is an item for each flush; what is left at the end of a
//! run is written with it, into its own item, if it is small: a write less for most runs.

use aias_domain::{id::RunId, log::Entry, run::Status};
use aws_sdk_dynamodb::{primitives::Blob, types::AttributeValue};
use jiff::Timestamp;

use super::{
    Error, StoredRun, TenantStore,
    deflate::{deflate, inflate},
    items::{EXPIRES_AT, Item, KIND, Put, RangeQuery, number, number_of},
    keys,
};

/// How many entries one chunk holds at most, so that an item stays below 400 KB.
pub(crate) const MAX_ENTRIES: usize = 250;

const ENTRIES: &str = "entries";
const LAST: &str = "last";

/// The largest part of a log in its run's item, in bytes of JSON: entries of fifty tasks, which deflate to
/// less than a KiB. An item of its own costs a write unit, which is what a KiB in the run's item costs;
/// and two when a transaction writes that.
const MAX_IN_RUN: usize = 8 * 1024;
const MAX_IN_RUNNING: usize = 3 * 1024;

/// The largest chunk, inflated, in bytes.
const MAX_INFLATED: usize = 64 * 1024 * 1024;

fn json(entries: &[Entry]) -> Result<Vec<u8>, Error> {
    serde_json::to_vec(entries).map_err(|e| Error::Broken(Box::new(e)))
}

impl StoredRun {
    /// Whether entries are better off in this run's item, which has none yet.
    ///
    /// # Errors
    /// Never for entries that fit into memory.
    pub fn has_room_for(&self, entries: &[Entry]) -> Result<bool, Error> {
        if !self.log.is_empty() || entries.is_empty() || entries.len() > MAX_ENTRIES {
            return Ok(false);
        }
        // What is counted as running is written by a transaction (`save_run`).
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
    /// Appends entries, whose numbers follow each other, to a run's log. Entries that another
    /// delivery of the same run has already written are not written again.
    ///
    /// # Errors
    /// When the table does not answer.
    pub async fn append_log(
        &self,
        run: RunId,
        entries: &[Entry],
        expires_at: Timestamp,
    ) -> Result<(), Error> {
        let mut rest = entries;
        // Bounded: each turn writes a chunk, or finds that another has.
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
                Put::Done => rest = after,
                Put::Found(_) => {
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
        let entries = AttributeValue::B(Blob::new(deflate(&json(chunk)?)?));
        let last = chunk.last().map_or(first, |entry| entry.seq);
        let mut item = keys::log_chunk(self.tenant, run, first).attributes();
        item.insert(KIND.to_owned(), AttributeValue::S("log".to_owned()));
        item.insert(ENTRIES.to_owned(), entries);
        item.insert(LAST.to_owned(), number(last));
        item.insert(EXPIRES_AT.to_owned(), number(expires_at.as_second()));
        Ok(item)
    }

    /// How many entries a run's log has, which is also the next number.
    ///
    /// # Errors
    /// When the table does not answer.
    pub async fn log_length(&self, run: &StoredRun) -> Result<u32, Error> {
        let own = run.log.last().map_or(0, |e| e.seq.saturating_add(1));
        Ok(self.chunks_length(run.run.value.id).await?.max(own))
    }

    /// The same of the chunks that are items.
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

    /// Up to `limit` entries of a run's log from number `from` on, oldest first.
    ///
    /// # Errors
    /// When the table does not answer.
    pub async fn log(&self, run: &StoredRun, from: u32, limit: usize) -> Result<Vec<Entry>, Error> {
        let range = keys::log_chunks(self.tenant, run.run.value.id);
        // The chunk that holds `from` begins at or before it, at most one chunk's length.
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
            let text = inflate(bytes.as_ref(), MAX_INFLATED)?;
            let all: Vec<Entry> =
                serde_json::from_slice(&text).map_err(|e| Error::Broken(Box::new(e)))?;
            entries.extend(all.into_iter().filter(|entry| entry.seq >= from));
            if entries.len() >= limit {
                break;
            }
        }
        // Before those of a retry, after those of the attempt that it ended.
        let own = run.log.iter().filter(|entry| entry.seq >= from);
        entries.extend(own.cloned());
        entries.sort_by_key(|entry| entry.seq);
        entries.truncate(limit);
        Ok(entries)
    }
}
