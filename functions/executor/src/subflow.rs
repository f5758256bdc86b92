//! Child runs, started by a task of a run.
//!
//! A child's id is derived from its parent's and the task, so two executors of the parent start the
//! same child. When a child ends, it sends the parent's message. After the parent is written as
//! waiting, it checks the child once more, so whichever of the two writes last notices the other.

use std::time::Duration;

use aias_domain::{
    artifact::Artifact,
    canonical,
    id::RunId,
    run::{MAX_CHILDREN, MAX_DEPTH, Run, Status, Trigger},
};
use aias_engine::journal::{Effect, EffectResult, Failure, Subflow};
use aias_platform::{
    runs::{AdmissionRefusal, SerializedInput, new_run, read_artifact},
    store::{StoredRun, TenantStore},
};
use serde_json::Value;
use tokio::time::sleep;

use crate::{App, calls::StartedEffect, error::Error};

/// The most attempts to admit a child when the event rate is exceeded.
const ATTEMPTS: usize = 20;

/// The id of an effect's child.
pub(crate) fn child_id(parent: RunId, effect: &Effect) -> RunId {
    let name = format!("{parent}\n{}\n{}", effect.key.task, effect.key.visit);
    let digest = canonical::digest(name.as_bytes());
    let random = digest.get(7..27).unwrap_or_default();
    let random = u128::from_str_radix(random, 16).unwrap_or_default();
    parent.new_beside(effect.requested_at, random)
}

fn failed(kind: &str, status: u16, title: &str, detail: impl Into<String>) -> EffectResult {
    EffectResult::Failed(Failure {
        kind: kind.to_owned(),
        status,
        title: title.to_owned(),
        detail: detail.into(),
    })
}

/// The result of an effect without a child.
fn refused(kind: &str, status: u16, title: &str, detail: impl Into<String>) -> StartedEffect {
    StartedEffect {
        child: None,
        result: Some(failed(kind, status, title, detail)),
    }
}

/// Starts the child run, unless it exists. Returns its result if it has ended.
pub(crate) async fn run(
    app: &App,
    store: &TenantStore<'_>,
    parent: &Run,
    limits: &aias_domain::plan::Limits,
    effect: &Effect,
    subflow: &Subflow,
) -> Result<StartedEffect, Error> {
    let id = child_id(parent.id, effect);
    if let Some(child) = store.run(id).await? {
        if child.run.status == Status::Pending {
            // The executor that created it may have died before sending its message.
            app.intake.enqueue(store, &child).await?;
        }
        return result(app, store, &child, subflow.wait).await;
    }
    if parent.trigger.depth() >= MAX_DEPTH {
        let detail = format!("workflows run each other more than {MAX_DEPTH} levels deep");
        return Ok(refused("configuration", 400, "Too Deep", detail));
    }
    if parent.children.len() >= MAX_CHILDREN {
        let detail = format!("a run can start at most {MAX_CHILDREN} other runs");
        return Ok(refused("configuration", 400, "Too Many Runs", detail));
    }
    let found = store.workflow_named(&subflow.namespace, &subflow.name, &subflow.version);
    let Some((workflow, version)) = found.await? else {
        let detail = format!(
            "there is no enabled workflow {}/{} with version {}",
            subflow.namespace, subflow.name, subflow.version
        );
        return Ok(refused("configuration", 404, "No Such Workflow", detail));
    };
    for attempt in 0.. {
        match app.intake.admit(store, limits, app.clock.now()).await? {
            Ok(()) => break,
            Err(AdmissionRefusal::RateExceeded { .. }) if attempt < ATTEMPTS => {
                sleep(Duration::from_secs(1)).await;
            }
            Err(AdmissionRefusal::RateExceeded { .. }) => {
                let detail = "the event rate of the plan is exceeded";
                return Ok(refused("runtime", 429, "Too Many Requests", detail));
            }
            Err(AdmissionRefusal::QuotaExceeded(_)) => {
                let detail = "the monthly run quota is used up";
                return Ok(refused("runtime", 402, "Plan Limit Exceeded", detail));
            }
        }
    }
    let input = SerializedInput::new(&subflow.input)?;
    let trigger = Trigger::Workflow {
        parent_run_id: parent.id,
        parent_workflow_id: parent.workflow_id,
        task: effect.key.task.clone(),
        awaited: subflow.wait,
        depth: parent.trigger.depth() + 1,
    };
    let digest = input.digest.clone();
    let child = Run::pending(id, workflow.id, Some(version), trigger, digest);
    let input = app.intake.store_input(store, input).await?;
    let child = new_run(child, input, limits.retention_days);
    app.intake.create_run(store, &child).await?;
    result(app, store, &child, subflow.wait).await
}

/// The value of the task: the output of its child.
async fn result(
    app: &App,
    store: &TenantStore<'_>,
    child: &StoredRun,
    awaited: bool,
) -> Result<StartedEffect, Error> {
    let response = if awaited {
        ended(app, store, child).await?
    } else {
        Some(EffectResult::Output(Value::Null))
    };
    Ok(StartedEffect {
        child: Some(child.run.id),
        result: response,
    })
}

/// The output or the error of a child that has ended.
async fn ended(
    app: &App,
    store: &TenantStore<'_>,
    stored: &StoredRun,
) -> Result<Option<EffectResult>, Error> {
    let child = &stored.run;
    let failed = |kind: &str, status: u16, title: &str, detail: String| {
        Some(failed(kind, status, title, detail))
    };
    Ok(match child.status {
        Status::Pending | Status::Running | Status::Waiting | Status::Suspended => None,
        Status::Cancelled => failed(
            "runtime",
            500,
            "Cancelled",
            format!("{} was cancelled", child.id),
        ),
        Status::Faulted => match &child.error {
            None => failed(
                "runtime",
                500,
                "Faulted",
                format!("{} is faulted", child.id),
            ),
            Some(error) => failed(
                &error.kind,
                error.status,
                &error.title,
                error.detail.clone().unwrap_or_default(),
            ),
        },
        Status::Completed => match child.artifacts.first() {
            None => failed(
                "runtime",
                500,
                "No Output",
                format!("{} has no output", child.id),
            ),
            Some(artifact) => match output(app, store, stored, artifact).await? {
                Some(output) => Some(EffectResult::Output(output)),
                None => failed(
                    "runtime",
                    500,
                    "No Output",
                    format!("the output of {} is no longer retained", child.id),
                ),
            },
        },
    })
}

async fn output(
    app: &App,
    store: &TenantStore<'_>,
    run: &StoredRun,
    artifact: &Artifact,
) -> Result<Option<Value>, Error> {
    let most = usize::try_from(artifact.size_bytes).unwrap_or(usize::MAX);
    let Some(bytes) = read_artifact(store, &app.blobs, run, artifact, most).await? else {
        return Ok(None);
    };
    if artifact.content_type.starts_with("text/plain") {
        return Ok(String::from_utf8(bytes).ok().map(Value::String));
    }
    Ok(aias_domain::json::parse_stored(&bytes).ok())
}
