//! The state of the installation as far as a tenant's admins may see it, and of the tenant.

use std::collections::BTreeMap;

use aias_domain::{
    counted::CountedFeature,
    run::{Run, Status},
    timestamp,
};
use aias_platform::{
    http::{Admin, Result, response::json},
    store::{RunCounts, RunFilter},
    telemetry::ErrorChain,
};
use axum::http::StatusCode;
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{App, Checks, all_checks};

/// The state of the installation and of the tenant.
#[derive(Serialize, ToSchema)]
struct Diagnostics {
    #[schema(value_type = String)]
    version: &'static str,
    checks: Checks,
    /// None if the queues cannot be reached.
    queue: Option<QueueState>,
    runs: RunsState,
    request_rate: RequestRate,
    configuration: Vec<ConfigurationCheck>,
}

/// The messages of all tenants' runs.
#[derive(Serialize, ToSchema)]
struct QueueState {
    messages: u64,
    in_flight: u64,
    delayed: u64,
    dead_letters: u64,
}

/// The tenant's runs of the last day.
#[derive(Serialize, ToSchema)]
struct RunsState {
    by_status: BTreeMap<&'static str, u64>,
    /// The newest faulted runs, by the code of their error.
    faulted_by_code: BTreeMap<String, u64>,
    /// Whether all runs of the last day are counted.
    complete: bool,
    /// When the oldest pending run was created: the age of the queue, for this tenant.
    #[schema(format = DateTime)]
    oldest_pending_at: Option<String>,
    /// The runs that execute now, of any age.
    running: u64,
}

/// The requests that the tenant has left in this execution environment.
#[derive(Serialize, ToSchema)]
struct RequestRate {
    limit: u32,
    remaining: u32,
    resets_in_seconds: i64,
}

#[derive(Clone, Copy, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum ConfigurationStatus {
    Ok,
    Warning,
}

/// A check of the configuration, and what to do.
#[derive(Serialize, ToSchema)]
struct ConfigurationCheck {
    #[schema(value_type = String)]
    name: &'static str,
    status: ConfigurationStatus,
    #[schema(value_type = String)]
    detail: &'static str,
}

/// How long a run may be pending before it needs attention.
const PENDING: SignedDuration = SignedDuration::from_mins(5);
/// The most faulted runs that are grouped by code.
const MAX_FAULTED: usize = 100;

/// Get the state of the installation and of the tenant
#[utoipa::path(
    get,
    path = "/api/diagnostics",
    tag = "operations",
    responses((status = 200, description = "The state", body = Diagnostics)),
    extensions(("x-role" = json!("admin"))),
)]
pub(crate) async fn get_diagnostics(ctx: Admin<App>) -> Result {
    let (store, app) = (ctx.store(), &ctx.app);
    let day_ago = ctx.now - SignedDuration::from_hours(24);
    let filter = RunFilter {
        status: Some(Status::Faulted),
        from: Some(day_ago),
        ..RunFilter::default()
    };
    // The session of the tenant reads the tenant's items only.
    let read_table = async { store.tenant().await.map(|_| ()) };
    let (checks, queue, dead_letters, counts, faulted, running, members) = tokio::join!(
        all_checks(app, read_table),
        app.queue.depth(),
        app.dead_letters.depth(),
        store.run_counts(day_ago, ctx.now),
        store.runs(&filter, MAX_FAULTED, None, (day_ago, ctx.now)),
        store.running(ctx.caller.limits.concurrent_runs),
        store.counts(),
    );
    let (counts, faulted) = (counts?, faulted?.items);
    let queue = match (queue, dead_letters) {
        (Ok(runs), Ok(dead)) => Some(QueueState {
            messages: runs.messages,
            in_flight: runs.in_flight,
            delayed: runs.delayed,
            dead_letters: dead.messages + dead.in_flight,
        }),
        (Err(error), _) | (_, Err(error)) => {
            tracing::error!(event = "queue_depth_unavailable", error = %ErrorChain(&error));
            None
        }
    };
    let oldest_pending = oldest_pending(&counts);
    let configuration = vec![
        check(
            "issuer",
            app.api.auth.has_issuer(),
            "people can sign in with the OIDC issuer",
            "only API keys are accepted: set OidcIssuer and OidcAudience so that people can sign in",
        ),
        check(
            "dead-letters",
            queue.as_ref().is_none_or(|own| own.dead_letters == 0),
            "the dead-letter queue is empty",
            "the dead-letter queue has messages: see the runbook in docs/operations.md",
        ),
        check(
            "pending-runs",
            oldest_pending.is_none_or(|at| ctx.now.duration_since(at) < PENDING),
            "no run has been pending for five minutes",
            "a run has been pending for five minutes: the executor may be at ExecutorConcurrency, or failing",
        ),
        check(
            "members",
            members?.of(CountedFeature::Members) > 1,
            "the tenant has several members",
            "the tenant has one member or none: invite a second owner, so that access is not lost with one person",
        ),
    ];
    let rate = ctx.caller.request_rate();
    let view = Diagnostics {
        version: env!("CARGO_PKG_VERSION"),
        checks,
        queue,
        runs: RunsState {
            by_status: counts.by_status(),
            faulted_by_code: by_code(&faulted),
            complete: counts.from == day_ago,
            oldest_pending_at: oldest_pending.map(timestamp::format),
            running: running?,
        },
        request_rate: RequestRate {
            limit: rate.quota,
            remaining: rate.remaining,
            resets_in_seconds: rate.resets_in,
        },
        configuration,
    };
    json(StatusCode::OK, &view)
}

fn check(
    name: &'static str,
    is_ok: bool,
    ok: &'static str,
    warning: &'static str,
) -> ConfigurationCheck {
    let (status, detail) = if is_ok {
        (ConfigurationStatus::Ok, ok)
    } else {
        (ConfigurationStatus::Warning, warning)
    };
    ConfigurationCheck {
        name,
        status,
        detail,
    }
}

fn oldest_pending(counts: &RunCounts) -> Option<Timestamp> {
    let mut pending = counts.runs.iter().rev();
    pending
        .find(|(_, status)| *status == Status::Pending)
        .map(|(at, _)| *at)
}

fn by_code(faulted: &[Run]) -> BTreeMap<String, u64> {
    let mut counts = BTreeMap::new();
    for error in faulted.iter().filter_map(|run| run.error.as_ref()) {
        *counts.entry(error.code.clone()).or_default() += 1;
    }
    counts
}
