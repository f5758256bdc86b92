//! Members: nobody gives, takes or changes a role above their own.

use aias_domain::tenant::{Member, Role, UserId, may_manage};
use aias_platform::{
    http::{Actor, Caller, Changed, Once, Problem, Request, Response, parse_body, shown},
    store::{Listing, Refused, Scope, Stored, TenantStore},
};
use serde::Deserialize;

use crate::{App, view};

pub(crate) async fn list(
    app: &App,
    store: &TenantStore<'_>,
    request: &Request,
) -> Result<Response, Problem> {
    let fetch = async |listing: Listing| Ok(store.members(&listing).await?);
    app.api
        .list(store, request, &[], fetch, |m| view::member(&m))
        .await
}

async fn find(store: &TenantStore<'_>, user: &str) -> Result<Stored<Member>, Problem> {
    let user: UserId = user.parse().map_err(|_| Problem::not_found())?;
    store.member(&user).await?.ok_or_else(Problem::not_found)
}

fn manage(caller: &Caller, role: Role) -> Result<(), Problem> {
    may_manage(caller.role, role).map_err(|e| Problem::forbidden(e.to_string()))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Create {
    user_id: UserId,
    role: Role,
}

pub(crate) async fn create(
    app: &App,
    store: &TenantStore<'_>,
    caller: &Caller,
    request: &Request,
) -> Result<Response, Problem> {
    caller.require(Role::Admin)?;
    let make = async |once: Once<'_>| {
        let body: Create = parse_body(request)?;
        manage(caller, body.role)?;
        let member = Member {
            user_id: body.user_id,
            role: body.role,
            created_at: app.api.clock.now(),
            disabled_by_plan: false,
        };
        let response = Response::object(201, &view::member(&member))?;
        let kept = once.keep(&response)?;
        let told = Changed::created("member", &member.user_id, shown(&view::member(&member)));
        let entry = caller.tells(request, member.created_at, told);
        match store
            .audited(&entry)
            .create_member(&member, caller.limits.members, kept)
            .await
        {
            Err(Refused::Conflict) => Err(Problem::conflict(
                "member-exists",
                "They are a member already",
            )),
            made => once.finish(made, response, &caller.limits),
        }
    };
    let scope = Scope::Tenant(caller.tenant.id);
    app.api.once(scope, request, make).await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Change {
    role: Role,
}

pub(crate) async fn change(
    app: &App,
    store: &TenantStore<'_>,
    caller: &Caller,
    request: &Request,
    user: &str,
) -> Result<Response, Problem> {
    caller.require(Role::Admin)?;
    let read = find(store, user).await?;
    let before = view::member(&read.value);
    request.check_if_match(&before)?;
    let body: Change = parse_body(request)?;
    manage(caller, read.value.role)?;
    manage(caller, body.role)?;
    if read.value.disabled_by_plan {
        let limits = &caller.limits;
        return Err(Problem::plan_limit(
            "members",
            limits.members,
            limits.members,
            limits.plan,
        ));
    }
    let role = body.role;
    let after = view::member(&Member {
        role,
        ..read.value.clone()
    });
    let told = Changed::updated("member", &read.value.user_id, shown(&before), shown(&after));
    let entry = caller.tells(request, app.api.clock.now(), told);
    let saved = store.audited(&entry).save_member(&read, role).await;
    let member = saved.map_err(|refused| Problem::refused(refused, &caller.limits))?;
    Response::object(200, &view::member(&member))
}

/// An admin removes a member; anybody may leave.
pub(crate) async fn delete(
    app: &App,
    store: &TenantStore<'_>,
    caller: &Caller,
    request: &Request,
    user: &str,
) -> Result<Response, Problem> {
    let leaves = matches!(&caller.actor, Actor::User(own) if own.as_str() == user);
    if !leaves {
        caller.require(Role::Admin)?;
    }
    let read = find(store, user).await?;
    manage(caller, read.value.role)?;
    let before = shown(&view::member(&read.value));
    let told = Changed::deleted("member", &read.value.user_id, before);
    let entry = caller.tells(request, app.api.clock.now(), told);
    let deleted = store.audited(&entry).delete_member(&read).await;
    deleted.map_err(|refused| Problem::refused(refused, &caller.limits))?;
    Ok(Response::no_content())
}
