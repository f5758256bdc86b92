//! A tenant's Stripe subscriptions, from events that arrive in any order, twice, or late.
//!
//! Every fact has a time. The newest state of a subscription is kept; each payment is kept with its
//! time; a final state stays final. The same facts in any order give the same [`Account`], which a
//! test shows with a thousand orders. Facts that contradict another of the same second cannot be
//! ordered: then Stripe is queried ([`ApplyResult::Ambiguous`]). If Stripe does not know the subscription,
//! the larger of two states and the successful payment are kept, whatever their order.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::plan::PlanName;

/// The state of a subscription, in Stripe's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Only the existence of the subscription is known.
    Unknown,
    /// The first payment has not been made.
    Incomplete,
    /// A trial ended without a payment method.
    Paused,
    /// All payment attempts failed.
    Unpaid,
    /// The latest payment failed.
    PastDue,
    Trialing,
    Active,
    /// The first payment was never made. Final.
    IncompleteExpired,
    /// Final.
    Canceled,
}

impl Status {
    #[must_use]
    pub fn is_final(self) -> bool {
        matches!(self, Self::Canceled | Self::IncompleteExpired)
    }

    /// Whether the subscription gives a plan, with a grace period while a payment is overdue.
    #[must_use]
    pub fn is_live(self) -> bool {
        matches!(
            self,
            Self::Active | Self::Trialing | Self::PastDue | Self::Unpaid
        )
    }

    /// Whether the state implies that payments succeed (`true`) or fail (`false`).
    fn payment_state(self) -> Option<bool> {
        match self {
            Self::Active | Self::Trialing => Some(true),
            Self::PastDue | Self::Unpaid => Some(false),
            Self::Unknown
            | Self::Incomplete
            | Self::Paused
            | Self::IncompleteExpired
            | Self::Canceled => None,
        }
    }
}

/// A subscription at one time. Of two states in the same second the larger is kept, in the order of
/// the members.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct State {
    pub status: Status,
    /// The plan of its price; none for an unknown price.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<PlanName>,
    /// The end of the paid period, in seconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub current_period_end: Option<i64>,
    /// The scheduled end, in seconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cancel_at: Option<i64>,
}

/// A payment that succeeded or failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Payment {
    /// In seconds since 1970.
    pub at: i64,
    /// Of two payments in the same second, the successful one counts.
    pub good: bool,
}

/// How many payments of a subscription are kept, the newest.
const MAX_PAYMENTS: usize = 32;

/// How many subscriptions of a tenant are kept. Ended ones are removed first.
const MAX_SUBSCRIPTIONS: usize = 16;

/// How many deleted customers of a tenant are kept.
const MAX_DELETED_CUSTOMERS: usize = 16;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subscription {
    /// The Stripe id.
    pub id: String,
    pub customer_id: String,
    /// The newest known state.
    pub state: State,
    /// The time of that state, in seconds since 1970.
    pub as_of: i64,
    payments: Vec<Payment>,
}

/// A customer's newest invoice, for display.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Invoice {
    /// The time of this state, in seconds since 1970.
    pub as_of: i64,
    /// The Stripe id.
    pub id: String,
    /// `draft`, `open`, `paid`, `uncollectible` or `void`.
    pub status: String,
    /// In the smallest unit of the currency.
    pub amount_due: i64,
    /// ISO 4217, three letters.
    pub currency: String,
    /// Where the customer can view and pay it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hosted_url: Option<String>,
}

/// The content of a Stripe event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fact {
    /// The state of a subscription.
    Subscription {
        id: String,
        customer_id: String,
        state: State,
    },
    /// An invoice was paid, failed to be paid, or changed.
    Invoice {
        /// None for an invoice without a subscription.
        subscription_id: Option<String>,
        customer_id: String,
        /// Whether it was paid; none when the event says nothing about payment.
        good: Option<bool>,
        invoice: Invoice,
    },
    /// A checkout completed: the customer, and the subscription if there is one, belong to the
    /// tenant.
    Checkout {
        customer_id: String,
        subscription_id: Option<String>,
    },
    /// A customer was deleted, and with it all of its subscriptions.
    CustomerDeleted { customer_id: String },
}

impl Fact {
    #[must_use]
    pub fn customer_id(&self) -> &str {
        match self {
            Self::Subscription { customer_id, .. }
            | Self::Invoice { customer_id, .. }
            | Self::Checkout { customer_id, .. }
            | Self::CustomerDeleted { customer_id } => customer_id,
        }
    }
}

/// The result of applying a fact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ApplyResult {
    /// The fact, or something newer, is in the account.
    Applied,
    /// The fact contradicts another of the same second, or names a subscription about which nothing
    /// else is known: Stripe should be queried. Until then the account holds what the fact says.
    Ambiguous {
        /// The subscription to query.
        subscription_id: String,
    },
}

/// Everything known about a tenant's customers and subscriptions.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// The customer that the tenant buys as: the one that AIAS created, or the first that a
    /// checkout of AIAS completed for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub customer_id: Option<String>,
    #[serde(default)]
    subscriptions: Vec<Subscription>,
    #[serde(default)]
    deleted_customers: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latest_invoice: Option<Invoice>,
}

/// The plan that an account gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PlanGrant<'a> {
    pub plan: PlanName,
    /// The end of the grace period, if a payment has failed.
    pub until: Option<Timestamp>,
    /// When the first unpaid payment failed.
    pub past_due_since: Option<Timestamp>,
    /// The subscription that gives the plan.
    pub subscription: Option<&'a Subscription>,
}

impl Account {
    /// Applies a fact of a given time, in seconds since 1970.
    pub fn apply(&mut self, at: i64, fact: &Fact) -> ApplyResult {
        match fact {
            Fact::Subscription {
                id,
                customer_id,
                state,
            } => {
                let own = self.subscription_of(id, customer_id);
                let payment_state = state.status.payment_state();
                let contradicts =
                    payment_state.is_some_and(|good| own.record_payment(Payment { at, good }));
                let ambiguous = own.record_state(at, state) || contradicts;
                self.trim();
                if ambiguous {
                    return ApplyResult::Ambiguous {
                        subscription_id: id.clone(),
                    };
                }
            }
            Fact::Invoice {
                subscription_id,
                customer_id,
                good,
                invoice,
            } => {
                if self.latest_invoice.as_ref() < Some(invoice) {
                    self.latest_invoice = Some(invoice.clone());
                }
                if let Some(id) = subscription_id {
                    let own = self.subscription_of(id, customer_id);
                    let contradicts =
                        good.is_some_and(|good| own.record_payment(Payment { at, good }));
                    if contradicts {
                        return ApplyResult::Ambiguous {
                            subscription_id: id.clone(),
                        };
                    }
                }
                self.trim();
            }
            Fact::Checkout {
                customer_id,
                subscription_id,
            } => {
                if let Some(id) = subscription_id {
                    let own = self.subscription_of(id, customer_id);
                    if own.state.status == Status::Unknown {
                        return ApplyResult::Ambiguous {
                            subscription_id: id.clone(),
                        };
                    }
                }
            }
            Fact::CustomerDeleted { customer_id } => {
                if !self.deleted_customers.contains(customer_id) {
                    self.deleted_customers.push(customer_id.clone());
                    self.deleted_customers.sort();
                    self.deleted_customers.truncate(MAX_DELETED_CUSTOMERS);
                }
                if self.customer_id.as_ref() == Some(customer_id) {
                    self.customer_id = None;
                }
            }
        }
        ApplyResult::Applied
    }

    /// Applies a state that Stripe returned at a given time. Older facts are ignored afterwards.
    pub fn apply_queried(&mut self, at: i64, id: &str, customer_id: &str, state: &State) {
        let own = self.subscription_of(id, customer_id);
        if let Some(good) = state.status.payment_state() {
            // Stripe's own response replaces all payments of this second.
            own.payments.retain(|payment| payment.at != at);
            own.record_payment(Payment { at, good });
        }
        if at >= own.as_of && !own.state.status.is_final() {
            own.state = state.clone();
            own.as_of = at;
        }
        self.trim();
    }

    /// Adds everything that another account holds: that of a customer who had no tenant until now.
    pub fn merge(&mut self, other: Self) {
        for theirs in other.subscriptions {
            let own = self.subscription_of(&theirs.id, &theirs.customer_id);
            for payment in theirs.payments {
                // Of two contradicting payments the successful one counts.
                own.record_payment(payment);
            }
            if theirs.state.status != Status::Unknown {
                own.record_state(theirs.as_of, &theirs.state);
            }
        }
        for customer_id in other.deleted_customers {
            self.apply(0, &Fact::CustomerDeleted { customer_id });
        }
        self.latest_invoice = self.latest_invoice.take().max(other.latest_invoice);
        self.trim();
    }

    /// Makes a customer the one that the tenant buys as, if it has none.
    pub fn adopt(&mut self, customer_id: &str) {
        if self.customer_id.is_none() && !self.is_deleted_customer(customer_id) {
            self.customer_id = Some(customer_id.to_owned());
        }
    }

    /// Number of deleted customers of the tenant.
    #[must_use]
    pub fn generation(&self) -> usize {
        self.deleted_customers.len()
    }

    /// Whether the customer was deleted.
    #[must_use]
    pub fn is_deleted_customer(&self, customer_id: &str) -> bool {
        self.deleted_customers
            .iter()
            .any(|deleted| deleted == customer_id)
    }

    /// The live subscription with the largest plan, and that plan. A paid one counts before one that is
    /// overdue, so that a larger unpaid subscription does not take away a smaller paid one.
    #[must_use]
    pub fn plan_grant(&self) -> PlanGrant<'_> {
        let live = self.subscriptions.iter().filter(|own| {
            own.state.status.is_live() && !self.is_deleted_customer(&own.customer_id)
        });
        let best = live.max_by_key(|own| (own.overdue_since().is_none(), own.state.plan, &own.id));
        let Some(own) = best else {
            return PlanGrant {
                plan: PlanName::Free,
                until: None,
                past_due_since: None,
                subscription: self.last_ended(),
            };
        };
        let plan = own.state.plan.unwrap_or_default();
        let since = own
            .overdue_since()
            .and_then(|since| Timestamp::from_second(since).ok());
        let grace = SignedDuration::from_hours(24 * i64::from(plan.limits().grace_days));
        PlanGrant {
            plan,
            until: since.map(|since| since + grace),
            past_due_since: since,
            subscription: Some(own),
        }
    }

    fn last_ended(&self) -> Option<&Subscription> {
        let known = |own: &&Subscription| own.state.status != Status::Unknown;
        self.subscriptions
            .iter()
            .filter(known)
            .max_by_key(|own| (own.as_of, &own.id))
    }

    fn subscription_of(&mut self, id: &str, customer_id: &str) -> &mut Subscription {
        let place = match self
            .subscriptions
            .binary_search_by(|own| own.id.as_str().cmp(id))
        {
            Ok(place) => place,
            Err(place) => {
                let new = Subscription {
                    id: id.to_owned(),
                    customer_id: customer_id.to_owned(),
                    state: State {
                        status: Status::Unknown,
                        plan: None,
                        current_period_end: None,
                        cancel_at: None,
                    },
                    as_of: 0,
                    payments: Vec::new(),
                };
                self.subscriptions.insert(place, new);
                place
            }
        };
        &mut self.subscriptions[place]
    }

    fn trim(&mut self) {
        while self.subscriptions.len() > MAX_SUBSCRIPTIONS {
            let oldest = self
                .subscriptions
                .iter()
                .enumerate()
                .min_by_key(|(_, own)| (own.state.status.is_live(), own.as_of))
                .map(|(place, _)| place);
            if let Some(place) = oldest {
                self.subscriptions.remove(place);
            }
        }
    }
}

impl Subscription {
    /// Records a state. Returns whether it contradicts another of the same second.
    fn record_state(&mut self, at: i64, state: &State) -> bool {
        if self.state.status.is_final() && !state.status.is_final() {
            return false;
        }
        let ends = state.status.is_final() && !self.state.status.is_final();
        let known = self.state.status != Status::Unknown;
        let same_second = known && at == self.as_of && *state != self.state;
        let newer = at > self.as_of || !known;
        if ends || newer || (same_second && *state > self.state) {
            self.state = state.clone();
            self.as_of = at;
        }
        same_second && !self.state.status.is_final()
    }

    /// Records a payment. Returns whether it contradicts another of the same second.
    fn record_payment(&mut self, payment: Payment) -> bool {
        let other = Payment {
            good: !payment.good,
            ..payment
        };
        if let Err(place) = self.payments.binary_search(&payment) {
            self.payments.insert(place, payment);
        }
        if self.payments.len() > MAX_PAYMENTS {
            self.payments.remove(0);
        }
        self.payments.binary_search(&other).is_ok()
    }

    /// The first payment that failed after the last successful one.
    fn overdue_since(&self) -> Option<i64> {
        let last_good = self.payments.iter().rposition(|s| s.good);
        let after = last_good.map_or(0, |place| place + 1);
        self.payments.get(after).map(|first| first.at)
    }
}

#[cfg(test)]
mod tests;
