//! The check of a new version against the samples of its workflow.

use std::{fmt::Write as _, time::Duration};

use aias_domain::{
    id::WorkflowId,
    run::RunError,
    sample::{Sample, SampleName},
    workflow::Workflow,
};
use aias_engine::did_you_mean;
use aias_platform::{
    http::{Context, Problem, Result, kinds, shown},
    recording::Recording,
    store::Stored,
};
use serde::Serialize;
use serde_json::Value;
use tokio::time::Instant;

use super::output_of;
use crate::{App, dry_run::MOST};

/// The largest outputs whose difference is shown, in bytes of JSON.
const MAX_COMPARED: usize = 256 * 1024;

/// The largest difference that is shown, in bytes of JSON.
const MAX_PATCH_BYTES: usize = 16 * 1024;

/// A sample whose artifact a new version changes.
#[derive(Serialize)]
struct ChangedSample {
    name: SampleName,
    /// The error with which the new version ends; `null` if it has an output.
    error: Option<RunError>,
    /// A JSON patch (RFC 6902) from the sample's output to that of the new version; `null` if an
    /// output is missing or large.
    output_patch: Value,
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
