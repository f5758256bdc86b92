//! Billing: checkout, customer portal, subscription and entitlements.
//!
//! Only Stripe events change a plan; nothing here does.

mod checkout;
mod entitlements;
mod usage;
mod view;

use std::sync::Arc;

use aias_billing::Stripe;
use aias_platform::{
    aws::SdkConfig,
    config::Env,
    http::{
        Api, Authenticated as _, HasApi, List, NoFilter, Owner, PageParams, Result, Routes,
        openapi, response::object,
    },
    routes,
    secrets::Secret,
    store::{Cursor, Listing, Page},
};
use axum::http::StatusCode;

#[derive(Debug)]
pub struct App {
    /// The table, authentication and the time.
    pub api: Arc<Api>,
    stripe: Stripe,
}

impl App {
    /// From `STRIPE_API_KEY_ARN` and `STRIPE_API_URL`.
    #[must_use]
    pub fn load(api: Api, aws: &SdkConfig, env: &Env) -> Self {
        let key = Secret::new(aws, env.text("STRIPE_API_KEY_ARN"));
        let stripe = Stripe::new(&env.text("STRIPE_API_URL"), key);
        Self::new(api, stripe)
    }

    #[must_use]
    pub fn new(api: Api, stripe: Stripe) -> Self {
        let api = Arc::new(api);
        Self { api, stripe }
    }
}

impl HasApi for App {
    fn api(&self) -> &Api {
        &self.api
    }
}

#[must_use]
pub fn routes(app: App) -> Routes {
    let api = Arc::clone(&app.api);
    Routes::new()
        .routes(routes!(get_subscription))
        .routes(routes!(list_invoices))
        .routes(routes!(usage::get_usage))
        .routes(routes!(checkout::create_checkout))
        .routes(routes!(checkout::create_portal_session))
        .routes(routes!(entitlements::check_entitlements))
        .in_named_tenant(&api)
        .with_state(Arc::new(app))
}

/// Get the subscription
#[utoipa::path(
    get,
    path = "/api/billing/subscription",
    tag = "billing",
    responses((
        status = 200, description = "The subscription, and the plan that it gives",
        body = view::SubscriptionView,
        headers(("etag" = String)),
    )),
    extensions(("x-role" = json!("owner"))),
)]
async fn get_subscription(ctx: Owner<App>) -> Result {
    let account = ctx.store().account().await?.value;
    let view = view::subscription(&account, ctx.caller.limits.plan);
    object(StatusCode::OK, &view)
}

/// List invoices
#[utoipa::path(
    get,
    path = "/api/billing/invoices",
    tag = "billing",
    params(PageParams),
    responses((status = 200, description = "A page", body = openapi::Page<view::InvoiceView>)),
    extensions(("x-role" = json!("owner"))),
)]
async fn list_invoices(ctx: Owner<App, List<NoFilter>>) -> Result {
    let customer_id = ctx.store().account().await?.value.customer_id;
    let stripe = &ctx.app.stripe;
    let fetch = async |listing: Listing| {
        let Some(customer_id) = customer_id else {
            return Ok(Page {
                items: Vec::new(),
                next: None,
            });
        };
        let after = listing.after.as_ref().map(Cursor::position);
        let (items, more) = stripe.invoices(&customer_id, listing.limit, after).await?;
        let next = items
            .last()
            .filter(|_| more)
            .map(|last| Cursor::at(last.invoice.id.clone()));
        Ok(Page { items, next })
    };
    ctx.page(fetch, |invoice| view::invoice(&invoice)).await
}
