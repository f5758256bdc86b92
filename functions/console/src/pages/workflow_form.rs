//! The editor of workflows.

use aias_domain::verification::catalogue;
use aias_platform::http::Path;
use axum::{
    http::{Method, StatusCode},
    response::Response,
};
use maud::{Markup, html};
use serde_json::{Map, Value};

use super::{code_editor, samples, templates, versions};
use crate::{
    assets,
    client::{ApiProblem, Workflow},
    failure::Result,
    form::{Fields, Form, Id},
    layout, ui,
    visit::{Visit, see_other, t},
};

/// A definition as YAML.
pub(crate) fn as_yaml(definition: &Map<String, Value>) -> String {
    aias_formats::to_yaml(&Value::Object(definition.clone()))
}

pub(crate) async fn new(visit: Visit) -> Response {
    let query = visit.query();
    let chosen = templates::named(query.get("template"));
    // The template of a source, to which its endpoint's page leads.
    let source = query.get("source");
    let of_source = catalogue::guide(source).map(|guide| guide.template(source));
    let definition = of_source.as_deref().unwrap_or(chosen.definition);
    let content = html! {
        nav.cards aria-label=(t!(visit, "templates")) {
            @for template in &templates::ALL {
                a href=(format!("/dashboard/workflows/new?template={}", template.name)) aria-current=[(of_source.is_none() && template.name == chosen.name).then_some("true")] {
                    (ui::word(&visit, "template", template.name))
                }
            }
        }
        (editor(&visit, "/dashboard/workflows/new", definition, "", None))
    };
    visit.page(&t!(visit, "new-workflow"), content)
}

/// The form with a definition, and why it was refused.
pub(crate) fn editor(
    visit: &Visit,
    action: &str,
    text: &str,
    etag: &str,
    refused: Option<&ApiProblem>,
) -> Markup {
    let faults = refused.map_or(&[][..], |problem| &problem.errors);
    let lines: Vec<u64> = faults.iter().filter_map(|fault| fault.line).collect();
    html! {
        @if let Some(problem) = refused { (ui::problem(visit, problem)) }
        @if !lines.is_empty() { (numbered(text, &lines)) }
        form.editor method="post" action=(action) {
            (ui::csrf(visit)) (ui::once())
            input type="hidden" name="etag" value=(etag);
            label { (t!(visit, "definition-yaml"))
                textarea name="definition" rows="24" spellcheck="false" autocapitalize="off" autocomplete="off" data-editor=(code_editor::settings(visit, faults)) { "\n" (text) }
            }
            (samples::changed(visit, refused))
            div.buttons {
                button { (t!(visit, "save")) }
                @if !etag.is_empty() {
                    label.check { input type="checkbox" name="activate" value="no"; (t!(visit, "save-without-activation")) }
                }
            }
        }
        script src=(assets::EDITOR.path) nonce=(visit.nonce) defer {}
    }
}

/// The lines around faults, so that they can be found without a script.
fn numbered(text: &str, faults: &[u64]) -> Markup {
    let is_near = |line: u64| faults.iter().any(|fault| fault.abs_diff(line) <= 1);
    let lines = (1_u64..)
        .zip(text.lines())
        .filter(|(line, _)| is_near(*line));
    html! {
        pre.data.faults tabindex="0" dir="ltr" {
            @for (number, line) in lines {
                span id=(format!("line-{number}")) data-fault=[faults.contains(&number).then_some("true")] {
                    (format!("{number:>4}  ")) (ui::visible(line)) "\n"
                }
            }
        }
    }
}

pub(crate) async fn create(visit: Visit, Form(form): Form) -> Result {
    let text = form.raw("definition").replace("\r\n", "\n");
    let call = visit.call(Method::POST, "/api/workflows");
    let call = call.once(form.get(ui::ONCE)).yaml(text.clone());
    match call.get::<Workflow>().await {
        Ok(made) if made.warnings.is_empty() => Ok(see_other(&format!(
            "/dashboard/workflows/{}?done=created",
            made.head.id
        ))),
        Ok(made) => Ok(warned(&visit, &made)),
        Err(problem) => {
            let content = editor(
                &visit,
                "/dashboard/workflows/new",
                &text,
                "",
                Some(&problem),
            );
            Ok(refused(&visit, &problem, content))
        }
    }
}

pub(crate) async fn save(visit: Visit, Path(id): Path<Id>, Form(form): Form) -> Result {
    let text = form.raw("definition").replace("\r\n", "\n");
    let activate = if form.get("activate") == "no" {
        "false"
    } else {
        ""
    };
    let accepted = samples::accepted(&form);
    let query = [
        ("activate", activate),
        ("accept_samples", accepted.as_str()),
    ];
    let query = Fields::default().query_with(&query);
    let path = format!("/api/workflows/{id}");
    let call = visit.call(Method::PUT, &format!("{path}?{query}"));
    let saved = call
        .if_match(form.get("etag"))
        .yaml(text.clone())
        .get::<Workflow>()
        .await;
    let problem = match saved {
        Ok(saved) if saved.warnings.is_empty() => {
            return Ok(see_other(&format!("/dashboard/workflows/{id}?done=saved")));
        }
        Ok(saved) => return Ok(warned(&visit, &saved)),
        Err(problem) => problem,
    };
    let action = format!("/dashboard/workflows/{id}");
    let content = if problem.status == 412 {
        // Somebody else saved a version since the page was shown.
        let reply = visit.call(Method::GET, &path).send().await?;
        let current: Workflow = reply.parse()?;
        html! {
            (editor(&visit, &action, &text, reply.etag(), Some(&problem)))
            section {
                h2 { (t!(visit, "their-change", version = current.head.version)) }
                (versions::difference(&visit, &as_yaml(&current.definition), &text))
            }
        }
    } else {
        editor(&visit, &action, &text, form.get("etag"), Some(&problem))
    };
    Ok(refused(&visit, &problem, content))
}

fn refused(visit: &Visit, problem: &ApiProblem, content: Markup) -> Response {
    let status = StatusCode::from_u16(problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    layout::page(visit, status, &t!(visit, "not-saved"), content)
}

/// A saved definition that has probable mistakes.
fn warned(visit: &Visit, saved: &Workflow) -> Response {
    let content = html! {
        (ui::done(&t!(visit, "saved-with-warnings")))
        (ui::faults(visit, &saved.warnings))
        p { a href=(format!("/dashboard/workflows/{}", saved.head.id)) { (ui::text(&saved.head.name)) } }
    };
    visit.page(&t!(visit, "saved"), content)
}
