//! The forms of webhook endpoints: first the provider, then the fields that it needs.

use aias_domain::{
    tenant::Role,
    verification::{Handshake, SecretOrigin, Verification, catalogue, scheme_names},
};
use aias_platform::http::Path;
use axum::{
    http::{Method, StatusCode},
    response::Response,
};
use maud::{Markup, html};
use serde_json::{Value, json};

use crate::{
    client::{ApiProblem, Endpoint, Page, WorkflowHead, present_members},
    failure::Result,
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

/// The name of a provider.
pub(crate) fn title(visit: &Visit, scheme: &str) -> String {
    match catalogue::guide(scheme) {
        Some(guide) => guide.title,
        None => ui::word(visit, "provider", scheme),
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
    let provider = query.get("provider");
    let content = if scheme_names().contains(&provider) {
        fields(&visit, provider, &Fields::default(), None).await
    } else {
        html! {
            p { (t!(visit, "choose-provider")) }
            ul.cards {
                @for name in scheme_names().into_iter().filter(|name| *name != "custom") {
                    li { a href=(format!("/dashboard/endpoints/new?provider={name}")) { bdi { (title(&visit, name)) } } }
                }
            }
        }
    };
    visit.page(&t!(visit, "new-endpoint"), content)
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
    let has_token = Verification::named(provider)
        .scheme()
        .is_ok_and(|own| own.has(Handshake::HubChallenge));
    let is_signed = provider == "hmac" || Verification::named(provider).is_signed();
    html! {
        @if let Some(problem) = refused { (ui::problem(visit, problem)) }
        p { strong { bdi { (title(visit, provider)) } } " · " a href="/dashboard/endpoints/new" { (t!(visit, "other-provider")) } }
        (steps(visit, provider))
        form method="post" action="/dashboard/endpoints/new" {
            (ui::csrf(visit)) (ui::once())
            input type="hidden" name="scheme" value=(provider);
            (ui::input("name", &t!(visit, "name"), form.raw("name"), "text"))
            (ui::panel(visit, workflows, |page| workflow_choice(visit, &page, form.get("workflow_id"))))
            @if provider == "hmac" {
                (ui::input("header", &t!(visit, "signature-header"), form.raw("header"), "text"))
                (ui::select("algorithm", &t!(visit, "algorithm"), form.get("algorithm"), &["sha256", "sha1", "sha512"].map(|own| (own.to_owned(), own.to_owned()))))
                (ui::select("encoding", &t!(visit, "encoding"), form.get("encoding"), &["hex", "base64"].map(|own| (own.to_owned(), own.to_owned()))))
                (ui::input("prefix", &t!(visit, "signature-prefix"), form.raw("prefix"), "text"))
                (ui::input("event_id_header", &t!(visit, "event-id-header"), form.raw("event_id_header"), "text"))
            }
            @if has_token { (ui::input("verify_token", &t!(visit, "verify-token"), form.raw("verify_token"), "text")) }
            @if is_signed {
                (ui::input("secret", &t!(visit, if provider_makes_secret(provider) { "secret-of-provider" } else { "secret-optional" }), "", "password"))
            }
            button { (t!(visit, "create-endpoint")) }
        }
    }
}

fn workflow_choice(visit: &Visit, page: &Page<WorkflowHead>, chosen: &str) -> Markup {
    if page.data.is_empty() {
        return html! { p.problem { (t!(visit, "workflow-first")) " " a href="/dashboard/workflows/new" { (t!(visit, "new-workflow")) } } };
    }
    if page.next_cursor.is_some() {
        // More workflows than a list shows: the id is on the workflow's page.
        return ui::input("workflow_id", &t!(visit, "workflow-id"), chosen, "text");
    }
    let own = page
        .data
        .iter()
        .map(|own| (own.id.clone(), format!("{} / {}", own.namespace, own.name)));
    ui::select(
        "workflow_id",
        &t!(visit, "workflow"),
        chosen,
        &own.collect::<Vec<_>>(),
    )
}

fn verification(form: &Fields) -> Value {
    let names = [
        "scheme",
        "header",
        "algorithm",
        "encoding",
        "prefix",
        "event_id_header",
        "verify_token",
        "secret",
    ];
    present_members(names.map(|name| (name, form.get(name).into())))
}

pub(crate) async fn create(visit: Visit, Form(form): Form) -> Result {
    let body = json!({
        "name": form.get("name"), "workflow_id": form.get("workflow_id"), "verification": verification(&form),
    });
    let call = visit
        .call(Method::POST, "/api/webhook-endpoints")
        .once(form.get(ui::ONCE));
    match call.json(&body).get::<Endpoint>().await {
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

/// The form that changes an endpoint.
pub(crate) fn change(
    visit: &Visit,
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
            (ui::input("workflow_id", &t!(visit, "workflow-id"), &own.workflow_id, "text"))
            (ui::input("workflow_version", &t!(visit, "version-or-active"), &own.workflow_version.map(|v| v.to_string()).unwrap_or_default(), "number"))
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
    });
    let call = visit.call(Method::PATCH, &path).if_match(form.get("etag"));
    let Err(problem) = call.json(&body).send().await else {
        return Ok(see_other(&format!("/dashboard/endpoints/{id}?done=saved")));
    };
    // The current state, with the entered values.
    let reply = visit.call(Method::GET, &path).send().await?;
    let current: Endpoint = reply.parse()?;
    let entered = Endpoint {
        name: form.get("name").to_owned(),
        workflow_id: form.get("workflow_id").to_owned(),
        workflow_version: form.get("workflow_version").parse().ok(),
        ..current.clone()
    };
    let content = html! {
        (change(&visit, &entered, reply.etag(), Some(&problem)))
        @if problem.status == 412 {
            section {
                h2 { (t!(visit, "current-state")) }
                p { (ui::text(&current.name)) " · " (ui::link("workflows", &current.workflow_id)) @if let Some(version) = current.workflow_version { " v" (version) } }
            }
        }
    };
    Ok(refused(&visit, &problem, content))
}
