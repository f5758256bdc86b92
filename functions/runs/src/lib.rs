//! Runs: looking at them, and what can be done with one.

mod actions;
mod verify;

use aias_domain::{id::RunId, run::Status};
use aias_platform::{
    aws::SdkConfig,
    blobs::{Blobs, Object},
    config::Env,
    definitions::Definitions,
    entries::EntryView,
    http::{
        Api, Caller, HttpAnswer, HttpEvent, Method, Problem, Request, Response, SeenCell, serve,
    },
    queue::Queue,
    runs::{Intake, RunView, read_input},
    store::{Cursor, Input, Listing, Page, RunFilter, StoredRun, TenantStore},
};
use aias_sandbox::Sandbox;
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

/// What these routes take.
#[derive(Debug)]
pub struct App {
    /// The table, who calls, and the time.
    pub api: Api,
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
            definitions: Definitions::default(),
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
        (Method::Get, ["api", "runs"]) => list(app, store, &caller, request).await,
        (Method::Get, ["api", "runs", id]) => one(store, id, seen).await,
        (Method::Get, ["api", "runs", id, "logs"]) => logs(app, store, request, id, seen).await,
        (Method::Get, ["api", "runs", id, "events"]) => events(app, store, request, id, seen).await,
        (Method::Post, ["api", "runs", id, "verify"]) => {
            verify::verify(app, store, &caller, id, seen).await
        }
        (Method::Get, ["api", "runs", id, "input"]) => input(app, store, id, seen).await,
        (Method::Post, ["api", "runs", id, "cancel"]) => {
            actions::cancel(app, store, &caller, id, seen).await
        }
        (Method::Post, ["api", "runs", id, "retry"]) => {
            actions::retry(app, store, &caller, id, seen).await
        }
        (Method::Post, ["api", "runs", id, "replay"]) => {
            actions::replay(app, store, &caller, request, id, seen).await
        }
        _ => Err(Problem::not_found()),
    }
}

pub(crate) async fn find(
    store: &TenantStore<'_>,
    id: &str,
    seen: &SeenCell,
) -> Result<StoredRun, Problem> {
    let id: RunId = id.parse().map_err(|_| Problem::not_found())?;
    seen.note(|seen| seen.run(id));
    store.run(id).await?.ok_or_else(Problem::not_found)
}

fn parse<T>(
    request: &Request,
    name: &'static str,
    read: impl Fn(&str) -> Option<T>,
) -> Result<Option<T>, Problem> {
    let Some(text) = request.parameter(name) else {
        return Ok(None);
    };
    let value = read(&text).ok_or_else(|| {
        Problem::bad_request("bad-parameter", "Bad query parameter")
            .detail(format!("`{name}` is malformed"))
    })?;
    Ok(Some(value))
}

fn status(text: &str) -> Option<Status> {
    serde_json::from_value(text.into()).ok()
}

async fn list(
    app: &App,
    store: &TenantStore<'_>,
    caller: &Caller,
    request: &Request,
) -> Result<Response, Problem> {
    let filter = RunFilter {
        workflow_id: parse(request, "workflow_id", |text| text.parse().ok())?,
        endpoint_id: parse(request, "endpoint_id", |text| text.parse().ok())?,
        status: parse(request, "status", status)?,
        from: parse(request, "from", |text| text.parse().ok())?,
        to: parse(request, "to", |text| text.parse().ok())?,
        with_artifacts: false,
    };
    let span = kept_span(caller, app.api.clock.now());
    let fetch = async |listing: Listing| {
        Ok(store
            .runs(&filter, listing.limit, listing.after.as_ref(), span)
            .await?)
    };
    let view = |run| serde_json::to_value(RunView::new(&run)).unwrap_or_default();
    let own = ["workflow_id", "endpoint_id", "status", "from", "to"];
    app.api.list(store, request, &own, fetch, view).await
}

/// From when on there can be runs: the tenant's beginning, or its retention's.
fn kept_span(caller: &Caller, now: Timestamp) -> (Timestamp, Timestamp) {
    let kept = SignedDuration::from_hours(24 * i64::from(caller.limits.retention_days));
    (caller.tenant.created_at.max(now - kept), now)
}

async fn one(store: &TenantStore<'_>, id: &str, seen: &SeenCell) -> Result<Response, Problem> {
    let run = find(store, id, seen).await?;
    Response::object(200, &RunView::new(&run.run.value))
}

async fn input(
    app: &App,
    store: &TenantStore<'_>,
    id: &str,
    seen: &SeenCell,
) -> Result<Response, Problem> {
    let run = find(store, id, seen).await?;
    let input = read_input(store, &app.intake.blobs, &run.input).await?;
    let text = input.to_string();
    let answer = serde_json::to_string(&text).map_err(Problem::internal)?;
    match &run.input {
        // Such an input is in the bucket, and can be had from there.
        Input::Blob(key) if answer.len() > MAX_ANSWER_BYTES => {
            let object = Object::stored(store, key).ok_or_else(Problem::not_found)?;
            let url = app
                .intake
                .blobs
                .presigned(&object, &format!("{id}-input.json"))
                .await?;
            Ok(Response::found(url))
        }
        Input::Blob(_) | Input::Inline(_) => Ok(Response::raw_json(200, text)),
    }
}

/// Lambda sends at most 6 MB, the body as a JSON string with its escapes; the rest is for headers.
const MAX_ANSWER_BYTES: usize = 6_000_000;

async fn events(
    app: &App,
    store: &TenantStore<'_>,
    request: &Request,
    id: &str,
    seen: &SeenCell,
) -> Result<Response, Problem> {
    let run = find(store, id, seen).await?;
    let fetch = async |listing: Listing| {
        let limit = listing.limit;
        let from = listing
            .after
            .and_then(|after| after.position().parse().ok());
        let found = store.events(run.run.value.id, from.unwrap_or(0), limit + 1);
        let mut items = found.await?;
        let next = items
            .get(limit)
            .map(|(number, _)| Cursor::at(number.to_string()));
        items.truncate(limit);
        Ok(Page { items, next })
    };
    let view = |(_, event): (u32, Value)| event;
    app.api.list(store, request, &[], fetch, view).await
}

async fn logs(
    app: &App,
    store: &TenantStore<'_>,
    request: &Request,
    id: &str,
    seen: &SeenCell,
) -> Result<Response, Problem> {
    let run = find(store, id, seen).await?;
    let fetch = async |listing: Listing| {
        let limit = listing.limit;
        let from = listing
            .after
            .and_then(|after| after.position().parse().ok());
        let found = store.log(&run, from.unwrap_or(0), limit + 1).await;
        let mut items = found?;
        let next = items
            .get(limit)
            .map(|entry| Cursor::at(entry.seq.to_string()));
        items.truncate(limit);
        Ok(Page { items, next })
    };
    app.api
        .list(store, request, &[], fetch, EntryView::from)
        .await
}
