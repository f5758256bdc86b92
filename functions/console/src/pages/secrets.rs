//! Workflow secrets. Their values are never shown.

use axum::{extract::Path, http::Method, response::Response};
use maud::html;
use serde_json::json;

use crate::{
    client::{Page, Secret},
    failure::Result,
    form::Form,
    ui,
    visit::{Visit, see_other, t},
};

pub(crate) async fn page(visit: Visit) -> Response {
    let secrets = visit.get::<Page<Secret>>("/api/secrets").await;
    let content = html! {
        p { (t!(visit, "secrets-explained")) }
        (ui::panel(&visit, secrets, |page| html! {
            @if page.data.is_empty() { p { (t!(visit, "no-secrets")) } }
            @else {
                (ui::table(&t!(visit, "nav-secrets"), &[t!(visit, "name"), t!(visit, "created"), t!(visit, "updated"), t!(visit, "actions")], &html! {
                    @for own in &page.data {
                        tr {
                            td { code { (ui::visible(&own.name)) } }
                            td { (ui::time(&visit, &own.created_at)) } td { (ui::time(&visit, &own.updated_at)) }
                            td { (ui::confirmed(&visit, &format!("/dashboard/secrets/{}/delete", own.name), &t!(visit, "delete"), &t!(visit, "delete-secret-consequence"), &[])) }
                        }
                    }
                }))
            }
        }))
        section {
            h2 { (t!(visit, "set-secret")) }
            form method="post" action="/dashboard/secrets" {
                (ui::csrf(&visit))
                (ui::input("name", &t!(visit, "name"), "", "text"))
                (ui::input("value", &t!(visit, "value"), "", "password"))
                button { (t!(visit, "save")) }
            }
        }
    };
    visit.page(&t!(visit, "nav-secrets"), content)
}

fn path(name: &str) -> String {
    let encoded = percent_encoding::utf8_percent_encode(name, percent_encoding::NON_ALPHANUMERIC);
    format!("/api/secrets/{encoded}")
}

pub(crate) async fn put(visit: Visit, Form(form): Form) -> Result {
    let call = visit.call(Method::PUT, &path(form.get("name")));
    call.json(&json!({"value": form.raw("value")}))
        .send()
        .await?;
    Ok(see_other("/dashboard/secrets"))
}

pub(crate) async fn delete(visit: Visit, Path(name): Path<String>, _: Form) -> Result {
    visit.delete(&path(&name)).await?;
    Ok(see_other("/dashboard/secrets"))
}
