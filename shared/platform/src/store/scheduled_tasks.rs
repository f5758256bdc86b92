//! Scheduled tasks of tenants: an item in the tenant's partition, found by its hour in the index
//! `active`. After running a task, the reconciler deletes the item, unless it was scheduled again
//! in the meantime.

use aias_domain::id::TenantId;
use aws_sdk_dynamodb::types::AttributeValue;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use jiff::{SignedDuration, Timestamp};

use super::{
    Error, Proof, Store, TenantStore, Wake, classify,
    items::{Item, KIND, number, number_of, string_of},
    keys::{self, PK, SK},
    wakes,
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
        AttributeValue::S(keys::task_hour(tenant, at)),
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

/// How many hours back each pass reads, the passes in the first minutes of an hour, and those in the
/// first minutes of a day, to find what fails for hours or days.
const LOOK_BACK: i64 = 1;
const HOURLY_LOOK_BACK: i64 = 24;
const DAILY_LOOK_BACK: i64 = 24 * 7;

/// How many index keys are read concurrently.
const AT_ONCE: usize = 32;

/// What is due.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DueWork {
    /// The item of a task has its exact time.
    pub tasks: Vec<ScheduledTask>,
    pub wakes: Vec<Wake>,
}

enum Due {
    Task(ScheduledTask),
    Wake(Wake),
}

impl Store {
    /// The tasks of all tenants that may be due, and the wake-ups scheduled until `ahead` from now,
    /// including those in the past. `since` is the start of the last complete pass: after an
    /// outage, everything since then is read.
    ///
    /// # Errors
    ///
    /// When the table is unavailable.
    pub async fn due_work(
        &self,
        now: Timestamp,
        ahead: SignedDuration,
        since: Timestamp,
    ) -> Result<DueWork, Error> {
        let minute = now.as_second().rem_euclid(24 * 3600) / 60;
        let back = match (minute / 60, minute % 60) {
            (0, ..2) => DAILY_LOOK_BACK,
            (_, ..2) => HOURLY_LOOK_BACK,
            _ => LOOK_BACK,
        };
        let hour = |at: Timestamp| at.as_second().div_euclid(3600);
        let first = (hour(now) - back).min(hour(since));
        let keys = (first..=hour(now + ahead))
            .filter_map(|number| Timestamp::from_second(number * 3600).ok())
            .flat_map(keys::due_hours);
        let mut found = stream::iter(keys)
            .map(|key| self.of_hour(key, due))
            .buffered(AT_ONCE);
        let mut work = DueWork::default();
        while let Some(of_key) = found.try_next().await? {
            for due in of_key {
                match due {
                    Due::Task(task) => work.tasks.push(task),
                    Due::Wake(wake) if wake.at <= now + ahead => work.wakes.push(wake),
                    Due::Wake(_) => {}
                }
            }
        }
        Ok(work)
    }
}

fn due(item: &Item) -> Option<Due> {
    let task = scheduled_task_of(item).map(Due::Task);
    task.or_else(|| wakes::wake_of(item).map(Due::Wake))
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
