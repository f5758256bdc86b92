//! Runs: listing, reading, cancelling, retrying, replaying and verifying.

mod actions;
mod compare;
mod counts;
mod list;
mod recompute;
mod steps;
mod verify;

use std::{collections::HashMap, sync::Arc};

use aias_domain::id::RunId;
use aias_platform::{
    aws::SdkConfig,
    blobs::{Blobs, Object},
    config::Env,
    definitions::Definitions,
    http::{
        Api, Authenticated as _, HasApi, List, NoFilter, PageParams, Parameters, Path, Problem,
        Result, Routes, Viewer, openapi,
        response::{found, object, text},
    },
    queue::Queue,
    routes,
    run_log::LogEntryView,
    runs::{Intake, RunView, read_input, read_output},
    store::{Cursor, Input, Listing, Page, StoredRun, TenantStore},
};
use aias_sandbox::Sandbox;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tracing::{Span, field::display};
use utoipa::ToSchema;

#[derive(Debug)]
pub struct App {
    /// The table, authentication and the time.
    pub api: Arc<Api>,
    intake: Intake,
    definitions: Definitions,
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
            definitions: Definitions::default(),
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
        .routes(routes!(list::list_runs))
        .routes(routes!(list::list_errors))
        .routes(routes!(counts::count_runs))
        .routes(routes!(get_run))
        .routes(routes!(steps::list_steps))
        .routes(routes!(compare::compare_runs))
        .routes(routes!(list_logs))
        .routes(routes!(list_events))
        .routes(routes!(get_input))
        .routes(routes!(actions::cancel_run))
        .routes(routes!(actions::retry_run))
        .routes(routes!(actions::replay_run))
        .routes(routes!(verify::verify_run))
        .in_named_tenant(&api)
        .with_state(Arc::new(app))
}

/// Reads a run, and adds its id to the request log.
async fn find(store: &TenantStore<'_>, id: RunId) -> Result<StoredRun> {
    Span::current().record("run_id", display(id));
    store.run(id).await?.ok_or_else(Problem::not_found)
}

/// Further data in a response.
#[derive(Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum Include {
    Output,
}

#[derive(Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct IncludeQuery {
    /// `output`: the output, if it has at most 256 KiB of JSON.
    #[param(inline)]
    include: Option<Include>,
}

/// Get a run
#[utoipa::path(
    get,
    path = "/api/runs/{id}",
    tag = "runs",
    params(("id" = RunId, Path), IncludeQuery),
    responses((
        status = 200, description = "The run", body = RunView<'static>,
        headers(("etag" = String)),
    )),
    extensions(("x-role" = json!("viewer"))),
)]
async fn get_run(ctx: Viewer<App, Parameters<IncludeQuery>>, Path(id): Path<RunId>) -> Result {
    let store = ctx.store();
    let (run, replays) = tokio::join!(find(&store, id), store.replays(id));
    let (run, replays) = (run?, replays?);
    let output = match ctx.query.0.include {
        None => None,
        Some(Include::Output) => read_output(&store, &ctx.app.intake.blobs, &run).await?,
    };
    let view = RunView::new(&run.run).with_output(output);
    object(StatusCode::OK, &view.with_replays(replays))
}

/// Get a run's input
///
/// An input that is too large for a Lambda response is a redirect to a URL that serves it for five
/// minutes.
#[utoipa::path(
    get,
    path = "/api/runs/{id}/input",
    tag = "runs",
    params(("id" = RunId, Path)),
    responses(
        (status = 200, description = "The input", body = Value, content_type = "application/json"),
        (
            status = 302, description = "Where the input is",
            headers(("location" = String, description = "A presigned URL")),
        ),
    ),
    extensions(("x-role" = json!("viewer")), ("x-problems" = json!(["input-gone"]))),
)]
async fn get_input(ctx: Viewer<App>, Path(id): Path<RunId>) -> Result {
    let (store, blobs) = (ctx.store(), &ctx.app.intake.blobs);
    let run = find(&store, id).await?;
    let input = read_input(&store, blobs, &run.input).await?.to_string();
    let escaped = serde_json::to_string(&input).map_err(Problem::internal)?;
    match &run.input {
        // An input of this size is in the bucket, which can serve it.
        Input::Blob(key) if escaped.len() > MAX_RESPONSE_BYTES => {
            let stored = Object::stored(&store, key).ok_or_else(Problem::not_found)?;
            let file = format!("{id}-input.json");
            Ok(found(blobs.presigned(&stored, &file).await?))
        }
        Input::Blob(_) | Input::Inline(_) => Ok(text(StatusCode::OK, "application/json", input)),
    }
}

/// A Lambda response has at most 6 MB, including the body as an escaped JSON string and the
/// headers.
const MAX_RESPONSE_BYTES: usize = 6_000_000;

/// The size at which a page of events ends, in bytes of JSON. An event has at most 256 KiB.
const MAX_EVENTS_BYTES: usize = 1024 * 1024;

/// A page of a list whose items are numbered from 0. `items` reads from a number on.
async fn numbered<T>(
    listing: Listing,
    items: impl AsyncFnOnce(u32, usize) -> Result<Vec<T>>,
    number: impl Fn(&T) -> u32,
) -> Result<Page<T>> {
    let limit = listing.limit;
    let from = listing
        .after
        .and_then(|after| after.position().parse().ok());
    let mut items = items(from.unwrap_or(0), limit + 1).await?;
    let next = items
        .get(limit)
        .map(|item| Cursor::at(number(item).to_string()));
    items.truncate(limit);
    Ok(Page { items, next })
}

/// A `CloudEvent` that a workflow emitted.
#[derive(ToSchema, Serialize)]
#[schema(as = CloudEvent)]
struct EmittedEvent {
    #[schema(example = "1.0")]
    specversion: String,
    id: String,
    source: String,
    #[serde(rename = "type")]
    kind: String,
    /// The other attributes, and `data`.
    #[serde(flatten)]
    attributes: HashMap<String, Value>,
}

/// List the events that a run emitted, in the order of their emission
#[utoipa::path(
    get,
    path = "/api/runs/{id}/events",
    tag = "runs",
    params(("id" = RunId, Path), PageParams),
    responses((status = 200, description = "A page", body = openapi::Page<EmittedEvent>)),
    extensions(("x-role" = json!("viewer"))),
)]
async fn list_events(ctx: Viewer<App, List<NoFilter>>, Path(id): Path<RunId>) -> Result {
    let store = ctx.store();
    let events = async |from, limit| Ok(store.events(id, from, limit).await?);
    let fetch = async |listing| {
        let listed = numbered(listing, events, |(number, _)| *number);
        let (run, page) = tokio::join!(find(&store, id), listed);
        run?;
        let mut page = page?;
        let mut bytes = 0;
        let too_many = page.items.iter().position(|(_, event): &(u32, Value)| {
            bytes += event.to_string().len();
            bytes > MAX_EVENTS_BYTES
        });
        if let Some(first) = too_many {
            page.next = page
                .items
                .get(first)
                .map(|(number, _)| Cursor::at(number.to_string()));
            page.items.truncate(first);
        }
        Ok(page)
    };
    ctx.page(fetch, |(_, event)| event).await
}

/// List a run's log, oldest entries first
#[utoipa::path(
    get,
    path = "/api/runs/{id}/logs",
    tag = "runs",
    params(("id" = RunId, Path), PageParams),
    responses((status = 200, description = "A page", body = openapi::Page<LogEntryView>)),
    extensions(("x-role" = json!("viewer"))),
)]
async fn list_logs(ctx: Viewer<App, List<NoFilter>>, Path(id): Path<RunId>) -> Result {
    let store = ctx.store();
    let run = find(&store, id).await?;
    let entries = async |from, limit| Ok(store.log(&run, from, limit).await?);
    let fetch = async |listing| numbered(listing, entries, |entry| entry.seq).await;
    ctx.page(fetch, LogEntryView::from).await
}
