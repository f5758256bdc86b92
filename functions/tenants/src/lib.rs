//! Tenants, members, API keys, workflow secrets and the audit log.

mod api_keys;
mod audit_log;
mod invitations;
mod members;
mod secrets;
mod view;

use std::sync::Arc;

use aias_domain::{
    id::TenantId,
    name::Name,
    subscription::Subscription,
    tenant::{Member, Role, Tenant, UserId},
};
use aias_platform::{
    clock::random_id,
    http::{
        Actor, Admin, Api, Authenticated as _, Change, DeletingOwner, Identified, Identity,
        JsonBody, Once, Problem, RequestBody, Result, Routes, Viewer, kinds, openapi,
        response::{created, no_content, object},
        shown, whole_list,
    },
    routes,
    runs::expiry,
    store::{Listing, Scope, Stored, TransactionError},
};
use axum::http::StatusCode;
use serde::Deserialize;
use tracing::{Span, field::display};
use utoipa::ToSchema;

#[must_use]
pub fn routes(api: Api) -> Routes {
    let api = Arc::new(api);
    let outside = Routes::new()
        .routes(routes!(list_tenants, create_tenant))
        .routes(routes!(invitations::accept_invitation))
        .outside_tenants(&api);
    let in_path_tenant = Routes::new()
        .routes(routes!(get_tenant, rename_tenant, delete_tenant))
        .routes(routes!(members::list_members, members::add_member))
        .routes(routes!(members::change_member, members::remove_member))
        .routes(routes!(
            invitations::list_invitations,
            invitations::create_invitation
        ))
        .routes(routes!(invitations::delete_invitation))
        .routes(routes!(api_keys::list_api_keys, api_keys::create_api_key))
        .routes(routes!(api_keys::delete_api_key))
        .routes(routes!(audit_log::list_audit_log))
        .in_path_tenant(&api);
    let in_named_tenant = Routes::new()
        .routes(routes!(secrets::list_secrets))
        .routes(routes!(
            secrets::get_secret,
            secrets::put_secret,
            secrets::delete_secret
        ))
        .in_named_tenant(&api);
    outside
        .merge(in_path_tenant)
        .merge(in_named_tenant)
        .with_state(api)
}

/// List my tenants
///
/// The tenants of a person, or the only tenant of an API key.
#[utoipa::path(
    get,
    path = "/api/tenants",
    tag = "tenants",
    responses((status = 200, description = "All tenants of the caller", body = openapi::Page<view::TenantView>)),
    extensions(("x-role" = json!("any"))),
)]
async fn list_tenants(ctx: Identified<Api>) -> Result {
    let user = match &ctx.identity {
        Identity::User(user) => user,
        Identity::Caller(caller) => {
            return whole_list(&[view::tenant(&caller.tenant, caller.role, ctx.now)]);
        }
    };
    // A person has few tenants, so one response contains all of them.
    let mut views = Vec::new();
    let mut listing = Listing {
        limit: 100,
        after: None,
    };
    loop {
        let page = ctx.app.store.tenants_of(user, &listing).await?;
        let existing = page.items.iter();
        let existing = existing.filter(|(tenant, _)| {
            tenant.deleted_at.is_none() && ctx.app.auth.knows_people_of(tenant)
        });
        views.extend(existing.map(|(tenant, member)| view::tenant(tenant, member.role, ctx.now)));
        if page.next.is_none() {
            return whole_list(&views);
        }
        listing.after = page.next;
    }
}

/// A tenant's name.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct TenantInput {
    name: Name,
}

impl RequestBody for TenantInput {}

/// Create a tenant
///
/// The caller becomes its owner. An API key cannot create a tenant.
#[utoipa::path(
    post,
    path = "/api/tenants",
    tag = "tenants",
    params(openapi::IdempotencyKey),
    request_body = TenantInput,
    responses((
        status = 201, description = "The tenant", body = view::TenantView,
        headers(("etag" = String), ("location" = String)),
        links(("tenant" = (operation_id = "get_tenant", parameters(("id" = "$response.body#/id"))))),
    )),
    extensions(
        ("x-role" = json!("any")),
        ("x-problems" = json!(["conflict", "forbidden", "too-many-tenants"])),
    ),
)]
async fn create_tenant(ctx: Identified<Api>, body: JsonBody<TenantInput>) -> Result {
    let user: UserId = ctx.user()?.clone();
    let (api, now) = (&ctx.app, ctx.now);
    let create = async |once: Once<'_>| {
        let id = TenantId::new(now, random_id());
        let tenant = Tenant {
            issuer: api.auth.recorded_issuer(),
            ..Tenant::new(id, body.value.name.clone(), now)
        };
        Span::current().record("tenant_id", display(tenant.id));
        let owner = Member {
            user_id: user.clone(),
            role: Role::Owner,
            created_at: now,
            disabled_by_plan: false,
        };
        let view = view::tenant(&tenant, Role::Owner, now);
        let change = Change::created("tenant", &tenant.id, shown(&view));
        let entry = change.entry(Actor::User(user.clone()).audited(), &ctx.head, now);
        let response = created(format!("/api/tenants/{}", tenant.id), &view)?;
        let sealed = once.sealed(&response)?;
        let made = api
            .store
            .create_tenant(&tenant, &owner, &entry, sealed)
            .await;
        once.finish(made, response, &tenant.limits(now))
    };
    let scope = Scope::User(user.clone());
    api.once(scope, &ctx.head, &body.bytes, create).await
}

/// Get a tenant
#[utoipa::path(
    get,
    path = "/api/tenants/{id}",
    tag = "tenants",
    params(("id" = TenantId, Path)),
    responses((
        status = 200, description = "The tenant", body = view::TenantView,
        headers(("etag" = String)),
    )),
    extensions(("x-role" = json!("viewer"))),
)]
async fn get_tenant(ctx: Viewer<Api>) -> Result {
    let view = view::tenant(&ctx.caller.tenant, ctx.caller.role, ctx.now);
    object(StatusCode::OK, &view)
}

/// Rename a tenant
#[utoipa::path(
    patch,
    path = "/api/tenants/{id}",
    tag = "tenants",
    params(("id" = TenantId, Path), openapi::IfMatch),
    request_body = TenantInput,
    responses((
        status = 200, description = "The tenant", body = view::TenantView,
        headers(("etag" = String)),
    )),
    extensions(("x-role" = json!("admin")), ("x-problems" = json!(["conflict", "precondition-failed"]))),
)]
async fn rename_tenant(ctx: Admin<Api>, body: JsonBody<TenantInput>) -> Result {
    let read = ctx.store().tenant().await?.ok_or_else(Problem::not_found)?;
    let before = view::tenant(&read.value, ctx.caller.role, ctx.now);
    ctx.head.check_if_match(&before)?;
    let value = Tenant {
        name: body.value.name,
        updated_at: ctx.now,
        ..read.value
    };
    let renamed = Stored {
        value,
        version: read.version,
    };
    let after = view::tenant(&renamed.value, ctx.caller.role, ctx.now);
    let id = ctx.caller.tenant.id;
    let change = Change::updated("tenant", &id, shown(&before), shown(&after));
    ctx.change(change, async |store| {
        Ok(store.save_tenant(&renamed).await?)
    })
    .await?;
    object(StatusCode::OK, &after)
}

/// Delete a tenant
///
/// From this request on, the tenant cannot be used any more. If the response is not `204`, repeat
/// the request to continue the deletion.
#[utoipa::path(
    delete,
    path = "/api/tenants/{id}",
    tag = "tenants",
    params(("id" = TenantId, Path)),
    responses((status = 204, description = "The tenant is deleted")),
    extensions(("x-role" = json!("owner")), ("x-problems" = json!(["conflict", "subscription-active"]))),
)]
async fn delete_tenant(ctx: DeletingOwner<Api>) -> Result {
    let store = ctx.store();
    let read = store.tenant().await?.ok_or_else(Problem::not_found)?;
    let account = store.account().await?.value;
    let live = |own: &Subscription| own.state.status.is_live();
    if account.plan_grant().subscription.is_some_and(live) {
        return Err(Problem::new(&kinds::SUBSCRIPTION_ACTIVE).detail(
            "cancel the subscription first, in the customer portal: POST /api/billing/portal",
        ));
    }
    if read.value.deleted_at.is_none() {
        let before = shown(&view::tenant(&read.value, ctx.caller.role, ctx.now));
        let value = Tenant {
            deleted_at: Some(ctx.now),
            updated_at: ctx.now,
            ..read.value
        };
        let deleted = Stored {
            value,
            version: read.version,
        };
        let change = Change::deleted("tenant", &ctx.caller.tenant.id, before);
        ctx.change(change, async |store| {
            Ok::<_, TransactionError>(store.save_tenant(&deleted).await?)
        })
        .await?;
    }
    let retired_until = expiry(ctx.now, ctx.caller.limits.retention_days);
    store.purge(retired_until).await?;
    Ok(no_content())
}
