//! Journals: each entry is an item that must not exist. Two executors of the same run cannot write
//! the same entry, so the second one notices the first.

use aias_domain::id::RunId;
use aias_engine::journal::Entry;
use aws_sdk_dynamodb::{primitives::Blob, types::AttributeValue};
use futures_util::{TryStreamExt as _, stream};
use jiff::Timestamp;
use serde_json::Value;

use super::{
    Error, TenantStore,
    compression::{compress, decompress},
    items::{EXPIRES_AT, Item, KIND, PutResult, RangeQuery, number, number_of, string_of},
    keys::{self, PK, SK},
};

/// The most entries of a journal, more than the steps that any plan allows.
const MAX_ENTRIES: usize = 40_000;

/// The largest entry or event, in bytes of JSON: a response of 4 MiB, each byte of which can take
/// six in JSON, and its headers.
pub const MAX_ENTRY_BYTES: usize = 32 * 1024 * 1024;

/// The largest compressed entry in an item, in bytes. Beyond 4 KiB an object in the bucket costs
/// less (`docs/decisions/0003`).
const MAX_INLINE: usize = 4 * 1024;

/// How many items of a run are updated at once: 40,000 take seconds.
const MAX_UPDATES_AT_ONCE: usize = 32;

const ENTRY: &str = "entry";
const ENTRY_KEY: &str = "entry_key";
const EVENT: &str = "event";

/// A stored entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoredEntry {
    /// Compressed JSON.
    Inline(Vec<u8>),
    /// An object in the bucket, by its key.
    Blob(String),
}

impl StoredEntry {
    /// Serializes an entry. Also returns its compressed form, if that fits into an item.
    ///
    /// # Errors
    ///
    /// Only when compression fails.
    pub fn inline(entry: &Entry) -> Result<(Vec<u8>, Option<Self>), Error> {
        let text = serde_json::to_vec(entry).map_err(|e| Error::Broken(Box::new(e)))?;
        let compressed = compress(&text)?;
        let inline = (compressed.len() <= MAX_INLINE).then_some(Self::Inline(compressed));
        Ok((text, inline))
    }

    /// Decompresses an inline entry.
    ///
    /// # Errors
    ///
    /// When it is not a compressed entry.
    pub fn decompress(compressed: &[u8]) -> Result<Vec<u8>, Error> {
        decompress(compressed, MAX_ENTRY_BYTES)
    }
}

impl TenantStore<'_> {
    /// Writes an entry at an index of the journal. Returns whether the index was free.
    ///
    /// # Errors
    ///
    /// When the table is unavailable.
    pub async fn append_entry(
        &self,
        run: RunId,
        place: u32,
        entry: &StoredEntry,
        expires_at: Timestamp,
    ) -> Result<bool, Error> {
        let item = self.entry_item(run, place, entry, expires_at);
        let found = match self.store.create(item.clone()).await? {
            PutResult::Written => return Ok(true),
            PutResult::Exists(found) => found,
        };
        // If the SDK retried a write that succeeded, the existing entry is this one.
        Ok([ENTRY, ENTRY_KEY]
            .iter()
            .all(|name| found.get(*name) == item.get(*name)))
    }

    /// Replaces the entry at an index of the journal.
    ///
    /// # Errors
    ///
    /// [`Error::Conflict`] when it has changed since it was read.
    pub async fn replace_entry(
        &self,
        run: RunId,
        place: u32,
        entry: &StoredEntry,
        read: &StoredEntry,
        expires_at: Timestamp,
    ) -> Result<(), Error> {
        let (name, value) = match read {
            StoredEntry::Inline(bytes) => (ENTRY, AttributeValue::B(Blob::new(bytes.clone()))),
            StoredEntry::Blob(key) => (ENTRY_KEY, AttributeValue::S(key.clone())),
        };
        self.store
            .client
            .put_item()
            .table_name(&self.store.table)
            .set_item(Some(self.entry_item(run, place, entry, expires_at)))
            .condition_expression("#entry = :read")
            .expression_attribute_names("#entry", name)
            .expression_attribute_values(":read", value)
            .send()
            .await
            .map(|_| ())
            .map_err(super::classify)
    }

    fn entry_item(
        &self,
        run: RunId,
        place: u32,
        entry: &StoredEntry,
        expires_at: Timestamp,
    ) -> Item {
        let key = keys::journal(self.tenant, run).key(&keys::place(place));
        let mut item = key.attributes();
        item.insert(KIND.to_owned(), AttributeValue::S("effect".to_owned()));
        match entry {
            StoredEntry::Inline(bytes) => {
                let bytes = AttributeValue::B(Blob::new(bytes.clone()));
                item.insert(ENTRY.to_owned(), bytes);
            }
            StoredEntry::Blob(key) => {
                item.insert(ENTRY_KEY.to_owned(), AttributeValue::S(key.clone()));
            }
        }
        item.insert(EXPIRES_AT.to_owned(), number(expires_at.as_second()));
        item
    }

    /// The journal of a run, in order.
    ///
    /// # Errors
    ///
    /// When the table is unavailable, or an entry is missing.
    pub async fn journal(&self, run: RunId) -> Result<Vec<StoredEntry>, Error> {
        let range = keys::journal(self.tenant, run);
        let mut entries = Vec::new();
        let mut after: Option<String> = None;
        while entries.len() < MAX_ENTRIES {
            let query = RangeQuery {
                after: after.as_deref(),
                limit: 1_000,
                forward: true,
                ..RangeQuery::default()
            };
            let items = self.store.range(&range, query).await?;
            let Some(last) = items.last() else { break };
            after = string_of(last, SK)
                .and_then(|sk| sk.strip_prefix(&range.prefix))
                .map(str::to_owned);
            for mut item in items {
                let expected = keys::place(u32::try_from(entries.len()).unwrap_or(u32::MAX));
                if string_of(&item, SK) != Some(range.key(&expected).sk.as_str()) {
                    return Err(Error::broken("an entry of a journal is missing"));
                }
                entries.push(match (item.remove(ENTRY), item.remove(ENTRY_KEY)) {
                    (Some(AttributeValue::B(bytes)), _) => StoredEntry::Inline(bytes.into_inner()),
                    (_, Some(AttributeValue::S(key))) => StoredEntry::Blob(key),
                    _ => return Err(Error::broken("an item of a journal has no entry")),
                });
            }
        }
        Ok(entries)
    }

    /// Writes emitted events; `first` is the number of the first one. Idempotent.
    ///
    /// # Errors
    ///
    /// When the table is unavailable.
    pub async fn put_events(
        &self,
        run: RunId,
        first: u32,
        events: &[Value],
        expires_at: Timestamp,
    ) -> Result<(), Error> {
        let range = keys::events(self.tenant, run);
        for (number_of, event) in (first..).zip(events) {
            let text = serde_json::to_vec(event).map_err(|e| Error::Broken(Box::new(e)))?;
            let mut item = range.key(&keys::place(number_of)).attributes();
            item.insert(KIND.to_owned(), AttributeValue::S("event".to_owned()));
            let bytes = AttributeValue::B(Blob::new(compress(&text)?));
            item.insert(EVENT.to_owned(), bytes);
            item.insert(EXPIRES_AT.to_owned(), number(expires_at.as_second()));
            self.store.create(item).await?;
        }
        Ok(())
    }

    /// Up to `limit` events of a run, from number `from`, oldest first, with their numbers.
    ///
    /// # Errors
    ///
    /// When the table is unavailable.
    pub async fn events(
        &self,
        run: RunId,
        from: u32,
        limit: usize,
    ) -> Result<Vec<(u32, Value)>, Error> {
        let range = keys::events(self.tenant, run);
        let after = from.checked_sub(1).map(keys::place);
        let query = RangeQuery {
            after: after.as_deref(),
            limit,
            forward: true,
            ..RangeQuery::default()
        };
        let mut events = Vec::new();
        for item in self.store.range(&range, query).await? {
            let number = string_of(&item, SK)
                .and_then(|sk| sk.strip_prefix(&range.prefix)?.parse().ok())
                .ok_or_else(|| Error::broken("an item of an event has no number"))?;
            let Some(AttributeValue::B(bytes)) = item.get(EVENT) else {
                return Err(Error::broken("an item of an event has no event"));
            };
            let text = decompress(bytes.as_ref(), MAX_ENTRY_BYTES)?;
            let event = serde_json::from_slice(&text).map_err(|e| Error::Broken(Box::new(e)))?;
            events.push((number, event));
        }
        Ok(events)
    }

    /// Extends the retention of a run's items to `expires_at`. Items that have it already are not
    /// written, so a call that is repeated continues where an earlier one stopped.
    ///
    /// # Errors
    ///
    /// When the table is unavailable.
    pub async fn keep_until(&self, run: RunId, expires_at: Timestamp) -> Result<(), Error> {
        let range = keys::of_run(self.tenant, run);
        let seconds = expires_at.as_second().max(0).unsigned_abs();
        let mut after: Option<String> = None;
        loop {
            let query = RangeQuery {
                after: after.as_deref(),
                limit: 1_000,
                forward: true,
                projection: Some("#pk, SK, expires_at"),
                ..RangeQuery::default()
            };
            let items = self.store.range(&range, query).await?;
            let Some(last) = items.last() else {
                return Ok(());
            };
            after = string_of(last, SK).map(str::to_owned);
            let expires_before =
                |item: &Item| number_of(item, EXPIRES_AT).is_none_or(|at| at < seconds);
            stream::iter(items.into_iter().filter(expires_before).map(Ok))
                .try_for_each_concurrent(MAX_UPDATES_AT_ONCE, |item| self.keep(item, seconds))
                .await?;
        }
    }

    async fn keep(&self, item: Item, expires_at: u64) -> Result<(), Error> {
        let key = item
            .into_iter()
            .filter(|(name, _)| name == PK || name == SK);
        let updated = self
            .store
            .client
            .update_item()
            .table_name(&self.store.table)
            .set_key(Some(key.collect()))
            .update_expression("SET expires_at = :at")
            .condition_expression("attribute_exists(PK)")
            .expression_attribute_values(":at", number(expires_at))
            .send()
            .await;
        match updated.map_err(super::classify) {
            // The item has already been deleted.
            Ok(_) | Err(Error::Conflict) => Ok(()),
            Err(error @ (Error::Unavailable(_) | Error::Broken(_))) => Err(error),
        }
    }
}
