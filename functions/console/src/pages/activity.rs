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

/// The time that the overview shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Span {
    Day,
    Week,
}

impl Span {
    /// The one that the query names, a day by default.
    pub(crate) fn of(visit: &Visit) -> Self {
        match visit.query().get("span") {
            "week" => Self::Week,
            _ => Self::Day,
        }
    }

    /// When it starts, as the API writes times.
    pub(crate) fn start(self, now: Timestamp) -> String {
        let days = match self {
            Self::Day => 1,
            Self::Week => 7,
        };
        aias_domain::timestamp::format(now - SignedDuration::from_hours(24 * days))
    }

    fn other(self) -> Self {
        match self {
            Self::Day => Self::Week,
            Self::Week => Self::Day,
        }
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::Day => "day",
            Self::Week => "week",
        }
    }

    fn title(self, visit: &Visit) -> String {
        match self {
            Self::Day => t!(visit, "last-day"),
            Self::Week => t!(visit, "last-week"),
        }
    }
}

/// The counts of a day by hour, or of a week by day.
pub(crate) async fn counts(visit: &Visit, span: Span) -> ApiResult<RunCounts> {
    let by = match span {
        Span::Day => "hour",
        Span::Week => "day",
    };
    let from = span.start(visit.now);
    visit
        .get(&format!("/api/runs/counts?from={from}&by={by}"))
        .await
}

pub(crate) fn panel(visit: &Visit, span: Span, counts: ApiResult<RunCounts>) -> Markup {
    let other = span.other();
    html! {
        section #activity hx-get=(format!("/dashboard/activity?span={}", span.as_str())) hx-trigger="every 15s" hx-swap="outerHTML"
            hx-nonce=(visit.nonce) hx-ptag="none" {
            h2 { (span.title(visit)) }
            (ui::panel(visit, counts, |counts| chart::runs(visit, &counts)))
            p { a href=(format!("/dashboard?span={}", other.as_str())) { (other.title(visit)) } }
        }
    }
}

pub(crate) async fn fragment(visit: Visit) -> Response {
    let span = Span::of(&visit);
    let counts = counts(&visit, span).await;
    visit.fragment(panel(&visit, span, counts))
}
