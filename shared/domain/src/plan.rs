//! Plans: one table of what each allows. Every route and the executor ask [`limits`], on the server.
//!
//! A price of the payment provider names its plan by its `lookup_key`; [`PlanName::of_lookup_key`]
//! is the only place that knows them.

use std::fmt;

use jiff::{SignedDuration, Timestamp, ToSpan as _, tz::TimeZone};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::tenant::Tenant;

/// A row of the table. A later one allows at least as much of everything.
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
    /// Without a subscription.
    #[default]
    Free,
    /// For a team.
    Pro,
    /// For a company.
    Business,
    /// By agreement: an operator sets it, with limits of its own.
    Enterprise,
}

impl PlanName {
    /// All, the smallest first.
    pub const ALL: [Self; 4] = [Self::Free, Self::Pro, Self::Business, Self::Enterprise];

    /// The name, as in the API and in the first of its lookup keys.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Free => "free",
            Self::Pro => "pro",
            Self::Business => "business",
            Self::Enterprise => "enterprise",
        }
    }

    /// The lookup keys of the prices that buy it; the first is the one that a checkout takes.
    #[must_use]
    pub fn lookup_keys(self) -> &'static [&'static str] {
        match self {
            Self::Free => &[],
            Self::Pro => &["pro", "pro_yearly"],
            Self::Business => &["business", "business_yearly"],
            Self::Enterprise => &["enterprise", "enterprise_yearly"],
        }
    }

    /// The plan that a price buys.
    #[must_use]
    pub fn of_lookup_key(key: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|plan| plan.lookup_keys().contains(&key))
    }

    /// What it allows.
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
    /// Runs that may begin in a calendar month (UTC).
    pub runs_per_month: u64,
    /// Events that are taken beyond those, as suspended runs: the grace of the month.
    pub suspended_runs: u64,
    /// Events a second, on average over [`RATE_SECONDS`]; so the burst is [`Limits::burst`].
    pub events_per_second: u64,
    /// Runs in the phase `running` at once; a run that ends in its first second never is.
    pub concurrent_runs: u64,
    /// Webhook endpoints that may be there.
    pub endpoints: u64,
    /// Workflows that may be there.
    pub workflows: u64,
    /// Members, owners included.
    pub members: u64,
    /// API keys that may be there.
    pub api_keys: u64,
    /// Secrets of workflows that may be there.
    pub secrets: u64,
    /// A webhook's or an `execute` call's body.
    pub body_bytes: usize,
    /// Steps that one run may execute.
    pub steps_per_run: u32,
    /// How long one run may compute.
    pub run_seconds: u32,
    /// What one run may take of the machine that computes it.
    pub computing: Computing,
    /// One artifact.
    pub artifact_bytes: usize,
    /// How long runs, logs and artifacts are kept.
    pub retention_days: u32,
    /// Requests that one execution environment answers for the tenant in
    /// [`Limits::RATE_WINDOW_SECONDS`].
    pub api_requests: u32,
    /// How long the plan goes on after a payment failed.
    pub grace_days: u32,
    /// In how many items the month's runs are counted (`crate::admission`).
    pub shards: u8,
}

/// The window that events are counted in, in seconds.
pub const RATE_SECONDS: u64 = 10;

/// The most items that a tenant's runs are counted in. One takes 1,000 writes a second at most;
/// half of that keeps 8,000 events a second far from it.
pub const MAX_SHARDS: u8 = 16;

impl Limits {
    /// The window that `api_requests` counts in.
    pub const RATE_WINDOW_SECONDS: u32 = 60;

    /// Events that may come at once, and at most in [`RATE_SECONDS`].
    #[must_use]
    pub fn burst(&self) -> u64 {
        self.events_per_second.saturating_mul(RATE_SECONDS)
    }
}

/// What a run may take of the machine that computes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Computing {
    /// Memory, in bytes, beside what its input takes.
    pub memory_bytes: u64,
    /// CPU time between two words: one step, as a rule. In milliseconds.
    pub segment_ms: u32,
}

/// What a run of any plan may take.
pub const COMPUTING: Computing = Computing {
    memory_bytes: 64 * 1024 * 1024,
    segment_ms: 1_000,
};

/// The largest body that any plan allows, in bytes.
pub const MAX_BODY_BYTES: usize = 4 * 1024 * 1024;

/// The plan that a tenant's subscription gives, as the tenant's item holds it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// Which.
    pub name: PlanName,
    /// Until when, if a payment has failed: the end of its grace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
    /// Until when runs are still counted in [`MAX_SHARDS`] items, though the plan is a smaller one
    /// by now: the end of the month in which it changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wide_until: Option<Timestamp>,
}

impl Plan {
    /// The plan that follows this one from `now` on.
    #[must_use]
    pub fn followed_by(self, name: PlanName, until: Option<Timestamp>, now: Timestamp) -> Self {
        let was_wide = self.shards(now) > 1;
        let is_wide = name.limits().shards > 1;
        let wide_until = (was_wide && !is_wide).then(|| month_end(now));
        Self {
            name,
            until,
            wide_until,
        }
    }

    /// The plan's name at a moment: after the grace of a failed payment it is `free`.
    #[must_use]
    pub fn at(self, now: Timestamp) -> PlanName {
        if self.until.is_some_and(|until| until <= now) {
            PlanName::Free
        } else {
            self.name
        }
    }

    /// In how many items this month's runs are counted. It does not shrink within a month, or what
    /// is counted in the others would be forgotten.
    fn shards(self, now: Timestamp) -> u8 {
        if self.wide_until.is_some_and(|until| now < until) {
            MAX_SHARDS
        } else {
            self.name.limits().shards
        }
    }
}

/// Limits that an operator sets for one tenant, in place of the enterprise plan's.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Overrides {
    /// See [`Limits::runs_per_month`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runs_per_month: Option<u64>,
    /// See [`Limits::suspended_runs`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suspended_runs: Option<u64>,
    /// See [`Limits::events_per_second`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub events_per_second: Option<u64>,
    /// See [`Limits::concurrent_runs`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub concurrent_runs: Option<u64>,
    /// See [`Limits::endpoints`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoints: Option<u64>,
    /// See [`Limits::workflows`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workflows: Option<u64>,
    /// See [`Limits::members`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub members: Option<u64>,
    /// See [`Limits::api_keys`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api_keys: Option<u64>,
    /// See [`Limits::body_bytes`]; at most [`MAX_BODY_BYTES`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body_bytes: Option<usize>,
    /// See [`Limits::steps_per_run`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub steps_per_run: Option<u32>,
    /// See [`Limits::run_seconds`]; at most the enterprise plan's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_seconds: Option<u32>,
    /// See [`Limits::artifact_bytes`]; at most the enterprise plan's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_bytes: Option<usize>,
    /// See [`Limits::retention_days`]; at most the enterprise plan's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retention_days: Option<u32>,
}

impl Overrides {
    fn onto(self, row: Limits) -> Limits {
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
            ..row
        }
    }
}

/// The most runs a month and events a second that are counted in one item. A shard's share of a
/// wide plan is no smaller, so what a narrow plan counted in the first shard before an upgrade is
/// within its share.
const NARROW_RUNS: u64 = 2_000_000;
const NARROW_RATE: u64 = 500;

/// The limits of a tenant at a moment.
#[must_use]
pub fn limits(tenant: &Tenant, now: Timestamp) -> Limits {
    match tenant.enterprise {
        Some(overrides) => overrides.onto(PlanName::Enterprise.limits()),
        None => Limits {
            shards: tenant.plan.shards(now),
            ..tenant.plan.at(now).limits()
        },
    }
}

/// The limits that hold before a tenant's own are known: no plan allows more.
#[must_use]
pub fn ceiling() -> Limits {
    PlanName::Enterprise.limits()
}

/// Why a thing is off, as the API says it, when the plan is the reason.
#[must_use]
pub fn disabled_reason(disabled_by_plan: bool) -> Option<&'static str> {
    disabled_by_plan.then_some("plan-limit-exceeded")
}

/// The first moment of the month (UTC) of `at`.
#[must_use]
pub fn month_start(at: Timestamp) -> Timestamp {
    at.to_zoned(TimeZone::UTC)
        .first_of_month()
        .and_then(|first| first.start_of_day())
        .map_or(at, |first| first.timestamp())
}

/// The first moment of the month (UTC) after that of `at`.
#[must_use]
pub fn month_end(at: Timestamp) -> Timestamp {
    month_start(at)
        .to_zoned(TimeZone::UTC)
        .checked_add(1.month())
        .map_or(at + SignedDuration::from_hours(24), |next| next.timestamp())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{id::TenantId, text::Name};

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn tenant(plan: Plan) -> Tenant {
        let now = at("2026-11-21T12:00:00Z");
        Tenant {
            plan,
            ..Tenant::new(TenantId::new(now, 1), Name::new("T").unwrap(), now)
        }
    }

    #[test]
    fn a_larger_plan_allows_at_least_as_much_of_everything() {
        for pair in PlanName::ALL.windows(2) {
            let [small, large] = [pair[0].limits(), pair[1].limits()];
            let numbers = |l: Limits| {
                [
                    l.runs_per_month,
                    l.suspended_runs,
                    l.events_per_second,
                    l.concurrent_runs,
                    l.endpoints,
                    l.workflows,
                    l.members,
                    l.api_keys,
                    l.body_bytes as u64,
                    u64::from(l.steps_per_run),
                    u64::from(l.run_seconds),
                    l.artifact_bytes as u64,
                    u64::from(l.retention_days),
                    u64::from(l.api_requests),
                    u64::from(l.grace_days),
                ]
            };
            for (less, more) in numbers(small).into_iter().zip(numbers(large)) {
                assert!(0 < more && less <= more, "{:?}", large.plan);
            }
        }
    }

    #[test]
    fn a_share_of_a_wide_plan_holds_what_a_narrow_one_may_have_counted() {
        for plan in PlanName::ALL.map(PlanName::limits) {
            if plan.shards == 1 {
                assert!(
                    plan.runs_per_month <= NARROW_RUNS && plan.events_per_second <= NARROW_RATE
                );
            } else {
                assert_eq!(plan.shards, MAX_SHARDS);
                assert!(plan.runs_per_month / u64::from(MAX_SHARDS) >= NARROW_RUNS);
                // One item takes 1,000 writes a second.
                assert!(plan.events_per_second / u64::from(MAX_SHARDS) <= 500);
            }
        }
    }

    #[test]
    fn a_lookup_key_names_one_plan() {
        assert_eq!(PlanName::of_lookup_key("pro"), Some(PlanName::Pro));
        assert_eq!(
            PlanName::of_lookup_key("business_yearly"),
            Some(PlanName::Business)
        );
        for other in ["", "free", "Pro", "pro_weekly", "runs"] {
            assert_eq!(PlanName::of_lookup_key(other), None, "{other}");
        }
        for plan in &PlanName::ALL[1..] {
            assert_eq!(plan.lookup_keys()[0], plan.as_str());
        }
    }

    #[test]
    fn after_the_grace_of_a_failed_payment_the_plan_is_free() {
        let until = at("2026-12-01T00:00:00Z");
        let own = tenant(Plan {
            name: PlanName::Pro,
            until: Some(until),
            wide_until: None,
        });
        let plan = |now| limits(&own, now).plan;
        assert_eq!(plan(until - SignedDuration::from_millis(1)), PlanName::Pro);
        assert_eq!(plan(until), PlanName::Free);
    }

    #[test]
    fn the_shards_of_a_month_do_not_shrink() {
        let now = at("2026-11-21T12:00:00Z");
        let wide = Plan {
            name: PlanName::Enterprise,
            ..Plan::default()
        };
        let narrow = wide.followed_by(PlanName::Pro, None, now);
        let shards = |plan, now| limits(&tenant(plan), now).shards;
        assert_eq!(shards(narrow, now), MAX_SHARDS);
        // A second change in the same month remembers the first.
        let free = narrow.followed_by(PlanName::Free, None, now);
        assert_eq!(shards(free, at("2026-11-30T23:59:59Z")), MAX_SHARDS);
        assert_eq!(shards(free, at("2026-12-01T00:00:00Z")), 1);
        assert_eq!(
            shards(free.followed_by(PlanName::Enterprise, None, now), now),
            MAX_SHARDS
        );
    }

    #[test]
    fn an_operator_sets_limits_within_what_the_deployment_can_do() {
        let mut own = tenant(Plan::default());
        let overrides = r#"{"endpoints": 7, "body_bytes": 99999999, "retention_days": 999}"#;
        own.enterprise = serde_json::from_str(overrides).unwrap();
        let limits = limits(&own, at("2026-11-21T12:00:00Z"));
        assert_eq!(
            (
                limits.plan,
                limits.endpoints,
                limits.body_bytes,
                limits.retention_days
            ),
            (PlanName::Enterprise, 7, MAX_BODY_BYTES, 90)
        );
        assert_eq!(limits.shards, MAX_SHARDS);
        assert!(serde_json::from_str::<Overrides>(r#"{"endpoint": 7}"#).is_err());
    }

    #[test]
    fn a_month_begins_and_ends() {
        let now = at("2026-12-31T23:59:59.999Z");
        assert_eq!(month_start(now), at("2026-12-01T00:00:00Z"));
        assert_eq!(month_end(now), at("2027-01-01T00:00:00Z"));
    }
}
