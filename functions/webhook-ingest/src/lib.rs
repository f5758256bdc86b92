//! Receives webhooks: verified, stored once, `202` only when durable.
//!
//! ```text
//! endpoint (cached 2 s) ─▶ signature ─▶ ┬ admission ┬─▶ large input ─▶ ┬ the run ────┬─▶ 202
//!                                       └ claim ────┘                  └ the message ┘
//! ```
//!
//! Every step after the claim can be repeated for the same run. If the process dies between two
//! calls, the provider gets no `202` and retries:
//!
//! | died after | remains | the next delivery |
//! |---|---|---|
//! | admission | a counted run that does not exist | counts again: the month has one run too few |
//! | the claim, or a refusal | a claim without a run | finds the claim, and creates its run |
//! | the large input | an object without a run, which the bucket deletes in time | stores it again |
//! | the run | a pending run without a message | finds the run, and sends the message |
//! | the message | a message without a run | finds the claim, and creates its run |
//!
//! If the provider does not retry, the reconciler sends the message of the run.
//!
//! An event beyond the monthly run quota becomes a suspended run, up to the limit of the plan. The
//! run and its entry in the list of suspended runs are one transaction; the task that resumes them
//! is scheduled afterwards. If the process dies before that, the provider got no `202`, and the next
//! delivery finds the run and schedules the task.

mod cache;
mod deliveries;
mod handshake;
mod ingest_event;
mod rate_limit;

use std::sync::Arc;

use aias_domain::{
    event::Request,
    id::{RunId, TenantId},
};
use aias_platform::{
    blobs::Blobs,
    clock::Clock,
    config::Env,
    http::{Head, Path, Problem, RawBody, Result, Routes, is_secret_form, kinds, response},
    published_keys::PublishedKeys,
    queue::Queue,
    routes,
    runs::Intake,
    secrets::Keyrings,
    store::Store,
};
use axum::{extract::State, http::StatusCode};
use cache::ReadyEndpoint;
use serde::Serialize;
use tracing::{Span, field::display};
use utoipa::ToSchema;

pub use cache::ENDPOINT_TTL;

#[derive(Debug)]
pub struct App {
    intake: Intake,
    keyrings: Keyrings,
    clock: Clock,
    endpoints: cache::Endpoints,
    kept: deliveries::KeptDeliveries,
    published_keys: PublishedKeys,
}

impl App {
    /// From `TABLE_NAME`, `BUCKET_NAME`, `RUNS_QUEUE_URL` and `KEYRING_SECRET_ARN`.
    #[must_use]
    pub fn load(aws: &aias_platform::aws::SdkConfig, env: &Env) -> Self {
        let intake = Intake::new(
            Store::new(aws, env.text("TABLE_NAME")),
            Blobs::new(aws, env.text("BUCKET_NAME")),
            Queue::new(aws, env.text("RUNS_QUEUE_URL")),
        );
        let keyrings = Keyrings::new(aws, env.text("KEYRING_SECRET_ARN"));
        Self::new(intake, keyrings, Clock::system())
    }

    #[must_use]
    pub fn new(intake: Intake, keyrings: Keyrings, clock: Clock) -> Self {
        Self {
            intake,
            keyrings,
            clock,
            endpoints: cache::Endpoints::default(),
            kept: deliveries::KeptDeliveries::default(),
            published_keys: PublishedKeys::default(),
        }
    }

    /// With other keys of providers, or another client that fetches them.
    #[must_use]
    pub fn with_published_keys(self, published_keys: PublishedKeys) -> Self {
        Self {
            published_keys,
            ..self
        }
    }

    /// Reads the keyring and connects to the table and the queue in advance. Errors are reported by
    /// the first request that needs the dependency.
    pub async fn warm(&self) {
        let _ = tokio::join!(
            self.keyrings.get(),
            self.intake.store.check(),
            self.intake.queue.check()
        );
    }
}

#[must_use]
pub fn routes(app: App) -> Routes {
    Routes::new()
        .routes(routes!(
            receive_webhook,
            answer_handshake,
            answer_permission_request
        ))
        .with_state(Arc::new(app))
}

/// The response to a webhook.
#[derive(Serialize, ToSchema)]
struct WebhookAccepted {
    run_id: RunId,
    status: aias_domain::run::Status,
    /// Whether the event is a duplicate. `run_id` is then the run of the first delivery.
    duplicate: bool,
}

/// The response to an event whose type the endpoint does not run.
#[derive(Serialize, ToSchema)]
struct EventIgnored {
    status: IgnoredStatus,
    event_type: Option<String>,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum IgnoredStatus {
    Ignored,
}

/// Either response to an event.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "for the description of the API")]
enum WebhookResponse {
    Accepted(WebhookAccepted),
    Ignored(EventIgnored),
}

/// Receive a webhook
///
/// The response is `202` only once the event is stored. Events with the same id within seven days
/// are duplicates. The id is the one of the provider, as defined by the endpoint's scheme, or else
/// the `Idempotency-Key`.
#[utoipa::path(
    post,
    path = "/api/webhooks/{tenant_id}/{secret}",
    tag = "webhooks",
    security(()),
    params(
        ("tenant_id" = TenantId, Path),
        ("secret" = String, Path, pattern = "^[A-Za-z0-9_-]{43}$", description = "The path secret"),
    ),
    request_body(content(
        (serde_json::Value = "application/json"),
        (String = "application/x-www-form-urlencoded"),
        (String = "text/plain"),
    )),
    responses(
        (
            status = 202, description = "The event is stored. Its run is pending, or suspended until the plan or the next month allows it. Or its type is ignored",
            body = WebhookResponse,
            headers(
                ("location" = String), ("ratelimit" = String), ("ratelimit-policy" = String),
            ),
            links(("run" = (operation_id = "get_run", parameters(("id" = "$response.body#/run_id"))))),
        ),
        (
            status = 200, description = "The event is a duplicate (`run_id`, `status`, `duplicate`), its provider wants this status, or the request was a handshake or a test event. Without body if the provider wants none",
            content(
                (serde_json::Value = "application/json"),
                (String = "text/plain"),
                (String = "text/xml"),
            ),
            headers(("location" = String)),
        ),
        (
            status = 204, description = "The event is stored, and its provider wants this status",
            headers(("location" = String)),
        ),
    ),
    extensions(("x-problems" = json!([
        "bad-event-id", "bad-signature", "body-too-large", "endpoint-disabled", "endpoint-pending-secret", "event-id-reused",
        "invalid-body", "not-found", "rate-limited", "runs-exhausted", "too-many-fields",
        "unsupported-media-type", "conflict",
    ]))),
)]
async fn receive_webhook(
    State(app): State<Arc<App>>,
    Path((tenant, secret)): Path<(String, String)>,
    head: Head,
    RawBody(body): RawBody,
) -> Result {
    let endpoint = find(&app, &tenant, &secret).await?;
    let url = url_of(&head);
    let request = request_of(&head, &url, &body);
    let (mut endpoint, mut result) = (
        Arc::clone(&endpoint),
        ingest_event::ingest(&app, &endpoint, &head, &request).await,
    );
    if result.as_ref().is_err_and(may_be_outdated)
        && let Some(newer) = app
            .reread_endpoint(endpoint.found.tenant.id, &secret)
            .await?
    {
        result = ingest_event::ingest(&app, &newer, &head, &request).await;
        endpoint = newer;
    }
    if let Err(problem) = &result {
        deliveries::keep_refused(&app, &endpoint, &head, &request, problem).await;
        if problem.kind() == &kinds::BAD_SIGNATURE && endpoint.responds_without_body() {
            return Ok(response::empty(StatusCode::UNAUTHORIZED));
        }
    }
    result
}

/// Whether the request may be accepted by a newer state of the endpoint. These refusals come before
/// anything is stored.
fn may_be_outdated(problem: &Problem) -> bool {
    let refusals = [
        &kinds::BAD_SIGNATURE,
        &kinds::ENDPOINT_DISABLED,
        &kinds::ENDPOINT_DISABLED_FOR_NOW,
        &kinds::ENDPOINT_PENDING_SECRET,
    ];
    refusals.contains(&problem.kind())
}

/// The URL that was called, with its query.
fn url_of(head: &Head) -> String {
    let path = head.uri.path_and_query().map_or("/", |own| own.as_str());
    format!("{}{path}", head.base_url())
}

fn request_of<'a>(head: &'a Head, url: &'a str, body: &'a [u8]) -> Request<'a> {
    Request {
        method: head.method.as_str(),
        url,
        headers: head.headers().collect(),
        query: head.query(),
        body,
    }
}

/// Respond to the handshake by which a provider validates the URL
///
/// Also `HEAD`. Which query parameters and headers are read depends on the endpoint's source.
#[utoipa::path(
    get,
    path = "/api/webhooks/{tenant_id}/{secret}",
    tag = "webhooks",
    security(()),
    params(
        ("tenant_id" = TenantId, Path),
        ("secret" = String, Path, pattern = "^[A-Za-z0-9_-]{43}$", description = "The path secret"),
        ("hub.mode" = Option<String>, Query),
        ("hub.verify_token" = Option<String>, Query),
        ("hub.challenge" = Option<String>, Query),
        ("challenge" = Option<String>, Query),
        ("challengeCode" = Option<String>, Query),
        ("crc_token" = Option<String>, Query),
        ("validationToken" = Option<String>, Query),
    ),
    responses((
        status = 200, description = "The answer that the provider wants",
        content((String = "text/plain"), (serde_json::Value = "application/json")),
    )),
    extensions(("x-problems" = json!([
        "bad-challenge", "bad-signature", "method-not-allowed", "not-found",
    ]))),
)]
async fn answer_handshake(
    State(app): State<Arc<App>>,
    Path((tenant, secret)): Path<(String, String)>,
    head: Head,
) -> Result {
    let endpoint = find(&app, &tenant, &secret).await?;
    let url = url_of(&head);
    let answered = handshake::answer(&app, &endpoint, &request_of(&head, &url, &[])).await?;
    answered.ok_or_else(|| Problem::method_not_allowed("POST"))
}

/// Respond to the permission request of a `CloudEvents` sender
#[utoipa::path(
    options,
    path = "/api/webhooks/{tenant_id}/{secret}",
    tag = "webhooks",
    security(()),
    params(
        ("tenant_id" = TenantId, Path),
        ("secret" = String, Path, pattern = "^[A-Za-z0-9_-]{43}$", description = "The path secret"),
        ("webhook-request-origin" = Option<String>, Header),
        ("webhook-request-rate" = Option<String>, Header),
    ),
    responses((
        status = 200, description = "The sender may send events", body = String, content_type = "text/plain",
        headers(("webhook-allowed-origin" = String), ("webhook-allowed-rate" = String)),
    )),
    extensions(("x-problems" = json!([
        "bad-challenge", "bad-signature", "method-not-allowed", "not-found",
    ]))),
)]
async fn answer_permission_request(
    state: State<Arc<App>>,
    path: Path<(String, String)>,
    head: Head,
) -> Result {
    answer_handshake(state, path, head).await
}

/// The endpoint of a URL. An unknown tenant and an unknown secret are the same `404`.
async fn find(app: &App, tenant: &str, secret: &str) -> Result<Arc<ReadyEndpoint>> {
    let tenant: TenantId = tenant
        .parse()
        .ok()
        .filter(|_| is_secret_form(secret))
        .ok_or_else(Problem::not_found)?;
    let endpoint = app.endpoint(tenant, secret).await?;
    let endpoint = endpoint.ok_or_else(Problem::not_found)?;
    Span::current().record("tenant_id", display(tenant));
    Ok(endpoint)
}
