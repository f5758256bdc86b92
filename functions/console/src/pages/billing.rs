//! Plan, usage, invoices. Stripe's pages change the plan.

use aias_domain::tenant::Role;
use axum::{extract::Path, response::Response};
use maud::{Markup, html};
use serde_json::json;

use super::overview;
use crate::{
    client::{ApiResult, Entitlement, Invoice, Page, StripePage, Subscription},
    failure::{Failure, Result},
    form::Form,
    ui,
    visit::{Visit, t},
};

pub(crate) async fn page(visit: Visit) -> Response {
    let is_owner = visit.can(Role::Owner);
    let (limits, subscription, invoices) = tokio::join!(
        visit.get::<Page<Entitlement>>("/api/entitlements/check"),
        async {
            match is_owner {
                true => Some(visit.get::<Subscription>("/api/billing/subscription").await),
                false => None,
            }
        },
        async {
            match is_owner {
                true => Some(visit.list::<Invoice>("/api/billing/invoices", &[]).await),
                false => None,
            }
        },
    );
    let content = html! {
        p { (t!(visit, "plan")) ": " strong { (ui::text(visit.caller.limits.plan.as_str())) } }
        @if let Some(subscription) = subscription { (ui::panel(&visit, subscription, |own| state(&visit, &own))) }
        @else { p.note { (t!(visit, "billing-owner-only")) } }
        section { h2 { (t!(visit, "usage")) }
            (ui::panel(&visit, limits, |limits| html! { (overview::usage(&visit, &limits)) (fixed(&visit, &limits)) })) }
        @if let Some(invoices) = invoices { (bills(&visit, invoices)) }
    };
    visit.page(&t!(visit, "nav-billing"), content)
}

/// The limits that are not counted.
fn fixed(visit: &Visit, limits: &Page<Entitlement>) -> Markup {
    html! {
        dl.facts {
            @for own in limits.data.iter().filter(|own| own.used.is_none()) {
                dt { (ui::word(visit, "feature", &own.feature)) } dd { (visit.language().number(own.limit)) }
            }
        }
    }
}

fn state(visit: &Visit, own: &Subscription) -> Markup {
    let has_subscription = own.status != "none";
    html! {
        @if let Some(since) = &own.past_due_since {
            div.problem role="alert" {
                p { strong { (t!(visit, "past-due")) } " " (ui::time(visit, since)) }
                @if let Some(end) = &own.grace_ends_at { p { (t!(visit, "grace-ends")) " " (ui::time(visit, end)) } }
            }
        }
        dl.facts {
            dt { (t!(visit, "status")) } dd { (ui::word(visit, "subscription", &own.status)) }
            dt { (t!(visit, "plan-in-force")) } dd { (ui::text(&own.plan)) }
            @if let Some(plan) = &own.subscribed_plan { dt { (t!(visit, "subscribed-plan")) } dd { (ui::text(plan)) } }
            @if let Some(end) = &own.current_period_end { dt { (t!(visit, "period-ends")) } dd { (ui::time(visit, end)) } }
            @if let Some(at) = &own.cancel_at { dt { (t!(visit, "cancels-at")) } dd { (ui::time(visit, at)) } }
        }
        section.actions {
            h2 { (t!(visit, "change-plan")) }
            @if has_subscription {
                (ui::button(visit, "/dashboard/billing/portal", &t!(visit, "open-portal"), &[]))
            } @else {
                @for plan in ["pro", "business"] {
                    (ui::button(visit, "/dashboard/billing/checkout", &t!(visit, "buy-plan", plan = plan), &[("plan", plan)]))
                }
            }
        }
    }
}

fn bills(visit: &Visit, invoices: ApiResult<Page<Invoice>>) -> Markup {
    html! {
        section {
            h2 { (t!(visit, "invoices")) }
            (ui::list(visit, invoices, |all| html! {
                @if all.is_empty() { p { (t!(visit, "no-invoices")) } }
                @else {
                    (ui::table(&t!(visit, "invoices"), &[t!(visit, "created"), t!(visit, "status"), t!(visit, "amount"), t!(visit, "invoice")], &html! {
                        @for own in all {
                            tr {
                                td { (ui::optional_time(visit, own.created_at.as_deref())) }
                                td { (ui::text(&own.status)) }
                                td.number { (amount(own)) }
                                td { @match &own.hosted_invoice_url { Some(url) if url.starts_with("https://") => a href=(url) rel="noreferrer" { (ui::text(&own.id)) }, _ => (ui::text(&own.id)) } }
                            }
                        }
                    }))
                }
            }))
        }
    }
}

/// Currencies that Stripe does not count in hundredths (docs.stripe.com/currencies).
const WHOLE: [&str; 16] = [
    "bif", "clp", "djf", "gnf", "jpy", "kmf", "krw", "mga", "pyg", "rwf", "ugx", "vnd", "vuv",
    "xaf", "xof", "xpf",
];
const THOUSANDTHS: [&str; 5] = ["bhd", "jod", "kwd", "omr", "tnd"];

fn amount(own: &Invoice) -> String {
    let currency = own.currency.to_lowercase();
    let decimals = match &*currency {
        whole if WHOLE.contains(&whole) => 0,
        three if THOUSANDTHS.contains(&three) => 3,
        _ => 2,
    };
    let (sign, units) = (
        if own.amount_due < 0 { "-" } else { "" },
        own.amount_due.unsigned_abs(),
    );
    let divisor = 10_u64.pow(decimals);
    let (whole, rest) = (units / divisor, units % divisor);
    let fraction = match decimals {
        0 => String::new(),
        decimals => format!(".{rest:0width$}", width = decimals as usize),
    };
    format!("{sign}{whole}{fraction} {}", currency.to_uppercase())
}

/// Leads to a page of Stripe. It is a link, since the policy allows forms to this site only.
pub(crate) async fn act(visit: Visit, Path(action): Path<String>, Form(form): Form) -> Result {
    let back = format!("{}/dashboard/billing", visit.head.base_url());
    let (path, body) = match action.as_str() {
        "checkout" => (
            "/api/billing/checkout",
            json!({"plan": form.get("plan"), "success_url": back, "cancel_url": back}),
        ),
        "portal" => ("/api/billing/portal", json!({"return_url": back})),
        _ => return Err(Failure::not_found()),
    };
    let stripe: StripePage = visit.post(path, &body).await?.parse()?;
    let content = html! {
        p { (t!(visit, "stripe-explained")) }
        p { a.button href=(stripe.url) rel="noreferrer" { (t!(visit, "to-stripe")) } }
        p { a href="/dashboard/billing" { (t!(visit, "back")) } }
    };
    Ok(visit.page(&t!(visit, "change-plan"), content))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amount_has_the_decimals_of_its_currency() {
        let shown = |amount_due, currency: &str| {
            amount(&Invoice {
                id: "in_1".into(),
                status: "open".into(),
                amount_due,
                currency: currency.into(),
                created_at: None,
                hosted_invoice_url: None,
            })
        };
        assert_eq!(shown(2905, "usd"), "29.05 USD");
        assert_eq!(shown(-5, "eur"), "-0.05 EUR");
        assert_eq!(shown(500, "jpy"), "500 JPY");
        assert_eq!(shown(1005, "kwd"), "1.005 KWD");
    }
}
