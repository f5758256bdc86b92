//! Samples of a workflow, beside its editor, and the differences that a refused version makes.

use aias_domain::tenant::Role;
use axum::{http::Method, response::Response};
use maud::{Markup, html};
use serde_json::json;

use crate::{
    client::{ApiProblem, ApiResult, ChangedSample, Page, SampleHead},
    failure::Result,
    form::{Fields, json_value},
    ui,
    visit::{Visit, see_other, t},
};

/// The field of the names whose changed artifacts are accepted.
const ACCEPT: &str = "accept";

pub(crate) fn section(visit: &Visit, id: &str, samples: ApiResult<Page<SampleHead>>) -> Markup {
    html! {
        section {
            h2 id="samples" { (t!(visit, "samples")) }
            p.note { (t!(visit, "samples-explained")) }
            (ui::panel(visit, samples, |page| table(visit, id, &page.data)))
            @if visit.can(Role::Editor) { (new(visit, id)) }
        }
    }
}

fn table(visit: &Visit, id: &str, samples: &[SampleHead]) -> Markup {
    if samples.is_empty() {
        return html! { p { (t!(visit, "no-samples")) } };
    }
    let heads = [
        t!(visit, "name"),
        t!(visit, "made-from"),
        t!(visit, "version"),
        t!(visit, "updated"),
        t!(visit, "actions"),
    ];
    let delete = format!("/dashboard/workflows/{id}/delete-sample");
    ui::table(
        &t!(visit, "samples"),
        &heads,
        &html! {
            @for own in samples {
                tr {
                    td { (ui::text(&own.name)) }
                    td {
                        @match (&own.run_id, &own.source) {
                            (Some(run), _) => (ui::link("runs", run)),
                            (None, Some(source)) => (ui::text(source)),
                            (None, None) => (t!(visit, "entered-input")),
                        }
                    }
                    td { (own.workflow_version) }
                    td { (ui::time(visit, &own.updated_at)) }
                    td {
                        @if visit.can(Role::Editor) {
                            (ui::confirmed(visit, &delete, &t!(visit, "delete"), &t!(visit, "delete-sample-consequence"), &[("name", own.name.as_str())]))
                        }
                    }
                }
            }
        },
    )
}

fn new(visit: &Visit, id: &str) -> Markup {
    html! {
        details.confirmed {
            summary { (t!(visit, "keep-sample")) }
            form method="post" action=(format!("/dashboard/workflows/{id}/keep-sample")) {
                (ui::csrf(visit)) (ui::once())
                (ui::input("name", &t!(visit, "sample-name"), "", "text"))
                p.note { (t!(visit, "one-of-three")) }
                (ui::input("run_id", &t!(visit, "sample-run"), "", "text"))
                (ui::input("source", &t!(visit, "sample-source"), "", "text"))
                label { (t!(visit, "sample-input")) textarea name="input" rows="6" spellcheck="false" {} }
                label { (t!(visit, "responses-json")) textarea name="responses" rows="4" spellcheck="false" { "{}" } }
                button { (t!(visit, "keep-sample")) }
            }
        }
    }
}

pub(crate) async fn keep(visit: &Visit, id: &str, form: &Fields) -> Result<Response> {
    let responses = form.raw("responses");
    let mut body = json!({
        "name": form.get("name"),
        "responses": match responses.trim() {
            "" => json!({}),
            _ => json_value(visit, &t!(visit, "responses-json"), responses)?,
        },
    });
    for field in ["run_id", "source"] {
        if !form.get(field).is_empty() {
            body[field] = form.get(field).into();
        }
    }
    if !form.get("input").is_empty() {
        body["input"] = json_value(visit, &t!(visit, "sample-input"), form.raw("input"))?;
    }
    let call = visit.call(Method::POST, &format!("/api/workflows/{id}/samples"));
    call.once(form.get(ui::ONCE)).json(&body).send().await?;
    Ok(back(id, "keep-sample"))
}

pub(crate) async fn delete(visit: &Visit, id: &str, form: &Fields) -> Result<Response> {
    let name: String = form_urlencoded::byte_serialize(form.get("name").as_bytes()).collect();
    let path = format!("/api/workflows/{id}/samples/{name}");
    visit.delete(&path).await?;
    Ok(back(id, "delete-sample"))
}

fn back(id: &str, done: &str) -> Response {
    see_other(&format!("/dashboard/workflows/{id}?done={done}#samples"))
}

/// The accepted names of a form, as a parameter of the API.
pub(crate) fn accepted(form: &Fields) -> String {
    form.all(ACCEPT).collect::<Vec<_>>().join(",")
}

/// The samples that a refused version changes, with boxes to accept that. Part of the editor's form.
pub(crate) fn changed(visit: &Visit, refused: Option<&ApiProblem>) -> Markup {
    let samples = refused.map(|problem| problem.samples.as_slice());
    html! {
        @for sample in samples.unwrap_or_default() {
            fieldset {
                legend { (t!(visit, "sample-changed", name = sample.name.as_str())) }
                (difference(visit, sample))
            }
        }
    }
}

fn difference(visit: &Visit, sample: &ChangedSample) -> Markup {
    if let Some(error) = &sample.error {
        return html! { p { (ui::text(&error.title)) @if let Some(detail) = &error.detail { ": " (ui::text(detail)) } } };
    }
    html! {
        @if sample.output_patch.is_null() {
            p { (t!(visit, "no-difference-shown")) }
        } @else {
            (ui::preformatted(visit, &serde_json::to_string_pretty(&sample.output_patch).unwrap_or_default()))
        }
        label.check {
            input type="checkbox" name=(ACCEPT) value=(sample.name);
            (t!(visit, "accept-artifact"))
        }
    }
}
