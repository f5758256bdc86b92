//! Settings: those of the browser, and the tenant.

use aias_domain::tenant::Role;
use axum::{
    http::{Method, header::SET_COOKIE},
    response::Response,
};
use maud::html;
use serde_json::json;

use crate::{
    client::{Page, Tenant},
    failure::{Failure, Result},
    form::Form,
    localization::Language,
    preferences::{Preferences, Theme},
    ui,
    visit::{Visit, see_other, t},
};

pub(crate) async fn page(visit: Visit) -> Response {
    let tenants = match visit.identity() {
        Some(person) => {
            let call = visit
                .app
                .client
                .call(Method::GET, "/api/tenants", person, &visit.head);
            Some(call.get::<Page<Tenant>>().await)
        }
        None => None,
    };
    let own = &visit.preferences;
    let languages = Language::OFFERED
        .map(|language| (language.as_str().to_owned(), language.name().to_owned()));
    let themes = Theme::ALL.map(|theme| {
        (
            theme.as_str().to_owned(),
            ui::word(&visit, "theme", theme.as_str()),
        )
    });
    let tenant = &visit.caller.tenant;
    let content = html! {
        section {
            h2 { (t!(visit, "display")) }
            form method="post" action="/dashboard/settings" {
                (ui::csrf(&visit))
                (ui::select("language", &t!(visit, "language"), own.language.as_str(), &languages))
                (ui::select("theme", &t!(visit, "theme"), own.theme.as_str(), &themes))
                label { (t!(visit, "time-zone")) input name="zone" value=(own.zone_name) list="zones" autocomplete="off" data-zone; }
                datalist #zones { @for zone in ["UTC", "Europe/Berlin", "Europe/London", "America/New_York", "America/Los_Angeles", "Asia/Tokyo", "Asia/Kolkata", "Australia/Sydney"] { option value=(zone) {} } }
                button { (t!(visit, "save")) }
            }
        }
        section {
            h2 { (t!(visit, "tenant")) }
            dl.facts { dt { (t!(visit, "tenant-id")) } dd { (ui::id(&visit, &visit.tenant())) } dt { (t!(visit, "plan")) } dd { (ui::text(visit.caller.limits.plan.as_str())) } }
            @if visit.can(Role::Admin) {
                form method="post" action="/dashboard/settings/rename" {
                    (ui::csrf(&visit))
                    (ui::input("name", &t!(visit, "name"), tenant.name.as_str(), "text"))
                    button { (t!(visit, "rename")) }
                }
            }
        }
        @if let Some(tenants) = tenants {
            section {
                h2 { (t!(visit, "other-tenants")) }
                (ui::panel(&visit, tenants, |page| html! {
                    form method="post" action="/dashboard/settings/switch" {
                        (ui::csrf(&visit))
                        (ui::select("tenant", &t!(visit, "tenant"), &visit.tenant(), &page.data.iter().map(|own| (own.id.clone(), format!("{} ({})", own.name, own.role))).collect::<Vec<_>>()))
                        button { (t!(visit, "switch")) }
                    }
                }))
                p { a href="/dashboard/tenants" { (t!(visit, "create-tenant")) } }
            }
        }
        @if visit.can(Role::Owner) {
            section.actions {
                h2 { (t!(visit, "delete-tenant")) }
                details.confirmed {
                    summary { (t!(visit, "delete-tenant")) }
                    p { (t!(visit, "delete-tenant-consequence")) }
                    form method="post" action="/dashboard/settings/delete" {
                        (ui::csrf(&visit))
                        (ui::input("name", &t!(visit, "name-to-confirm"), "", "text"))
                        button.danger { (t!(visit, "delete-tenant")) }
                    }
                }
            }
        }
    };
    visit.page(&t!(visit, "nav-settings"), content)
}

pub(crate) async fn save(visit: Visit, Form(form): Form) -> Response {
    let language = Language::named(form.get("language")).unwrap_or(visit.preferences.language);
    let chosen = Preferences::new(language, form.get("theme"), form.get("zone"));
    let mut response = see_other("/dashboard/settings");
    response.headers_mut().append(SET_COOKIE, chosen.cookie());
    response
}

pub(crate) async fn rename(visit: Visit, Form(form): Form) -> Result {
    let call = visit.call(Method::PATCH, &visit.tenant_path(""));
    call.json(&json!({"name": form.get("name")})).send().await?;
    Ok(see_other("/dashboard/settings"))
}

pub(crate) async fn delete(visit: Visit, Form(form): Form) -> Result {
    if form.get("name") != visit.caller.tenant.name.as_str() {
        return Err(Failure::bad_request(&t!(visit, "name-differs")));
    }
    visit.delete(&visit.tenant_path("")).await?;
    Ok(see_other("/dashboard"))
}
