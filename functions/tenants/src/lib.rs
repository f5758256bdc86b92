//! Tenants, their members, their API keys, their secrets and their audit log.

mod api_keys;
mod audit_log;
mod members;
mod secrets;
mod view;

use aias_domain::{
    id::TenantId,
    plan::limits,
    subscription::Subscription,
    tenant::{Member, Role, Tenant, UserId},
    text::Name,
};
use aias_platform::{
    aws::SdkConfig,
    clock::random_id,
    config::Env,
    http::{
        Actor, Api, Caller, Changed, HttpAnswer, HttpEvent, Identity, Method, Once, Problem,
        Request, Response, SeenCell, entry, parse_body, serve, shown,
    },
    runs::expiry,
    store::{Listing, Scope, Stored, TenantStore},
};
use serde::Deserialize;
use serde_json::json;

/// What these routes take.
#[derive(Debug)]
pub struct App {
    /// The table, who calls, and the time.
    pub api: Api,
}

impl App {
    /// From the settings of [`Api::load`].
    #[must_use]
    pub fn load(aws: &SdkConfig, tenants: &SdkConfig, env: &Env) -> Self {
        Self {
            api: Api::load(aws, tenants, env),
        }
    }
}

/// Answers an event.
pub async fn handle(app: &App, event: HttpEvent) -> HttpAnswer {
    serve(event, |request, seen| async move {
        route(app, &request, &seen).await
    })
    .await
}

async fn route(app: &App, request: &Request, seen: &SeenCell) -> Result<Response, Problem> {
    match request.path().as_slice() {
        ["api", "tenants"] => {
            let route = |identity| of_somebody(app, request, identity, seen);
            app.api.auth.as_somebody(request, route).await
        }
        ["api", "tenants", tenant, ..] => {
            let route = |caller| in_tenant(app, caller, request);
            app.api.auth.as_member(request, seen, tenant, route).await
        }
        ["api", "secrets", ..] => {
            let route = |caller| of_secrets(app, caller, request);
            app.api.auth.as_caller(request, seen, route).await
        }
        _ => Err(Problem::not_found()),
    }
}

async fn of_secrets(app: &App, caller: Caller, request: &Request) -> Result<Response, Problem> {
    let store = &app.api.store.tenant(caller.proof());
    match (request.method, request.path().as_slice()) {
        (Method::Get, ["api", "secrets"]) => secrets::list(store, &caller, request).await,
        (Method::Get, ["api", "secrets", name]) => secrets::one(store, &caller, name).await,
        (Method::Put, ["api", "secrets", name]) => {
            secrets::put(app, store, &caller, request, name).await
        }
        (Method::Delete, ["api", "secrets", name]) => {
            secrets::delete(app, store, &caller, request, name).await
        }
        _ => Err(Problem::not_found()),
    }
}

async fn of_somebody(
    app: &App,
    request: &Request,
    identity: Identity,
    seen: &SeenCell,
) -> Result<Response, Problem> {
    match (request.method, identity) {
        (Method::Get, Identity::User(user)) => mine(app, request, &user).await,
        (Method::Get, Identity::Key(caller)) => {
            let own = view::tenant(&caller.tenant, caller.role, app.api.clock.now());
            Response::json(200, &json!({"data": [own], "next_cursor": null}))
        }
        (Method::Post, Identity::User(user)) => create(app, request, user, seen).await,
        (Method::Post, Identity::Key(_)) => {
            Err(Problem::forbidden("an API key belongs to its one tenant"))
        }
        _ => Err(Problem::not_found()),
    }
}

async fn in_tenant(app: &App, caller: Caller, request: &Request) -> Result<Response, Problem> {
    let store = &app.api.store.tenant(caller.proof());
    let path = request.path();
    let deleting = caller.tenant.deleted_at.is_some();
    match (request.method, path.as_slice()) {
        (Method::Delete, ["api", "tenants", _]) => delete(app, store, &caller, request).await,
        // Of a tenant that is being deleted nothing else is there.
        _ if deleting => Err(Problem::not_found()),
        (Method::Get, ["api", "tenants", _]) => Response::object(
            200,
            &view::tenant(&caller.tenant, caller.role, app.api.clock.now()),
        ),
        (Method::Patch, ["api", "tenants", _]) => rename(app, store, &caller, request).await,
        (Method::Get, ["api", "tenants", _, "members"]) => members::list(app, store, request).await,
        (Method::Post, ["api", "tenants", _, "members"]) => {
            members::create(app, store, &caller, request).await
        }
        (Method::Patch, ["api", "tenants", _, "members", user]) => {
            members::change(app, store, &caller, request, user).await
        }
        (Method::Delete, ["api", "tenants", _, "members", user]) => {
            members::delete(app, store, &caller, request, user).await
        }
        (Method::Get, ["api", "tenants", _, "api-keys"]) => {
            api_keys::list(app, store, &caller, request).await
        }
        (Method::Post, ["api", "tenants", _, "api-keys"]) => {
            api_keys::create(app, store, &caller, request).await
        }
        (Method::Get, ["api", "tenants", _, "audit-log"]) => {
            audit_log::list(app, store, &caller, request).await
        }
        (Method::Delete, ["api", "tenants", _, "api-keys", key]) => {
            api_keys::delete(app, store, &caller, request, key).await
        }
        _ => Err(Problem::not_found()),
    }
}

async fn mine(app: &App, request: &Request, user: &UserId) -> Result<Response, Problem> {
    request.only_parameters(&["limit"])?;
    // A person is in few tenants: one page of them.
    let listing = Listing {
        limit: 100,
        after: None,
    };
    let page = app.api.store.tenants_of(user, &listing).await?;
    let now = app.api.clock.now();
    let living = page
        .items
        .iter()
        .filter(|(tenant, _)| tenant.deleted_at.is_none());
    let data: Vec<_> = living
        .map(|(tenant, member)| view::tenant(tenant, member.role, now))
        .collect();
    Response::json(200, &json!({"data": data, "next_cursor": null}))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Named {
    name: Name,
}

async fn create(
    app: &App,
    request: &Request,
    user: UserId,
    seen: &SeenCell,
) -> Result<Response, Problem> {
    let scope = Scope::User(user.clone());
    let make = async |once: Once<'_>| {
        let now = app.api.clock.now();
        let body: Named = parse_body(request)?;
        let tenant = Tenant::new(TenantId::new(now, random_id()), body.name, now);
        seen.note(|seen| seen.tenant(tenant.id));
        let actor = Actor::User(user.clone()).told();
        let owner = Member {
            user_id: user,
            role: Role::Owner,
            created_at: now,
            disabled_by_plan: false,
        };
        let after = view::tenant(&tenant, Role::Owner, now);
        let changed = Changed::created("tenant", &tenant.id, shown(&after));
        let entry = entry(actor, request, now, changed);
        let response = Response::object(201, &after)?
            .header("location", format!("/api/tenants/{}", tenant.id));
        let kept = once.keep(&response)?;
        let store = &app.api.store;
        let made = store.create_tenant(&tenant, &owner, &entry, kept).await;
        once.finish(made, response, &limits(&tenant, now))
    };
    app.api.once(scope, request, make).await
}

async fn rename(
    app: &App,
    store: &TenantStore<'_>,
    caller: &Caller,
    request: &Request,
) -> Result<Response, Problem> {
    caller.require(Role::Admin)?;
    let read: Stored<Tenant> = store.tenant().await?.ok_or_else(Problem::not_found)?;
    let now = app.api.clock.now();
    let before = view::tenant(&read.value, caller.role, now);
    request.check_if_match(&before)?;
    let body: Named = parse_body(request)?;
    let value = Tenant {
        name: body.name,
        updated_at: now,
        ..read.value
    };
    let changed = Stored {
        value,
        version: read.version,
    };
    let after = view::tenant(&changed.value, caller.role, now);
    let told = Changed::updated("tenant", &caller.tenant.id, shown(&before), shown(&after));
    let entry = caller.tells(request, now, told);
    store.audited(&entry).save_tenant(&changed).await?;
    Response::object(200, &after)
}

/// First the tenant is marked, which shuts every door but this one; then its items go, its owners
/// last. When it ends half-way, the owner asks again and it goes on.
async fn delete(
    app: &App,
    store: &TenantStore<'_>,
    caller: &Caller,
    request: &Request,
) -> Result<Response, Problem> {
    caller.require(Role::Owner)?;
    let read = store.tenant().await?.ok_or_else(Problem::not_found)?;
    let account = store.account().await?.value;
    let live = |own: &Subscription| own.state.status.is_live();
    if account.entitled().subscription.is_some_and(live) {
        let title = "The tenant has a subscription";
        return Err(Problem::conflict("subscription-active", title)
            .detail("cancel it first: POST /api/billing/portal leads there"));
    }
    let now = app.api.clock.now();
    if read.value.deleted_at.is_none() {
        let before = shown(&view::tenant(&read.value, caller.role, now));
        let changed = Changed::deleted("tenant", &caller.tenant.id, before);
        let entry = caller.tells(request, now, changed);
        let value = Tenant {
            deleted_at: Some(now),
            updated_at: now,
            ..read.value
        };
        let version = read.version;
        store
            .audited(&entry)
            .save_tenant(&Stored { value, version })
            .await?;
    }
    store
        .purge(expiry(now, caller.limits.retention_days))
        .await?;
    Ok(Response::no_content())
}
