//! Parts of a run's page: timeline, log, input, and the comparison with another run.

use aias_platform::http::Path;
use axum::{http::Method, response::Response};
use jiff::Timestamp;
use maud::{Markup, html};
use serde_json::Value;

use crate::{
    client::{ApiResult, Comparison, LogEntry, Page, Reply, Run},
    failure::{Failure, Result},
    form::Id,
    ui,
    visit::{Visit, see_other, t},
};

/// The tasks of a run as bars over its time.
pub(crate) fn timeline(visit: &Visit, run: &Run, entries: &[LogEntry]) -> Markup {
    let at = |text: &str| {
        text.parse::<Timestamp>()
            .ok()
            .map(Timestamp::as_millisecond)
    };
    let bars: Vec<(&LogEntry, i64, i64)> = entries
        .iter()
        .filter(|entry| matches!(&*entry.event, "task.completed" | "task.faulted"))
        .filter_map(|entry| {
            let end = at(&entry.time)?;
            let length = i64::try_from(entry.duration_ms).unwrap_or_default();
            Some((entry, end - length, end))
        })
        .collect();
    let first = bars
        .iter()
        .map(|(_, start, _)| *start)
        .chain(run.started_at.as_deref().and_then(at))
        .min();
    let last = bars.iter().map(|(_, _, end)| *end).max();
    let (Some(first), Some(last)) = (first, last) else {
        return html! { p { (t!(visit, "no-tasks")) } };
    };
    let whole = (last - first).max(1);
    let share = |value: i64| value * 1000 / whole;
    html! {
        ol.timeline {
            @for (entry, start, end) in bars {
                li {
                    span { code { (ui::visible(entry.task.as_deref().unwrap_or_default())) } " " (ui::word(visit, "event", &entry.event)) " " (ui::duration(visit, Some(entry.duration_ms))) }
                    svg viewBox="0 0 1000 10" preserveAspectRatio="none" aria-hidden="true" {
                        rect x=(share(start - first)) width=(share(end - start).max(4)) height="10" data-level=(entry.level) {}
                    }
                }
            }
        }
    }
}

pub(crate) fn log(visit: &Visit, run: &Run, entries: &Page<LogEntry>, level: &str) -> Markup {
    let levels = ["debug", "info", "warn", "error"];
    let lowest = levels.iter().position(|own| *own == level).unwrap_or(0);
    let shown = |entry: &&LogEntry| {
        levels
            .iter()
            .position(|own| *own == entry.level)
            .unwrap_or(3)
            >= lowest
    };
    html! {
        nav.levels aria-label=(t!(visit, "level")) {
            @for own in levels {
                a href=(format!("/dashboard/runs/{}?level={own}", run.id)) aria-current=[(own == level).then_some("true")] { (ui::word(visit, "level", own)) }
            }
        }
        (ui::table(&t!(visit, "log"), &[t!(visit, "time"), t!(visit, "level"), t!(visit, "event"), t!(visit, "task"), t!(visit, "message"), t!(visit, "duration")], &html! {
            @for entry in entries.data.iter().filter(shown) {
                tr id=(format!("log-{}", entry.seq)) data-level=(entry.level) {
                    td { (ui::time(visit, &entry.time)) }
                    td { (ui::word(visit, "level", &entry.level)) }
                    td { code { (ui::visible(&entry.event)) } }
                    td { @if let Some(task) = &entry.task { code { (ui::visible(task)) } } }
                    td {
                        (ui::text(&entry.message))
                        @if entry.attempt > 1 { " (" (t!(visit, "attempt", number = entry.attempt)) ")" }
                        @if let Some(error) = &entry.error { @if !entry.message.is_empty() { br; } (ui::text(&error.title)) @if let Some(detail) = &error.detail { ": " (ui::text(detail)) } }
                    }
                    td.number { (ui::duration(visit, Some(entry.duration_ms))) }
                }
            }
        }))
        @if let Some(cursor) = &entries.next_cursor {
            @let next = visit.query().query_with(&[("cursor", cursor)]);
            nav.pager { a rel="next" href=(format!("/dashboard/runs/{}?{next}", run.id)) { (t!(visit, "next-page")) } }
        }
    }
}

/// The input of a run. One that is too large for a page is a download.
pub(crate) fn shown_input(visit: &Visit, id: &str, reply: &Reply) -> Markup {
    let download =
        html! { p { a href=(format!("/dashboard/runs/{id}/input")) { (t!(visit, "download")) } } };
    if reply.status.is_redirection() {
        return html! { p { (t!(visit, "too-large-to-show")) } (download) };
    }
    let content = if reply.body.len() <= ui::MAX_SHOWN_BYTES {
        match serde_json::from_slice::<Value>(&reply.body) {
            Ok(value) => {
                html! { (ui::tree(visit, &value)) details { summary { "JSON" } (ui::json(visit, &value)) } }
            }
            Err(_) => ui::preformatted(visit, &String::from_utf8_lossy(&reply.body)),
        }
    } else {
        ui::preformatted(visit, &String::from_utf8_lossy(&reply.body))
    };
    html! { (content) (download) }
}

/// The input as a file.
pub(crate) async fn input(visit: Visit, Path(id): Path<Id>) -> Result {
    let reply = visit
        .call(Method::GET, &format!("/api/runs/{id}/input"))
        .send()
        .await?;
    if reply.status.is_redirection() {
        return Ok(see_other(reply.location()));
    }
    let name = format!("attachment; filename=\"{id}-input.json\"");
    let headers = [
        ("content-type", "application/json"),
        ("content-disposition", name.as_str()),
    ];
    Ok(axum::response::IntoResponse::into_response((
        headers, reply.body,
    )))
}

/// Two runs beside each other.
pub(crate) async fn compare(visit: Visit, Path(id): Path<Id>) -> Result {
    let query = visit.query();
    let other = Id::parse(query.get("with")).ok_or_else(Failure::not_found)?;
    let path = |id: &str| format!("/api/runs/{id}?include=output");
    let (own, their) = (path(&id), path(&other));
    let comparison = format!("/api/runs/{id}/compare?{}", query.query_with(&[]));
    let (own, their, comparison) = tokio::join!(
        visit.get::<Run>(&own),
        visit.get::<Run>(&their),
        visit.get::<Comparison>(&comparison),
    );
    let content = html! {
        div.beside {
            @for (run, id) in [(own, &id), (their, &other)] { (side(&visit, id, run)) }
        }
        section {
            h2 { (t!(visit, "difference")) }
            (ui::panel(&visit, comparison, |found| difference(&visit, &found)))
        }
    };
    Ok(visit.page(&t!(visit, "compare"), content))
}

fn side(visit: &Visit, id: &str, run: ApiResult<Run>) -> Markup {
    html! {
        section {
            h2 { (ui::link("runs", id)) }
            (ui::panel(visit, run, |run| html! {
                p { (ui::status(visit, &run.status)) " " (ui::time(visit, &run.created_at)) }
                @if let Some(digest) = &run.output_digest { p { (ui::id(visit, digest)) } }
                @if let Some(output) = &run.output { (ui::json(visit, output)) }
                @if let Some(error) = &run.error { (ui::run_error(visit, error)) }
            }))
        }
    }
}

fn difference(visit: &Visit, found: &Comparison) -> Markup {
    html! {
        p { strong { (t!(visit, if found.equal { "outputs-equal" } else { "outputs-differ" })) } }
        @if let Some(patch) = &found.output_patch && !patch.is_empty() {
            ul.patch {
                @for change in patch.iter().take(200) {
                    li {
                        (change["op"].as_str().unwrap_or_default()) " "
                        code { (ui::visible(change["path"].as_str().unwrap_or_default())) }
                        @if !change["value"].is_null() { ": " code { (ui::visible(ui::start_of(&change["value"].to_string(), 500))) } }
                    }
                }
            }
        }
        @if let Some(first) = &found.first_difference {
            p {
                (t!(visit, "first-different-step", number = first.index + 1)) " "
                @for step in [&first.this, &first.other].into_iter().flatten() { code { (ui::visible(&step.task)) } " " }
            }
        }
    }
}

/// What the verification of a run found.
pub(crate) fn verified(visit: &Visit, id: &str, found: &crate::client::Verified) -> Response {
    let content = html! {
        p { (ui::link("runs", id)) }
        @if found.reproducible {
            (ui::done(&t!(visit, "reproducible")))
        } @else {
            p.problem role="alert" { (t!(visit, "not-reproducible")) }
        }
        dl.facts {
            dt { (t!(visit, "expected-digest")) } dd { (ui::id(visit, &found.expected_digest)) }
            dt { (t!(visit, "actual-digest")) }
            dd { @match &found.actual_digest { Some(digest) => (ui::id(visit, digest)), None => (t!(visit, "none")) } }
        }
    };
    visit.page(&t!(visit, "action-verify"), content)
}
