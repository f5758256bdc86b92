//! The forms of webhook endpoints.

use aias_domain::{
    tenant::Role,
    verification::{SecretOrigin, Verification, catalogue},
};
use aias_platform::http::Path;
use axum::{
    http::{Method, StatusCode},
    response::Response,
};
use maud::{Markup, html};
use serde_json::{Value, json};

use super::{verification_fields, workflow_names::WorkflowNames};
use crate::{
    client::{ApiProblem, Endpoint, Page, WorkflowHead},
    failure::{Failure, Result},
    form::{Fields, Form, Id, version},
    layout, ui,
    visit::{Visit, see_other, t},
};

/// Whether the provider creates the signing secret.
fn provider_makes_secret(scheme: &str) -> bool {
    let own = Verification::named(scheme).scheme();
    own.is_ok_and(|own| own.secret.origin != SecretOrigin::Chosen)
}

/// The body of an event as the provider sends it, for a test event.
pub(crate) fn sample(scheme: &str) -> String {
    match catalogue::guide(scheme).map(|guide| guide.sample) {
        Some(Value::String(text)) => text,
        Some(sample) => serde_json::to_string_pretty(&sample).unwrap_or_default(),
        None => "{\"id\": \"test\"}".to_owned(),
    }
}

/// The steps to take at the provider, and what its signature does not prove.
fn steps(visit: &Visit, scheme: &str) -> Markup {
    let Some(guide) = catalogue::guide(scheme) else {
        return html! {};
    };
    html! {
        ol.steps-at-provider { @for step in &guide.steps { li { (of_source(visit, step)) } } }
        @if let Some(caution) = &guide.caution { p.caution { (of_source(visit, caution)) } }
        p {
            a href=(guide.docs) rel="noreferrer" { (t!(visit, "provider-docs")) }
            @if visit.can(Role::Editor) {
                " · " a href=(format!("/dashboard/workflows/new?source={scheme}")) { (t!(visit, "workflow-of-provider")) }
            }
        }
    }
}

/// A text of the catalogue, in the language of the page if there is a translation.
fn of_source(visit: &Visit, text: &str) -> Markup {
    match visit.language().of_source(text) {
        Some(translated) => html! { (translated) },
        None => html! { span lang="en" { (text) } },
    }
}

pub(crate) async fn new(visit: Visit) -> Response {
    let query = visit.query();
    let content = match verification_fields::chosen(&query) {
        Some(provider) => fields(&visit, provider, &Fields::default(), None).await,
        None => verification_fields::choice(&visit, "/dashboard/endpoints/new"),
    };
    visit.page(&t!(visit, "new-endpoint"), content)
}

/// The label of the field of a signing secret.
fn secret_label(visit: &Visit, provider: &str) -> String {
    if provider_makes_secret(provider) {
        t!(visit, "secret-of-provider")
    } else {
        t!(visit, "secret-optional")
    }
}

async fn fields(
    visit: &Visit,
    provider: &str,
    form: &Fields,
    refused: Option<&ApiProblem>,
) -> Markup {
    let workflows = visit
        .get::<Page<WorkflowHead>>("/api/workflows?limit=100")
        .await;
    let secret = secret_label(visit, provider);
    html! {
        @if let Some(problem) = refused { (ui::problem(visit, problem)) }
        p { strong { bdi { (verification_fields::title(visit, provider)) } } " · " a href="/dashboard/endpoints/new" { (t!(visit, "other-provider")) } }
        (steps(visit, provider))
        form method="post" action="/dashboard/endpoints/new" {
            (ui::csrf(visit)) (ui::once())
            (ui::input("name", &t!(visit, "name"), form.raw("name"), "text"))
            (ui::panel(visit, workflows, |page| workflow_choice(visit, page, form.get("workflow_id"))))
            (ui::input("workflow_version", &t!(visit, "version-or-active"), form.get("workflow_version"), "number"))
            (verification_fields::fields(visit, provider, form, &secret))
            (event_types(visit, form.raw("event_types")))
            button { (t!(visit, "create-endpoint")) }
        }
    }
}

fn event_types(visit: &Visit, value: &str) -> Markup {
    html! {
        label { (t!(visit, "event-types-that-run")) textarea name="event_types" rows="2" spellcheck="false" { "\n" (value) } }
    }
}

fn event_types_of(form: &Fields) -> Vec<&str> {
    let lines = form.raw("event_types").lines().map(str::trim);
    lines.filter(|line| !line.is_empty()).collect()
}

fn workflow_choice(visit: &Visit, page: Page<WorkflowHead>, chosen: &str) -> Markup {
    if page.data.is_empty() {
        return html! { p.problem { (t!(visit, "workflow-first")) " " a href="/dashboard/workflows/new" { (t!(visit, "new-workflow")) } } };
    }
    WorkflowNames::of(Ok(page)).choice(visit, chosen, None)
}

/// The body of a request that creates an endpoint.
fn new_endpoint(visit: &Visit, form: &Fields) -> Result<Value> {
    let mut body = json!({
        "name": form.get("name"), "workflow_id": form.get("workflow_id"), "event_types": event_types_of(form),
        "verification": verification_fields::members(visit, form)?,
    });
    if !form.get("workflow_version").is_empty() {
        body["workflow_version"] = version(visit, form.get("workflow_version"))?.into();
    }
    Ok(body)
}

pub(crate) async fn create(visit: Visit, Form(form): Form) -> Result {
    let call = visit
        .call(Method::POST, "/api/webhook-endpoints")
        .once(form.get(ui::ONCE));
    let made = match new_endpoint(&visit, &form) {
        Ok(body) => call.json(&body).get::<Endpoint>().await,
        Err(Failure(problem)) => Err(problem),
    };
    match made {
        Ok(made) => Ok(revealed(&visit, &made, &t!(visit, "endpoint-created"))),
        Err(problem) => {
            let content = fields(&visit, form.get("scheme"), &form, Some(&problem)).await;
            Ok(refused(&visit, &problem, content))
        }
    }
}

fn refused(visit: &Visit, problem: &ApiProblem, content: Markup) -> Response {
    let status = StatusCode::from_u16(problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    layout::page(visit, status, &t!(visit, "not-saved"), content)
}

/// The page with the URL and the secrets that only this response has.
pub(crate) fn revealed(visit: &Visit, made: &Endpoint, title: &str) -> Response {
    let secret = made.verification.secret.as_deref();
    let rotated = made.secret.as_deref().filter(|_| made.url.is_none());
    let content = html! {
        @if let Some(url) = &made.url { (ui::shown_once(visit, &t!(visit, "url"), url)) }
        @if let Some(secret) = secret.or(rotated) { (ui::shown_once(visit, &t!(visit, "signing-secret"), secret)) }
        (steps(visit, &made.verification.scheme))
        p { a.button href=(format!("/dashboard/endpoints/{}", made.id)) { (t!(visit, "to-endpoint")) } }
    };
    visit.page(title, content)
}

/// The form that changes how requests are verified.
pub(crate) async fn verification(visit: Visit, Path(id): Path<Id>) -> Result {
    let own: Endpoint = visit.get(&format!("/api/webhook-endpoints/{id}")).await?;
    let query = visit.query();
    let content = match verification_fields::chosen(&query) {
        Some(provider) => other_verification(&visit, &own, provider, &Fields::default(), None),
        None => verification_fields::choice(&visit, visit.path()),
    };
    Ok(visit.page(&t!(visit, "change-verification"), content))
}

fn other_verification(
    visit: &Visit,
    own: &Endpoint,
    provider: &str,
    form: &Fields,
    refused: Option<&ApiProblem>,
) -> Markup {
    let path = format!("/dashboard/endpoints/{}/verification", own.id);
    html! {
        @if let Some(problem) = refused { (ui::problem(visit, problem)) }
        p { (ui::text(&own.name)) " · " strong { bdi { (verification_fields::title(visit, provider)) } } " · " a href=(path) { (t!(visit, "other-provider")) } }
        (steps(visit, provider))
        p.caution { (t!(visit, "change-verification-consequence")) }
        form method="post" action=(path) {
            (ui::csrf(visit))
            (verification_fields::fields(visit, provider, form, &secret_label(visit, provider)))
            button.danger { (t!(visit, "confirm-do", action = t!(visit, "change-verification"))) }
        }
    }
}

pub(crate) async fn verify(visit: Visit, Path(id): Path<Id>, Form(form): Form) -> Result {
    let path = format!("/api/webhook-endpoints/{id}");
    let changed = match verification_fields::members(&visit, &form) {
        Ok(members) => {
            let body = json!({"verification": members});
            let call = visit.call(Method::PATCH, &path).json(&body);
            call.get::<Endpoint>().await
        }
        Err(Failure(problem)) => Err(problem),
    };
    match changed {
        Ok(changed) => Ok(revealed(&visit, &changed, &t!(&visit, "done-saved"))),
        Err(problem) => {
            let own: Endpoint = visit.get(&path).await?;
            let provider = form.get("scheme");
            let content = other_verification(&visit, &own, provider, &form, Some(&problem));
            Ok(refused(&visit, &problem, content))
        }
    }
}

/// The form that changes an endpoint.
pub(crate) fn change(
    visit: &Visit,
    names: &WorkflowNames,
    own: &Endpoint,
    etag: &str,
    refused: Option<&ApiProblem>,
) -> Markup {
    html! {
        @if let Some(problem) = refused { (ui::problem(visit, problem)) }
        form method="post" action=(format!("/dashboard/endpoints/{}", own.id)) {
            (ui::csrf(visit))
            input type="hidden" name="etag" value=(etag);
            (ui::input("name", &t!(visit, "name"), &own.name, "text"))
            (names.choice(visit, &own.workflow_id, None))
            (ui::input("workflow_version", &t!(visit, "version-or-active"), &own.workflow_version.map(|v| v.to_string()).unwrap_or_default(), "number"))
            (event_types(visit, &own.event_types.join("\n")))
            button { (t!(visit, "save")) }
        }
    }
}

pub(crate) async fn save(visit: Visit, Path(id): Path<Id>, Form(form): Form) -> Result {
    let path = format!("/api/webhook-endpoints/{id}");
    let pinned = match form.get("workflow_version") {
        "" => Value::Null,
        text => version(&visit, text)?.into(),
    };
    let body = json!({
        "name": form.get("name"), "workflow_id": form.get("workflow_id"), "workflow_version": pinned,
        "event_types": event_types_of(&form),
    });
    let call = visit.call(Method::PATCH, &path).if_match(form.get("etag"));
    let Err(problem) = call.json(&body).send().await else {
        return Ok(see_other(&format!("/dashboard/endpoints/{id}?done=saved")));
    };
    // The current state, with the entered values.
    let (reply, names) = tokio::join!(
        visit.call(Method::GET, &path).send(),
        WorkflowNames::read(&visit),
    );
    let reply = reply?;
    let current: Endpoint = reply.parse()?;
    let event_types = event_types_of(&form).into_iter().map(str::to_owned);
    let entered = Endpoint {
        name: form.get("name").to_owned(),
        workflow_id: form.get("workflow_id").to_owned(),
        workflow_version: form.get("workflow_version").parse().ok(),
        event_types: event_types.collect(),
        ..current.clone()
    };
    let content = html! {
        (change(&visit, &names, &entered, reply.etag(), Some(&problem)))
        @if problem.status == 412 {
            section {
                h2 { (t!(visit, "current-state")) }
                p { (ui::text(&current.name)) " · " (names.link(&current.workflow_id, current.workflow_version)) }
            }
        }
    };
    Ok(refused(&visit, &problem, content))
}
