//! Webhook endpoints: the list, and the page of one.

use aias_domain::tenant::Role;
use aias_platform::http::Path;
use axum::{http::Method, response::Response};
use maud::{Markup, html};
use serde_json::json;

use super::{
    endpoint_form,
    verification_fields::{is_signed, title},
    workflow_names::WorkflowNames,
};
use crate::{
    client::{
        Delivery, Endpoint, EndpointSecret, Page, ReceivedSecret, RunAccepted, present_members,
    },
    failure::{Failure, Result},
    form::{Fields, Form, Id, json_value},
    ui,
    visit::{Visit, see_other, t},
};

pub(crate) async fn list(visit: Visit) -> Response {
    let (endpoints, names) = tokio::join!(
        visit.list::<Endpoint>("/api/webhook-endpoints", &[]),
        WorkflowNames::read(&visit),
    );
    let content = html! {
        p.buttons {
            @if visit.can(Role::Admin) { a.button href="/dashboard/endpoints/new" { (t!(visit, "new-endpoint")) } }
            a href="/dashboard/endpoints/check" { (t!(visit, "check-request")) }
        }
        (ui::list(&visit, endpoints, |own| table(&visit, &names, own)))
    };
    visit.page(&t!(visit, "nav-endpoints"), content)
}

fn table(visit: &Visit, names: &WorkflowNames, endpoints: &[Endpoint]) -> Markup {
    if endpoints.is_empty() {
        return html! { p { (t!(visit, "no-endpoints")) } };
    }
    html! {
        (ui::table(&t!(visit, "nav-endpoints"), &[t!(visit, "name"), t!(visit, "provider"), t!(visit, "workflow"), t!(visit, "status"), t!(visit, "created")], &html! {
            @for own in endpoints {
                tr {
                    td { a href=(format!("/dashboard/endpoints/{}", own.id)) { (ui::text(&own.name)) } }
                    td { (title(visit, &own.verification.scheme)) }
                    td { (names.link(&own.workflow_id, own.workflow_version)) }
                    td { (ui::word(visit, "endpoint", &own.state)) @if own.refusing_since.is_some() { " · " strong { (t!(visit, "refuses")) } } }
                    td { (ui::time(visit, &own.created_at)) }
                }
            }
        }))
    }
}

pub(crate) async fn page(visit: Visit, Path(id): Path<Id>) -> Result {
    let path = format!("/api/webhook-endpoints/{id}");
    let deliveries = format!("{path}/deliveries");
    let received = format!("{path}/signing-secret");
    let received = async {
        if visit.can(Role::Admin) {
            Some(visit.get::<ReceivedSecret>(&received).await)
        } else {
            None
        }
    };
    let (reply, deliveries, received, names) = tokio::join!(
        visit.call(Method::GET, &path).send(),
        visit.get::<Page<Delivery>>(&deliveries),
        received,
        WorkflowNames::read(&visit),
    );
    let reply = reply?;
    let own: Endpoint = reply.parse()?;
    let query = visit.query();
    let content = html! {
        @if !query.get("done").is_empty() { (ui::done(&ui::word(&visit, "done", query.get("done")))) }
        (facts(&visit, &names, &own))
        @if let Some(received) = received { (ui::panel(&visit, received, |own| received_secret(&visit, &own))) }
        section {
            h2 { (t!(visit, "deliveries")) }
            p.note { (t!(visit, "deliveries-explained")) }
            (ui::panel(&visit, deliveries, |page| deliveries_table(&visit, &page.data)))
            p.buttons {
                a href=(format!("/dashboard/runs?endpoint_id={id}")) { (t!(visit, "all-runs")) }
                a href=(format!("/dashboard/endpoints/check?provider={}", own.verification.scheme)) { (t!(visit, "check-request")) }
            }
        }
        (secrets(&visit, &own))
        @if visit.can(Role::Editor) { (test_event(&visit, &own)) }
        @if visit.can(Role::Admin) {
            section { h2 { (t!(visit, "edit")) } (endpoint_form::change(&visit, &names, &own, reply.etag(), None)) }
            (actions(&visit, &own))
        }
    };
    Ok(visit.page(&own.name, content))
}

/// The secret that the provider sent and wants back.
fn received_secret(visit: &Visit, received: &ReceivedSecret) -> Markup {
    html! {
        @if let Some(secret) = &received.secret {
            section {
                h2 { (t!(visit, "received-secret")) }
                p.note { (t!(visit, "received-secret-explained")) }
                (ui::id(visit, secret))
            }
        }
    }
}

/// The last deliveries, with the reason why one was refused.
fn deliveries_table(visit: &Visit, deliveries: &[Delivery]) -> Markup {
    if deliveries.is_empty() {
        return html! { p { (t!(visit, "no-deliveries")) } };
    }
    let heads = ["time", "result", "event-type", "event-id", "source-address"];
    let heads = heads.map(|head| t!(visit, head));
    ui::table(
        &t!(visit, "deliveries"),
        &heads,
        &html! {
            @for own in deliveries {
                tr {
                    td { (ui::time(visit, &own.time)) }
                    td {
                        @if let Some(run) = &own.run_id {
                            a href=(format!("/dashboard/runs/{run}")) { (t!(visit, "delivery-accepted")) }
                        } @else if let Some(reason) = &own.reason {
                            (ui::word(visit, "delivery", reason)) " · HTTP " (own.status)
                            @if let Some(detail) = &own.detail { br; code { (ui::visible(detail)) } }
                        }
                    }
                    td { @if let Some(text) = &own.event_type { code { (ui::visible(text)) } } }
                    td { @if let Some(text) = &own.event_id { code { (ui::visible(text)) } } }
                    td { @if let Some(text) = &own.source_ip { code { (ui::visible(text)) } } }
                }
            }
        },
    )
}

fn facts(visit: &Visit, names: &WorkflowNames, own: &Endpoint) -> Markup {
    html! {
        dl.facts {
            dt { (t!(visit, "endpoint")) } dd { (ui::id(visit, &own.id)) }
            dt { (t!(visit, "status")) }
            dd {
                (ui::word(visit, "endpoint", &own.state))
                @if own.disabled_reason.is_some() { " (" (t!(visit, "disabled-by-plan")) ")" }
                @if !own.enabled { " · HTTP " (own.disabled_status) }
            }
            dt { (t!(visit, "provider")) } dd { (title(visit, &own.verification.scheme)) }
            @if let Some(since) = &own.refusing_since { dt { (t!(visit, "refusing-since")) } dd { strong { (ui::time(visit, since)) } } }
            @if !own.event_types.is_empty() { dt { (t!(visit, "event-types")) } dd { @for pattern in &own.event_types { code { (ui::visible(pattern)) } " " } } }
            @if !is_signed(&own.verification.scheme) { dt { (t!(visit, "verification")) } dd { strong { (t!(visit, "unverified")) } } }
            @if let Some(header) = &own.verification.header {
                dt { (t!(visit, "signature-header")) } dd { code { (ui::visible(header)) } @if let Some(prefix) = &own.verification.prefix { " " code { (ui::visible(prefix)) } } }
            }
            dt { (t!(visit, "workflow")) } dd { (names.link(&own.workflow_id, own.workflow_version)) }
            dt { (t!(visit, "created")) } dd { (ui::time(visit, &own.created_at)) }
            @if let Some(at) = &own.last_ping_at { dt { (t!(visit, "last-ping")) } dd { (ui::time(visit, at)) } }
        }
    }
}

/// The secrets by age, with the last use of each: the old one of a rotation may go when it is unused.
fn secrets(visit: &Visit, own: &Endpoint) -> Markup {
    let kinds: [(&str, &[EndpointSecret]); 2] = [
        ("url-secrets", &own.url_secrets),
        ("signing-secrets", &own.signing_secrets),
    ];
    html! {
        @for (kind, secrets) in kinds {
            @if !secrets.is_empty() {
                section {
                    h2 { (t!(visit, kind)) }
                    (ui::table(&t!(visit, kind), &[t!(visit, "created"), t!(visit, "last-used"), t!(visit, "valid-until")], &html! {
                        @for secret in secrets {
                            tr {
                                td { (ui::time(visit, &secret.created_at)) }
                                td { (ui::optional_time(visit, secret.last_used_at.as_deref())) }
                                td { (ui::optional_time(visit, secret.valid_until.as_deref())) }
                            }
                        }
                    }))
                }
            }
        }
    }
}

fn test_event(visit: &Visit, own: &Endpoint) -> Markup {
    html! {
        section {
            h2 { (t!(visit, "send-test-event")) }
            p { (t!(visit, "test-event-explained")) }
            form method="post" action=(format!("/dashboard/endpoints/{}/test-event", own.id)) {
                (ui::csrf(visit)) (ui::once())
                input type="hidden" name="workflow_id" value=(own.workflow_id);
                label { (t!(visit, "body-json")) textarea name="body" rows="8" spellcheck="false" { "\n" (endpoint_form::sample(&own.verification.scheme)) } }
                button { (t!(visit, "send-test-event")) }
            }
        }
    }
}

fn actions(visit: &Visit, own: &Endpoint) -> Markup {
    let path = |action: &str| format!("/dashboard/endpoints/{}/{action}", own.id);
    let is_signed = own.verification.scheme != "none";
    html! {
        section.actions {
            h2 { (t!(visit, "actions")) }
            @if is_signed && own.state == "pending-secret" {
                form method="post" action=(path("signing-secret")) {
                    (ui::csrf(visit))
                    (ui::input("secret", &t!(visit, "signing-secret"), "", "password"))
                    button { (t!(visit, "set-signing-secret")) }
                }
            }
            @if own.enabled {
                details.confirmed {
                    summary { (t!(visit, "disable")) }
                    p { (t!(visit, "disable-endpoint-consequence")) }
                    form method="post" action=(path("disable")) {
                        (ui::csrf(visit))
                        (ui::select("disabled_status", &t!(visit, "response-while-disabled"), "410", &[("410".to_owned(), "410 Gone".to_owned()), ("503".to_owned(), "503 Service Unavailable".to_owned())]))
                        button.danger { (t!(visit, "confirm-do", action = t!(visit, "disable"))) }
                    }
                }
            } @else if own.disabled_reason.is_none() {
                (ui::button(visit, &path("enable"), &t!(visit, "enable"), &[]))
            }
            a.button href=(path("verification")) { (t!(visit, "change-verification")) }
            (rotation(visit, &path("rotate"), "url"))
            @if is_signed { (rotation(visit, &path("rotate"), "signing")) }
            (ui::confirmed(visit, &path("delete"), &t!(visit, "delete"), &t!(visit, "delete-endpoint-consequence"), &[]))
        }
    }
}

fn rotation(visit: &Visit, action: &str, which: &str) -> Markup {
    let label = t!(
        visit,
        if which == "url" {
            "rotate-url"
        } else {
            "rotate-signing"
        }
    );
    html! {
        details.confirmed {
            summary { (label) }
            p { (t!(visit, "rotate-consequence")) }
            form method="post" action=(action) {
                (ui::csrf(visit))
                input type="hidden" name="which" value=(which);
                (ui::input("overlap_hours", &t!(visit, "overlap-hours"), "24", "number"))
                @if which == "signing" { (ui::input("secret", &t!(visit, "new-secret-of-provider"), "", "password")) }
                button { (t!(visit, "confirm-do", action = label)) }
            }
        }
    }
}

pub(crate) async fn act(
    visit: Visit,
    Path((id, action)): Path<(Id, String)>,
    Form(form): Form,
) -> Result {
    let path = format!("/api/webhook-endpoints/{id}");
    let back = |done: &str| see_other(&format!("/dashboard/endpoints/{id}?done={done}"));
    match action.as_str() {
        "enable" | "disable" => {
            let mut body = json!({"enabled": action == "enable"});
            if let Ok(status) = form.get("disabled_status").parse::<u16>() {
                body["disabled_status"] = status.into();
            }
            visit.call(Method::PATCH, &path).json(&body).send().await?;
            Ok(back(&action))
        }
        "signing-secret" => {
            let body = json!({"secret": form.get("secret")});
            let call = visit.call(Method::PUT, &format!("{path}/signing-secret"));
            call.json(&body).send().await?;
            Ok(back("saved"))
        }
        "rotate" => rotate(&visit, &path, &form).await,
        "delete" => {
            visit.delete(&path).await?;
            Ok(see_other("/dashboard/endpoints"))
        }
        "test-event" => send_test_event(&visit, &id, &form).await,
        _ => Err(Failure::not_found()),
    }
}

async fn rotate(visit: &Visit, path: &str, form: &Fields) -> Result {
    let hours: u32 = form
        .get("overlap_hours")
        .parse()
        .map_err(|_| Failure::bad_request(&t!(visit, "bad-hours")))?;
    let body = present_members([
        ("which", form.get("which").into()),
        ("overlap_seconds", hours.saturating_mul(3600).into()),
        ("secret", form.get("secret").into()),
    ]);
    let reply = visit.post(&format!("{path}/rotate-secret"), &body).await?;
    let rotated: Endpoint = reply.parse()?;
    Ok(endpoint_form::revealed(
        visit,
        &rotated,
        &t!(visit, "rotated"),
    ))
}

/// Runs the endpoint's workflow on an event, as if it had arrived now.
async fn send_test_event(visit: &Visit, id: &str, form: &Fields) -> Result {
    let body = json_value(visit, &t!(visit, "body-json"), form.raw("body"))?;
    let input = json!({
        "id": format!("test_{}", form.get(ui::ONCE)),
        "received_at": aias_domain::timestamp::format(visit.now),
        "method": "POST", "headers": {"content-type": "application/json"}, "query": {},
        "content_type": "application/json", "body": body, "endpoint_id": id,
    });
    let workflow = Id::parse(form.get("workflow_id")).ok_or_else(Failure::not_found)?;
    let path = format!("/api/workflows/{workflow}/execute");
    let call = visit.call(Method::POST, &path).once(form.get(ui::ONCE));
    let accepted: RunAccepted = call.json(&json!({ "input": input })).get().await?;
    Ok(see_other(&format!("/dashboard/runs/{}", accepted.run_id)))
}
