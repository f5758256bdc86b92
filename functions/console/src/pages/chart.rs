//! Charts as SVG. Their numbers are also in a table, for people who cannot see them.

use maud::{Markup, html};

use crate::{
    client::RunCounts,
    ui,
    visit::{Browser, t},
};

const WIDTH: u64 = 720;
const HEIGHT: u64 = 120;

/// Runs and faulted runs per hour or day.
pub(crate) fn runs(visit: &Browser, counts: &RunCounts) -> Markup {
    let most = counts
        .data
        .iter()
        .map(|period| period.runs)
        .max()
        .unwrap_or(0);
    let all: u64 = counts.data.iter().map(|period| period.runs).sum();
    let faulted: u64 = counts.data.iter().map(|period| period.faulted()).sum();
    let bars = counts.data.len().max(1) as u64;
    let pitch = WIDTH / bars;
    let height = |count: u64| (count * HEIGHT).div_ceil(most.max(1));
    let summary = t!(visit, "chart-summary", runs = all, faulted = faulted);
    html! {
        p { (summary) }
        @if !counts.complete { p.note { (t!(visit, "chart-incomplete")) } }
        p.axis { (t!(visit, "chart-highest", runs = most)) }
        svg.chart viewBox=(format!("0 0 {WIDTH} {HEIGHT}")) role="img" aria-label=(summary) {
            @for (index, period) in counts.data.iter().enumerate() {
                @let x = index as u64 * pitch;
                @let (own, bad) = (height(period.runs), height(period.faulted()));
                rect.runs x=(x) y=(HEIGHT - own) width=(pitch.saturating_sub(3).max(1)) height=(own) {}
                rect.faulted x=(x) y=(HEIGHT - bad) width=(pitch.saturating_sub(3).max(1)) height=(bad) {}
            }
        }
        @if let (Some(first), Some(last)) = (counts.data.first(), counts.data.last()) {
            p.axis { (ui::time(visit, &first.from)) (ui::time(visit, &last.from)) }
        }
        details {
            summary { (t!(visit, "chart-table")) }
            (ui::table(&t!(visit, "chart-table"), &[t!(visit, "time"), t!(visit, "nav-runs"), ui::word(visit, "status", "faulted")], &html! {
                @for period in &counts.data {
                    tr { td { (ui::time(visit, &period.from)) } td.number { (visit.language().number(period.runs)) } td.number { (visit.language().number(period.faulted())) } }
                }
            }))
        }
    }
}

/// How much of a limit is used.
pub(crate) fn meter(visit: &Browser, label: &str, used: u64, limit: u64) -> Markup {
    let percent = used
        .saturating_mul(100)
        .checked_div(limit)
        .map_or(100, |percent| percent.min(100));
    let level = match percent {
        0..80 => "low",
        80..100 => "high",
        _ => "full",
    };
    let numbers = t!(
        visit,
        "used-of",
        used = visit.language().number(used),
        limit = visit.language().number(limit)
    );
    html! {
        div.meter data-level=(level) {
            span { (label) } " " span.number { (numbers) }
            svg viewBox="0 0 100 4" role="img" aria-label=(format!("{label}: {numbers}")) preserveAspectRatio="none" {
                rect.track width="100" height="4" {}
                rect.used width=(percent) height="4" {}
            }
        }
    }
}
