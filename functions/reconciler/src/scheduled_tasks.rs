//! Runs the scheduled tasks of all tenants.

use aias_platform::{
    apply_plan::apply_plan,
    clock::random,
    store::{ScheduledTask, Task},
    telemetry::ErrorChain,
};
use futures_util::{StreamExt as _, stream};
use jiff::Timestamp;

use crate::{App, meter, resume};

/// How many tenants are processed concurrently.
const AT_ONCE: usize = 32;

/// Runs all due tasks. A failure affects only one tenant. Each pass starts with another tenant,
/// since a pass may end before the last one.
pub(crate) async fn run_all(app: &App, mut all: Vec<ScheduledTask>) {
    let first = usize::from(u16::from_be_bytes(random::<2>()));
    let first = first.checked_rem(all.len()).unwrap_or_default();
    all.rotate_left(first);
    let until = app.clock.now() + app.times.resuming;
    // A change of plan first, since the other tasks depend on the plan.
    for task in [Task::ApplyPlan, Task::Resume, Task::Meter] {
        let due = all.iter().filter(|due| due.task == task).copied();
        stream::iter(due)
            .for_each_concurrent(AT_ONCE, |due| async move {
                if let Err(error) = Box::pin(do_one(app, due, until)).await {
                    let tenant_id = due.tenant_id;
                    tracing::error!(event = "scheduled_task_failed", %tenant_id, ?task, error = %ErrorChain(&error));
                }
            })
            .await;
    }
}

async fn do_one(app: &App, due: ScheduledTask, until: Timestamp) -> Result<(), meter::Error> {
    let store = &app.intake.store.tenant(due.proof);
    match due.task {
        Task::ApplyPlan => Ok(apply_plan(store, app.clock.now()).await?),
        Task::Resume => Ok(resume::resume(app, store, until).await?),
        Task::Meter => meter::meter(app, store).await,
    }
}
