//! The check of a recorded request: why it would be refused.

use axum::response::Response;
use maud::{Markup, html};
use serde_json::{Map, Value, json};

use super::verification_fields;
use crate::{
    client::{ApiResult, SignatureCheck, SourceCheck, present_members},
    failure::{Failure, Result},
    form::{Fields, Form},
    ui,
    visit::{Visit, t},
};

const PATH: &str = "/dashboard/endpoints/check";

pub(crate) async fn page(visit: Visit) -> Response {
    let query = visit.query();
    match verification_fields::chosen(&query) {
        Some(provider) => shown(&visit, provider, &Fields::default(), None),
        None => {
            let content = html! {
                p { (t!(visit, "check-explained")) }
                (verification_fields::choice(&visit, PATH))
            };
            visit.page(&t!(visit, "check-request"), content)
        }
    }
}

pub(crate) async fn run(visit: Visit, Form(form): Form) -> Response {
    let checked = match body(&visit, &form) {
        Ok(body) => match visit.post("/api/sources/check", &body).await {
            Ok(reply) => reply.parse(),
            Err(refused) => Err(refused),
        },
        Err(Failure(problem)) => Err(problem),
    };
    shown(&visit, form.get("scheme"), &form, Some(checked))
}

fn shown(
    visit: &Visit,
    provider: &str,
    form: &Fields,
    checked: Option<ApiResult<SourceCheck>>,
) -> Response {
    let method = match form.get("method") {
        "" => "POST",
        entered => entered,
    };
    let secret = t!(visit, "signing-secret");
    let content = html! {
        p { (t!(visit, "check-explained")) }
        p { strong { bdi { (verification_fields::title(visit, provider)) } } " · " a href=(PATH) { (t!(visit, "other-provider")) } }
        form method="post" action=(PATH) {
            (ui::csrf(visit))
            (verification_fields::fields(visit, provider, form, &secret))
            (ui::input("method", &t!(visit, "method"), method, "text"))
            (ui::input("url", &t!(visit, "url-if-signed"), form.raw("url"), "text"))
            label { (t!(visit, "header-lines")) textarea name="headers" rows="5" spellcheck="false" { "\n" (form.raw("headers")) } }
            label { (t!(visit, "body-as-received")) textarea name="body" rows="8" spellcheck="false" { "\n" (form.raw("body")) } }
            (ui::input("received_at", &t!(visit, "received-at"), form.raw("received_at"), "text"))
            button { (t!(visit, "check")) }
        }
        @if let Some(checked) = checked {
            section { h2 { (t!(visit, "result")) } (ui::panel(visit, checked, |checked| result(visit, &checked))) }
        }
    };
    visit.page(&t!(visit, "check-request"), content)
}

fn body(visit: &Visit, form: &Fields) -> Result<Value> {
    let mut headers = Map::new();
    for line in form.raw("headers").lines().map(str::trim) {
        if line.is_empty() {
            continue;
        }
        let Some((name, value)) = line.split_once(':') else {
            return Err(Failure::bad_request(&t!(
                visit,
                "bad-header-line",
                line = line
            )));
        };
        headers.insert(name.trim().to_owned(), value.trim().into());
    }
    let mut request = present_members([
        ("method", form.get("method").into()),
        ("url", form.get("url").into()),
    ]);
    request["headers"] = headers.into();
    // A form replaces the ends of lines by CR LF, which few providers send.
    request["body"] = form.raw("body").replace("\r\n", "\n").into();
    let mut body = json!({
        "verification": verification_fields::members(visit, form)?,
        "request": request,
    });
    if !form.get("received_at").is_empty() {
        body["received_at"] = form.get("received_at").into();
    }
    Ok(body)
}

fn result(visit: &Visit, checked: &SourceCheck) -> Markup {
    let status = if checked.verified { "ok" } else { "failing" };
    html! {
        p role="status" {
            span.status data-status=(status) { (t!(visit, if checked.verified { "verified" } else { "not-verified" })) }
            " " @if let Some(reason) = &checked.reason { code { (ui::visible(reason)) } " " }
            (ui::text(&checked.detail))
        }
        @if let Some(hint) = &checked.hint { p { strong { (ui::text(hint)) } } }
        dl.facts {
            @if let Some(id) = &checked.event_id { dt { (t!(visit, "event-id")) } dd { code { (ui::visible(id)) } } }
            @if let Some(kind) = &checked.event_type { dt { (t!(visit, "event-type")) } dd { code { (ui::visible(kind)) } } }
        }
        @for form in &checked.forms { (signature(visit, form)) }
    }
}

/// A form of signature of the provider, applied to the request.
fn signature(visit: &Visit, form: &SignatureCheck) -> Markup {
    let values = [
        ("given-signature", &form.given),
        ("expected-signature", &form.expected),
        ("signed-text", &form.signed),
    ];
    html! {
        h3 { code { (ui::visible(&form.at)) } " " (ui::text(&form.method)) }
        p { (ui::text(&form.detail)) }
        dl.facts {
            @for (label, value) in values {
                @if let Some(value) = value { dt { (t!(visit, label)) } dd { code { (ui::visible(value)) } } }
            }
            @if let Some(place) = form.differs_at {
                dt { (t!(visit, "differs-at")) } dd { (t!(visit, "character", number = place + 1)) }
            }
        }
    }
}
