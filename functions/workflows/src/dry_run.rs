//! Dry runs: the same engine, with responses supplied by the caller. Nothing is stored or called,
//! and waits end immediately.

use std::{collections::HashMap, time::Duration};

use aias_domain::{
    canonical,
    id::{RunId, WorkflowId},
    plan::Limits,
    run::{RunError, Status},
};
use aias_engine::journal::{
    Body, Effect, EffectResult, Entry, EntryEvent, Failure, HttpResponse, PendingEffects,
    Request as EffectRequest,
};
use aias_platform::{
    clock::{Clock, new_secret_nonce, random_id},
    http::{Editor, JsonBody, Path, Problem, RequestBody, Result, response::object},
    run_log::{LogEntryView, RunLog},
};
use aias_sandbox::{Computation, ComputationInput, Definition, Report};
use axum::http::StatusCode;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::time::timeout;
use utoipa::ToSchema;

use crate::{App, find};

/// The time limit of a dry run.
const MOST: Duration = Duration::from_secs(20);

/// The most log entries and events in the response.
const MAX_LOGS: usize = 1_000;
const MAX_EVENTS: usize = 100;

/// The input and responses of a dry run.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct DryRun {
    /// Any JSON value; `null` by default.
    #[serde(default)]
    input: Value,
    /// What calls return instead of being made, by task reference: the content of a response, a
    /// whole response (`statusCode`, `headers`, `content`), or an `error` (`type`, `status`).
    #[serde(default)]
    #[schema(example = json!({"/do/0/getPet": {"id": 1}}))]
    responses: HashMap<String, Value>,
}

impl RequestBody for DryRun {
    fn max_bytes(limits: Option<&Limits>) -> usize {
        limits.map_or(0, |limits| limits.body_bytes)
    }
}

/// The result of a dry run.
#[derive(Serialize, ToSchema)]
pub(crate) struct DryRunResult {
    status: Status,
    /// The output; `null` for a faulted run.
    output: Value,
    error: Option<RunError>,
    /// At most 1,000 entries.
    logs: Vec<LogEntryView>,
    /// The emitted `CloudEvents`, at most 100.
    events: Vec<Value>,
}

/// Test a workflow
///
/// Runs the newest version. Nothing is stored or called, and waits end immediately.
#[utoipa::path(
    post,
    path = "/api/workflows/{id}/test",
    tag = "workflows",
    params(("id" = WorkflowId, Path)),
    request_body = DryRun,
    responses((
        status = 200, description = "The result of the run", body = DryRunResult,
        headers(("etag" = String)),
    )),
    extensions(("x-role" = json!("editor"))),
)]
pub(crate) async fn test_workflow(
    ctx: Editor<App>,
    Path(id): Path<WorkflowId>,
    JsonBody { value: body, .. }: JsonBody<DryRun>,
) -> Result {
    let (store, caller) = (ctx.store(), &ctx.caller);
    let head = find(&store, id).await?.value;
    let version = store.version(head.id, head.latest).await?;
    let version = version.ok_or_else(Problem::not_found)?;
    let (app, now) = (&ctx.app, ctx.now);
    let run_id = RunId::new(now, random_id()).to_string();
    let input_digest = canonical::digest(&canonical::to_vec(&body.input));
    let given = ComputationInput {
        definition: Definition::new(version.definition),
        run_id,
        input: body.input,
        started_at: now,
        max_steps: caller.limits.steps_per_run,
        computing: caller.limits.computing,
        journal: Vec::new(),
        secret_nonce: new_secret_nonce(),
    };
    let mut entries = RunLog::new(0, 0, now, now);
    entries.started(&input_digest, 1, now);
    let computation = Computation::new(&app.sandbox, given);
    let mut world = DryRunHost {
        responses: body.responses,
        clock: &app.api.clock,
        now,
        entries,
        events: Vec::new(),
    };
    let ended = world.follow(computation).await;
    let (status, output, error) = match ended {
        Ok(output) => {
            let digest = canonical::digest(&canonical::to_vec(&output));
            world.entries.completed(&digest, app.api.clock.now());
            (Status::Completed, output, None)
        }
        Err(error) => {
            world.entries.faulted(&error, app.api.clock.now());
            (Status::Faulted, Value::Null, Some(error))
        }
    };
    let logs = world.entries.take().into_iter().take(MAX_LOGS);
    let result = DryRunResult {
        status,
        output,
        error,
        logs: logs.map(LogEntryView::from).collect(),
        events: world.events,
    };
    object(StatusCode::OK, &result)
}

struct DryRunHost<'a> {
    responses: HashMap<String, Value>,
    clock: &'a Clock,
    now: Timestamp,
    entries: RunLog,
    events: Vec<Value>,
}

impl DryRunHost<'_> {
    async fn follow(
        &mut self,
        mut computation: Computation<'_>,
    ) -> std::result::Result<Value, RunError> {
        let listening = async {
            loop {
                match computation.next().await {
                    Report::Step(record) => self.entries.step(record, self.clock.now()),
                    Report::Emitted(_, event) => {
                        if self.events.len() < MAX_EVENTS {
                            self.events.push(event);
                        }
                    }
                    Report::PendingEffects(pending) => computation.give(self.next(&pending)?).await,
                    Report::Ended(outcome) => return *outcome,
                }
            }
        };
        if let Ok(ended) = timeout(MOST, listening).await {
            return ended;
        }
        let detail = "the dry run takes longer than a request may take";
        Err(RunError {
            status: 408,
            ..RunError::platform("timeout", "Timeout", detail)
        })
    }

    /// The next entry: the first requested effect that has a response, else the next timer.
    fn next(&mut self, pending: &PendingEffects) -> std::result::Result<Entry, RunError> {
        let answered = pending.effects.iter().find_map(|effect| {
            let response = self.responses.get(&effect.key.task)?;
            Some((effect, effect_result(effect, response)))
        });
        let event = match (answered, pending.until, pending.effects.first()) {
            (Some((effect, answer)), ..) => EntryEvent::EffectCompleted {
                key: effect.key.clone(),
                digest: effect.digest(),
                result: answer,
            },
            (None, Some(until), _) => {
                self.now = self.now.max(until);
                EntryEvent::TimerExpired
            }
            (None, None, effect) => {
                let task = effect.map(|effect| effect.key.task.clone());
                let detail = "`responses` has no entry for this task, and a dry run makes no calls";
                let error = RunError::platform("no-response", "No response", detail);
                return Err(RunError {
                    instance: task,
                    ..error
                });
            }
        };
        Ok(Entry {
            at: self.now,
            event,
        })
    }
}

/// A whole HTTP response, with the names of the DSL's `output: response`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct WholeResponse {
    status_code: u16,
    #[serde(default)]
    headers: HashMap<String, String>,
    #[serde(default)]
    content: Value,
}

/// An effect that fails.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FailedEffect {
    error: Problematic,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Problematic {
    #[serde(rename = "type")]
    kind: String,
    status: u16,
    #[serde(default)]
    title: Option<String>,
    #[serde(default)]
    detail: Option<String>,
}

/// The result that a response stands for: an error, a whole HTTP response, the content of a
/// response, or the output of a workflow.
fn effect_result(effect: &Effect, response: &Value) -> EffectResult {
    if let Ok(FailedEffect { error }) = FailedEffect::deserialize(response) {
        return EffectResult::Failed(Failure {
            title: error.title.unwrap_or_else(|| "Error".to_owned()),
            detail: error.detail.unwrap_or_default(),
            kind: error.kind,
            status: error.status,
        });
    }
    match (&effect.request, WholeResponse::deserialize(response)) {
        (EffectRequest::Workflow(_), _) => EffectResult::Output(response.clone()),
        (EffectRequest::Http(_), Ok(whole)) => {
            let mut headers: Vec<_> = whole.headers.into_iter().collect();
            headers.sort();
            http(whole.status_code, headers, &whole.content)
        }
        (EffectRequest::Http(_), Err(_)) => http(200, Vec::new(), response),
    }
}

fn http(status: u16, headers: Vec<(String, String)>, content: &Value) -> EffectResult {
    let headers = headers
        .into_iter()
        .map(|(name, value)| (name.to_ascii_lowercase(), value));
    let mut headers: Vec<(String, String)> = headers.collect();
    let text = match content {
        Value::String(text) => text.clone(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
            if !headers.iter().any(|(name, _)| name == "content-type") {
                headers.push(("content-type".to_owned(), "application/json".to_owned()));
            }
            content.to_string()
        }
    };
    EffectResult::Http(HttpResponse {
        status,
        headers,
        body: Body::Text(text),
    })
}
