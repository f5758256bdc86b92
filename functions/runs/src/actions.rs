//! What can be done with a run: cancel it, retry it, replay its input.

use aias_domain::{
    id::RunId,
    run::{Run, Status, TransitionError, Trigger},
    tenant::Role,
    workflow::Workflow,
};
use aias_platform::{
    clock::random_id,
    http::{Caller, Once, Problem, Request, Response, SeenCell, parse_body},
    journal,
    runs::{Prepared, RunView, expiry, new_run, read_input, tell_parent},
    store::{Error, Scope, Stored, StoredRun, TenantStore},
};
use serde::Deserialize;
use serde_json::json;

use crate::{App, find};

/// How often a change is tried when the run changes under it.
const ATTEMPTS: usize = 5;

fn refuse(error: TransitionError) -> Problem {
    let (code, title) = match error {
        TransitionError::Ended(_) => ("run-ended", "The run has ended"),
        TransitionError::NotFaulted(_) => ("run-not-faulted", "The run has not faulted"),
        TransitionError::NotSuspended(_) => ("run-not-suspended", "The run is not held back"),
        TransitionError::Exhausted => ("run-exhausted", "The run was begun too often"),
    };
    Problem::conflict(code, title).detail(error.to_string())
}

/// Changes a run that the executor may be changing too.
async fn change(
    store: &TenantStore<'_>,
    id: &str,
    seen: &SeenCell,
    change: impl AsyncFn(&StoredRun) -> Result<Run, Problem>,
) -> Result<StoredRun, Problem> {
    for _ in 0..ATTEMPTS {
        let read = find(store, id, seen).await?;
        let value = change(&read).await?;
        let run = StoredRun {
            run: Stored {
                value,
                version: read.run.version,
            },
            ..read
        };
        match store.save_run(&run).await {
            Ok(()) => return Ok(run),
            Err(Error::Conflict) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(Error::Conflict.into())
}

pub(crate) async fn cancel(
    app: &App,
    store: &TenantStore<'_>,
    caller: &Caller,
    id: &str,
    seen: &SeenCell,
) -> Result<Response, Problem> {
    caller.require(Role::Editor)?;
    let now = app.api.clock.now();
    let run = change(store, id, seen, async |stored| {
        let run = stored.run.value.clone();
        run.cancel(now).map_err(refuse)
    });
    let run = run.await;
    if run.is_err() {
        // One that had ended may wait to be heard of: whoever ended it may have died before.
        let ended = find(store, id, seen).await?;
        tell_parent(&app.intake.queue, store, &ended.run.value).await?;
    }
    let run = run?;
    tell_parent(&app.intake.queue, store, &run.run.value).await?;
    Response::object(200, &RunView::new(&run.run.value))
}

/// Should the process end between the run and its message, the caller's next try sends it.
pub(crate) async fn retry(
    app: &App,
    store: &TenantStore<'_>,
    caller: &Caller,
    id: &str,
    seen: &SeenCell,
) -> Result<Response, Problem> {
    caller.require(Role::Editor)?;
    let now = app.api.clock.now();
    let run = change(store, id, seen, async |stored| {
        let run = stored.run.value.clone();
        if run.status == Status::Pending && run.retries > 0 {
            // An earlier retry whose message may not have been sent.
            return Ok(run);
        }
        let written = store.log_length(stored).await?;
        let (id, expires_at) = (run.id, expiry(now, caller.limits.retention_days));
        let run = run.retry(written).map_err(refuse)?;
        // Before the run: once it is pending, an executor reads its journal.
        journal::retry(store, &app.intake.blobs, id, now, expires_at).await?;
        Ok(run)
    })
    .await?;
    app.intake.enqueue(store, &run).await?;
    Ok(Response::object(202, &RunView::new(&run.run.value))?
        .header("location", format!("/api/runs/{id}")))
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Replay {
    workflow_version: Option<u32>,
}

pub(crate) async fn replay(
    app: &App,
    store: &TenantStore<'_>,
    caller: &Caller,
    request: &Request,
    id: &str,
    seen: &SeenCell,
) -> Result<Response, Problem> {
    caller.require(Role::Editor)?;
    let original = find(store, id, seen).await?;
    let scope = Scope::Tenant(caller.tenant.id);
    let make = async |once: Once<'_>| {
        let now = app.api.clock.now();
        let body: Replay = if request.body.is_empty() {
            Replay::default()
        } else {
            parse_body(request)?
        };
        let workflow_id = original.run.value.workflow_id;
        let head = store.workflow(workflow_id).await?.map(|head| head.value);
        let head = head.filter(Workflow::is_on).ok_or_else(|| {
            Problem::conflict("workflow-disabled", "The workflow is disabled or deleted")
        })?;
        let version = body.workflow_version.unwrap_or(head.latest);
        if !(1..=head.latest).contains(&version) {
            let detail = "there is no such version";
            return Err(Problem::invalid_member("/workflow_version", detail));
        }
        let input = read_input(store, &app.intake.blobs, &original.input).await?;
        app.intake.admit(store, &caller.limits, now).await??;
        let input = Prepared::new(&input)?;
        let run_id = RunId::new(now, random_id());
        let trigger = Trigger::Replay {
            replay_of: original.run.value.id,
        };
        let digest = input.digest.clone();
        let run = Run::pending(run_id, workflow_id, Some(version), trigger, digest);
        // Placed anew, so that it is kept as long as the new run.
        let input = app.intake.place(store, input).await?;
        let run = new_run(run, input, caller.limits.retention_days);
        let view = json!({"run_id": run_id, "status": "pending"});
        let response =
            Response::json(202, &view)?.header("location", format!("/api/runs/{run_id}"));
        let kept = once.keep(&response)?;
        let made = app.intake.begin_once(store, &run, kept).await?;
        once.finish(made, response, &caller.limits)
    };
    app.api.once(scope, request, make).await
}
