//! API keys: shown once, kept as a keyed hash.

use aias_domain::{
    id::KeyId,
    tenant::{ApiKey, Role, may_manage},
    text::Name,
};
use aias_platform::{
    clock::{random_id, random_secret},
    http::{Caller, Once, Problem, Request, Response, TOKEN_PREFIX, listing, page_of, parse_body},
    secrets::Purpose,
    store::{Refused, Scope, TenantStore},
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
    request.only_parameters(&["limit", "cursor"])?;
    let keyring = app.api.auth.keyring().await?;
    let listing = listing(request, &keyring, store)?;
    page_of(
        request,
        &keyring,
        store,
        store.api_keys(&listing).await?,
        |key| view::api_key(&key),
    )
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
    let now = app.api.clock.now();
    let keyring = app.api.auth.keyring().await?;
    let scope = Scope::Tenant(caller.tenant.id);
    let once = match Once::begin(&app.api.store, &keyring, &scope, request, now).await? {
        Ok(once) => once,
        Err(earlier) => return Ok(earlier),
    };
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
    let key = ApiKey {
        id: KeyId::new(now, random_id()),
        name: body.name,
        role: body.role,
        created_at: now,
        valid_until: body.expires_at,
        token_hash: keyring.hash(Purpose::ApiKey, &[tenant.as_bytes(), secret.as_bytes()]),
    };
    let token = format!("{TOKEN_PREFIX}{tenant}_{secret}");
    let response = Response::object(201, &view::new_api_key(&key, token))?;
    let kept = once.keep(&response)?;
    match store
        .create_api_key(&key, caller.limits.api_keys, kept)
        .await
    {
        Ok(()) => Ok(response),
        Err(Refused::Answered(answer)) => once.earlier(*answer),
        Err(refused) => Err(Problem::refused(refused, &caller.limits)),
    }
}

pub(crate) async fn delete(
    store: &TenantStore<'_>,
    caller: &Caller,
    id: &str,
) -> Result<Response, Problem> {
    caller.require(Role::Admin)?;
    let id: KeyId = id.parse().map_err(|_| Problem::not_found())?;
    let read = store.api_key(id).await?.ok_or_else(Problem::not_found)?;
    may_manage(caller.role, read.value.role).map_err(|e| Problem::forbidden(e.to_string()))?;
    let deleted = store.delete_api_key(&read).await;
    deleted.map_err(|refused| Problem::refused(refused, &caller.limits))?;
    Ok(Response::no_content())
}
