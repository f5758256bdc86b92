//! Pending runs whose message was lost.

use std::collections::HashSet;

use aias_domain::run::Status;
use aias_platform::{
    queue::RunMessage,
    store::{ActiveTenant, Error, RunFilter},
    telemetry::ErrorChain,
};
use jiff::{SignedDuration, Timestamp};

use crate::App;

/// How long a run may be pending before its message is sent again.
pub(crate) const RESEND_AFTER: SignedDuration = SignedDuration::from_mins(2);
/// How far back a pass reads.
const LOOK_BACK: SignedDuration = SignedDuration::from_hours(2);
/// The most pages of runs that a pass reads for one tenant.
const MAX_PAGES: usize = 100;
const PAGE: usize = 100;

/// Sends the message of every run that is pending for longer than `age`: two minutes while other
/// processes may still send it, none if there is no other process.
pub async fn resend_pending(app: &App, age: SignedDuration) {
    let now = app.clock.now();
    let mut tenants = Vec::new();
    let mut seen = HashSet::new();
    for hour in [now, now - SignedDuration::from_hours(1)] {
        match app.intake.store.active_tenants(hour).await {
            Ok(active) => tenants.extend(active.into_iter().filter(|t| seen.insert(t.tenant_id))),
            Err(error) => {
                tracing::error!(event = "active_tenants_unreadable", error = %ErrorChain(&error));
            }
        }
    }
    let mut resent = 0;
    for tenant in &tenants {
        match Box::pin(of_tenant(app, *tenant, now, age)).await {
            Ok(count) => resent += count,
            Err(error) => {
                let tenant_id = tenant.tenant_id;
                tracing::error!(event = "tenant_runs_unreadable", %tenant_id, error = %ErrorChain(&error));
            }
        }
    }
    tracing::info!(
        event = "pending_runs_resent",
        tenants = tenants.len(),
        resent
    );
}

async fn of_tenant(
    app: &App,
    tenant: ActiveTenant,
    now: Timestamp,
    age: SignedDuration,
) -> Result<usize, Error> {
    let store = app.intake.store.tenant(tenant.proof);
    let filter = RunFilter {
        status: Some(Status::Pending),
        to: Some(now - age),
        ..RunFilter::default()
    };
    let (mut after, mut resent) = (None, 0);
    for _ in 0..MAX_PAGES {
        let page = store
            .runs(&filter, PAGE, after.as_ref(), (now - LOOK_BACK, now))
            .await?;
        for run in page.items {
            let message = RunMessage {
                tenant_id: tenant.tenant_id,
                run_id: run.id,
                workflow_id: run.workflow_id,
            };
            match app.intake.queue.send(&message).await {
                Ok(()) => resent += 1,
                Err(error) => {
                    tracing::error!(event = "pending_run_resend_failed", run_id = %run.id, error = %ErrorChain(&error));
                }
            }
        }
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    Ok(resent)
}
