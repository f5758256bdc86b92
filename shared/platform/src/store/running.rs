//! Runs in the phase `running`, counted in shards.
//!
//! One item for a whole tenant would take two transactions of each run that calls or waits, at
//! most 250 runs a second, and its transactions would conflict. A run is counted in a random shard
//! that has room, in the transaction that writes the run, and remembers the shard in its item.

use aias_domain::{admission::share, run::Status};
use futures_util::future::try_join_all;

use super::{
    Error, StoredRun, TenantStore, items::number_of, keys, run_item::run_item,
    transaction::Transaction, transaction_error::TransactionError,
};
use crate::clock::random;

/// The most shards. Their transactions can start and end 4,000 runs a second.
const MAX_SHARDS: u8 = 16;

/// A shard has at least this share of the limit, so that the shards fill evenly.
const MIN_SHARE: u64 = 16;

/// The number of shards for a limit.
fn shards(limit: u64) -> u8 {
    u8::try_from(limit / MIN_SHARE)
        .unwrap_or(MAX_SHARDS)
        .clamp(1, MAX_SHARDS)
}

impl TenantStore<'_> {
    /// Writes a run that enters the phase `running`, if fewer than `limit` runs are in it; returns
    /// the written run, or none. A run that is already counted is not counted again.
    ///
    /// Runs in shards that a smaller plan does not have any more are not counted; they end within
    /// the time that a plan gives a run.
    ///
    /// # Errors
    ///
    /// [`Error::Conflict`] when it has changed since it was read.
    pub async fn start_run(&self, run: StoredRun, limit: u64) -> Result<Option<StoredRun>, Error> {
        if run.was == Status::Running {
            self.save_run(&run).await?;
            return Ok(Some(run));
        }
        let shards = shards(limit);
        let [random] = random::<1>();
        let first = random % shards;
        let started = self
            .start_in(&run, first, share(limit, shards, first))
            .await?;
        if started.is_some() || shards == 1 {
            return Ok(started);
        }
        // Only now the other shards are read: most runs find room in the first one.
        let counts = self.running_by_shard(shards).await?;
        let others = (0..shards).zip(counts).filter(|(shard, _)| *shard != first);
        let rooms = others.map(|(shard, count)| {
            let room = share(limit, shards, shard);
            (room.saturating_sub(count), shard, room)
        });
        match rooms.max().filter(|(free, ..)| *free > 0) {
            Some((_, shard, room)) => self.start_in(&run, shard, room).await,
            None => Ok(None),
        }
    }

    async fn start_in(
        &self,
        run: &StoredRun,
        shard: u8,
        room: u64,
    ) -> Result<Option<StoredRun>, Error> {
        let run = StoredRun {
            running_shard: shard,
            ..run.clone()
        };
        let started = Transaction::new(self.store)
            .replace(run_item(self.tenant, &run)?, run.version)
            .start_running(&keys::running(self.tenant, shard), room)
            .commit()
            .await;
        match started {
            Ok(()) => Ok(Some(run)),
            Err(TransactionError::ConcurrencyLimit) => Ok(None),
            Err(refused) => Err(refused.into_error()),
        }
    }

    async fn running_by_shard(&self, shards: u8) -> Result<Vec<u64>, Error> {
        try_join_all((0..shards).map(|shard| async move {
            let key = keys::running(self.tenant, shard);
            let item = self.store.item(&key, true).await?;
            let count = item.and_then(|item| number_of(&item, "running"));
            Ok(count.unwrap_or_default())
        }))
        .await
    }

    /// The number of runs in the phase `running` that count toward `limit`.
    ///
    /// # Errors
    ///
    /// When the table is unavailable.
    pub async fn running(&self, limit: u64) -> Result<u64, Error> {
        let counts = self.running_by_shard(shards(limit)).await?;
        Ok(counts.iter().sum())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_follow_the_limit() {
        let limits = [0, 5, 25, 100, 1_000, u64::MAX];
        assert_eq!(limits.map(shards), [1, 1, 1, 6, 16, 16]);
    }
}
