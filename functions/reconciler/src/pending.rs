//! Pending runs whose message was lost.
//!
//! A sweep checks the runs that were created since the last sweep, of every tenant that had one.
//! Its position is stored, so that a sweep that takes longer than a pass is continued by the next
//! one, however many tenants there are and however long an outage was.

use aias_domain::run::Status;
use aias_platform::{
    queue::RunMessage,
    store::{ActiveTenant, Cursor, Error, Position, Progress, RunFilter, Sweep},
    telemetry::ErrorChain,
};
use futures_util::{StreamExt as _, future::join_all, stream};
use jiff::{SignedDuration, Timestamp};

use crate::App;

/// How long a run may be pending before its message is sent again.
pub(crate) const RESEND_AFTER: SignedDuration = SignedDuration::from_mins(2);

/// How much of the previous sweep is checked again, since the index may lag.
const OVERLAP: SignedDuration = SignedDuration::from_mins(1);

/// With more waiting messages than this, executors are busy, and runs are pending because their
/// messages wait.
const BACKLOG: u64 = 100;

/// How long a sweep is postponed because messages wait.
const LONGEST_POSTPONEMENT: SignedDuration = SignedDuration::from_hours(1);

/// How long the next sweep waits: so many times what the last one took, so that sweeps take at most
/// a tenth of the time and do not cost more than the events. A wait up to the next pass is none:
/// with a thousand tenants a sweep takes five seconds, and there is one in each minute.
const WAIT_FACTOR: i32 = 9;
const LONGEST_WAIT: SignedDuration = SignedDuration::from_mins(10);
const PASS_INTERVAL: SignedDuration = SignedDuration::from_mins(1);

/// How many runs of a tenant are read, and how many messages are sent concurrently.
const PAGE: usize = 100;
const AT_ONCE: usize = 16;

/// Continues the sweep, or starts one over the runs that are older than `age`. Stops at `deadline`.
pub(crate) async fn resend(
    app: &App,
    progress: &mut Progress,
    age: SignedDuration,
    deadline: Timestamp,
) {
    let now = app.clock.now();
    let sweep = match progress.sweep.take() {
        Some(sweep) => sweep,
        None if now - age <= progress.checked_until => return,
        None if age > SignedDuration::ZERO && progress.next_sweep > Some(now) => return,
        None if age > SignedDuration::ZERO && is_explained(app, progress, now).await => return,
        None => Sweep::new(now - age),
    };
    let range = (progress.checked_until - OVERLAP, sweep.until);
    let shards = sweep.shards.into_iter().zip(0_u8..);
    let checked =
        shards.map(|(position, shard)| Box::pin(of_shard(app, shard, position, range, deadline)));
    let (shards, resent): (Vec<_>, Vec<u64>) = join_all(checked).await.into_iter().unzip();
    let sweep = Sweep { shards, ..sweep };
    let (complete, resent): (bool, u64) = (sweep.is_complete(), resent.iter().sum());
    tracing::info!(event = "pending_runs_resent", resent, complete);
    if complete {
        progress.checked_until = sweep.until;
        let ended = app.clock.now();
        let took = ended.duration_since(sweep.until) - age;
        let wait = (took * WAIT_FACTOR).min(LONGEST_WAIT);
        progress.next_sweep = (wait > PASS_INTERVAL).then(|| ended + wait);
    } else {
        progress.sweep = Some(sweep);
    }
}

/// Whether runs are pending because their messages wait in the queue.
async fn is_explained(app: &App, progress: &Progress, now: Timestamp) -> bool {
    if now.duration_since(progress.checked_until) > LONGEST_POSTPONEMENT {
        return false;
    }
    match app.intake.queue.depth().await {
        Ok(depth) => depth.messages > BACKLOG,
        Err(error) => {
            tracing::error!(event = "queue_depth_unreadable", error = %ErrorChain(&error));
            true
        }
    }
}

/// Checks the tenants of a shard one after another. Returns the new position, and the number of
/// messages sent.
async fn of_shard(
    app: &App,
    shard: u8,
    position: Option<Position>,
    range: (Timestamp, Timestamp),
    deadline: Timestamp,
) -> (Option<Position>, u64) {
    let Some(mut position) = position else {
        return (None, 0);
    };
    let (store, mut resent) = (&app.intake.store, 0);
    let mut checked = None;
    loop {
        let active = (range.0, app.clock.now());
        let tenants = match store.next_tenants(shard, &mut position, active).await {
            Ok(tenants) if tenants.is_empty() => return (None, resent),
            Ok(tenants) => tenants,
            Err(error) => {
                tracing::error!(event = "active_tenants_unreadable", error = %ErrorChain(&error));
                return (Some(position), resent);
            }
        };
        for tenant in tenants {
            // The counters of a tenant's shards are next to each other.
            if checked != Some(tenant.tenant_id) {
                let checked = of_tenant(app, &tenant, &mut position, range, deadline);
                match Box::pin(checked).await {
                    Ok(count) => resent += count,
                    Err(error) => {
                        let tenant_id = tenant.tenant_id;
                        tracing::error!(event = "tenant_runs_unreadable", %tenant_id, error = %ErrorChain(&error));
                        if error.is_transient() {
                            return (Some(position), resent);
                        }
                        position.runs = None;
                    }
                }
                if position.runs.is_some() {
                    return (Some(position), resent);
                }
            }
            checked = Some(tenant.tenant_id);
            position.pass(tenant);
            if app.clock.now() >= deadline {
                return (Some(position), resent);
            }
        }
    }
}

/// Sends the message of each pending run of a tenant. Leaves a cursor in the position if the
/// deadline came first, or if a message was not sent: its run is checked again by the next pass.
async fn of_tenant(
    app: &App,
    tenant: &ActiveTenant,
    position: &mut Position,
    (from, until): (Timestamp, Timestamp),
    deadline: Timestamp,
) -> Result<u64, Error> {
    let mut store = app.intake.store.tenant(tenant.proof);
    // A tenant that is being deleted has no limits.
    if let Some(own) = store.tenant().await? {
        store = store.with_run_shards(&own.value.limits(app.clock.now()));
    }
    let filter = RunFilter {
        status: Some(Status::Pending),
        to: Some(until),
        ..RunFilter::default()
    };
    let mut resent = 0;
    loop {
        let after = position.runs.clone().map(Cursor::at);
        let page = store
            .runs(&filter, PAGE, after.as_ref(), (from, until))
            .await?;
        let mut messages = Vec::with_capacity(page.items.len());
        for run in page.items {
            messages.push(RunMessage::new(tenant.tenant_id, run.id, run.workflow_id));
        }
        let sent: Vec<u64> = stream::iter(messages)
            .map(|message| send(app, message))
            .buffer_unordered(AT_ONCE)
            .collect()
            .await;
        resent += sent.iter().sum::<u64>();
        if sent.contains(&0) {
            return Err(Error::Unavailable("a message was not sent".into()));
        }
        position.runs = page.next.map(|cursor| cursor.position().to_owned());
        if position.runs.is_none() || app.clock.now() >= deadline {
            return Ok(resent);
        }
    }
}

/// The number of messages sent, 0 or 1.
async fn send(app: &App, message: RunMessage) -> u64 {
    let sent = app.intake.queue.send(&message).await;
    if let Err(error) = &sent {
        let run_id = message.run_id;
        tracing::error!(event = "pending_run_resend_failed", %run_id, error = %ErrorChain(error));
    }
    u64::from(sent.is_ok())
}
