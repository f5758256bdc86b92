//! Reads across tenants: from a credential to its tenant, and the queries of the reconciler. There
//! are no others.

use aias_domain::{
    endpoint::Endpoint,
    id::TenantId,
    tenant::{Member, Tenant, UserId},
};
use aws_sdk_dynamodb::types::AttributeValue;
use jiff::Timestamp;

use super::{
    CachedEndpoint, Error, Hook, KeyOwner, Proof, Store, Stored,
    items::{Item, stored, string_of, value},
    keys::{self, ACTIVE_INDEX, PK},
    tenants::living,
};

/// A tenant with an accepted run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ActiveTenant {
    /// For the reconciler only.
    pub proof: Proof,
    pub tenant_id: TenantId,
    /// The partition key by which the index is ordered. A tenant has several if its runs are
    /// counted in shards.
    pub(super) position: String,
}

impl Store {
    /// The key of an API token, and its tenant. `hashes` has the token's keyed hash by each key of
    /// the keyring.
    ///
    /// # Errors
    ///
    /// When the table is unavailable.
    pub async fn key_owner(
        &self,
        tenant: TenantId,
        hashes: &[String],
    ) -> Result<Option<(KeyOwner, Tenant)>, Error> {
        let home = keys::tenant(tenant);
        let owner = async {
            for hash in hashes {
                if let Some(item) = self.item(&keys::token(tenant, hash), true).await? {
                    return value::<KeyOwner>(item).map(Some);
                }
            }
            Ok(None)
        };
        let (owner, tenant_item) = tokio::join!(owner, self.item(&home, true));
        Ok(owner?.zip(living(tenant, tenant_item?)?))
    }

    /// A tenant of a user, and the user's membership in it.
    ///
    /// # Errors
    ///
    /// When the table is unavailable.
    pub async fn membership(
        &self,
        tenant: TenantId,
        user: &UserId,
    ) -> Result<Option<(Tenant, Member)>, Error> {
        let (home, key) = (keys::tenant(tenant), keys::member(tenant, user));
        let (tenant_item, member) = tokio::join!(self.item(&home, true), self.item(&key, true));
        let member = member?.map(value).transpose()?;
        Ok(living(tenant, tenant_item?)?.zip(member))
    }

    /// The endpoint of a path secret. `hashes` has the secret's keyed hash by each key of the
    /// keyring. The same calls are made whether or not the endpoint exists.
    ///
    /// # Errors
    ///
    /// When the table is unavailable.
    pub async fn hook(
        &self,
        tenant: TenantId,
        hashes: &[String],
        now: Timestamp,
    ) -> Result<Option<CachedEndpoint>, Error> {
        let home = keys::tenant(tenant);
        let hook = async {
            for hash in hashes {
                if let Some(item) = self.item(&keys::hook(tenant, hash), true).await? {
                    return value::<Hook>(item).map(|hook| Some((hook, hash.clone())));
                }
            }
            Ok(None)
        };
        let (hook, tenant_item) = tokio::join!(hook, self.item(&home, false));
        let tenant_item = living(tenant, tenant_item?)?.filter(|t| t.deleted_at.is_none());
        let Some(((hook, hash), tenant_item)) = hook?.zip(tenant_item) else {
            return Ok(None);
        };
        let key = keys::endpoint(tenant, hook.endpoint_id);
        let Some(item) = self.item(&key, true).await? else {
            return Ok(None);
        };
        let endpoint: Stored<Endpoint> = stored(item)?;
        let opens = endpoint
            .value
            .url_secrets
            .iter()
            .any(|s| s.value == hash && s.is_valid_at(now));
        Ok(opens.then_some(CachedEndpoint {
            proof: Proof::new(tenant),
            tenant: tenant_item,
            endpoint,
            hash,
        }))
    }

    /// Up to 100 tenants of an index key, ordered by partition key, after `after`.
    ///
    /// # Errors
    ///
    /// When the table is unavailable.
    pub(super) async fn active_tenants(
        &self,
        hour: &str,
        after: &str,
    ) -> Result<Vec<ActiveTenant>, Error> {
        let response = self
            .client
            .query()
            .table_name(&self.table)
            .index_name(ACTIVE_INDEX)
            .key_condition_expression("active_hour = :hour AND PK > :after")
            .expression_attribute_values(":hour", AttributeValue::S(hour.to_owned()))
            .expression_attribute_values(":after", AttributeValue::S(after.to_owned()))
            .limit(ACTIVE_PAGE)
            .send()
            .await
            .map_err(super::classify)?;
        let tenant = |item: &Item| {
            let position = string_of(item, PK)?.to_owned();
            let tenant_id = keys::tenant_of(&position)?;
            Some(ActiveTenant {
                proof: Proof::new(tenant_id),
                tenant_id,
                position,
            })
        };
        let items = response.items.unwrap_or_default();
        Ok(items.iter().filter_map(tenant).collect())
    }

    /// What `read` finds in the keys of an index key, of which there may be millions.
    pub(super) async fn of_hour<T>(
        &self,
        hour: String,
        read: impl Fn(&Item) -> Option<T>,
    ) -> Result<Vec<T>, Error> {
        let (mut found, mut start) = (Vec::new(), None);
        loop {
            let response = self
                .client
                .query()
                .table_name(&self.table)
                .index_name(ACTIVE_INDEX)
                .key_condition_expression("active_hour = :hour")
                .expression_attribute_values(":hour", AttributeValue::S(hour.clone()))
                .set_exclusive_start_key(start)
                .send()
                .await
                .map_err(super::classify)?;
            found.extend(response.items.unwrap_or_default().iter().filter_map(&read));
            start = response.last_evaluated_key;
            if start.is_none() {
                return Ok(found);
            }
        }
    }
}

const ACTIVE_PAGE: i32 = 100;
