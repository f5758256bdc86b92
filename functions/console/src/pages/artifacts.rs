//! Artifacts.

use aias_platform::http::Path;
use axum::{http::Method, response::Response};
use maud::html;
use serde_json::Value;

use super::workflow_names::WorkflowNames;
use crate::{
    client::Artifact,
    failure::Result,
    form::Id,
    ui,
    visit::{Visit, see_other, t},
};

pub(crate) async fn list(visit: Visit) -> Response {
    let query = visit.query();
    let filters = ["run_id", "workflow_id"];
    let (artifacts, names) = tokio::join!(
        visit.list::<Artifact>("/api/artifacts", &filters),
        WorkflowNames::read(&visit),
    );
    let content = html! {
        form.filters method="get" {
            (ui::input("run_id", &t!(visit, "run-id"), query.get("run_id"), "text"))
            (names.choice(&visit, query.get("workflow_id"), Some(t!(visit, "any"))))
            button { (t!(visit, "filter")) }
            a href="/dashboard/artifacts" { (t!(visit, "clear")) }
        }
        (ui::list(&visit, artifacts, |all| html! {
            @if all.is_empty() { p { (t!(visit, "no-artifacts")) } }
            @else {
                (ui::table(&t!(visit, "nav-artifacts"), &[t!(visit, "artifact"), t!(visit, "name"), t!(visit, "run"), t!(visit, "workflow"), t!(visit, "bytes"), t!(visit, "created")], &html! {
                    @for own in all {
                        tr {
                            td { (ui::link("artifacts", &own.id)) } td { (ui::text(&own.name)) }
                            td { (ui::link("runs", &own.run_id)) } td { (names.link(&own.workflow_id, None)) }
                            td.number { (visit.language().number(own.size_bytes)) } td { (ui::time(&visit, &own.created_at)) }
                        }
                    }
                }))
            }
        }))
    };
    visit.page(&t!(visit, "nav-artifacts"), content)
}

pub(crate) async fn page(visit: Visit, Path(id): Path<Id>) -> Result {
    let path = format!("/api/artifacts/{id}");
    let (own, names) = tokio::join!(visit.get::<Artifact>(&path), WorkflowNames::read(&visit));
    let own = own?;
    let parsed = own
        .preview
        .as_deref()
        .and_then(|text| serde_json::from_str::<Value>(text).ok());
    let content = html! {
        dl.facts {
            dt { (t!(visit, "artifact")) } dd { (ui::id(&visit, &own.id)) }
            dt { (t!(visit, "name")) } dd { (ui::text(&own.name)) }
            dt { (t!(visit, "run")) } dd { (ui::link("runs", &own.run_id)) }
            dt { (t!(visit, "workflow")) } dd { (names.link(&own.workflow_id, None)) }
            dt { (t!(visit, "content-type")) } dd { code { (ui::visible(&own.content_type)) } }
            dt { (t!(visit, "bytes")) } dd { (visit.language().number(own.size_bytes)) }
            dt { (t!(visit, "digest")) } dd { (ui::id(&visit, &own.digest)) }
            dt { (t!(visit, "created")) } dd { (ui::time(&visit, &own.created_at)) }
            dt { (t!(visit, "expires")) } dd { (ui::time(&visit, &own.expires_at)) }
        }
        p { a.button href=(format!("/dashboard/artifacts/{id}/download")) { (t!(visit, "download")) } }
        section {
            h2 { (t!(visit, "preview")) }
            @match (&parsed, &own.preview) {
                (Some(value), _) => { (ui::tree(&visit, value)) details { summary { "JSON" } (ui::json(&visit, value)) } },
                (None, Some(text)) => {
                    (ui::preformatted(&visit, text))
                    @if (text.len() as u64) < own.size_bytes { p.note { (t!(visit, "preview-shortened")) } }
                },
                (None, None) => p { (t!(visit, "no-preview")) },
            }
        }
    };
    Ok(visit.page(&t!(visit, "artifact"), content))
}

pub(crate) async fn download(visit: Visit, Path(id): Path<Id>) -> Result {
    let path = format!("/api/artifacts/{id}/download");
    let reply = visit.call(Method::GET, &path).send().await?;
    Ok(see_other(reply.location()))
}
