//! Tenants, members and API keys.

use aias_domain::counted::CountedFeature;
use aias_domain::{
    audit::Entry,
    id::TenantId,
    plan,
    tenant::{MAX_CREATED_A_MONTH, Member, Tenant, UserId},
};
use aws_sdk_dynamodb::types::AttributeValue;
use jiff::Timestamp;

use super::{
    Error, Idempotency, Listing, Page, Store, Stored, TenantStore, audit,
    items::{EXPIRES_AT, Item, RangeQuery, item, number, number_of, stored, string_of, value},
    keys::{self, SK},
    transaction::Transaction,
    transaction_error::TransactionError,
};
use crate::tenant_credentials;

impl Store {
    /// Creates a tenant with its first member, an owner.
    ///
    /// # Errors
    ///
    /// When the request has a stored response, the owner has created too many tenants in this month,
    /// or the table is unavailable.
    pub async fn create_tenant(
        &self,
        tenant: &Tenant,
        owner: &Member,
        audit: &Entry,
        idempotency: Option<Idempotency>,
    ) -> Result<(), TransactionError> {
        let key = keys::tenant(tenant.id);
        let mut own = item(&key, "tenant", tenant)?;
        for (count, n) in [
            (CountedFeature::Workflows, 0),
            (CountedFeature::Endpoints, 0),
            (CountedFeature::Members, 1),
            (CountedFeature::ApiKeys, 0),
            (CountedFeature::Owners, 1),
            (CountedFeature::Secrets, 0),
        ] {
            own.insert(count.feature().to_owned(), number(n));
        }
        let transaction = Transaction::new(self)
            .create(own)
            .create(item(
                &keys::member(tenant.id, &owner.user_id),
                "member",
                owner,
            )?)
            .create(membership(tenant.id, &owner.user_id))
            .count_created_tenant(
                &keys::created_tenants(&owner.user_id, tenant.created_at),
                MAX_CREATED_A_MONTH,
                plan::month_end(tenant.created_at),
            )
            .create(audit::item_of(tenant.id, audit)?)
            .response(idempotency);
        // Only the credentials of the new tenant may write its items.
        tenant_credentials::as_tenant(tenant.id, transaction.commit()).await
    }

    /// The tenants of a user, newest first.
    ///
    /// # Errors
    ///
    /// When the table is unavailable.
    pub async fn tenants_of(
        &self,
        user: &UserId,
        listing: &Listing,
    ) -> Result<Page<(Tenant, Member)>, Error> {
        let range = keys::user_tenants(user);
        let query = RangeQuery {
            after: listing.after.as_ref().map(|c| c.0.as_str()),
            limit: listing.limit + 1,
            ..RangeQuery::default()
        };
        let ids: Vec<TenantId> = self
            .range(&range, query)
            .await?
            .iter()
            .filter_map(|item| {
                string_of(item, SK)?
                    .strip_prefix(range.prefix.as_str())?
                    .parse()
                    .ok()
            })
            .collect();
        let page = Page::cut(ids, listing.limit, TenantId::to_string);
        let loads = page.items.iter().map(|id| self.membership(*id, user));
        let loaded = futures_util::future::join_all(loads).await;
        let mut items = Vec::new();
        for found in loaded {
            items.extend(found?);
        }
        Ok(Page {
            items,
            next: page.next,
        })
    }
}

/// The counters of a tenant.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Counts(Item);

impl Counts {
    #[must_use]
    pub fn of(&self, count: CountedFeature) -> u64 {
        number_of(&self.0, count.feature()).unwrap_or_default()
    }
}

pub(super) fn membership(tenant: TenantId, user: &UserId) -> Item {
    let mut item = keys::user_tenant(user, tenant).attributes();
    item.insert(
        super::items::KIND.to_owned(),
        AttributeValue::S("membership".to_owned()),
    );
    item
}

impl TenantStore<'_> {
    /// # Errors
    ///
    /// When the table is unavailable.
    pub async fn tenant(&self) -> Result<Option<Stored<Tenant>>, Error> {
        let found = self.store.item(&keys::tenant(self.tenant), true).await?;
        found.map(|item| self.tenant_of(item)).transpose()
    }

    /// The counters of the tenant.
    ///
    /// # Errors
    ///
    /// When the table is unavailable.
    pub async fn counts(&self) -> Result<Counts, Error> {
        let found = self.store.item(&keys::tenant(self.tenant), true).await?;
        Ok(found.map(Counts).unwrap_or_default())
    }

    fn tenant_of(&self, item: Item) -> Result<Stored<Tenant>, Error> {
        let mut tenant: Stored<Tenant> = stored(item)?;
        tenant.value.id = self.tenant;
        Ok(tenant)
    }

    /// Writes the name and the deletion of the tenant. Its counters do not change.
    ///
    /// # Errors
    ///
    /// [`Error::Conflict`] when it has changed since it was read.
    pub async fn save_tenant(&self, read: &Stored<Tenant>) -> Result<(), Error> {
        let tenant = &read.value;
        let text = |at: Timestamp| AttributeValue::S(at.to_string());
        let mut update = String::from("SET #name = :name, updated_at = :updated, #version = :next");
        let mut values = Item::from([
            (
                ":name".to_owned(),
                AttributeValue::S(tenant.name.to_string()),
            ),
            (":updated".to_owned(), text(tenant.updated_at)),
            (":read".to_owned(), number(read.version)),
            (":next".to_owned(), number(read.version + 1)),
        ]);
        if let Some(deleted_at) = tenant.deleted_at {
            update.push_str(", deleted_at = :deleted");
            values.insert(":deleted".to_owned(), text(deleted_at));
        }
        self.transaction()?
            .update(
                &keys::tenant(self.tenant),
                &update,
                "#version = :read",
                values,
            )
            .commit()
            .await
            .map_err(TransactionError::into_error)
    }

    /// Deletes all items of the tenant's own partition, the tenant itself and its owners last: if
    /// the process dies, an owner can repeat the deletion. Runs, logs and artifacts expire by
    /// themselves.
    ///
    /// # Errors
    ///
    /// When the table is unavailable.
    pub async fn purge(&self, retired_until: Timestamp) -> Result<(), Error> {
        let range = keys::everything(self.tenant);
        let mut last = Vec::new();
        // Bounded by the limits of plans: thousands of items.
        for _ in 0..1_000 {
            let query = RangeQuery {
                limit: 100,
                projection: Some("#pk, SK, #kind, user_id, #role"),
                filter: Some("NOT #kind = :tenant AND NOT (#kind = :member AND #role = :owner)"),
                filter_names: &[("#kind", "kind"), ("#role", "role")],
                filter_values: &[
                    (":tenant", "tenant"),
                    (":member", "member"),
                    (":owner", "owner"),
                ],
                ..RangeQuery::default()
            };
            let items = self.store.range(&range, query).await?;
            if items.is_empty() {
                break;
            }
            self.store.delete_all(self.keys_of(&items)).await?;
        }
        let members = keys::members(self.tenant);
        let owners = self
            .store
            .range(
                &members,
                RangeQuery {
                    limit: 1_000,
                    ..RangeQuery::default()
                },
            )
            .await?;
        last.extend(self.keys_of(&owners));
        self.store.delete_all(last).await?;
        self.retire(retired_until).await
    }

    fn keys_of(&self, items: &[Item]) -> Vec<keys::Key> {
        let home = keys::everything(self.tenant);
        let mut keys = Vec::new();
        for item in items {
            let Some(sk) = string_of(item, SK) else {
                continue;
            };
            if let Some(user) = string_of(item, "user_id").and_then(|id| id.parse().ok()) {
                keys.push(keys::user_tenant(&user, self.tenant));
            }
            keys.push(home.key(sk));
        }
        keys
    }

    /// Lets the tenant's item expire.
    async fn retire(&self, until: Timestamp) -> Result<(), Error> {
        self.store
            .client
            .update_item()
            .table_name(&self.store.table)
            .set_key(Some(keys::tenant(self.tenant).attributes()))
            .condition_expression("attribute_exists(deleted_at)")
            .update_expression("SET expires_at = :until")
            .expression_attribute_values(":until", number(until.as_second()))
            .send()
            .await
            .map(|_| ())
            .map_err(super::classify)
    }

    pub(super) async fn page<T: serde::de::DeserializeOwned>(
        &self,
        range: &keys::Range,
        listing: &Listing,
        id: impl Fn(&T) -> String,
    ) -> Result<Page<T>, Error> {
        let query = RangeQuery {
            after: listing.after.as_ref().map(|c| c.0.as_str()),
            limit: listing.limit + 1,
            ..RangeQuery::default()
        };
        let items = self.store.range(range, query).await?;
        let values: Result<Vec<T>, Error> = items.into_iter().map(value).collect();
        Ok(Page::cut(values?, listing.limit, id))
    }
}

/// The tenant of an item, unless it is being deleted.
pub(super) fn living(tenant: TenantId, item: Option<Item>) -> Result<Option<Tenant>, Error> {
    let Some(item) = item else { return Ok(None) };
    if item.contains_key(EXPIRES_AT) {
        return Ok(None);
    }
    let mut tenant_item: Tenant = value(item)?;
    tenant_item.id = tenant;
    Ok(Some(tenant_item))
}
