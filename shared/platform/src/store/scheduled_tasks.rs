//! Scheduled tasks of tenants: an item in the tenant's partition, found by its hour in the index
//! `active`. After running a task, the reconciler deletes the item, unless it was scheduled again
//! in the meantime.

use aias_domain::id::TenantId;
use aws_sdk_dynamodb::types::AttributeValue;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use jiff::{SignedDuration, Timestamp};

use super::{
    Error, Proof, Store, TenantStore, classify,
    items::{Item, KIND, number, number_of, string_of},
    keys::{self, PK, SK},
};
use crate::clock::random;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Task {
    /// Apply a change of plan.
    ApplyPlan,
    /// Resume suspended runs.
    Resume,
    /// Report completed runs to Stripe.
    Meter,
}

impl Task {
    const ALL: [Self; 3] = [Self::ApplyPlan, Self::Resume, Self::Meter];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::ApplyPlan => "SETTLE",
            Self::Resume => "RESUME",
            Self::Meter => "METER",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ScheduledTask {
    /// For the reconciler only.
    pub proof: Proof,
    pub tenant_id: TenantId,
    pub task: Task,
}

/// When a task is scheduled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskSchedule {
    pub at: Timestamp,
    revision: String,
}

const DUE_AT: &str = "due_at";

/// Changes whenever the task is scheduled, so that scheduling it while it runs is not lost.
const REVISION: &str = "revision";

fn revision() -> AttributeValue {
    AttributeValue::S(hex::encode(random::<8>()))
}

pub(super) fn item(tenant: TenantId, task: Task, at: Timestamp) -> Item {
    let mut item = keys::scheduled_task(tenant, task).attributes();
    item.insert(KIND.to_owned(), AttributeValue::S("due".to_owned()));
    item.insert(DUE_AT.to_owned(), number(at.as_millisecond()));
    item.insert(REVISION.to_owned(), revision());
    item.insert(
        "active_hour".to_owned(),
        AttributeValue::S(keys::task_hour(at)),
    );
    item
}

/// The most attempts to schedule a task while others delete it.
const ATTEMPTS: usize = 4;

impl TenantStore<'_> {
    /// Schedules a task, or moves it to an earlier time. Data that the task reads must be written
    /// before.
    ///
    /// # Errors
    ///
    /// When the table is unavailable.
    pub async fn schedule_task(&self, task: Task, at: Timestamp) -> Result<(), Error> {
        for _ in 0..ATTEMPTS {
            let sooner = self
                .store
                .client
                .put_item()
                .table_name(&self.store.table)
                .set_item(Some(item(self.tenant, task, at)))
                .condition_expression("attribute_not_exists(PK) OR due_at > :at")
                .expression_attribute_values(":at", number(at.as_millisecond()))
                .send()
                .await
                .map(|_| ())
                .map_err(classify);
            match sooner {
                Err(Error::Conflict) => {}
                other => return other,
            }
            let again = self
                .store
                .client
                .update_item()
                .table_name(&self.store.table)
                .set_key(Some(keys::scheduled_task(self.tenant, task).attributes()))
                .update_expression("SET #revision = :revision")
                .condition_expression("attribute_exists(PK)")
                .expression_attribute_names("#revision", REVISION)
                .expression_attribute_values(":revision", revision())
                .send()
                .await
                .map(|_| ())
                .map_err(classify);
            match again {
                Err(Error::Conflict) => {}
                other => return other,
            }
        }
        Err(Error::Conflict)
    }

    /// When a task is scheduled, if it is.
    ///
    /// # Errors
    ///
    /// When the table is unavailable.
    pub async fn task_schedule(&self, task: Task) -> Result<Option<TaskSchedule>, Error> {
        let found = self
            .store
            .item(&keys::scheduled_task(self.tenant, task), true)
            .await?;
        Ok(found.and_then(|item| {
            let ms = i64::try_from(number_of(&item, DUE_AT)?).ok()?;
            Some(TaskSchedule {
                at: Timestamp::from_millisecond(ms).ok()?,
                revision: string_of(&item, REVISION)?.to_owned(),
            })
        }))
    }

    /// Reschedules a task for `next`, or deletes it, unless it was scheduled again since `read`.
    ///
    /// # Errors
    ///
    /// When the table is unavailable.
    pub async fn finish_task(
        &self,
        task: Task,
        read: &TaskSchedule,
        next: Option<Timestamp>,
    ) -> Result<(), Error> {
        let table = &self.store.table;
        let condition = "#revision = :read";
        let seen = AttributeValue::S(read.revision.clone());
        let result = match next {
            Some(next) => self
                .store
                .client
                .put_item()
                .table_name(table)
                .set_item(Some(item(self.tenant, task, next)))
                .condition_expression(condition)
                .expression_attribute_names("#revision", REVISION)
                .expression_attribute_values(":read", seen)
                .send()
                .await
                .map(|_| ())
                .map_err(classify),
            None => self
                .store
                .client
                .delete_item()
                .table_name(table)
                .set_key(Some(keys::scheduled_task(self.tenant, task).attributes()))
                .condition_expression(condition)
                .expression_attribute_names("#revision", REVISION)
                .expression_attribute_values(":read", seen)
                .send()
                .await
                .map(|_| ())
                .map_err(classify),
        };
        match result {
            // It was scheduled again in the meantime.
            Err(Error::Conflict) => Ok(()),
            other => other,
        }
    }
}

/// How many hours back each pass reads, and how many the passes in the first minutes of an hour
/// read, to find tasks missed during an outage.
const LOOK_BACK: i64 = 2;
const LONG_LOOK_BACK: i64 = 24 * 7;

/// How many hours are read concurrently.
const AT_ONCE: usize = 16;

impl Store {
    /// Tasks of all tenants that may be due. The task's item has the exact time.
    ///
    /// # Errors
    ///
    /// When the table is unavailable.
    pub async fn scheduled_tasks(&self, now: Timestamp) -> Result<Vec<ScheduledTask>, Error> {
        let found = items_of_hours(self, now).await?;
        Ok(found.iter().filter_map(scheduled_task_of).collect())
    }
}

/// The keys of the items scheduled in the hours up to now.
pub(super) async fn items_of_hours(store: &Store, now: Timestamp) -> Result<Vec<Item>, Error> {
    let minute = now.as_second().rem_euclid(3600) / 60;
    let hours = if minute < 2 {
        LONG_LOOK_BACK
    } else {
        LOOK_BACK
    };
    let keys = (0..=hours).map(|hour| keys::task_hour(now - SignedDuration::from_hours(hour)));
    let found: Vec<Vec<Item>> = stream::iter(keys)
        .map(|hour| store.of_hour(hour))
        .buffered(AT_ONCE)
        .try_collect()
        .await?;
    Ok(found.into_iter().flatten().collect())
}

fn scheduled_task_of(item: &Item) -> Option<ScheduledTask> {
    let tenant_id = keys::tenant_of(string_of(item, PK)?)?;
    let sk = string_of(item, SK)?;
    let task = Task::ALL
        .into_iter()
        .find(|task| keys::scheduled_task(tenant_id, *task).sk == sk)?;
    Some(ScheduledTask {
        proof: Proof::new(tenant_id),
        tenant_id,
        task,
    })
}
