//! What is due by now, of all tenants.

use aias_platform::{
    settle::settle,
    store::{Due, Task},
    telemetry::Chain,
};

use crate::{App, meter, resume};

/// Does it all, a tenant's failure harming no other.
pub(crate) async fn do_all(app: &App) {
    let all = match app.intake.store.all_due(app.clock.now()).await {
        Ok(all) => all,
        Err(error) => {
            tracing::error!(error = %Chain(&error), "what is due cannot be read");
            return;
        }
    };
    // A change of plan first: it may bring the rest about.
    for task in [Task::Settle, Task::Resume, Task::Meter] {
        for due in all.iter().filter(|due| due.task == task) {
            if let Err(error) = Box::pin(do_one(app, *due)).await {
                let tenant_id = due.tenant_id;
                tracing::error!(%tenant_id, ?task, error = %Chain(&error), "what is due was not done");
            }
        }
    }
}

async fn do_one(app: &App, due: Due) -> Result<(), meter::Error> {
    let store = &app.intake.store.tenant(due.proof);
    match due.task {
        Task::Settle => Ok(settle(store, app.clock.now()).await?),
        Task::Resume => Ok(resume::resume(app, store).await?),
        Task::Meter => meter::meter(app, store).await,
    }
}
