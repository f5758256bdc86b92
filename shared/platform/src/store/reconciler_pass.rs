//! One pass of the reconciler at a time, and how far its passes have come.
//!
//! A pass takes a lease, and returns it with its progress. If the process dies, the lease expires,
//! and the next pass repeats what the dead one did.

use aias_domain::id::INDEX_SHARDS;
use aws_sdk_dynamodb::types::{AttributeValue, ReturnValue};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{
    ActiveTenant, Error, Store, classify,
    items::{number, string_of},
    keys,
};

/// How far the passes have come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// All runs created before were checked for being pending.
    pub checked_until: Timestamp,
    /// The check of all tenants that is under way.
    #[serde(default)]
    pub sweep: Option<Sweep>,
    /// When the next one may start.
    #[serde(default)]
    pub next_sweep: Option<Timestamp>,
}

/// A check of the pending runs of all tenants, which may take several passes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sweep {
    /// Runs created before this are checked.
    pub until: Timestamp,
    /// Where the sweep continues in each shard of the index; none where it is complete.
    pub shards: Vec<Option<Position>>,
}

/// A position among the active tenants of a shard.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// How many hours of the sweep are complete.
    hours: usize,
    /// The partition key of the last tenant that is complete in this hour.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    tenant: String,
    /// The cursor in the runs of the tenant after that one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runs: Option<String>,
}

impl Sweep {
    #[must_use]
    pub fn new(until: Timestamp) -> Self {
        let start = Some(Position::default());
        Self {
            until,
            shards: vec![start; INDEX_SHARDS.into()],
        }
    }

    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.shards.iter().all(Option::is_none)
    }
}

impl Position {
    /// After this tenant is complete.
    pub fn pass(&mut self, tenant: ActiveTenant) {
        self.tenant = tenant.position;
        self.runs = None;
    }
}

/// The right to run a pass.
#[derive(Debug)]
pub struct Lease {
    until: Timestamp,
    pub progress: Option<Progress>,
}

const PROGRESS: &str = "progress";

impl Store {
    /// Takes the lease of the reconciler until `until`, unless another pass has it. `alone` is set
    /// where no other process exists, so that the lease of a dead one has no effect.
    ///
    /// # Errors
    ///
    /// When the table is unavailable.
    pub async fn begin_pass(
        &self,
        now: Timestamp,
        until: Timestamp,
        alone: bool,
    ) -> Result<Option<Lease>, Error> {
        let mut request = self
            .client
            .update_item()
            .table_name(&self.table)
            .set_key(Some(keys::reconciler_pass().attributes()))
            .update_expression("SET leased_until = :until")
            .expression_attribute_values(":until", number(until.as_millisecond()))
            .return_values(ReturnValue::AllNew);
        if !alone {
            request = request
                .condition_expression("attribute_not_exists(leased_until) OR leased_until <= :now")
                .expression_attribute_values(":now", number(now.as_millisecond()));
        }
        let item = match request.send().await.map_err(classify) {
            Ok(response) => response.attributes.unwrap_or_default(),
            Err(Error::Conflict) => return Ok(None),
            Err(error) => return Err(error),
        };
        let progress = string_of(&item, PROGRESS)
            .map(serde_json::from_str)
            .transpose()
            .map_err(|e| Error::Broken(Box::new(e)))?;
        Ok(Some(Lease { until, progress }))
    }

    /// Returns the lease with the progress of the pass. If the lease has expired and another pass
    /// has taken it, that one's progress counts.
    ///
    /// # Errors
    ///
    /// When the table is unavailable.
    pub async fn end_pass(&self, lease: Lease, progress: &Progress) -> Result<(), Error> {
        let text = serde_json::to_string(progress).map_err(|e| Error::Broken(Box::new(e)))?;
        let ended = self
            .client
            .update_item()
            .table_name(&self.table)
            .set_key(Some(keys::reconciler_pass().attributes()))
            .update_expression("SET leased_until = :none, #progress = :progress")
            .condition_expression("leased_until = :own")
            .expression_attribute_names("#progress", PROGRESS)
            .expression_attribute_values(":none", number(0))
            .expression_attribute_values(":progress", AttributeValue::S(text))
            .expression_attribute_values(":own", number(lease.until.as_millisecond()))
            .send()
            .await
            .map(|_| ())
            .map_err(classify);
        match ended {
            Err(Error::Conflict) => Ok(()),
            other => other,
        }
    }

    /// The next tenants of a shard with an accepted run since `from`, at most 100; none if the
    /// shard is complete. Tenants that have runs meanwhile move to a later hour, so that none is
    /// skipped.
    ///
    /// # Errors
    ///
    /// When the table is unavailable.
    pub async fn next_tenants(
        &self,
        shard: u8,
        position: &mut Position,
        (from, now): (Timestamp, Timestamp),
    ) -> Result<Vec<ActiveTenant>, Error> {
        let hours = keys::active_hours(shard, from, now);
        for hour in hours.skip(position.hours) {
            // A partition key is not empty.
            let after = Some(position.tenant.as_str()).filter(|text| !text.is_empty());
            let found = self.active_tenants(&hour, after.unwrap_or("-")).await?;
            if !found.is_empty() {
                return Ok(found);
            }
            *position = Position {
                hours: position.hours + 1,
                ..Position::default()
            };
        }
        Ok(Vec::new())
    }
}
