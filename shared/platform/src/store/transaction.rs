//! Transactions: several writes, and which condition failed.

use std::{collections::HashMap, time::Duration};

use aws_sdk_dynamodb::{
    operation::transact_write_items::TransactWriteItemsError,
    types::{
        CancellationReason, Delete, Put, ReturnConsumedCapacity,
        ReturnValuesOnConditionCheckFailure, TransactWriteItem, Update,
    },
};

use aias_domain::counted::CountedFeature;
use jiff::Timestamp;

use super::{
    Error, Store, classify,
    idempotency::{self, Idempotency},
    items::{Item, VERSION, number, number_of},
    keys::Key,
    transaction_error::TransactionError,
};
use crate::clock::random;

/// The most attempts of a transaction that conflicts with another.
const ATTEMPTS: u32 = 8;

enum Step {
    Plain,
    Count(CountedFeature),
    LastOwner,
    ConcurrencyLimit,
    CreatedTenants,
    Once,
    Idempotency(Box<Idempotency>),
}

pub(super) struct Transaction<'a> {
    store: &'a Store,
    writes: Vec<TransactWriteItem>,
    steps: Vec<Step>,
    built: Result<(), Error>,
}

impl<'a> Transaction<'a> {
    pub(super) fn new(store: &'a Store) -> Self {
        Self {
            store,
            writes: Vec::new(),
            steps: Vec::new(),
            built: Ok(()),
        }
    }

    fn push<E>(mut self, step: Step, write: Result<TransactWriteItem, E>) -> Self
    where
        E: std::error::Error + Send + Sync + 'static,
    {
        match write {
            Ok(write) => {
                self.writes.push(write);
                self.steps.push(step);
            }
            Err(error) => self.built = Err(Error::Broken(Box::new(error))),
        }
        self
    }

    /// Writes an item that must not exist.
    pub(super) fn create(self, item: Item) -> Self {
        self.create_as(Step::Plain, item)
    }

    /// Writes the id of an event, which must not exist.
    pub(super) fn once(self, item: Item) -> Self {
        self.create_as(Step::Once, item)
    }

    fn create_as(self, step: Step, item: Item) -> Self {
        let put = Put::builder()
            .table_name(&self.store.table)
            .set_item(Some(item))
            .condition_expression("attribute_not_exists(PK)")
            .build()
            .map(|put| TransactWriteItem::builder().put(put).build());
        self.push(step, put)
    }

    /// Writes an item unconditionally.
    pub(super) fn put(self, item: Item) -> Self {
        let put = Put::builder()
            .table_name(&self.store.table)
            .set_item(Some(item))
            .build()
            .map(|put| TransactWriteItem::builder().put(put).build());
        self.push(Step::Plain, put)
    }

    /// Writes an item that must have this version; 0 if it must not exist.
    pub(super) fn save(self, item: Item, version: u64) -> Self {
        match version {
            0 => self.create(item),
            version => self.replace(item, version),
        }
    }

    /// Changes an item by an update expression with a condition. `#name` stands for the attribute
    /// `name`, since DynamoDB reserves some names.
    pub(super) fn update(self, key: &Key, update: &str, condition: &str, values: Item) -> Self {
        let names = update
            .split(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == '#'))
            .filter_map(|word| Some((word.to_owned(), word.strip_prefix('#')?.to_owned())))
            .collect::<HashMap<String, String>>();
        // DynamoDB refuses an empty map.
        let names = Some(names).filter(|names| !names.is_empty());
        let update = Update::builder()
            .table_name(&self.store.table)
            .set_key(Some(key.attributes()))
            .update_expression(update)
            .condition_expression(condition)
            .set_expression_attribute_names(names)
            .set_expression_attribute_values(Some(values))
            .build()
            .map(|update| TransactWriteItem::builder().update(update).build());
        self.push(Step::Plain, update)
    }

    /// Removes an attribute of an existing item.
    pub(super) fn remove(self, key: &Key, attribute: &str) -> Self {
        let update = Update::builder()
            .table_name(&self.store.table)
            .set_key(Some(key.attributes()))
            .update_expression(format!("REMOVE {attribute}"))
            .condition_expression("attribute_exists(PK)")
            .build()
            .map(|update| TransactWriteItem::builder().update(update).build());
        self.push(Step::Plain, update)
    }

    /// Increments the count of running runs, if it is less than `limit`.
    pub(super) fn start_running(self, key: &Key, limit: u64) -> Self {
        let update = Update::builder()
            .table_name(&self.store.table)
            .set_key(Some(key.attributes()))
            .update_expression("ADD running :one")
            .condition_expression(
                ":limit > :none AND (attribute_not_exists(running) OR running < :limit)",
            )
            .expression_attribute_values(":one", number(1))
            .expression_attribute_values(":none", number(0))
            .expression_attribute_values(":limit", number(limit))
            .build()
            .map(|update| TransactWriteItem::builder().update(update).build());
        self.push(Step::ConcurrencyLimit, update)
    }

    /// Decrements the count of running runs.
    pub(super) fn stop_running(self, key: &Key) -> Self {
        let update = Update::builder()
            .table_name(&self.store.table)
            .set_key(Some(key.attributes()))
            .update_expression("ADD running :one")
            .expression_attribute_values(":one", number(-1))
            .build()
            .map(|update| TransactWriteItem::builder().update(update).build());
        self.push(Step::Plain, update)
    }

    /// Counts a tenant that a user creates, if the user has created fewer than `limit` in this month.
    pub(super) fn count_created_tenant(self, key: &Key, limit: u64, expires_at: Timestamp) -> Self {
        let update = Update::builder()
            .table_name(&self.store.table)
            .set_key(Some(key.attributes()))
            .update_expression("ADD created :one SET expires_at = :expires_at")
            .condition_expression("attribute_not_exists(created) OR created < :limit")
            .expression_attribute_values(":one", number(1))
            .expression_attribute_values(":limit", number(limit))
            .expression_attribute_values(":expires_at", number(expires_at.as_second()))
            .build()
            .map(|update| TransactWriteItem::builder().update(update).build());
        self.push(Step::CreatedTenants, update)
    }

    /// Decrements the count of suspended runs, which must not be zero.
    pub(super) fn uncount_suspended(self, key: &Key) -> Self {
        let values = [(":one", -1), (":none", 0)];
        let values = values.map(|(name, value)| (name.to_owned(), number(value)));
        let condition = "suspended > :none";
        self.update(key, "ADD suspended :one", condition, values.into())
    }

    /// Replaces an item that must have this version.
    pub(super) fn replace(self, mut item: Item, version: u64) -> Self {
        item.insert(VERSION.to_owned(), number(version + 1));
        let put = Put::builder()
            .table_name(&self.store.table)
            .set_item(Some(item))
            .condition_expression("#version = :read")
            .expression_attribute_names("#version", VERSION)
            .expression_attribute_values(":read", number(version))
            .build()
            .map(|put| TransactWriteItem::builder().put(put).build());
        self.push(Step::Plain, put)
    }

    /// Deletes an item that must exist.
    pub(super) fn delete(self, key: &Key) -> Self {
        let delete = Delete::builder()
            .table_name(&self.store.table)
            .set_key(Some(key.attributes()))
            .condition_expression("attribute_exists(PK)")
            .build()
            .map(|delete| TransactWriteItem::builder().delete(delete).build());
        self.push(Step::Plain, delete)
    }

    /// Deletes an item that must have this version.
    pub(super) fn delete_read(self, key: &Key, version: u64) -> Self {
        let delete = Delete::builder()
            .table_name(&self.store.table)
            .set_key(Some(key.attributes()))
            .condition_expression("#version = :read")
            .expression_attribute_names("#version", VERSION)
            .expression_attribute_values(":read", number(version))
            .build()
            .map(|delete| TransactWriteItem::builder().delete(delete).build());
        self.push(Step::Plain, delete)
    }

    /// Increments a counter of the tenant, if it is less than `limit` and the tenant is not being
    /// deleted.
    pub(super) fn count_up(self, tenant: &Key, count: CountedFeature, limit: u64) -> Self {
        let condition = "attribute_exists(PK) AND attribute_not_exists(deleted_at) AND (attribute_not_exists(#count) OR #count < :limit)";
        let update = Update::builder()
            .table_name(&self.store.table)
            .set_key(Some(tenant.attributes()))
            .update_expression("ADD #count :one")
            .condition_expression(condition)
            .expression_attribute_names("#count", count.feature())
            .expression_attribute_values(":one", number(1))
            .expression_attribute_values(":limit", number(limit))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .build()
            .map(|update| TransactWriteItem::builder().update(update).build());
        self.push(Step::Count(count), update)
    }

    /// Decrements a counter of the tenant; at least one owner must remain.
    pub(super) fn count_down(self, tenant: &Key, count: CountedFeature) -> Self {
        let (floor, step) = match count {
            CountedFeature::Owners => (1, Step::LastOwner),
            CountedFeature::Workflows
            | CountedFeature::Endpoints
            | CountedFeature::Members
            | CountedFeature::ApiKeys
            | CountedFeature::Secrets => (0, Step::Plain),
        };
        let update = Update::builder()
            .table_name(&self.store.table)
            .set_key(Some(tenant.attributes()))
            .update_expression("ADD #count :one")
            .condition_expression("#count > :none")
            .expression_attribute_names("#count", count.feature())
            .expression_attribute_values(":one", number(-1))
            .expression_attribute_values(":none", number(floor))
            .build()
            .map(|update| TransactWriteItem::builder().update(update).build());
        self.push(step, update)
    }

    /// Counts a member with the role `owner`; a transaction can change an item only once.
    pub(super) fn count_members_and_owners(self, tenant: &Key, limit: u64) -> Self {
        let condition =
            "attribute_exists(PK) AND attribute_not_exists(deleted_at) AND #count < :limit";
        let update = Update::builder()
            .table_name(&self.store.table)
            .set_key(Some(tenant.attributes()))
            .update_expression("ADD #count :one, #owners :one")
            .condition_expression(condition)
            .expression_attribute_names("#count", CountedFeature::Members.feature())
            .expression_attribute_names("#owners", CountedFeature::Owners.feature())
            .expression_attribute_values(":one", number(1))
            .expression_attribute_values(":limit", number(limit))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .build()
            .map(|update| TransactWriteItem::builder().update(update).build());
        self.push(Step::Count(CountedFeature::Members), update)
    }

    /// Decrements the counters of members and owners; at least one owner must remain.
    pub(super) fn uncount_member_and_owner(self, tenant: &Key) -> Self {
        let update = Update::builder()
            .table_name(&self.store.table)
            .set_key(Some(tenant.attributes()))
            .update_expression("ADD #count :one, #owners :one")
            .condition_expression("#owners > :last")
            .expression_attribute_names("#count", CountedFeature::Members.feature())
            .expression_attribute_names("#owners", CountedFeature::Owners.feature())
            .expression_attribute_values(":one", number(-1))
            .expression_attribute_values(":last", number(1))
            .build()
            .map(|update| TransactWriteItem::builder().update(update).build());
        self.push(Step::LastOwner, update)
    }

    /// Stores the response to a request with an `Idempotency-Key`.
    pub(super) fn response(self, idempotency: Option<Idempotency>) -> Self {
        let Some(idempotency) = idempotency else {
            return self;
        };
        let put = Put::builder()
            .table_name(&self.store.table)
            .set_item(Some(idempotency.item()))
            // DynamoDB deletes expired items late.
            .condition_expression("attribute_not_exists(PK) OR expires_at < :now")
            .expression_attribute_values(":now", number(idempotency.now.as_second()))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .build()
            .map(|put| TransactWriteItem::builder().put(put).build());
        self.push(Step::Idempotency(Box::new(idempotency)), put)
    }

    /// Commits the transaction, or returns which condition failed. A stored response takes
    /// precedence, since a repeated request conflicts with every item that it created the first
    /// time.
    pub(super) async fn commit(self) -> Result<(), TransactionError> {
        self.built?;
        let mut pause = Duration::from_millis(5);
        for attempt in 1.. {
            let request = self.store.client.transact_write_items();
            let result = request
                .set_transact_items(Some(self.writes.clone()))
                .return_consumed_capacity(ReturnConsumedCapacity::Total)
                .send()
                .await;
            let Err(error) = result else {
                return Ok(());
            };
            let Some(TransactWriteItemsError::TransactionCanceledException(cancelled)) =
                error.as_service_error()
            else {
                return Err(TransactionError::Store(classify(error)));
            };
            let reasons = cancelled.cancellation_reasons().to_vec();
            if let Some(refused) = explain(&self.steps, reasons)? {
                return Err(refused);
            }
            if attempt == ATTEMPTS {
                break;
            }
            let [jitter] = random::<1>();
            tokio::time::sleep(pause + Duration::from_millis(u64::from(jitter) / 16)).await;
            pause *= 2;
        }
        Err(TransactionError::Store(Error::Unavailable(
            "the transaction keeps conflicting with others".into(),
        )))
    }
}

/// The condition that failed; none if the transaction only conflicted with another one.
fn explain(
    steps: &[Step],
    reasons: Vec<CancellationReason>,
) -> Result<Option<TransactionError>, Error> {
    let mut found = None;
    for (step, reason) in steps.iter().zip(reasons) {
        if reason.code() != Some("ConditionalCheckFailed") {
            continue;
        }
        let item = reason.item.unwrap_or_default();
        match step {
            Step::Idempotency(idempotency) => {
                return Ok(Some(TransactionError::Repeated(Box::new(
                    idempotency::stored(idempotency, &item)?,
                ))));
            }
            Step::Count(count) => {
                let gone = item.is_empty() || item.contains_key("deleted_at");
                found = Some(if gone {
                    TransactionError::NoTenant
                } else {
                    let used = number_of(&item, count.feature()).unwrap_or_default();
                    TransactionError::Limit {
                        count: *count,
                        used,
                    }
                });
            }
            Step::LastOwner => found = Some(TransactionError::LastOwner),
            Step::CreatedTenants => found = Some(TransactionError::TooManyTenants),
            Step::Once => return Ok(Some(TransactionError::AlreadyApplied)),
            Step::ConcurrencyLimit => {
                found.get_or_insert(TransactionError::ConcurrencyLimit);
            }
            Step::Plain => {
                found.get_or_insert(TransactionError::Conflict);
            }
        }
    }
    Ok(found)
}
