//! Lists of runs, which merge the shards of a day.

use aias_domain::{
    id::{EndpointId, RunId, WorkflowId},
    run::{Run, Status, Trigger},
};
use aws_sdk_dynamodb::{operation::query::builders::QueryFluentBuilder, types::AttributeValue};
use futures_util::future::join_all;
use jiff::{SignedDuration, Timestamp, civil::Date, tz::TimeZone};

use super::{
    Cursor, Error, Page, TenantStore, keys,
    run_item::{ARTIFACTS, ENDPOINT, STATUS, WORKFLOW, run_id_of, run_of},
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
    /// Only runs of the event with this id.
    pub event_id: Option<String>,
    /// Only runs of events with this type.
    pub event_type: Option<String>,
}

impl RunFilter {
    /// Whether DynamoDB filters the items of a range.
    fn is_selective(&self) -> bool {
        self.workflow_id.is_some()
            || self.endpoint_id.is_some()
            || self.status.is_some()
            || self.with_artifacts
            || self.event_id.is_some()
            || self.event_type.is_some()
    }

    /// The part of the filter that DynamoDB cannot apply, because the attribute is compressed.
    fn takes(&self, run: &Run) -> bool {
        self.event_id
            .as_deref()
            .is_none_or(|wanted| run.trigger.event_id() == Some(wanted))
            && self
                .event_type
                .as_deref()
                .is_none_or(|wanted| run.trigger.event_type() == Some(wanted))
    }

    /// Whether a run matches.
    #[must_use]
    pub fn matches(&self, run: &Run) -> bool {
        let endpoint = match &run.trigger {
            Trigger::Webhook { endpoint_id, .. } => Some(*endpoint_id),
            Trigger::Api | Trigger::Replay { .. } | Trigger::Workflow { .. } => None,
        };
        self.workflow_id.is_none_or(|id| run.workflow_id == id)
            && self.endpoint_id.is_none_or(|id| endpoint == Some(id))
            && self.status.is_none_or(|status| run.status == status)
            && self.from.is_none_or(|from| run.created_at >= from)
            && self.to.is_none_or(|to| run.created_at < to)
            && (!self.with_artifacts || !run.artifacts.is_empty())
            && self.takes(run)
    }
}

/// The runs of a range in one shard, newest first.
struct ShardRuns {
    runs: Vec<Run>,
    /// The run at which reading stopped before the end of the range: older runs were not read.
    stopped_at: Option<RunId>,
}

/// The most days without a run that one request reads.
const MAX_DAYS: usize = 31;

/// The most pages of 1 MiB that one request reads of a shard's day.
const MAX_SHARD_PAGES: usize = 10;

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
            let shards = (0..self.run_shards)
                .map(|shard| self.shard(filter, day, shard, limit + 1, (low, before)));
            let mut stopped_at = None;
            for shard in join_all(shards).await {
                let shard = shard?;
                found.extend(shard.runs);
                stopped_at = stopped_at.max(shard.stopped_at);
            }
            // Runs that are older than a run at which a shard stopped are not complete.
            found.retain(|run| stopped_at.is_none_or(|stopped| run.id >= stopped));
            found.sort_unstable_by_key(|run| std::cmp::Reverse(run.id));
            if found.len() > limit {
                return Ok(Page::cut(found, limit, |run| run.id.to_string()));
            }
            if let Some(stopped) = stopped_at {
                return Ok(Page {
                    items: found,
                    next: Some(Cursor(stopped.to_string())),
                });
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

    /// A query of one partition between two ids, newest first.
    pub(super) fn partition(
        &self,
        day: Date,
        shard: u8,
        (low, high): (RunId, RunId),
    ) -> QueryFluentBuilder {
        let range = keys::runs(self.tenant, day, shard);
        let key = |id: RunId| AttributeValue::S(range.key(&id.to_string()).sk);
        self.store
            .client
            .query()
            .table_name(&self.store.table)
            .key_condition_expression("PK = :pk AND SK BETWEEN :low AND :high")
            .expression_attribute_values(":pk", AttributeValue::S(range.pk.clone()))
            .expression_attribute_values(":low", key(low))
            .expression_attribute_values(":high", key(high))
            .scan_index_forward(false)
    }

    /// The runs of one partition between two ids, both exclusive, newest first.
    async fn shard(
        &self,
        filter: &RunFilter,
        day: Date,
        shard: u8,
        limit: usize,
        (low, before): (RunId, RunId),
    ) -> Result<ShardRuns, Error> {
        let mut conditions = Vec::new();
        let mut request = self.partition(day, shard, (low, before));
        // DynamoDB counts items before it filters them.
        if !filter.is_selective() {
            request = request.limit(i32::try_from(limit + 1).unwrap_or(i32::MAX));
        }
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
                if run.id < before && filter.takes(&run) {
                    runs.push(run);
                }
            }
            start = response.last_evaluated_key;
            if start.is_none() || runs.len() >= limit {
                break;
            }
        }
        let stopped_at = if runs.len() > limit {
            runs.truncate(limit);
            runs.last().map(|run| run.id)
        } else {
            start.as_ref().and_then(run_id_of)
        };
        Ok(ShardRuns { runs, stopped_at })
    }
}
