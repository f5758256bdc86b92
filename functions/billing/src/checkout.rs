//! Sessions of Stripe's checkout and customer portal.

use aias_billing::NewCheckout;
use aias_domain::{plan::PlanName, subscription::Subscription};
use aias_platform::{
    clock::random_secret,
    http::{
        JsonBody, Owner, Problem, RequestBody, Result, kinds, openapi, response::json,
        retry_on_conflict,
    },
};
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::App;

/// The longest URL sent to Stripe, in bytes.
const MAX_URL: usize = 2_048;

/// A plan to be bought.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Checkout {
    plan: BuyablePlan,
    /// Where Stripe sends the buyer after the purchase.
    #[schema(
        format = "uri",
        max_length = 2048,
        pattern = "^https://[!-~]+$",
        example = "https://app.example/bought"
    )]
    success_url: String,
    /// Where Stripe sends the buyer who does not buy.
    #[schema(
        format = "uri",
        max_length = 2048,
        pattern = "^https://[!-~]+$",
        example = "https://app.example/plans"
    )]
    cancel_url: String,
}

/// A plan that can be bought through Stripe. An operator sets the enterprise plan.
#[derive(Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum BuyablePlan {
    Pro,
    Business,
}

impl From<BuyablePlan> for PlanName {
    fn from(plan: BuyablePlan) -> Self {
        match plan {
            BuyablePlan::Pro => Self::Pro,
            BuyablePlan::Business => Self::Business,
        }
    }
}

impl RequestBody for Checkout {}

/// A session of the customer portal.
#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PortalVisit {
    /// Where Stripe sends the visitor after the session.
    #[schema(
        format = "uri",
        max_length = 2048,
        pattern = "^https://[!-~]+$",
        example = "https://app.example/plans"
    )]
    return_url: Option<String>,
}

impl RequestBody for PortalVisit {
    fn empty() -> Option<Self> {
        Some(Self::default())
    }
}

/// A page of Stripe.
#[derive(Serialize, ToSchema)]
pub(crate) struct StripePage {
    #[schema(format = "uri")]
    url: String,
}

/// Checks a URL to which a browser is sent: `https`, or `http` on loopback.
fn check_url(pointer: &str, url: &str) -> Result<()> {
    let secure = url.starts_with("https://");
    let local = ["http://localhost", "http://127.0.0.1"]
        .into_iter()
        .any(|host| {
            url.strip_prefix(host)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with([':', '/']))
        });
    let fits = url.len() <= MAX_URL && url.bytes().all(|b| b.is_ascii_graphic());
    if fits && (secure || local) {
        return Ok(());
    }
    let detail = "must be an https URL, or an http URL of localhost, of at most 2048 bytes";
    Err(Problem::invalid_member(pointer, detail))
}

/// The idempotency key of a request to Stripe: derived from the caller's own, or a new one.
fn stripe_key(ctx: &Owner<App>, what: &str) -> String {
    let tenant = ctx.caller.tenant.id;
    match ctx.head.header("idempotency-key") {
        Some(own) => {
            let digest = aias_domain::canonical::digest(own.as_bytes());
            format!("aias-{what}-{tenant}-{digest}")
        }
        None => format!("aias-{what}-{tenant}-{}", random_secret()),
    }
}

/// Buy a plan
#[utoipa::path(
    post,
    path = "/api/billing/checkout",
    tag = "billing",
    params(openapi::IdempotencyKey),
    request_body = Checkout,
    responses((status = 200, description = "Where the plan is paid for", body = StripePage)),
    extensions(
        ("x-role" = json!("owner")),
        ("x-problems" = json!(["conflict", "idempotency-key-reused", "subscription-exists"])),
    ),
)]
pub(crate) async fn create_checkout(ctx: Owner<App>, body: JsonBody<Checkout>) -> Result {
    let checkout = &body.value;
    check_url("/success_url", &checkout.success_url)?;
    check_url("/cancel_url", &checkout.cancel_url)?;
    let account = ctx.store().account().await?.value;
    let live = |own: &Subscription| own.state.status.is_live();
    if account.plan_grant().subscription.is_some_and(live) {
        return Err(Problem::new(&kinds::SUBSCRIPTION_EXISTS)
            .detail("change the plan in the customer portal: POST /api/billing/portal"));
    }
    let customer_id = customer(&ctx).await?;
    let new = NewCheckout {
        tenant_id: ctx.caller.tenant.id,
        customer_id: &customer_id,
        plan: checkout.plan.into(),
        success_url: &checkout.success_url,
        cancel_url: &checkout.cancel_url,
        key: &stripe_key(&ctx, "checkout"),
    };
    let url = ctx.app.stripe.checkout(new).await.map_err(refused)?;
    json(StatusCode::OK, &StripePage { url })
}

/// Open the customer portal
///
/// The owner can change or cancel the subscription and view invoices there.
#[utoipa::path(
    post,
    path = "/api/billing/portal",
    tag = "billing",
    params(openapi::IdempotencyKey),
    request_body = Option<PortalVisit>,
    responses((status = 200, description = "Where the portal is", body = StripePage)),
    extensions(
        ("x-role" = json!("owner")),
        ("x-problems" = json!(["idempotency-key-reused", "no-customer"])),
    ),
)]
pub(crate) async fn create_portal_session(ctx: Owner<App>, body: JsonBody<PortalVisit>) -> Result {
    let return_url = body.value.return_url.as_deref();
    if let Some(url) = return_url {
        check_url("/return_url", url)?;
    }
    let account = ctx.store().account().await?.value;
    let customer_id = account.customer_id.ok_or_else(|| {
        Problem::new(&kinds::NO_CUSTOMER)
            .detail("start a checkout first: POST /api/billing/checkout")
    })?;
    let key = stripe_key(&ctx, "portal");
    let url = ctx.app.stripe.portal(&customer_id, return_url, &key).await;
    let url = url.map_err(refused)?;
    json(StatusCode::OK, &StripePage { url })
}

/// The problem of a refusal by Stripe. A refusal because of the idempotency key is the caller's
/// mistake.
fn refused(error: aias_billing::Error) -> Problem {
    match &error {
        aias_billing::Error::Refused { code, .. } if code == "idempotency_error" => {
            Problem::new(&kinds::IDEMPOTENCY_KEY_REUSED)
        }
        aias_billing::Error::Refused { .. }
        | aias_billing::Error::Unavailable(_)
        | aias_billing::Error::Malformed(_)
        | aias_billing::Error::NoPrice(_)
        | aias_billing::Error::Secret(_) => error.into(),
    }
}

/// The tenant's Stripe customer, created at the first checkout.
///
/// Stripe creates one customer per idempotency key, and the table keeps the first, so concurrent
/// requests get the same one. If the process dies in between, the next request gets it from Stripe
/// again.
async fn customer(ctx: &Owner<App>) -> Result<String> {
    let (store, stripe) = (ctx.store(), &ctx.app.stripe);
    retry_on_conflict(|| async {
        let mut account = store.account().await?;
        if let Some(known) = account.value.customer_id {
            return Ok(known);
        }
        let generation = account.value.generation();
        let tenant = store.tenant_id();
        let created = stripe.create_customer(tenant, generation).await?;
        account.value.adopt(&created);
        let saved = store.save_customer(&account, &created).await;
        saved.map_err(|refused| Problem::refused(refused, &ctx.caller.limits))?;
        Ok(created)
    })
    .await
}
