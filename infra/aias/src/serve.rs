//! `aias serve`.

use std::{
    net::{SocketAddr, TcpListener},
    num::NonZero,
    path::PathBuf,
    sync::Arc,
    thread,
    time::{Duration, SystemTime},
};

use aias_platform::{
    clock::Clock,
    config::ConfigError,
    http::{Api, service},
    sqs::{BatchItemFailure, SqsBatchResponse, SqsEvent, SqsMessage},
    telemetry,
};
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
use jiff::SignedDuration;
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::{Notify, Semaphore},
    task::spawn_blocking,
    time::{MissedTickBehavior, interval, sleep, timeout},
};

use crate::{
    data_folder::DataFolder,
    disk_sync::Durability,
    downloads::{Downloads, get_object},
    front::{Front, layered},
    installation::{Installation, OpenError},
    metrics::Metrics,
    services::Services,
    settings::{Settings, SettingsError, names},
    table::Table,
};

/// The time limit of a batch, as `ExecutorTimeoutSeconds`.
const BATCH_TIME: Duration = Duration::from_secs(60);
/// How long messages are gathered.
const GATHER_FOR: Duration = Duration::from_millis(5);
/// How long requests and batches may take after the process was asked to stop.
const STOP_WITHIN: Duration = Duration::from_secs(20);
/// How often the reconciler runs, as in `template.yaml`.
const RECONCILE_EVERY: Duration = Duration::from_secs(60);
/// How often expired items and objects are deleted.
const EXPIRE_EVERY: Duration = Duration::from_secs(600);
/// How often dead letters that could not be handled are tried again, as in `template.yaml`.
const DEAD_LETTERS_EVERY: Duration = Duration::from_secs(900);

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
    #[error("the metrics cannot be registered")]
    Metrics(#[from] prometheus::Error),
}

/// Serves until SIGTERM or SIGINT, then finishes what is under way.
///
/// # Errors
///
/// When the process cannot start, or the server fails.
pub async fn serve(options: ServeOptions) -> Result<(), ServeError> {
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
    } = Installation::open(&folder, &settings, &public_url, options.durability).await?;
    let clock = Clock::system();

    let api = Api::load(&aws, &tenants, &env);
    let api_routes = console::api_routes(&api, &aws, &tenants, &env);
    let pages = console::App::new(api, api_routes.clone(), console::Settings::load(&env));
    let ingest = webhook_ingest::App::load(&aws, &env);
    let stripe = stripe_events::App::load(&aws, &env);
    let executor = Arc::new(executor::App::load(&aws, &env));
    let reconciler = Arc::new(reconciler::App::load(&aws, &env));
    env.finish()?;
    executor.warm().await;
    // The process may have died between writing a run and its message.
    reconciler::resend_pending(&reconciler, SignedDuration::ZERO).await;

    // Nobody sees what a webhook writes before its response, so one sync is enough for all of it.
    let webhooks = webhook_ingest::routes(ingest)
        .layer(from_fn_with_state(services.table.clone(), confirm_at_end));
    let routes = api_routes
        .merge(console::routes(pages))
        .merge(webhooks)
        .merge(stripe_events::routes(stripe));
    let downloads = Arc::new(Downloads {
        services: Arc::clone(&services),
        public_url: public_url.clone(),
    });
    let objects = Router::new()
        .route(&format!("/{}/{{*key}}", names::BUCKET), get(get_object))
        .with_state(downloads);
    let front = Arc::new(Front::new(
        &settings,
        address.to_string(),
        clock,
        Metrics::new()?,
    ));
    let app = layered(&front, service(routes).merge(objects), &settings);

    let work = Work {
        services: Arc::clone(&services),
        executor,
        reconciler: Arc::clone(&reconciler),
        batches: Arc::new(Semaphore::new(settings.executor_concurrency)),
        ended: Arc::default(),
    };
    let executing = tokio::spawn(execute_runs(work.clone(), settings.executor_concurrency));
    let background = [
        tokio::spawn(reconcile(reconciler)),
        tokio::spawn(retry_dead_letters(work.clone())),
        tokio::spawn(expire(Arc::clone(&services), settings.retention_days)),
    ];
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

    executing.abort();
    for task in background {
        task.abort();
    }
    let all = u32::try_from(settings.executor_concurrency).unwrap_or(u32::MAX);
    let finished = timeout(STOP_WITHIN, work.batches.acquire_many(all))
        .await
        .is_ok();
    services.table.sync.confirm().await;
    tracing::info!(event = "stopped", finished);
    Ok(())
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

/// What the functions without routes need.
#[derive(Clone)]
struct Work {
    services: Arc<Services>,
    executor: Arc<executor::App>,
    reconciler: Arc<reconciler::App>,
    /// One permit for each concurrent batch.
    batches: Arc<Semaphore>,
    /// Notified when a batch has ended.
    ended: Arc<Notify>,
}

/// Executes the runs of the queue. While every core has a batch, messages are gathered: the runs of
/// a batch share the reads of their workflow and tenant.
async fn execute_runs(work: Work, concurrency: usize) {
    let cores = thread::available_parallelism().map_or(1, NonZero::get);
    while let Ok(permit) = Arc::clone(&work.batches).acquire_owned().await {
        let others = concurrency - work.batches.available_permits() - 1;
        if others >= cores {
            // Batches that wait for calls do not delay others for long.
            let _ = timeout(GATHER_FOR, work.ended.notified()).await;
        }
        let event = work.services.queue.receive().await;
        let work = work.clone();
        tokio::spawn(async move {
            let ids: Vec<Arc<str>> = ids_of(&event);
            let executor = Arc::clone(&work.executor);
            let deadline = SystemTime::now() + BATCH_TIME;
            let batch =
                tokio::spawn(async move { executor::handle(&executor, event, deadline).await });
            let response = match batch.await {
                Ok(response) => response,
                Err(error) => {
                    tracing::error!(event = "batch_failed", %error);
                    failed(&ids)
                }
            };
            let dead = work.services.queue.settle(&ids, &response).await;
            if !dead.is_empty() {
                handle_dead_letters(&work, dead).await;
            }
            drop(permit);
            work.ended.notify_one();
        });
    }
}

fn ids_of(event: &SqsEvent) -> Vec<Arc<str>> {
    let ids = event
        .records
        .iter()
        .filter_map(|record| record.message_id.as_deref());
    ids.map(Arc::from).collect()
}

/// The response of a batch of which nothing is known.
fn failed(ids: &[Arc<str>]) -> SqsBatchResponse {
    let mut response = SqsBatchResponse::default();
    response.set_failures(ids.iter().map(|id| id.to_string()));
    response
}

async fn handle_dead_letters(work: &Work, records: Vec<SqsMessage>) {
    let mut event = SqsEvent::default();
    event.records = records;
    let ids = ids_of(&event);
    let handled = reconciler::handle(&work.reconciler, reconciler::Event::Dead(event)).await;
    let Ok(response) = handled else { return };
    for id in ids {
        let is_failed = |failure: &BatchItemFailure| *failure.item_identifier == *id;
        if !response.batch_item_failures.iter().any(is_failed) {
            work.services.queue.delete_dead(&id).await;
        }
    }
}

async fn retry_dead_letters(work: Work) {
    loop {
        sleep(DEAD_LETTERS_EVERY).await;
        let dead = work.services.queue.dead_letters();
        if !dead.is_empty() {
            handle_dead_letters(&work, dead).await;
        }
    }
}

/// Runs the reconciler each minute, one pass at a time.
async fn reconcile(app: Arc<reconciler::App>) {
    let mut ticks = interval(RECONCILE_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let schedule = reconciler::Schedule {
            detail_type: "Scheduled Event".to_owned(),
        };
        // Only operators' events are refused.
        let _ = reconciler::handle(&app, reconciler::Event::Schedule(schedule)).await;
    }
}

/// Deletes what the table's time to live and the bucket's lifecycle rule delete on AWS.
async fn expire(services: Arc<Services>, retention_days: u32) {
    let age = Duration::from_secs(u64::from(retention_days) * 86_400);
    loop {
        sleep(EXPIRE_EVERY).await;
        let (table, objects) = (services.table.clone(), services.objects.clone());
        let deleted =
            spawn_blocking(move || (table.delete_expired(), objects.delete_older(age))).await;
        match deleted {
            Ok((Ok(items), Ok(objects))) => {
                tracing::info!(event = "expired_deleted", items, objects);
            }
            Ok((items, objects)) => {
                let error = items.err().map(|error| error.to_string());
                let error = error.or_else(|| objects.err().map(|error| error.to_string()));
                tracing::error!(event = "expired_not_deleted", error);
            }
            Err(error) => tracing::error!(event = "expired_not_deleted", %error),
        }
    }
}
