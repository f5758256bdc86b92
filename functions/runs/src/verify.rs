//! Verifies that a run is reproducible: computes it again from its version, input and journal,
//! without any call.

use aias_domain::{
    canonical,
    id::RunId,
    run::{RunError, Status},
};
use aias_platform::http::{Editor, Path, Result, response::object};
use aias_sandbox::{Computation, Report};
use axum::http::StatusCode;
use serde::Serialize;
use tokio::time::timeout;
use utoipa::ToSchema;

use crate::{
    App, find,
    recompute::{MOST, input_of, not_verifiable},
};

/// The result of a verification.
#[derive(Serialize, ToSchema)]
pub(crate) struct RunVerification {
    /// Whether the two digests are equal.
    reproducible: bool,
    /// Of the output of the run, or of its error.
    expected_digest: String,
    /// Of the new result; `null` if the computation requests an effect that the journal does not
    /// have.
    actual_digest: Option<String>,
}

/// The digest of an error, with which errors are compared.
fn digest_of(error: &RunError) -> String {
    let value = serde_json::to_value(error).unwrap_or_default();
    canonical::digest(&canonical::to_vec(&value))
}

/// Verify that a run is reproducible
///
/// Computes the run again from its journal. Nothing is called or stored.
#[utoipa::path(
    post,
    path = "/api/runs/{id}/verify",
    tag = "runs",
    params(("id" = RunId, Path)),
    responses((
        status = 200, description = "Whether the run is reproducible", body = RunVerification,
        headers(("etag" = String)),
    )),
    extensions(
        ("x-role" = json!("editor")),
        ("x-problems" = json!(["run-not-verifiable", "input-gone", "journal-gone"])),
    ),
)]
pub(crate) async fn verify_run(ctx: Editor<App>, Path(id): Path<RunId>) -> Result {
    let found = find(&ctx.store(), id).await?;
    let run = &found.run;
    let expected = match (run.status, &run.output_digest, &run.error) {
        (Status::Completed, Some(digest), _) => digest.clone(),
        // An error without an instance does not come from the workflow.
        (Status::Faulted, _, Some(error)) if error.instance.is_some() => digest_of(error),
        _ => {
            return Err(not_verifiable(
                "the run has neither an output nor an error of its workflow",
            ));
        }
    };
    let given = input_of(&ctx, &found, false).await?;
    let actual = actual(Computation::new(&ctx.app.sandbox, given)).await?;
    let verification = RunVerification {
        reproducible: actual.as_ref() == Some(&expected),
        expected_digest: expected,
        actual_digest: actual,
    };
    object(StatusCode::OK, &verification)
}

/// The digest of the result; none if the computation requests an effect that the journal does not
/// have.
async fn actual(mut computation: Computation<'_>) -> Result<Option<String>> {
    let computed = async {
        loop {
            match computation.next().await {
                Report::Step(_) | Report::StepData(_) | Report::Emitted(..) => {}
                Report::PendingEffects(_) => return Ok(None),
                Report::Ended(outcome) => {
                    return match *outcome {
                        Ok(output) => Ok(Some(canonical::digest(&canonical::to_vec(&output)))),
                        Err(error) if error.instance.is_some() => Ok(Some(digest_of(&error))),
                        // An error that does not come from the workflow says nothing about the run.
                        Err(error) => Err(error),
                    };
                }
            }
        }
    };
    let Ok(actual) = timeout(MOST, computed).await else {
        return Err(not_verifiable(
            "the computation takes longer than a request may",
        ));
    };
    actual.map_err(|error| not_verifiable(error.detail.unwrap_or(error.title)))
}
