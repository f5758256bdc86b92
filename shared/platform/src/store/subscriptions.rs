//! What the payment provider says: a tenant's account, a customer's until it has a tenant, and the
//! events that were applied.

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
    due::{self, Task},
    items::{EXPIRES_AT, Item, item, number, stored},
    keys,
    transaction::{Refused, Transaction},
};

/// A customer of the payment provider.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Customer {
    /// Whose it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant_id: Option<TenantId>,
    /// What is known of it as long as it has no tenant.
    #[serde(default)]
    pub account: Account,
}

impl Customer {
    /// Shows that the payment provider named the tenant: its events are signed.
    #[must_use]
    pub fn proof(&self) -> Option<Proof> {
        self.tenant_id.map(Proof::new)
    }
}

/// What an event changes.
#[derive(Debug)]
pub struct Change<'a> {
    /// The event's id.
    pub event_id: &'a str,
    /// Now.
    pub now: Timestamp,
    /// The customer's id, and its item if that changes.
    pub customer: Option<(&'a str, &'a Stored<Customer>)>,
    /// The tenant's part, if it has one.
    pub tenant: Option<TenantChange<'a>>,
}

/// What an event changes for a tenant.
#[derive(Debug)]
pub struct TenantChange<'a> {
    /// Which.
    pub proof: Proof,
    /// Its account.
    pub account: &'a Stored<Account>,
    /// Its plan, if that changes, and what tells of it.
    pub plan: Option<(Plan, &'a Entry)>,
}

/// How long an applied event is remembered, in seconds: the payment provider sends for 3 days, and
/// keeps its events for 30.
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

fn plan_values(plan: Plan) -> Result<Item, Error> {
    let plan = serde_dynamo::aws_sdk_dynamodb_1::to_attribute_value(plan)
        .map_err(|e| Error::Broken(Box::new(e)))?;
    Ok([(":plan".to_owned(), plan)].into())
}

impl Store {
    /// What is known of a customer; version 0 when nothing is.
    ///
    /// # Errors
    /// When the table does not answer.
    pub async fn customer(&self, id: &str) -> Result<Stored<Customer>, Error> {
        read_or_default(self.item(&keys::customer(id), true).await?)
    }

    /// Whether an event was applied.
    ///
    /// # Errors
    /// When the table does not answer.
    pub async fn is_applied(&self, event_id: &str) -> Result<bool, Error> {
        let found = self.item(&keys::applied(event_id), true).await?;
        Ok(found.is_some())
    }

    /// Writes what an event changes, and that it was applied, together.
    ///
    /// # Errors
    /// [`Refused::Before`] when it was applied before, [`Refused::Conflict`] when something has
    /// changed since it was read.
    pub async fn apply(&self, change: Change<'_>) -> Result<(), Refused> {
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
                        "attribute_exists(PK)",
                        plan_values(plan)?,
                    )
                    .put(due::item(own.tenant, Task::Settle, change.now));
            }
        }
        transaction.commit().await
    }
}

impl TenantStore<'_> {
    /// The tenant's account; version 0 when there is none.
    ///
    /// # Errors
    /// When the table does not answer.
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

    /// Writes the account with the customer that was made for the tenant.
    ///
    /// # Errors
    /// [`Refused::Conflict`] when the account has changed since it was read, or the customer is
    /// another tenant's.
    pub async fn save_customer(
        &self,
        account: &Stored<Account>,
        customer_id: &str,
    ) -> Result<(), Refused> {
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

    /// Writes the limits that an operator gives the tenant, or takes them away, and has what
    /// follows from it done.
    ///
    /// # Errors
    /// [`Refused::Conflict`] when there is no such tenant.
    pub async fn save_enterprise(
        &self,
        overrides: Option<Overrides>,
        plan: Plan,
        now: Timestamp,
    ) -> Result<(), Refused> {
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
            .update(&tenant, update, "attribute_exists(PK)", values)
            .put(due::item(self.tenant, Task::Settle, now))
            .commit()
            .await
    }
}
