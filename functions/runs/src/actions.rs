//! Acting on a run: cancel it, retry it, replay its input.

use aias_domain::{
    id::RunId,
    run::{Run, Status, TransitionError, Trigger},
    workflow::Workflow,
};
use aias_platform::{
    clock::random_id,
    http::{
        Editor, JsonBody, Once, Path, Problem, RequestBody, Result, WithHeader as _, kinds,
        openapi, response::object, retry_on_conflict,
    },
    journal,
    runs::{RunAccepted, RunView, SerializedInput, expiry, new_run, notify_parent, read_input},
    store::{StoredRun, TenantStore},
};
use axum::http::{StatusCode, header::LOCATION};
use serde::Deserialize;
use utoipa::ToSchema;

use crate::{App, find};

fn refuse(error: TransitionError) -> Problem {
    let kind = match error {
        TransitionError::Ended(_) => &kinds::RUN_ENDED,
        TransitionError::NotFaulted(_) => &kinds::RUN_NOT_FAULTED,
        TransitionError::NotSuspended(_) => &kinds::RUN_NOT_SUSPENDED,
        TransitionError::Exhausted => &kinds::RUN_EXHAUSTED,
    };
    Problem::new(kind).detail(error.to_string())
}

/// Writes a changed run.
async fn save(store: &TenantStore<'_>, read: StoredRun, value: Run) -> Result<StoredRun> {
    let run = StoredRun {
        run: value,
        version: read.version,
        ..read
    };
    store.save_run(&run).await?;
    Ok(run)
}

/// Cancel a run
#[utoipa::path(
    post,
    path = "/api/runs/{id}/cancel",
    tag = "runs",
    params(("id" = RunId, Path)),
    responses((
        status = 200, description = "The cancelled run", body = RunView<'static>,
        headers(("etag" = String)),
    )),
    extensions(("x-role" = json!("editor")), ("x-problems" = json!(["conflict", "run-ended"]))),
)]
pub(crate) async fn cancel_run(ctx: Editor<App>, Path(id): Path<RunId>) -> Result {
    let (store, queue) = (ctx.store(), &ctx.app.intake.queue);
    let cancelled = retry_on_conflict(|| async {
        let read = find(&store, id).await?;
        let was_suspended = read.run.status == Status::Suspended;
        let run = read.run.clone().cancel(ctx.now).map_err(refuse)?;
        Ok((was_suspended, save(&store, read, run).await?))
    })
    .await;
    if cancelled.is_err() {
        // The process that ended the run may have died before sending the parent's message.
        let ended = find(&store, id).await?;
        notify_parent(queue, &store, &ended.run).await?;
    }
    let (was_suspended, cancelled) = cancelled?;
    if was_suspended {
        // If the process dies before, the next pass that resumes runs does this.
        store.delete_suspended(id).await?;
    }
    notify_parent(queue, &store, &cancelled.run).await?;
    object(StatusCode::OK, &RunView::new(&cancelled.run))
}

/// Retry a faulted run
///
/// The run continues from its journal: calls that succeeded are not repeated. If the process dies
/// between the change of the run and its message, repeating the request sends the message.
#[utoipa::path(
    post,
    path = "/api/runs/{id}/retry",
    tag = "runs",
    params(("id" = RunId, Path)),
    responses((
        status = 202, description = "The run, pending again", body = RunView<'static>,
        headers(("etag" = String), ("location" = String)),
    )),
    extensions(
        ("x-role" = json!("editor")),
        ("x-problems" = json!(["conflict", "run-not-faulted", "journal-gone"])),
    ),
)]
pub(crate) async fn retry_run(ctx: Editor<App>, Path(id): Path<RunId>) -> Result {
    let (store, intake, now) = (ctx.store(), &ctx.app.intake, ctx.now);
    let expires_at = expiry(now, ctx.caller.limits.retention_days);
    let run = retry_on_conflict(|| async {
        let read = find(&store, id).await?;
        let run = &read.run;
        if run.status == Status::Pending && run.retries > 0 {
            // The message of an earlier retry may not have been sent.
            return Ok(read);
        }
        let written = store.log_length(&read).await?;
        let run = run.clone().retry(written).map_err(refuse)?;
        // The journal is written first, since an executor reads it as soon as the run is pending.
        journal::retry(&store, &intake.blobs, id, now, expires_at).await?;
        let read = StoredRun {
            expires_at: read.expires_at.max(expires_at),
            ..read
        };
        save(&store, read, run).await
    })
    .await?;
    intake.enqueue(&store, &run).await?;
    let view = RunView::new(&run.run);
    Ok(object(StatusCode::ACCEPTED, &view)?.with(LOCATION, format!("/api/runs/{id}")))
}

/// A replay.
#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Replay {
    /// The version to run; the active one by default.
    #[schema(minimum = 1)]
    workflow_version: Option<u32>,
}

impl RequestBody for Replay {
    fn empty() -> Option<Self> {
        Some(Self::default())
    }
}

/// Replay a run's input
///
/// Starts a new run with the stored input.
#[utoipa::path(
    post,
    path = "/api/runs/{id}/replay",
    tag = "runs",
    params(("id" = RunId, Path), openapi::IdempotencyKey),
    request_body = Option<Replay>,
    responses((
        status = 202, description = "The new run", body = RunAccepted,
        headers(("location" = String)),
        links(("run" = (operation_id = "get_run", parameters(("id" = "$response.body#/run_id"))))),
    )),
    extensions(
        ("x-role" = json!("editor")),
        ("x-problems" = json!(["workflow-disabled", "input-gone", "plan-limit-exceeded"])),
    ),
)]
pub(crate) async fn replay_run(
    ctx: Editor<App>,
    Path(id): Path<RunId>,
    body: JsonBody<Replay>,
) -> Result {
    let (store, intake, limits) = (ctx.store(), &ctx.app.intake, &ctx.caller.limits);
    let original = find(&store, id).await?;
    let create = async |once: Once<'_>| {
        let workflow_id = original.run.workflow_id;
        let head = store.workflow(workflow_id).await?.map(|head| head.value);
        let head = head
            .filter(Workflow::can_run)
            .ok_or_else(|| Problem::new(&kinds::WORKFLOW_DISABLED))?;
        let version = body
            .value
            .workflow_version
            .unwrap_or_else(|| head.active_version());
        if !head.has_version(version) {
            let detail = format!("the workflow has versions 1 to {}", head.latest);
            return Err(Problem::invalid_member("/workflow_version", detail));
        }
        let input = read_input(&store, &intake.blobs, &original.input).await?;
        intake.admit(&store, limits, ctx.now).await??;
        let input = SerializedInput::new(&input)?;
        let run_id = RunId::new_in(limits.run_shards, ctx.now, random_id());
        let trigger = Trigger::Replay {
            replay_of: original.run.id,
        };
        let digest = input.digest.clone();
        let run = Run::pending(run_id, workflow_id, Some(version), trigger, digest);
        // Stored again, so that it is retained as long as the new run.
        let input = intake.store_input(&store, input).await?;
        let run = new_run(run, input, limits.retention_days);
        let response = RunAccepted::respond(run_id)?;
        let sealed = once.sealed(&response)?;
        let created = intake.create_replay(&store, &run, original.run.id, sealed);
        let accepted = created.await?;
        once.finish(accepted, response, limits)
    };
    let response = ctx.once(&body.bytes, create).await?;
    intake.resend_message(&store, &response).await?;
    Ok(response)
}
