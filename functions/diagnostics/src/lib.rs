//! Health, the API's own description, and the answer to what no route takes.

mod routes;

use std::time::Duration;

use aias_platform::{
    aws::SdkConfig,
    blobs::Blobs,
    config::Env,
    http::{HttpAnswer, HttpEvent, Method, Problem, Request, Response, serve},
    queue::Queue,
    secrets::Keyrings,
    store::Store,
    telemetry::Chain,
};
use serde_json::json;
use tokio::time::timeout;

/// `OpenAPI` 3.1 of all routes.
pub const OPENAPI: &str = include_str!("../openapi.json");

/// How long a dependency may take to say that it is there.
const CHECK_TIMEOUT: Duration = Duration::from_secs(2);

/// What these routes take.
#[derive(Debug)]
pub struct App {
    store: Store,
    blobs: Blobs,
    queue: Queue,
    keyrings: Keyrings,
    routes: routes::Routes,
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

    /// Of its parts.
    #[must_use]
    pub fn new(store: Store, blobs: Blobs, queue: Queue, keyrings: Keyrings) -> Self {
        let routes = routes::Routes::read(OPENAPI);
        Self {
            store,
            blobs,
            queue,
            keyrings,
            routes,
        }
    }

    /// Reads the keyring, so that no request waits for it.
    pub async fn warm(&self) {
        // The health check says why it cannot be read.
        let _ = self.keyrings.get().await;
    }
}

/// Answers an event.
pub async fn handle(app: &App, event: HttpEvent) -> HttpAnswer {
    serve(
        event,
        |request, _| async move { route(app, &request).await },
    )
    .await
}

async fn route(app: &App, request: &Request) -> Result<Response, Problem> {
    match (request.method, request.path().as_slice()) {
        (Method::Get, ["api", "health"]) => health(app).await,
        (Method::Get, ["api", "openapi.json"]) => Ok(Response::raw_json(200, OPENAPI.to_owned())),
        (_, path) => match app.routes.allowed(path) {
            Some(allow) => Err(Problem::method_not_allowed(allow)),
            None => Err(Problem::not_found()),
        },
    }
}

async fn check<E: std::error::Error + 'static>(
    name: &str,
    call: impl Future<Output = Result<(), E>>,
) -> &'static str {
    match timeout(CHECK_TIMEOUT, call).await {
        Ok(Ok(())) => "ok",
        Ok(Err(error)) => {
            tracing::error!(check = name, error = %Chain(&error), "a dependency fails");
            "failing"
        }
        Err(_) => {
            tracing::error!(check = name, "a dependency does not answer");
            "failing"
        }
    }
}

async fn health(app: &App) -> Result<Response, Problem> {
    let keyring = async { app.keyrings.get().await.map(|_| ()) };
    let (store, queue, blobs, secrets) = tokio::join!(
        check("store", app.store.check()),
        check("queue", app.queue.check()),
        check("blobs", app.blobs.check()),
        check("secrets", keyring)
    );
    let healthy = [store, queue, blobs, secrets]
        .iter()
        .all(|state| *state == "ok");
    let view = json!({
        "status": if healthy { "ok" } else { "failing" },
        "version": env!("CARGO_PKG_VERSION"),
        "checks": {"store": store, "queue": queue, "blobs": blobs, "secrets": secrets},
    });
    let response = Response::json(if healthy { 200 } else { 503 }, &view)?;
    Ok(if healthy {
        response
    } else {
        response.header("retry-after", "5")
    })
}
