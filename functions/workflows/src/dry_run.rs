//! Dry runs: the same engine, with responses supplied by the caller or by a past run. Nothing is
//! stored or called, and waits end immediately.

mod responses;

use std::{collections::HashMap, time::Duration};

use aias_domain::{
    canonical,
    id::{RunId, WorkflowId},
    plan::Limits,
    run::{RunError, Status},
    secret::name_placeholders,
    workflow::MAX_DEFINITION_BYTES,
};
use aias_engine::{
    did_you_mean,
    journal::{Entry, EntryEvent, PendingEffects},
};
use aias_platform::{
    clock::{Clock, new_secret_nonce, random_id},
    http::{
        Editor, Fault, JsonBody, Path, Problem, RequestBody, Result, kinds, present,
        response::object,
    },
    journal,
    run_log::{LogEntryView, RunLog},
    runs::read_input,
    step_view::StepView,
    store::StoredRun,
};
use aias_sandbox::{Computation, ComputationInput, Definition, Report};
use axum::http::StatusCode;
use jiff::Timestamp;
use responses::Responses;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::time::timeout;
use utoipa::ToSchema;

use crate::{App, definition, find};

/// The time limit of a dry run.
const MOST: Duration = Duration::from_secs(20);

/// The most log entries, steps and events in the response.
const MAX_LOGS: usize = 1_000;
const MAX_STEPS: usize = 100;
const MAX_EVENTS: usize = 100;

/// The largest journal of a past run that is used, in bytes of JSON.
const MAX_JOURNAL_BYTES: usize = 16 * 1024 * 1024;

/// The input and responses of a dry run.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct DryRun {
    /// The version to run; the newest one by default.
    #[schema(minimum = 1)]
    version: Option<u32>,
    /// A past run. Its input is used unless `input` is given, and its results are used for equal
    /// requests.
    run_id: Option<RunId>,
    /// Any JSON value; `null` by default.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Value)]
    input: Option<Value>,
    /// What calls return instead of being made, by task reference: the content of a response, a
    /// whole response (`statusCode`, `headers`, `content`), an `error` (`type`, `status`), or a
    /// `sequence` of these, one for each request; the last one repeats.
    #[serde(default)]
    #[schema(example = json!({"/do/0/getPet": {"id": 1}}))]
    responses: HashMap<String, Value>,
}

/// A dry run of a definition that is not stored.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct DefinitionDryRun {
    /// A document of the CNCF Serverless Workflow DSL 1.0, of at most 256 KiB.
    #[schema(value_type = Object, example = json!({
        "document": {"dsl": "1.0.3", "namespace": "shop", "name": "order", "version": "1.0.0"},
        "do": [{"report": {"set": {"total": "${ [.body.line_items[].price] | add }"}}}],
    }))]
    definition: Value,
    /// A past run. Its input is used unless `input` is given, and its results are used for equal
    /// requests.
    run_id: Option<RunId>,
    /// Any JSON value; `null` by default.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Value)]
    input: Option<Value>,
    /// As for the dry run of a stored workflow.
    #[serde(default)]
    #[schema(example = json!({"/do/0/getPet": {"sequence": [{"error": {"type": "https://serverlessworkflow.io/spec/1.0.0/errors/communication", "status": 503}}, {"id": 1}]}}))]
    responses: HashMap<String, Value>,
}

impl RequestBody for DryRun {
    fn max_bytes(limits: Option<&Limits>) -> usize {
        limits.map_or(0, |limits| limits.body_bytes)
    }
}

impl RequestBody for DefinitionDryRun {
    fn max_bytes(limits: Option<&Limits>) -> usize {
        limits.map_or(0, |limits| limits.body_bytes + MAX_DEFINITION_BYTES)
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
    /// The data of the steps, at most 100.
    steps: Vec<StepView>,
    /// The emitted `CloudEvents`, at most 100.
    events: Vec<Value>,
    /// Probable mistakes in the definition of this request.
    warnings: Vec<Fault>,
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
    extensions(("x-role" = json!("editor")), ("x-problems" = json!(["input-gone", "journal-gone"]))),
)]
pub(crate) async fn test_workflow(
    ctx: Editor<App>,
    Path(id): Path<WorkflowId>,
    JsonBody { value: body, .. }: JsonBody<DryRun>,
) -> Result {
    let store = ctx.store();
    let head = find(&store, id).await?.value;
    let number = body.version.unwrap_or(head.latest);
    if !head.has_version(number) {
        let detail = format!("the workflow has versions 1 to {}", head.latest);
        return Err(Problem::invalid_member("/version", detail));
    }
    let version = store.version(head.id, number).await?;
    let text = version.ok_or_else(Problem::not_found)?.definition;
    let computing = ctx.caller.limits.computing;
    let compiled = definition::check(&ctx.app.sandbox, &text, computing).await?;
    let given = Given {
        definition: text,
        calls: compiled.calls,
        warnings: Vec::new(),
        run_id: body.run_id,
        input: body.input,
        responses: body.responses,
    };
    run(&ctx, given).await
}

/// Test a definition that is not stored
///
/// Nothing is stored or called, and waits end immediately.
#[utoipa::path(
    post,
    path = "/api/workflows/test",
    tag = "workflows",
    request_body = DefinitionDryRun,
    responses((
        status = 200, description = "The result of the run", body = DryRunResult,
        headers(("etag" = String)),
    )),
    extensions(
        ("x-role" = json!("editor")),
        ("x-problems" = json!(["invalid-workflow", "input-gone", "journal-gone"])),
    ),
)]
pub(crate) async fn test_definition(
    ctx: Editor<App>,
    JsonBody { value: body, bytes }: JsonBody<DefinitionDryRun>,
) -> Result {
    let definition = definition::compile(&ctx, body.definition, &bytes, definition::PREFIX).await?;
    let given = Given {
        definition: definition.text,
        calls: definition.calls,
        warnings: definition.warnings,
        run_id: body.run_id,
        input: body.input,
        responses: body.responses,
    };
    run(&ctx, given).await
}

/// A definition and the data of its dry run.
struct Given {
    definition: String,
    /// The references of the tasks that request effects, if they are not too long.
    calls: Option<Vec<String>>,
    warnings: Vec<Fault>,
    run_id: Option<RunId>,
    input: Option<Value>,
    responses: HashMap<String, Value>,
}

/// How many faults, and how many known references, a problem shows.
const MAX_SHOWN: usize = 20;

/// Refuses responses for tasks that request no effect.
fn check_references(calls: &[String], responses: &HashMap<String, Value>) -> Result<()> {
    let unknown = responses.keys().filter(|name| !calls.contains(name));
    let mut unknown: Vec<&String> = unknown.collect();
    if unknown.is_empty() {
        return Ok(());
    }
    unknown.sort();
    let known = match calls {
        [] => "the workflow has none".to_owned(),
        _ if calls.len() > MAX_SHOWN => format!("the workflow has {} of them", calls.len()),
        _ => format!("they are: {}", calls.join(", ")),
    };
    let fault = |name: &String| {
        let mut pointer = "/responses".to_owned();
        aias_domain::json::push_token(&mut pointer, name);
        let near = did_you_mean(name, calls.iter().map(String::as_str));
        let detail = format!("not the reference of a task that makes a call; {known}{near}");
        Fault::new(pointer, detail)
    };
    let faults = unknown.into_iter().take(MAX_SHOWN).map(fault);
    Err(Problem::invalid(faults.collect()))
}

/// The past run of a dry run.
async fn past_run(ctx: &Editor<App>, id: RunId) -> Result<(StoredRun, Vec<Entry>)> {
    let (store, blobs) = (ctx.store(), &ctx.app.intake.blobs);
    let Some(found) = store.run(id).await? else {
        return Err(Problem::invalid_member("/run_id", "the run does not exist"));
    };
    let (journal, bytes) = journal::read(&store, blobs, id).await?;
    if bytes > MAX_JOURNAL_BYTES {
        return Err(Problem::new(&kinds::JOURNAL_GONE)
            .detail("the journal of the run is too large for a dry run"));
    }
    Ok((found, journal))
}

async fn run(ctx: &Editor<App>, given: Given) -> Result {
    if let Some(calls) = &given.calls {
        check_references(calls, &given.responses)?;
    }
    let (app, caller) = (&ctx.app, &ctx.caller);
    let past = match given.run_id {
        None => None,
        Some(id) => Some(past_run(ctx, id).await?),
    };
    let input = match (given.input, &past) {
        (Some(input), _) => input,
        (None, None) => Value::Null,
        (None, Some((run, _))) => read_input(&ctx.store(), &app.intake.blobs, &run.input).await?,
    };
    // With the identity of the past run, the workflow makes the same requests.
    let (run_id, started_at, secret_nonce) = match &past {
        None => (RunId::new(ctx.now, random_id()), ctx.now, None),
        Some((run, _)) => {
            let run = &run.run;
            (run.id, run.created_at, run.secret_nonce.clone())
        }
    };
    let secret_nonce = secret_nonce.unwrap_or_else(new_secret_nonce);
    let input_digest = canonical::digest(&canonical::to_vec(&input));
    let computation = ComputationInput {
        definition: Definition::new(given.definition),
        run_id: run_id.to_string(),
        input,
        started_at,
        max_steps: caller.limits.steps_per_run,
        computing: caller.limits.computing,
        journal: Vec::new(),
        secret_nonce: secret_nonce.clone(),
        with_data: true,
    };
    let mut run_log = RunLog::new(0, 0, ctx.now, ctx.now);
    run_log.started(&input_digest, 1, ctx.now);
    let mut host = DryRunHost {
        responses: Responses::new(given.responses, past.map(|(_, journal)| journal)),
        clock: &app.api.clock,
        now: started_at,
        run_log,
        steps: Vec::new(),
        waiting_steps: Vec::new(),
        events: Vec::new(),
    };
    let ended = host
        .follow(Computation::new(&app.sandbox, computation))
        .await;
    let result = host.finish(ended, given.warnings);
    let mut result = serde_json::to_value(result).map_err(Problem::internal)?;
    name_placeholders(&mut result, &secret_nonce);
    object(StatusCode::OK, &result)
}

struct DryRunHost<'a> {
    responses: Responses,
    clock: &'a Clock,
    now: Timestamp,
    run_log: RunLog,
    steps: Vec<StepView>,
    /// The steps that wait for an effect.
    waiting_steps: Vec<StepView>,
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
                    Report::Step(record) => self.run_log.step(record, self.clock.now()),
                    Report::StepData(data) => {
                        let step = StepView::from(*data);
                        if step.is_waiting() {
                            self.waiting_steps.push(step);
                        } else if self.steps.len() < MAX_STEPS {
                            self.steps.push(step);
                        }
                    }
                    Report::Emitted(_, event) => {
                        if self.events.len() < MAX_EVENTS {
                            self.events.push(event);
                        }
                    }
                    Report::PendingEffects(pending) => {
                        computation.give(self.next(&pending)?).await;
                        self.waiting_steps.clear();
                    }
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
            let (result, at) = self.responses.take(effect)?;
            Some((effect, result, at))
        });
        let event = match (answered, pending.until, pending.effects.first()) {
            (Some((effect, result, at)), ..) => {
                self.now = self.now.max(at.unwrap_or(self.now));
                EntryEvent::EffectCompleted {
                    key: effect.key.clone(),
                    digest: effect.digest(),
                    result,
                }
            }
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

    fn finish(
        mut self,
        ended: std::result::Result<Value, RunError>,
        warnings: Vec<Fault>,
    ) -> DryRunResult {
        let now = self.clock.now();
        let (status, output, error) = match ended {
            Ok(output) => {
                let digest = canonical::digest(&canonical::to_vec(&output));
                self.run_log.completed(&digest, now);
                (Status::Completed, output, None)
            }
            Err(error) => {
                self.run_log.faulted(&error, now);
                (Status::Faulted, Value::Null, Some(error))
            }
        };
        let logs = self.run_log.take().into_iter().take(MAX_LOGS);
        self.steps.append(&mut self.waiting_steps);
        DryRunResult {
            status,
            output,
            error,
            logs: logs.map(LogEntryView::from).collect(),
            steps: self.steps,
            events: self.events,
            warnings,
        }
    }
}
