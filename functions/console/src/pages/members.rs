//! Members and invitations.

use aias_domain::tenant::Role;
use axum::{extract::Path, http::Method, response::Response};
use maud::{Markup, html};
use serde_json::json;

use crate::{
    client::{ApiResult, Invitation, Member, Page, present_members},
    failure::{Failure, Result},
    form::Form,
    ui,
    visit::{Visit, see_other, t},
};

pub(crate) const ROLES: [&str; 4] = ["viewer", "editor", "admin", "owner"];

/// The roles that the caller may give.
pub(crate) fn roles(visit: &Visit) -> Vec<(String, String)> {
    let own = visit.caller.role.to_string();
    let end = ROLES
        .iter()
        .position(|role| *role == own)
        .map_or(0, |at| at + 1);
    let given = ROLES.iter().take(end);
    given
        .map(|role| ((*role).to_owned(), ui::word(visit, "role", role)))
        .collect()
}

pub(crate) async fn page(visit: Visit) -> Response {
    let members = visit.tenant_path("/members?limit=100");
    let invitations = visit.tenant_path("/invitations?limit=100");
    let is_admin = visit.can(Role::Admin);
    let (members, invitations) = tokio::join!(visit.list::<Member>(&members, &[]), async {
        if is_admin {
            Some(visit.get::<Page<Invitation>>(&invitations).await)
        } else {
            None
        }
    });
    let content = html! {
        (ui::list(&visit, members, |own| table(&visit, own)))
        @if let Some(invitations) = invitations { (invited(&visit, invitations)) }
    };
    visit.page(&t!(visit, "nav-members"), content)
}

/// A user id in a path.
fn encoded(id: &str) -> String {
    percent_encoding::utf8_percent_encode(id, percent_encoding::NON_ALPHANUMERIC).to_string()
}

fn table(visit: &Visit, members: &[Member]) -> Markup {
    let can_change = visit.can(Role::Admin);
    let mut heads = vec![t!(visit, "user"), t!(visit, "role"), t!(visit, "created")];
    heads.extend(can_change.then(|| t!(visit, "actions")));
    let rows = html! {
        @for own in members {
            tr {
                td { code { (ui::visible(&own.user_id)) } }
                td { (ui::word(visit, "role", &own.role)) @if own.disabled_reason.is_some() { " (" (t!(visit, "disabled-by-plan")) ")" } }
                td { (ui::time(visit, &own.created_at)) }
                @if can_change { td { (changes(visit, own)) } }
            }
        }
    };
    ui::table(&t!(visit, "nav-members"), &heads, &rows)
}

fn changes(visit: &Visit, own: &Member) -> Markup {
    let path = format!("/dashboard/members/{}", encoded(&own.user_id));
    html! {
        form.inline method="post" action=(format!("{path}/role")) {
            (ui::csrf(visit))
            select name="role" aria-label=(t!(visit, "role-of", user = own.user_id.as_str())) {
                @for (value, shown) in roles(visit) { option value=(value) selected[value == own.role] { (shown) } }
            }
            button { (t!(visit, "change-role")) }
        }
        (ui::confirmed(visit, &format!("{path}/remove"), &t!(visit, "remove"), &t!(visit, "remove-member-consequence"), &[]))
    }
}

fn invited(visit: &Visit, invitations: ApiResult<Page<Invitation>>) -> Markup {
    html! {
        section {
            h2 { (t!(visit, "invitations")) }
            (ui::panel(visit, invitations, |page| html! {
                @if page.next_cursor.is_some() { p.note { (t!(visit, "first-100")) } }
                ul {
                    @for own in &page.data {
                        li {
                            (ui::text(own.email.as_deref().or(own.user_id.as_deref()).unwrap_or_default())) " · " (ui::word(visit, "role", &own.role)) " · "
                            @if let Some(user) = &own.accepted_by { (t!(visit, "accepted-by")) " " code { (ui::visible(user)) } }
                            @else {
                                (t!(visit, "valid-until")) " " (ui::time(visit, &own.expires_at)) " "
                                (ui::button(visit, &format!("/dashboard/members/{}/withdraw", own.id), &t!(visit, "withdraw"), &[]))
                            }
                        }
                    }
                }
            }))
            h3 { (t!(visit, "invite")) }
            form method="post" action="/dashboard/members" {
                (ui::csrf(visit)) (ui::once())
                (ui::input("email", &t!(visit, "email"), "", "email"))
                (ui::input("user_id", &t!(visit, "or-user"), "", "text"))
                (ui::select("role", &t!(visit, "role"), "viewer", &roles(visit)))
                button { (t!(visit, "invite")) }
            }
        }
    }
}

pub(crate) async fn invite(visit: Visit, Form(form): Form) -> Result {
    let names = ["email", "user_id", "role"];
    let body = present_members(names.map(|name| (name, form.get(name).into())));
    let call = visit
        .call(Method::POST, &visit.tenant_path("/invitations"))
        .once(form.get(ui::ONCE));
    let made: Invitation = call.json(&body).get().await?;
    let token = made.token.unwrap_or_default();
    // The token is behind `#`, so that it is in no log.
    let link = format!("{}/dashboard/tenants#{token}", visit.head.base_url());
    let content = html! {
        p { (t!(visit, "invitation-explained")) }
        (ui::shown_once(&visit, &t!(visit, "invitation-link"), &link))
        (ui::shown_once(&visit, &t!(visit, "invitation-token"), &token))
        p { a href="/dashboard/members" { (t!(visit, "back")) } }
    };
    Ok(visit.page(&t!(visit, "invite"), content))
}

pub(crate) async fn act(
    visit: Visit,
    Path((id, action)): Path<(String, String)>,
    Form(form): Form,
) -> Result {
    let member = visit.tenant_path(&format!("/members/{}", encoded(&id)));
    match action.as_str() {
        "role" => {
            let body = json!({"role": form.get("role")});
            visit
                .call(Method::PATCH, &member)
                .json(&body)
                .send()
                .await?;
        }
        "remove" => drop(visit.delete(&member).await?),
        "withdraw" => drop(
            visit
                .delete(&visit.tenant_path(&format!("/invitations/{}", encoded(&id))))
                .await?,
        ),
        _ => return Err(Failure::not_found()),
    }
    Ok(see_other("/dashboard/members"))
}
