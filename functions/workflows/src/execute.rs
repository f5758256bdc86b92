//! Executing a workflow.

use std::time::Duration;

use aias_domain::{
    id::{RunId, WorkflowId},
    plan::Limits,
    run::{Run, Trigger},
};
use aias_platform::{
    clock::random_id,
    http::{
        Editor, JsonBody, Once, Path, Problem, RequestBody, Result, WithHeader as _, kinds,
        openapi, response::object,
    },
    runs::{RunAccepted, RunView, SerializedInput, new_run, read_output},
    store::{StoredRun, TenantStore},
};
use axum::{
    body::Bytes,
    http::{HeaderName, StatusCode},
};
use serde::Deserialize;
use serde_json::Value;
use tokio::time::{Instant, sleep};
use tracing::{Span, field::display};
use utoipa::ToSchema;

use crate::{App, find};

/// The longest wait for a run, in seconds; API Gateway waits at most 30.
const MAX_WAIT_SECONDS: u64 = 25;

const PREFERENCE_APPLIED: HeaderName = HeaderName::from_static("preference-applied");

/// A workflow and its input.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NamedExecution {
    workflow_id: WorkflowId,
    /// Any JSON value; `null` by default.
    #[serde(default)]
    input: Value,
}

impl RequestBody for NamedExecution {
    fn max_bytes(limits: Option<&Limits>) -> usize {
        limits.map_or(0, |limits| limits.body_bytes)
    }
}

/// A workflow's input.
#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Execution {
    /// Any JSON value; `null` by default.
    #[serde(default)]
    #[schema(example = json!({"body": {"line_items": [{"price": 42.5}]}}))]
    input: Value,
}

impl RequestBody for Execution {
    fn max_bytes(limits: Option<&Limits>) -> usize {
        limits.map_or(0, |limits| limits.body_bytes)
    }

    fn empty() -> Option<Self> {
        Some(Self::default())
    }
}

/// How long a response may wait for the run.
#[derive(utoipa::IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(dead_code, reason = "describes a header")]
pub(crate) struct PreferWait {
    /// `wait=20` waits up to 20 seconds (at most 25) for the run to end (RFC 7240).
    #[param(rename = "Prefer", example = "wait=20")]
    prefer: Option<String>,
}

/// Execute the workflow that the body names
#[utoipa::path(
    post,
    path = "/api/workflows/execute",
    tag = "workflows",
    params(openapi::IdempotencyKey, PreferWait),
    request_body = NamedExecution,
    responses(
        (
            status = 202, description = "The run has been accepted", body = RunAccepted,
            headers(("location" = String)),
            links(("run" = (operation_id = "get_run", parameters(("id" = "$response.body#/run_id"))))),
        ),
        (
            status = 200, description = "The run has ended within the time to wait",
            body = RunView<'static>,
            headers(("etag" = String), ("preference-applied" = String)),
        ),
    ),
    extensions(
        ("x-role" = json!("editor")),
        ("x-problems" = json!(["plan-limit-exceeded", "workflow-disabled"])),
    ),
)]
pub(crate) async fn execute_named_workflow(
    ctx: Editor<App>,
    JsonBody { value, bytes }: JsonBody<NamedExecution>,
) -> Result {
    execute(&ctx, value.workflow_id, &value.input, &bytes).await
}

/// Execute a workflow
#[utoipa::path(
    post,
    path = "/api/workflows/{id}/execute",
    tag = "workflows",
    params(("id" = WorkflowId, Path), openapi::IdempotencyKey, PreferWait),
    request_body = Option<Execution>,
    responses(
        (
            status = 202, description = "The run has been accepted", body = RunAccepted,
            headers(("location" = String)),
            links(("run" = (operation_id = "get_run", parameters(("id" = "$response.body#/run_id"))))),
        ),
        (
            status = 200, description = "The run has ended within the time to wait",
            body = RunView<'static>,
            headers(("etag" = String), ("preference-applied" = String)),
        ),
    ),
    extensions(
        ("x-role" = json!("editor")),
        ("x-problems" = json!(["plan-limit-exceeded", "workflow-disabled"])),
    ),
)]
pub(crate) async fn execute_workflow(
    ctx: Editor<App>,
    Path(id): Path<WorkflowId>,
    JsonBody { value, bytes }: JsonBody<Execution>,
) -> Result {
    execute(&ctx, id, &value.input, &bytes).await
}

async fn execute(ctx: &Editor<App>, id: WorkflowId, input: &Value, body: &Bytes) -> Result {
    let (store, intake, limits) = (ctx.store(), &ctx.app.intake, &ctx.caller.limits);
    let create = async |once: Once<'_>| {
        let head = find(&store, id).await?.value;
        if !head.can_run() {
            return Err(Problem::new(&kinds::WORKFLOW_DISABLED));
        }
        intake.admit(&store, limits, ctx.now).await??;
        let input = SerializedInput::new(input)?;
        let run_id = RunId::new_in(limits.run_shards, ctx.now, random_id());
        Span::current().record("run_id", display(run_id));
        let digest = input.digest.clone();
        let run = Run::pending(
            run_id,
            head.id,
            Some(head.active_version()),
            Trigger::Api,
            digest,
        );
        let input = intake.store_input(&store, input).await?;
        let run = new_run(run, input, limits.retention_days);
        let response = RunAccepted::respond(run_id)?;
        let sealed = once.sealed(&response)?;
        let accepted = intake.create_run_once(&store, &run, sealed).await?;
        let response = once.finish(accepted, response, limits)?;
        let Some(wait) = preferred_wait(ctx.head.header("prefer")) else {
            return Ok(response);
        };
        match ended_within(&store, run_id, wait).await? {
            None => Ok(response),
            Some(run) => {
                let applied = format!("wait={}", wait.as_secs());
                let output = read_output(&store, &intake.blobs, &run).await?;
                let view = RunView::new(&run.run).with_output(output);
                Ok(object(StatusCode::OK, &view)?.with(PREFERENCE_APPLIED, applied))
            }
        }
    };
    let response = ctx.once(body, create).await?;
    intake.resend_message(&store, &response).await?;
    Ok(response)
}

/// `Prefer: wait=n` (RFC 7240), in seconds.
fn preferred_wait(preferences: Option<&str>) -> Option<Duration> {
    let mut preferences = preferences?.split(',');
    let seconds: u64 =
        preferences.find_map(|one| one.trim().strip_prefix("wait=")?.parse().ok())?;
    (seconds > 0).then(|| Duration::from_secs(seconds.min(MAX_WAIT_SECONDS)))
}

/// The run, if it ends in time. Polls often at first, since most runs are short.
async fn ended_within(
    store: &TenantStore<'_>,
    id: RunId,
    wait: Duration,
) -> Result<Option<StoredRun>> {
    let until = Instant::now() + wait;
    let mut pause = Duration::from_millis(25);
    while Instant::now() + pause < until {
        sleep(pause).await;
        if let Some(run) = store.run(id).await?
            && run.run.status.is_terminal()
        {
            return Ok(Some(run));
        }
        pause = (pause * 3 / 2).min(Duration::from_secs(1));
    }
    Ok(None)
}
