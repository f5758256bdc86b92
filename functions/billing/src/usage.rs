//! The metered usage of the month, as counted by AIAS and by Stripe.

use aias_domain::{plan::month_start, timestamp};
use aias_platform::{
    http::{Owner, Result, response::json},
    store::Hour,
};
use axum::http::StatusCode;
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use utoipa::ToSchema;

use crate::App;

/// The metered usage of the month.
#[derive(Serialize, ToSchema)]
#[schema(as = Usage)]
pub(crate) struct UsageView {
    #[schema(format = DateTime)]
    from: String,
    #[schema(format = DateTime)]
    to: String,
    /// Completed runs that were reported to Stripe.
    reported: u64,
    /// What Stripe has counted so far, which is delayed; `null` without a meter or a customer.
    stripe: Option<u64>,
    /// `reported` minus `stripe`.
    difference: Option<i64>,
}

/// Get the metered usage of the month
///
/// A report is dated when it is sent, so those of this month may include runs of the last hours of
/// the previous month.
#[utoipa::path(
    get,
    path = "/api/billing/usage",
    tag = "billing",
    responses((status = 200, description = "The usage", body = UsageView)),
    extensions(("x-role" = json!("owner"))),
)]
pub(crate) async fn get_usage(ctx: Owner<App>) -> Result {
    let (store, app) = (ctx.store(), &ctx.app);
    let to = ctx.now;
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
    let view = UsageView {
        from: timestamp::format(from),
        to: timestamp::format(to),
        reported,
        stripe,
        difference: stripe.map(|theirs| signed(reported) - signed(theirs)),
    };
    json(StatusCode::OK, &view)
}

fn reported(hours: &[Hour], from: Timestamp) -> u64 {
    let reports = hours.iter().flat_map(|hour| &hour.reports);
    reports
        .filter(|report| report.at >= from)
        .map(|report| report.to - report.from)
        .sum()
}
