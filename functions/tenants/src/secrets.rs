//! `/api/secrets…`: values go in and never come out.

use aias_domain::{
    event::text_of,
    secret::{self, MAX_VALUE_BYTES, SecretItem, SecretName},
    tenant::Role,
};
use aias_platform::{
    http::{Caller, Changed, Problem, Request, Response, parse_body_of, shown},
    store::{Stored, TenantStore},
    tenant_secrets,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::App;

#[derive(Serialize)]
struct SecretView {
    name: String,
    created_at: String,
    updated_at: String,
}

fn view(secret: &SecretItem) -> SecretView {
    SecretView {
        name: secret.name.to_string(),
        created_at: text_of(secret.created_at),
        updated_at: text_of(secret.updated_at),
    }
}

fn name_of(text: &str) -> Result<SecretName, Problem> {
    text.parse().map_err(|_| Problem::not_found())
}

async fn find(store: &TenantStore<'_>, name: &str) -> Result<Stored<SecretItem>, Problem> {
    let found = store.secret(&name_of(name)?).await?;
    found.ok_or_else(Problem::not_found)
}

pub(crate) async fn list(
    store: &TenantStore<'_>,
    caller: &Caller,
    request: &Request,
) -> Result<Response, Problem> {
    caller.require(Role::Admin)?;
    request.only_parameters(&[])?;
    let secrets = store.secrets().await?;
    let data: Vec<_> = secrets.iter().map(view).collect();
    Response::json(200, &json!({"data": data, "next_cursor": null}))
}

pub(crate) async fn one(
    store: &TenantStore<'_>,
    caller: &Caller,
    name: &str,
) -> Result<Response, Problem> {
    caller.require(Role::Admin)?;
    Response::object(200, &view(&find(store, name).await?.value))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Put {
    value: Value,
}

/// What the member around a value takes.
const ENVELOPE_BYTES: usize = 1024;

pub(crate) async fn put(
    app: &App,
    store: &TenantStore<'_>,
    caller: &Caller,
    request: &Request,
    name: &str,
) -> Result<Response, Problem> {
    caller.require(Role::Admin)?;
    let name: SecretName = name
        .parse()
        .map_err(|e: secret::NameError| Problem::invalid_member("/name", e.to_string()))?;
    let body: Put = parse_body_of(request, MAX_VALUE_BYTES + ENVELOPE_BYTES)?;
    secret::check_value(&body.value)
        .map_err(|e| Problem::invalid_member("/value", e.to_string()))?;
    let (keyring, now) = (app.api.auth.keyring().await?, app.api.clock.now());
    let before = store.secret(&name).await?;
    if let Some(before) = &before {
        request.check_if_match(&view(&before.value))?;
    }
    let created_at = before.as_ref().map_or(now, |read| read.value.created_at);
    let times = (created_at, now);
    let sealed = tenant_secrets::seal(&keyring, caller.tenant.id, &name, &body.value, times)?;
    let own = Stored {
        version: before.as_ref().map_or(0, |read| read.version),
        value: sealed,
    };
    let after = shown(&view(&own.value));
    let (status, changed) = match &before {
        None => (201, Changed::created("secret", &name, after)),
        Some(before) => {
            let before = shown(&view(&before.value));
            (200, Changed::updated("secret", &name, before, after))
        }
    };
    let entry = caller.tells(request, now, changed);
    let saved = store.audited(&entry);
    let saved = saved.save_secret(&own, caller.limits.secrets).await;
    saved.map_err(|refused| Problem::refused(refused, &caller.limits))?;
    Response::object(status, &view(&own.value))
}

pub(crate) async fn delete(
    app: &App,
    store: &TenantStore<'_>,
    caller: &Caller,
    request: &Request,
    name: &str,
) -> Result<Response, Problem> {
    caller.require(Role::Admin)?;
    let read = find(store, name).await?;
    request.check_if_match(&view(&read.value))?;
    let changed = Changed::deleted("secret", &read.value.name, shown(&view(&read.value)));
    let entry = caller.tells(request, app.api.clock.now(), changed);
    let deleted = store.audited(&entry).delete_secret(&read).await;
    deleted.map_err(|refused| Problem::refused(refused, &caller.limits))?;
    Ok(Response::no_content())
}
