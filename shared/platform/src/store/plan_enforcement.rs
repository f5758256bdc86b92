//! Disables objects beyond the limits of a plan, and enables them again with a larger one. Each
//! object is changed in one transaction with the tenant's counter, so the counter is always exact.
//! If the process dies, the next call does the rest.

use aias_domain::counted::{CountedFeature, CountedObject, disable_order, enable_order};
use aias_domain::plan::Limits;
use aws_sdk_dynamodb::types::AttributeValue;
use jiff::Timestamp;

use super::{
    Error, TenantStore,
    items::{Item, KIND, RangeQuery, VERSION, number, number_of, string_of},
    keys::{self, SK},
    transaction_error::TransactionError,
};

/// How many objects were disabled and enabled.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ChangedObjects {
    pub disabled: usize,
    pub enabled: usize,
}

const FLAG: &str = "disabled_by_plan";

/// Objects per page, and the most pages.
const PAGE: usize = 500;
const MAX_PAGES: usize = 100;

impl TenantStore<'_> {
    /// Applies the limits of a plan to the tenant's objects. The newest are disabled first, and
    /// objects that the tenant has disabled before all others; owners are never disabled. The
    /// oldest are enabled first.
    ///
    /// # Errors
    ///
    /// When the table is unavailable, or an object keeps changing.
    pub async fn enforce_plan(&self, limits: &Limits) -> Result<ChangedObjects, Error> {
        let mut changed = ChangedObjects::default();
        for count in [
            CountedFeature::Workflows,
            CountedFeature::Endpoints,
            CountedFeature::Members,
            CountedFeature::ApiKeys,
        ] {
            self.enforce_limit(count, count.limit(limits), &mut changed)
                .await?;
        }
        Ok(changed)
    }

    async fn enforce_limit(
        &self,
        count: CountedFeature,
        limit: u64,
        changed: &mut ChangedObjects,
    ) -> Result<(), Error> {
        let used = self.counts().await?.of(count);
        let items = self.objects(count).await?;
        let objects: Vec<CountedObject> = items.iter().map(counted_object).collect();
        if used > limit {
            let mut over = used - limit;
            for item in disable_order(&objects)
                .into_iter()
                .filter_map(|i| items.get(i))
            {
                if over == 0 {
                    break;
                }
                if self.toggle(count, item, None).await? {
                    changed.disabled += 1;
                    over -= 1;
                }
            }
            return Ok(());
        }
        for item in enable_order(&objects)
            .into_iter()
            .filter_map(|i| items.get(i))
        {
            if !self.toggle(count, item, Some(limit)).await? {
                break;
            }
            changed.enabled += 1;
        }
        Ok(())
    }

    async fn objects(&self, count: CountedFeature) -> Result<Vec<Item>, Error> {
        let (range, kind) = match count {
            CountedFeature::Workflows => (keys::workflows(self.tenant), "workflow"),
            CountedFeature::Endpoints => (keys::endpoints(self.tenant), "endpoint"),
            CountedFeature::Members | CountedFeature::Owners => {
                (keys::members(self.tenant), "member")
            }
            CountedFeature::ApiKeys => (keys::api_keys(self.tenant), "api_key"),
            CountedFeature::Secrets => (keys::secrets(self.tenant), "secret"),
        };
        let mut objects: Vec<Item> = Vec::new();
        for _ in 0..MAX_PAGES {
            let last = objects.last().and_then(|item| string_of(item, SK));
            let after = last.and_then(|sk| sk.strip_prefix(range.prefix.as_str()));
            let query = RangeQuery {
                after,
                limit: PAGE,
                forward: true,
                filter: Some("#kind = :kind"),
                filter_names: &[("#kind", KIND)],
                filter_values: &[(":kind", kind)],
                ..RangeQuery::default()
            };
            let page = self.store.range(&range, query).await?;
            if page.is_empty() {
                return Ok(objects);
            }
            objects.extend(page);
        }
        Ok(objects)
    }

    /// Enables an object if `limit` allows it, or disables it. Returns whether it changed.
    async fn toggle(
        &self,
        count: CountedFeature,
        object: &Item,
        limit: Option<u64>,
    ) -> Result<bool, Error> {
        let home = keys::everything(self.tenant);
        let tenant = keys::tenant(self.tenant);
        let sk = string_of(object, SK).unwrap_or_default();
        let version = number_of(object, VERSION).unwrap_or_default();
        let update = match limit {
            None => "SET disabled_by_plan = :flag, #version = :next",
            Some(_) => "SET #version = :next REMOVE disabled_by_plan",
        };
        let mut values: Item = [
            (":read".to_owned(), number(version)),
            (":next".to_owned(), number(version + 1)),
        ]
        .into();
        let flag = [(":flag".to_owned(), AttributeValue::Bool(true))];
        if limit.is_none() {
            values.extend(flag.clone());
        }
        let mut transaction =
            self.transaction()?
                .update(&home.key(sk), update, "#version = :read", values);
        if let Some(hash) = string_of(object, "token_hash") {
            let token = keys::token(self.tenant, hash);
            transaction = match limit {
                None => transaction.update(
                    &token,
                    "SET disabled_by_plan = :flag",
                    "attribute_exists(PK)",
                    flag.into(),
                ),
                Some(_) => transaction.remove(&token, FLAG),
            };
        }
        transaction = match limit {
            None => transaction.count_down(&tenant, count),
            Some(limit) => transaction.count_up(&tenant, count, limit),
        };
        match transaction.commit().await {
            Ok(()) => Ok(true),
            // A concurrent change of the object already respected the plan.
            Err(
                TransactionError::Conflict
                | TransactionError::Limit { .. }
                | TransactionError::NoTenant,
            ) => Ok(false),
            Err(refused) => Err(refused.into_error()),
        }
    }
}

fn counted_object(item: &Item) -> CountedObject {
    CountedObject {
        created_at: string_of(item, "created_at")
            .and_then(|text| text.parse().ok())
            .unwrap_or(Timestamp::UNIX_EPOCH),
        enabled: item
            .get("enabled")
            .and_then(|value| value.as_bool().ok())
            .copied()
            .unwrap_or(true),
        disabled_by_plan: item.contains_key(FLAG),
        is_owner: string_of(item, "role") == Some("owner"),
    }
}
