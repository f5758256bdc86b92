//! Runs: dedup claims, items, and lists that merge the shards of a day.

use aias_domain::{
    endpoint::Endpoint,
    id::{EndpointId, RUN_SHARDS, RunId, WorkflowId},
    log::Entry,
    run::{Run, Status},
};
use aws_sdk_dynamodb::{
    operation::put_item::PutItemError,
    types::{AttributeValue, ReturnConsumedCapacity, ReturnValuesOnConditionCheckFailure},
};
use futures_util::future::join_all;
use jiff::{SignedDuration, Timestamp, civil::Date, tz::TimeZone};

use super::{
    Cursor, Error, Idempotency, Page, Stored, TenantStore,
    compression::{compress, decompress},
    items::{EXPIRES_AT, KIND, PutResult, number, number_of, string_of},
    keys,
    run_item::{ARTIFACTS, ENDPOINT, STATUS, WORKFLOW, run_item, run_of},
    transaction::{Transaction, TransactionError},
};

/// The input of a run as canonical JSON.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// Compressed, in the run's item.
    Inline(Vec<u8>),
    /// An object in the bucket, by its key.
    Blob(String),
}

/// The largest input that is compressed to see whether it fits into the run's item, in bytes.
const MAX_INLINE: usize = 32 * 1024;

/// The largest compressed input in the run's item, in bytes. An item is written twice at one write
/// unit per KiB; beyond 4 KiB an object in the bucket costs less (`docs/decisions/0003`).
const MAX_INLINE_COMPRESSED: usize = 4 * 1024;

impl Input {
    /// Compresses an input, if it then fits into the run's item.
    ///
    /// # Errors
    ///
    /// Only when compression fails.
    pub fn inline(bytes: &[u8]) -> Result<Option<Self>, Error> {
        if bytes.len() > MAX_INLINE {
            return Ok(None);
        }
        let compressed = compress(bytes)?;
        Ok((compressed.len() <= MAX_INLINE_COMPRESSED).then_some(Self::Inline(compressed)))
    }

    /// Decompresses an inline input.
    ///
    /// # Errors
    ///
    /// When it is not a compressed input.
    pub fn decompress(compressed: &[u8]) -> Result<Vec<u8>, Error> {
        decompress(compressed, MAX_INLINE)
    }
}

/// The largest value of `ArtifactInlineMaxBytes`: every list of runs reads these bytes.
pub const MAX_INLINE_ARTIFACT: usize = 4 * 1024;

/// A run and everything in its item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredRun {
    pub run: Stored<Run>,
    pub input: Input,
    /// The bytes of the artifact, if it is in the item instead of the bucket.
    pub artifact: Option<Vec<u8>>,
    /// The part of the log that is in the item. For most runs it is the whole log.
    pub log: Vec<Entry>,
    pub expires_at: Timestamp,
    /// The status as read or written last. Transitions from and to `running` are counted.
    pub was: Status,
}

/// The identity of an event.
#[derive(Debug, Clone, Copy)]
pub struct Claim<'a> {
    pub endpoint: &'a Endpoint,
    /// The hash of the event's id.
    pub event_hash: &'a str,
    /// The hash of the event's body.
    pub body_hash: &'a str,
}

/// How long an event id is remembered, in seconds: 7 days.
const CLAIM_SECONDS: i64 = 7 * 24 * 3600;

/// The result of a claim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClaimResult {
    /// The event is new and claimed for the run.
    New,
    /// The event is a duplicate.
    Duplicate {
        /// The run of the first delivery.
        run_id: RunId,
        /// Whether the bodies are equal.
        same_body: bool,
    },
}

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

impl TenantStore<'_> {
    /// Claims an event for a run.
    ///
    /// # Errors
    /// When the table is unavailable.
    pub async fn claim(
        &self,
        claim: Claim<'_>,
        run: RunId,
        now: Timestamp,
    ) -> Result<ClaimResult, Error> {
        let mut item = keys::event(self.tenant, claim.endpoint.id, claim.event_hash).attributes();
        item.insert(KIND.to_owned(), AttributeValue::S("claim".to_owned()));
        item.insert("run_id".to_owned(), AttributeValue::S(run.to_string()));
        item.insert(
            "body_hash".to_owned(),
            AttributeValue::S(claim.body_hash.to_owned()),
        );
        item.insert(
            EXPIRES_AT.to_owned(),
            number(now.as_second() + CLAIM_SECONDS),
        );
        let result = self
            .store
            .client
            .put_item()
            .table_name(&self.store.table)
            .set_item(Some(item))
            // DynamoDB deletes expired items late; the condition makes the window exact.
            .condition_expression("attribute_not_exists(PK) OR expires_at <= :now")
            .expression_attribute_values(":now", number(now.as_second()))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .return_consumed_capacity(ReturnConsumedCapacity::Indexes)
            .send()
            .await;
        let Err(error) = result else {
            return Ok(ClaimResult::New);
        };
        let Some(PutItemError::ConditionalCheckFailedException(found)) = error.as_service_error()
        else {
            return Err(super::classify(error));
        };
        let found = found.item().cloned().unwrap_or_default();
        let run_id: RunId = string_of(&found, "run_id")
            .and_then(|text| text.parse().ok())
            .ok_or_else(|| Error::broken("a claim has no run"))?;
        // If the SDK retried a write that succeeded, the existing claim is this one.
        if run_id == run {
            return Ok(ClaimResult::New);
        }
        let same_body = string_of(&found, "body_hash") == Some(claim.body_hash);
        Ok(ClaimResult::Duplicate { run_id, same_body })
    }

    /// Removes a claim, if it belongs to this run.
    ///
    /// # Errors
    ///
    /// When the table is unavailable.
    pub async fn delete_claim(&self, claim: Claim<'_>, run: RunId) -> Result<(), Error> {
        let result = self
            .store
            .client
            .delete_item()
            .table_name(&self.store.table)
            .set_key(Some(
                keys::event(self.tenant, claim.endpoint.id, claim.event_hash).attributes(),
            ))
            .condition_expression("run_id = :run")
            .expression_attribute_values(":run", AttributeValue::S(run.to_string()))
            .send()
            .await
            .map(|_| ())
            .map_err(super::classify);
        match result {
            Err(Error::Conflict) => Ok(()),
            other => other,
        }
    }

    /// Writes an accepted run. Returns the existing run if there is one with this id.
    ///
    /// # Errors
    ///
    /// When the table is unavailable.
    pub async fn create_run(&self, run: &StoredRun) -> Result<Option<StoredRun>, Error> {
        match self.store.create(run_item(self.tenant, run)?).await? {
            PutResult::Written => Ok(None),
            PutResult::Exists(item) => run_of(item).map(Some),
        }
    }

    /// As [`TenantStore::create_run`], together with the response to an `Idempotency-Key`.
    ///
    /// # Errors
    ///
    /// [`TransactionError::Repeated`] when the request has a stored response.
    pub async fn create_run_once(
        &self,
        run: &StoredRun,
        idempotency: Idempotency,
    ) -> Result<(), TransactionError> {
        Transaction::new(self.store)
            .create(run_item(self.tenant, run)?)
            .answer(Some(idempotency))
            .commit()
            .await
    }

    /// A run with its input.
    ///
    /// # Errors
    /// When the table is unavailable.
    pub async fn run(&self, id: RunId) -> Result<Option<StoredRun>, Error> {
        let found = self.store.item(&keys::run(self.tenant, id), true).await?;
        found.map(run_of).transpose()
    }

    /// Writes a changed run. If it leaves the phase `running`, the count of running runs is
    /// decremented in the same transaction.
    ///
    /// # Errors
    ///
    /// [`Error::Conflict`] when it has changed since it was read.
    pub async fn save_run(&self, run: &StoredRun) -> Result<(), Error> {
        let item = run_item(self.tenant, run)?;
        if run.was != Status::Running || run.run.value.status == Status::Running {
            return self.store.replace(item, run.run.version).await;
        }
        Transaction::new(self.store)
            .replace(item, run.run.version)
            .stop_running(&keys::running(self.tenant))
            .commit()
            .await
            .map_err(TransactionError::into_error)
    }

    /// Writes a run that enters the phase `running`, if fewer than `limit` runs are in it. Returns
    /// whether it was written. A run that is already counted is not counted again.
    ///
    /// # Errors
    ///
    /// [`Error::Conflict`] when it has changed since it was read.
    pub async fn start_run(&self, run: &StoredRun, limit: u64) -> Result<bool, Error> {
        if run.was == Status::Running {
            return self.save_run(run).await.map(|()| true);
        }
        let started = Transaction::new(self.store)
            .replace(run_item(self.tenant, run)?, run.run.version)
            .start_running(&keys::running(self.tenant), limit)
            .commit()
            .await;
        match started {
            Ok(()) => Ok(true),
            Err(TransactionError::ConcurrencyLimit) => Ok(false),
            Err(refused) => Err(refused.into_error()),
        }
    }

    /// The number of runs in the phase `running`.
    ///
    /// # Errors
    ///
    /// When the table is unavailable.
    pub async fn running(&self) -> Result<u64, Error> {
        let found = self.store.item(&keys::running(self.tenant), true).await?;
        Ok(found
            .and_then(|item| number_of(&item, "running"))
            .unwrap_or_default())
    }

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
        let mut day = utc_day(before.created_at());
        let last_day = utc_day(oldest);
        let mut found: Vec<Run> = Vec::new();
        for _ in 0..MAX_DAYS {
            if day < last_day {
                return Ok(Page::cut(found, limit, |run| run.id.to_string()));
            }
            let low = RunId::range_at(oldest).0;
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
            let answer = request
                .clone()
                .set_exclusive_start_key(start)
                .send()
                .await
                .map_err(super::classify)?;
            for item in answer.items.unwrap_or_default() {
                let run = run_of(item)?.run.value;
                // The range of the query includes its end.
                if run.id < before {
                    runs.push(run);
                }
            }
            start = answer.last_evaluated_key;
            if start.is_none() || runs.len() >= limit {
                break;
            }
        }
        runs.truncate(limit);
        Ok(runs)
    }
}

const MAX_SHARD_PAGES: usize = 50;

fn utc_day(at: Timestamp) -> Date {
    at.to_zoned(TimeZone::UTC).date()
}
