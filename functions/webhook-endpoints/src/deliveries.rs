//! The last deliveries of an endpoint, accepted or not.

use aias_domain::{
    delivery::{Delivery, DeliveryReason},
    id::{EndpointId, RunId},
    run::{Run, Trigger},
    timestamp,
};
use aias_platform::{
    http::{Path, Result, Viewer, openapi, whole_list},
    store::RunFilter,
};
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{App, find};

/// The most accepted deliveries, and the most of both kinds.
const MAX_RUNS: usize = 50;
const MAX_DELIVERIES: usize = 100;

/// How far back accepted deliveries are searched.
const LOOK_BACK: SignedDuration = SignedDuration::from_hours(7 * 24);

/// A delivery.
#[derive(Serialize, ToSchema)]
#[schema(as = Delivery)]
pub(crate) struct DeliveryView {
    #[schema(format = DateTime)]
    time: String,
    /// Whether the delivery became a run.
    accepted: bool,
    run_id: Option<RunId>,
    source_ip: Option<String>,
    event_id: Option<String>,
    event_type: Option<String>,
    /// The status of the response.
    #[schema(example = 401)]
    status: u16,
    /// Why the delivery did not become a run.
    reason: Option<DeliveryReason>,
    /// What was wrong, such as by how much a timestamp is too old.
    detail: Option<String>,
}

fn refused(delivery: Delivery) -> (Timestamp, DeliveryView) {
    let view = DeliveryView {
        time: timestamp::format(delivery.at),
        accepted: false,
        run_id: None,
        source_ip: delivery.source_ip,
        event_id: delivery.event_id,
        event_type: delivery.event_type,
        status: delivery.status,
        reason: Some(delivery.reason),
        detail: delivery.detail,
    };
    (delivery.at, view)
}

fn accepted(run: Run, status: u16) -> (Timestamp, DeliveryView) {
    let (event_id, event_type, source_ip) = match run.trigger {
        Trigger::Webhook {
            event_id,
            event_type,
            source_ip,
            ..
        } => (event_id, event_type, source_ip),
        Trigger::Api | Trigger::Replay { .. } | Trigger::Workflow { .. } => (None, None, None),
    };
    let view = DeliveryView {
        time: timestamp::format(run.created_at),
        accepted: true,
        run_id: Some(run.id),
        source_ip,
        event_id,
        event_type,
        status,
        reason: None,
        detail: None,
    };
    (run.created_at, view)
}

/// List the last deliveries of a webhook endpoint
///
/// Accepted or not, newest first: at most 50 accepted ones of the last seven days, and of the others
/// the first one of each minute and one each three seconds, as far as they are kept. All accepted
/// ones are in the list of runs.
#[utoipa::path(
    get,
    path = "/api/webhook-endpoints/{id}/deliveries",
    tag = "webhook-endpoints",
    params(("id" = EndpointId, Path)),
    responses((status = 200, description = "The last deliveries", body = openapi::Page<DeliveryView>)),
    extensions(("x-role" = json!("viewer"))),
)]
pub(crate) async fn list_deliveries(ctx: Viewer<App>, Path(id): Path<EndpointId>) -> Result {
    let (store, now) = (ctx.store(), ctx.now);
    let filter = RunFilter {
        endpoint_id: Some(id),
        ..RunFilter::default()
    };
    let (endpoint, runs, deliveries) = tokio::join!(
        find(&store, id),
        store.runs(&filter, MAX_RUNS, None, (now - LOOK_BACK, now)),
        store.deliveries(id)
    );
    // As the source wants it now.
    let scheme = endpoint?.value.verification.scheme();
    let wanted = scheme.ok().and_then(|own| own.response);
    let status = wanted.map_or(202, |own| own.status);
    let runs = runs?.items.into_iter();
    let mut all: Vec<_> = runs.map(|run| accepted(run, status)).collect();
    all.extend(deliveries?.into_iter().map(refused));
    all.sort_by_key(|(at, _)| std::cmp::Reverse(*at));
    let views: Vec<_> = all
        .into_iter()
        .map(|(_, view)| view)
        .take(MAX_DELIVERIES)
        .collect();
    whole_list(&views)
}
