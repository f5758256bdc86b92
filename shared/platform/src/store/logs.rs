//! Log chunks: entries in order, deflated, an item for each flush.

use std::io::{Read as _, Write as _};

use aias_domain::{id::RunId, log::Entry};
use aws_sdk_dynamodb::{primitives::Blob, types::AttributeValue};
use flate2::{Compression, read::DeflateDecoder, write::DeflateEncoder};
use jiff::Timestamp;

use super::{
    Error, TenantStore,
    items::{EXPIRES_AT, Item, KIND, Put, RangeQuery, number, number_of},
    keys,
};

/// How many entries one chunk holds at most, so that an item stays below 400 KB.
pub(crate) const MAX_ENTRIES: usize = 250;

const ENTRIES: &str = "entries";
const LAST: &str = "last";

/// Bytes, deflated.
pub(super) fn deflate(bytes: &[u8]) -> Result<Vec<u8>, Error> {
    let mut encoder = DeflateEncoder::new(
        Vec::with_capacity(bytes.len() / 2 + 16),
        Compression::fast(),
    );
    encoder
        .write_all(bytes)
        .and_then(|()| encoder.finish())
        .map_err(|e| Error::Broken(Box::new(e)))
}

/// Bytes, inflated; at most `max`.
pub(super) fn inflate(bytes: &[u8], max: u64) -> Result<Vec<u8>, Error> {
    let mut inflated = Vec::with_capacity(bytes.len() * 2);
    DeflateDecoder::new(bytes)
        .take(max + 1)
        .read_to_end(&mut inflated)
        .map_err(|e| Error::Broken(Box::new(e)))?;
    if inflated.len() as u64 > max {
        return Err(Error::broken("a deflated value is larger than it can be"));
    }
    Ok(inflated)
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
                    let next = self.log_length(run).await?;
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
        let text = serde_json::to_vec(chunk).map_err(|e| Error::Broken(Box::new(e)))?;
        let last = chunk.last().map_or(first, |entry| entry.seq);
        let mut item = keys::log_chunk(self.tenant, run, first).attributes();
        item.insert(KIND.to_owned(), AttributeValue::S("log".to_owned()));
        item.insert(
            ENTRIES.to_owned(),
            AttributeValue::B(Blob::new(deflate(&text)?)),
        );
        item.insert(LAST.to_owned(), number(last));
        item.insert(EXPIRES_AT.to_owned(), number(expires_at.as_second()));
        Ok(item)
    }

    /// How many entries a run's log has, which is also the next number.
    ///
    /// # Errors
    /// When the table does not answer.
    pub async fn log_length(&self, run: RunId) -> Result<u32, Error> {
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
    pub async fn log(&self, run: RunId, from: u32, limit: usize) -> Result<Vec<Entry>, Error> {
        let range = keys::log_chunks(self.tenant, run);
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
            let text = inflate(bytes.as_ref(), 64 * 1024 * 1024)?;
            let all: Vec<Entry> =
                serde_json::from_slice(&text).map_err(|e| Error::Broken(Box::new(e)))?;
            entries.extend(all.into_iter().filter(|entry| entry.seq >= from));
            if entries.len() >= limit {
                break;
            }
        }
        entries.truncate(limit);
        Ok(entries)
    }
}
