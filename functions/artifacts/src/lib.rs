//! Artifacts: the outputs of runs.

use std::sync::Arc;

use aias_domain::{
    artifact::{Artifact, PREVIEW_BYTES},
    id::{ArtifactId, RunId, WorkflowId},
    run::Run,
    timestamp,
};
use aias_platform::{
    aws::SdkConfig,
    blobs::{Blobs, Object},
    config::Env,
    http::{
        Api, Authenticated as _, HasApi, List, PageParams, Path, Problem, Result, Routes, Viewer,
        openapi,
        response::{found, object},
    },
    routes,
    runs::{expiry, read_artifact},
    store::{Listing, Page, RunFilter, StoredRun, TenantStore},
};
use axum::http::StatusCode;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tracing::{Span, field::display};
use utoipa::ToSchema;

#[derive(Debug)]
pub struct App {
    /// The table, authentication and the time.
    pub api: Arc<Api>,
    blobs: Blobs,
}

impl App {
    /// From the settings of [`Api::load`] and `BUCKET_NAME`.
    #[must_use]
    pub fn load(aws: &SdkConfig, tenants: &SdkConfig, env: &Env) -> Self {
        let blobs = Blobs::new(tenants, env.text("BUCKET_NAME"));
        Self::new(Api::load(aws, tenants, env), blobs)
    }

    #[must_use]
    pub fn new(api: Api, blobs: Blobs) -> Self {
        let api = Arc::new(api);
        Self { api, blobs }
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
        .routes(routes!(list_artifacts))
        .routes(routes!(get_artifact))
        .routes(routes!(download_artifact))
        .in_named_tenant(&api)
        .with_state(Arc::new(app))
}

/// An artifact.
#[derive(Serialize, ToSchema)]
#[schema(as = Artifact)]
struct ArtifactView {
    id: ArtifactId,
    run_id: RunId,
    workflow_id: WorkflowId,
    name: String,
    #[schema(example = "application/json")]
    content_type: String,
    size_bytes: u64,
    /// Of the artifact's bytes.
    #[schema(pattern = "^sha256:[0-9a-f]{64}$")]
    digest: String,
    #[schema(format = DateTime)]
    created_at: String,
    /// When retention deletes it.
    #[schema(format = DateTime)]
    expires_at: String,
}

/// An artifact with a preview.
#[derive(Serialize, ToSchema)]
#[schema(as = ArtifactWithPreview)]
struct ArtifactWithPreview {
    #[serde(flatten)]
    artifact: ArtifactView,
    /// The first 4 KiB, if it is text.
    preview: Option<String>,
}

fn view(artifact: Artifact, workflow_id: WorkflowId, expires_at: Timestamp) -> ArtifactView {
    ArtifactView {
        id: artifact.id,
        run_id: artifact.id.run_id,
        workflow_id,
        name: artifact.name,
        content_type: artifact.content_type,
        size_bytes: artifact.size_bytes,
        digest: artifact.digest,
        created_at: timestamp::format(artifact.created_at),
        expires_at: timestamp::format(expires_at),
    }
}

#[derive(Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct ArtifactFilter {
    /// Only the artifacts of this run.
    run_id: Option<RunId>,
    /// Only the artifacts of this workflow's runs.
    workflow_id: Option<WorkflowId>,
}

/// List artifacts
#[utoipa::path(
    get,
    path = "/api/artifacts",
    tag = "artifacts",
    params(ArtifactFilter, PageParams),
    responses((status = 200, description = "A page", body = openapi::Page<ArtifactView>)),
    extensions(("x-role" = json!("viewer"))),
)]
async fn list_artifacts(ctx: Viewer<App, List<ArtifactFilter>>) -> Result {
    let store = ctx.store();
    let retention_days = ctx.caller.limits.retention_days;
    let views = |run: Run| -> Vec<ArtifactView> {
        let expires_at = expiry(run.created_at, retention_days);
        let view = |artifact| view(artifact, run.workflow_id, expires_at);
        run.artifacts.into_iter().map(view).collect()
    };
    let fetch = async |listing: Listing| {
        let ArtifactFilter {
            run_id,
            workflow_id,
        } = ctx.query.filter;
        let page = match run_id {
            Some(run_id) => {
                let is_of_workflow =
                    |run: &Run| workflow_id.is_none_or(|wanted| run.workflow_id == wanted);
                let run = store.run(run_id).await?.map(|run| run.run);
                let run = run.filter(is_of_workflow);
                Page {
                    items: run.into_iter().collect(),
                    next: None,
                }
            }
            None => {
                // A run has at most one artifact, so a page of runs with artifacts is a page of
                // artifacts.
                let filter = RunFilter {
                    workflow_id,
                    with_artifacts: true,
                    ..RunFilter::default()
                };
                let span = ctx.retained_span();
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
    ctx.page(fetch, |view| view).await
}

/// An artifact and its run.
async fn find(store: &TenantStore<'_>, id: ArtifactId) -> Result<(Artifact, StoredRun)> {
    Span::current().record("run_id", display(id.run_id));
    let run = store.run(id.run_id).await?.ok_or_else(Problem::not_found)?;
    let mut artifacts = run.run.artifacts.iter();
    let artifact = artifacts.find(|artifact| artifact.id == id).cloned();
    Ok((artifact.ok_or_else(Problem::not_found)?, run))
}

/// Get an artifact
#[utoipa::path(
    get,
    path = "/api/artifacts/{id}",
    tag = "artifacts",
    params(("id" = ArtifactId, Path)),
    responses((
        status = 200, description = "The artifact", body = ArtifactWithPreview,
        headers(("etag" = String)),
        links(("download" = (operation_id = "download_artifact", parameters(("id" = "$response.body#/id"))))),
    )),
    extensions(("x-role" = json!("viewer"))),
)]
async fn get_artifact(ctx: Viewer<App>, Path(id): Path<ArtifactId>) -> Result {
    let store = ctx.store();
    let (artifact, run) = find(&store, id).await?;
    let preview = if artifact.is_text() {
        read_artifact(&store, &ctx.app.blobs, &run, &artifact, PREVIEW_BYTES)
            .await?
            .map(|bytes| text_start(&bytes))
    } else {
        None
    };
    let artifact = view(artifact, run.run.workflow_id, run.expires_at);
    object(StatusCode::OK, &ArtifactWithPreview { artifact, preview })
}

/// A string from bytes that may end within a character.
fn text_start(bytes: &[u8]) -> String {
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => std::str::from_utf8(bytes.get(..error.valid_up_to()).unwrap_or_default())
            .unwrap_or_default(),
    };
    text.to_owned()
}

/// Download an artifact
///
/// Redirects to a URL that serves the artifact's bytes for five minutes.
#[utoipa::path(
    get,
    path = "/api/artifacts/{id}/download",
    tag = "artifacts",
    params(("id" = ArtifactId, Path)),
    responses((
        status = 302, description = "Where the bytes are",
        headers(("location" = String, description = "A presigned URL")),
    )),
    extensions(("x-role" = json!("viewer"))),
)]
async fn download_artifact(ctx: Viewer<App>, Path(id): Path<ArtifactId>) -> Result {
    let (store, blobs) = (ctx.store(), &ctx.app.blobs);
    let (artifact, run) = find(&store, id).await?;
    let stored = Object::artifact(&store, artifact.id, &artifact.digest);
    if let Some(bytes) = run.artifact {
        // The artifact is in the run's item, but a URL can only serve an object of the bucket. The
        // key contains a digest of the bytes, so writing it twice is harmless.
        blobs.put(&stored, bytes, &artifact.content_type).await?;
    }
    let file = format!("{}-{}", artifact.id, artifact.name);
    Ok(found(blobs.presigned(&stored, &file).await?))
}
