//! Plans: one table of the limits of each. Every route and the executor read a tenant's limits on
//! the server.
//!
//! A Stripe price names its plan by its `lookup_key`. Only [`PlanName::from_lookup_key`] maps one to
//! the other.

use std::fmt;

use jiff::{SignedDuration, Timestamp, ToSpan as _, tz::TimeZone};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::id::{RUN_SHARDS, run_shards};

/// A plan. Later plans allow at least as much of everything.
#[derive(
    Debug,
    Clone,
    Copy,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    ToSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum PlanName {
    /// No subscription.
    #[default]
    Free,
    Pro,
    Business,
    /// By contract: an operator sets it, optionally with limits for this tenant.
    Enterprise,
}

impl PlanName {
    /// All plans, the smallest first.
    pub const ALL: [Self; 4] = [Self::Free, Self::Pro, Self::Business, Self::Enterprise];

    /// The name, as in the API and as its first lookup key.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Free => "free",
            Self::Pro => "pro",
            Self::Business => "business",
            Self::Enterprise => "enterprise",
        }
    }

    /// Lookup keys of the prices of this plan; the first is the one used for a checkout.
    #[must_use]
    pub fn lookup_keys(self) -> &'static [&'static str] {
        match self {
            Self::Free => &[],
            Self::Pro => &["pro", "pro_yearly"],
            Self::Business => &["business", "business_yearly"],
            Self::Enterprise => &["enterprise", "enterprise_yearly"],
        }
    }

    /// The plan of a price.
    #[must_use]
    pub fn from_lookup_key(key: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|plan| plan.lookup_keys().contains(&key))
    }

    /// The plan's row of the table.
    #[must_use]
    pub fn limits(self) -> Limits {
        match self {
            Self::Free => Limits {
                plan: self,
                runs_per_month: 10_000,
                suspended_runs: 1_000,
                events_per_second: 20,
                concurrent_runs: 5,
                endpoints: 20,
                workflows: 20,
                members: 5,
                api_keys: 10,
                secrets: 20,
                body_bytes: MAX_BODY_BYTES,
                steps_per_run: 10_000,
                run_seconds: 20,
                computing: COMPUTING,
                artifact_bytes: 4 * 1024 * 1024,
                retention_days: 7,
                api_requests: 6_000,
                grace_days: 0,
                shards: 1,
                run_shards: 1,
            },
            Self::Pro => Limits {
                plan: self,
                runs_per_month: 250_000,
                suspended_runs: 10_000,
                events_per_second: 100,
                concurrent_runs: 25,
                endpoints: 100,
                workflows: 100,
                members: 25,
                api_keys: 25,
                secrets: 100,
                retention_days: 30,
                api_requests: 12_000,
                grace_days: 7,
                ..Self::Free.limits()
            },
            Self::Business => Limits {
                plan: self,
                runs_per_month: 2_000_000,
                suspended_runs: 50_000,
                events_per_second: 500,
                run_shards: 4,
                concurrent_runs: 100,
                endpoints: 500,
                workflows: 500,
                members: 100,
                api_keys: 100,
                secrets: 500,
                retention_days: 90,
                grace_days: 14,
                ..Self::Pro.limits()
            },
            Self::Enterprise => Limits {
                plan: self,
                runs_per_month: 100_000_000,
                suspended_runs: 100_000,
                events_per_second: 8_000,
                concurrent_runs: 1_000,
                endpoints: 1_000,
                workflows: 1_000,
                members: 1_000,
                api_keys: 1_000,
                secrets: 1_000,
                grace_days: 30,
                shards: MAX_SHARDS,
                run_shards: RUN_SHARDS,
                ..Self::Business.limits()
            },
        }
    }
}

impl fmt::Display for PlanName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The limits of one tenant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The plan.
    pub plan: PlanName,
    /// Runs started in a calendar month (UTC).
    pub runs_per_month: u64,
    /// Events accepted beyond the monthly run quota, as suspended runs.
    pub suspended_runs: u64,
    /// Events a second, averaged over [`RATE_SECONDS`]; see [`Limits::burst`].
    pub events_per_second: u64,
    /// Runs in the phase `running` at once. A run that ends within its first second never enters
    /// that phase.
    pub concurrent_runs: u64,
    pub endpoints: u64,
    pub workflows: u64,
    /// Members, including owners.
    pub members: u64,
    pub api_keys: u64,
    /// Workflow secrets.
    pub secrets: u64,
    /// The body of a webhook or of an `execute` request, in bytes.
    pub body_bytes: usize,
    /// Steps that one run may execute.
    pub steps_per_run: u32,
    /// CPU time of one run, in seconds.
    pub run_seconds: u32,
    /// Memory and CPU time of one computation.
    pub computing: Computing,
    /// One artifact, in bytes.
    pub artifact_bytes: usize,
    /// How long runs, logs and artifacts are kept.
    pub retention_days: u32,
    /// API requests per tenant and execution environment in [`Limits::RATE_WINDOW_SECONDS`].
    pub api_requests: u32,
    /// How long the plan stays in force after a failed payment.
    pub grace_days: u32,
    /// Number of items that count the tenant's monthly runs (`crate::admission`).
    pub shards: u8,
    /// Number of partitions for the tenant's runs of a day ([`Plan::run_shards`]).
    pub run_shards: u8,
}

/// The length of a window in which events are counted, in seconds.
pub const RATE_SECONDS: u64 = 10;

/// The most items that count one tenant's runs. DynamoDB allows 1,000 writes a second per item;
/// 8,000 events a second are 500 per item.
pub const MAX_SHARDS: u8 = 16;

impl Limits {
    /// The window of `api_requests`, in seconds.
    pub const RATE_WINDOW_SECONDS: u32 = 60;

    /// Events accepted in one window of [`RATE_SECONDS`], and so at once.
    #[must_use]
    pub fn burst(&self) -> u64 {
        self.events_per_second.saturating_mul(RATE_SECONDS)
    }
}

/// Memory and CPU time that one computation may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Computing {
    /// Memory in bytes, in addition to the size of the input.
    pub memory_bytes: u64,
    /// CPU time between two messages of the child process, in milliseconds; usually one step.
    pub segment_ms: u32,
}

/// The same for every plan.
pub const COMPUTING: Computing = Computing {
    memory_bytes: 64 * 1024 * 1024,
    segment_ms: 1_000,
};

/// The largest body of any plan, in bytes.
pub const MAX_BODY_BYTES: usize = 4 * 1024 * 1024;

/// A tenant's plan, as stored in the tenant's item.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    pub name: PlanName,
    /// The end of the grace period, if a payment has failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
    /// Until when runs are counted in [`MAX_SHARDS`] items although the plan has become smaller:
    /// the end of the month of the change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wide_until: Option<Timestamp>,
    /// Number of partitions for the tenant's runs of a day: that of the largest plan which the
    /// tenant has had. It never decreases, since runs in the removed partitions would not be found.
    #[serde(default = "all_run_shards", skip_serializing_if = "is_all_run_shards")]
    pub run_shards: u8,
}

fn all_run_shards() -> u8 {
    RUN_SHARDS
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde passes a reference"
)]
fn is_all_run_shards(shards: &u8) -> bool {
    *shards == RUN_SHARDS
}

/// The plan of a new tenant.
impl Default for Plan {
    fn default() -> Self {
        let name = PlanName::default();
        Self {
            name,
            until: None,
            wide_until: None,
            run_shards: name.limits().run_shards,
        }
    }
}

impl Plan {
    /// The plan from `now` on.
    #[must_use]
    pub fn changed_to(self, name: PlanName, until: Option<Timestamp>, now: Timestamp) -> Self {
        let was_wide = self.shards(self.name.limits().shards, now) > 1;
        let is_wide = name.limits().shards > 1;
        let wide_until = (was_wide && !is_wide).then(|| month_end(now));
        Self {
            name,
            until,
            wide_until,
            ..self.with_run_shards_of(&name.limits())
        }
    }

    /// The plan of a tenant that has had these limits.
    #[must_use]
    pub fn with_run_shards_of(self, limits: &Limits) -> Self {
        let run_shards = self.run_shards.max(limits.run_shards);
        Self { run_shards, ..self }
    }

    /// The plan in force at a moment: `free` once the grace period of a failed payment has ended.
    #[must_use]
    pub fn at(self, now: Timestamp) -> PlanName {
        if self.until.is_some_and(|until| until <= now) {
            PlanName::Free
        } else {
            self.name
        }
    }

    /// Number of items that count this month's runs, of which the limits need `shards`. It never
    /// decreases within a month, since the counts in the removed shards would be lost.
    pub(crate) fn shards(self, shards: u8, now: Timestamp) -> u8 {
        if self.wide_until.is_some_and(|until| now < until) {
            MAX_SHARDS
        } else {
            shards
        }
    }
}

/// Limits that an operator sets for one tenant, in place of those of the enterprise plan.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Overrides {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runs_per_month: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suspended_runs: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub events_per_second: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub concurrent_runs: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoints: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workflows: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub members: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api_keys: Option<u64>,
    /// At most [`MAX_BODY_BYTES`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body_bytes: Option<usize>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub steps_per_run: Option<u32>,
    /// At most the enterprise plan's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_seconds: Option<u32>,
    /// At most the enterprise plan's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_bytes: Option<usize>,
    /// At most the enterprise plan's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retention_days: Option<u32>,
}

impl Overrides {
    /// The limits of the tenant.
    #[must_use]
    pub fn limits(self) -> Limits {
        let row = PlanName::Enterprise.limits();
        let runs_per_month = self.runs_per_month.unwrap_or(row.runs_per_month);
        let events_per_second = self.events_per_second.unwrap_or(row.events_per_second);
        Limits {
            runs_per_month,
            suspended_runs: self.suspended_runs.unwrap_or(row.suspended_runs),
            events_per_second,
            concurrent_runs: self.concurrent_runs.unwrap_or(row.concurrent_runs),
            endpoints: self.endpoints.unwrap_or(row.endpoints),
            workflows: self.workflows.unwrap_or(row.workflows),
            members: self.members.unwrap_or(row.members),
            api_keys: self.api_keys.unwrap_or(row.api_keys),
            body_bytes: self
                .body_bytes
                .map_or(row.body_bytes, |n| n.min(MAX_BODY_BYTES)),
            steps_per_run: self.steps_per_run.unwrap_or(row.steps_per_run),
            run_seconds: self
                .run_seconds
                .map_or(row.run_seconds, |n| n.min(row.run_seconds)),
            artifact_bytes: self
                .artifact_bytes
                .map_or(row.artifact_bytes, |n| n.min(row.artifact_bytes)),
            retention_days: self
                .retention_days
                .map_or(row.retention_days, |n| n.min(row.retention_days)),
            shards: if runs_per_month / u64::from(MAX_SHARDS) >= NARROW_RUNS
                && events_per_second > NARROW_RATE
            {
                MAX_SHARDS
            } else {
                1
            },
            run_shards: run_shards(events_per_second),
            ..row
        }
    }
}

/// The most runs a month and events a second that one item counts. No shard of a larger plan has a
/// smaller share, so the counts that a smaller plan left in the first shard fit into its share
/// after an upgrade.
const NARROW_RUNS: u64 = 2_000_000;
const NARROW_RATE: u64 = 500;

/// The largest limits of any plan, for checks made before the tenant is known.
#[must_use]
pub fn ceiling() -> Limits {
    PlanName::Enterprise.limits()
}

/// `disabled_reason` of an object in the API, if the plan is the reason.
#[must_use]
pub fn disabled_reason(disabled_by_plan: bool) -> Option<&'static str> {
    disabled_by_plan.then_some("plan-limit-exceeded")
}

/// The start of the month (UTC) of `at`.
#[must_use]
pub fn month_start(at: Timestamp) -> Timestamp {
    at.to_zoned(TimeZone::UTC)
        .first_of_month()
        .and_then(|first| first.start_of_day())
        .map_or(at, |first| first.timestamp())
}

/// The start of the month (UTC) after that of `at`.
#[must_use]
pub fn month_end(at: Timestamp) -> Timestamp {
    month_start(at)
        .to_zoned(TimeZone::UTC)
        .checked_add(1.month())
        .map_or(at + SignedDuration::from_hours(24), |next| next.timestamp())
}

#[cfg(test)]
mod tests;
