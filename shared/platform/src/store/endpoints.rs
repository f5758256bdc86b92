//! Webhook endpoints and the keyed hashes of their path secrets.

use aias_domain::counted::CountedFeature;
use aias_domain::{
    endpoint::{Endpoint, EndpointSecret, EndpointSecretKind},
    id::{EndpointId, WorkflowId},
    tenant::Tenant,
};
use aws_sdk_dynamodb::types::AttributeValue;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{
    Error, Idempotency, Listing, Page, Proof, Stored, TenantStore,
    items::{RangeQuery, VERSION, item, number, stored, value},
    keys,
    transaction_error::TransactionError,
};

/// The item of a path secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hook {
    pub endpoint_id: EndpointId,
}

/// The objects that a webhook needs, as cached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CachedEndpoint {
    /// Proves that the caller knew the path secret.
    pub proof: Proof,
    pub tenant: Tenant,
    pub endpoint: Stored<Endpoint>,
    /// The keyed hash of the caller's path secret.
    pub hash: String,
}

impl TenantStore<'_> {
    /// Creates an endpoint with one path secret.
    ///
    /// # Errors
    ///
    /// [`TransactionError::Limit`] when the plan does not allow more.
    pub async fn create_endpoint(
        &self,
        endpoint: &Endpoint,
        limit: u64,
        idempotency: Option<Idempotency>,
    ) -> Result<(), TransactionError> {
        let mut transaction = self
            .transaction()?
            .create(item(
                &keys::endpoint(self.tenant, endpoint.id),
                "endpoint",
                endpoint,
            )?)
            .count_up(&keys::tenant(self.tenant), CountedFeature::Endpoints, limit);
        for secret in &endpoint.url_secrets {
            transaction = transaction.create(self.hook_item(endpoint.id, secret)?);
        }
        transaction.response(idempotency).commit().await
    }

    fn hook_item(
        &self,
        id: EndpointId,
        secret: &EndpointSecret,
    ) -> Result<super::items::Item, Error> {
        item(
            &keys::hook(self.tenant, &secret.value),
            "hook",
            &Hook { endpoint_id: id },
        )
    }

    /// # Errors
    ///
    /// When the table is unavailable.
    pub async fn endpoint(&self, id: EndpointId) -> Result<Option<Stored<Endpoint>>, Error> {
        let found = self
            .store
            .item(&keys::endpoint(self.tenant, id), true)
            .await?;
        found.map(stored).transpose()
    }

    /// The endpoints, newest first.
    ///
    /// # Errors
    ///
    /// When the table is unavailable.
    pub async fn endpoints(&self, listing: &Listing) -> Result<Page<Endpoint>, Error> {
        self.page(&keys::endpoints(self.tenant), listing, |e: &Endpoint| {
            e.id.to_string()
        })
        .await
    }

    /// An endpoint that uses this workflow, if there is one.
    ///
    /// # Errors
    ///
    /// When the table is unavailable.
    pub async fn endpoint_of(&self, workflow: WorkflowId) -> Result<Option<Endpoint>, Error> {
        let workflow = workflow.to_string();
        let query = RangeQuery {
            limit: 1,
            filter: Some("workflow_id = :workflow"),
            filter_values: &[(":workflow", &workflow)],
            ..RangeQuery::default()
        };
        let mut items = self
            .store
            .range(&keys::endpoints(self.tenant), query)
            .await?;
        items.pop().map(value).transpose()
    }

    /// Writes a changed endpoint, adds path secrets and removes others.
    ///
    /// # Errors
    ///
    /// [`TransactionError::Conflict`] when it has changed since it was read.
    pub async fn save_endpoint(
        &self,
        endpoint: &Stored<Endpoint>,
        added: Option<&EndpointSecret>,
        gone: &[EndpointSecret],
    ) -> Result<(), TransactionError> {
        let own = item(
            &keys::endpoint(self.tenant, endpoint.value.id),
            "endpoint",
            &endpoint.value,
        )?;
        let mut transaction = self.transaction()?.replace(own, endpoint.version);
        if let Some(secret) = added {
            transaction = transaction.create(self.hook_item(endpoint.value.id, secret)?);
        }
        for secret in gone {
            transaction = transaction.delete(&keys::hook(self.tenant, &secret.value));
        }
        transaction.commit().await
    }

    /// Deletes an endpoint and its path secrets.
    ///
    /// # Errors
    /// [`TransactionError::Conflict`] when it has changed since it was read.
    pub async fn delete_endpoint(&self, read: &Stored<Endpoint>) -> Result<(), TransactionError> {
        let mut transaction = self
            .transaction()?
            .delete_read(&keys::endpoint(self.tenant, read.value.id), read.version);
        if !read.value.disabled_by_plan {
            transaction =
                transaction.count_down(&keys::tenant(self.tenant), CountedFeature::Endpoints);
        }
        for secret in &read.value.url_secrets {
            transaction = transaction.delete(&keys::hook(self.tenant, &secret.value));
        }
        transaction.commit().await
    }

    /// Enables an endpoint that was disabled by the plan.
    ///
    /// # Errors
    ///
    /// [`TransactionError::Limit`] when the plan does not allow more.
    pub async fn enable_endpoint(
        &self,
        endpoint: &Stored<Endpoint>,
        limit: u64,
    ) -> Result<(), TransactionError> {
        let own = item(
            &keys::endpoint(self.tenant, endpoint.value.id),
            "endpoint",
            &endpoint.value,
        )?;
        self.transaction()?
            .replace(own, endpoint.version)
            .count_up(&keys::tenant(self.tenant), CountedFeature::Endpoints, limit)
            .commit()
            .await
    }

    /// Updates `last_ping_at`. The version stays the same, so that nobody has to read the endpoint
    /// again.
    ///
    /// # Errors
    ///
    /// When the endpoint has changed, or the table is unavailable.
    pub async fn record_ping(
        &self,
        endpoint: &Stored<Endpoint>,
        now: Timestamp,
    ) -> Result<(), Error> {
        self.set_time(endpoint, "last_ping_at".to_owned(), now)
            .await
    }

    /// Updates `last_used_at` of a secret. The version stays the same, so that nobody has to read
    /// the endpoint again.
    ///
    /// # Errors
    ///
    /// When the endpoint has changed, or the table is unavailable.
    pub async fn record_use(
        &self,
        endpoint: &Stored<Endpoint>,
        which: EndpointSecretKind,
        index: usize,
        now: Timestamp,
    ) -> Result<(), Error> {
        let list = match which {
            EndpointSecretKind::Url => "url_secrets",
            EndpointSecretKind::Signing => "signing_secrets",
        };
        let place = format!("{list}[{index}].last_used_at");
        self.set_time(endpoint, place, now).await
    }

    pub(super) async fn set_time(
        &self,
        endpoint: &Stored<Endpoint>,
        place: String,
        now: Timestamp,
    ) -> Result<(), Error> {
        self.store
            .client
            .update_item()
            .table_name(&self.store.table)
            .set_key(Some(
                keys::endpoint(self.tenant, endpoint.value.id).attributes(),
            ))
            .update_expression(format!("SET {place} = :now"))
            .condition_expression("#version = :read")
            .expression_attribute_names("#version", VERSION)
            .expression_attribute_values(":now", AttributeValue::S(now.to_string()))
            .expression_attribute_values(":read", number(endpoint.version))
            .send()
            .await
            .map(|_| ())
            .map_err(super::classify)
    }
}
