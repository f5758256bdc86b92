//! Choosing, creating and joining a tenant, for people.

use axum::{
    http::{Method, StatusCode},
    response::Response,
};
use maud::html;
use serde_json::json;

use aias_platform::http::Problem;

use crate::{
    client::{Page, Tenant},
    failure::Result,
    form::{CSRF, Form},
    layout,
    sign_in::select_tenant,
    ui,
    visit::{Visitor, t},
};

pub(crate) async fn page(visitor: Visitor) -> Result<Response> {
    let tenants: Page<Tenant> = call(&visitor, Method::GET, "/api/tenants")?.get().await?;
    let csrf = html! { input type="hidden" name=(CSRF) value=(visitor.session.csrf); };
    let content = html! {
        @for own in &tenants.data {
            form method="post" action="/dashboard/tenants/select" {
                (csrf)
                input type="hidden" name="tenant" value=(own.id);
                button { (ui::text(&own.name)) " (" (ui::word(&visitor, "role", &own.role)) ", " (own.plan) ")" }
            }
        }
        section {
            h2 { (t!(visitor, "create-tenant")) }
            form method="post" action="/dashboard/tenants" {
                (csrf) (ui::once())
                (ui::input("name", &t!(visitor, "name"), "", "text"))
                button { (t!(visitor, "create-tenant")) }
            }
        }
        section {
            h2 { (t!(visitor, "accept-invitation")) }
            form method="post" action="/dashboard/tenants/accept" {
                (csrf)
                label { (t!(visitor, "invitation-token")) input name="token" autocomplete="off" spellcheck="false" data-from-fragment; }
                button { (t!(visitor, "accept-invitation")) }
            }
        }
        form method="post" action="/dashboard/sign-out" { (csrf) button.quiet { (t!(visitor, "sign-out")) } }
    };
    Ok(layout::public_page(
        &visitor,
        StatusCode::OK,
        &t!(visitor, "choose-tenant"),
        content,
    ))
}

fn call<'a>(visitor: &'a Visitor, method: Method, path: &str) -> Result<crate::client::Call<'a>> {
    let person = visitor.identity();
    let person =
        person.ok_or_else(|| Problem::forbidden("an API key belongs to its one tenant"))?;
    Ok(visitor.app.client.call(method, path, person, &visitor.head))
}

pub(crate) async fn create(visitor: Visitor, Form(form): Form) -> Result {
    let call = call(&visitor, Method::POST, "/api/tenants")?.once(form.get(ui::ONCE));
    let made: Tenant = call.json(&json!({"name": form.get("name")})).get().await?;
    select_tenant(&visitor.app, &visitor.session, &made.id).await
}

pub(crate) async fn accept(visitor: Visitor, Form(form): Form) -> Result {
    let call = call(&visitor, Method::POST, "/api/invitations/accept")?;
    let joined: Tenant = call
        .json(&json!({"token": form.get("token")}))
        .get()
        .await?;
    select_tenant(&visitor.app, &visitor.session, &joined.id).await
}

pub(crate) async fn select(visitor: Visitor, Form(form): Form) -> Result {
    select_tenant(&visitor.app, &visitor.session, form.get("tenant")).await
}
