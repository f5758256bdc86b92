//! Dry runs: the same engine, with responses supplied by the caller or by a past run. Nothing is
//! stored or called, and waits end immediately.

pub(crate) mod host;
mod responses;

use std::{collections::HashMap, time::Duration};

use aias_domain::{
    id::{RunId, WorkflowId},
    plan::Limits,
    run::{RunError, Status},
    secret::name_placeholders,
    workflow::MAX_DEFINITION_BYTES,
};
use aias_engine::did_you_mean;
use aias_platform::{
    clock::{new_secret_nonce, random_id},
    http::{
        Context, Editor, Fault, JsonBody, Path, Problem, RequestBody, Result, kinds, present,
        response::object,
    },
    journal,
    recording::Recording,
    run_log::LogEntryView,
    runs::read_input,
    step_view::StepView,
};
use aias_sandbox::Definition;
use axum::http::StatusCode;
use host::{DryRunHost, Followed, bounded};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::{App, definition, find};

/// The time limit of a dry run.
pub(crate) const MOST: Duration = Duration::from_secs(20);

/// The most log entries in the response.
const MAX_LOGS: usize = 1_000;

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
    /// The output; `null` for a faulted run, and the start of its JSON as a string if it has more
    /// than 1 MiB.
    output: Value,
    /// Of the canonical JSON (RFC 8785) of the whole output.
    output_digest: Option<String>,
    /// `/output`, if it is not whole.
    truncated: Vec<&'static str>,
    error: Option<RunError>,
    /// At most 1,000 entries.
    logs: Vec<LogEntryView>,
    /// The data of the steps, at most 100 and 1 MiB.
    steps: Vec<StepView>,
    /// The emitted `CloudEvents`, at most 100 and 1 MiB.
    events: Vec<Value>,
    /// Probable mistakes in the definition of this request.
    warnings: Vec<Fault>,
}

impl Followed {
    fn view(self, warnings: Vec<Fault>) -> DryRunResult {
        let mut truncated = Vec::new();
        let (status, output, output_digest, error) = match self.ended {
            Ok((output, digest)) => {
                let output = bounded(output, "/output", &mut truncated);
                (Status::Completed, output, Some(digest), None)
            }
            Err(error) => (Status::Faulted, Value::Null, None, Some(error)),
        };
        let log = self.log.into_iter().take(MAX_LOGS);
        DryRunResult {
            status,
            output,
            output_digest,
            truncated,
            error,
            logs: log.map(LogEntryView::from).collect(),
            steps: self.steps,
            events: self.events,
            warnings,
        }
    }
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
pub(crate) fn check_references(calls: &[String], responses: &HashMap<String, Value>) -> Result<()> {
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

/// A recording of a past run, or of a new one. With the identity of the past run, the workflow makes
/// the same requests.
pub(crate) async fn record<Q>(
    ctx: &Context<App, Q>,
    run_id: Option<RunId>,
    input: Option<Value>,
    responses: HashMap<String, Value>,
) -> Result<Recording> {
    let Some(id) = run_id else {
        return Ok(Recording {
            run_id: RunId::new(ctx.now, random_id()),
            started_at: ctx.now,
            secret_nonce: new_secret_nonce(),
            input: input.unwrap_or_default(),
            responses,
            journal: Vec::new(),
        });
    };
    let (store, blobs) = (ctx.store(), &ctx.app.intake.blobs);
    let Some(found) = store.run(id).await? else {
        return Err(Problem::invalid_member("/run_id", "the run does not exist"));
    };
    let (journal, bytes) = journal::read(&store, blobs, id).await?;
    if bytes > MAX_JOURNAL_BYTES {
        return Err(Problem::new(&kinds::JOURNAL_GONE)
            .detail("the journal of the run is too large for a dry run"));
    }
    Ok(Recording {
        run_id: id,
        started_at: found.run.created_at,
        secret_nonce: found.run.secret_nonce.unwrap_or_else(new_secret_nonce),
        input: match input {
            Some(input) => input,
            None => read_input(&store, blobs, &found.input).await?,
        },
        responses,
        journal,
    })
}

async fn run(ctx: &Editor<App>, given: Given) -> Result {
    if let Some(calls) = &given.calls {
        check_references(calls, &given.responses)?;
    }
    let recording = record(ctx, given.run_id, given.input, given.responses).await?;
    let nonce = recording.secret_nonce.clone();
    let definition = Definition::new(given.definition);
    let host = DryRunHost::new(&ctx.app.api.clock, ctx.now, true);
    let (sandbox, limits) = (&ctx.app.sandbox, &ctx.caller.limits);
    let result = host
        .follow(sandbox, limits, definition, recording, MOST)
        .await;
    let mut result =
        serde_json::to_value(result.view(given.warnings)).map_err(Problem::internal)?;
    name_placeholders(&mut result, &nonce);
    object(StatusCode::OK, &result)
}
