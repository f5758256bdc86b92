//! The overview: the month against the plan, activity, errors, and the steps of a new tenant.

use aias_domain::tenant::Role;
use axum::response::Response;
use maud::{Markup, html};

use super::{
    activity::{self, Span},
    chart,
    workflow_names::WorkflowNames,
};
use crate::{
    client::{ApiResult, Endpoint, Entitlement, ErrorGroup, Page, Run, WorkflowHead},
    ui,
    visit::{Visit, t},
};

pub(crate) async fn page(visit: Visit) -> Response {
    let span = Span::of(&visit);
    let errors = format!("/api/runs/errors?from={}", span.start(visit.now));
    let (limits, workflows, endpoints, runs, errors, counts) = tokio::join!(
        visit.get::<Page<Entitlement>>("/api/entitlements/check"),
        visit.get::<Page<WorkflowHead>>("/api/workflows?limit=100"),
        visit.get::<Page<Endpoint>>("/api/webhook-endpoints?limit=100"),
        visit.get::<Page<Run>>("/api/runs?limit=5"),
        visit.get::<Page<ErrorGroup>>(&errors),
        activity::counts(&visit, span),
    );
    let steps = Steps {
        workflow: has_any(&workflows),
        endpoint: has_any(&endpoints),
        run: has_any(&runs),
        completed: has_completed(&visit, &runs).await,
    };
    let names = WorkflowNames::of(workflows);
    let content = html! {
        (checklist(&visit, &steps))
        @if let Ok(endpoints) = &endpoints { (attention(&visit, endpoints)) }
        (activity::panel(&visit, span, counts))
        section {
            h2 { (t!(visit, "this-month")) }
            (ui::panel(&visit, limits, |limits| usage(&visit, &limits)))
        }
        section {
            h2 { (t!(visit, "errors")) }
            (ui::panel(&visit, errors, |errors| groups(&visit, &errors)))
        }
        section {
            h2 { (t!(visit, "newest-runs")) }
            (ui::panel(&visit, runs, |runs| super::runs::table(&visit, &runs.data, &names, false)))
            p { a href="/dashboard/runs" { (t!(visit, "all-runs")) } }
        }
    };
    visit.page(&t!(visit, "nav-overview"), content)
}

/// Whether a list has an item. A list that cannot be read counts as having one: the checklist must not
/// ask for something that may exist already.
fn has_any<T>(list: &ApiResult<Page<T>>) -> bool {
    list.as_ref().map_or(true, |page| !page.data.is_empty())
}

/// Whether a run has completed. Only a tenant whose newest runs have not needs another call.
async fn has_completed(visit: &Visit, newest: &ApiResult<Page<Run>>) -> bool {
    match newest {
        Err(_) => true,
        Ok(page) if page.data.is_empty() => false,
        Ok(page) if page.data.iter().any(|run| run.status == "completed") => true,
        Ok(_) => has_any::<Run>(&visit.get("/api/runs?status=completed&limit=1").await),
    }
}

/// The first steps of a tenant.
struct Steps {
    workflow: bool,
    endpoint: bool,
    run: bool,
    completed: bool,
}

fn checklist(visit: &Visit, steps: &Steps) -> Markup {
    let all = [
        (
            steps.workflow,
            "step-workflow",
            "/dashboard/workflows/new",
            Role::Editor,
        ),
        (
            steps.endpoint,
            "step-endpoint",
            "/dashboard/endpoints/new",
            Role::Admin,
        ),
        (
            steps.run,
            "step-event",
            "/dashboard/endpoints",
            Role::Editor,
        ),
        (steps.completed, "step-run", "/dashboard/runs", Role::Viewer),
    ];
    if all.iter().all(|(is_done, ..)| *is_done) {
        return html! {};
    }
    html! {
        section.checklist {
            h2 { (t!(visit, "first-steps")) }
            ol {
                @for (is_done, text, path, role) in all {
                    li data-done=(is_done) {
                        span aria-hidden="true" { (if is_done { "✓ " } else { "○ " }) }
                        @if is_done || !visit.can(role) { (t!(visit, text)) } @else { a href=(path) { (t!(visit, text)) } }
                        @if is_done { span.visually-hidden { " (" (t!(visit, "step-done")) ")" } }
                    }
                }
            }
        }
    }
}

/// What needs attention: endpoints that take no events.
fn attention(visit: &Visit, endpoints: &Page<Endpoint>) -> Markup {
    let idle: Vec<&Endpoint> = endpoints
        .data
        .iter()
        .filter(|own| own.state != "active")
        .collect();
    if idle.is_empty() {
        return html! {};
    }
    html! {
        section {
            h2 { (t!(visit, "needs-attention")) }
            @if endpoints.next_cursor.is_some() { p.note { (t!(visit, "newest-100-endpoints")) } }
            ul {
                @for endpoint in idle {
                    li {
                        a href=(format!("/dashboard/endpoints/{}", endpoint.id)) { (ui::text(&endpoint.name)) } ": "
                        (ui::word(visit, "endpoint", &endpoint.state))
                    }
                }
            }
        }
    }
}

pub(crate) fn usage(visit: &Visit, limits: &Page<Entitlement>) -> Markup {
    html! {
        div.meters {
            @for own in &limits.data {
                @if let Some(used) = own.used {
                    (chart::meter(visit, &ui::word(visit, "feature", &own.feature), used, own.limit))
                }
            }
        }
        @if let Some(at) = limits.data.iter().find_map(|own| own.resets_at.as_deref()) {
            p.note { (t!(visit, "resets-at")) " " (ui::time(visit, at)) }
        }
    }
}

/// The most groups of errors that are shown.
const MAX_GROUPS: usize = 20;

fn groups(visit: &Visit, errors: &Page<ErrorGroup>) -> Markup {
    if errors.data.is_empty() {
        return html! { p { (t!(visit, "no-errors")) } };
    }
    html! {
        @if errors.data.len() > MAX_GROUPS || errors.next_cursor.is_some() { p.note { (t!(visit, "most-frequent-errors")) } }
        (ui::table(&t!(visit, "errors"), &[t!(visit, "count"), t!(visit, "error"), t!(visit, "task"), t!(visit, "last-run")], &html! {
            @for group in errors.data.iter().take(MAX_GROUPS) {
                tr {
                    td.number { (visit.language().number(group.count)) }
                    td {
                        a href=(format!("/dashboard/runs?status=faulted&workflow_id={}", group.workflow_id)) { (ui::text(&group.title)) }
                        " " code { (ui::visible(&group.code)) }
                        @if let Some(message) = &group.message { br; (ui::text(ui::start_of(message, 300))) }
                    }
                    td { @if let Some(task) = &group.task { code { (ui::visible(task)) } } }
                    td { (ui::link("runs", &group.last_run_id)) " " (ui::time(visit, &group.last_at)) }
                }
            }
        }))
    }
}
