//! Computes a run again from its version, input and journal, without any call.

use std::time::Duration;

use aias_domain::secret::name_placeholders;
use aias_platform::{
    http::{Context, Problem, Result, kinds},
    journal,
    runs::read_input,
    step_view::StepView,
    store::StoredRun,
};
use aias_sandbox::{Computation, ComputationInput, Report};
use serde_json::Value;
use tokio::time::timeout;

use crate::App;

/// The time limit of the computation.
pub(crate) const MOST: Duration = Duration::from_secs(20);

/// The largest journal for which a run is computed again, in bytes of JSON: this function has
/// 256 MB of memory.
const MAX_JOURNAL_BYTES: usize = 16 * 1024 * 1024;

/// The problem of a run that cannot be computed again.
pub(crate) fn not_verifiable(detail: impl Into<String>) -> Problem {
    Problem::new(&kinds::RUN_NOT_VERIFIABLE).detail(detail)
}

/// The data from which a run is computed. The run must have a version.
pub(crate) async fn input_of<Q>(
    ctx: &Context<App, Q>,
    found: &StoredRun,
    with_data: bool,
) -> Result<ComputationInput> {
    let (store, blobs) = (ctx.store(), &ctx.app.intake.blobs);
    let run = &found.run;
    let version = run.workflow_version.unwrap_or_default();
    let (definition, input, journal) = tokio::join!(
        ctx.app.definitions.get(&store, run.workflow_id, version),
        read_input(&store, blobs, &found.input),
        journal::read(&store, blobs, run.id)
    );
    let definition =
        definition?.map_err(|error| not_verifiable(error.detail.unwrap_or(error.title)))?;
    let (journal, bytes) = journal?;
    if bytes > MAX_JOURNAL_BYTES {
        return Err(not_verifiable(
            "the run's journal is too large to be computed again in a request",
        ));
    }
    Ok(ComputationInput {
        definition,
        run_id: run.id.to_string(),
        input: input?,
        started_at: run.created_at,
        max_steps: ctx.caller.limits.steps_per_run,
        computing: ctx.caller.limits.computing,
        journal,
        secret_nonce: run.secret_nonce.clone().unwrap_or_default(),
        with_data,
    })
}

/// Passes the steps of a run, as in the API, to `take`, as far as the run has executed, until it
/// returns `false`.
pub(crate) async fn for_each_step<Q>(
    ctx: &Context<App, Q>,
    found: &StoredRun,
    mut take: impl FnMut(Value) -> bool,
) -> Result<()> {
    if found.run.workflow_version.is_none() || found.run.started_at.is_none() {
        // The run has not started.
        return Ok(());
    }
    let input = input_of(ctx, found, true).await?;
    let secret_nonce = input.secret_nonce.clone();
    let mut computation = Computation::new(&ctx.app.sandbox, input);
    let stepping = async {
        loop {
            match computation.next().await {
                Report::StepData(data) => {
                    let step = serde_json::to_value(StepView::from(*data));
                    let mut step = step.unwrap_or_default();
                    name_placeholders(&mut step, &secret_nonce);
                    if !take(step) {
                        return;
                    }
                }
                Report::Step(_) | Report::Emitted(..) => {}
                // The run continues from here by itself, or has ended for a reason of its host.
                Report::PendingEffects(_) | Report::Ended(_) => return,
            }
        }
    };
    timeout(MOST, stepping)
        .await
        .map_err(|_| not_verifiable("the computation takes longer than a request may"))
}
