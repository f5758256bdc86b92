//! The enterprise plan: an operator's word, not a subscription's.

use aias_domain::{
    audit::Actor,
    id::TenantId,
    plan::{self, Overrides},
    tenant::Tenant,
};
use aias_platform::{
    http::shown,
    settle::settle,
    store::{Proof, Refused, plan_entry},
};
use serde::Deserialize;

use crate::App;

/// What an operator invokes the function with.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Enterprise {
    enterprise: Wish,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wish {
    tenant_id: TenantId,
    /// The limits that differ from the plan's own; null takes the plan away.
    limits: Option<Overrides>,
}

/// A tenant's plan was not set.
#[derive(Debug, thiserror::Error)]
pub enum NotSet {
    /// There is no such tenant.
    #[error("there is no tenant {0}")]
    NoTenant(TenantId),
    /// The table, or somebody else changed the tenant.
    #[error("the plan is not set")]
    Store(#[from] Refused),
}

/// Gives or takes it.
pub(crate) async fn set(
    app: &App,
    Enterprise { enterprise: wish }: Enterprise,
) -> Result<(), NotSet> {
    let tenant_id = wish.tenant_id;
    let now = app.clock.now();
    let store = app.intake.store.tenant(Proof::of_operator(tenant_id));
    let Some(read) = store.tenant().await.map_err(Refused::Store)? else {
        return Err(NotSet::NoTenant(tenant_id));
    };
    let mut plan = read.value.plan;
    let before = plan::limits(&read.value, now).shards;
    let before_limits = read.value.enterprise;
    let after = Tenant {
        enterprise: wish.limits,
        ..read.value
    };
    if plan::limits(&after, now).shards < before {
        // The month's runs are counted on in all shards.
        plan.wide_until = Some(plan::month_end(now));
    }
    let (was, is) = (shown(&before_limits), shown(&wish.limits));
    let entry = plan_entry(Actor::Operator, tenant_id, now, was, is);
    let audited = store.audited(&entry);
    audited.save_enterprise(wish.limits, plan, now).await?;
    settle(&store, now).await.map_err(Refused::Store)?;
    tracing::info!(%tenant_id, "an operator has set a tenant's plan");
    Ok(())
}
