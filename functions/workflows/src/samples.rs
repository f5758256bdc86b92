//! Samples: what a workflow makes of an event.

pub(crate) mod changes;

use std::{collections::HashMap, time::Duration};

use aias_domain::{
    id::{RunId, WorkflowId},
    plan::Limits,
    run::RunError,
    sample::{MAX_SAMPLE_BYTES, MAX_SAMPLES, Sample, SampleName},
    secret::name_placeholders,
    timestamp,
    verification::catalogue,
};
use aias_engine::did_you_mean;
use aias_platform::{
    http::{
        Change, Context, Editor, JsonBody, Once, Path, Problem, RequestBody, Result, Viewer,
        WithHeader as _, kinds, openapi, present,
        response::{no_content, object},
        shown,
    },
    recording::Recording,
    store::CompressedRecording,
};
use aias_sandbox::Definition;
use axum::http::{StatusCode, header::LOCATION};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::ToSchema;

use crate::{
    App, definition,
    dry_run::{self, MOST, host::DryRunHost, host::bounded},
    find,
};

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
    /// As `input`.
    responses: Value,
    /// The output, computed again with the sample's version, as `input`; `null` if it faults.
    output: Value,
    /// Whether the output has the digest. `false` if this release of AIAS computes the version
    /// differently.
    reproducible: bool,
    /// `/input`, `/responses` and `/output`, if they are not whole.
    truncated: Vec<&'static str>,
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
    catalogue::sample_event(source, ctx.now).ok_or_else(|| {
        let near = did_you_mean(source, catalogue::names());
        let detail = format!("not the name of a source{near}");
        Problem::invalid_member("/source", detail)
    })
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
    let (workflow, samples) = tokio::join!(find(&store, id), store.samples(id));
    workflow?;
    let data: Vec<_> = samples?.iter().map(|own| head_view(&own.value)).collect();
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
    let input = bounded(recording.input, "/input", &mut truncated);
    let responses = Value::Object(recording.responses.into_iter().collect());
    let responses = bounded(responses, "/responses", &mut truncated);
    let reproducible = output
        .as_ref()
        .is_some_and(|(_, digest)| *digest == sample.output_digest);
    let output = output.map(|(output, _)| bounded(output, "/output", &mut truncated));
    let view = SampleView {
        head: head_view(&sample),
        input,
        responses,
        output: output.unwrap_or_default(),
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
