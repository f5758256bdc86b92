//! The list of runs.

use aias_domain::tenant::Role;
use axum::response::Response;
use maud::{Markup, html};

use super::workflow_names::WorkflowNames;
use crate::{
    client::{ApiResult, Page, Run},
    form::{Fields, Id},
    ui,
    visit::{Visit, t},
};

const STATUSES: [&str; 7] = [
    "pending",
    "running",
    "waiting",
    "suspended",
    "cancelled",
    "faulted",
    "completed",
];

/// The parameters of the page that are those of the API.
const FILTERS: [&str; 7] = [
    "status",
    "workflow_id",
    "endpoint_id",
    "event_id",
    "event_type",
    "from",
    "to",
];

pub(crate) async fn page(visit: Visit) -> Response {
    let query = visit.query();
    // An id leads to its run.
    let id = query.get("id");
    if let Some(id) = Id::parse(id) {
        return crate::visit::see_other(&format!("/dashboard/runs/{id}"));
    }
    let (runs, names) = listed(&visit).await;
    let content = html! {
        (filters(&visit, &query, &names))
        (live(&visit, &query, runs, &names))
    };
    visit.page(&t!(visit, "nav-runs"), content)
}

pub(crate) async fn fragment(visit: Visit) -> Response {
    let query = visit.query();
    let (runs, names) = listed(&visit).await;
    visit.fragment(live(&visit, &query, runs, &names))
}

async fn listed(visit: &Visit) -> (ApiResult<Page<Run>>, WorkflowNames) {
    tokio::join!(
        visit.list("/api/runs", &FILTERS),
        WorkflowNames::read(visit)
    )
}

/// The list. Its first page updates itself.
fn live(
    visit: &Visit,
    query: &Fields,
    runs: ApiResult<Page<Run>>,
    names: &WorkflowNames,
) -> Markup {
    let is_live = query.get("cursor").is_empty();
    let path = format!("/dashboard/runs/list?{}", query.query_with(&[]));
    let content = html! {
        (ui::list_at(visit, "/dashboard/runs", runs, |runs| selection(visit, runs, names)))
    };
    html! {
        @if is_live {
            div #runs hx-get=(path) hx-trigger="every 5s" hx-swap="outerMorph" hx-nonce=(visit.nonce) hx-ptag="none" { (content) }
        } @else {
            div #runs { (content) }
        }
    }
}

fn filters(visit: &Visit, query: &Fields, names: &WorkflowNames) -> Markup {
    let any = (String::new(), t!(visit, "any"));
    let statuses = STATUSES.map(|status| (status.to_owned(), ui::word(visit, "status", status)));
    let statuses: Vec<_> = std::iter::once(any).chain(statuses).collect();
    html! {
        form.filters method="get" action="/dashboard/runs" {
            (ui::select("status", &t!(visit, "status"), query.get("status"), &statuses))
            (names.choice(visit, query.get("workflow_id"), Some(t!(visit, "any"))))
            (ui::input("endpoint_id", &t!(visit, "endpoint-id"), query.get("endpoint_id"), "text"))
            (ui::input("event_id", &t!(visit, "event-id"), query.get("event_id"), "text"))
            (ui::input("event_type", &t!(visit, "event-type"), query.get("event_type"), "text"))
            (ui::input("from", &t!(visit, "from"), query.get("from"), "date"))
            (ui::input("to", &t!(visit, "to"), query.get("to"), "date"))
            (ui::input("id", &t!(visit, "run-id"), "", "text"))
            button { (t!(visit, "filter")) }
            a href="/dashboard/runs" { (t!(visit, "clear")) }
        }
    }
}

/// The list with check boxes for an action on several runs.
fn selection(visit: &Visit, runs: &[Run], names: &WorkflowNames) -> Markup {
    if !visit.can(Role::Editor) || runs.is_empty() {
        return table(visit, runs, names, false);
    }
    html! {
        form method="post" action="/dashboard/runs/actions" {
            (ui::csrf(visit))
            (table(visit, runs, names, true))
            fieldset.actions {
                legend { (t!(visit, "with-selected")) }
                @for action in ["retry", "replay", "cancel"] {
                    button name="action" value=(action) { (ui::word(visit, "action", action)) }
                }
            }
        }
    }
}

pub(crate) fn table(visit: &Visit, runs: &[Run], names: &WorkflowNames, has_boxes: bool) -> Markup {
    if runs.is_empty() {
        return html! { p { (t!(visit, "no-runs")) } };
    }
    let heads = [
        t!(visit, "run"),
        t!(visit, "status"),
        t!(visit, "workflow"),
        t!(visit, "trigger"),
        t!(visit, "created"),
        t!(visit, "duration"),
    ];
    let select = has_boxes.then(|| t!(visit, "select"));
    let heads: Vec<String> = select.into_iter().chain(heads).collect();
    let rows = html! {
        @for run in runs {
            tr id=(run.id) {
                @if has_boxes {
                    td { input type="checkbox" name="run" value=(run.id) aria-label=(t!(visit, "select-run", id = run.id.as_str())); }
                }
                td { (ui::link("runs", &run.id)) }
                td { (ui::status(visit, &run.status)) @if let Some(error) = &run.error { " " (ui::text(&error.title)) } }
                td { (names.link(&run.workflow_id, run.workflow_version)) }
                td { (trigger(visit, run)) }
                td { (ui::time(visit, &run.created_at)) }
                td.number { (ui::duration(visit, run.duration_ms)) }
            }
        }
    };
    ui::table(&t!(visit, "nav-runs"), &heads, &rows)
}

pub(crate) fn trigger(visit: &Visit, run: &Run) -> Markup {
    let own = &run.trigger;
    html! {
        (ui::word(visit, "trigger", &own.kind))
        @if let Some(endpoint) = &own.endpoint_id { " " (ui::link("endpoints", endpoint)) }
        @if let Some(event) = &own.event_id { " " code { (ui::visible(event)) } }
        @if let Some(original) = &own.replay_of { " " (ui::link("runs", original)) }
        @if let Some(parent) = &own.parent_run_id { " " (ui::link("runs", parent)) }
    }
}
