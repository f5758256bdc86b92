//! Receives Stripe events: verified over the raw body, applied once, `200` only when the effect is
//! stored.
//!
//! ```text
//! signature ─▶ parse ─▶ tenant ─▶ apply to the account ─(ambiguous)─▶ query Stripe
//!                                          │
//!    one transaction: event id · account · plan · scheduled task
//!                                          │
//!    apply the plan: objects disabled or enabled, suspended runs resumed ─▶ 200
//! ```
//!
//! Stripe retries an event until it gets a `200`. If the process dies between two calls:
//!
//! | died after | remains | the next delivery |
//! |---|---|---|
//! | the query to Stripe | nothing | starts again |
//! | the transaction | a scheduled task | finds the event applied, and applies the plan |
//! | part of applying the plan | the same task | applies the rest |
//!
//! If Stripe does not retry, the reconciler runs the scheduled task.

mod apply_stripe_event;

use aias_billing::{
    Stripe,
    event::{self, BadSignature, SignedBody},
};
use aias_platform::{
    aws::SdkConfig,
    clock::Clock,
    config::Env,
    http::{Head, Problem, RawBody, Result, Routes, kinds, response::json},
    routes,
    secrets::{RotatingSecret, Secret},
    store::Store,
};
use axum::{extract::State, http::StatusCode};
use serde::Serialize;
use std::{sync::Arc, time::Duration};
use utoipa::ToSchema;

#[derive(Debug)]
pub struct App {
    store: Store,
    stripe: Stripe,
    secrets: Secret<RotatingSecret>,
    clock: Clock,
}

/// The maximum age of cached secrets when a signature does not match: they may just have been
/// rotated.
const FRESH: Duration = Duration::from_secs(10);

/// The largest event, in bytes.
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

    #[must_use]
    pub fn new(
        store: Store,
        stripe: Stripe,
        secrets: Secret<RotatingSecret>,
        clock: Clock,
    ) -> Self {
        Self {
            store,
            stripe,
            secrets,
            clock,
        }
    }

    /// Reads the secrets and connects to the table in advance.
    pub async fn warm(&self) {
        // Errors are reported by the first request that needs the dependency.
        let _ = tokio::join!(self.secrets.get(), self.store.check());
    }
}

#[must_use]
pub fn routes(app: App) -> Routes {
    Routes::new()
        .routes(routes!(receive_stripe_event))
        .with_state(Arc::new(app))
}

/// An event that was received.
#[derive(Serialize, ToSchema)]
struct StripeEventReceived {
    received: bool,
    /// `applied`, `duplicate`, `ignored` or `unassigned`.
    #[schema(value_type = String, example = "applied")]
    outcome: &'static str,
}

/// The signature of the body.
#[derive(utoipa::IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(dead_code, reason = "describes a header")]
struct StripeSignature {
    #[param(
        rename = "Stripe-Signature",
        example = "t=1732190000,v1=5257a869e7ecebeda32affa62cdca3fa51cad7e77a0e56ff536d0ce8e108d8bd"
    )]
    signature: String,
}

/// Receive a Stripe event
///
/// The response is `200` only once the effect of the event is stored. An event takes effect once.
#[utoipa::path(
    post,
    path = "/api/stripe/webhook",
    tag = "billing",
    security(()),
    params(StripeSignature),
    request_body(content = Object, content_type = "application/json"),
    responses((status = 200, description = "The effect of the event is stored", body = StripeEventReceived)),
    extensions(("x-problems" = json!(["bad-event", "bad-signature", "body-too-large", "conflict", "unavailable", "internal"]))),
)]
async fn receive_stripe_event(
    State(app): State<Arc<App>>,
    head: Head,
    RawBody(body): RawBody,
) -> Result {
    if body.len() > MAX_BODY {
        return Err(Problem::too_large(MAX_BODY));
    }
    let signed = verify(&app, &head, &body).await?;
    let event = event::read(signed).map_err(|error| {
        tracing::error!(event = "stripe_event_unreadable", code = "stripe-event-unreadable", error = %error);
        Problem::new(&kinds::BAD_EVENT)
    })?;
    let outcome = apply_stripe_event::apply(&app, &event).await?;
    tracing::info!(
        event = "stripe_event_received",
        code = outcome.code(),
        event_id = event.id,
        event_type = event.kind
    );
    let outcome = outcome.as_str();
    json(
        StatusCode::OK,
        &StripeEventReceived {
            received: true,
            outcome,
        },
    )
}

async fn verify<'a>(app: &App, head: &Head, body: &'a [u8]) -> Result<SignedBody<'a>> {
    let header = head.header("stripe-signature").unwrap_or_default();
    let now = app.clock.now();
    let known = app.secrets.get().await?;
    let mut verified = event::verify(known.all(), body, header, now);
    if verified == Err(BadSignature::Signature) {
        let fresh = app.secrets.get_within(FRESH).await?;
        verified = event::verify(fresh.all(), body, header, now);
    }
    verified.map_err(|reason| {
        tracing::warn!(event = "stripe_signature_refused", code = "stripe-signature-refused", reason = %reason);
        Problem::new(&kinds::BAD_STRIPE_SIGNATURE)
    })
}
