//! Stripe data: the account of a tenant, that of a customer without a tenant, and the ids of
//! applied events.

use aias_domain::{
    audit::Entry,
    id::TenantId,
    plan::{Overrides, Plan},
    subscription::Account,
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{
    Error, Proof, Store, Stored, TenantStore, audit,
    items::{EXPIRES_AT, Item, item, number, stored},
    keys,
    scheduled_tasks::{self, Task},
    transaction::Transaction,
    transaction_error::TransactionError,
};

/// The tenant named in an event that Stripe signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SignedTenant(TenantId);

impl SignedTenant {
    /// To be called only with the id in an event whose signature was verified. `clippy.toml` allows
    /// it nowhere else.
    #[must_use]
    pub fn of_verified_event(tenant_id: TenantId) -> Self {
        Self(tenant_id)
    }
}

/// A Stripe customer. Its tenant was named in a signed event, or created it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Customer {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    tenant_id: Option<TenantId>,
    /// The customer's account while it has no tenant.
    #[serde(default)]
    pub account: Account,
}

impl Customer {
    /// A customer of the tenant.
    #[must_use]
    pub fn of_tenant(tenant: SignedTenant) -> Self {
        Self {
            tenant_id: Some(tenant.0),
            account: Account::default(),
        }
    }

    #[must_use]
    pub fn has_tenant(&self) -> bool {
        self.tenant_id.is_some()
    }

    /// Proves that the customer belongs to the tenant.
    #[must_use]
    pub fn proof(&self) -> Option<Proof> {
        self.tenant_id.map(Proof::new)
    }
}

/// The writes of one Stripe event.
#[derive(Debug)]
pub struct Change<'a> {
    pub event_id: &'a str,
    pub now: Timestamp,
    /// The customer's id, and its item if that changes.
    pub customer: Option<(&'a str, &'a Stored<Customer>)>,
    /// The changes of the tenant, if the customer has one.
    pub tenant: Option<TenantChange<'a>>,
}

/// A change of a tenant's plan. It is a conflict if the plan is not `before` any more: two writers
/// could lose a part of it.
#[derive(Debug, Clone, Copy)]
pub struct PlanChange {
    pub before: Plan,
    pub after: Plan,
}

/// The changes of a tenant by a Stripe event.
#[derive(Debug)]
pub struct TenantChange<'a> {
    pub proof: Proof,
    pub account: &'a Stored<Account>,
    /// The plan before and after and its audit entry, if the plan changes.
    pub plan: Option<(PlanChange, &'a Entry)>,
}

/// How long the id of an applied event is stored, in seconds. Stripe retries for 3 days and keeps
/// events for 30.
const REMEMBERED_SECONDS: i64 = 35 * 24 * 3600;

fn read_or_default<T: Default + serde::de::DeserializeOwned>(
    found: Option<Item>,
) -> Result<Stored<T>, Error> {
    let nothing = || Stored {
        value: T::default(),
        version: 0,
    };
    Ok(found.map(stored).transpose()?.unwrap_or_else(nothing))
}

/// The condition of a change of the plan, with [`plan_values`].
const PLAN_IS_UNCHANGED: &str = "#plan = :before";

fn plan_values(change: PlanChange) -> Result<Item, Error> {
    let value = |plan: Plan| {
        serde_dynamo::aws_sdk_dynamodb_1::to_attribute_value(plan)
            .map_err(|e| Error::Broken(Box::new(e)))
    };
    Ok([
        (":before".to_owned(), value(change.before)?),
        (":plan".to_owned(), value(change.after)?),
    ]
    .into())
}

impl Store {
    /// A customer; version 0 if unknown.
    ///
    /// # Errors
    ///
    /// When the table is unavailable.
    pub async fn customer(&self, id: &str) -> Result<Stored<Customer>, Error> {
        read_or_default(self.item(&keys::customer(id), true).await?)
    }

    /// Whether an event was applied.
    ///
    /// # Errors
    /// When the table is unavailable.
    pub async fn is_applied(&self, event_id: &str) -> Result<bool, Error> {
        let found = self.item(&keys::applied(event_id), true).await?;
        Ok(found.is_some())
    }

    /// Writes the changes of an event, and its id, in one transaction.
    ///
    /// # Errors
    ///
    /// [`TransactionError::AlreadyApplied`] when the event was applied before, [`TransactionError::Conflict`] when an item
    /// has changed since it was read.
    pub async fn apply(&self, change: Change<'_>) -> Result<(), TransactionError> {
        let mut mark = keys::applied(change.event_id).attributes();
        mark.insert(
            EXPIRES_AT.to_owned(),
            number(change.now.as_second() + REMEMBERED_SECONDS),
        );
        let mut transaction = Transaction::new(self).once(mark);
        if let Some((id, customer)) = change.customer {
            let own = item(&keys::customer(id), "customer", &customer.value)?;
            transaction = transaction.save(own, customer.version);
        }
        if let Some(tenant) = change.tenant {
            let own = self.tenant(tenant.proof);
            transaction = own.saving(transaction, tenant.account)?;
            if let Some((plan, entry)) = tenant.plan {
                transaction = transaction
                    .create(audit::item_of(own.tenant, entry)?)
                    .update(
                        &keys::tenant(own.tenant),
                        "SET #plan = :plan",
                        PLAN_IS_UNCHANGED,
                        plan_values(plan)?,
                    )
                    .put(scheduled_tasks::item(
                        own.tenant,
                        Task::ApplyPlan,
                        change.now,
                    ));
            }
        }
        transaction.commit().await
    }
}

impl TenantStore<'_> {
    /// The tenant's account; version 0 if there is none.
    ///
    /// # Errors
    ///
    /// When the table is unavailable.
    pub async fn account(&self) -> Result<Stored<Account>, Error> {
        let key = keys::subscription(self.tenant);
        read_or_default(self.store.item(&key, true).await?)
    }

    fn saving<'a>(
        &self,
        transaction: Transaction<'a>,
        account: &Stored<Account>,
    ) -> Result<Transaction<'a>, Error> {
        let key = keys::subscription(self.tenant);
        let own = item(&key, "subscription", &account.value)?;
        Ok(transaction.save(own, account.version))
    }

    /// Writes the account and the customer created for the tenant.
    ///
    /// # Errors
    ///
    /// [`TransactionError::Conflict`] when the account has changed since it was read, or the customer
    /// belongs to another tenant.
    pub async fn save_customer(
        &self,
        account: &Stored<Account>,
        customer_id: &str,
    ) -> Result<(), TransactionError> {
        let customer = Customer {
            tenant_id: Some(self.tenant),
            account: Account::default(),
        };
        let known = self.store.customer(customer_id).await?;
        let mut transaction = self.saving(Transaction::new(self.store), account)?;
        if known.value.tenant_id != Some(self.tenant) {
            let own = item(&keys::customer(customer_id), "customer", &customer)?;
            transaction = transaction.create(own);
        }
        transaction.commit().await
    }

    /// Sets or removes the limits that an operator gives to the tenant, and schedules applying
    /// them.
    ///
    /// # Errors
    ///
    /// [`TransactionError::Conflict`] when the plan has changed since it was read.
    pub async fn save_enterprise(
        &self,
        overrides: Option<Overrides>,
        plan: PlanChange,
        now: Timestamp,
    ) -> Result<(), TransactionError> {
        let mut values = plan_values(plan)?;
        let update = match overrides {
            None => "SET #plan = :plan REMOVE enterprise",
            Some(overrides) => {
                let limits = serde_dynamo::aws_sdk_dynamodb_1::to_attribute_value(overrides)
                    .map_err(|e| Error::Broken(Box::new(e)))?;
                values.insert(":limits".to_owned(), limits);
                "SET #plan = :plan, enterprise = :limits"
            }
        };
        let tenant = keys::tenant(self.tenant);
        self.transaction()?
            .update(&tenant, update, PLAN_IS_UNCHANGED, values)
            .put(scheduled_tasks::item(self.tenant, Task::ApplyPlan, now))
            .commit()
            .await
    }
}
