//! Samples: what a workflow makes of an event, and the check of a new version against that.

use std::{collections::HashMap, fmt::Write as _};

use aias_domain::{
    id::{RunId, WorkflowId},
    plan::Limits,
    run::RunError,
    sample::{MAX_SAMPLE_BYTES, MAX_SAMPLES, Sample, SampleName},
    secret::name_placeholders,
    timestamp,
    verification::catalogue,
    workflow::Workflow,
};
use aias_engine::{Excerpt, did_you_mean};
use aias_platform::{
    http::{
        Change, Context, Editor, JsonBody, Once, Path, Problem, RequestBody, Result, Viewer,
        WithHeader as _, kinds, openapi, present,
        response::{no_content, object},
        shown,
    },
    recording::Recording,
    store::{CompressedRecording, Stored},
};
use aias_sandbox::Definition;
use axum::http::{StatusCode, header::LOCATION};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::time::{Duration, Instant};
use utoipa::ToSchema;

use crate::{
    App, definition,
    dry_run::{self, MOST, host::DryRunHost, host::MAX_PART_BYTES},
    find,
};

/// The largest outputs whose difference is shown, in bytes of JSON.
const MAX_COMPARED: usize = 256 * 1024;

/// The largest difference that is shown, in bytes of JSON.
const MAX_PATCH_BYTES: usize = 16 * 1024;

/// An event whose artifact is kept: of a past run, of a source, or given.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewSample {
    name: SampleName,
    /// A past run of the workflow, whose input and results are used.
    run_id: Option<RunId>,
    /// A source, whose sample event is used as the body of the input.
    #[schema(example = "github")]
    source: Option<String>,
    /// Any JSON value.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Value)]
    input: Option<Value>,
    /// What calls return, as for a dry run.
    #[serde(default)]
    #[schema(example = json!({"/do/0/getPet": {"id": 1}}))]
    responses: HashMap<String, Value>,
}

impl RequestBody for NewSample {
    fn max_bytes(limits: Option<&Limits>) -> usize {
        limits.map_or(0, |limits| limits.body_bytes)
    }
}

/// A sample, without its data.
#[derive(Serialize, ToSchema)]
#[schema(as = SampleHead)]
pub(crate) struct SampleHeadView {
    name: SampleName,
    /// The version whose artifact it has.
    #[schema(minimum = 1)]
    workflow_version: u32,
    /// Of the canonical JSON (RFC 8785) of the output.
    #[schema(pattern = "^sha256:[0-9a-f]{64}$")]
    output_digest: String,
    /// The past run from which it was made.
    run_id: Option<RunId>,
    /// The source from which it was made.
    source: Option<String>,
    #[schema(format = DateTime)]
    created_at: String,
    /// When its artifact was last accepted.
    #[schema(format = DateTime)]
    updated_at: String,
}

/// A sample.
#[derive(Serialize, ToSchema)]
#[schema(as = Sample)]
struct SampleView {
    #[serde(flatten)]
    head: SampleHeadView,
    /// The start of its JSON as a string if it has more than 1 MiB.
    input: Value,
    responses: HashMap<String, Value>,
    /// The output, computed again with the sample's version; `null` if it has more than 1 MiB.
    output: Value,
    /// Whether the output has the digest. `false` if this release of AIAS computes the version
    /// differently.
    reproducible: bool,
    /// `/input` and `/output`, if they are not whole.
    truncated: Vec<&'static str>,
}

/// A sample whose artifact a new version changes.
#[derive(Serialize, ToSchema)]
struct ChangedSample {
    name: SampleName,
    /// The error with which the new version ends; `null` if it has an output.
    error: Option<RunError>,
    /// A JSON patch (RFC 6902) from the sample's output to that of the new version; `null` if an
    /// output is missing or large.
    output_patch: Value,
}

fn head_view(sample: &Sample) -> SampleHeadView {
    SampleHeadView {
        name: sample.name.clone(),
        workflow_version: sample.workflow_version,
        output_digest: sample.output_digest.clone(),
        run_id: sample.run_id,
        source: sample.source.clone(),
        created_at: timestamp::format(sample.created_at),
        updated_at: timestamp::format(sample.updated_at),
    }
}

/// The output of a definition and its digest.
async fn output_of<Q>(
    ctx: &Context<App, Q>,
    definition: String,
    recording: Recording,
    time: Duration,
) -> std::result::Result<(Value, String), RunError> {
    let host = DryRunHost::new(&ctx.app.api.clock, ctx.now, false);
    let nonce = recording.secret_nonce.clone();
    let limits = &ctx.caller.limits;
    let definition = Definition::new(definition);
    let followed = host.follow(&ctx.app.sandbox, limits, definition, recording, time);
    let (mut output, digest) = followed.await.ended?;
    name_placeholders(&mut output, &nonce);
    Ok((output, digest))
}

/// Keep a sample
///
/// Computes the newest version on the event, and keeps the artifact. A later version that gives
/// another artifact is refused with `sample-changed`, unless its request accepts that. Nothing is
/// called.
#[utoipa::path(
    post,
    path = "/api/workflows/{id}/samples",
    tag = "workflows",
    params(("id" = WorkflowId, Path), openapi::IdempotencyKey),
    request_body = NewSample,
    responses((
        status = 201, description = "The sample", body = SampleHeadView,
        headers(("etag" = String), ("location" = String)),
    )),
    extensions(
        ("x-role" = json!("editor")),
        ("x-problems" = json!(["conflict", "input-gone", "journal-gone", "sample-faulted", "too-many-samples"])),
    ),
)]
pub(crate) async fn create_sample(
    ctx: Editor<App>,
    Path(id): Path<WorkflowId>,
    body: JsonBody<NewSample>,
) -> Result {
    let create = async |once: Once<'_>| {
        let store = ctx.store();
        let mut head = find(&store, id).await?;
        if head.value.samples >= MAX_SAMPLES {
            return Err(Problem::new(&kinds::TOO_MANY_SAMPLES)
                .detail(format!("a workflow has at most {MAX_SAMPLES} samples")));
        }
        let number = head.value.latest;
        let version = store.version(id, number).await?;
        let text = version.ok_or_else(Problem::not_found)?.definition;
        let limits = &ctx.caller.limits;
        let compiled = definition::check(&ctx.app.sandbox, &text, limits.computing).await?;
        let given = &body.value;
        if let Some(calls) = &compiled.calls {
            dry_run::check_references(calls, &given.responses)?;
        }
        let recording = recording_of(&ctx, id, given).await?;
        let compressed = CompressedRecording::of(&recording)?.ok_or_else(|| {
            let detail = format!(
                "the input and the results have more than {MAX_SAMPLE_BYTES} bytes of compressed JSON"
            );
            Problem::invalid_member("", detail)
        })?;
        let output = output_of(&ctx, text, recording, MOST).await;
        let (_, output_digest) = output.map_err(|error| {
            let detail = error.detail.clone().unwrap_or_else(|| error.title.clone());
            Problem::new(&kinds::SAMPLE_FAULTED)
                .detail(format!("{}: {detail}", error.code))
                .member("error", shown(&error))
        })?;
        let sample = Sample {
            name: given.name.clone(),
            workflow_version: number,
            output_digest,
            run_id: given.run_id,
            source: given.source.clone(),
            created_at: ctx.now,
            updated_at: ctx.now,
        };
        head.value.samples += 1;
        let view = head_view(&sample);
        let path = format!("/api/workflows/{id}/samples/{}", sample.name);
        let response = object(StatusCode::CREATED, &view)?.with(LOCATION, path);
        let change = Change::created("sample", &audited_id(id, &sample.name), shown(&view));
        ctx.create(&once, change, response, async |store, sealed| {
            store
                .create_sample(&head, &sample, compressed, sealed)
                .await
        })
        .await
    };
    ctx.once(&body.bytes, create).await
}

fn audited_id(id: WorkflowId, name: &SampleName) -> String {
    format!("{id}/{name}")
}

/// The recording of the one event that a request names.
async fn recording_of(ctx: &Context<App>, id: WorkflowId, given: &NewSample) -> Result<Recording> {
    let responses = given.responses.clone();
    match (given.run_id, &given.source, &given.input) {
        (Some(run_id), None, None) => {
            let run = ctx.store().run(run_id).await?;
            if run.is_some_and(|run| run.run.workflow_id != id) {
                let detail = "the run is of another workflow";
                return Err(Problem::invalid_member("/run_id", detail));
            }
            dry_run::record(ctx, Some(run_id), None, responses).await
        }
        (None, Some(source), None) => {
            let input = event_of(source, ctx)?;
            dry_run::record(ctx, None, Some(input), responses).await
        }
        (None, None, Some(input)) => {
            dry_run::record(ctx, None, Some(input.clone()), responses).await
        }
        _ => Err(Problem::invalid_member(
            "",
            "a sample has exactly one of `run_id`, `source` and `input`",
        )),
    }
}

/// The input of a run with the sample event of a source.
fn event_of(source: &str, ctx: &Context<App>) -> Result<Value> {
    let Some(guide) = catalogue::guide(source) else {
        let near = did_you_mean(source, catalogue::names());
        let detail = format!("not the name of a source{near}");
        return Err(Problem::invalid_member("/source", detail));
    };
    Ok(json!({
        "id": format!("{source}-sample"),
        "endpoint_id": "",
        "received_at": timestamp::format(ctx.now),
        "method": "POST",
        "headers": {},
        "query": {},
        "content_type": "application/json",
        "body": guide.sample,
    }))
}

/// List a workflow's samples
#[utoipa::path(
    get,
    path = "/api/workflows/{id}/samples",
    tag = "workflows",
    params(("id" = WorkflowId, Path)),
    responses((
        status = 200, description = "All samples, of which there are at most 20",
        body = openapi::Page<SampleHeadView>,
    )),
    extensions(("x-role" = json!("viewer"))),
)]
pub(crate) async fn list_samples(ctx: Viewer<App>, Path(id): Path<WorkflowId>) -> Result {
    let store = ctx.store();
    find(&store, id).await?;
    let samples = store.samples(id).await?;
    let data: Vec<_> = samples.iter().map(|own| head_view(&own.value)).collect();
    object(StatusCode::OK, &json!({"data": data, "next_cursor": null}))
}

/// Get a sample
///
/// With its event, and its output, which is computed again.
#[utoipa::path(
    get,
    path = "/api/workflows/{id}/samples/{name}",
    tag = "workflows",
    params(("id" = WorkflowId, Path), ("name" = SampleName, Path)),
    responses((
        status = 200, description = "The sample", body = SampleView,
        headers(("etag" = String)),
    )),
    extensions(("x-role" = json!("viewer"))),
)]
pub(crate) async fn get_sample(
    ctx: Viewer<App>,
    Path((id, name)): Path<(WorkflowId, SampleName)>,
) -> Result {
    let store = ctx.store();
    let (sample, recording) = tokio::join!(store.sample(id, &name), store.recording(id, &name));
    let sample = sample?.ok_or_else(Problem::not_found)?.value;
    let recording = recording?.ok_or_else(Problem::not_found)?;
    let version = store.version(id, sample.workflow_version).await?;
    let text = version.ok_or_else(Problem::not_found)?.definition;
    let output = output_of(&ctx, text, recording.clone(), MOST).await.ok();
    let mut truncated = Vec::new();
    let input = match Excerpt::of(recording.input, MAX_PART_BYTES) {
        Excerpt::Whole(input) => input,
        Excerpt::Start { text, .. } => {
            truncated.push("/input");
            text.into()
        }
    };
    let reproducible = output
        .as_ref()
        .is_some_and(|(_, digest)| *digest == sample.output_digest);
    let output = output.map(|(output, _)| Excerpt::of(output, MAX_PART_BYTES));
    let output = match output {
        None => Value::Null,
        Some(Excerpt::Whole(output)) => output,
        Some(Excerpt::Start { text, .. }) => {
            truncated.push("/output");
            text.into()
        }
    };
    let view = SampleView {
        head: head_view(&sample),
        input,
        responses: recording.responses,
        output,
        reproducible,
        truncated,
    };
    object(StatusCode::OK, &view)
}

/// Delete a sample
#[utoipa::path(
    delete,
    path = "/api/workflows/{id}/samples/{name}",
    tag = "workflows",
    params(("id" = WorkflowId, Path), ("name" = SampleName, Path)),
    responses((status = 204, description = "The sample is deleted")),
    extensions(("x-role" = json!("editor")), ("x-problems" = json!(["conflict"]))),
)]
pub(crate) async fn delete_sample(
    ctx: Editor<App>,
    Path((id, name)): Path<(WorkflowId, SampleName)>,
) -> Result {
    let store = ctx.store();
    let (head, sample) = tokio::join!(find(&store, id), store.sample(id, &name));
    let (mut head, sample) = (head?, sample?.ok_or_else(Problem::not_found)?);
    head.value.samples = head.value.samples.saturating_sub(1);
    let before = shown(&head_view(&sample.value));
    let change = Change::deleted("sample", &audited_id(id, &name), before);
    ctx.change(change, async |store| {
        store.delete_sample(&head, &sample).await
    })
    .await?;
    Ok(no_content())
}

/// The names in `accept_samples`.
pub(crate) fn accepted_names(text: Option<&str>) -> Result<Vec<SampleName>> {
    let names = text.unwrap_or_default().split(',').map(str::trim);
    let names = names.filter(|name| !name.is_empty()).map(str::parse);
    let names: std::result::Result<Vec<SampleName>, _> = names.collect();
    names.map_err(|error| {
        Problem::new(&kinds::BAD_PARAMETER).detail(format!("`accept_samples`: {error}"))
    })
}

/// Computes a new version on all samples. Returns the samples whose artifacts it changes, as the
/// caller accepts them.
pub(crate) async fn check<Q>(
    ctx: &Context<App, Q>,
    workflow: &Workflow,
    definition: &str,
    accepted: &[SampleName],
) -> Result<Vec<Stored<Sample>>> {
    let store = ctx.store();
    let samples = match workflow.samples {
        0 => Vec::new(),
        _ => store.samples(workflow.id).await?,
    };
    let names = || samples.iter().map(|own| own.value.name.as_str());
    if let Some(unknown) = accepted
        .iter()
        .find(|name| !names().any(|own| own == name.as_str()))
    {
        let near = did_you_mean(unknown.as_str(), names());
        return Err(Problem::new(&kinds::BAD_PARAMETER).detail(format!(
            "`accept_samples`: the workflow has no sample `{unknown}`{near}"
        )));
    }
    let end = Instant::now() + MOST;
    let (mut changed, mut refused) = (Vec::new(), Vec::new());
    for sample in samples {
        let own = &sample.value;
        let Some(recording) = store.recording(workflow.id, &own.name).await? else {
            // Deleted meanwhile.
            continue;
        };
        let time = end.saturating_duration_since(Instant::now());
        let output = output_of(ctx, definition.to_owned(), recording.clone(), time).await;
        match output {
            Ok((_, digest)) if digest == own.output_digest => {}
            Ok((_, digest)) if accepted.contains(&own.name) => {
                let value = Sample {
                    workflow_version: workflow.latest + 1,
                    output_digest: digest,
                    updated_at: ctx.now,
                    ..own.clone()
                };
                changed.push(Stored { value, ..sample });
            }
            Ok((output, _)) => {
                let time = end.saturating_duration_since(Instant::now());
                let patch = patch(ctx, workflow.id, own, recording, &output, time).await?;
                refused.push(ChangedSample {
                    name: own.name.clone(),
                    error: None,
                    output_patch: patch,
                });
            }
            Err(error) => refused.push(ChangedSample {
                name: own.name.clone(),
                error: Some(error),
                output_patch: Value::Null,
            }),
        }
    }
    if refused.is_empty() {
        return Ok(changed);
    }
    Err(sample_changed(&refused))
}

/// The difference from the output of a sample to another one.
async fn patch<Q>(
    ctx: &Context<App, Q>,
    workflow: WorkflowId,
    sample: &Sample,
    recording: Recording,
    output: &Value,
    time: Duration,
) -> Result<Value> {
    let version = ctx
        .store()
        .version(workflow, sample.workflow_version)
        .await?;
    let text = version.ok_or_else(Problem::not_found)?.definition;
    let is_small = |value: &Value| value.to_string().len() <= MAX_COMPARED;
    let before = output_of(ctx, text, recording, time).await;
    let patch = before
        .ok()
        .filter(|(before, _)| is_small(before) && is_small(output))
        .and_then(|(before, _)| serde_json::to_value(json_patch::diff(&before, output)).ok());
    Ok(patch
        .filter(|patch| patch.to_string().len() <= MAX_PATCH_BYTES)
        .unwrap_or_default())
}

fn sample_changed(refused: &[ChangedSample]) -> Problem {
    let (mut changed, mut faulted) = (Vec::new(), Vec::new());
    for sample in refused {
        let list = match sample.error {
            None => &mut changed,
            Some(_) => &mut faulted,
        };
        list.push(sample.name.as_str());
    }
    let mut detail = String::new();
    if !changed.is_empty() {
        let names = changed.join(",");
        let _ = write!(
            detail,
            "the version gives other artifacts; to accept them, repeat the request with `accept_samples={names}`"
        );
    }
    if !faulted.is_empty() {
        let separator = if detail.is_empty() { "" } else { ". " };
        let names = faulted.join(", ");
        let _ = write!(
            detail,
            "{separator}The version faults on: {names}; correct it, or delete these samples"
        );
    }
    Problem::new(&kinds::SAMPLE_CHANGED)
        .detail(detail)
        .member("samples", shown(&refused))
}
