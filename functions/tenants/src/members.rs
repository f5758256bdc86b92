//! Members. No caller can grant, remove or change a role above their own.

use aias_domain::{
    id::TenantId,
    tenant::{Member, Role, UserId, may_manage},
};
use aias_platform::{
    http::{
        Actor, Admin, Api, Caller, Change, JsonBody, List, NoFilter, Once, PageParams, Path,
        Problem, RequestBody, Result, Viewer, kinds, openapi,
        response::{no_content, object},
        shown,
    },
    store::{Listing, Stored, TenantStore, TransactionError},
};
use axum::http::StatusCode;
use serde::Deserialize;
use utoipa::ToSchema;

use crate::view;

/// List members
#[utoipa::path(
    get,
    path = "/api/tenants/{id}/members",
    tag = "tenants",
    params(("id" = TenantId, Path), PageParams),
    responses((status = 200, description = "A page", body = openapi::Page<view::MemberView>)),
    extensions(("x-role" = json!("viewer"))),
)]
pub(crate) async fn list_members(ctx: Viewer<Api, List<NoFilter>>) -> Result {
    let store = ctx.store();
    let fetch = async |listing: Listing| Ok(store.members(&listing).await?);
    ctx.page(fetch, |member| view::member(&member)).await
}

async fn find(store: &TenantStore<'_>, user: &UserId) -> Result<Stored<Member>> {
    store.member(user).await?.ok_or_else(Problem::not_found)
}

pub(crate) fn manage(caller: &Caller, role: Role) -> Result<()> {
    may_manage(caller.role, role).map_err(|error| Problem::forbidden(error.to_string()))
}

/// A new member.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewMember {
    /// The subject (`sub`) of the member's tokens.
    user_id: UserId,
    role: Role,
}

impl RequestBody for NewMember {}

/// Add a member
#[utoipa::path(
    post,
    path = "/api/tenants/{id}/members",
    tag = "tenants",
    params(("id" = TenantId, Path), openapi::IdempotencyKey),
    request_body = NewMember,
    responses((
        status = 201, description = "The member", body = view::MemberView,
        headers(("etag" = String)),
    )),
    extensions(
        ("x-role" = json!("admin")),
        ("x-problems" = json!(["conflict", "member-exists", "plan-limit-exceeded"])),
    ),
)]
pub(crate) async fn add_member(ctx: Admin<Api>, body: JsonBody<NewMember>) -> Result {
    let create = async |once: Once<'_>| {
        manage(&ctx.caller, body.value.role)?;
        let member = Member {
            user_id: body.value.user_id.clone(),
            role: body.value.role,
            created_at: ctx.now,
            disabled_by_plan: false,
        };
        let view = view::member(&member);
        let response = object(StatusCode::CREATED, &view)?;
        let change = Change::created("member", &member.user_id, shown(&view));
        let limit = ctx.caller.limits.members;
        let created = ctx.create(&once, change, response, async |store, sealed| {
            store.create_member(&member, limit, sealed).await
        });
        created.await.map_err(|problem| {
            if problem.kind() == &kinds::CONFLICT {
                Problem::new(&kinds::MEMBER_EXISTS)
            } else {
                problem
            }
        })
    };
    ctx.once(&body.bytes, create).await
}

/// A member's new role.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct MemberChange {
    role: Role,
}

impl RequestBody for MemberChange {}

/// Change a member's role
#[utoipa::path(
    patch,
    path = "/api/tenants/{id}/members/{user_id}",
    tag = "tenants",
    params(("id" = TenantId, Path), ("user_id" = UserId, Path), openapi::IfMatch),
    request_body = MemberChange,
    responses((
        status = 200, description = "The member", body = view::MemberView,
        headers(("etag" = String)),
    )),
    extensions(
        ("x-role" = json!("admin")),
        ("x-problems" = json!(["conflict", "last-owner", "plan-limit-exceeded", "precondition-failed"])),
    ),
)]
pub(crate) async fn change_member(
    ctx: Admin<Api>,
    Path((_, user)): Path<(TenantId, UserId)>,
    body: JsonBody<MemberChange>,
) -> Result {
    let read = find(&ctx.store(), &user).await?;
    let before = view::member(&read.value);
    ctx.head.check_if_match(&before)?;
    let role = body.value.role;
    manage(&ctx.caller, read.value.role)?;
    manage(&ctx.caller, role)?;
    if read.value.disabled_by_plan {
        let limits = &ctx.caller.limits;
        let members = limits.members;
        return Err(Problem::plan_limit(
            "members",
            members,
            members,
            limits.plan,
        ));
    }
    let after = view::member(&Member {
        role,
        ..read.value.clone()
    });
    let change = Change::updated("member", &user, shown(&before), shown(&after));
    let member = ctx
        .change(change, async |store| store.save_member(&read, role).await)
        .await?;
    object(StatusCode::OK, &view::member(&member))
}

/// Remove a member
///
/// An admin removes another member; every member may leave.
#[utoipa::path(
    delete,
    path = "/api/tenants/{id}/members/{user_id}",
    tag = "tenants",
    params(("id" = TenantId, Path), ("user_id" = UserId, Path)),
    responses((status = 204, description = "The user is not a member any more")),
    extensions(("x-role" = json!("admin")), ("x-problems" = json!(["conflict", "last-owner"]))),
)]
pub(crate) async fn remove_member(
    ctx: Viewer<Api>,
    Path((_, user)): Path<(TenantId, UserId)>,
) -> Result {
    let leaves = matches!(&ctx.caller.actor, Actor::User(own) if *own == user);
    if !leaves {
        ctx.caller.require(Role::Admin)?;
    }
    let read = find(&ctx.store(), &user).await?;
    manage(&ctx.caller, read.value.role)?;
    let change = Change::deleted("member", &user, shown(&view::member(&read.value)));
    ctx.change(
        change,
        async |store| -> std::result::Result<(), TransactionError> {
            store.delete_member(&read).await
        },
    )
    .await?;
    Ok(no_content())
}
