//! Lists of runs, which merge the shards of a day.

use aias_domain::{
    id::{EndpointId, RUN_SHARDS, RunId, WorkflowId},
    run::{Run, Status},
};
use aws_sdk_dynamodb::types::AttributeValue;
use futures_util::future::join_all;
use jiff::{SignedDuration, Timestamp, civil::Date, tz::TimeZone};

use super::{
    Cursor, Error, Page, TenantStore, keys,
    run_item::{ARTIFACTS, ENDPOINT, STATUS, WORKFLOW, run_of},
};

/// A filter for a list of runs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RunFilter {
    pub workflow_id: Option<WorkflowId>,
    pub endpoint_id: Option<EndpointId>,
    pub status: Option<Status>,
    /// Inclusive.
    pub from: Option<Timestamp>,
    /// Exclusive.
    pub to: Option<Timestamp>,
    /// Only runs with an artifact.
    pub with_artifacts: bool,
}

/// The most days without a run that one request reads.
const MAX_DAYS: usize = 31;

const MAX_SHARD_PAGES: usize = 50;

fn utc_day(at: Timestamp) -> Date {
    at.to_zoned(TimeZone::UTC).date()
}

impl TenantStore<'_> {
    /// A page of runs, newest first. `oldest` bounds the range that is read.
    ///
    /// After a long time without runs, a page may be shorter than requested and still have a
    /// cursor.
    ///
    /// # Errors
    ///
    /// When the table is unavailable.
    pub async fn runs(
        &self,
        filter: &RunFilter,
        limit: usize,
        after: Option<&Cursor>,
        (oldest, newest): (Timestamp, Timestamp),
    ) -> Result<Page<Run>, Error> {
        let after: Option<RunId> = after.and_then(|cursor| cursor.position().parse().ok());
        let newest = filter.to.map_or(newest, |to| to.min(newest));
        let oldest = filter.from.map_or(oldest, |from| from.max(oldest));
        // `to` is exclusive, and the run of a cursor was on the previous page.
        let before = match (after, filter.to) {
            (Some(run), _) => run,
            (None, Some(to)) => RunId::range_at(to).0,
            (None, None) => RunId::range_at(newest + SignedDuration::from_hours(1)).1,
        };
        let low = RunId::range_at(oldest).0;
        // DynamoDB refuses a range whose upper bound is below its lower bound.
        if before <= low {
            return Ok(Page {
                items: Vec::new(),
                next: None,
            });
        }
        let mut day = utc_day(before.created_at());
        let last_day = utc_day(oldest);
        let mut found: Vec<Run> = Vec::new();
        for _ in 0..MAX_DAYS {
            if day < last_day {
                return Ok(Page::cut(found, limit, |run| run.id.to_string()));
            }
            let shards = (0..RUN_SHARDS)
                .map(|shard| self.shard(filter, day, shard, limit + 1, (low, before)));
            for runs in join_all(shards).await {
                found.extend(runs?);
            }
            found.sort_unstable_by_key(|run| std::cmp::Reverse(run.id));
            if found.len() > limit {
                return Ok(Page::cut(found, limit, |run| run.id.to_string()));
            }
            let Ok(yesterday) = day.yesterday() else {
                break;
            };
            day = yesterday;
        }
        // The start of the last day that was read.
        let start = day
            .tomorrow()
            .unwrap_or(day)
            .to_zoned(TimeZone::UTC)
            .map_or(oldest, |zoned| zoned.timestamp());
        let next = Some(Cursor(RunId::range_at(start).0.to_string()));
        Ok(Page { items: found, next })
    }

    /// The runs of one partition between two ids, both exclusive, newest first.
    async fn shard(
        &self,
        filter: &RunFilter,
        day: Date,
        shard: u8,
        limit: usize,
        (low, before): (RunId, RunId),
    ) -> Result<Vec<Run>, Error> {
        let range = keys::runs(self.tenant, day, shard);
        let mut conditions = Vec::new();
        let mut request = self
            .store
            .client
            .query()
            .table_name(&self.store.table)
            .key_condition_expression("PK = :pk AND SK BETWEEN :low AND :high")
            .expression_attribute_values(":pk", AttributeValue::S(range.pk.clone()))
            .expression_attribute_values(":low", AttributeValue::S(range.key(&low.to_string()).sk))
            .expression_attribute_values(
                ":high",
                AttributeValue::S(range.key(&before.to_string()).sk),
            )
            .scan_index_forward(false)
            .limit(i32::try_from(limit + 1).unwrap_or(i32::MAX));
        let text = |text: String| AttributeValue::S(text);
        if let Some(id) = filter.workflow_id {
            conditions.push("#workflow = :workflow");
            request = request
                .expression_attribute_names("#workflow", WORKFLOW)
                .expression_attribute_values(":workflow", text(id.to_string()));
        }
        if let Some(id) = filter.endpoint_id {
            conditions.push("#endpoint = :endpoint");
            request = request
                .expression_attribute_names("#endpoint", ENDPOINT)
                .expression_attribute_values(":endpoint", text(id.to_string()));
        }
        if let Some(status) = filter.status {
            conditions.push("#status = :status");
            request = request
                .expression_attribute_names("#status", STATUS)
                .expression_attribute_values(":status", text(status.as_str().to_owned()));
        }
        if filter.with_artifacts {
            conditions.push("attribute_exists(#artifacts)");
            request = request.expression_attribute_names("#artifacts", ARTIFACTS);
        }
        if !conditions.is_empty() {
            request = request.filter_expression(conditions.join(" AND "));
        }
        let mut runs = Vec::new();
        let mut start = None;
        // Bounded: a filter without matches reads a shard's whole day in pages of 1 MiB.
        for _ in 0..MAX_SHARD_PAGES {
            let response = request
                .clone()
                .set_exclusive_start_key(start)
                .send()
                .await
                .map_err(super::classify)?;
            for item in response.items.unwrap_or_default() {
                let run = run_of(item)?.run;
                // The range of the query includes its end.
                if run.id < before {
                    runs.push(run);
                }
            }
            start = response.last_evaluated_key;
            if start.is_none() || runs.len() >= limit {
                break;
            }
        }
        runs.truncate(limit);
        Ok(runs)
    }
}
