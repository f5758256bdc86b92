//! What a change of plan brings: what the plan has no room for is disabled, what it has room for
//! again is enabled, held runs go on, and completed ones are metered. To do it twice is harmless.
//!
//! The change itself wishes for it ([`Task::Settle`], in the same transaction), so whoever dies
//! half-way leaves the wish, and the reconciler fulfils it.

use aias_domain::{plan, subscription::Subscription};
use jiff::Timestamp;

use crate::store::{Error, Task, TenantStore};

/// Settles a tenant, if that is due. While a payment is due, it is wished for again for the end of
/// its grace.
///
/// # Errors
/// When the table does not answer; to begin again is right.
pub async fn settle(store: &TenantStore<'_>, now: Timestamp) -> Result<(), Error> {
    let Some(wish) = store.due(Task::Settle).await? else {
        return Ok(());
    };
    if wish.at > now {
        return Ok(());
    }
    let next = match store.tenant().await?.map(|tenant| tenant.value) {
        None => None,
        Some(tenant) => {
            let limits = plan::limits(&tenant, now);
            let fitted = store.fit(&limits).await?;
            if !store.suspended_runs(1).await?.is_empty() {
                store.set_due(Task::Resume, now).await?;
            }
            let account = store.account().await?.value;
            let live = |own: &Subscription| own.state.status.is_live();
            if account.entitled().subscription.is_some_and(live) {
                store.set_due(Task::Meter, now).await?;
            }
            tracing::info!(
                tenant_id = %tenant.id,
                plan = %limits.plan,
                disabled = fitted.disabled,
                enabled = fitted.enabled,
                "a tenant has its plan"
            );
            tenant.plan.until.filter(|until| *until > now)
        }
    };
    store.done(Task::Settle, &wish, next).await
}
