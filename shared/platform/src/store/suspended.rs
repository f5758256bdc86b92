//! Runs that are held back: each has an entry in a list of its tenant, the oldest first.
//!
//! The run and its entry are written together. To let one go on takes three calls, and each may be
//! the last: the run becomes pending, its message is sent, its entry goes. As long as the entry is
//! there, the rest is done again.

use aias_domain::id::RunId;
use aws_sdk_dynamodb::types::AttributeValue;

use super::{
    Error, StoredRun, TenantStore,
    items::{EXPIRES_AT, Item, KIND, RangeQuery, number, text_of},
    keys::{self, SK},
    run_item::run_item,
    transaction::{Refused, Transaction},
};

impl TenantStore<'_> {
    /// Writes a run that is held back. When there is one of this id already, that one is returned.
    ///
    /// # Errors
    /// When the table does not answer.
    pub async fn create_suspended_run(&self, run: &StoredRun) -> Result<Option<StoredRun>, Error> {
        let id = run.run.value.id;
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
            Err(Refused::Conflict) => self.run(id).await,
            Err(refused) => Err(refused.into_error()),
        }
    }

    /// Up to `limit` runs that are held back, the oldest first.
    ///
    /// # Errors
    /// When the table does not answer.
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
        let id = |item: &Item| text_of(item, SK)?.rsplit('#').next()?.parse().ok();
        Ok(items.iter().filter_map(id).collect())
    }

    /// Takes a run out of the list: it goes on, or it is gone.
    ///
    /// # Errors
    /// When the table does not answer.
    pub async fn delete_suspended(&self, run: RunId) -> Result<(), Error> {
        let key = keys::suspended(self.tenant, run);
        let deleted = Transaction::new(self.store).delete(&key).commit().await;
        match deleted {
            Ok(()) => self.unhold(run.created_at()).await,
            // Somebody else did.
            Err(Refused::Conflict) => Ok(()),
            Err(refused) => Err(refused.into_error()),
        }
    }
}
