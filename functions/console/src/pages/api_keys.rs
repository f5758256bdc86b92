//! API keys.

use aias_platform::http::Path;
use axum::{http::Method, response::Response};
use maud::{Markup, html};

use super::members::roles;
use crate::{
    client::{ApiKey, present_members},
    failure::Result,
    form::{Form, Id},
    ui,
    visit::{Visit, see_other, t},
};

pub(crate) async fn page(visit: Visit) -> Response {
    let path = visit.tenant_path("/api-keys");
    let keys = visit.list::<ApiKey>(&path, &[]).await;
    let content = html! {
        (ui::list(&visit, keys, |own| table(&visit, own)))
        section {
            h2 { (t!(visit, "new-key")) }
            form method="post" action="/dashboard/api-keys" {
                (ui::csrf(&visit)) (ui::once())
                (ui::input("name", &t!(visit, "name"), "", "text"))
                (ui::select("role", &t!(visit, "role"), "viewer", &roles(&visit)))
                (ui::input("expires", &t!(visit, "expires-optional"), "", "date"))
                button { (t!(visit, "create-key")) }
            }
        }
    };
    visit.page(&t!(visit, "nav-api-keys"), content)
}

fn table(visit: &Visit, keys: &[ApiKey]) -> Markup {
    html! {
        (ui::table(&t!(visit, "nav-api-keys"), &[t!(visit, "name"), t!(visit, "api-key-id"), t!(visit, "role"), t!(visit, "created"), t!(visit, "expires"), t!(visit, "actions")], &html! {
            @for own in keys {
                tr {
                    td { (ui::text(&own.name)) @if own.disabled_reason.is_some() { " (" (t!(visit, "disabled-by-plan")) ")" } }
                    td { code { (ui::visible(&own.id)) } }
                    td { (ui::word(visit, "role", &own.role)) }
                    td { (ui::time(visit, &own.created_at)) }
                    td { (ui::optional_time(visit, own.expires_at.as_deref())) }
                    td { (ui::confirmed(visit, &format!("/dashboard/api-keys/{}/delete", own.id), &t!(visit, "delete"), &t!(visit, "delete-key-consequence"), &[])) }
                }
            }
        }))
    }
}

pub(crate) async fn create(visit: Visit, Form(form): Form) -> Result {
    let expires = match form.get("expires") {
        "" => String::new(),
        date => format!("{date}T00:00:00Z"),
    };
    let body = present_members([
        ("name", form.get("name").into()),
        ("role", form.get("role").into()),
        ("expires_at", expires.into()),
    ]);
    let call = visit
        .call(Method::POST, &visit.tenant_path("/api-keys"))
        .once(form.get(ui::ONCE));
    let made: ApiKey = call.json(&body).get().await?;
    let content = html! {
        (ui::shown_once(&visit, &made.name, made.key.as_deref().unwrap_or_default()))
        p { a href="/dashboard/api-keys" { (t!(visit, "back")) } }
    };
    Ok(visit.page(&t!(visit, "key-created"), content))
}

pub(crate) async fn delete(visit: Visit, Path(id): Path<Id>, _: Form) -> Result {
    visit
        .delete(&visit.tenant_path(&format!("/api-keys/{id}")))
        .await?;
    Ok(see_other("/dashboard/api-keys"))
}
