//! The page of a run.

use aias_domain::tenant::Role;
use aias_platform::http::Path;
use axum::http::{HeaderValue, Method};
use maud::{Markup, html};
use serde_json::Value;

use super::{picture, run_detail, runs::trigger, workflow_names::WorkflowNames};
use crate::{
    client::{ApiResult, LogEntry, Page, Run, Version},
    failure::Result,
    form::{Fields, Id},
    ui,
    visit::{Visit, t},
};

/// What changes while a run continues.
struct Progress {
    run: Run,
    logs: ApiResult<Page<LogEntry>>,
    names: WorkflowNames,
}

async fn progress(visit: &Visit, id: &str) -> ApiResult<Progress> {
    let query = visit.query();
    let page = Fields::default().query_with(&[("limit", "100"), ("cursor", query.get("cursor"))]);
    let (run, logs) = (
        format!("/api/runs/{id}?include=output"),
        format!("/api/runs/{id}/logs?{page}"),
    );
    let (run, logs, names) = tokio::join!(
        visit.get::<Run>(&run),
        visit.get(&logs),
        WorkflowNames::read(visit)
    );
    Ok(Progress {
        run: run?,
        logs,
        names,
    })
}

/// The version of a run, which it gets when it starts. Another read of the run takes less time than
/// waiting for its output.
async fn version(visit: &Visit, id: &str) -> Option<ApiResult<Version>> {
    let run: Run = match visit.get(&format!("/api/runs/{id}")).await {
        Ok(run) => run,
        Err(problem) => return Some(Err(problem)),
    };
    let path = format!(
        "/api/workflows/{}/versions/{}",
        run.workflow_id, run.workflow_version?
    );
    Some(visit.get(&path).await)
}

pub(crate) async fn page(visit: Visit, Path(id): Path<Id>) -> Result {
    let input = format!("/api/runs/{id}/input");
    let events = format!("/api/runs/{id}/events?limit=100");
    let (progress, input, events, version) = tokio::join!(
        progress(&visit, &id),
        visit.call(Method::GET, &input).send(),
        visit.get::<Page<Value>>(&events),
        version(&visit, &id),
    );
    let progress = progress?;
    let run = &progress.run;
    let query = visit.query();
    let content = html! {
        @if !query.get("done").is_empty() { (ui::done(&ui::word(&visit, "done", query.get("done")))) }
        (actions(&visit, run))
        (live(&visit, &progress))
        @if let Some(version) = version {
            section {
                h2 { (t!(visit, "definition")) }
                (ui::panel(&visit, version, |version| {
                    let at = run.error.as_ref().and_then(|error| error.instance.as_deref());
                    picture::of(&visit, &version.definition, at)
                }))
            }
        }
        section {
            h2 { (t!(visit, "input")) }
            (ui::panel(&visit, input, |reply| run_detail::shown_input(&visit, &id, &reply)))
        }
        @if let Ok(events) = &events && !events.data.is_empty() {
            section {
                h2 { (t!(visit, "emitted-events")) }
                @for event in &events.data { (ui::tree(&visit, event)) }
                @if events.next_cursor.is_some() { p.note { (t!(visit, "first-100")) } }
            }
        }
        (relatives(&visit, run))
    };
    Ok(visit.page(&t!(visit, "run"), content))
}

pub(crate) async fn fragment(visit: Visit, Path(id): Path<Id>) -> Result {
    let progress = progress(&visit, &id).await?;
    let mut response = visit.fragment(live(&visit, &progress));
    if progress.run.has_ended() {
        // The rest of the page, such as the actions and the picture, depends on the end as well.
        let reload = HeaderValue::from_static("true");
        response.headers_mut().insert("hx-refresh", reload);
    }
    Ok(response)
}

/// The part that is polled until the run has ended.
fn live(visit: &Visit, progress: &Progress) -> Markup {
    let run = &progress.run;
    let query = visit.query();
    let level = query.get("level");
    let kept = Fields::default().query_with(&[("level", level), ("cursor", query.get("cursor"))]);
    let path = format!("/dashboard/runs/{}/live?{kept}", run.id);
    let polling = (!run.has_ended()).then_some("every 2s");
    let content = html! {
        (facts(visit, progress))
        @if let Some(error) = &run.error { (ui::run_error(visit, error)) }
        @if let Some(output) = &run.output {
            section { h2 { (t!(visit, "output")) } (ui::tree(visit, output)) details { summary { "JSON" } (ui::json(visit, output)) } }
        }
        @match &progress.logs {
            Ok(logs) => {
                section { h2 { (t!(visit, "timeline")) } (run_detail::timeline(visit, run, &logs.data)) }
                section { h2 { (t!(visit, "log")) } (run_detail::log(visit, run, logs, level)) }
            }
            Err(refused) => (ui::problem(visit, refused)),
        }
    };
    html! {
        @if let Some(trigger) = polling {
            div #run hx-get=(path) hx-trigger=(trigger) hx-swap="outerHTML" hx-nonce=(visit.nonce) hx-ptag="none" { (content) }
        } @else {
            div #run { (content) }
        }
    }
}

fn facts(visit: &Visit, Progress { run, names, .. }: &Progress) -> Markup {
    html! {
        dl.facts {
            dt { (t!(visit, "run")) } dd { (ui::id(visit, &run.id)) }
            dt { (t!(visit, "status")) } dd { (ui::status(visit, &run.status)) }
            dt { (t!(visit, "workflow")) }
            dd { (names.link(&run.workflow_id, run.workflow_version)) }
            dt { (t!(visit, "trigger")) } dd { (trigger(visit, run)) }
            dt { (t!(visit, "created")) } dd { (ui::time(visit, &run.created_at)) }
            dt { (t!(visit, "started")) } dd { (ui::optional_time(visit, run.started_at.as_deref())) }
            dt { (t!(visit, "ended")) } dd { (ui::optional_time(visit, run.ended_at.as_deref())) }
            dt { (t!(visit, "duration")) } dd { (ui::duration(visit, run.duration_ms)) }
            @if let Some(at) = &run.wakes_at { dt { (t!(visit, "wakes-at")) } dd { (ui::time(visit, at)) } }
            dt { (t!(visit, "attempts")) } dd { (run.attempts) }
            dt { (t!(visit, "input-digest")) } dd { (ui::id(visit, &run.input_digest)) }
            @if let Some(digest) = &run.output_digest { dt { (t!(visit, "output-digest")) } dd { (ui::id(visit, digest)) } }
            @for artifact in &run.artifacts {
                dt { (t!(visit, "artifact")) }
                dd { (ui::link("artifacts", &artifact.id)) " " (ui::text(&artifact.name)) ", " (visit.language().number(artifact.size_bytes)) " " (t!(visit, "bytes")) }
            }
        }
    }
}

fn actions(visit: &Visit, run: &Run) -> Markup {
    if !visit.can(Role::Editor) {
        return html! {};
    }
    let path = |action: &str| format!("/dashboard/runs/{}/{action}", run.id);
    html! {
        section.actions aria-label=(t!(visit, "actions")) {
            @if !run.has_ended() {
                (ui::confirmed(visit, &path("cancel"), &t!(visit, "action-cancel"), &t!(visit, "cancel-consequence"), &[]))
            }
            @if run.status == "faulted" {
                (ui::confirmed(visit, &path("retry"), &t!(visit, "action-retry"), &t!(visit, "retry-consequence"), &[]))
            }
            details.confirmed {
                summary { (t!(visit, "action-replay")) }
                p { (t!(visit, "replay-consequence")) }
                form method="post" action=(path("replay")) {
                    (ui::csrf(visit)) (ui::once())
                    (ui::input("workflow_version", &t!(visit, "version-or-active"), "", "number"))
                    button { (t!(visit, "confirm-do", action = t!(visit, "action-replay"))) }
                }
            }
            @if matches!(&*run.status, "completed" | "faulted") {
                (ui::button(visit, &path("verify"), &t!(visit, "action-verify"), &[]))
            }
            a href=(path("steps")) { (t!(visit, "steps")) }
        }
    }
}

fn relatives(visit: &Visit, run: &Run) -> Markup {
    let original = run.trigger.replay_of.as_deref();
    if run.children.is_empty() && run.replays.is_empty() && original.is_none() {
        return html! {};
    }
    html! {
        section {
            h2 { (t!(visit, "related-runs")) }
            ul {
                @for child in &run.children {
                    li { (t!(visit, "child-run")) " " (ui::link("runs", &child.run_id)) " " code { (ui::visible(&child.task)) } }
                }
                @for replay in run.replays.iter().map(String::as_str).chain(original) {
                    li {
                        (t!(visit, if Some(replay) == original { "original-run" } else { "replay" })) " " (ui::link("runs", replay)) " "
                        a href=(format!("/dashboard/runs/{}/compare?with={replay}", run.id)) { (t!(visit, "compare")) }
                    }
                }
            }
        }
    }
}
