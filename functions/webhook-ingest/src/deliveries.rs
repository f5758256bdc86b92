//! Keeps requests that did not become a run, so that the endpoint's owner sees why.
//!
//! An execution environment keeps one delivery of an endpoint each three seconds, so that a flood
//! costs little. Keeping one is best effort: it changes no response, and if the process dies before,
//! only the entry is missing.

use aias_domain::{
    delivery::{Delivery, DeliveryReason, Slot, slot},
    event::{self, Request},
    id::EndpointId,
    verification::{Refusal, Values, verify},
};
use aias_platform::{
    cache::{self, Cache},
    http::{Head, Problem, kinds},
};
use jiff::Timestamp;

use crate::{App, cache::ReadyEndpoint, ingest_event};

/// The most endpoints whose last delivery is remembered.
const MAX_ENDPOINTS: usize = 10_000;

/// When a delivery of each endpoint was kept last.
#[derive(Debug)]
pub(crate) struct KeptDeliveries(Cache<EndpointId, Timestamp>);

impl Default for KeptDeliveries {
    fn default() -> Self {
        Self(cache::bounded(MAX_ENDPOINTS))
    }
}

/// Keeps a request that was answered without an error.
pub(crate) async fn keep(
    app: &App,
    ready: &ReadyEndpoint,
    head: &Head,
    request: &Request<'_>,
    (status, reason): (u16, DeliveryReason),
) {
    if let Some(slot) = next_slot(app, ready) {
        let delivery = delivery(app, ready, head, request, (status, reason, None));
        put(app, ready, slot, delivery).await;
    }
}

/// Keeps a request that was refused.
pub(crate) async fn keep_refused(
    app: &App,
    ready: &ReadyEndpoint,
    head: &Head,
    request: &Request<'_>,
    problem: &Problem,
) {
    // First of all, so that a flood costs little.
    let Some(slot) = next_slot(app, ready) else {
        return;
    };
    let kind = problem.kind();
    let reason = match kind {
        kind if kind == &kinds::BAD_SIGNATURE => {
            return keep_unverified(app, ready, head, request, slot).await;
        }
        kind if kind == &kinds::EVENT_ID_REUSED => DeliveryReason::EventIdReused,
        kind if kind == &kinds::RATE_LIMITED => DeliveryReason::OverRate,
        kind if kind == &kinds::RUNS_EXHAUSTED => DeliveryReason::RunsExhausted,
        kind if kind == &kinds::BODY_TOO_LARGE => DeliveryReason::BodyTooLarge,
        kind if kind == &kinds::ENDPOINT_DISABLED || kind == &kinds::ENDPOINT_DISABLED_FOR_NOW => {
            DeliveryReason::EndpointDisabled
        }
        kind if kind == &kinds::ENDPOINT_PENDING_SECRET => DeliveryReason::SecretNotSet,
        kind if kind.status >= 500 => DeliveryReason::Unavailable,
        _ => DeliveryReason::BadBody,
    };
    let detail = problem.detail_text().map(str::to_owned);
    let delivery = delivery(app, ready, head, request, (kind.status, reason, detail));
    put(app, ready, slot, delivery).await;
}

/// Keeps a request whose signature does not verify, and that the endpoint refuses its events.
async fn keep_unverified(
    app: &App,
    ready: &ReadyEndpoint,
    head: &Head,
    request: &Request<'_>,
    slot: Slot,
) {
    let now = app.clock.now();
    let keys = ready.secrets();
    let Ok(values) = ingest_event::values_of(app, ready, request).await else {
        return;
    };
    let refusal = verify(&ready.scheme, &keys, &values, now).err();
    let reason = match &refusal {
        Some(Refusal::Missing(_)) => DeliveryReason::NoSignatureHeader,
        Some(Refusal::Incomplete(_)) => DeliveryReason::SignedValueMissing,
        Some(Refusal::BadTimestamp) => DeliveryReason::BadTimestamp,
        Some(Refusal::Stale(_)) => DeliveryReason::TimestampTooOld,
        Some(Refusal::Mismatch | Refusal::NoKey) | None => DeliveryReason::BadSignature,
    };
    let detail = refusal.map(|refusal| refusal.to_string());
    let delivery = delivery(app, ready, head, request, (401, reason, detail));
    if put(app, ready, slot, delivery).await && ready.found.endpoint.value.must_record_refusal() {
        let store = app.intake.store.tenant(ready.found.proof);
        let _ = store.record_refusal(&ready.found.endpoint, now).await;
    }
}

fn delivery(
    app: &App,
    ready: &ReadyEndpoint,
    head: &Head,
    request: &Request<'_>,
    (status, reason, detail): (u16, DeliveryReason, Option<String>),
) -> Delivery {
    let values = Values::new(request);
    let source_ip = head.origin.source_ip.clone();
    Delivery {
        at: app.clock.now(),
        source_ip: Some(source_ip).filter(|text| !text.is_empty()),
        event_id: event::event_id(&ready.scheme, &values).ok().flatten(),
        event_type: event::event_type(&ready.scheme, &values),
        status,
        reason,
        detail,
    }
}

/// The slot of a delivery of this endpoint, unless one was kept a moment ago.
fn next_slot(app: &App, ready: &ReadyEndpoint) -> Option<Slot> {
    let (id, now) = (ready.found.endpoint.value.id, app.clock.now());
    let slot = slot(now, app.kept.0.get(&id))?;
    app.kept.0.insert(id, now);
    Some(slot)
}

/// Writes a delivery. Returns whether it was written.
async fn put(app: &App, ready: &ReadyEndpoint, slot: Slot, delivery: Delivery) -> bool {
    let id = ready.found.endpoint.value.id;
    let store = app.intake.store.tenant(ready.found.proof);
    let written = store.put_delivery(id, slot, &delivery).await;
    if let Err(error) = &written {
        let error = aias_platform::telemetry::ErrorChain(error);
        tracing::warn!(event = "delivery_not_kept", endpoint_id = %id, %error);
    }
    written.is_ok()
}
