//! Completed runs that were reported to the payment provider: how many of each hour, and what is on
//! its way.

use aias_domain::{
    id::{RUN_SHARDS, RunId},
    run::Status,
};
use aws_sdk_dynamodb::types::{AttributeValue, Select};
use futures_util::future::try_join_all;
use jiff::{SignedDuration, Timestamp, tz::TimeZone};
use serde::{Deserialize, Serialize};

use super::{
    Error, Stored, TenantStore, classify,
    items::{EXPIRES_AT, Put, RangeQuery, item, number, stored, value},
    keys,
    run_item::STATUS,
};

/// A report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// When it was made.
    pub at: Timestamp,
    /// How many completed runs of its hour had been reported before.
    pub from: u64,
    /// How many have been by it.
    pub to: u64,
}

/// An hour, by when its runs were accepted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hour {
    /// What was reported, the oldest first.
    #[serde(default)]
    pub reports: Vec<Report>,
    /// What may have been reported: it is reported again under the same name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sending: Option<Report>,
}

impl Hour {
    /// How many of its runs were reported.
    #[must_use]
    pub fn reported(&self) -> u64 {
        self.reports.last().map_or(0, |last| last.to)
    }
}

/// How far each look at the hours has come: the start of the next one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Meter {
    /// By look, the first of which is the soonest.
    pub next: Vec<Timestamp>,
    /// Whether hours are not metered at the moment.
    pub paused: bool,
}

/// How long a metered hour is remembered, in seconds: 400 days.
const REMEMBERED_SECONDS: i64 = 400 * 24 * 3600;

/// How many pages of runs one count reads at most.
const MAX_PAGES: usize = 10_000;

impl TenantStore<'_> {
    /// How far the tenant is metered.
    ///
    /// # Errors
    /// When the table does not answer.
    pub async fn meter(&self) -> Result<Option<Stored<Meter>>, Error> {
        let found = self.store.item(&keys::meter(self.tenant), true).await?;
        found.map(stored).transpose()
    }

    /// Writes how far the tenant is metered; version 0 when it was not.
    ///
    /// # Errors
    /// [`Error::Conflict`] when it has changed since it was read.
    pub async fn save_meter(&self, meter: &Stored<Meter>) -> Result<(), Error> {
        let own = item(&keys::meter(self.tenant), "meter", &meter.value)?;
        self.save(own, meter.version).await
    }

    async fn save(&self, item: super::items::Item, version: u64) -> Result<(), Error> {
        if version > 0 {
            return self.store.replace(item, version).await;
        }
        match self.store.create(item).await? {
            Put::Done => Ok(()),
            Put::Found(_) => Err(Error::Conflict),
        }
    }

    /// What was reported of the hour that begins at `at`.
    ///
    /// # Errors
    /// When the table does not answer.
    pub async fn metered_hour(&self, at: Timestamp) -> Result<Option<Stored<Hour>>, Error> {
        let key = keys::metered(self.tenant, at);
        let found = self.store.item(&key, true).await?;
        found.map(stored).transpose()
    }

    /// Writes what was reported of an hour; version 0 when nothing was.
    ///
    /// # Errors
    /// [`Error::Conflict`] when it has changed since it was read.
    pub async fn save_metered_hour(&self, at: Timestamp, hour: &Stored<Hour>) -> Result<(), Error> {
        let mut own = item(&keys::metered(self.tenant, at), "metered_hour", &hour.value)?;
        own.insert(
            EXPIRES_AT.to_owned(),
            number(at.as_second() + REMEMBERED_SECONDS),
        );
        self.save(own, hour.version).await
    }

    /// What was reported of the hours of the month of `at`.
    ///
    /// # Errors
    /// When the table does not answer.
    pub async fn metered_hours(&self, at: Timestamp) -> Result<Vec<Hour>, Error> {
        let query = RangeQuery {
            limit: 31 * 24,
            forward: true,
            ..RangeQuery::default()
        };
        let items = self
            .store
            .range(&keys::all_metered(self.tenant, at), query)
            .await?;
        items.into_iter().map(value).collect()
    }

    /// How many of the runs that were accepted in the hour that begins at `at` have completed.
    ///
    /// # Errors
    /// When the table does not answer.
    pub async fn completed_runs(&self, at: Timestamp) -> Result<u64, Error> {
        let last = at + SignedDuration::from_hours(1) - SignedDuration::from_millis(1);
        let (low, high) = (RunId::range_at(at).0, RunId::range_at(last).1);
        let day = at.to_zoned(TimeZone::UTC).date();
        let counts = (0..RUN_SHARDS).map(|shard| async move {
            let range = keys::runs(self.tenant, day, shard);
            let (mut count, mut start) = (0_u64, None);
            for _ in 0..MAX_PAGES {
                let answer = self
                    .store
                    .client
                    .query()
                    .table_name(&self.store.table)
                    .select(Select::Count)
                    .key_condition_expression("PK = :pk AND SK BETWEEN :low AND :high")
                    .filter_expression("#status = :completed")
                    .expression_attribute_names("#status", STATUS)
                    .expression_attribute_values(":pk", AttributeValue::S(range.pk.clone()))
                    .expression_attribute_values(
                        ":low",
                        AttributeValue::S(range.key(&low.to_string()).sk),
                    )
                    .expression_attribute_values(
                        ":high",
                        AttributeValue::S(range.key(&high.to_string()).sk),
                    )
                    .expression_attribute_values(
                        ":completed",
                        AttributeValue::S(Status::Completed.as_str().to_owned()),
                    )
                    .set_exclusive_start_key(start.take())
                    .send()
                    .await
                    .map_err(classify)?;
                count += u64::try_from(answer.count).unwrap_or_default();
                start = answer.last_evaluated_key;
                if start.is_none() {
                    break;
                }
            }
            Ok::<_, Error>(count)
        });
        Ok(try_join_all(counts).await?.into_iter().sum())
    }
}
