//! Billing: checkout, the customer portal, the state of the subscription, and what the plan allows.
//!
//! The plan itself changes only by Stripe's events: nothing here writes one.

mod checkout;
mod entitlements;
mod usage;
mod view;

use aias_billing::Stripe;
use aias_domain::tenant::Role;
use aias_platform::{
    aws::SdkConfig,
    config::Env,
    http::{Api, Caller, HttpAnswer, HttpEvent, Method, Problem, Request, Response, serve},
    secrets::Secret,
    store::{Cursor, Listing, Page, TenantStore},
};

/// What these routes take.
#[derive(Debug)]
pub struct App {
    /// The table, who calls, and the time.
    pub api: Api,
    stripe: Stripe,
}

impl App {
    /// From the settings of [`Api::load`], `STRIPE_API_KEY_ARN` and `STRIPE_API_URL`.
    #[must_use]
    pub fn load(aws: &SdkConfig, tenants: &SdkConfig, env: &Env) -> Self {
        let key = Secret::new(aws, env.text("STRIPE_API_KEY_ARN"));
        let stripe = Stripe::new(&env.text("STRIPE_API_URL"), key);
        Self::new(Api::load(aws, tenants, env), stripe)
    }

    /// Of its parts.
    #[must_use]
    pub fn new(api: Api, stripe: Stripe) -> Self {
        Self { api, stripe }
    }
}

/// Answers an event.
pub async fn handle(app: &App, event: HttpEvent) -> HttpAnswer {
    serve(event, |request, seen| async move {
        let route = |caller| route(app, caller, &request);
        app.api.auth.as_caller(&request, &seen, route).await
    })
    .await
}

async fn route(app: &App, caller: Caller, request: &Request) -> Result<Response, Problem> {
    let store = &app.api.store.tenant(caller.proof());
    let path = request.path();
    if let ["api", "billing", ..] = path.as_slice() {
        caller.require(Role::Owner)?;
    }
    match (request.method, path.as_slice()) {
        (Method::Get, ["api", "entitlements", "check"]) => {
            entitlements::check(app, store, &caller, request).await
        }
        (Method::Get, ["api", "billing", "subscription"]) => subscription(store, &caller).await,
        (Method::Get, ["api", "billing", "invoices"]) => invoices(app, store, request).await,
        (Method::Get, ["api", "billing", "usage"]) => usage::usage(app, store).await,
        (Method::Post, ["api", "billing", "checkout"]) => {
            checkout::checkout(app, store, &caller, request).await
        }
        (Method::Post, ["api", "billing", "portal"]) => {
            checkout::portal(app, store, &caller, request).await
        }
        _ => Err(Problem::not_found()),
    }
}

async fn subscription(store: &TenantStore<'_>, caller: &Caller) -> Result<Response, Problem> {
    let account = store.account().await?.value;
    Response::object(200, &view::subscription(&account, caller.limits.plan))
}

async fn invoices(
    app: &App,
    store: &TenantStore<'_>,
    request: &Request,
) -> Result<Response, Problem> {
    let customer_id = store.account().await?.value.customer_id;
    let fetch = async |listing: Listing| {
        let Some(customer_id) = customer_id else {
            return Ok(Page {
                items: Vec::new(),
                next: None,
            });
        };
        let after = listing.after.as_ref().map(Cursor::position);
        let (items, more) = app
            .stripe
            .invoices(&customer_id, listing.limit, after)
            .await?;
        let next = items
            .last()
            .filter(|_| more)
            .map(|last| Cursor::at(last.invoice.id.clone()));
        Ok(Page { items, next })
    };
    app.api
        .list(store, request, &[], fetch, |own| view::invoice(&own))
        .await
}
