//! Held runs go on: the oldest first, as fast as the plan takes events, until the month has no more
//! room or none is left.

use std::time::Duration;

use aias_domain::{
    admission::Window,
    id::RunId,
    plan::{self, Limits},
    run::Status,
};
use aias_platform::{
    runs::{self, expiry},
    store::{Admission, Error, Stored, StoredRun, Task, TenantStore},
};
use jiff::Timestamp;
use tokio::time::sleep;

use crate::App;

/// How many held runs are looked at together.
const PAGE: usize = 100;

/// Why a pass over the held runs ended.
enum End {
    /// None is left.
    Empty,
    /// The month has no more room.
    MonthFull,
    /// The window has no more room, or the pass no more time.
    Later,
}

/// Lets a tenant's held runs go on, if that is due.
pub(crate) async fn resume(
    app: &App,
    store: &TenantStore<'_>,
    until: Timestamp,
) -> Result<(), Error> {
    let now = app.clock.now();
    let Some(wish) = store.due(Task::Resume).await?.filter(|wish| wish.at <= now) else {
        return Ok(());
    };
    let Some(tenant) = store.tenant().await?.map(|tenant| tenant.value) else {
        return store.done(Task::Resume, &wish, None).await;
    };
    let limits = plan::limits(&tenant, now);
    let (end, count) = pass(app, store, &limits, until).await?;
    tracing::info!(tenant_id = %tenant.id, count, "held runs go on");
    let now = app.clock.now();
    let next = match end {
        End::Empty => None,
        End::MonthFull => Some(plan::month_end(now)),
        End::Later => Some(now),
    };
    store.done(Task::Resume, &wish, next).await
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
            match go_on(app, store, limits, run).await? {
                Went::On => count += 1,
                Went::Not(Admission::MonthFull(_)) => return Ok((End::MonthFull, count)),
                Went::Not(Admission::RateFull(_) | Admission::Admitted(..)) => {
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

enum Went {
    On,
    Not(Admission),
}

/// Lets one run go on. When the process dies after any of the steps, the next pass finds the run in
/// the list and does the rest.
async fn go_on(
    app: &App,
    store: &TenantStore<'_>,
    limits: &Limits,
    id: RunId,
) -> Result<Went, Error> {
    let Some(mut run) = store.run(id).await? else {
        store.delete_suspended(id).await?;
        return Ok(Went::On);
    };
    if run.run.value.status == Status::Suspended {
        let now = app.clock.now();
        let admission = app.intake.gate.admit(store, limits, now).await?;
        let Admission::Admitted(place, _) = admission else {
            return Ok(Went::Not(admission));
        };
        let Ok(value) = run.run.value.clone().resume() else {
            return Ok(Went::On);
        };
        let next = StoredRun {
            run: Stored {
                value,
                version: run.run.version,
            },
            expires_at: expiry(now, limits.retention_days),
            ..run
        };
        if let Err(error) = store.save_run(&next).await {
            let Error::Conflict = error else {
                // Perhaps it is written: the month is then rather one run short than one over.
                return Err(error);
            };
            // Cancelled meanwhile.
            store.unadmit(place).await?;
            return Ok(Went::On);
        }
        run = next;
    }
    if run.run.value.status == Status::Pending {
        let sent = app.intake.enqueue(store, &run).await;
        sent.map_err(|error| match error {
            runs::Error::Store(error) => error,
            error @ (runs::Error::Blobs(_) | runs::Error::Queue(_) | runs::Error::InputGone) => {
                Error::Unavailable(Box::new(error))
            }
        })?;
    }
    store.delete_suspended(id).await?;
    Ok(Went::On)
}
