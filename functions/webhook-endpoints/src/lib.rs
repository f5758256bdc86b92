//! Webhook endpoints: creating, changing and deleting them, and rotating their secrets; and the
//! catalogue of sources.

mod deliveries;
mod rotate;
mod secret;
mod sources;
mod verification;
mod view;

use std::sync::Arc;

use aias_domain::{
    endpoint::{DisabledStatus, Endpoint, EndpointSecret, MAX_EVENT_TYPE_PATTERN, MAX_EVENT_TYPES},
    id::{EndpointId, WorkflowId},
    name::Name,
};
use aias_platform::{
    clock::random_id,
    http::{
        Admin, Api, Authenticated as _, Change, HasApi, JsonBody, List, NoFilter, Once, PageParams,
        Path, Problem, RequestBody, Result, Routes, Viewer, WithHeader as _, openapi, present,
        response::{no_content, object, object_with},
        shown,
    },
    published_keys::PublishedKeys,
    routes,
    store::{Listing, Stored, TenantStore},
};
use axum::http::{StatusCode, header::LOCATION};
use serde::Deserialize;
use serde_json::Value;
use utoipa::ToSchema;
use verification::VerificationInput;

#[derive(Debug)]
pub struct App {
    /// The table, authentication and the time.
    pub api: Arc<Api>,
    published_keys: PublishedKeys,
}

impl App {
    #[must_use]
    pub fn new(api: Api) -> Self {
        Self {
            api: Arc::new(api),
            published_keys: PublishedKeys::default(),
        }
    }

    /// With these keys of providers.
    #[must_use]
    pub fn with_published_keys(self, published_keys: PublishedKeys) -> Self {
        Self {
            published_keys,
            ..self
        }
    }
}

impl HasApi for App {
    fn api(&self) -> &Api {
        &self.api
    }
}

#[must_use]
pub fn routes(app: App) -> Routes {
    let api = Arc::clone(&app.api);
    Routes::new()
        .routes(routes!(list_endpoints, create_endpoint))
        .routes(routes!(get_endpoint, change_endpoint, delete_endpoint))
        .routes(routes!(rotate::rotate_secret))
        .routes(routes!(
            rotate::get_signing_secret,
            rotate::set_signing_secret
        ))
        .routes(routes!(deliveries::list_deliveries))
        .routes(routes!(sources::list_sources))
        .routes(routes!(sources::get_source))
        .routes(routes!(sources::check_source))
        .in_named_tenant(&api)
        .with_state(Arc::new(app))
}

async fn find(store: &TenantStore<'_>, id: EndpointId) -> Result<Stored<Endpoint>> {
    store.endpoint(id).await?.ok_or_else(Problem::not_found)
}

/// An endpoint in the audit log.
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
async fn list_endpoints(ctx: Viewer<App, List<NoFilter>>) -> Result {
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
async fn get_endpoint(ctx: Viewer<App>, Path(id): Path<EndpointId>) -> Result {
    let endpoint = find(&ctx.store(), id).await?;
    object(StatusCode::OK, &view::endpoint(&endpoint.value))
}

/// A new webhook endpoint.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct EndpointInput {
    name: Name,
    workflow_id: WorkflowId,
    /// The version that runs; the active one by default.
    #[schema(minimum = 1)]
    workflow_version: Option<u32>,
    /// `none` by default: every request is accepted.
    verification: Option<VerificationInput>,
    /// `true` by default.
    enabled: Option<bool>,
    /// What the provider gets while the endpoint is disabled: `410` by default, after which some
    /// providers stop sending for good, or `503`.
    #[schema(value_type = Option<u16>, example = 503)]
    disabled_status: Option<DisabledStatus>,
    /// The event types that run, with `*` for any text; by default all. Events of other types are
    /// answered like accepted ones, and are not run.
    #[schema(max_items = 50, example = json!(["push", "pull_request*"]))]
    event_types: Option<Vec<String>>,
}

impl RequestBody for EndpointInput {}

/// Checks the patterns of event types.
fn checked_types(types: Vec<String>) -> Result<Vec<String>> {
    let refuse = |detail: String| Err(Problem::invalid_member("/event_types", detail));
    let is_valid = |text: &String| (1..=MAX_EVENT_TYPE_PATTERN).contains(&text.chars().count());
    if types.len() > MAX_EVENT_TYPES {
        return refuse(format!("at most {MAX_EVENT_TYPES} patterns"));
    }
    if !types.iter().all(is_valid) {
        return refuse(format!(
            "a pattern has 1 to {MAX_EVENT_TYPE_PATTERN} characters"
        ));
    }
    Ok(types)
}

/// Checks that a workflow exists, and the version if there is one.
async fn must_exist(store: &TenantStore<'_>, id: WorkflowId, version: Option<u32>) -> Result<()> {
    let Some(workflow) = store.workflow(id).await? else {
        let detail = "the workflow does not exist";
        return Err(Problem::invalid_member("/workflow_id", detail));
    };
    if version.is_none_or(|version| workflow.value.has_version(version)) {
        return Ok(());
    }
    let latest = workflow.value.latest;
    let detail = format!("the workflow has versions 1 to {latest}");
    Err(Problem::invalid_member("/workflow_version", detail))
}

/// Create a webhook endpoint
///
/// Only this response contains the URL, the path secret, and a signing secret generated by AIAS.
///
/// A provider that creates the signing secret gives it only once it knows the URL: without `secret`,
/// the endpoint is in the state `pending-secret`, and answers events with `503` until
/// `PUT /api/webhook-endpoints/{id}/signing-secret`.
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
    ctx: Admin<App>,
    JsonBody { value, bytes }: JsonBody<EndpointInput>,
) -> Result {
    let (tenant, now) = (ctx.caller.tenant.id, ctx.now);
    let create = async |once: Once<'_>| {
        let keyring = once.keyring();
        let verification = value.verification.unwrap_or_default().read(true)?;
        must_exist(&ctx.store(), value.workflow_id, value.workflow_version).await?;
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
            workflow_version: value.workflow_version,
            enabled: value.enabled.unwrap_or(true),
            disabled_by_plan: false,
            disabled_status: value.disabled_status.unwrap_or_default(),
            verification: verification.verification,
            url_secrets: vec![EndpointSecret::new(path_secret.hash.clone(), now)],
            signing_secrets: signing
                .map(|sealed| EndpointSecret::new(sealed, now))
                .into_iter()
                .collect(),
            last_ping_at: None,
            refusing_since: None,
            event_types: checked_types(value.event_types.unwrap_or_default())?,
            created_at: now,
            updated_at: now,
        };
        let made = verification.made;
        let url = view::url(&ctx.head.base_url(), tenant, &path_secret);
        let response = object_with(StatusCode::CREATED, view::endpoint(&endpoint), |view| {
            view.with_secret(made).with_url(url, path_secret.text)
        })?;
        let response = response.with(LOCATION, format!("/api/webhook-endpoints/{id}"));
        let change = Change::created("endpoint", &id, audited(&endpoint));
        let limit = ctx.caller.limits.endpoints;
        ctx.create(&once, change, response, async |store, sealed| {
            store.create_endpoint(&endpoint, limit, sealed).await
        })
        .await
    };
    ctx.once(&bytes, create).await
}

/// Changes to a webhook endpoint. Missing members stay the same.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct EndpointChange {
    name: Option<Name>,
    /// A new workflow runs in its active version, unless `workflow_version` is set, too.
    workflow_id: Option<WorkflowId>,
    /// `null`: the active version.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<u32>, minimum = 1)]
    workflow_version: Option<Option<u32>>,
    verification: Option<VerificationInput>,
    enabled: Option<bool>,
    /// `410` or `503`.
    #[schema(value_type = Option<u16>, example = 503)]
    disabled_status: Option<DisabledStatus>,
    /// The event types that run; an empty list for all.
    #[schema(max_items = 50)]
    event_types: Option<Vec<String>>,
}

impl RequestBody for EndpointChange {}

/// Change a webhook endpoint
///
/// A new `verification` replaces the signing secrets.
#[utoipa::path(
    patch,
    path = "/api/webhook-endpoints/{id}",
    tag = "webhook-endpoints",
    params(("id" = EndpointId, Path), openapi::IfMatch),
    request_body = EndpointChange,
    responses((
        status = 200, description = "The endpoint, with a signing secret if AIAS generated one",
        body = view::EndpointView,
        headers(("etag" = String)),
    )),
    extensions(
        ("x-role" = json!("admin")),
        ("x-problems" = json!(["conflict", "plan-limit-exceeded", "precondition-failed"])),
    ),
)]
async fn change_endpoint(
    ctx: Admin<App>,
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
        // A provider's secret that is known must not be dropped by leaving it out.
        let may_be_pending = !verification.has_scheme(&own.verification.scheme);
        let verification = verification.read(may_be_pending)?;
        let keyring = ctx.app.api.auth.keyring().await?;
        let sealed = verification
            .secret
            .map(|secret| secret.seal(&keyring, ctx.caller.tenant.id, id))
            .transpose()?;
        own.verification = verification.verification;
        own.signing_secrets = sealed
            .map(|sealed| EndpointSecret::new(sealed, now))
            .into_iter()
            .collect();
        made = verification.made;
    }
    let workflow_id = value.workflow_id.unwrap_or(own.workflow_id);
    let pinned = own
        .workflow_version
        .filter(|_| workflow_id == own.workflow_id);
    let version = value.workflow_version.unwrap_or(pinned);
    if (workflow_id, version) != (own.workflow_id, own.workflow_version) {
        must_exist(&store, workflow_id, version).await?;
        own.workflow_id = workflow_id;
        own.workflow_version = version;
    }
    if let Some(name) = value.name {
        own.name = name;
    }
    if let Some(enabled) = value.enabled {
        own.enabled = enabled;
    }
    if let Some(status) = value.disabled_status {
        own.disabled_status = status;
    }
    if let Some(types) = value.event_types {
        own.event_types = checked_types(types)?;
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
    let view = view::endpoint(&endpoint.value);
    object_with(StatusCode::OK, view, |view| view.with_secret(made))
}

/// Delete a webhook endpoint
#[utoipa::path(
    delete,
    path = "/api/webhook-endpoints/{id}",
    tag = "webhook-endpoints",
    params(("id" = EndpointId, Path)),
    responses((status = 204, description = "The endpoint is deleted")),
    extensions(("x-role" = json!("admin")), ("x-problems" = json!(["conflict"]))),
)]
async fn delete_endpoint(ctx: Admin<App>, Path(id): Path<EndpointId>) -> Result {
    let endpoint = find(&ctx.store(), id).await?;
    let change = Change::deleted("endpoint", &id, audited(&endpoint.value));
    ctx.change(change, async |store| store.delete_endpoint(&endpoint).await)
        .await?;
    Ok(no_content())
}
