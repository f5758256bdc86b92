//! Applies a change of plan: objects beyond the limits are disabled, those within the limits are
//! enabled again, suspended runs are resumed, and completed runs are metered. Idempotent.
//!
//! The change of plan schedules this ([`Task::ApplyPlan`]) in its own transaction. If the process
//! dies, the scheduled task remains and the reconciler runs it.

use aias_domain::subscription::Subscription;
use jiff::Timestamp;

use crate::store::{Error, Task, TenantStore};

/// Applies a tenant's plan, if that is scheduled. While a payment is overdue, it is scheduled again
/// for the end of the grace period.
///
/// # Errors
///
/// When the table is unavailable. Retrying is safe.
pub async fn apply_plan(store: &TenantStore<'_>, now: Timestamp) -> Result<(), Error> {
    let Some(schedule) = store.task_schedule(Task::ApplyPlan).await? else {
        return Ok(());
    };
    if schedule.at > now {
        return Ok(());
    }
    let next = match store.tenant().await?.map(|tenant| tenant.value) {
        None => None,
        Some(tenant) => {
            let limits = tenant.limits(now);
            let fitted = store.enforce_plan(&limits).await?;
            if !store.suspended_runs(1).await?.is_empty() {
                store.schedule_task(Task::Resume, now).await?;
            }
            let account = store.account().await?.value;
            let live = |own: &Subscription| own.state.status.is_live();
            if account.plan_grant().subscription.is_some_and(live) {
                store.schedule_task(Task::Meter, now).await?;
            }
            tracing::info!(event = "plan_applied", tenant_id = %tenant.id,
                plan = %limits.plan,
                disabled = fitted.disabled,
                enabled = fitted.enabled);
            tenant.plan.until.filter(|until| *until > now)
        }
    };
    store.finish_task(Task::ApplyPlan, &schedule, next).await
}
