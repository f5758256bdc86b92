//! The enterprise plan, which an operator sets.

use aias_domain::{
    audit::Actor,
    id::TenantId,
    plan::{self, Overrides},
    tenant::Tenant,
};
use aias_platform::{
    apply_plan::apply_plan,
    http::shown,
    store::{OperatorTenant, PlanChange, TransactionError, plan_entry},
};
use serde::Deserialize;

use crate::App;

/// The event with which an operator invokes the function.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Enterprise {
    enterprise: EnterpriseChange,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
struct EnterpriseChange {
    tenant_id: OperatorTenant,
    /// The limits that differ from those of the plan; null removes the plan.
    limits: Option<Overrides>,
}

/// Why the plan was not set.
#[derive(Debug, thiserror::Error)]
pub enum EnterpriseError {
    #[error("there is no tenant {0}")]
    NoTenant(TenantId),
    /// The table is unavailable, or the tenant was changed concurrently.
    #[error("the plan was not set")]
    Store(#[from] TransactionError),
}

/// Sets or removes the enterprise plan.
pub(crate) async fn set(
    app: &App,
    Enterprise { enterprise: change }: Enterprise,
) -> Result<(), EnterpriseError> {
    let tenant_id = change.tenant_id.id();
    let now = app.clock.now();
    let store = app.intake.store.tenant(change.tenant_id.proof());
    let Some(read) = store.tenant().await.map_err(TransactionError::Store)? else {
        return Err(EnterpriseError::NoTenant(tenant_id));
    };
    let before = read.value.plan;
    let shards = read.value.limits(now).shards;
    let before_limits = read.value.enterprise;
    let after = Tenant {
        enterprise: change.limits,
        ..read.value
    };
    let mut plan = match change.limits {
        None => before,
        Some(overrides) => before.with_run_shards_of(&overrides.limits()),
    };
    if after.limits(now).shards < shards {
        // The monthly count continues in all shards.
        plan.wide_until = Some(plan::month_end(now));
    }
    let (was, is) = (shown(&before_limits), shown(&change.limits));
    let entry = plan_entry(Actor::Operator, tenant_id, now, was, is);
    let audited = store.audited(&entry);
    let changed = PlanChange {
        before,
        after: plan,
    };
    audited.save_enterprise(change.limits, changed, now).await?;
    apply_plan(&store, now)
        .await
        .map_err(TransactionError::Store)?;
    tracing::info!(event = "enterprise_plan_set", %tenant_id);
    Ok(())
}
