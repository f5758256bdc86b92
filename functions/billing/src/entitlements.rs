//! What the plan allows, and how much of it is used.

use aias_domain::{
    event::text_of,
    plan::{self, Limits, PlanName},
};
use aias_platform::{
    http::{Caller, Problem, Request, Response},
    store::{Count, TenantStore},
};
use serde::Serialize;
use serde_json::json;

use crate::App;

#[derive(Serialize)]
struct Entitlement {
    feature: &'static str,
    allowed: bool,
    limit: u64,
    /// None for a size or a time, which is used anew each time.
    used: Option<u64>,
    remaining: Option<u64>,
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

/// One feature, or all of them.
pub(crate) async fn check(
    app: &App,
    store: &TenantStore<'_>,
    caller: &Caller,
    request: &Request,
) -> Result<Response, Problem> {
    request.only_parameters(&["feature"])?;
    let (limits, now) = (&caller.limits, app.api.clock.now());
    let (usage, counts, running) = tokio::join!(store.usage(now), store.counts(), store.running());
    let (usage, counts, running) = (usage?, counts?, running?);
    let turn = || Some(text_of(plan::month_end(now)));
    let monthly = |feature, limit, used| Entitlement {
        resets_at: turn(),
        ..Entitlement::counted(feature, limit, used, limits)
    };
    let mut all = vec![
        monthly("runs", limits.runs_per_month, usage.runs),
        monthly("suspended_runs", limits.suspended_runs, usage.suspended),
        Entitlement::counted("concurrent_runs", limits.concurrent_runs, running, limits),
    ];
    for count in [
        Count::Endpoints,
        Count::Workflows,
        Count::Members,
        Count::ApiKeys,
        Count::Secrets,
    ] {
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
    let Some(wanted) = request.parameter("feature") else {
        return Response::json(200, &json!({"data": all, "next_cursor": null}));
    };
    match all.iter().find(|one| one.feature == wanted) {
        Some(one) => Response::json(200, one),
        None => {
            let known: Vec<&str> = all.iter().map(|one| one.feature).collect();
            Err(Problem::bad_request("bad-feature", "No such feature")
                .detail(format!("`feature` is one of {}", known.join(", "))))
        }
    }
}
