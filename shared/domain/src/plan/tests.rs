use super::*;
use crate::{
    id::{RUN_SHARDS, TenantId, run_shards},
    name::Name,
    tenant::Tenant,
};

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
fn larger_plan_allows_at_least_as_much() {
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
fn shard_of_large_plan_holds_count_of_small_plan() {
    for plan in PlanName::ALL.map(PlanName::limits) {
        if plan.shards == 1 {
            assert!(plan.runs_per_month <= NARROW_RUNS && plan.events_per_second <= NARROW_RATE);
        } else {
            assert_eq!(plan.shards, MAX_SHARDS);
            assert!(plan.runs_per_month / u64::from(MAX_SHARDS) >= NARROW_RUNS);
            // DynamoDB allows 1,000 writes a second per item.
            assert!(plan.events_per_second / u64::from(MAX_SHARDS) <= 500);
        }
    }
}

#[test]
fn lookup_key_belongs_to_one_plan() {
    assert_eq!(PlanName::from_lookup_key("pro"), Some(PlanName::Pro));
    assert_eq!(
        PlanName::from_lookup_key("business_yearly"),
        Some(PlanName::Business)
    );
    for other in ["", "free", "Pro", "pro_weekly", "runs"] {
        assert_eq!(PlanName::from_lookup_key(other), None, "{other}");
    }
    for plan in &PlanName::ALL[1..] {
        assert_eq!(plan.lookup_keys()[0], plan.as_str());
    }
}

#[test]
fn plan_is_free_after_grace_period() {
    let until = at("2026-12-01T00:00:00Z");
    let own = tenant(Plan {
        name: PlanName::Pro,
        until: Some(until),
        ..Plan::default()
    });
    let plan = |now| own.limits(now).plan;
    assert_eq!(plan(until - SignedDuration::from_millis(1)), PlanName::Pro);
    assert_eq!(plan(until), PlanName::Free);
}

#[test]
fn shards_do_not_decrease_within_month() {
    let now = at("2026-11-21T12:00:00Z");
    let wide = Plan {
        name: PlanName::Enterprise,
        ..Plan::default()
    };
    let narrow = wide.changed_to(PlanName::Pro, None, now);
    let shards = |plan, now| tenant(plan).limits(now).shards;
    assert_eq!(shards(narrow, now), MAX_SHARDS);
    // A second change in the same month keeps the first one's shards.
    let free = narrow.changed_to(PlanName::Free, None, now);
    assert_eq!(shards(free, at("2026-11-30T23:59:59Z")), MAX_SHARDS);
    assert_eq!(shards(free, at("2026-12-01T00:00:00Z")), 1);
    assert_eq!(
        shards(free.changed_to(PlanName::Enterprise, None, now), now),
        MAX_SHARDS
    );
    let mut own = tenant(narrow);
    own.enterprise = serde_json::from_str(r#"{"runs_per_month": 10}"#).unwrap();
    assert_eq!(own.limits(now).shards, MAX_SHARDS);
    assert_eq!(own.limits(at("2026-12-01T00:00:00Z")).shards, 1);
}

#[test]
fn operator_limits_are_capped() {
    let mut own = tenant(Plan::default());
    let overrides = r#"{"endpoints": 7, "body_bytes": 99999999, "retention_days": 999}"#;
    own.enterprise = serde_json::from_str(overrides).unwrap();
    let limits = own.limits(at("2026-11-21T12:00:00Z"));
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
fn month_boundaries() {
    let now = at("2026-12-31T23:59:59.999Z");
    assert_eq!(month_start(now), at("2026-12-01T00:00:00Z"));
    assert_eq!(month_end(now), at("2027-01-01T00:00:00Z"));
}

#[test]
fn partitions_of_runs_carry_the_widest_plan() {
    const WRITE_UNITS: u64 = 1_000;
    const WRITE_UNITS_OF_RUN: u64 = 3;
    for plan in PlanName::ALL {
        let (events, shards) = (plan.limits().events_per_second, plan.limits().run_shards);
        assert!(
            events * WRITE_UNITS_OF_RUN <= u64::from(shards) * WRITE_UNITS,
            "{plan:?}"
        );
        assert_eq!(shards, run_shards(events), "{plan:?}");
    }
    assert_eq!(
        [0, 1, 166, 167, 1_000_000].map(run_shards),
        [1, 1, 1, 2, 32]
    );
}

#[test]
fn partitions_of_runs_never_decrease() {
    let now = at("2026-11-25T12:00:00Z");
    let mut plan = Plan::default();
    assert_eq!(plan.run_shards, 1);
    plan = plan.changed_to(PlanName::Business, None, now);
    plan = plan.changed_to(PlanName::Free, None, now);
    assert_eq!(plan.run_shards, 4);
    let mut own = tenant(plan);
    assert_eq!(own.limits(now).run_shards, 4);
    // Only what is stored counts: a writer must not use a partition that no reader knows.
    own.enterprise = Some(Overrides::default());
    assert_eq!(own.limits(now).run_shards, 4);
    // Tenants of earlier releases have runs in all partitions.
    let stored: Plan = serde_json::from_str(r#"{"name": "free"}"#).unwrap();
    assert_eq!(stored.run_shards, RUN_SHARDS);
    assert_eq!(
        serde_json::to_string(&stored).unwrap(),
        r#"{"name":"free"}"#
    );
}
