//! Journals: small entries in the table, large ones in the bucket.

use aias_domain::{canonical, id::RunId};
use aias_engine::journal::{Entry, retried};
use jiff::Timestamp;

use crate::{
    blobs::{self, Blobs, Object},
    store::{self, MAX_ENTRY_BYTES, StoredEntry, TenantStore},
};

/// The largest journal of a run, in bytes of JSON.
pub const MAX_JOURNAL_BYTES: usize = 64 * 1024 * 1024;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Store(#[from] store::Error),
    #[error(transparent)]
    Blobs(#[from] blobs::Error),
    /// An entry is missing or invalid.
    #[error("an entry of the journal is missing")]
    Gone,
    /// Larger than [`MAX_JOURNAL_BYTES`].
    #[error("the journal is larger than {MAX_JOURNAL_BYTES} bytes")]
    TooLarge,
}

impl Error {
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Store(error) => error.is_transient(),
            Self::Blobs(error) => error.is_transient(),
            Self::Gone | Self::TooLarge => false,
        }
    }
}

/// Reads the journal of a run and returns its size in bytes.
///
/// # Errors
///
/// When it cannot be read.
pub async fn read(
    store: &TenantStore<'_>,
    blobs: &Blobs,
    run: RunId,
) -> Result<(Vec<Entry>, usize), Error> {
    let (mut entries, mut bytes) = (Vec::new(), 0);
    for written in store.journal(run).await? {
        let text = text_of(store, blobs, &written).await?;
        bytes += text.len();
        if bytes > MAX_JOURNAL_BYTES {
            return Err(Error::TooLarge);
        }
        entries.push(serde_json::from_slice(&text).map_err(|_| Error::Gone)?);
    }
    Ok((entries, bytes))
}

async fn text_of(
    store: &TenantStore<'_>,
    blobs: &Blobs,
    written: &StoredEntry,
) -> Result<Vec<u8>, Error> {
    match written {
        StoredEntry::Inline(compressed) => Ok(StoredEntry::decompress(compressed)?),
        StoredEntry::Blob(key) => {
            let object = Object::stored(store, key).ok_or(Error::Gone)?;
            let found = blobs.get(&object, MAX_ENTRY_BYTES).await?;
            found.ok_or(Error::Gone)
        }
    }
}

/// Writes the object of a large entry. Returns the item's part and the size in bytes.
async fn placed(
    store: &TenantStore<'_>,
    blobs: &Blobs,
    run: RunId,
    entry: &Entry,
) -> Result<(StoredEntry, usize), Error> {
    let (text, inline) = StoredEntry::inline(entry)?;
    let bytes = text.len();
    if let Some(inline) = inline {
        return Ok((inline, bytes));
    }
    let object = Object::journal(store, run, &canonical::digest(&text));
    blobs.put(&object, text, "application/json").await?;
    Ok((StoredEntry::Blob(object.as_str().to_owned()), bytes))
}

/// Writes an entry at an index of the journal. Returns its size in bytes, or none if the index is
/// taken because another executor is running the run.
///
/// # Errors
///
/// When it cannot be written.
pub async fn append(
    store: &TenantStore<'_>,
    blobs: &Blobs,
    run: RunId,
    place: usize,
    entry: &Entry,
    expires_at: Timestamp,
) -> Result<Option<usize>, Error> {
    let (written, bytes) = placed(store, blobs, run, entry).await?;
    let place = u32::try_from(place).unwrap_or(u32::MAX);
    let free = store.append_entry(run, place, &written, expires_at).await?;
    Ok(free.then_some(bytes))
}

/// Prepares the journal of a faulted run for a retry: removes the failure that ended it.
/// Idempotent.
///
/// # Errors
///
/// When the journal cannot be read or written, or has changed in the meantime.
pub async fn retry(
    store: &TenantStore<'_>,
    blobs: &Blobs,
    run: RunId,
    now: Timestamp,
    expires_at: Timestamp,
) -> Result<(), Error> {
    let journal = store.journal(run).await?;
    let Some(last) = journal.last() else {
        return Ok(());
    };
    let text = text_of(store, blobs, last).await?;
    let entry: Entry = serde_json::from_slice(&text).map_err(|_| Error::Gone)?;
    let Some((kept, entry)) = retried(&[entry], now) else {
        return Ok(());
    };
    let (written, _) = placed(store, blobs, run, &entry).await?;
    let place = u32::try_from(journal.len() - 1 + kept).unwrap_or(u32::MAX);
    if kept == 0 {
        let replaced = store.replace_entry(run, place, &written, last, expires_at);
        return Ok(replaced.await?);
    }
    if store.append_entry(run, place, &written, expires_at).await? {
        return Ok(());
    }
    Err(store::Error::Conflict.into())
}
