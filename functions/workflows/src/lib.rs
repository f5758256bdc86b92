//! Workflows: definitions, their immutable versions, and execution.

mod definition;
mod dry_run;
mod execute;
mod samples;
mod view;

use std::sync::Arc;

use aias_domain::{
    id::WorkflowId,
    workflow::{Version, Workflow},
};
use aias_platform::{
    aws::SdkConfig,
    blobs::Blobs,
    clock::random_id,
    config::Env,
    http::{
        Api, Authenticated as _, Authorized, Change, Editor, HasApi, JsonBody, List, NoFilter,
        Once, PageParams, Parameters, Path, Problem, RawBody, RequestBody, Result, Routes, Viewer,
        WithHeader as _, kinds, openapi,
        response::{no_content, object, object_with},
        shown,
    },
    queue::Queue,
    routes,
    runs::Intake,
    store::{Listing, Stored, TenantStore},
};
use aias_sandbox::Sandbox;
use axum::http::{StatusCode, header::LOCATION};
use definition::DefinitionInput;
use serde::Deserialize;
use serde_json::Value;
use utoipa::ToSchema;

#[derive(Debug)]
pub struct App {
    /// The table, authentication and the time.
    pub api: Arc<Api>,
    intake: Intake,
    sandbox: Sandbox,
}

impl App {
    /// From the settings of [`Api::load`], `BUCKET_NAME` and `RUNS_QUEUE_URL`.
    #[must_use]
    pub fn load(aws: &SdkConfig, tenants: &SdkConfig, env: &Env) -> Self {
        let blobs = Blobs::new(tenants, env.text("BUCKET_NAME"));
        let queue = Queue::new(aws, env.text("RUNS_QUEUE_URL"));
        let api = Api::load(aws, tenants, env);
        Self::new(api, blobs, queue, Sandbox::of_this_binary())
    }

    #[must_use]
    pub fn new(api: Api, blobs: Blobs, queue: Queue, sandbox: Sandbox) -> Self {
        let intake = Intake::new(api.store.clone(), blobs, queue);
        Self {
            api: Arc::new(api),
            intake,
            sandbox,
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
        .routes(routes!(list_workflows, create_workflow))
        .routes(routes!(execute::execute_named_workflow))
        .routes(routes!(
            get_workflow,
            replace_workflow,
            enable_workflow,
            delete_workflow
        ))
        .routes(routes!(activate_version))
        .routes(routes!(list_versions))
        .routes(routes!(get_version))
        .routes(routes!(samples::list_samples, samples::create_sample))
        .routes(routes!(samples::get_sample, samples::delete_sample))
        .routes(routes!(execute::execute_workflow))
        .routes(routes!(dry_run::test_definition))
        .routes(routes!(dry_run::test_workflow))
        .in_named_tenant(&api)
        .with_state(Arc::new(app))
}

async fn find(store: &TenantStore<'_>, id: WorkflowId) -> Result<Stored<Workflow>> {
    store.workflow(id).await?.ok_or_else(Problem::not_found)
}

async fn with_latest(store: &TenantStore<'_>, head: &Workflow) -> Result<view::WorkflowView> {
    let version = store.version(head.id, head.latest).await?;
    view::workflow(head, &version.ok_or_else(Problem::not_found)?)
}

/// A workflow in the audit log, with the digest instead of the definition.
fn audited(head: &Workflow, digest: &str) -> Value {
    let mut audited = shown(&view::head(head));
    if !digest.is_empty() {
        audited["digest"] = digest.into();
    }
    audited
}

/// List workflows
#[utoipa::path(
    get,
    path = "/api/workflows",
    tag = "workflows",
    params(PageParams),
    responses((status = 200, description = "A page", body = openapi::Page<view::WorkflowHead>)),
    extensions(("x-role" = json!("viewer"))),
)]
async fn list_workflows(ctx: Viewer<App, List<NoFilter>>) -> Result {
    let store = ctx.store();
    let fetch = async |listing: Listing| Ok(store.workflows(&listing).await?);
    ctx.page(fetch, |workflow| view::head(&workflow)).await
}

/// Create a workflow
///
/// The definition is a document of the CNCF Serverless Workflow DSL 1.0: as JSON in `definition`,
/// or as YAML in the body itself.
#[utoipa::path(
    post,
    path = "/api/workflows",
    tag = "workflows",
    params(openapi::IdempotencyKey),
    request_body(content(
        (DefinitionInput = "application/json"),
        (String = "application/yaml", example = json!(definition::EXAMPLE_YAML)),
    )),
    responses((
        status = 201, description = "The workflow", body = view::WorkflowView,
        headers(("etag" = String), ("location" = String)),
        links(
            ("workflow" = (operation_id = "get_workflow", parameters(("id" = "$response.body#/id")))),
            ("execute" = (operation_id = "execute_workflow", parameters(("id" = "$response.body#/id")))),
        ),
    )),
    extensions(
        ("x-role" = json!("editor")),
        ("x-problems" = json!(["conflict", "invalid-workflow", "plan-limit-exceeded"])),
    ),
)]
async fn create_workflow(ctx: Editor<App>, RawBody(body): RawBody) -> Result {
    let create = async |once: Once<'_>| {
        let now = ctx.now;
        let mut definition = definition::read(&ctx, &body).await?;
        let warnings = std::mem::take(&mut definition.warnings);
        let version = definition.version(1, now);
        let workflow = Workflow {
            id: WorkflowId::new(now, random_id()),
            name: definition.name,
            namespace: definition.namespace,
            latest: 1,
            active: None,
            samples: 0,
            enabled: true,
            disabled_by_plan: false,
            created_at: now,
            updated_at: now,
        };
        let path = format!("/api/workflows/{}", workflow.id);
        let view = view::workflow(&workflow, &version)?;
        let response = object_with(StatusCode::CREATED, view, |view| {
            view.with_warnings(warnings)
        })?;
        let response = response.with(LOCATION, path);
        let after = audited(&workflow, &version.digest);
        let change = Change::created("workflow", &workflow.id, after);
        let limit = ctx.caller.limits.workflows;
        ctx.create(&once, change, response, async |store, sealed| {
            let created = store.create_workflow(&workflow, &version, limit, sealed);
            created.await
        })
        .await
    };
    ctx.once(&body, create).await
}

/// Get a workflow
#[utoipa::path(
    get,
    path = "/api/workflows/{id}",
    tag = "workflows",
    params(("id" = WorkflowId, Path)),
    responses((
        status = 200, description = "The workflow, with the definition of its newest version",
        body = view::WorkflowView,
        headers(("etag" = String)),
    )),
    extensions(("x-role" = json!("viewer"))),
)]
async fn get_workflow(ctx: Viewer<App>, Path(id): Path<WorkflowId>) -> Result {
    let store = ctx.store();
    let head = find(&store, id).await?;
    object(StatusCode::OK, &with_latest(&store, &head.value).await?)
}

#[derive(Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct ReplaceQuery {
    /// Whether new runs use the new version; `true` by default.
    activate: Option<bool>,
    /// The names of samples, separated by commas, whose artifacts the new version may change.
    #[param(example = "order-paid,order-refunded")]
    accept_samples: Option<String>,
}

/// Replace a workflow's definition
///
/// Creates a new version. Versions are immutable. A definition that is equal to the newest version
/// does not create one. A version that gives another artifact of a sample is refused, unless
/// `accept_samples` names the sample.
#[utoipa::path(
    put,
    path = "/api/workflows/{id}",
    tag = "workflows",
    params(("id" = WorkflowId, Path), ReplaceQuery, openapi::IfMatch),
    request_body(content(
        (DefinitionInput = "application/json"),
        (String = "application/yaml", example = json!(definition::EXAMPLE_YAML)),
    )),
    responses((
        status = 200, description = "The workflow, with its newest version", body = view::WorkflowView,
        headers(("etag" = String)),
    )),
    extensions(
        ("x-role" = json!("editor")),
        ("x-problems" = json!(["conflict", "invalid-workflow", "precondition-failed", "sample-changed"])),
    ),
)]
async fn replace_workflow(
    ctx: Editor<App, Parameters<ReplaceQuery>>,
    Path(id): Path<WorkflowId>,
    RawBody(body): RawBody,
) -> Result {
    let store = ctx.store();
    let mut head = find(&store, id).await?;
    let before = with_latest(&store, &head.value).await?;
    ctx.head.check_if_match(&before)?;
    let activates = ctx.query.0.activate.unwrap_or(true);
    let accepted = samples::changes::accepted_names(ctx.query.0.accept_samples.as_deref())?;
    let mut definition = definition::read(&ctx, &body).await?;
    let warnings = std::mem::take(&mut definition.warnings);
    if definition.digest() == before.digest() {
        if activates {
            let newest = head.value.latest;
            return activate(&ctx, head, &before, newest).await;
        }
        return object(StatusCode::OK, &before);
    }
    let changed = samples::changes::check(&ctx, &head.value, &definition.text, &accepted).await?;
    let before = audited(&head.value, before.digest());
    let active = head.value.active_version();
    let version: Version = definition.version(head.value.latest + 1, ctx.now);
    head.value.latest = version.number;
    head.value.updated_at = ctx.now;
    if activates {
        head.value.activate(version.number);
        head.value.name = definition.name;
        head.value.namespace = definition.namespace;
    } else {
        head.value.activate(active);
    }
    let after = audited(&head.value, &version.digest);
    let change = Change::updated("workflow", &id, before, after);
    ctx.change(change, async |store| {
        store.save_workflow(&head, Some(&version), &changed).await
    })
    .await?;
    let view = view::workflow(&head.value, &version)?;
    object_with(StatusCode::OK, view, |view| view.with_warnings(warnings))
}

/// A version to activate.
#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Activation {
    /// The newest one by default.
    #[schema(minimum = 1)]
    version: Option<u32>,
}

impl RequestBody for Activation {
    fn empty() -> Option<Self> {
        Some(Self::default())
    }
}

/// Activate a version of a workflow
///
/// New runs use this version. Runs that have started keep theirs.
#[utoipa::path(
    post,
    path = "/api/workflows/{id}/activate",
    tag = "workflows",
    params(("id" = WorkflowId, Path), openapi::IfMatch),
    request_body = Option<Activation>,
    responses((
        status = 200, description = "The workflow, with its newest version", body = view::WorkflowView,
        headers(("etag" = String)),
    )),
    extensions(("x-role" = json!("editor")), ("x-problems" = json!(["conflict", "precondition-failed"]))),
)]
async fn activate_version(
    ctx: Editor<App>,
    Path(id): Path<WorkflowId>,
    body: JsonBody<Activation>,
) -> Result {
    let store = ctx.store();
    let head = find(&store, id).await?;
    let newest = with_latest(&store, &head.value).await?;
    ctx.head.check_if_match(&newest)?;
    let version = body.value.version.unwrap_or(head.value.latest);
    if !head.value.has_version(version) {
        let detail = format!("the workflow has versions 1 to {}", head.value.latest);
        return Err(Problem::invalid_member("/version", detail));
    }
    activate(&ctx, head, &newest, version).await
}

/// Makes new runs use a version, unless they do already.
async fn activate<R, Q>(
    ctx: &Authorized<App, R, Q>,
    mut head: Stored<Workflow>,
    newest: &view::WorkflowView,
    version: u32,
) -> Result {
    if head.value.active_version() == version {
        return object(StatusCode::OK, newest);
    }
    let (store, id) = (ctx.store(), head.value.id);
    let chosen = store.version(id, version).await?;
    let chosen = chosen.ok_or_else(Problem::not_found)?;
    let before = audited(&head.value, newest.digest());
    (head.value.namespace, head.value.name) = view::document_name(&chosen)?;
    head.value.activate(version);
    head.value.updated_at = ctx.now;
    let after = audited(&head.value, newest.digest());
    let change = Change::updated("workflow", &id, before, after);
    ctx.change(change, async |store| {
        store.save_workflow(&head, None, &[]).await
    })
    .await?;
    object(StatusCode::OK, &with_latest(&store, &head.value).await?)
}

/// A change of a workflow that does not create a version.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct WorkflowChange {
    /// A disabled workflow starts no runs.
    enabled: bool,
}

impl RequestBody for WorkflowChange {}

/// Enable or disable a workflow
#[utoipa::path(
    patch,
    path = "/api/workflows/{id}",
    tag = "workflows",
    params(("id" = WorkflowId, Path), openapi::IfMatch),
    request_body = WorkflowChange,
    responses((
        status = 200, description = "The workflow", body = view::WorkflowView,
        headers(("etag" = String)),
    )),
    extensions(
        ("x-role" = json!("editor")),
        ("x-problems" = json!(["conflict", "plan-limit-exceeded", "precondition-failed"])),
    ),
)]
async fn enable_workflow(
    ctx: Editor<App>,
    Path(id): Path<WorkflowId>,
    body: JsonBody<WorkflowChange>,
) -> Result {
    let (store, enabled) = (ctx.store(), body.value.enabled);
    let mut head = find(&store, id).await?;
    let before = with_latest(&store, &head.value).await?;
    ctx.head.check_if_match(&before)?;
    if head.value.can_run() == enabled && head.value.enabled == enabled {
        return object(StatusCode::OK, &before);
    }
    let was = audited(&head.value, before.digest());
    head.value.enabled = enabled;
    head.value.updated_at = ctx.now;
    let comes_back = head.value.disabled_by_plan && enabled;
    head.value.disabled_by_plan &= !comes_back;
    let is = audited(&head.value, before.digest());
    let change = Change::updated("workflow", &id, was, is);
    let limit = ctx.caller.limits.workflows;
    ctx.change(change, async |store| {
        if comes_back {
            store.enable_workflow(&head, limit).await
        } else {
            store.save_workflow(&head, None, &[]).await
        }
    })
    .await?;
    object(StatusCode::OK, &with_latest(&store, &head.value).await?)
}

/// Delete a workflow
#[utoipa::path(
    delete,
    path = "/api/workflows/{id}",
    tag = "workflows",
    params(("id" = WorkflowId, Path)),
    responses((status = 204, description = "The workflow is deleted")),
    extensions(("x-role" = json!("editor")), ("x-problems" = json!(["conflict", "workflow-in-use"]))),
)]
async fn delete_workflow(ctx: Editor<App>, Path(id): Path<WorkflowId>) -> Result {
    let store = ctx.store();
    let head = find(&store, id).await?;
    if let Some(endpoint) = store.endpoint_of(id).await? {
        return Err(Problem::new(&kinds::WORKFLOW_IN_USE).detail(format!(
            "change the workflow of {}, or delete it",
            endpoint.id
        )));
    }
    let change = Change::deleted("workflow", &id, audited(&head.value, ""));
    ctx.change(change, async |store| store.delete_workflow(&head).await)
        .await?;
    Ok(no_content())
}

/// List a workflow's versions
#[utoipa::path(
    get,
    path = "/api/workflows/{id}/versions",
    tag = "workflows",
    params(("id" = WorkflowId, Path), PageParams),
    responses((status = 200, description = "A page", body = openapi::Page<view::VersionHead>)),
    extensions(("x-role" = json!("viewer"))),
)]
async fn list_versions(ctx: Viewer<App, List<NoFilter>>, Path(id): Path<WorkflowId>) -> Result {
    let store = ctx.store();
    let fetch = async |listing: Listing| {
        let (workflow, page) = tokio::join!(find(&store, id), store.versions(id, &listing));
        workflow?;
        Ok(page?)
    };
    ctx.page(fetch, |version| view::version_head(&version))
        .await
}

/// Get a version of a workflow
#[utoipa::path(
    get,
    path = "/api/workflows/{id}/versions/{number}",
    tag = "workflows",
    params(("id" = WorkflowId, Path), ("number" = u32, Path, minimum = 1)),
    responses((
        status = 200, description = "The version", body = view::VersionView,
        headers(("etag" = String)),
    )),
    extensions(("x-role" = json!("viewer"))),
)]
async fn get_version(ctx: Viewer<App>, Path((id, number)): Path<(WorkflowId, u32)>) -> Result {
    let store = ctx.store();
    // A deleted workflow has no versions.
    let (workflow, version) = tokio::join!(find(&store, id), store.version(id, number));
    workflow?;
    let version = version?.ok_or_else(Problem::not_found)?;
    object(StatusCode::OK, &view::version(&version)?)
}
