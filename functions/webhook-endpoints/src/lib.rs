//! Webhook endpoints: making them, changing them, rotating their secrets.

mod rotate;
mod secret;
mod verification;
mod view;

use aias_domain::{
    endpoint::{Endpoint, Secret},
    id::{EndpointId, WorkflowId},
    tenant::Role,
    text::Name,
};
use aias_platform::{
    aws::SdkConfig,
    clock::random_id,
    config::Env,
    http::{
        Api, Caller, Changed, HttpAnswer, HttpEvent, Method, Once, Problem, Request, Response,
        SeenCell, parse_body, serve, shown,
    },
    store::{Listing, Scope, Stored, TenantStore},
};
use serde::Deserialize;
use serde_json::Value;

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
    serve(event, |request, seen: SeenCell| async move {
        let route = |caller| route(app, caller, &request);
        app.api.auth.as_caller(&request, &seen, route).await
    })
    .await
}

async fn route(app: &App, caller: Caller, request: &Request) -> Result<Response, Problem> {
    let store = &app.api.store.tenant(caller.proof());
    match (request.method, request.path().as_slice()) {
        (Method::Get, ["api", "webhook-endpoints"]) => list(app, store, request).await,
        (Method::Post, ["api", "webhook-endpoints"]) => create(app, store, &caller, request).await,
        (Method::Get, ["api", "webhook-endpoints", id]) => one(store, id).await,
        (Method::Patch, ["api", "webhook-endpoints", id]) => {
            change(app, store, &caller, request, id).await
        }
        (Method::Delete, ["api", "webhook-endpoints", id]) => {
            delete(app, store, &caller, request, id).await
        }
        (Method::Post, ["api", "webhook-endpoints", id, "rotate-secret"]) => {
            rotate::rotate(app, store, &caller, request, id).await
        }
        _ => Err(Problem::not_found()),
    }
}

async fn find(store: &TenantStore<'_>, id: &str) -> Result<Stored<Endpoint>, Problem> {
    let id: EndpointId = id.parse().map_err(|_| Problem::not_found())?;
    store.endpoint(id).await?.ok_or_else(Problem::not_found)
}

/// An endpoint as the audit log shows it.
pub(crate) fn told(endpoint: &Endpoint) -> Value {
    shown(&view::endpoint(endpoint))
}

async fn list(app: &App, store: &TenantStore<'_>, request: &Request) -> Result<Response, Problem> {
    let fetch = async |listing: Listing| Ok(store.endpoints(&listing).await?);
    app.api
        .list(store, request, &[], fetch, |e| view::endpoint(&e))
        .await
}

async fn one(store: &TenantStore<'_>, id: &str) -> Result<Response, Problem> {
    Response::object(200, &view::endpoint(&find(store, id).await?.value))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Create {
    name: Name,
    workflow_id: WorkflowId,
    verification: Option<verification::Given>,
    enabled: Option<bool>,
}

async fn must_exist(store: &TenantStore<'_>, id: WorkflowId) -> Result<(), Problem> {
    match store.workflow(id).await? {
        Some(_) => Ok(()),
        None => Err(Problem::invalid_member(
            "/workflow_id",
            "there is no such workflow",
        )),
    }
}

async fn create(
    app: &App,
    store: &TenantStore<'_>,
    caller: &Caller,
    request: &Request,
) -> Result<Response, Problem> {
    caller.require(Role::Admin)?;
    let tenant = caller.tenant.id;
    let make = async |once: Once<'_>| {
        let (keyring, now) = (once.keyring(), app.api.clock.now());
        let body: Create = parse_body(request)?;
        let given = body.verification.unwrap_or_default().read()?;
        must_exist(store, body.workflow_id).await?;
        let id = EndpointId::new(now, random_id());
        let url = secret::UrlSecret::make(keyring, tenant);
        let signing = given
            .secret
            .map(|secret| secret.seal(keyring, tenant, id))
            .transpose()?;
        let endpoint = Endpoint {
            id,
            name: body.name,
            workflow_id: body.workflow_id,
            enabled: body.enabled.unwrap_or(true),
            disabled_by_plan: false,
            verification: given.verification,
            url_secrets: vec![Secret::new(url.hash.clone(), now)],
            signing_secrets: signing
                .map(|sealed| Secret::new(sealed, now))
                .into_iter()
                .collect(),
            created_at: now,
            updated_at: now,
        };
        let made = given.made.as_deref();
        let shown = view::created(&endpoint, &url, made, &request.base_url(), tenant);
        let response = Response::object(201, &shown)?
            .header("location", format!("/api/webhook-endpoints/{id}"));
        let kept = once.keep(&response)?;
        let changed = Changed::created("endpoint", &id, told(&endpoint));
        let entry = caller.tells(request, now, changed);
        let made = store
            .audited(&entry)
            .create_endpoint(&endpoint, caller.limits.endpoints, kept)
            .await;
        once.finish(made, response, &caller.limits)
    };
    app.api.once(Scope::Tenant(tenant), request, make).await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Change {
    name: Option<Name>,
    workflow_id: Option<WorkflowId>,
    verification: Option<verification::Given>,
    enabled: Option<bool>,
}

async fn change(
    app: &App,
    store: &TenantStore<'_>,
    caller: &Caller,
    request: &Request,
    id: &str,
) -> Result<Response, Problem> {
    caller.require(Role::Admin)?;
    let mut endpoint = find(store, id).await?;
    request.check_if_match(&view::endpoint(&endpoint.value))?;
    let before = told(&endpoint.value);
    let body: Change = parse_body(request)?;
    let now = app.api.clock.now();
    let own = &mut endpoint.value;
    let mut made = None;
    if let Some(given) = body.verification {
        let given = given.read()?;
        let keyring = app.api.auth.keyring().await?;
        let sealed = given
            .secret
            .map(|s| s.seal(&keyring, caller.tenant.id, own.id))
            .transpose()?;
        own.verification = given.verification;
        own.signing_secrets = sealed
            .map(|sealed| Secret::new(sealed, now))
            .into_iter()
            .collect();
        made = given.made;
    }
    if let Some(workflow_id) = body.workflow_id {
        must_exist(store, workflow_id).await?;
        own.workflow_id = workflow_id;
    }
    if let Some(name) = body.name {
        own.name = name;
    }
    if let Some(enabled) = body.enabled {
        own.enabled = enabled;
    }
    own.updated_at = now;
    let comes_back = own.disabled_by_plan && body.enabled == Some(true);
    own.disabled_by_plan &= !comes_back;
    let changed = Changed::updated("endpoint", &own.id, before, told(own));
    let entry = caller.tells(request, now, changed);
    let store = &store.audited(&entry);
    let saved = if comes_back {
        let limit = caller.limits.endpoints;
        store.enable_endpoint(&endpoint, limit).await
    } else {
        store.save_endpoint(&endpoint, None, &[]).await
    };
    saved.map_err(|refused| Problem::refused(refused, &caller.limits))?;
    Response::object(200, &view::changed(&endpoint.value, made.as_deref()))
}

async fn delete(
    app: &App,
    store: &TenantStore<'_>,
    caller: &Caller,
    request: &Request,
    id: &str,
) -> Result<Response, Problem> {
    caller.require(Role::Admin)?;
    let endpoint = find(store, id).await?;
    let changed = Changed::deleted("endpoint", &endpoint.value.id, told(&endpoint.value));
    let entry = caller.tells(request, app.api.clock.now(), changed);
    let deleted = store.audited(&entry).delete_endpoint(&endpoint).await;
    deleted.map_err(|refused| Problem::refused(refused, &caller.limits))?;
    Ok(Response::no_content())
}
