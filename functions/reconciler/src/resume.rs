//! Resumes suspended runs, oldest first, at the event rate of the plan, until the monthly run quota
//! is used up or none is left.

use std::time::Duration;

use aias_domain::{
    admission::Window,
    id::RunId,
    plan::{self, Limits},
    run::Status,
};
use aias_platform::{
    runs::{self, expiry},
    store::{Admission, Error, StoredRun, Task, TenantStore},
};
use jiff::Timestamp;
use tokio::time::sleep;

use crate::App;

/// How many suspended runs are read at once.
const PAGE: usize = 100;

/// Why a pass ended.
enum End {
    /// No suspended run is left.
    Empty,
    /// The monthly run quota is used up.
    QuotaExceeded,
    /// The event rate is used up, or the time of the pass.
    Later,
}

/// Resumes a tenant's suspended runs, if that is scheduled.
pub(crate) async fn resume(
    app: &App,
    store: &TenantStore<'_>,
    until: Timestamp,
) -> Result<(), Error> {
    let now = app.clock.now();
    let Some(schedule) = store
        .task_schedule(Task::Resume)
        .await?
        .filter(|schedule| schedule.at <= now)
    else {
        return Ok(());
    };
    let Some(tenant) = store.tenant().await?.map(|tenant| tenant.value) else {
        return store.finish_task(Task::Resume, &schedule, None).await;
    };
    let limits = tenant.limits(now);
    let (end, count) = pass(app, store, &limits, until).await?;
    tracing::info!(event = "suspended_runs_resumed", tenant_id = %tenant.id, count);
    let now = app.clock.now();
    let next = match end {
        End::Empty => None,
        End::QuotaExceeded => Some(plan::month_end(now)),
        End::Later => Some(now),
    };
    store.finish_task(Task::Resume, &schedule, next).await
}

async fn pass(
    app: &App,
    store: &TenantStore<'_>,
    limits: &Limits,
    until: Timestamp,
) -> Result<(End, usize), Error> {
    let mut count = 0;
    loop {
        let held = store.suspended_runs(PAGE).await?;
        if held.is_empty() {
            return Ok((End::Empty, count));
        }
        for run in held {
            match resume_run(app, store, limits, run).await? {
                ResumeResult::Resumed => count += 1,
                ResumeResult::Refused(Admission::QuotaExceeded(_)) => {
                    return Ok((End::QuotaExceeded, count));
                }
                ResumeResult::Refused(Admission::RateExceeded(_) | Admission::Admitted(..)) => {
                    let now = app.clock.now();
                    let left = Window::of(now).left_seconds;
                    let wait = Duration::from_secs(u64::try_from(left).unwrap_or(1));
                    if now + wait > until {
                        return Ok((End::Later, count));
                    }
                    sleep(wait).await;
                    break;
                }
            }
        }
        if app.clock.now() > until {
            return Ok((End::Later, count));
        }
    }
}

enum ResumeResult {
    Resumed,
    Refused(Admission),
}

/// Resumes one run. If the process dies after any step, the next pass finds the run in the list and
/// repeats the remaining steps.
async fn resume_run(
    app: &App,
    store: &TenantStore<'_>,
    limits: &Limits,
    id: RunId,
) -> Result<ResumeResult, Error> {
    let Some(mut run) = store.run(id).await? else {
        store.delete_suspended(id).await?;
        return Ok(ResumeResult::Resumed);
    };
    if run.run.status == Status::Suspended {
        let now = app.clock.now();
        let admission = app.intake.gate.admit(store, limits, now).await?;
        let Admission::Admitted(place, _) = admission else {
            return Ok(ResumeResult::Refused(admission));
        };
        let Ok(value) = run.run.clone().resume() else {
            return Ok(ResumeResult::Resumed);
        };
        let next = StoredRun {
            run: value,
            version: run.version,
            expires_at: expiry(now, limits.retention_days),
            ..run
        };
        if let Err(error) = store.save_run(&next).await {
            let Error::Conflict = error else {
                // The write may have succeeded. Counting one run too few is preferred to one too
                // many.
                return Err(error);
            };
            // The run was cancelled concurrently.
            store.revert_admission(place).await?;
            return Ok(ResumeResult::Resumed);
        }
        run = next;
    }
    if run.run.status == Status::Pending {
        let sent = app.intake.enqueue(store, &run).await;
        sent.map_err(|error| match error {
            runs::Error::Store(error) => error,
            error @ (runs::Error::Blobs(_) | runs::Error::Queue(_) | runs::Error::InputGone) => {
                Error::Unavailable(Box::new(error))
            }
        })?;
    }
    store.delete_suspended(id).await?;
    Ok(ResumeResult::Resumed)
}
