//! Actions on runs: of one run, and of several that were selected in the list.

use aias_platform::http::Path;
use axum::{http::Method, response::Response};
use futures_util::future::join_all;
use maud::html;
use serde_json::{Value, json};

use super::run_detail;
use crate::{
    client::{ApiResult, RunAccepted, Verified},
    failure::{Failure, Result},
    form::{Form, Id, version},
    ui,
    visit::{Visit, see_other, t},
};

/// The most runs of one action: those of a page of the list.
const MAX_RUNS: usize = 100;
/// How many of them are changed at the same time.
const CONCURRENT: usize = 10;

pub(crate) async fn one(
    visit: Visit,
    Path((id, action)): Path<(Id, String)>,
    Form(form): Form,
) -> Result {
    match action.as_str() {
        "cancel" | "retry" => {
            act(&visit, &id, &action, "").await?;
            Ok(see_other(&format!("/dashboard/runs/{id}?done={action}")))
        }
        "replay" => {
            let body = match form.get("workflow_version") {
                "" => Value::Null,
                text => json!({ "workflow_version": version(&visit, text)? }),
            };
            let call = visit.call(Method::POST, &format!("/api/runs/{id}/replay"));
            let accepted: RunAccepted = call.once(form.get(ui::ONCE)).json(&body).get().await?;
            Ok(see_other(&format!(
                "/dashboard/runs/{}?done=replay",
                accepted.run_id
            )))
        }
        "verify" => {
            let reply = visit
                .post(&format!("/api/runs/{id}/verify"), &Value::Null)
                .await?;
            let found: Verified = reply.parse()?;
            Ok(run_detail::verified(&visit, &id, &found))
        }
        _ => Err(Failure::not_found()),
    }
}

/// An action on a run. A form that is sent again has the same `once`, so it replays a run once.
async fn act(visit: &Visit, id: &Id, action: &str, once: &str) -> ApiResult {
    let call = visit.call(Method::POST, &format!("/api/runs/{id}/{action}"));
    let call = match (action, once) {
        ("replay", "") | ("retry" | "cancel", _) => call,
        _ => call.once(&format!("{once}-{id}")),
    };
    call.json(&Value::Null).send().await
}

/// First says what will happen, then does it.
pub(crate) async fn several(visit: Visit, Form(form): Form) -> Result {
    let action = form.get("action");
    if !["retry", "replay", "cancel"].contains(&action) {
        return Err(Failure::not_found());
    }
    let runs: Option<Vec<Id>> = form.all("run").take(MAX_RUNS).map(Id::parse).collect();
    let runs = runs.ok_or_else(Failure::not_found)?;
    if runs.is_empty() {
        return Err(Failure::bad_request(&t!(visit, "nothing-selected")));
    }
    if form.get("confirmed") == "yes" {
        Ok(performed(&visit, action, &runs, form.get(ui::ONCE)).await)
    } else {
        Ok(announced(&visit, action, &runs))
    }
}

fn announced(visit: &Visit, action: &str, runs: &[Id]) -> Response {
    let label = ui::word(visit, "action", action);
    let content = html! {
        p { (t!(visit, "will-act", action = label.as_str(), count = runs.len())) }
        p { (visit.language().text(&format!("{action}-consequence"), &[])) }
        form method="post" action="/dashboard/runs/actions" {
            (ui::csrf(visit)) (ui::once())
            input type="hidden" name="action" value=(action);
            input type="hidden" name="confirmed" value="yes";
            ul { @for run in runs { li { input type="hidden" name="run" value=(**run); (ui::link("runs", run)) } } }
            button { (t!(visit, "confirm-do", action = label.as_str())) }
            " " a href="/dashboard/runs" { (t!(visit, "back")) }
        }
    };
    visit.page(&label, content)
}

async fn performed(visit: &Visit, action: &str, runs: &[Id], once: &str) -> Response {
    let mut results: Vec<(&Id, ApiResult)> = Vec::new();
    for some in runs.chunks(CONCURRENT) {
        let calls = some
            .iter()
            .map(|run| async move { (run, act(visit, run, action, once).await) });
        results.extend(join_all(calls).await);
    }
    let succeeded = results.iter().filter(|(_, result)| result.is_ok()).count();
    let content = html! {
        (ui::done(&t!(visit, "acted", count = succeeded, all = results.len())))
        ul {
            @for (run, result) in &results {
                li {
                    (ui::link("runs", run)) ": "
                    @match result {
                        Ok(_) => (ui::word(visit, "done", action)),
                        Err(refused) => { (ui::problem_title(visit, refused)) @if let Some(detail) = &refused.detail { ": " (ui::text(detail)) } },
                    }
                }
            }
        }
        p { a href="/dashboard/runs" { (t!(visit, "back")) } }
    };
    visit.page(&ui::word(visit, "action", action), content)
}
