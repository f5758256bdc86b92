//! What is known of a tenant's subscription, told by events that come in any order, twice, or late.
//!
//! Every fact has a moment. A subscription's newest state wins; a payment that failed or went
//! through is kept with its moment; what has ended stays ended. So the same facts in any order give
//! the same [`Account`], which a test shows with a thousand orders. Only what contradicts another
//! thing of the same second cannot be put in order: then the payment provider is asked ([`Applied::Doubt`]), and where
//! it does not know the subscription, the larger of two states is taken, and the payment that went
//! through, in whatever order they came.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::plan::PlanName;

/// A subscription's state, in the payment provider's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Nothing is known but that it is there.
    Unknown,
    /// Its first payment is not made.
    Incomplete,
    /// Paused: a trial ended without a way to pay.
    Paused,
    /// Its payments failed as often as they are tried.
    Unpaid,
    /// A payment failed.
    PastDue,
    /// In a trial.
    Trialing,
    /// Paid.
    Active,
    /// Its first payment was never made. It stays so.
    IncompleteExpired,
    /// Ended. It stays so.
    Canceled,
}

impl Status {
    /// Whether nothing changes it any more.
    #[must_use]
    pub fn is_final(self) -> bool {
        matches!(self, Self::Canceled | Self::IncompleteExpired)
    }

    /// Whether it gives a plan: while a payment is due, for a grace.
    #[must_use]
    pub fn is_live(self) -> bool {
        matches!(
            self,
            Self::Active | Self::Trialing | Self::PastDue | Self::Unpaid
        )
    }

    /// Whether it says that payments are made, or that they are not.
    fn standing(self) -> Option<bool> {
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

/// A subscription at a moment. The order of the members decides between two of the same second.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct State {
    /// Its state.
    pub status: Status,
    /// The plan that its price buys; none for a price that names none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<PlanName>,
    /// When the paid period ends, in seconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub current_period_end: Option<i64>,
    /// When it will end, if that is decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cancel_at: Option<i64>,
}

/// A payment that went through or failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Standing {
    /// When, in seconds since 1970.
    pub at: i64,
    /// Which of the two; of the same second, the good one counts.
    pub good: bool,
}

/// How many standings of a subscription are kept, the newest.
const MAX_STANDINGS: usize = 32;

/// How many subscriptions of a tenant are kept; ended ones go first.
const MAX_SUBSCRIPTIONS: usize = 16;

/// How many deleted customers of a tenant are remembered.
const MAX_GONE: usize = 16;

/// One subscription.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subscription {
    /// The payment provider's id.
    pub id: String,
    /// The customer's.
    pub customer_id: String,
    /// Its newest known state.
    pub state: State,
    /// The moment of that state, in seconds since 1970.
    pub as_of: i64,
    standings: Vec<Standing>,
}

/// A customer's newest invoice, for people to look at.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Invoice {
    /// The moment of this state, in seconds since 1970.
    pub as_of: i64,
    /// The payment provider's id.
    pub id: String,
    /// `draft`, `open`, `paid`, `uncollectible` or `void`.
    pub status: String,
    /// In the currency's smallest unit.
    pub amount_due: i64,
    /// Three letters, ISO 4217.
    pub currency: String,
    /// Where it can be seen and paid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hosted_url: Option<String>,
}

/// What an event says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fact {
    /// A subscription's state.
    Subscription {
        /// Its id.
        id: String,
        /// Its customer.
        customer_id: String,
        /// Its state.
        state: State,
    },
    /// An invoice was paid, or its payment failed, or it changed otherwise.
    Invoice {
        /// The subscription that it is for, if for one.
        subscription_id: Option<String>,
        /// The customer.
        customer_id: String,
        /// Whether it was paid; none when it says nothing of that.
        good: Option<bool>,
        /// The invoice.
        invoice: Invoice,
    },
    /// A customer bought something: they belong to the tenant, and perhaps a subscription does.
    Checkout {
        /// The customer.
        customer_id: String,
        /// The subscription that was bought.
        subscription_id: Option<String>,
    },
    /// A customer is gone, and their subscriptions with them.
    CustomerDeleted {
        /// The customer.
        customer_id: String,
    },
}

impl Fact {
    /// Whose it is.
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

/// What a fact changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Applied {
    /// It is in the account now, or was already, or something newer is.
    Known,
    /// It contradicts what is known of the same second, or names a subscription of which nothing
    /// else is known: the payment provider should be asked for its state. What the fact alone says
    /// is in the account.
    Doubt {
        /// The subscription to ask for.
        subscription_id: String,
    },
}

/// All that is known of a tenant's customers and subscriptions.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// The customer in whose name the tenant buys: the one that AIAS made, or the first that
    /// was named its own by AIAS's own word.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub customer_id: Option<String>,
    #[serde(default)]
    subscriptions: Vec<Subscription>,
    #[serde(default)]
    gone: Vec<String>,
    /// The newest invoice.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latest_invoice: Option<Invoice>,
}

/// What an account gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entitled<'a> {
    /// The plan.
    pub plan: PlanName,
    /// Until when, if a payment has failed.
    pub until: Option<Timestamp>,
    /// Since when a payment is due.
    pub past_due_since: Option<Timestamp>,
    /// The subscription that gives it.
    pub subscription: Option<&'a Subscription>,
}

impl Account {
    /// Takes in what was said at a moment, in seconds since 1970.
    pub fn apply(&mut self, at: i64, fact: &Fact) -> Applied {
        match fact {
            Fact::Subscription {
                id,
                customer_id,
                state,
            } => {
                let own = self.subscription_of(id, customer_id);
                let standing = state.status.standing();
                let contradicts = standing.is_some_and(|good| own.stand(Standing { at, good }));
                let doubt = own.see(at, state) || contradicts;
                self.trim();
                if doubt {
                    return Applied::Doubt {
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
                    let contradicts = good.is_some_and(|good| own.stand(Standing { at, good }));
                    if contradicts {
                        return Applied::Doubt {
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
                        return Applied::Doubt {
                            subscription_id: id.clone(),
                        };
                    }
                }
            }
            Fact::CustomerDeleted { customer_id } => {
                if !self.gone.contains(customer_id) {
                    self.gone.push(customer_id.clone());
                    self.gone.sort();
                    self.gone.truncate(MAX_GONE);
                }
                if self.customer_id.as_ref() == Some(customer_id) {
                    self.customer_id = None;
                }
            }
        }
        Applied::Known
    }

    /// Takes in what the payment provider itself answered at a moment: nothing older counts then.
    pub fn ask(&mut self, at: i64, id: &str, customer_id: &str, state: &State) {
        let own = self.subscription_of(id, customer_id);
        if let Some(good) = state.status.standing() {
            // Of this second it knows better.
            own.standings.retain(|standing| standing.at != at);
            own.stand(Standing { at, good });
        }
        if at >= own.as_of && !own.state.status.is_final() {
            own.state = state.clone();
            own.as_of = at;
        }
        self.trim();
    }

    /// Takes in all that another account knows: a customer's, which had no tenant until now.
    pub fn merge(&mut self, other: Self) {
        for theirs in other.subscriptions {
            let own = self.subscription_of(&theirs.id, &theirs.customer_id);
            for standing in theirs.standings {
                // Of a doubt the good one counts.
                own.stand(standing);
            }
            if theirs.state.status != Status::Unknown {
                own.see(theirs.as_of, &theirs.state);
            }
        }
        for customer_id in other.gone {
            self.apply(0, &Fact::CustomerDeleted { customer_id });
        }
        self.latest_invoice = self.latest_invoice.take().max(other.latest_invoice);
        self.trim();
    }

    /// Makes a customer the tenant's own, if it has none: the tenant then buys in its name.
    pub fn adopt(&mut self, customer_id: &str) {
        let gone = self.gone.iter().any(|gone| gone == customer_id);
        if self.customer_id.is_none() && !gone {
            self.customer_id = Some(customer_id.to_owned());
        }
    }

    /// How many customers of the tenant were deleted.
    #[must_use]
    pub fn generation(&self) -> usize {
        self.gone.len()
    }

    /// Whether a customer was deleted.
    #[must_use]
    pub fn is_gone(&self, customer_id: &str) -> bool {
        self.gone.iter().any(|gone| gone == customer_id)
    }

    /// The subscription that counts, and the plan that it gives: of those that live, the one with
    /// the largest plan.
    #[must_use]
    pub fn entitled(&self) -> Entitled<'_> {
        let live = self
            .subscriptions
            .iter()
            .filter(|own| own.state.status.is_live() && !self.is_gone(&own.customer_id));
        let best = live.max_by_key(|own| (own.state.plan, own.bad_since().is_none(), &own.id));
        let Some(own) = best else {
            return Entitled {
                plan: PlanName::Free,
                until: None,
                past_due_since: None,
                subscription: self.last_ended(),
            };
        };
        let plan = own.state.plan.unwrap_or_default();
        let since = own
            .bad_since()
            .and_then(|since| Timestamp::from_second(since).ok());
        let grace = SignedDuration::from_hours(24 * i64::from(plan.limits().grace_days));
        Entitled {
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
                    standings: Vec::new(),
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
    /// Takes in a state; says whether it contradicts another of the same second.
    fn see(&mut self, at: i64, state: &State) -> bool {
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

    /// Takes in a standing; says whether it contradicts another of the same second.
    fn stand(&mut self, standing: Standing) -> bool {
        let other = Standing {
            good: !standing.good,
            ..standing
        };
        if let Err(place) = self.standings.binary_search(&standing) {
            self.standings.insert(place, standing);
        }
        if self.standings.len() > MAX_STANDINGS {
            self.standings.remove(0);
        }
        self.standings.binary_search(&other).is_ok()
    }

    /// The first payment that failed after the last that went through.
    fn bad_since(&self) -> Option<i64> {
        let last_good = self.standings.iter().rposition(|s| s.good);
        let after = last_good.map_or(0, |place| place + 1);
        self.standings.get(after).map(|first| first.at)
    }
}

#[cfg(test)]
mod tests;
