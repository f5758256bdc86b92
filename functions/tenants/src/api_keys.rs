//! API keys: shown once, kept as a keyed hash.

use aias_domain::{
    id::KeyId,
    tenant::{ApiKey, Role, may_manage},
    text::Name,
};
use aias_platform::{
    clock::{random_id, random_secret},
    http::{Caller, Changed, Once, Problem, Request, Response, TOKEN_PREFIX, parse_body, shown},
    secrets::Purpose,
    store::{Listing, Scope, TenantStore},
};
use jiff::Timestamp;
use serde::Deserialize;

use crate::{App, view};

pub(crate) async fn list(
    app: &App,
    store: &TenantStore<'_>,
    caller: &Caller,
    request: &Request,
) -> Result<Response, Problem> {
    caller.require(Role::Admin)?;
    let fetch = async |listing: Listing| Ok(store.api_keys(&listing).await?);
    app.api
        .list(store, request, &[], fetch, |key| view::api_key(&key))
        .await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Create {
    name: Name,
    role: Role,
    expires_at: Option<Timestamp>,
}

pub(crate) async fn create(
    app: &App,
    store: &TenantStore<'_>,
    caller: &Caller,
    request: &Request,
) -> Result<Response, Problem> {
    caller.require(Role::Admin)?;
    let make = async |once: Once<'_>| {
        let now = app.api.clock.now();
        let body: Create = parse_body(request)?;
        may_manage(caller.role, body.role).map_err(|e| Problem::forbidden(e.to_string()))?;
        if body.expires_at.is_some_and(|at| at <= now) {
            return Err(Problem::invalid_member(
                "/expires_at",
                "must be in the future",
            ));
        }
        let tenant = caller.tenant.id.ulid();
        let secret = random_secret();
        let parts = [tenant.as_bytes(), secret.as_bytes()];
        let key = ApiKey {
            id: KeyId::new(now, random_id()),
            name: body.name,
            role: body.role,
            created_at: now,
            valid_until: body.expires_at,
            token_hash: once.keyring().hash(Purpose::ApiKey, &parts),
            disabled_by_plan: false,
        };
        let token = format!("{TOKEN_PREFIX}{tenant}_{secret}");
        let response = Response::object(201, &view::new_api_key(&key, token))?;
        let kept = once.keep(&response)?;
        let changed = Changed::created("api_key", &key.id, shown(&view::api_key(&key)));
        let entry = caller.tells(request, now, changed);
        let made = store
            .audited(&entry)
            .create_api_key(&key, caller.limits.api_keys, kept)
            .await;
        once.finish(made, response, &caller.limits)
    };
    let scope = Scope::Tenant(caller.tenant.id);
    app.api.once(scope, request, make).await
}

pub(crate) async fn delete(
    app: &App,
    store: &TenantStore<'_>,
    caller: &Caller,
    request: &Request,
    id: &str,
) -> Result<Response, Problem> {
    caller.require(Role::Admin)?;
    let id: KeyId = id.parse().map_err(|_| Problem::not_found())?;
    let read = store.api_key(id).await?.ok_or_else(Problem::not_found)?;
    may_manage(caller.role, read.value.role).map_err(|e| Problem::forbidden(e.to_string()))?;
    let changed = Changed::deleted("api_key", &id, shown(&view::api_key(&read.value)));
    let entry = caller.tells(request, app.api.clock.now(), changed);
    let deleted = store.audited(&entry).delete_api_key(&read).await;
    deleted.map_err(|refused| Problem::refused(refused, &caller.limits))?;
    Ok(Response::no_content())
}
