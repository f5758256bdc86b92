//! Metering: the completed runs of each hour that were reported to Stripe, and reports in progress.

use aias_domain::{id::RunId, run::Status};
use aws_sdk_dynamodb::types::{AttributeValue, Select};
use futures_util::future::try_join_all;
use jiff::{SignedDuration, Timestamp, tz::TimeZone};
use serde::{Deserialize, Serialize};

use super::{
    Error, Stored, TenantStore, classify,
    items::{EXPIRES_AT, PutResult, RangeQuery, item, number, stored, value},
    keys,
    run_item::STATUS,
};

/// A report to Stripe.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    pub at: Timestamp,
    /// Number of completed runs of the hour that were reported before.
    pub from: u64,
    /// Number of completed runs of the hour including this report.
    pub to: u64,
}

/// The metering of the runs accepted in one hour.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hour {
    /// Reports that Stripe has accepted, oldest first.
    #[serde(default)]
    pub reports: Vec<Report>,
    /// A report that Stripe may have received. It is sent again with the same identifier.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sending: Option<Report>,
}

impl Hour {
    /// Number of reported runs.
    #[must_use]
    pub fn reported(&self) -> u64 {
        self.reports.last().map_or(0, |last| last.to)
    }
}

/// The progress of metering.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Meter {
    /// The start of the next hour, per pass; the earliest pass first.
    pub next: Vec<Timestamp>,
    /// Whether metering is paused.
    pub paused: bool,
}

/// How long a metered hour is stored, in seconds: 400 days.
const REMEMBERED_SECONDS: i64 = 400 * 24 * 3600;

/// The most pages that one count reads.
const MAX_PAGES: usize = 10_000;

impl TenantStore<'_> {
    /// The progress of metering.
    ///
    /// # Errors
    ///
    /// When the table is unavailable.
    pub async fn meter(&self) -> Result<Option<Stored<Meter>>, Error> {
        let found = self.store.item(&keys::meter(self.tenant), true).await?;
        found.map(stored).transpose()
    }

    /// Writes the progress of metering; version 0 if there is none yet.
    ///
    /// # Errors
    ///
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
            PutResult::Written => Ok(()),
            PutResult::Exists(_) => Err(Error::Conflict),
        }
    }

    /// The reports of the hour that starts at `at`.
    ///
    /// # Errors
    ///
    /// When the table is unavailable.
    pub async fn metered_hour(&self, at: Timestamp) -> Result<Option<Stored<Hour>>, Error> {
        let key = keys::metered(self.tenant, at);
        let found = self.store.item(&key, true).await?;
        found.map(stored).transpose()
    }

    /// Writes the reports of an hour; version 0 if there are none yet.
    ///
    /// # Errors
    ///
    /// [`Error::Conflict`] when it has changed since it was read.
    pub async fn save_metered_hour(&self, at: Timestamp, hour: &Stored<Hour>) -> Result<(), Error> {
        let mut own = item(&keys::metered(self.tenant, at), "metered_hour", &hour.value)?;
        own.insert(
            EXPIRES_AT.to_owned(),
            number(at.as_second() + REMEMBERED_SECONDS),
        );
        self.save(own, hour.version).await
    }

    /// The reports of all hours in the month of `at`.
    ///
    /// # Errors
    ///
    /// When the table is unavailable.
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

    /// The number of completed runs among those accepted in the hour that starts at `at`.
    ///
    /// # Errors
    ///
    /// When the table is unavailable.
    pub async fn completed_runs(&self, at: Timestamp) -> Result<u64, Error> {
        let last = at + SignedDuration::from_hours(1) - SignedDuration::from_millis(1);
        let (low, high) = (RunId::range_at(at).0, RunId::range_at(last).1);
        let day = at.to_zoned(TimeZone::UTC).date();
        let counts = (0..self.run_shards).map(|shard| async move {
            let range = keys::runs(self.tenant, day, shard);
            let (mut count, mut start) = (0_u64, None);
            for _ in 0..MAX_PAGES {
                let response = self
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
                count += u64::try_from(response.count).unwrap_or_default();
                start = response.last_evaluated_key;
                if start.is_none() {
                    break;
                }
            }
            Ok::<_, Error>(count)
        });
        Ok(try_join_all(counts).await?.into_iter().sum())
    }
}
