//! A dry run of a workflow: nothing is stored, and no call leaves.

use aias_platform::http::Path;
use maud::{Markup, html};
use serde_json::{Value, json};

use super::steps;
use crate::{
    client::{ApiResult, DryRun, Page, Run, Workflow},
    failure::{Failure, Result},
    form::{Fields, Form, Id, json_value, version},
    ui,
    visit::{Visit, t},
};

struct Entered<'a> {
    input: &'a str,
    responses: &'a str,
    run: &'a str,
}

pub(crate) async fn page(visit: Visit, Path(id): Path<Id>) -> Result {
    let sample = json!({
        "id": "evt_1", "received_at": aias_domain::timestamp::format(visit.now), "method": "POST", "headers": {}, "query": {},
        "content_type": "application/json", "body": {}, "endpoint_id": "",
    });
    let sample = serde_json::to_string_pretty(&sample).unwrap_or_default();
    let query = visit.query();
    let entered = Entered {
        input: &sample,
        responses: "{}",
        run: query.get("run"),
    };
    shown(&visit, &id, &entered, None).await
}

async fn shown(
    visit: &Visit,
    id: &str,
    entered: &Entered<'_>,
    tried: Option<ApiResult<DryRun>>,
) -> Result {
    let past = Fields::default().query_with(&[("workflow_id", id), ("limit", "10")]);
    let (path, past) = (format!("/api/workflows/{id}"), format!("/api/runs?{past}"));
    let (own, past) = tokio::join!(visit.get::<Workflow>(&path), visit.get::<Page<Run>>(&past));
    let own = own?;
    let content = html! {
        p { (ui::link("workflows", id)) " · " (t!(visit, "try-explained")) }
        form method="post" action=(format!("/dashboard/workflows/{id}/try")) {
            (ui::csrf(visit))
            label { (t!(visit, "input-json")) textarea name="input" rows="12" spellcheck="false" { "\n" (entered.input) } }
            label { (t!(visit, "responses-json")) textarea name="responses" rows="4" spellcheck="false" { "\n" (entered.responses) } }
            @if let Ok(past) = &past {
                @let none = (String::new(), t!(visit, "input-above"));
                @let runs = past.data.iter().map(|run| (run.id.clone(), format!("{} {}", run.created_at, run.id)));
                @let options: Vec<_> = std::iter::once(none).chain(runs).collect();
                (ui::select("run", &t!(visit, "input-of-run"), entered.run, &options))
            }
            (ui::input("version", &t!(visit, "version-or-active"), "", "number"))
            button { (t!(visit, "try-it")) }
        }
        @if let Some(tried) = tried { section { h2 { (t!(visit, "result")) } (ui::panel(visit, tried, |tried| result(visit, &tried))) } }
    };
    Ok(visit.page(&t!(visit, "try-workflow", name = own.head.name), content))
}

pub(crate) async fn run(visit: Visit, Path(id): Path<Id>, Form(form): Form) -> Result {
    let entered = Entered {
        input: form.raw("input"),
        responses: form.raw("responses"),
        run: form.get("run"),
    };
    let tried = match body(&visit, &entered, form.get("version")) {
        Ok(body) => match visit
            .post(&format!("/api/workflows/{id}/test"), &body)
            .await
        {
            Ok(reply) => reply.parse(),
            Err(refused) => Err(refused),
        },
        Err(Failure(problem)) => Err(problem),
    };
    shown(&visit, &id, &entered, Some(tried)).await
}

fn body(visit: &Visit, entered: &Entered<'_>, number: &str) -> Result<Value> {
    let mut body = json!({});
    if entered.run.is_empty() {
        body["input"] = json_value(visit, &t!(visit, "input-json"), entered.input)?;
    } else {
        body["run_id"] = entered.run.into();
    }
    let responses = json_value(visit, &t!(visit, "responses-json"), entered.responses)?;
    if responses.as_object().is_none_or(|all| !all.is_empty()) {
        body["responses"] = responses;
    }
    if !number.is_empty() {
        body["version"] = version(visit, number)?.into();
    }
    Ok(body)
}

fn result(visit: &Visit, tried: &DryRun) -> Markup {
    html! {
        p role="status" { (ui::status(visit, &tried.status)) }
        @if let Some(error) = &tried.error { (ui::run_error(visit, error)) }
        @if let Some(output) = &tried.output { h3 { (t!(visit, "output")) } (ui::json(visit, output)) }
        @if !tried.warnings.is_empty() { h3 { (t!(visit, "status-warning")) } (ui::faults(visit, &tried.warnings)) }
        h3 { (t!(visit, "steps")) }
        (steps::list(visit, &tried.steps))
        details { summary { (t!(visit, "log")) }
            ul.log { @for entry in &tried.logs { li { (ui::word(visit, "level", &entry.level)) " " @if let Some(task) = &entry.task { code { (ui::visible(task)) } " " } (ui::text(&entry.message)) } } }
        }
    }
}
