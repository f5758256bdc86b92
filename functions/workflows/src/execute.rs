//! Executing a workflow by a call.

use std::time::Duration;

use aias_domain::{
    id::{RunId, WorkflowId},
    run::{Run, Trigger},
    tenant::Role,
};
use aias_platform::{
    clock::random_id,
    http::{Caller, Once, Problem, Request, Response, SeenCell, parse_body_of},
    runs::{Prepared, RunView, new_run},
    store::{Scope, StoredRun, TenantStore},
};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::{App, find};

/// The longest wait for a run, in seconds: the gateway itself waits 30.
const MAX_WAIT_SECONDS: u64 = 25;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Named {
    workflow_id: WorkflowId,
    #[serde(default)]
    input: Value,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Unnamed {
    #[serde(default)]
    input: Value,
}

pub(crate) async fn named_in_body(
    app: &App,
    store: &TenantStore<'_>,
    caller: &Caller,
    request: &Request,
    seen: &SeenCell,
) -> Result<Response, Problem> {
    caller.require(Role::Editor)?;
    let body: Named = parse_body_of(request, caller.limits.body_bytes)?;
    execute(
        app,
        store,
        caller,
        request,
        seen,
        &body.workflow_id.to_string(),
        body.input,
    )
    .await
}

pub(crate) async fn named_in_path(
    app: &App,
    store: &TenantStore<'_>,
    caller: &Caller,
    request: &Request,
    seen: &SeenCell,
    id: &str,
) -> Result<Response, Problem> {
    caller.require(Role::Editor)?;
    let body: Unnamed = if request.body.is_empty() {
        Unnamed { input: Value::Null }
    } else {
        parse_body_of(request, caller.limits.body_bytes)?
    };
    execute(app, store, caller, request, seen, id, body.input).await
}

async fn execute(
    app: &App,
    store: &TenantStore<'_>,
    caller: &Caller,
    request: &Request,
    seen: &SeenCell,
    id: &str,
    input: Value,
) -> Result<Response, Problem> {
    let scope = Scope::Tenant(caller.tenant.id);
    let make = async |once: Once<'_>| {
        let now = app.api.clock.now();
        let head = find(store, id).await?.value;
        if !head.is_on() {
            return Err(Problem::conflict(
                "workflow-disabled",
                "The workflow is disabled",
            ));
        }
        app.intake.admit(store, &caller.limits, now).await??;
        let input = Prepared::new(&input)?;
        let run_id = RunId::new(now, random_id());
        seen.note(|seen| seen.run(run_id));
        let digest = input.digest.clone();
        let run = Run::pending(run_id, head.id, Some(head.latest), Trigger::Api, digest);
        let input = app.intake.place(store, input).await?;
        let run = new_run(run, input, caller.limits.retention_days);
        let response = accepted(run_id)?;
        let kept = once.keep(&response)?;
        let made = app.intake.begin_once(store, &run, kept).await?;
        let response = once.finish(made, response, &caller.limits)?;
        let Some(wait) = preferred_wait(request) else {
            return Ok(response);
        };
        match ended_within(store, run_id, wait).await? {
            None => Ok(response),
            Some(run) => {
                let applied = format!("wait={}", wait.as_secs());
                let view = RunView::new(&run.run.value);
                Ok(Response::object(200, &view)?.header("preference-applied", applied))
            }
        }
    };
    app.api.once(scope, request, make).await
}

fn accepted(run_id: RunId) -> Result<Response, Problem> {
    let view = json!({"run_id": run_id, "status": "pending"});
    Ok(Response::json(202, &view)?.header("location", format!("/api/runs/{run_id}")))
}

/// `Prefer: wait=n` (RFC 7240), in seconds.
fn preferred_wait(request: &Request) -> Option<Duration> {
    let preferences = request.header("prefer")?;
    let seconds: u64 = preferences
        .split(',')
        .find_map(|one| one.trim().strip_prefix("wait=")?.parse().ok())?;
    (seconds > 0).then(|| Duration::from_secs(seconds.min(MAX_WAIT_SECONDS)))
}

/// The run, when it ends in time. Looks often at first, since most runs are short.
async fn ended_within(
    store: &TenantStore<'_>,
    id: RunId,
    wait: Duration,
) -> Result<Option<StoredRun>, Problem> {
    let until = Instant::now() + wait;
    let mut pause = Duration::from_millis(25);
    while Instant::now() + pause < until {
        sleep(pause).await;
        if let Some(run) = store.run(id).await?
            && run.run.value.status.is_terminal()
        {
            return Ok(Some(run));
        }
        pause = (pause * 3 / 2).min(Duration::from_secs(1));
    }
    Ok(None)
}
