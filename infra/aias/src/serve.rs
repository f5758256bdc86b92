//! `aias serve`.

use std::{
    net::{SocketAddr, TcpListener},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use aias_platform::{
    aws::SdkConfig,
    clock::Clock,
    config::{ConfigError, Env},
    http::{Api, Routes, service},
    telemetry,
};
use aws_smithy_runtime_api::client::http::SharedHttpClient;
use axum::{
    Router,
    extract::{Request, State},
    middleware::{Next, from_fn_with_state},
    response::Response,
    routing::get,
};
use axum_server::{
    Handle,
    accept::NoDelayAcceptor,
    tls_rustls::{RustlsAcceptor, RustlsConfig},
};
use tokio::signal::unix::{SignalKind, signal};

use crate::{
    data_folder::DataFolder,
    disk_sync::Durability,
    downloads::downloads,
    front::{Front, layered},
    installation::{Installation, OpenError},
    metrics::Metrics,
    services::Services,
    settings::{Settings, SettingsError},
    table::Table,
    work::Work,
};

/// How long requests and batches may take after the process was asked to stop.
const STOP_WITHIN: Duration = Duration::from_secs(20);

/// What `aias serve` is started with.
#[derive(Debug, Clone, clap::Args)]
pub struct ServeOptions {
    /// The folder of all data. It is created if it does not exist.
    #[arg(long)]
    pub data: PathBuf,
    /// The address of the API, the console and the webhooks.
    #[arg(long, default_value = "127.0.0.1:4566")]
    pub listen: SocketAddr,
    /// A YAML file with settings: docs/embedded.md has all of them.
    #[arg(long)]
    pub config: Option<PathBuf>,
    /// What an accepted event survives.
    #[arg(long, value_enum, default_value = "power")]
    pub durability: Durability,
    /// The address of `GET /metrics`, in the format of Prometheus. Without it there are no metrics.
    #[arg(long)]
    pub metrics_listen: Option<SocketAddr>,
}

/// Why the process cannot serve.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    #[error(transparent)]
    Settings(#[from] SettingsError),
    #[error(transparent)]
    Environment(#[from] ConfigError),
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error(
        "{0} cannot be listened at: stop the program that uses it, or choose another address with --listen"
    )]
    Listen(SocketAddr, #[source] std::io::Error),
    #[error("TlsCertificate and TlsKey cannot be used")]
    Tls(#[source] std::io::Error),
    #[error("the server failed")]
    Server(#[source] std::io::Error),
    #[error("the threads that execute runs cannot be started")]
    Threads(#[source] std::io::Error),
    #[error("the metrics cannot be registered")]
    Metrics(#[from] prometheus::Error),
}

/// Serves until SIGTERM or SIGINT, then finishes what is under way.
///
/// # Errors
///
/// When the process cannot start, or the server fails.
pub async fn serve(options: ServeOptions) -> Result<(), ServeError> {
    serve_through(options, |client| client).await
}

/// As [`serve`], with another client between the functions and the services, such as one that fails
/// at times.
///
/// # Errors
///
/// When the process cannot start, or the server fails.
pub async fn serve_through(
    options: ServeOptions,
    client: impl FnOnce(SharedHttpClient) -> SharedHttpClient,
) -> Result<(), ServeError> {
    let settings = match &options.config {
        Some(file) => Settings::read(file)?,
        None => Settings::default(),
    };
    raise_descriptor_limit();
    let listener = listen(options.listen)?;
    let address = listener.local_addr().map_err(ServeError::Server)?;
    let scheme = if settings.has_tls() { "https" } else { "http" };
    let public_url = match settings.public_url.trim_end_matches('/') {
        "" => format!("{scheme}://{address}"),
        url => url.to_owned(),
    };
    telemetry::init_with("aias", &settings.environment(&public_url));
    let folder = DataFolder::open(&options.data).map_err(OpenError::from)?;
    let Installation {
        services,
        env,
        aws,
        tenants,
    } = Installation::open(&folder, &settings, &public_url, options.durability, client).await?;
    let functions = Functions::load(&aws, &tenants, &env, &services.table);
    env.finish()?;
    functions.executor.warm().await;

    let front = Arc::new(Front::new(
        &settings,
        address.to_string(),
        Clock::system(),
        Metrics::new()?,
    ));
    let objects = downloads(&services, &public_url);
    let app = layered(&front, service(functions.routes).merge(objects), &settings);
    let work = Work::start(
        Arc::clone(&services),
        functions.executor,
        functions.reconciler,
        &settings,
    )
    .map_err(ServeError::Threads)?;
    let handle = Handle::new();
    tokio::spawn(stop_at_signal(handle.clone(), Arc::clone(&front)));
    if let Some(address) = options.metrics_listen {
        let listener = listen(address)?;
        tokio::spawn(serve_metrics(
            listener,
            Arc::clone(&front),
            Arc::clone(&services),
        ));
    }
    tracing::info!(
        event = "serving",
        url = public_url,
        data = %folder.path().display(),
        durability = ?options.durability,
        // No IAM is between the tenants of one process.
        isolation = "types",
    );
    serve_http(listener, app, &settings, handle).await?;

    let finished = work.stop(STOP_WITHIN).await;
    services.table.sync.confirm().await;
    tracing::info!(event = "stopped", finished);
    Ok(())
}

/// The functions with routes, and those without.
struct Functions {
    routes: Routes,
    executor: Arc<executor::App>,
    reconciler: Arc<reconciler::App>,
}

impl Functions {
    fn load(aws: &SdkConfig, tenants: &SdkConfig, env: &Env, table: &Table) -> Self {
        let api = Api::load(aws, tenants, env);
        let api_routes = console::api_routes(&api, aws, tenants, env);
        let pages = console::App::new(api, api_routes.clone(), console::Settings::load(env));
        // Nobody sees what a webhook writes before its response, so one sync is enough for all of it.
        let webhooks = webhook_ingest::routes(webhook_ingest::App::load(aws, env))
            .layer(from_fn_with_state(table.clone(), confirm_at_end));
        let routes = api_routes
            .merge(console::routes(pages))
            .merge(webhooks)
            .merge(stripe_events::routes(stripe_events::App::load(aws, env)));
        Self {
            routes,
            executor: Arc::new(executor::App::load(aws, env)),
            reconciler: Arc::new(reconciler::App::load(aws, env)),
        }
    }
}

async fn confirm_at_end(State(table): State<Table>, request: Request, next: Next) -> Response {
    table.confirming_at_end(next.run(request)).await
}

fn listen(address: SocketAddr) -> Result<TcpListener, ServeError> {
    TcpListener::bind(address).map_err(|error| ServeError::Listen(address, error))
}

/// The default of many systems is 1,024 descriptors; each connection and each child needs some.
fn raise_descriptor_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    // The process works with the current limit as well.
    let _ = setrlimit(
        Resource::Nofile,
        Rlimit {
            current: maximum,
            maximum,
        },
    );
}

async fn serve_http(
    listener: TcpListener,
    app: Router,
    settings: &Settings,
    handle: Handle<SocketAddr>,
) -> Result<(), ServeError> {
    let app = app.into_make_service_with_connect_info::<SocketAddr>();
    let server = axum_server::from_tcp(listener).map_err(ServeError::Server)?;
    let server = server.handle(handle);
    if settings.has_tls() {
        // Another provider of cryptography was not installed.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let tls = RustlsConfig::from_pem_file(&settings.tls_certificate, &settings.tls_key)
            .await
            .map_err(ServeError::Tls)?;
        let acceptor = RustlsAcceptor::new(tls).acceptor(NoDelayAcceptor::new());
        server.acceptor(acceptor).serve(app).await
    } else {
        server.acceptor(NoDelayAcceptor::new()).serve(app).await
    }
    .map_err(ServeError::Server)
}

async fn serve_metrics(listener: TcpListener, front: Arc<Front>, services: Arc<Services>) {
    let text = async move || {
        let text = front.metrics.text(&services);
        text.map_err(|_| http::StatusCode::INTERNAL_SERVER_ERROR)
    };
    let app = Router::new().route("/metrics", get(text));
    let served = async {
        let server = axum_server::from_tcp(listener)?;
        server.serve(app.into_make_service()).await
    };
    if let Err(error) = served.await {
        tracing::error!(event = "metrics_failed", %error);
    }
}

async fn stop_at_signal(handle: Handle<SocketAddr>, front: Arc<Front>) {
    let of = |kind| signal(kind);
    let (Ok(mut terminate), Ok(mut interrupt)) =
        (of(SignalKind::terminate()), of(SignalKind::interrupt()))
    else {
        tracing::error!(event = "signals_unavailable");
        return;
    };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    tracing::info!(event = "stopping");
    front.stop();
    handle.graceful_shutdown(Some(STOP_WITHIN));
}
