//! Health, and the API description.

use std::{sync::Arc, time::Duration};

use aias_platform::{
    aws::SdkConfig,
    blobs::Blobs,
    config::Env,
    http::{
        Result, WithHeader as _,
        response::{json, text},
    },
    queue::Queue,
    secrets::Keyrings,
    store::Store,
    telemetry::ErrorChain,
};
use axum::{
    extract::State,
    http::{StatusCode, header::RETRY_AFTER},
};
use serde::Serialize;
use tokio::time::timeout;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

/// `OpenAPI` 3.1 of all routes. `make openapi` writes it.
pub const OPENAPI: &str = include_str!("../../../docs/openapi.json");

/// How long a dependency may take to respond.
const CHECK_TIMEOUT: Duration = Duration::from_secs(2);

#[derive(Debug)]
pub struct App {
    store: Store,
    blobs: Blobs,
    queue: Queue,
    keyrings: Keyrings,
}

impl App {
    /// From `TABLE_NAME`, `BUCKET_NAME`, `RUNS_QUEUE_URL` and `KEYRING_SECRET_ARN`.
    #[must_use]
    pub fn load(aws: &SdkConfig, env: &Env) -> Self {
        let store = Store::new(aws, env.text("TABLE_NAME"));
        let blobs = Blobs::new(aws, env.text("BUCKET_NAME"));
        let queue = Queue::new(aws, env.text("RUNS_QUEUE_URL"));
        let keyrings = Keyrings::new(aws, env.text("KEYRING_SECRET_ARN"));
        Self::new(store, blobs, queue, keyrings)
    }

    #[must_use]
    pub fn new(store: Store, blobs: Blobs, queue: Queue, keyrings: Keyrings) -> Self {
        Self {
            store,
            blobs,
            queue,
            keyrings,
        }
    }

    /// Reads the keyring in advance. If that fails, the health check reports why.
    pub async fn warm(&self) {
        let _ = self.keyrings.get().await;
    }
}

#[must_use]
pub fn routes(app: App) -> OpenApiRouter {
    OpenApiRouter::new()
        .routes(routes!(get_health))
        .routes(routes!(get_openapi))
        .with_state(Arc::new(app))
}

#[derive(Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum CheckStatus {
    Ok,
    Failing,
}

#[derive(Serialize, ToSchema)]
struct Health {
    status: CheckStatus,
    #[schema(value_type = String)]
    version: &'static str,
    checks: Checks,
}

#[derive(Serialize, ToSchema)]
struct Checks {
    store: CheckStatus,
    queue: CheckStatus,
    blobs: CheckStatus,
    secrets: CheckStatus,
}

async fn check<E: std::error::Error + 'static>(
    name: &str,
    call: impl Future<Output = std::result::Result<(), E>>,
) -> CheckStatus {
    match timeout(CHECK_TIMEOUT, call).await {
        Ok(Ok(())) => CheckStatus::Ok,
        Ok(Err(error)) => {
            tracing::error!(event = "check_failed", check = name, error = %ErrorChain(&error));
            CheckStatus::Failing
        }
        Err(_) => {
            tracing::error!(event = "check_timed_out", check = name);
            CheckStatus::Failing
        }
    }
}

/// Check the health of AIAS and its dependencies
#[utoipa::path(
    get,
    path = "/api/health",
    tag = "operations",
    security(()),
    responses(
        (status = 200, description = "All dependencies work", body = Health),
        (
            status = 503, description = "A dependency does not work", body = Health,
            headers(("retry-after" = String)),
        ),
    ),
)]
async fn get_health(State(app): State<Arc<App>>) -> Result {
    let keyring = async { app.keyrings.get().await.map(|_| ()) };
    let (store, queue, blobs, secrets) = tokio::join!(
        check("store", app.store.check()),
        check("queue", app.queue.check()),
        check("blobs", app.blobs.check()),
        check("secrets", keyring)
    );
    let checks = [store, queue, blobs, secrets];
    let healthy = checks.iter().all(|status| *status == CheckStatus::Ok);
    let health = |status| Health {
        status,
        version: env!("CARGO_PKG_VERSION"),
        checks: Checks {
            store,
            queue,
            blobs,
            secrets,
        },
    };
    if healthy {
        return json(StatusCode::OK, &health(CheckStatus::Ok));
    }
    let response = json(
        StatusCode::SERVICE_UNAVAILABLE,
        &health(CheckStatus::Failing),
    )?;
    Ok(response.with(RETRY_AFTER, "5"))
}

/// Get this description of the API
#[utoipa::path(
    get,
    path = "/api/openapi.json",
    tag = "operations",
    security(()),
    responses((status = 200, description = "OpenAPI 3.1", body = Object)),
)]
async fn get_openapi() -> Result {
    Ok(text(StatusCode::OK, "application/json", OPENAPI.to_owned()))
}
