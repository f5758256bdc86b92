//! One fdatasync of the table's write-ahead log for all concurrent writes.
//!
//! SQLite appends every commit to its log, and with `synchronous=NORMAL` it syncs the log itself
//! only before it copies pages into the database file. A commit survives a loss of power once the
//! log was synced after it: commits before it are in the log before it, and SQLite ignores what
//! follows the last complete commit. So a thread syncs the log, again and again while there are
//! unsynced writes, and a write is confirmed by the first sync that began after it.

use std::{
    fs::File,
    io,
    path::Path,
    process,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread::{self, Thread},
};

use tokio::sync::watch;

/// What a confirmed write survives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Durability {
    /// A loss of power.
    Power,
    /// The end of the process, such as by kill -9. A loss of power may lose the last half minute.
    Process,
}

/// The writes and syncs of a log.
#[derive(Debug)]
pub(crate) struct DiskSync {
    written: Arc<AtomicU64>,
    synced: watch::Receiver<u64>,
    syncs: Arc<AtomicU64>,
    /// None if writes are not synced.
    thread: Option<Thread>,
}

impl DiskSync {
    /// Starts the thread. `log` must exist, and stay the same file while the table is open.
    ///
    /// # Errors
    ///
    /// When the log cannot be opened.
    pub(crate) fn start(log: &Path, durability: Durability) -> io::Result<Self> {
        let log = File::open(log)?;
        match durability {
            Durability::Power => Self::with(move || log.sync_data()),
            Durability::Process => Ok(Self::without()),
        }
    }

    /// Writes are not synced.
    fn without() -> Self {
        Self {
            written: Arc::default(),
            synced: watch::channel(0).1,
            syncs: Arc::default(),
            thread: None,
        }
    }

    /// Writes are synced by `sync`.
    pub(crate) fn with(sync: impl Fn() -> io::Result<()> + Send + 'static) -> io::Result<Self> {
        let (sender, synced) = watch::channel(0);
        let written = Arc::new(AtomicU64::new(0));
        let syncs = Arc::new(AtomicU64::new(0));
        let handle = {
            let (written, syncs) = (Arc::clone(&written), Arc::clone(&syncs));
            let builder = thread::Builder::new().name("disk-sync".to_owned());
            builder
                .spawn(move || end_process(&sync_until_error(sync, &written, &syncs, &sender)))?
        };
        Ok(Self {
            written,
            synced,
            syncs,
            thread: Some(handle.thread().clone()),
        })
    }

    /// Counts a commit. Call it after the commit.
    pub(crate) fn count_write(&self) {
        self.written.fetch_add(1, Ordering::Release);
    }

    /// Waits until all commits that were counted before this call survive.
    pub(crate) async fn confirm(&self) {
        let Some(thread) = &self.thread else { return };
        let target = self.written.load(Ordering::Acquire);
        if *self.synced.borrow() >= target {
            return;
        }
        thread.unpark();
        let mut synced = self.synced.clone();
        if synced.wait_for(|synced| *synced >= target).await.is_err() {
            end_process(&io::Error::other("the thread that syncs has ended"));
        }
    }

    /// How often the log was synced.
    #[must_use]
    pub(crate) fn syncs(&self) -> u64 {
        self.syncs.load(Ordering::Relaxed)
    }
}

/// Syncs as long as there are unsynced writes, again and again. Returns the error of a failed sync, of
/// which it confirms nothing.
fn sync_until_error(
    sync: impl Fn() -> io::Result<()>,
    written: &AtomicU64,
    syncs: &AtomicU64,
    synced: &watch::Sender<u64>,
) -> io::Error {
    loop {
        let target = written.load(Ordering::Acquire);
        if *synced.borrow() >= target {
            thread::park();
            continue;
        }
        if let Err(error) = sync() {
            return error;
        }
        syncs.fetch_add(1, Ordering::Relaxed);
        synced.send_replace(target);
    }
}

/// Ends the process after a failed sync. The kernel may have dropped the pages that it could not write,
/// so a second sync would confirm what is lost. The next start reads what is on the disk.
fn end_process(error: &io::Error) -> ! {
    tracing::error!(event = "disk_sync_failed", %error);
    process::exit(74);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failed_sync_confirms_nothing() {
        let (sender, synced) = watch::channel(0);
        let fails = || Err(io::Error::other("the disk is gone"));
        let error = sync_until_error(fails, &AtomicU64::new(1), &AtomicU64::new(0), &sender);
        assert_eq!(error.to_string(), "the disk is gone");
        assert_eq!(*synced.borrow(), 0);
    }

    #[tokio::test]
    async fn write_waits_for_a_sync_that_began_after_it() {
        let (started, starts) = std::sync::mpsc::channel();
        let (finish, finishes) = std::sync::mpsc::channel();
        let sync = DiskSync::with(move || {
            started.send(()).unwrap();
            finishes.recv().map_err(io::Error::other)
        });
        let sync = Arc::new(sync.unwrap());
        let confirm = || {
            sync.count_write();
            let sync = Arc::clone(&sync);
            tokio::spawn(async move { sync.confirm().await })
        };
        let first = confirm();
        tokio::task::yield_now().await;
        starts.recv().unwrap();
        // The first sync may have started before this write.
        let second = confirm();
        tokio::task::yield_now().await;
        finish.send(()).unwrap();
        first.await.unwrap();
        starts.recv().unwrap();
        assert!(!second.is_finished());
        finish.send(()).unwrap();
        second.await.unwrap();
        assert_eq!(sync.syncs(), 2);
        // Nothing is left to sync.
        sync.confirm().await;
    }
}
