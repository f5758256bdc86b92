//! Takes Stripe's events: verified over the raw body, applied once, answered `200` only when the
//! effect is stored.
//!
//! ```text
//! signature ─▶ read ─▶ whose? ─▶ the account takes it in ─(doubt)─▶ Stripe is asked
//!                                             │
//!               one transaction: event applied · account · plan · wish to settle
//!                                             │
//!                        settle: things disabled or enabled, held runs go on ─▶ 200
//! ```
//! Stripe sends an event until it gets a `200`. When the process dies between two calls:
//!
//! | died after | is left | the next delivery |
//! |---|---|---|
//! | the question to Stripe | nothing | begins again |
//! | the transaction | a wish to settle | finds the event applied, and settles |
//! | a part of settling | the same wish | settles the rest |
//!
//! What is not delivered again, the reconciler settles.

mod apply;

use aias_billing::{
    Stripe,
    event::{self, BadSignature},
};
use aias_platform::{
    aws::SdkConfig,
    clock::Clock,
    config::Env,
    http::{HttpAnswer, HttpEvent, Method, Problem, Request, Response, SeenCell, serve},
    secrets::{Rotating, Secret},
    store::Store,
};
use serde_json::json;
use std::time::Duration;

/// What taking an event takes.
#[derive(Debug)]
pub struct App {
    store: Store,
    stripe: Stripe,
    secrets: Secret<Rotating>,
    clock: Clock,
}

/// How old the secrets may be when a signature does not fit: they may just have been rotated.
const FRESH: Duration = Duration::from_secs(10);

/// The largest event that is read, in bytes.
const MAX_BODY: usize = 1024 * 1024;

impl App {
    /// From `TABLE_NAME`, `STRIPE_API_KEY_ARN`, `STRIPE_WEBHOOK_SECRET_ARN` and `STRIPE_API_URL`.
    #[must_use]
    pub fn load(aws: &SdkConfig, env: &Env) -> Self {
        let key = Secret::new(aws, env.text("STRIPE_API_KEY_ARN"));
        Self::new(
            Store::new(aws, env.text("TABLE_NAME")),
            Stripe::new(&env.text("STRIPE_API_URL"), key),
            Secret::new(aws, env.text("STRIPE_WEBHOOK_SECRET_ARN")),
            Clock::system(),
        )
    }

    /// Of its parts.
    #[must_use]
    pub fn new(store: Store, stripe: Stripe, secrets: Secret<Rotating>, clock: Clock) -> Self {
        Self {
            store,
            stripe,
            secrets,
            clock,
        }
    }

    /// Reads the secrets and opens a connection to the table.
    pub async fn warm(&self) {
        // What cannot be reached now is said by the first request that needs it.
        let _ = tokio::join!(self.secrets.get(), self.store.check());
    }
}

/// Answers an event.
pub async fn handle(app: &App, event: HttpEvent) -> HttpAnswer {
    serve(event, |request, seen| async move {
        route(app, &request, &seen).await
    })
    .await
}

async fn route(app: &App, request: &Request, seen: &SeenCell) -> Result<Response, Problem> {
    match (request.method, request.path().as_slice()) {
        (Method::Post, ["api", "stripe", "webhook"]) => take(app, request, seen).await,
        (_, ["api", "stripe", "webhook"]) => Err(Problem::method_not_allowed("POST")),
        _ => Err(Problem::not_found()),
    }
}

async fn take(app: &App, request: &Request, seen: &SeenCell) -> Result<Response, Problem> {
    if request.body.len() > MAX_BODY {
        return Err(Problem::too_large(MAX_BODY));
    }
    verify(app, request).await?;
    let event = event::read(&request.body).map_err(|error| {
        tracing::error!(code = "stripe-event-unreadable", error = %error, "a signed event cannot be read");
        Problem::bad_request("bad-event", "The event cannot be read")
    })?;
    let outcome = apply::apply(app, &event, seen).await?;
    tracing::info!(
        code = outcome.code(),
        event_id = event.id,
        event_type = event.kind,
        "an event was taken"
    );
    Response::json(200, &json!({"received": true, "outcome": outcome.as_str()}))
}

async fn verify(app: &App, request: &Request) -> Result<(), Problem> {
    let header = request.header("stripe-signature").unwrap_or_default();
    let now = app.clock.now();
    let known = app.secrets.get().await?;
    let mut verified = event::verify(known.all(), &request.body, header, now);
    if verified == Err(BadSignature::Signature) {
        let fresh = app.secrets.get_within(FRESH).await?;
        verified = event::verify(fresh.all(), &request.body, header, now);
    }
    verified.map_err(|reason| {
        tracing::warn!(code = "stripe-signature-refused", reason = %reason, "an event did not prove itself");
        Problem::bad_request("bad-signature", "The signature does not hold")
    })
}
