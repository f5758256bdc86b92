//! Runs of the last day or week, as a chart.

use axum::response::Response;
use jiff::{SignedDuration, Timestamp};
use maud::{Markup, html};

use super::chart;
use crate::{
    client::{ApiResult, RunCounts},
    ui,
    visit::{Visit, t},
};

/// The counts of a day by hour, or of a week by day.
pub(crate) async fn counts(visit: &Visit, span: &str) -> ApiResult<RunCounts> {
    let (days, by) = if span == "week" {
        (7, "day")
    } else {
        (1, "hour")
    };
    let from: Timestamp = visit.now - SignedDuration::from_hours(24 * days);
    let from = aias_domain::timestamp::format(from);
    visit
        .get(&format!("/api/runs/counts?from={from}&by={by}"))
        .await
}

pub(crate) fn panel(visit: &Visit, span: &str, counts: ApiResult<RunCounts>) -> Markup {
    let other = if span == "week" { "day" } else { "week" };
    let label = t!(
        visit,
        if span == "week" {
            "last-day"
        } else {
            "last-week"
        }
    );
    html! {
        section #activity hx-get=(format!("/dashboard/activity?span={span}")) hx-trigger="every 15s" hx-swap="outerHTML"
            hx-nonce=(visit.nonce) hx-ptag="none" {
            h2 { (t!(visit, if span == "week" { "last-week" } else { "last-day" })) }
            (ui::panel(visit, counts, |counts| chart::runs(visit, &counts)))
            p { a href=(format!("/dashboard?span={other}")) { (label) } }
        }
    }
}

pub(crate) async fn fragment(visit: Visit) -> Response {
    let query = visit.query();
    let counts = counts(&visit, query.get("span")).await;
    visit.fragment(panel(&visit, query.get("span"), counts))
}
