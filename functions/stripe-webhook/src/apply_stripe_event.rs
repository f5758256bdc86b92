//! Applies a Stripe event: finds its tenant, computes the changes, and writes them once.

use aias_billing::event::Event;
use aias_domain::{
    audit::Actor,
    plan::{self, Plan},
    subscription::{Account, ApplyResult, Fact},
};
use aias_platform::{
    apply_plan::apply_plan,
    http::{Problem, Result, kinds, retry_on_conflict, shown},
    store::{Change, Customer, PlanChange, Stored, TenantChange, TransactionError, plan_entry},
};

use tracing::{Span, field::display};

use crate::App;

/// The result of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    Applied,
    /// The event was applied before.
    Duplicate,
    /// The event is of a type that is not used.
    Ignored,
    /// The event is stored until its customer belongs to a tenant.
    Unassigned,
}

impl Outcome {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Applied => "applied",
            Self::Duplicate => "duplicate",
            Self::Ignored => "ignored",
            Self::Unassigned => "unassigned",
        }
    }

    /// A number for metrics.
    pub(crate) fn code(self) -> &'static str {
        match self {
            Self::Applied => "stripe-event-applied",
            Self::Duplicate => "stripe-event-duplicate",
            Self::Ignored => "stripe-event-ignored",
            Self::Unassigned => "stripe-event-unassigned",
        }
    }
}

/// Applies an event, and then the plan that results from it.
pub(crate) async fn apply(app: &App, event: &Event) -> Result<Outcome> {
    let Some(fact) = &event.fact else {
        return Ok(Outcome::Ignored);
    };
    let applied = retry_on_conflict(|| attempt(app, event, fact)).await;
    applied.map_err(|problem| {
        if problem.kind() == &kinds::CONFLICT {
            // Stripe will retry the event.
            Problem::unavailable(aias_platform::store::Error::Conflict)
        } else {
            problem
        }
    })
}

/// Reads the account, decides and writes. Returns a conflict if the account changes concurrently.
async fn attempt(app: &App, event: &Event, fact: &Fact) -> Result<Outcome> {
    let known = app.store.customer(fact.customer_id()).await?;
    let (customer, link) = assign(app, event, &known).await?;
    let Some(proof) = customer.proof() else {
        let mut value = customer;
        value.account.apply(event.created, fact);
        let own = Stored {
            value,
            version: known.version,
        };
        let written = write(app, event, Some(&own), None).await?;
        let is_new = written == Outcome::Applied;
        return Ok(if is_new { Outcome::Unassigned } else { written });
    };
    let store = app.store.tenant(proof);
    Span::current().record("tenant_id", display(store.tenant_id()));
    let (account, tenant) = tokio::join!(store.account(), store.tenant());
    let (mut account, tenant) = (account?, tenant?);
    if link {
        account.value.merge(known.value.account.clone());
        if !event.is_reference {
            account.value.adopt(fact.customer_id());
        }
    }
    apply_fact(app, event, &mut account.value).await?;
    let now = app.clock.now();
    let plan = tenant.and_then(|tenant| {
        let before = tenant.value.plan;
        let after = new_plan(before, &account.value, now)?;
        let change = PlanChange { before, after };
        let actor = Actor::Stripe {
            id: event.id.clone(),
        };
        let (before, after) = (shown(&before), shown(&after));
        let entry = plan_entry(actor, tenant.value.id, now, before, after);
        Some((change, entry))
    });
    let own = Stored {
        value: customer,
        version: known.version,
    };
    let change = TenantChange {
        proof,
        account: &account,
        plan: plan.as_ref().map(|(plan, entry)| (*plan, entry)),
    };
    let outcome = write(app, event, link.then_some(&own), Some(change)).await?;
    // Also after a duplicate, since the process that applied the event may have died before this.
    apply_plan(&store, app.clock.now()).await?;
    Ok(outcome)
}

/// The new state of the customer, and whether this event assigns it to a tenant.
async fn assign(app: &App, event: &Event, known: &Stored<Customer>) -> Result<(Customer, bool)> {
    if known.value.has_tenant() {
        return Ok((known.value.clone(), false));
    }
    // A buyer can refer to another tenant, and could only give that tenant a plan.
    let named = event.tenant.map(Customer::of_tenant);
    if let Some(named) = named
        && let Some(proof) = named.proof()
        && app.store.tenant(proof).tenant().await?.is_some()
    {
        return Ok((named, true));
    }
    Ok((known.value.clone(), false))
}

/// Applies the event to the account. If the result is ambiguous, Stripe is queried.
async fn apply_fact(app: &App, event: &Event, account: &mut Account) -> Result<()> {
    let Some(fact) = &event.fact else {
        return Ok(());
    };
    let ApplyResult::Ambiguous { subscription_id } = account.apply(event.created, fact) else {
        return Ok(());
    };
    let queried_at = app.clock.now().as_second();
    match app.stripe.subscription(&subscription_id).await? {
        Some(found) => {
            account.apply_queried(queried_at, &found.id, &found.customer_id, &found.state);
        }
        None => tracing::warn!(
            event = "stripe_subscription_unknown",
            code = "stripe-subscription-unknown",
            subscription_id
        ),
    }
    Ok(())
}

/// The plan of an account, if it differs from the tenant's current one.
fn new_plan(current: Plan, account: &Account, now: jiff::Timestamp) -> Option<Plan> {
    let entitled = account.plan_grant();
    if (entitled.plan, entitled.until) == (current.name, current.until) {
        return None;
    }
    Some(current.changed_to(entitled.plan, entitled.until, now))
}

/// Writes the event and its changes in one transaction.
async fn write(
    app: &App,
    event: &Event,
    customer: Option<&Stored<Customer>>,
    tenant: Option<TenantChange<'_>>,
) -> Result<Outcome> {
    let id = event.fact.as_ref().map_or("", |fact| fact.customer_id());
    let change = Change {
        event_id: &event.id,
        now: app.clock.now(),
        customer: customer.map(|own| (id, own)),
        tenant,
    };
    match app.store.apply(change).await {
        Ok(()) => Ok(Outcome::Applied),
        Err(TransactionError::AlreadyApplied) => Ok(Outcome::Duplicate),
        Err(refused) => Err(Problem::refused(refused, &plan::ceiling())),
    }
}
