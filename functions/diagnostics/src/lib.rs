//! Health, diagnostics, and the API description.

mod tenant;

use std::{sync::Arc, time::Duration};

use aias_platform::{
    aws::SdkConfig,
    blobs::Blobs,
    config::Env,
    http::{
        Api, Authenticated as _, HasApi, Result, Routes, WithHeader as _,
        response::{json, text},
    },
    queue::Queue,
    routes,
    telemetry::ErrorChain,
};
use axum::{
    extract::State,
    http::{StatusCode, header::RETRY_AFTER},
};
use serde::Serialize;
use tokio::time::timeout;
use utoipa::ToSchema;

/// `OpenAPI` 3.1 of all routes. `make openapi` writes it.
pub const OPENAPI: &str = include_str!("../../../docs/openapi.json");

/// How long a dependency may take to respond.
const CHECK_TIMEOUT: Duration = Duration::from_secs(2);

#[derive(Debug)]
pub struct App {
    /// The table, authentication and the time.
    pub api: Arc<Api>,
    blobs: Blobs,
    queue: Queue,
    dead_letters: Queue,
}

impl App {
    /// From `BUCKET_NAME`, `RUNS_QUEUE_URL` and `DEAD_LETTER_QUEUE_URL`.
    #[must_use]
    pub fn load(api: Api, aws: &SdkConfig, env: &Env) -> Self {
        let blobs = Blobs::new(aws, env.text("BUCKET_NAME"));
        let queue = Queue::new(aws, env.text("RUNS_QUEUE_URL"));
        let dead_letters = Queue::new(aws, env.text("DEAD_LETTER_QUEUE_URL"));
        Self::new(api, blobs, queue, dead_letters)
    }

    #[must_use]
    pub fn new(api: Api, blobs: Blobs, queue: Queue, dead_letters: Queue) -> Self {
        Self {
            api: Arc::new(api),
            blobs,
            queue,
            dead_letters,
        }
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
    let of_tenant = Routes::new()
        .routes(routes!(tenant::get_diagnostics))
        .in_named_tenant(&api);
    Routes::new()
        .routes(routes!(get_health))
        .routes(routes!(get_openapi))
        .merge(of_tenant)
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

#[derive(Clone, Copy, Serialize, ToSchema)]
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

/// The health of all dependencies. `read_table` is a read that the caller's credentials allow.
async fn all_checks(
    app: &App,
    read_table: impl Future<Output = std::result::Result<(), aias_platform::store::Error>>,
) -> Checks {
    let (store, queue, blobs, secrets) = tokio::join!(
        check("store", read_table),
        check("queue", app.queue.check()),
        check("blobs", app.blobs.check()),
        check("secrets", app.api.auth.check_keyring())
    );
    Checks {
        store,
        queue,
        blobs,
        secrets,
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
    let checks = all_checks(&app, app.api.store.check()).await;
    let Checks {
        store,
        queue,
        blobs,
        secrets,
    } = checks;
    let all = [store, queue, blobs, secrets];
    let healthy = all.iter().all(|status| *status == CheckStatus::Ok);
    let health = |status| Health {
        status,
        version: env!("CARGO_PKG_VERSION"),
        checks,
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
