//! Disables objects beyond the limits of a plan, and enables them again with a larger one. Each
//! object is changed in one transaction with the tenant's counter, so the counter is always exact.
//! If the process dies, the next call does the rest.

use aias_domain::plan::Limits;
use aws_sdk_dynamodb::types::AttributeValue;
use jiff::Timestamp;

use super::{
    Error, TenantStore,
    items::{Item, KIND, RangeQuery, VERSION, number, number_of, text_of},
    keys::{self, SK},
    transaction::{Count, Refused},
};

/// How many objects were disabled and enabled.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Fitted {
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
    pub async fn fit(&self, limits: &Limits) -> Result<Fitted, Error> {
        let mut fitted = Fitted::default();
        for count in [
            Count::Workflows,
            Count::Endpoints,
            Count::Members,
            Count::ApiKeys,
        ] {
            self.fit_one(count, count.limit(limits), &mut fitted)
                .await?;
        }
        Ok(fitted)
    }

    async fn fit_one(&self, count: Count, limit: u64, fitted: &mut Fitted) -> Result<(), Error> {
        let used = self.counts().await?.of(count);
        let mut things = self.things(count).await?;
        things.sort_by_key(created_at);
        if used > limit {
            // The sort is stable: newest first, and disabled objects before enabled ones.
            things.reverse();
            things.sort_by_key(is_wanted);
            let mut over = used - limit;
            for thing in things.iter().filter(|t| !is_disabled(t) && !is_owner(t)) {
                if over == 0 {
                    break;
                }
                if self.switch(count, thing, None).await? {
                    fitted.disabled += 1;
                    over -= 1;
                }
            }
            return Ok(());
        }
        for thing in things.iter().filter(|thing| is_disabled(thing)) {
            if !self.switch(count, thing, Some(limit)).await? {
                break;
            }
            fitted.enabled += 1;
        }
        Ok(())
    }

    async fn things(&self, count: Count) -> Result<Vec<Item>, Error> {
        let (range, kind) = match count {
            Count::Workflows => (keys::workflows(self.tenant), "workflow"),
            Count::Endpoints => (keys::endpoints(self.tenant), "endpoint"),
            Count::Members | Count::Owners => (keys::members(self.tenant), "member"),
            Count::ApiKeys => (keys::api_keys(self.tenant), "api_key"),
            Count::Secrets => (keys::secrets(self.tenant), "secret"),
        };
        let mut things: Vec<Item> = Vec::new();
        for _ in 0..MAX_PAGES {
            let last = things.last().and_then(|item| text_of(item, SK));
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
                return Ok(things);
            }
            things.extend(page);
        }
        Ok(things)
    }

    /// Enables an object if `limit` allows it, or disables it. Returns whether it changed.
    async fn switch(&self, count: Count, thing: &Item, limit: Option<u64>) -> Result<bool, Error> {
        let home = keys::everything(self.tenant);
        let tenant = keys::tenant(self.tenant);
        let sk = text_of(thing, SK).unwrap_or_default();
        let version = number_of(thing, VERSION).unwrap_or_default();
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
        if let Some(hash) = text_of(thing, "token_hash") {
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
            Err(Refused::Conflict | Refused::Limit { .. } | Refused::NoTenant) => Ok(false),
            Err(refused) => Err(refused.into_error()),
        }
    }
}

fn created_at(item: &Item) -> Timestamp {
    text_of(item, "created_at")
        .and_then(|text| text.parse().ok())
        .unwrap_or(Timestamp::UNIX_EPOCH)
}

fn is_disabled(item: &Item) -> bool {
    item.contains_key(FLAG)
}

/// Whether the tenant has it enabled. Objects that cannot be disabled by the tenant count as
/// enabled.
fn is_wanted(item: &Item) -> bool {
    item.get("enabled")
        .and_then(|value| value.as_bool().ok())
        .copied()
        .unwrap_or(true)
}

fn is_owner(item: &Item) -> bool {
    text_of(item, "role") == Some("owner")
}
