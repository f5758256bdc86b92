//! Whether a run comes to the same again: computed anew from its version, its input and its journal,
//! with nothing called.

use std::time::Duration;

use aias_domain::{
    canonical,
    run::{RunError, Status},
    tenant::Role,
};
use aias_platform::{
    http::{Caller, Problem, Response, SeenCell},
    journal,
    runs::read_input,
    store::TenantStore,
};
use aias_sandbox::{Computation, Given, Told};
use serde::Serialize;
use tokio::time::timeout;

use crate::{App, find};

/// How long it may compute.
const MOST: Duration = Duration::from_secs(20);

/// The largest journal that it computes from, in bytes of JSON: this function has 256 MB.
const MAX_JOURNAL_BYTES: usize = 16 * 1024 * 1024;

#[derive(Serialize)]
struct Verdict {
    reproducible: bool,
    expected_digest: String,
    actual_digest: Option<String>,
}

/// What a fault is compared by.
fn digest_of(error: &RunError) -> String {
    let value = serde_json::to_value(error).unwrap_or_default();
    canonical::digest(&canonical::to_vec(&value))
}

pub(crate) async fn verify(
    app: &App,
    store: &TenantStore<'_>,
    caller: &Caller,
    id: &str,
    seen: &SeenCell,
) -> Result<Response, Problem> {
    caller.require(Role::Editor)?;
    let found = find(store, id, seen).await?;
    let run = &found.run.value;
    let expected = match (run.status, &run.output_digest, &run.error) {
        (Status::Completed, Some(digest), _) => digest.clone(),
        // What ended it from outside is not in its journal.
        (Status::Faulted, _, Some(error)) if error.instance.is_some() => digest_of(error),
        _ => {
            let title = "The run has no result that could be computed again";
            return Err(Problem::conflict("run-not-verifiable", title));
        }
    };
    let version = run.workflow_version.unwrap_or_default();
    let (definition, input, journal) = tokio::join!(
        app.definitions.get(store, run.workflow_id, version),
        read_input(store, &app.intake.blobs, &found.input),
        journal::read(store, &app.intake.blobs, run.id)
    );
    let definition = definition?.map_err(|error| {
        Problem::conflict("run-not-verifiable", "The run's workflow version is gone")
            .detail(error.detail.unwrap_or_default())
    })?;
    let (journal, bytes) = journal?;
    if bytes > MAX_JOURNAL_BYTES {
        let title = "The run got more from outside than fits into a request";
        return Err(Problem::conflict("run-not-verifiable", title));
    }
    let given = Given {
        definition,
        run_id: run.id.to_string(),
        input: input?,
        started_at: run.created_at,
        max_steps: caller.limits.steps_per_run,
        computing: caller.limits.computing,
        journal,
        mark: run.mark.clone().unwrap_or_default(),
    };
    let actual = actual(Computation::new(&app.sandbox, given)).await?;
    Response::object(
        200,
        &Verdict {
            reproducible: actual.as_ref() == Some(&expected),
            expected_digest: expected,
            actual_digest: actual,
        },
    )
}

/// The digest of what a computation comes to; none when it asks for more than its journal has.
async fn actual(mut computation: Computation<'_>) -> Result<Option<String>, Problem> {
    let listening = async {
        loop {
            match computation.next().await {
                Told::Step(_) | Told::Emitted(..) => {}
                Told::Asked(_) => return Ok(None),
                Told::Ended(outcome) => {
                    return match *outcome {
                        Ok(output) => Ok(Some(canonical::digest(&canonical::to_vec(&output)))),
                        Err(error) if error.instance.is_some() => Ok(Some(digest_of(&error))),
                        // Not the workflow's own: it says nothing about the run.
                        Err(error) => Err(error),
                    };
                }
            }
        }
    };
    let Ok(actual) = timeout(MOST, listening).await else {
        let title = "The run takes longer to compute than a request may";
        return Err(Problem::conflict("run-not-verifiable", title));
    };
    actual.map_err(|error| {
        let title = "The run could not be computed again";
        Problem::conflict("run-not-verifiable", title).detail(error.detail.unwrap_or(error.title))
    })
}
