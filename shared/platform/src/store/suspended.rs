//! Suspended runs: each has an item in a list of its tenant, oldest first.
//!
//! The run and its list item are written together. Resuming takes three calls: the run becomes
//! pending, its message is sent, its list item is deleted. While the list item exists, resuming is
//! repeated, so the process may die after any of them.

use aias_domain::id::RunId;
use aws_sdk_dynamodb::types::AttributeValue;

use super::{
    Error, StoredRun, TenantStore,
    items::{EXPIRES_AT, Item, KIND, RangeQuery, number, string_of},
    keys::{self, SK},
    run_item::run_item,
    transaction::Transaction,
    transaction_error::TransactionError,
};

impl TenantStore<'_> {
    /// Writes a suspended run. Returns the existing run if there is one with this id.
    ///
    /// # Errors
    ///
    /// When the table is unavailable.
    pub async fn create_suspended_run(&self, run: &StoredRun) -> Result<Option<StoredRun>, Error> {
        let id = run.run.id;
        let mut entry: Item = keys::suspended(self.tenant, id).attributes();
        entry.insert(KIND.to_owned(), AttributeValue::S("suspended".to_owned()));
        entry.insert(EXPIRES_AT.to_owned(), number(run.expires_at.as_second()));
        let made = Transaction::new(self.store)
            .create(run_item(self.tenant, run)?)
            .create(entry)
            .commit()
            .await;
        match made {
            Ok(()) => Ok(None),
            Err(TransactionError::Conflict) => self.run(id).await,
            Err(refused) => Err(refused.into_error()),
        }
    }

    /// Up to `limit` suspended runs, oldest first.
    ///
    /// # Errors
    ///
    /// When the table is unavailable.
    pub async fn suspended_runs(&self, limit: usize) -> Result<Vec<RunId>, Error> {
        let query = RangeQuery {
            limit,
            forward: true,
            ..RangeQuery::default()
        };
        let items = self
            .store
            .range(&keys::all_suspended(self.tenant), query)
            .await?;
        let id = |item: &Item| string_of(item, SK)?.rsplit('#').next()?.parse().ok();
        Ok(items.iter().filter_map(id).collect())
    }

    /// Removes a run that was resumed or has ended from the list, and from the count of suspended runs.
    ///
    /// # Errors
    ///
    /// When the table is unavailable.
    pub async fn delete_suspended(&self, run: RunId) -> Result<(), Error> {
        let key = keys::suspended(self.tenant, run);
        let counted = self.suspended_counter(run.created_at());
        let removed = Transaction::new(self.store)
            .delete(&key)
            .uncount_suspended(&counted)
            .commit()
            .await;
        let removed = match removed {
            // It was removed concurrently, or the counter is already zero.
            Err(TransactionError::Conflict) => {
                Transaction::new(self.store).delete(&key).commit().await
            }
            other => other,
        };
        match removed {
            Ok(()) | Err(TransactionError::Conflict) => Ok(()),
            Err(refused) => Err(refused.into_error()),
        }
    }
}
