//! Workflow secrets, sealed.

use aias_domain::counted::CountedFeature;
use aias_domain::secret::{SecretName, WorkflowSecret};

use super::{
    Error, Stored, TenantStore,
    items::{RangeQuery, item, stored, value},
    keys,
    transaction_error::TransactionError,
};

impl TenantStore<'_> {
    /// # Errors
    ///
    /// When the table is unavailable.
    pub async fn secret(&self, name: &SecretName) -> Result<Option<Stored<WorkflowSecret>>, Error> {
        let key = keys::secret(self.tenant, name);
        let found = self.store.item(&key, true).await?;
        found.map(stored).transpose()
    }

    /// All workflow secrets; their number is limited by the plan.
    ///
    /// # Errors
    ///
    /// When the table is unavailable.
    pub async fn secrets(&self) -> Result<Vec<WorkflowSecret>, Error> {
        let query = RangeQuery {
            limit: 1_000,
            forward: true,
            ..RangeQuery::default()
        };
        let range = keys::secrets(self.tenant);
        let found = self.store.range(&range, query).await?;
        found.into_iter().map(value).collect()
    }

    /// Writes a secret; version 0 if it is new.
    ///
    /// # Errors
    ///
    /// [`TransactionError::Conflict`] when it has changed since it was read, [`TransactionError::Limit`] when the
    /// plan does not allow more.
    pub async fn save_secret(
        &self,
        secret: &Stored<WorkflowSecret>,
        limit: u64,
    ) -> Result<(), TransactionError> {
        let key = keys::secret(self.tenant, &secret.value.name);
        let own = item(&key, "secret", &secret.value)?;
        let transaction = self.transaction()?.save(own, secret.version);
        let tenant = keys::tenant(self.tenant);
        let transaction = match secret.version {
            0 => transaction.count_up(&tenant, CountedFeature::Secrets, limit),
            _ => transaction,
        };
        transaction.commit().await
    }

    /// # Errors
    ///
    /// [`TransactionError::Conflict`] when it has changed since it was read.
    pub async fn delete_secret(
        &self,
        read: &Stored<WorkflowSecret>,
    ) -> Result<(), TransactionError> {
        let key = keys::secret(self.tenant, &read.value.name);
        self.transaction()?
            .delete_read(&key, read.version)
            .count_down(&keys::tenant(self.tenant), CountedFeature::Secrets)
            .commit()
            .await
    }
}
