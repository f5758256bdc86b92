//! What was reported of the month's runs, by our own books and by Stripe's.

use aias_domain::{event::text_of, plan::month_start};
use aias_platform::{
    http::{Problem, Response},
    store::{Hour, TenantStore},
};
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use crate::App;

#[derive(Serialize)]
struct Usage {
    from: String,
    to: String,
    /// Completed runs that were reported.
    reported: u64,
    /// What Stripe counted of them; it takes a while. None without a meter or a customer.
    stripe: Option<u64>,
    /// The one less the other.
    difference: Option<i64>,
}

/// Reports are dated when they are made, so those of this month may be about the hours of the last.
pub(crate) async fn usage(app: &App, store: &TenantStore<'_>) -> Result<Response, Problem> {
    let to = app.api.clock.now();
    let from = month_start(to);
    let before = from - SignedDuration::from_hours(1);
    let (this, last, account) = tokio::join!(
        store.metered_hours(to),
        store.metered_hours(before),
        store.account()
    );
    let reported = reported(&this?, from) + reported(&last?, from);
    let stripe = match account?.value.customer_id {
        None => None,
        Some(customer) => app.stripe.metered(&customer, from, to).await?,
    };
    let signed = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
    let view = Usage {
        from: text_of(from),
        to: text_of(to),
        reported,
        stripe,
        difference: stripe.map(|theirs| signed(reported) - signed(theirs)),
    };
    Response::json(200, &view)
}

fn reported(hours: &[Hour], from: Timestamp) -> u64 {
    let reports = hours.iter().flat_map(|hour| &hour.reports);
    reports
        .filter(|report| report.at >= from)
        .map(|report| report.to - report.from)
        .sum()
}
