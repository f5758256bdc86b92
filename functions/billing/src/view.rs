//! Billing as the API shows it.

use aias_billing::InvoiceView as StripeInvoice;
use aias_domain::{
    plan::PlanName,
    subscription::{Account, Status},
    timestamp,
};
use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

/// The subscription, and the plan in force.
#[derive(Serialize, ToSchema)]
#[schema(as = Subscription)]
pub(crate) struct SubscriptionView {
    /// The tenant's plan.
    plan: PlanName,
    /// The status of the subscription in Stripe's words; `none` without a subscription.
    #[schema(value_type = String, example = "active")]
    status: &'static str,
    /// The plan of the subscription.
    subscribed_plan: Option<PlanName>,
    #[schema(format = DateTime)]
    current_period_end: Option<String>,
    #[schema(format = DateTime)]
    cancel_at: Option<String>,
    #[schema(format = DateTime)]
    past_due_since: Option<String>,
    /// The end of the grace period after a failed payment.
    #[schema(format = DateTime)]
    grace_ends_at: Option<String>,
    latest_invoice: Option<InvoiceView>,
}

/// An invoice.
#[derive(Serialize, ToSchema)]
#[schema(as = Invoice)]
pub(crate) struct InvoiceView {
    id: String,
    /// In Stripe's words.
    #[schema(example = "paid")]
    status: String,
    /// In the smallest unit of the currency.
    amount_due: i64,
    /// In the smallest unit of the currency.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    amount_paid: Option<i64>,
    #[schema(example = "eur")]
    currency: String,
    #[schema(format = "uri")]
    hosted_invoice_url: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, format = DateTime)]
    created_at: Option<String>,
}

fn at(second: i64) -> Option<String> {
    Timestamp::from_second(second).ok().map(timestamp::format)
}

fn name(status: Status) -> &'static str {
    match status {
        Status::Unknown => "unknown",
        Status::Incomplete => "incomplete",
        Status::IncompleteExpired => "incomplete_expired",
        Status::Trialing => "trialing",
        Status::Active => "active",
        Status::PastDue => "past_due",
        Status::Canceled => "canceled",
        Status::Unpaid => "unpaid",
        Status::Paused => "paused",
    }
}

pub(crate) fn subscription(account: &Account, plan: PlanName) -> SubscriptionView {
    let grant = account.plan_grant();
    let own = grant.subscription;
    let state = own.map(|own| &own.state);
    let status = match state.map(|state| state.status) {
        None => "none",
        // Stripe reports a failed payment before the new status of the subscription.
        Some(Status::Active | Status::Trialing) if grant.past_due_since.is_some() => "past_due",
        Some(Status::PastDue | Status::Unpaid) if grant.past_due_since.is_none() => "active",
        Some(status) => name(status),
    };
    SubscriptionView {
        plan,
        status,
        subscribed_plan: state.and_then(|state| state.plan),
        current_period_end: state.and_then(|state| at(state.current_period_end?)),
        cancel_at: state.and_then(|state| at(state.cancel_at?)),
        past_due_since: grant.past_due_since.map(timestamp::format),
        grace_ends_at: grant.until.map(timestamp::format),
        latest_invoice: account.latest_invoice.as_ref().map(|own| InvoiceView {
            id: own.id.clone(),
            status: own.status.clone(),
            amount_due: own.amount_due,
            amount_paid: None,
            currency: own.currency.clone(),
            hosted_invoice_url: own.hosted_url.clone(),
            created_at: None,
        }),
    }
}

pub(crate) fn invoice(own: &StripeInvoice) -> InvoiceView {
    let invoice = &own.invoice;
    InvoiceView {
        id: invoice.id.clone(),
        status: invoice.status.clone(),
        amount_due: invoice.amount_due,
        amount_paid: Some(own.amount_paid),
        currency: invoice.currency.clone(),
        hosted_invoice_url: invoice.hosted_url.clone(),
        created_at: at(own.created),
    }
}
