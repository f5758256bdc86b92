//! The used members of Stripe objects. A member whose location depends on the API version is read
//! from each location.

use std::collections::HashMap;

use aias_domain::{
    id::TenantId,
    plan::PlanName,
    subscription::{Invoice, State, Status},
};
use serde::Deserialize;

/// The longest id, in bytes (Stripe: "up to 255 characters").
const MAX_ID: usize = 255;

pub(crate) fn is_id(text: &str) -> bool {
    (1..=MAX_ID).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

/// An id, or an expanded object.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(crate) enum Ref {
    Id(String),
    Object { id: String },
}

impl Ref {
    pub(crate) fn id(self) -> Option<String> {
        let (Self::Id(id) | Self::Object { id }) = self;
        is_id(&id).then_some(id)
    }
}

pub(crate) type Metadata = Option<HashMap<String, String>>;

/// The tenant in the metadata of an object.
pub(crate) fn tenant_of(metadata: &Metadata) -> Option<TenantId> {
    metadata.as_ref()?.get(TENANT)?.parse().ok()
}

/// The metadata key of the tenant.
pub(crate) const TENANT: &str = "tenant_id";

#[derive(Debug, Deserialize)]
pub(crate) struct List<T> {
    #[serde(default = "Vec::new")]
    pub(crate) data: Vec<T>,
    #[serde(default)]
    pub(crate) has_more: bool,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Price {
    #[serde(default)]
    pub(crate) id: String,
    #[serde(default)]
    pub(crate) lookup_key: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct SubscriptionItem {
    #[serde(default)]
    pub(crate) price: Option<Price>,
    #[serde(default)]
    pub(crate) current_period_end: Option<i64>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Subscription {
    pub(crate) id: String,
    pub(crate) customer: Ref,
    pub(crate) status: String,
    pub(crate) items: List<SubscriptionItem>,
    #[serde(default)]
    pub(crate) current_period_end: Option<i64>,
    #[serde(default)]
    pub(crate) cancel_at: Option<i64>,
    #[serde(default)]
    pub(crate) cancel_at_period_end: bool,
    #[serde(default)]
    pub(crate) metadata: Metadata,
}

fn status_of(text: &str) -> Status {
    match text {
        "incomplete" => Status::Incomplete,
        "incomplete_expired" => Status::IncompleteExpired,
        "trialing" => Status::Trialing,
        "active" => Status::Active,
        "past_due" => Status::PastDue,
        "canceled" => Status::Canceled,
        "unpaid" => Status::Unpaid,
        "paused" => Status::Paused,
        // An unknown status gives no plan.
        _ => Status::Unknown,
    }
}

impl Subscription {
    pub(crate) fn state(&self) -> State {
        let prices = self
            .items
            .data
            .iter()
            .filter_map(|item| item.price.as_ref());
        let plans =
            prices.filter_map(|price| PlanName::from_lookup_key(price.lookup_key.as_ref()?));
        let plan = plans.max();
        if plan.is_none() {
            tracing::error!(
                event = "stripe_price_unknown",
                code = "unknown-price",
                subscription_id = self.id
            );
        }
        let of_items = self
            .items
            .data
            .iter()
            .filter_map(|item| item.current_period_end)
            .max();
        let current_period_end = self.current_period_end.or(of_items);
        State {
            status: status_of(&self.status),
            plan,
            current_period_end,
            cancel_at: self
                .cancel_at
                .or_else(|| current_period_end.filter(|_| self.cancel_at_period_end)),
        }
    }
}

#[derive(Debug, Deserialize)]
pub(crate) struct Session {
    #[serde(default)]
    pub(crate) mode: String,
    #[serde(default)]
    pub(crate) customer: Option<Ref>,
    #[serde(default)]
    pub(crate) subscription: Option<Ref>,
    #[serde(default)]
    pub(crate) client_reference_id: Option<String>,
    #[serde(default)]
    pub(crate) metadata: Metadata,
}

#[derive(Debug, Deserialize)]
pub(crate) struct SubscriptionDetails {
    #[serde(default)]
    pub(crate) subscription: Option<Ref>,
    #[serde(default)]
    pub(crate) metadata: Metadata,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Parent {
    #[serde(default)]
    pub(crate) subscription_details: Option<SubscriptionDetails>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct BilledInvoice {
    pub(crate) id: String,
    #[serde(default)]
    pub(crate) customer: Option<Ref>,
    #[serde(default)]
    pub(crate) status: Option<String>,
    #[serde(default)]
    pub(crate) amount_due: i64,
    #[serde(default)]
    pub(crate) amount_paid: i64,
    #[serde(default)]
    pub(crate) currency: String,
    #[serde(default)]
    pub(crate) created: i64,
    #[serde(default)]
    pub(crate) hosted_invoice_url: Option<String>,
    /// Since API version 2025-03-31.
    #[serde(default)]
    pub(crate) parent: Option<Parent>,
    /// Before API version 2025-03-31.
    #[serde(default)]
    pub(crate) subscription: Option<Ref>,
    /// Before API version 2025-03-31.
    #[serde(default)]
    pub(crate) subscription_details: Option<SubscriptionDetails>,
}

/// The longest URL that is stored, in bytes.
const MAX_URL: usize = 2_048;

impl BilledInvoice {
    pub(crate) fn at(&self, as_of: i64) -> Invoice {
        let cut = |text: &str| text.chars().take(32).collect();
        Invoice {
            as_of,
            id: self.id.clone(),
            status: cut(self.status.as_deref().unwrap_or("draft")),
            amount_due: self.amount_due,
            currency: cut(&self.currency),
            hosted_url: self
                .hosted_invoice_url
                .clone()
                .filter(|url| url.len() <= MAX_URL),
        }
    }

    /// The invoice's subscription, and the tenant in its metadata.
    pub(crate) fn subscription(self) -> (Option<String>, Option<TenantId>) {
        let details = self
            .parent
            .and_then(|parent| parent.subscription_details)
            .or(self.subscription_details);
        let tenant = details.as_ref().and_then(|own| tenant_of(&own.metadata));
        let id = details
            .and_then(|own| own.subscription)
            .or(self.subscription)
            .and_then(Ref::id);
        (id, tenant)
    }
}
