//! Webhook endpoints: creating them, changing them, rotating their secrets.

mod rotate;
mod secret;
mod verification;
mod view;

use std::sync::Arc;

use aias_domain::{
    endpoint::{Endpoint, Secret},
    id::{EndpointId, WorkflowId},
    text::Name,
};
use aias_platform::{
    clock::random_id,
    http::{
        Admin, Api, Authenticated as _, Change, JsonBody, List, NoFilter, Once, PageParams, Path,
        Problem, RequestBody, Result, Viewer, openapi,
        response::{created, no_content, object},
        shown,
    },
    store::{Listing, Stored, TenantStore},
};
use axum::http::StatusCode;
use serde::Deserialize;
use serde_json::Value;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};
use verification::VerificationInput;

/// The routes.
#[must_use]
pub fn routes(api: Api) -> OpenApiRouter {
    let api = Arc::new(api);
    OpenApiRouter::new()
        .routes(routes!(list_endpoints, create_endpoint))
        .routes(routes!(get_endpoint, change_endpoint, delete_endpoint))
        .routes(routes!(rotate::rotate_secret))
        .in_named_tenant(&api)
        .with_state(api)
}

async fn find(store: &TenantStore<'_>, id: EndpointId) -> Result<Stored<Endpoint>> {
    store.endpoint(id).await?.ok_or_else(Problem::not_found)
}

/// An endpoint as the audit log shows it.
fn audited(endpoint: &Endpoint) -> Value {
    shown(&view::endpoint(endpoint))
}

/// List webhook endpoints
#[utoipa::path(
    get,
    path = "/api/webhook-endpoints",
    tag = "webhook-endpoints",
    params(PageParams),
    responses((status = 200, description = "A page", body = openapi::Page<view::EndpointView>)),
    extensions(("x-role" = json!("viewer"))),
)]
async fn list_endpoints(ctx: Viewer<Api, List<NoFilter>>) -> Result {
    let store = ctx.store();
    let fetch = async |listing: Listing| Ok(store.endpoints(&listing).await?);
    ctx.page(fetch, |endpoint| view::endpoint(&endpoint)).await
}

/// Get a webhook endpoint
#[utoipa::path(
    get,
    path = "/api/webhook-endpoints/{id}",
    tag = "webhook-endpoints",
    params(("id" = EndpointId, Path)),
    responses((
        status = 200, description = "The endpoint, without its secrets", body = view::EndpointView,
        headers(("etag" = String)),
    )),
    extensions(("x-role" = json!("viewer"))),
)]
async fn get_endpoint(ctx: Viewer<Api>, Path(id): Path<EndpointId>) -> Result {
    let endpoint = find(&ctx.store(), id).await?;
    object(StatusCode::OK, &view::endpoint(&endpoint.value))
}

/// A new webhook endpoint.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct EndpointInput {
    name: Name,
    workflow_id: WorkflowId,
    /// `none` by default: every request is accepted.
    verification: Option<VerificationInput>,
    /// `true` by default.
    enabled: Option<bool>,
}

impl RequestBody for EndpointInput {}

async fn must_exist(store: &TenantStore<'_>, id: WorkflowId) -> Result<()> {
    match store.workflow(id).await? {
        Some(_) => Ok(()),
        None => Err(Problem::invalid_member(
            "/workflow_id",
            "there is no such workflow",
        )),
    }
}

/// Create a webhook endpoint
///
/// Its URL and its path secret are shown this once, as is a signing secret that AIAS made.
#[utoipa::path(
    post,
    path = "/api/webhook-endpoints",
    tag = "webhook-endpoints",
    params(openapi::IdempotencyKey),
    request_body = EndpointInput,
    responses((
        status = 201, description = "The endpoint, with its secrets", body = view::NewEndpointView,
        headers(("etag" = String), ("location" = String)),
        links(("endpoint" = (operation_id = "get_endpoint", parameters(("id" = "$response.body#/id"))))),
    )),
    extensions(("x-role" = json!("admin")), ("x-problems" = json!(["conflict", "plan-limit-exceeded"]))),
)]
async fn create_endpoint(
    ctx: Admin<Api>,
    JsonBody { value, bytes }: JsonBody<EndpointInput>,
) -> Result {
    let (tenant, now) = (ctx.caller.tenant.id, ctx.now);
    let create = async |once: Once<'_>| {
        let keyring = once.keyring();
        let verification = value.verification.unwrap_or_default().read()?;
        must_exist(&ctx.store(), value.workflow_id).await?;
        let id = EndpointId::new(now, random_id());
        let path_secret = secret::PathSecret::new(keyring, tenant);
        let signing = verification
            .secret
            .map(|secret| secret.seal(keyring, tenant, id))
            .transpose()?;
        let endpoint = Endpoint {
            id,
            name: value.name,
            workflow_id: value.workflow_id,
            enabled: value.enabled.unwrap_or(true),
            disabled_by_plan: false,
            verification: verification.verification,
            url_secrets: vec![Secret::new(path_secret.hash.clone(), now)],
            signing_secrets: signing
                .map(|sealed| Secret::new(sealed, now))
                .into_iter()
                .collect(),
            created_at: now,
            updated_at: now,
        };
        let made = verification.made.as_deref();
        let view = view::created(&endpoint, &path_secret, made, &ctx.head.base_url(), tenant);
        let response = created(format!("/api/webhook-endpoints/{id}"), &view)?;
        let change = Change::created("endpoint", &id, audited(&endpoint));
        let limit = ctx.caller.limits.endpoints;
        ctx.create(&once, change, response, async |store, sealed| {
            store.create_endpoint(&endpoint, limit, sealed).await
        })
        .await
    };
    ctx.once(&bytes, create).await
}

/// A change of a webhook endpoint: the members that are there.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct EndpointChange {
    name: Option<Name>,
    workflow_id: Option<WorkflowId>,
    verification: Option<VerificationInput>,
    enabled: Option<bool>,
}

impl RequestBody for EndpointChange {}

/// Change a webhook endpoint
///
/// Another `verification` replaces the signing secrets.
#[utoipa::path(
    patch,
    path = "/api/webhook-endpoints/{id}",
    tag = "webhook-endpoints",
    params(("id" = EndpointId, Path), openapi::IfMatch),
    request_body = EndpointChange,
    responses((
        status = 200, description = "The endpoint, with a signing secret that AIAS made",
        body = view::EndpointView,
        headers(("etag" = String)),
    )),
    extensions(
        ("x-role" = json!("admin")),
        ("x-problems" = json!(["conflict", "plan-limit-exceeded", "precondition-failed"])),
    ),
)]
async fn change_endpoint(
    ctx: Admin<Api>,
    Path(id): Path<EndpointId>,
    JsonBody { value, .. }: JsonBody<EndpointChange>,
) -> Result {
    let (store, now) = (ctx.store(), ctx.now);
    let mut endpoint = find(&store, id).await?;
    ctx.head.check_if_match(&view::endpoint(&endpoint.value))?;
    let before = audited(&endpoint.value);
    let own = &mut endpoint.value;
    let mut made = None;
    if let Some(verification) = value.verification {
        let verification = verification.read()?;
        let keyring = ctx.app.auth.keyring().await?;
        let sealed = verification
            .secret
            .map(|secret| secret.seal(&keyring, ctx.caller.tenant.id, id))
            .transpose()?;
        own.verification = verification.verification;
        own.signing_secrets = sealed
            .map(|sealed| Secret::new(sealed, now))
            .into_iter()
            .collect();
        made = verification.made;
    }
    if let Some(workflow_id) = value.workflow_id {
        must_exist(&store, workflow_id).await?;
        own.workflow_id = workflow_id;
    }
    if let Some(name) = value.name {
        own.name = name;
    }
    if let Some(enabled) = value.enabled {
        own.enabled = enabled;
    }
    own.updated_at = now;
    let comes_back = own.disabled_by_plan && value.enabled == Some(true);
    own.disabled_by_plan &= !comes_back;
    let change = Change::updated("endpoint", &id, before, audited(own));
    let limit = ctx.caller.limits.endpoints;
    ctx.change(change, async |store| {
        if comes_back {
            store.enable_endpoint(&endpoint, limit).await
        } else {
            store.save_endpoint(&endpoint, None, &[]).await
        }
    })
    .await?;
    let view = view::changed(&endpoint.value, made.as_deref());
    object(StatusCode::OK, &view)
}

/// Delete a webhook endpoint
#[utoipa::path(
    delete,
    path = "/api/webhook-endpoints/{id}",
    tag = "webhook-endpoints",
    params(("id" = EndpointId, Path)),
    responses((status = 204, description = "Its URL is not found any more")),
    extensions(("x-role" = json!("admin")), ("x-problems" = json!(["conflict"]))),
)]
async fn delete_endpoint(ctx: Admin<Api>, Path(id): Path<EndpointId>) -> Result {
    let endpoint = find(&ctx.store(), id).await?;
    let change = Change::deleted("endpoint", &id, audited(&endpoint.value));
    ctx.change(change, async |store| store.delete_endpoint(&endpoint).await)
        .await?;
    Ok(no_content())
}
