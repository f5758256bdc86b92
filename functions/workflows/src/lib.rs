//! Workflows: definitions, their immutable versions, and executing one.

mod definition;
mod dry_run;
mod execute;
mod view;

use aias_domain::{
    id::WorkflowId,
    tenant::Role,
    workflow::{Version, Workflow},
};
use aias_platform::{
    aws::SdkConfig,
    blobs::Blobs,
    clock::random_id,
    config::Env,
    http::{
        Api, Caller, Changed, HttpAnswer, HttpEvent, Method, Once, Problem, Request, Response,
        SeenCell, parse_body, serve, shown,
    },
    queue::Queue,
    runs::Intake,
    store::{Listing, Scope, Stored, TenantStore},
};
use aias_sandbox::Sandbox;
use serde::Deserialize;
use serde_json::Value;

/// What these routes take.
#[derive(Debug)]
pub struct App {
    /// The table, who calls, and the time.
    pub api: Api,
    intake: Intake,
    sandbox: Sandbox,
}

impl App {
    /// From the settings of [`Api::load`], `BUCKET_NAME` and `RUNS_QUEUE_URL`.
    #[must_use]
    pub fn load(aws: &SdkConfig, tenants: &SdkConfig, env: &Env) -> Self {
        let blobs = Blobs::new(tenants, env.text("BUCKET_NAME"));
        let queue = Queue::new(aws, env.text("RUNS_QUEUE_URL"));
        Self::new(
            Api::load(aws, tenants, env),
            blobs,
            queue,
            Sandbox::of_this_binary(),
        )
    }

    /// Of its parts.
    #[must_use]
    pub fn new(api: Api, blobs: Blobs, queue: Queue, sandbox: Sandbox) -> Self {
        let intake = Intake::new(api.store.clone(), blobs, queue);
        Self {
            api,
            intake,
            sandbox,
        }
    }
}

/// Answers an event.
pub async fn handle(app: &App, event: HttpEvent) -> HttpAnswer {
    serve(event, |request, seen| async move {
        let route = |caller| route(app, caller, &request, &seen);
        app.api.auth.as_caller(&request, &seen, route).await
    })
    .await
}

async fn route(
    app: &App,
    caller: Caller,
    request: &Request,
    seen: &SeenCell,
) -> Result<Response, Problem> {
    let store = &app.api.store.tenant(caller.proof());
    match (request.method, request.path().as_slice()) {
        (Method::Get, ["api", "workflows"]) => list(app, store, request).await,
        (Method::Post, ["api", "workflows"]) => create(app, store, &caller, request).await,
        (Method::Post, ["api", "workflows", "execute"]) => {
            execute::named_in_body(app, store, &caller, request, seen).await
        }
        (Method::Get, ["api", "workflows", id]) => one(store, id).await,
        (Method::Put, ["api", "workflows", id]) => replace(app, store, &caller, request, id).await,
        (Method::Patch, ["api", "workflows", id]) => enable(app, store, &caller, request, id).await,
        (Method::Delete, ["api", "workflows", id]) => {
            delete(app, store, &caller, request, id).await
        }
        (Method::Get, ["api", "workflows", id, "versions"]) => {
            versions(app, store, request, id).await
        }
        (Method::Get, ["api", "workflows", id, "versions", number]) => {
            version(store, id, number).await
        }
        (Method::Post, ["api", "workflows", id, "execute"]) => {
            execute::named_in_path(app, store, &caller, request, seen, id).await
        }
        (Method::Post, ["api", "workflows", id, "test"]) => {
            dry_run::dry_run(app, store, &caller, request, id).await
        }
        _ => Err(Problem::not_found()),
    }
}

async fn find(store: &TenantStore<'_>, id: &str) -> Result<Stored<Workflow>, Problem> {
    let id: WorkflowId = id.parse().map_err(|_| Problem::not_found())?;
    store.workflow(id).await?.ok_or_else(Problem::not_found)
}

async fn with_latest(store: &TenantStore<'_>, head: &Workflow) -> Result<view::Whole, Problem> {
    let version = store
        .version(head.id, head.latest)
        .await?
        .ok_or_else(Problem::not_found)?;
    view::whole(head, &version)
}

/// A workflow as the audit log shows it: its definition by its digest.
fn told(head: &Workflow, digest: &str) -> Value {
    let mut told = shown(&view::head(head));
    if !digest.is_empty() {
        told["digest"] = digest.into();
    }
    told
}

async fn list(app: &App, store: &TenantStore<'_>, request: &Request) -> Result<Response, Problem> {
    let fetch = async |listing: Listing| Ok(store.workflows(&listing).await?);
    app.api
        .list(store, request, &[], fetch, |w| view::head(&w))
        .await
}

async fn create(
    app: &App,
    store: &TenantStore<'_>,
    caller: &Caller,
    request: &Request,
) -> Result<Response, Problem> {
    caller.require(Role::Editor)?;
    let scope = Scope::Tenant(caller.tenant.id);
    let make = async |once: Once<'_>| {
        let now = app.api.clock.now();
        let read = definition::read(&app.sandbox, caller.limits.computing, request).await?;
        let version = read.version(1, now);
        let workflow = Workflow {
            id: WorkflowId::new(now, random_id()),
            name: read.name,
            namespace: read.namespace,
            latest: 1,
            enabled: true,
            disabled_by_plan: false,
            created_at: now,
            updated_at: now,
        };
        let response = Response::object(201, &view::whole(&workflow, &version)?)?
            .header("location", format!("/api/workflows/{}", workflow.id));
        let kept = once.keep(&response)?;
        let limit = caller.limits.workflows;
        let after = told(&workflow, &version.digest);
        let changed = Changed::created("workflow", &workflow.id, after);
        let entry = caller.tells(request, now, changed);
        let made = store
            .audited(&entry)
            .create_workflow(&workflow, &version, limit, kept)
            .await;
        once.finish(made, response, &caller.limits)
    };
    app.api.once(scope, request, make).await
}

async fn one(store: &TenantStore<'_>, id: &str) -> Result<Response, Problem> {
    let head = find(store, id).await?;
    Response::object(200, &with_latest(store, &head.value).await?)
}

async fn replace(
    app: &App,
    store: &TenantStore<'_>,
    caller: &Caller,
    request: &Request,
    id: &str,
) -> Result<Response, Problem> {
    caller.require(Role::Editor)?;
    let mut head = find(store, id).await?;
    let before = with_latest(store, &head.value).await?;
    request.check_if_match(&before)?;
    let before = told(&head.value, before.digest());
    let read = definition::read(&app.sandbox, caller.limits.computing, request).await?;
    let now = app.api.clock.now();
    let version: Version = read.version(head.value.latest + 1, now);
    head.value.latest = version.number;
    head.value.name = read.name;
    head.value.namespace = read.namespace;
    head.value.updated_at = now;
    let after = told(&head.value, &version.digest);
    let changed = Changed::updated("workflow", &head.value.id, before, after);
    let entry = caller.tells(request, now, changed);
    let saved = store.audited(&entry);
    let saved = saved.save_workflow(&head, Some(&version)).await;
    saved.map_err(|refused| Problem::refused(refused, &caller.limits))?;
    Response::object(200, &view::whole(&head.value, &version)?)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Patch {
    enabled: bool,
}

async fn enable(
    app: &App,
    store: &TenantStore<'_>,
    caller: &Caller,
    request: &Request,
    id: &str,
) -> Result<Response, Problem> {
    caller.require(Role::Editor)?;
    let mut head = find(store, id).await?;
    let before = with_latest(store, &head.value).await?;
    request.check_if_match(&before)?;
    let patch: Patch = parse_body(request)?;
    if head.value.is_on() == patch.enabled && head.value.enabled == patch.enabled {
        return Response::object(200, &before);
    }
    let was = told(&head.value, before.digest());
    let now = app.api.clock.now();
    head.value.enabled = patch.enabled;
    head.value.updated_at = now;
    let comes_back = head.value.disabled_by_plan && patch.enabled;
    head.value.disabled_by_plan &= !comes_back;
    let is = told(&head.value, before.digest());
    let changed = Changed::updated("workflow", &head.value.id, was, is);
    let entry = caller.tells(request, now, changed);
    let store = &store.audited(&entry);
    let saved = if comes_back {
        store.enable_workflow(&head, caller.limits.workflows).await
    } else {
        store.save_workflow(&head, None).await
    };
    saved.map_err(|refused| Problem::refused(refused, &caller.limits))?;
    Response::object(200, &with_latest(store, &head.value).await?)
}

async fn delete(
    app: &App,
    store: &TenantStore<'_>,
    caller: &Caller,
    request: &Request,
    id: &str,
) -> Result<Response, Problem> {
    caller.require(Role::Editor)?;
    let head = find(store, id).await?;
    if let Some(endpoint) = store.endpoint_of(head.value.id).await? {
        return Err(
            Problem::conflict("workflow-in-use", "An endpoint runs this workflow").detail(format!(
                "give {} another workflow, or delete it",
                endpoint.id
            )),
        );
    }
    let before = told(&head.value, "");
    let changed = Changed::deleted("workflow", &head.value.id, before);
    let entry = caller.tells(request, app.api.clock.now(), changed);
    let deleted = store.audited(&entry).delete_workflow(&head).await;
    deleted.map_err(|refused| Problem::refused(refused, &caller.limits))?;
    Ok(Response::no_content())
}

async fn versions(
    app: &App,
    store: &TenantStore<'_>,
    request: &Request,
    id: &str,
) -> Result<Response, Problem> {
    let head = find(store, id).await?;
    let fetch = async |listing: Listing| Ok(store.versions(head.value.id, &listing).await?);
    app.api
        .list(store, request, &[], fetch, |version| {
            view::version_head(&version)
        })
        .await
}

async fn version(store: &TenantStore<'_>, id: &str, number: &str) -> Result<Response, Problem> {
    let head = find(store, id).await?;
    let number: u32 = number.parse().map_err(|_| Problem::not_found())?;
    let version = store
        .version(head.value.id, number)
        .await?
        .ok_or_else(Problem::not_found)?;
    Response::object(200, &view::version(&version)?)
}
