//! Admission: one conditional write that counts an event in its month and in its window.
//! `aias_domain::admission` has the rules.

use std::{
    fmt::Write as _,
    sync::{Arc, LazyLock},
};

use aias_domain::{
    admission::{SLOTS, Window, share},
    id::TenantId,
    plan::Limits,
};
use aws_sdk_dynamodb::{
    operation::update_item::{UpdateItemError, builders::UpdateItemFluentBuilder},
    types::{
        AttributeValue, ReturnConsumedCapacity, ReturnValue, ReturnValuesOnConditionCheckFailure,
    },
};
use futures_util::future::try_join_all;
use jiff::Timestamp;

use super::{
    Error, TenantStore, classify,
    items::{Item, number, number_of},
    keys,
};
use crate::{
    cache::{self, Cache},
    clock::random,
};

/// The counter item in which an event was counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CounterShard {
    at: Timestamp,
    shard: u8,
    counter: Counter,
}

/// What an event is counted as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Counter {
    /// A run within the monthly run quota.
    Runs,
    /// A suspended run beyond it.
    Suspended,
}

impl Counter {
    fn attribute(self) -> &'static str {
        match self {
            Self::Runs => "runs",
            Self::Suspended => "suspended",
        }
    }
}

/// Remaining quota after an event was counted or refused. For a plan with several shards it is an
/// estimate, which assumes that all shards are like the one that counted the event.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RemainingQuota {
    /// Events in this window.
    pub events: u64,
    /// Runs in this month.
    pub runs: u64,
}

/// The result of counting an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    /// Within the limits.
    Admitted(CounterShard, RemainingQuota),
    /// The monthly run quota is used up.
    QuotaExceeded(RemainingQuota),
    /// The event rate of the window is used up.
    RateExceeded(RemainingQuota),
}

/// A tenant's usage in a month.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    pub runs: u64,
    /// Runs that are suspended.
    pub suspended: u64,
}

/// Shards that are known to be used up, remembered until the window ends, so that a tenant beyond
/// its limits causes no writes.
#[derive(Debug, Clone)]
pub struct Gate(Arc<Cache<TenantId, UsedUpShards>>);

impl Default for Gate {
    fn default() -> Self {
        Self(Arc::new(cache::bounded(MAX_TENANTS)))
    }
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct UsedUpShards {
    window: i64,
    limits: (u64, u64),
    month: u16,
    rate: u16,
    left: RemainingQuota,
}

/// The most tenants that are remembered.
const MAX_TENANTS: usize = 10_000;

/// The most attempts when a shard's item changes concurrently.
const ATTEMPTS: usize = 4;

enum ShardResult {
    Counted(CounterShard, RemainingQuota),
    QuotaExceeded(RemainingQuota),
    RateExceeded(RemainingQuota),
}

impl Gate {
    /// Counts one event, if it is within the limits.
    ///
    /// # Errors
    ///
    /// When the table is unavailable.
    pub async fn admit(
        &self,
        store: &TenantStore<'_>,
        limits: &Limits,
        now: Timestamp,
    ) -> Result<Admission, Error> {
        let mut full = self.known(store.tenant, limits, now);
        let [first] = random::<1>();
        for step in 0..limits.shards {
            let shard = first.wrapping_add(step) % limits.shards;
            let bit = 1_u16 << shard;
            if (full.month | full.rate) & bit != 0 {
                continue;
            }
            match store.count(Counter::Runs, shard, limits, now).await? {
                ShardResult::Counted(place, left) => return Ok(Admission::Admitted(place, left)),
                ShardResult::QuotaExceeded(left) => {
                    full.month |= bit;
                    full.left = left;
                }
                ShardResult::RateExceeded(left) => {
                    full.rate |= bit;
                    full.left = left;
                }
            }
            self.0.insert(store.tenant, full);
        }
        if full.month.count_ones() == u32::from(limits.shards) {
            let left = RemainingQuota {
                runs: 0,
                ..full.left
            };
            Ok(Admission::QuotaExceeded(left))
        } else {
            let left = RemainingQuota {
                events: 0,
                ..full.left
            };
            Ok(Admission::RateExceeded(left))
        }
    }

    fn known(&self, tenant: TenantId, limits: &Limits, now: Timestamp) -> UsedUpShards {
        let fresh = UsedUpShards {
            window: Window::of(now).number,
            limits: (limits.runs_per_month, limits.events_per_second),
            ..UsedUpShards::default()
        };
        self.0
            .get(&tenant)
            .filter(|full| full.window == fresh.window && full.limits == fresh.limits)
            .unwrap_or(fresh)
    }
}

/// `REMOVE` expressions with the names of all other windows, by slot.
static REMOVE_OTHER_WINDOWS: LazyLock<Vec<String>> = LazyLock::new(|| {
    let others = |slot: u8| {
        let mut text = String::from("REMOVE ");
        for other in (0..SLOTS).filter(|other| *other != slot) {
            let comma = if text.len() > 7 { ", " } else { "" };
            // Writing to a string cannot fail.
            let _ = write!(text, "{comma}w{other}");
        }
        text
    };
    (0..SLOTS).map(others).collect()
});

/// The window in which a counter item was last written.
fn window_of(item: &Item) -> Option<i64> {
    item.get("at")?.as_n().ok()?.parse().ok()
}

impl TenantStore<'_> {
    /// Counts an event beyond the monthly run quota as suspended, if the plan allows it.
    ///
    /// # Errors
    ///
    /// When the table is unavailable.
    pub async fn admit_suspended(
        &self,
        limits: &Limits,
        now: Timestamp,
    ) -> Result<Admission, Error> {
        // Suspended runs are few, so they are counted in the first shard only.
        let limits = Limits {
            shards: 1,
            ..*limits
        };
        Ok(
            match self.count(Counter::Suspended, 0, &limits, now).await? {
                ShardResult::Counted(place, left) => Admission::Admitted(place, left),
                ShardResult::QuotaExceeded(left) => Admission::QuotaExceeded(left),
                ShardResult::RateExceeded(left) => Admission::RateExceeded(left),
            },
        )
    }

    async fn count(
        &self,
        counter: Counter,
        shard: u8,
        limits: &Limits,
        now: Timestamp,
    ) -> Result<ShardResult, Error> {
        let mut window = Window::of(now);
        let total = match counter {
            Counter::Runs => limits.runs_per_month,
            Counter::Suspended => limits.suspended_runs,
        };
        let room = share(total, limits.shards, shard);
        let burst = share(limits.burst(), limits.shards, shard);
        let place = CounterShard {
            at: now,
            shard,
            counter,
        };
        let left_in = |item: &Item, window: Window| {
            let of = |name: &str| number_of(item, name).unwrap_or_default();
            let in_window = window_of(item) == Some(window.number);
            let events = of(&format!("w{}", window.slot()));
            let runs = match counter {
                Counter::Runs => room.saturating_sub(of(counter.attribute())),
                Counter::Suspended => 0,
            };
            let shards = u64::from(limits.shards);
            RemainingQuota {
                events: burst.saturating_sub(if in_window { events } else { 0 }) * shards,
                runs: runs * shards,
            }
        };
        if room == 0 {
            return Ok(ShardResult::QuotaExceeded(left_in(&Item::new(), window)));
        }
        if burst == 0 {
            return Ok(ShardResult::RateExceeded(left_in(&Item::new(), window)));
        }
        let mut taken_by = None;
        for _ in 0..ATTEMPTS {
            let slot = format!("w{}", window.slot());
            let count_update = self.count_update(place, (room, burst), window, taken_by);
            let error = match count_update.send().await {
                Ok(response) => {
                    let item = response.attributes.unwrap_or_default();
                    let left = left_in(&item, window);
                    return Ok(ShardResult::Counted(place, left));
                }
                Err(error) => error,
            };
            let Some(UpdateItemError::ConditionalCheckFailedException(found)) =
                error.as_service_error()
            else {
                return Err(classify(error));
            };
            let found = found.item().cloned().unwrap_or_default();
            let of = |name: &str| number_of(&found, name);
            if of(counter.attribute()).unwrap_or_default() >= room {
                return Ok(ShardResult::QuotaExceeded(left_in(&found, window)));
            }
            let seen = window_of(&found);
            if seen == Some(window.number) && of(&slot).unwrap_or_default() >= burst {
                return Ok(ShardResult::RateExceeded(left_in(&found, window)));
            }
            // Another function's clock is ahead, or the window ended after this event arrived. The
            // event is counted in the newer window, whose count must not be reset.
            if let Some(newer) = seen.filter(|seen| *seen > window.number) {
                window.number = newer;
                continue;
            }
            // The name belongs to an old window, or the item changed concurrently: repeat the write
            // in the matching form.
            taken_by = seen.filter(|seen| *seen != window.number && of(&slot).is_some());
        }
        Err(Error::Unavailable(
            "the admission counter keeps changing".into(),
        ))
    }

    /// The write that counts. `taken_by` is the old window that has the same name.
    fn count_update(
        &self,
        place: CounterShard,
        (room, burst): (u64, u64),
        window: Window,
        taken_by: Option<i64>,
    ) -> UpdateItemFluentBuilder {
        let (slot, counter) = (window.slot(), place.counter.attribute());
        let others = REMOVE_OTHER_WINDOWS
            .get(usize::from(slot))
            .map_or("", String::as_str);
        let set = "SET active_hour = :hour, #at = :window";
        let has_room = format!("(attribute_not_exists({counter}) OR {counter} < :room)");
        let request = self
            .store
            .client
            .update_item()
            .table_name(&self.store.table)
            .set_key(Some(
                keys::usage(self.tenant, place.at, place.shard).attributes(),
            ))
            .expression_attribute_names("#at", "at")
            .expression_attribute_values(":one", number(1))
            .expression_attribute_values(":room", number(room))
            .expression_attribute_values(":window", number(window.number))
            .expression_attribute_values(
                ":hour",
                AttributeValue::S(keys::active_hour(self.tenant, place.at)),
            )
            .return_values(ReturnValue::UpdatedNew)
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .return_consumed_capacity(ReturnConsumedCapacity::Indexes);
        match taken_by {
            None => request
                .update_expression(format!("ADD {counter} :one, w{slot} :one {set} {others}"))
                .condition_expression(format!(
                    "{has_room} AND (attribute_not_exists(#at) OR #at <= :window) AND (attribute_not_exists(w{slot}) OR (#at = :window AND w{slot} < :burst))"
                ))
                .expression_attribute_values(":burst", number(burst)),
            Some(seen) => request
                .update_expression(format!("ADD {counter} :one {set}, w{slot} = :one {others}"))
                .condition_expression(format!("{has_room} AND #at = :seen"))
                .expression_attribute_values(":seen", number(seen)),
        }
    }

    /// Reverts the count of an event that was a duplicate or was not accepted. The count of its
    /// window is not reverted.
    ///
    /// # Errors
    ///
    /// When the table is unavailable.
    pub async fn revert_admission(&self, place: CounterShard) -> Result<(), Error> {
        self.decrement(place.at, place.shard, place.counter).await
    }

    /// The counter of suspended runs accepted at `at`.
    pub(super) fn suspended_counter(&self, at: Timestamp) -> keys::Key {
        keys::usage(self.tenant, at, 0)
    }

    async fn decrement(&self, at: Timestamp, shard: u8, counter: Counter) -> Result<(), Error> {
        let counter = counter.attribute();
        let result = self
            .store
            .client
            .update_item()
            .table_name(&self.store.table)
            .set_key(Some(keys::usage(self.tenant, at, shard).attributes()))
            .update_expression(format!("ADD {counter} :one"))
            .condition_expression(format!("{counter} > :none"))
            .expression_attribute_values(":one", number(-1))
            .expression_attribute_values(":none", number(0))
            .send()
            .await
            .map(|_| ())
            .map_err(classify);
        match result {
            // The counter is already zero.
            Err(Error::Conflict) => Ok(()),
            other => other,
        }
    }

    /// The tenant's usage in the month of `now`.
    ///
    /// # Errors
    ///
    /// When the table is unavailable.
    pub async fn usage(&self, limits: &Limits, now: Timestamp) -> Result<Usage, Error> {
        let read = async |shard: u8| {
            let key = keys::usage(self.tenant, now, shard);
            self.store.item(&key, true).await
        };
        let items: Vec<Option<Item>> = try_join_all((0..limits.shards).map(read)).await?;
        let sum = |name: &str| {
            items
                .iter()
                .flatten()
                .map(|item| number_of(item, name).unwrap_or_default())
                .sum()
        };
        Ok(Usage {
            runs: sum("runs"),
            suspended: sum("suspended"),
        })
    }
}
