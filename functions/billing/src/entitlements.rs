//! What the plan allows, and how much of it is used.

use aias_domain::counted::CountedFeature;
use aias_domain::{
    plan::{self, Limits, PlanName},
    timestamp,
};
use aias_platform::http::{
    Parameters, Problem, Result, Viewer, kinds, openapi, response::json, whole_list,
};
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::App;

/// What the plan allows of a feature, and how much of it is used.
#[derive(Serialize, ToSchema)]
pub(crate) struct Entitlement {
    #[schema(value_type = String, example = "runs")]
    feature: &'static str,
    /// Whether one more is allowed.
    allowed: bool,
    limit: u64,
    /// `null` for a size or a duration, which applies to each use separately.
    used: Option<u64>,
    remaining: Option<u64>,
    /// When `used` becomes 0 again.
    #[schema(format = DateTime)]
    resets_at: Option<String>,
    plan: PlanName,
}

impl Entitlement {
    fn counted(feature: &'static str, limit: u64, used: u64, limits: &Limits) -> Self {
        Self {
            feature,
            allowed: used < limit,
            limit,
            used: Some(used),
            remaining: Some(limit.saturating_sub(used)),
            resets_at: None,
            plan: limits.plan,
        }
    }

    fn fixed(feature: &'static str, limit: u64, limits: &Limits) -> Self {
        Self {
            feature,
            allowed: limit > 0,
            limit,
            used: None,
            remaining: None,
            resets_at: None,
            plan: limits.plan,
        }
    }
}

/// The counted features.
const COUNTED: [CountedFeature; 5] = [
    CountedFeature::Endpoints,
    CountedFeature::Workflows,
    CountedFeature::Members,
    CountedFeature::ApiKeys,
    CountedFeature::Secrets,
];

#[derive(Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct FeatureQuery {
    /// One feature; all of them by default.
    #[param(
        pattern = "^(runs|suspended_runs|concurrent_runs|endpoints|workflows|members|api_keys|secrets|events_per_second|body_bytes|steps_per_run|run_seconds|artifact_bytes|retention_days)$"
    )]
    feature: Option<String>,
}

/// An entitlement, or all of them.
#[derive(ToSchema)]
#[schema(as = EntitlementOrList)]
#[expect(dead_code, reason = "describes a response")]
#[serde(untagged)]
pub(crate) enum EntitlementOrList {
    /// Of `feature`.
    One(Entitlement),
    /// All of them.
    All(openapi::Page<Entitlement>),
}

/// Check entitlements
#[utoipa::path(
    get,
    path = "/api/entitlements/check",
    tag = "billing",
    params(FeatureQuery),
    responses((
        status = 200, description = "The entitlement, or all of them", body = EntitlementOrList,
    )),
    extensions(("x-role" = json!("viewer")), ("x-problems" = json!(["bad-feature"]))),
)]
pub(crate) async fn check_entitlements(ctx: Viewer<App, Parameters<FeatureQuery>>) -> Result {
    let (store, limits, now) = (ctx.store(), &ctx.caller.limits, ctx.now);
    let (usage, counts, running) = tokio::join!(
        store.usage(limits, now),
        store.counts(),
        store.running(limits.concurrent_runs)
    );
    let (usage, counts, running) = (usage?, counts?, running?);
    let turn = || Some(timestamp::format(plan::month_end(now)));
    let monthly = |feature, limit, used| Entitlement {
        resets_at: turn(),
        ..Entitlement::counted(feature, limit, used, limits)
    };
    let mut all = vec![
        monthly("runs", limits.runs_per_month, usage.runs),
        monthly("suspended_runs", limits.suspended_runs, usage.suspended),
        Entitlement::counted("concurrent_runs", limits.concurrent_runs, running, limits),
    ];
    for count in COUNTED {
        let (limit, used) = (count.limit(limits), counts.of(count));
        all.push(Entitlement::counted(count.feature(), limit, used, limits));
    }
    let fixed = [
        ("events_per_second", limits.events_per_second),
        ("body_bytes", limits.body_bytes as u64),
        ("steps_per_run", u64::from(limits.steps_per_run)),
        ("run_seconds", u64::from(limits.run_seconds)),
        ("artifact_bytes", limits.artifact_bytes as u64),
        ("retention_days", u64::from(limits.retention_days)),
    ];
    all.extend(fixed.map(|(feature, limit)| Entitlement::fixed(feature, limit, limits)));
    let Some(wanted) = &ctx.query.0.feature else {
        return whole_list(&all);
    };
    match all.iter().find(|one| one.feature == wanted) {
        Some(one) => json(StatusCode::OK, one),
        None => {
            let known: Vec<&str> = all.iter().map(|one| one.feature).collect();
            Err(Problem::new(&kinds::BAD_FEATURE)
                .detail(format!("`feature` must be one of {}", known.join(", "))))
        }
    }
}
