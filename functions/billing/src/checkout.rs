//! Checkout and the customer portal: pages of Stripe's, to which the caller goes.

use aias_billing::NewCheckout;
use aias_domain::{plan::PlanName, subscription::Subscription};
use aias_platform::{
    clock::random_secret,
    http::{Caller, Problem, Request, Response, parse_body},
    store::{Refused, TenantStore},
};
use serde::Deserialize;
use serde_json::json;

use crate::App;

/// The longest URL that is passed on, in bytes.
const MAX_URL: usize = 2_048;

/// How often a customer is stored while others change the account.
const ATTEMPTS: usize = 5;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Checkout {
    plan: PlanName,
    success_url: String,
    cancel_url: String,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Portal {
    return_url: Option<String>,
}

/// A URL that a browser may be sent to: `https`, or this machine's own.
fn check_url(pointer: &str, url: &str) -> Result<(), Problem> {
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
    let detail = "must be a URL with https, or of this machine, of at most 2048 bytes";
    Err(Problem::invalid_member(pointer, detail))
}

/// Names a wish: the caller's own name for it, or a new one.
fn key(caller: &Caller, request: &Request, what: &str) -> String {
    let tenant = caller.tenant.id;
    match request.header("idempotency-key") {
        Some(own) => {
            let digest = aias_domain::canonical::digest(own.as_bytes());
            format!("aias-{what}-{tenant}-{digest}")
        }
        None => format!("aias-{what}-{tenant}-{}", random_secret()),
    }
}

pub(crate) async fn checkout(
    app: &App,
    store: &TenantStore<'_>,
    caller: &Caller,
    request: &Request,
) -> Result<Response, Problem> {
    let body: Checkout = parse_body(request)?;
    if body.plan.lookup_keys().is_empty() {
        return Err(Problem::invalid_member(
            "/plan",
            "nothing is to be paid for this plan",
        ));
    }
    check_url("/success_url", &body.success_url)?;
    check_url("/cancel_url", &body.cancel_url)?;
    let account = store.account().await?.value;
    let live = |own: &Subscription| own.state.status.is_live();
    if account.entitled().subscription.is_some_and(live) {
        let title = "The tenant has a subscription";
        return Err(Problem::conflict("subscription-exists", title)
            .detail("change its plan in the portal: POST /api/billing/portal"));
    }
    let customer_id = customer(app, store).await?;
    let new = NewCheckout {
        tenant_id: caller.tenant.id,
        customer_id: &customer_id,
        plan: body.plan,
        success_url: &body.success_url,
        cancel_url: &body.cancel_url,
        key: &key(caller, request, "checkout"),
    };
    let url = app.stripe.checkout(new).await.map_err(refused)?;
    Response::json(200, &json!({ "url": url }))
}

pub(crate) async fn portal(
    app: &App,
    store: &TenantStore<'_>,
    caller: &Caller,
    request: &Request,
) -> Result<Response, Problem> {
    let body: Portal = if request.body.is_empty() {
        Portal::default()
    } else {
        parse_body(request)?
    };
    if let Some(url) = &body.return_url {
        check_url("/return_url", url)?;
    }
    let customer_id = store.account().await?.value.customer_id.ok_or_else(|| {
        let title = "The tenant has never bought anything";
        Problem::conflict("no-customer", title)
            .detail("a checkout comes first: POST /api/billing/checkout")
    })?;
    let key = key(caller, request, "portal");
    let return_url = body.return_url.as_deref();
    let url = app.stripe.portal(&customer_id, return_url, &key).await;
    Response::json(200, &json!({ "url": url.map_err(refused)? }))
}

/// What Stripe refuses of a caller's wish is the caller's to mend where it is about a key of theirs.
fn refused(error: aias_billing::Error) -> Problem {
    match &error {
        aias_billing::Error::Refused { code, .. } if code == "idempotency_error" => {
            Problem::idempotency_key_reused()
        }
        aias_billing::Error::Refused { .. }
        | aias_billing::Error::Unavailable(_)
        | aias_billing::Error::Malformed(_)
        | aias_billing::Error::NoPrice(_)
        | aias_billing::Error::Secret(_) => error.into(),
    }
}

/// The tenant's customer; made when it has none. Whoever asks at once gets the same one: Stripe
/// makes one for a name, and the table keeps the first. Should the process die in between, the next
/// one gets it from Stripe again.
async fn customer(app: &App, store: &TenantStore<'_>) -> Result<String, Problem> {
    for _ in 0..ATTEMPTS {
        let mut account = store.account().await?;
        if let Some(known) = account.value.customer_id {
            return Ok(known);
        }
        let generation = account.value.generation();
        let tenant = store.tenant_id();
        let made = app.stripe.create_customer(tenant, generation).await?;
        account.value.adopt(&made);
        match store.save_customer(&account, &made).await {
            Ok(()) => return Ok(made),
            // Somebody else stored it, or an event changed the account.
            Err(Refused::Conflict) => {}
            Err(refused) => return Err(Problem::refused(refused, &aias_domain::plan::ceiling())),
        }
    }
    Err(Problem::unavailable(aias_platform::store::Error::Conflict))
}
