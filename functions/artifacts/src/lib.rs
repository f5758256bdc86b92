//! Artifacts: what runs made.

use aias_domain::{
    artifact::{Artifact, PREVIEW_BYTES},
    event::text_of,
    id::{ArtifactId, RunId, WorkflowId},
    run::Run,
};
use aias_platform::{
    aws::SdkConfig,
    blobs::{Blobs, Object},
    config::Env,
    http::{
        Api, Caller, HttpAnswer, HttpEvent, Method, Problem, Request, Response, SeenCell, serve,
    },
    runs::{expiry, read_artifact},
    store::{Listing, Page, RunFilter, StoredRun, TenantStore},
};
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

/// What these routes take.
#[derive(Debug)]
pub struct App {
    /// The table, who calls, and the time.
    pub api: Api,
    blobs: Blobs,
}

impl App {
    /// From the settings of [`Api::load`] and `BUCKET_NAME`.
    #[must_use]
    pub fn load(aws: &SdkConfig, tenants: &SdkConfig, env: &Env) -> Self {
        let blobs = Blobs::new(tenants, env.text("BUCKET_NAME"));
        Self {
            api: Api::load(aws, tenants, env),
            blobs,
        }
    }

    /// Of its parts.
    #[must_use]
    pub fn new(api: Api, blobs: Blobs) -> Self {
        Self { api, blobs }
    }
}

/// Answers an event.
pub async fn handle(app: &App, event: HttpEvent) -> HttpAnswer {
    serve(event, |request, seen: SeenCell| async move {
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
        (Method::Get, ["api", "artifacts"]) => list(app, store, &caller, request).await,
        (Method::Get, ["api", "artifacts", id]) => one(app, store, id, seen).await,
        (Method::Get, ["api", "artifacts", id, "download"]) => download(app, store, id, seen).await,
        _ => Err(Problem::not_found()),
    }
}

#[derive(Serialize)]
struct View {
    id: ArtifactId,
    run_id: RunId,
    workflow_id: WorkflowId,
    name: String,
    content_type: String,
    size_bytes: u64,
    digest: String,
    created_at: String,
    expires_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    preview: Option<Option<String>>,
}

fn view(artifact: Artifact, workflow_id: WorkflowId, expires_at: Timestamp) -> View {
    View {
        id: artifact.id,
        run_id: artifact.id.run_id,
        workflow_id,
        name: artifact.name,
        content_type: artifact.content_type,
        size_bytes: artifact.size_bytes,
        digest: artifact.digest,
        created_at: text_of(artifact.created_at),
        expires_at: text_of(expires_at),
        preview: None,
    }
}

async fn list(
    app: &App,
    store: &TenantStore<'_>,
    caller: &Caller,
    request: &Request,
) -> Result<Response, Problem> {
    let now = app.api.clock.now();
    let kept = SignedDuration::from_hours(24 * i64::from(caller.limits.retention_days));
    let views = |run: Run| -> Vec<View> {
        let expires_at = expiry(run.created_at, caller.limits.retention_days);
        let view = |artifact| view(artifact, run.workflow_id, expires_at);
        run.artifacts.into_iter().map(view).collect()
    };
    let fetch = async |listing: Listing| {
        let page = match request.parameter("run_id") {
            Some(text) => {
                let run_id: RunId = text.parse().map_err(|_| {
                    Problem::bad_request("bad-parameter", "Bad query parameter")
                        .detail("`run_id` is malformed")
                })?;
                let run = store.run(run_id).await?.map(|run| run.run.value);
                Page {
                    items: run.into_iter().collect(),
                    next: None,
                }
            }
            None => {
                // A run makes one artifact, so a page of runs that made something is a page of
                // artifacts.
                let filter = RunFilter {
                    with_artifacts: true,
                    ..RunFilter::default()
                };
                let span = (caller.tenant.created_at.max(now - kept), now);
                store
                    .runs(&filter, listing.limit, listing.after.as_ref(), span)
                    .await?
            }
        };
        let items = page.items.into_iter().flat_map(views).collect();
        Ok(Page {
            items,
            next: page.next,
        })
    };
    app.api
        .list(store, request, &["run_id"], fetch, |view| view)
        .await
}

/// An artifact, and the run that made it.
async fn find(
    store: &TenantStore<'_>,
    id: &str,
    seen: &SeenCell,
) -> Result<(Artifact, StoredRun), Problem> {
    let id: ArtifactId = id.parse().map_err(|_| Problem::not_found())?;
    seen.note(|seen| seen.run(id.run_id));
    let run = store.run(id.run_id).await?.ok_or_else(Problem::not_found)?;
    let mut artifacts = run.run.value.artifacts.iter();
    let artifact = artifacts.find(|artifact| artifact.id == id).cloned();
    Ok((artifact.ok_or_else(Problem::not_found)?, run))
}

async fn one(
    app: &App,
    store: &TenantStore<'_>,
    id: &str,
    seen: &SeenCell,
) -> Result<Response, Problem> {
    let (artifact, run) = find(store, id, seen).await?;
    let preview = if artifact.is_text() {
        read_artifact(store, &app.blobs, &run, &artifact, PREVIEW_BYTES)
            .await?
            .map(|bytes| text_start(&bytes))
    } else {
        None
    };
    Response::object(
        200,
        &View {
            preview: Some(preview),
            ..view(artifact, run.run.value.workflow_id, run.expires_at)
        },
    )
}

/// The text of bytes that may end in the middle of a character.
fn text_start(bytes: &[u8]) -> String {
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(e) => std::str::from_utf8(bytes.get(..e.valid_up_to()).unwrap_or_default())
            .unwrap_or_default(),
    };
    text.to_owned()
}

async fn download(
    app: &App,
    store: &TenantStore<'_>,
    id: &str,
    seen: &SeenCell,
) -> Result<Response, Problem> {
    let (artifact, run) = find(store, id, seen).await?;
    let object = Object::artifact(store, artifact.id, &artifact.digest);
    if let Some(bytes) = run.artifact {
        // A URL opens what is in the bucket; its key names its bytes, so once is enough.
        let put = app.blobs.put(&object, bytes, &artifact.content_type);
        put.await?;
    }
    let file = format!("{}-{}", artifact.id, artifact.name);
    Ok(Response::found(app.blobs.presigned(&object, &file).await?))
}
