//! API keys.

use aias_domain::counted::CountedFeature;
use aias_domain::{
    id::KeyId,
    tenant::{ApiKey, Role},
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{
    Error, Idempotency, Listing, Page, Stored, TenantStore,
    items::{item, stored},
    keys::{self},
    transaction_error::TransactionError,
};

/// The API key of a token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyOwner {
    pub key_id: KeyId,
    pub role: Role,
    /// When the key expires.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub valid_until: Option<Timestamp>,
    /// Whether the plan has disabled the key.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub disabled_by_plan: bool,
}

impl TenantStore<'_> {
    /// The API keys, newest first.
    ///
    /// # Errors
    /// When the table is unavailable.
    pub async fn api_keys(&self, listing: &Listing) -> Result<Page<ApiKey>, Error> {
        self.page(&keys::api_keys(self.tenant), listing, |k: &ApiKey| {
            k.id.to_string()
        })
        .await
    }

    /// An API key.
    ///
    /// # Errors
    /// When the table is unavailable.
    pub async fn api_key(&self, id: KeyId) -> Result<Option<Stored<ApiKey>>, Error> {
        let found = self
            .store
            .item(&keys::api_key(self.tenant, id), true)
            .await?;
        found.map(stored).transpose()
    }

    /// Creates an API key.
    ///
    /// # Errors
    ///
    /// [`TransactionError::Limit`] when the plan does not allow more.
    pub async fn create_api_key(
        &self,
        key: &ApiKey,
        limit: u64,
        idempotency: Option<Idempotency>,
    ) -> Result<(), TransactionError> {
        let owner = KeyOwner {
            key_id: key.id,
            role: key.role,
            valid_until: key.valid_until,
            disabled_by_plan: false,
        };
        self.transaction()?
            .create(item(&keys::api_key(self.tenant, key.id), "api_key", key)?)
            .create(item(
                &keys::token(self.tenant, &key.token_hash),
                "token",
                &owner,
            )?)
            .count_up(&keys::tenant(self.tenant), CountedFeature::ApiKeys, limit)
            .response(idempotency)
            .commit()
            .await
    }

    /// Deletes an API key. Its token is refused from the next request on.
    ///
    /// # Errors
    ///
    /// When the table is unavailable.
    pub async fn delete_api_key(&self, read: &Stored<ApiKey>) -> Result<(), TransactionError> {
        let transaction = self
            .transaction()?
            .delete_read(&keys::api_key(self.tenant, read.value.id), read.version)
            .delete(&keys::token(self.tenant, &read.value.token_hash));
        let transaction = if read.value.disabled_by_plan {
            transaction
        } else {
            transaction.count_down(&keys::tenant(self.tenant), CountedFeature::ApiKeys)
        };
        transaction.commit().await
    }
}
