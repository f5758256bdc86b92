//! Counts of runs per hour or day.

use std::collections::BTreeMap;

use aias_domain::{run::Status, timestamp};
use aias_platform::{
    http::{Parameters, QueryTime, Result, Viewer, response::json},
    store::MAX_COUNTED,
};
use axum::http::StatusCode;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::App;

/// The length of a counted period.
#[derive(Clone, Copy, Default, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Period {
    #[default]
    Hour,
    Day,
}

#[derive(Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct CountQuery {
    /// The start of the counted time: RFC 3339, or a date, which is its first instant in UTC. A day ago
    /// by default; at most eight days ago.
    #[param(value_type = Option<String>, format = DateTime, example = "2026-11-25T00:00:00Z")]
    from: Option<QueryTime>,
    /// `hour` by default.
    #[param(inline)]
    by: Option<Period>,
}

/// How many runs were created in a period.
#[derive(Serialize, ToSchema)]
pub(crate) struct CountedPeriod {
    #[schema(format = DateTime)]
    from: String,
    runs: u64,
    /// The numbers of runs by their present status.
    by_status: BTreeMap<&'static str, u64>,
}

/// Runs per period, oldest first.
#[derive(Serialize, ToSchema)]
pub(crate) struct RunCounts {
    data: Vec<CountedPeriod>,
    /// Whether all runs since the requested time are counted. If there are too many, `data` starts
    /// later.
    complete: bool,
}

/// Count runs
///
/// By the hour or day (UTC) of their creation, up to now. Counts at most some thousand of the newest
/// runs.
#[utoipa::path(
    get,
    path = "/api/runs/counts",
    tag = "runs",
    params(CountQuery),
    responses((status = 200, description = "The counts", body = RunCounts)),
    extensions(("x-role" = json!("viewer"))),
)]
pub(crate) async fn count_runs(ctx: Viewer<App, Parameters<CountQuery>>) -> Result {
    let CountQuery { from, by } = ctx.query.0;
    let length = match by.unwrap_or_default() {
        Period::Hour => 3600,
        Period::Day => 24 * 3600,
    };
    let day_ago = ctx.now - SignedDuration::from_hours(24);
    let from = from.map_or(day_ago, |time| time.0).min(ctx.now);
    let from = from.max(ctx.now - MAX_COUNTED);
    let counted = ctx.store().run_counts(from, ctx.now).await?;
    let periods = periods(&counted.runs, counted.from, ctx.now, length);
    let view = RunCounts {
        data: periods,
        complete: counted.from == from,
    };
    json(StatusCode::OK, &view)
}

/// All periods from the one of `from` to the one of `to`, also those without runs.
fn periods(
    runs: &[(Timestamp, Status)],
    from: Timestamp,
    to: Timestamp,
    length: i64,
) -> Vec<CountedPeriod> {
    let number = |at: Timestamp| at.as_second().div_euclid(length);
    let mut by_period: BTreeMap<i64, BTreeMap<&'static str, u64>> = BTreeMap::new();
    for period in number(from)..=number(to) {
        by_period.entry(period).or_default();
    }
    for (created_at, status) in runs {
        let own = by_period.entry(number(*created_at)).or_default();
        *own.entry(status.as_str()).or_default() += 1;
    }
    let view = |(period, by_status): (i64, BTreeMap<&'static str, u64>)| CountedPeriod {
        from: timestamp::format(Timestamp::from_second(period * length).unwrap_or(from)),
        runs: by_status.values().sum(),
        by_status,
    };
    by_period.into_iter().map(view).collect()
}
