//! Workflows: the list, and the page of one.

use aias_domain::tenant::Role;
use aias_platform::http::Path;
use axum::{http::Method, response::Response};
use maud::{Markup, html};
use serde_json::json;

use super::{picture, samples, workflow_form};
use crate::{
    client::{Page, RunAccepted, SampleHead, VersionHead, Workflow, WorkflowHead},
    failure::{Failure, Result},
    form::{Form, Id, json_value, version},
    ui,
    visit::{Visit, see_other, t},
};

pub(crate) async fn list(visit: Visit) -> Response {
    let workflows = visit.list::<WorkflowHead>("/api/workflows", &[]).await;
    let content = html! {
        @if visit.can(Role::Editor) { p { a.button href="/dashboard/workflows/new" { (t!(visit, "new-workflow")) } } }
        (ui::list(&visit, workflows, |own| table(&visit, own)))
    };
    visit.page(&t!(visit, "nav-workflows"), content)
}

fn table(visit: &Visit, workflows: &[WorkflowHead]) -> Markup {
    if workflows.is_empty() {
        return html! { p { (t!(visit, "no-workflows")) } };
    }
    html! {
        (ui::table(&t!(visit, "nav-workflows"), &[t!(visit, "name"), t!(visit, "namespace"), t!(visit, "version"), t!(visit, "status"), t!(visit, "updated")], &html! {
            @for own in workflows {
                tr {
                    td { a href=(format!("/dashboard/workflows/{}", own.id)) { (ui::text(&own.name)) } }
                    td { (ui::text(&own.namespace)) }
                    td { (own.active_version) @if own.active_version != own.version { " / " (own.version) } }
                    td { (enabled(visit, own)) }
                    td { (ui::time(visit, &own.updated_at)) }
                }
            }
        }))
    }
}

pub(crate) fn enabled(visit: &Visit, own: &WorkflowHead) -> Markup {
    html! {
        @if own.enabled { (t!(visit, "enabled")) }
        @else if own.disabled_reason.is_some() { (t!(visit, "disabled-by-plan")) }
        @else { (t!(visit, "disabled")) }
    }
}

pub(crate) async fn page(visit: Visit, Path(id): Path<Id>) -> Result {
    let versions = format!("/api/workflows/{id}/versions?limit=25");
    let path = format!("/api/workflows/{id}");
    let kept = format!("{path}/samples");
    let (reply, versions, kept) = tokio::join!(
        visit.call(Method::GET, &path).send(),
        visit.get::<Page<VersionHead>>(&versions),
        visit.get::<Page<SampleHead>>(&kept),
    );
    let reply = reply?;
    let own: Workflow = reply.parse()?;
    let query = visit.query();
    let content = html! {
        @if !query.get("done").is_empty() { (ui::done(&ui::word(&visit, "done", query.get("done")))) }
        (facts(&visit, &own))
        @if visit.can(Role::Editor) { (actions(&visit, &own)) }
        section { h2 { (t!(visit, "definition")) } (picture::of(&visit, &own.definition, None)) }
        @if visit.can(Role::Editor) {
            section {
                h2 { (t!(visit, "edit")) }
                (workflow_form::editor(&visit, &format!("/dashboard/workflows/{id}"), &workflow_form::as_yaml(&own.definition), reply.etag(), None))
            }
        } @else {
            section { (ui::preformatted(&visit, &workflow_form::as_yaml(&own.definition))) }
        }
        (samples::section(&visit, &own.head.id, kept))
        section {
            h2 { (t!(visit, "versions")) }
            (ui::panel(&visit, versions, |page| history(&visit, &own, &page)))
        }
    };
    Ok(visit.page(&own.head.name, content))
}

fn facts(visit: &Visit, own: &Workflow) -> Markup {
    html! {
        dl.facts {
            dt { (t!(visit, "workflow")) } dd { (ui::id(visit, &own.head.id)) }
            dt { (t!(visit, "namespace")) } dd { (ui::text(&own.head.namespace)) }
            dt { (t!(visit, "status")) } dd { (enabled(visit, &own.head)) }
            dt { (t!(visit, "active-version")) } dd { (own.head.active_version) }
            dt { (t!(visit, "newest-version")) } dd { (own.head.version) }
            dt { (t!(visit, "digest")) } dd { (ui::id(visit, &own.digest)) }
            dt { (t!(visit, "nav-runs")) } dd { a href=(format!("/dashboard/runs?workflow_id={}", own.head.id)) { (t!(visit, "runs-of-workflow")) } }
            dt { (t!(visit, "nav-artifacts")) } dd { a href=(format!("/dashboard/artifacts?workflow_id={}", own.head.id)) { (t!(visit, "artifacts-of-workflow")) } }
        }
    }
}

fn actions(visit: &Visit, own: &Workflow) -> Markup {
    let path = |action: &str| format!("/dashboard/workflows/{}/{action}", own.head.id);
    html! {
        section.actions {
            h2 { (t!(visit, "actions")) }
            a.button href=(path("try")) { (t!(visit, "try-it")) }
            details.confirmed {
                summary { (t!(visit, "run-now")) }
                form method="post" action=(path("run")) {
                    (ui::csrf(visit)) (ui::once())
                    label { (t!(visit, "input-json")) textarea name="input" rows="6" spellcheck="false" { "{}" } }
                    button { (t!(visit, "run-now")) }
                }
            }
            @if own.head.enabled {
                (ui::confirmed(visit, &path("disable"), &t!(visit, "disable"), &t!(visit, "disable-workflow-consequence"), &[]))
            } @else if own.head.disabled_reason.is_none() {
                (ui::button(visit, &path("enable"), &t!(visit, "enable"), &[]))
            }
            (ui::confirmed(visit, &path("delete"), &t!(visit, "delete"), &t!(visit, "delete-workflow-consequence"), &[]))
        }
    }
}

fn history(visit: &Visit, own: &Workflow, versions: &Page<VersionHead>) -> Markup {
    html! {
        (ui::table(&t!(visit, "versions"), &[t!(visit, "version"), t!(visit, "created"), t!(visit, "digest")], &html! {
            @for version in &versions.data {
                tr {
                    td {
                        a href=(format!("/dashboard/workflows/{}/versions/{}", own.head.id, version.version)) { (version.version) }
                        @if version.version == own.head.active_version { " (" (t!(visit, "active")) ")" }
                    }
                    td { (ui::time(visit, &version.created_at)) }
                    td { code { (ui::visible(version.digest.get(..19).unwrap_or(&version.digest))) "…" } }
                }
            }
        }))
        @if versions.next_cursor.is_some() { p.note { (t!(visit, "newest-25")) } }
    }
}

pub(crate) async fn act(
    visit: Visit,
    Path((id, action)): Path<(Id, String)>,
    Form(form): Form,
) -> Result {
    let path = format!("/api/workflows/{id}");
    let back = |done: &str| see_other(&format!("/dashboard/workflows/{id}?done={done}"));
    match action.as_str() {
        "enable" | "disable" => {
            let body = json!({"enabled": action == "enable"});
            visit.call(Method::PATCH, &path).json(&body).send().await?;
            Ok(back(&action))
        }
        "delete" => {
            visit.delete(&path).await?;
            Ok(see_other("/dashboard/workflows"))
        }
        "activate" => {
            let version = version(&visit, form.get("version"))?;
            visit
                .post(&format!("{path}/activate"), &json!({ "version": version }))
                .await?;
            Ok(back("activate"))
        }
        "run" => {
            let input = json_value(&visit, &t!(visit, "input-json"), form.raw("input"))?;
            let call = visit.call(Method::POST, &format!("{path}/execute"));
            let call = call.once(form.get(ui::ONCE));
            let accepted: RunAccepted = call.json(&json!({ "input": input })).get().await?;
            Ok(see_other(&format!("/dashboard/runs/{}", accepted.run_id)))
        }
        "keep-sample" => samples::keep(&visit, &id, &form).await,
        "delete-sample" => samples::delete(&visit, &id, &form).await,
        _ => Err(Failure::not_found()),
    }
}
