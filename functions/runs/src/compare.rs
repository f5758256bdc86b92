//! Compares two runs.

use aias_domain::id::RunId;
use aias_platform::{
    http::{Parameters, Path, Problem, Result, Viewer, response::object},
    runs::read_output,
    store::StoredRun,
};
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::ToSchema;

use crate::{App, find, recompute::for_each_step};

/// How many steps of each run are compared.
const MAX_STEPS: usize = 1_000;

#[derive(Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct CompareQuery {
    /// The other run.
    with: RunId,
}

/// The differences between two runs.
#[derive(Serialize, ToSchema)]
pub(crate) struct RunComparison {
    /// Whether the outputs, and the compared steps, are equal.
    equal: bool,
    /// A JSON patch (RFC 6902) from the output of this run to that of the other; `null` if an output
    /// is missing or larger than 256 KiB.
    #[schema(value_type = Option<Vec<Object>>)]
    output_patch: Option<Value>,
    /// A JSON patch from the steps of this run to those of the other, without their data.
    #[schema(value_type = Vec<Object>)]
    steps_patch: Value,
    /// The first step that differs; `null` if there is none.
    first_difference: Option<FirstDifference>,
    /// Whether a run has more than the 1,000 steps that are compared.
    steps_truncated: bool,
}

/// The first step that differs.
#[derive(Serialize, ToSchema)]
struct FirstDifference {
    /// The number of the step, from 0.
    index: usize,
    /// The step of this run, with its data; `null` if it has fewer steps.
    #[schema(value_type = Option<aias_platform::step_view::StepView>)]
    this: Value,
    /// The step of the other run.
    #[schema(value_type = Option<aias_platform::step_view::StepView>)]
    other: Value,
}

/// Compare two runs
///
/// Both are computed again, as for the list of steps. Steps are equal if task, status, input, output
/// and error are.
#[utoipa::path(
    get,
    path = "/api/runs/{id}/compare",
    tag = "runs",
    params(("id" = RunId, Path), CompareQuery),
    responses((
        status = 200, description = "The differences", body = RunComparison,
        headers(("etag" = String)),
    )),
    extensions(
        ("x-role" = json!("viewer")),
        ("x-problems" = json!(["run-not-verifiable", "input-gone", "journal-gone"])),
    ),
)]
pub(crate) async fn compare_runs(
    ctx: Viewer<App, Parameters<CompareQuery>>,
    Path(id): Path<RunId>,
) -> Result {
    let (store, blobs) = (ctx.store(), &ctx.app.intake.blobs);
    let (this, other) = (find(&store, id).await?, store.run(ctx.query.0.with).await?);
    let other = other.ok_or_else(|| {
        Problem::new(&aias_platform::http::kinds::BAD_PARAMETER)
            .detail("`with`: the run does not exist")
    })?;
    let outputs = tokio::try_join!(
        read_output(&store, blobs, &this),
        read_output(&store, blobs, &other)
    )?;
    let output_patch = match outputs {
        (Some(this), Some(other)) => Some(patch(&this, &other)),
        _ => None,
    };
    let ours = steps_of(&ctx, &this).await?;
    let theirs = steps_of(&ctx, &other).await?;
    let length = ours.len().max(theirs.len());
    let differs = |index: &usize| summary_at(&ours, *index) != summary_at(&theirs, *index);
    let first_difference = (0..length).find(differs).map(|index| {
        let step = |steps: &[Value]| steps.get(index).cloned().unwrap_or_default();
        FirstDifference {
            index,
            this: step(&ours),
            other: step(&theirs),
        }
    });
    let summaries = |steps: &[Value]| Value::Array(steps.iter().map(summary).collect());
    let same_end = this.run.status == other.run.status
        && this.run.output_digest == other.run.output_digest
        && this.run.error == other.run.error;
    let comparison = RunComparison {
        equal: first_difference.is_none() && same_end,
        output_patch,
        steps_patch: patch(&summaries(&ours), &summaries(&theirs)),
        first_difference,
        steps_truncated: length == MAX_STEPS,
    };
    object(StatusCode::OK, &comparison)
}

fn patch(from: &Value, to: &Value) -> Value {
    serde_json::to_value(json_patch::diff(from, to)).unwrap_or_default()
}

async fn steps_of(
    ctx: &Viewer<App, Parameters<CompareQuery>>,
    run: &StoredRun,
) -> Result<Vec<Value>> {
    let mut steps = Vec::new();
    for_each_step(ctx, run, |step| {
        steps.push(step);
        steps.len() < MAX_STEPS
    })
    .await?;
    Ok(steps)
}

/// The members by which steps are compared.
fn summary(step: &Value) -> Value {
    json!({
        "task": step["task"],
        "status": step["status"],
        "attempt": step["attempt"],
        "input_digest": step["input_digest"],
        "output_digest": step["output_digest"],
        "error": step["error"],
    })
}

fn summary_at(steps: &[Value], index: usize) -> Option<Value> {
    steps.get(index).map(summary)
}
