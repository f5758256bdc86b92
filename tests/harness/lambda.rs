//! Lambda for a function's binary: the Runtime API over HTTP, environment variables, and a process
//! that can be inspected. Invocations are sequential, as in one execution environment.

use std::{
    collections::HashMap,
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::{DefaultBodyLimit, Path as Parameter, State},
    http::StatusCode,
    response::Response,
    routing::{get, post},
};
use tokio::{
    net::TcpListener,
    sync::{Mutex, mpsc, oneshot},
    task::JoinHandle,
    time::timeout,
};

/// The timeout of all operations.
const PATIENCE: Duration = Duration::from_secs(60);

/// The resources used by a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    /// CPU time, including its children.
    pub cpu: Duration,
    /// The peak memory, including its children, in KiB.
    pub peak_kib: u64,
}

/// The initialization of a function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Init {
    /// From the start of the process to its first request for an event.
    pub wall: Duration,
    /// CPU time until then.
    pub cpu: Duration,
}

#[derive(Debug)]
pub struct Invocation {
    pub response: Bytes,
    /// From sending the event to receiving the response.
    pub wall: Duration,
}

struct Event {
    payload: Bytes,
    done: oneshot::Sender<(bool, Bytes)>,
}

struct Api {
    events: Mutex<mpsc::Receiver<Event>>,
    /// The receiver of the response to the current event.
    out: Mutex<Option<oneshot::Sender<(bool, Bytes)>>>,
    requested: mpsc::Sender<()>,
}

/// A running binary of a function. Dropping it ends the process and deletes its log.
#[derive(Debug)]
pub struct Function {
    child: Child,
    server: JoinHandle<()>,
    events: mpsc::Sender<Event>,
    requested: mpsc::Receiver<()>,
    logs: PathBuf,
    started_at: Instant,
    pub init: Init,
}

impl Function {
    /// Starts a binary with only these environment variables, and waits until it requests an event.
    ///
    /// # Errors
    ///
    /// Its output, if it ends instead.
    pub async fn start(
        binary: &Path,
        environment: &HashMap<String, String>,
        memory_mib: u32,
        logs: PathBuf,
    ) -> Result<Self, String> {
        let (events, received) = mpsc::channel(1);
        let (asking, requested) = mpsc::channel(16);
        let api = Arc::new(Api {
            events: Mutex::new(received),
            out: Mutex::default(),
            requested: asking,
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = Router::new()
            .route("/2018-06-01/runtime/invocation/next", get(next))
            .route(
                "/2018-06-01/runtime/invocation/{id}/response",
                post(response),
            )
            .route("/2018-06-01/runtime/invocation/{id}/error", post(error))
            .route("/2018-06-01/runtime/init/error", post(error_at_init))
            .layer(DefaultBodyLimit::disable())
            .with_state(api);
        let server = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        let name = binary.file_name().unwrap_or_default().to_string_lossy();
        let out = fs::File::create(&logs).unwrap();
        let started_at = Instant::now();
        let child = Command::new(binary)
            .env_clear()
            .envs(environment)
            .env("AWS_LAMBDA_RUNTIME_API", address.to_string())
            .env("AWS_LAMBDA_FUNCTION_NAME", &*name)
            .env("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST")
            .env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", memory_mib.to_string())
            .env("AWS_LAMBDA_LOG_GROUP_NAME", "measured")
            .env("AWS_LAMBDA_LOG_STREAM_NAME", "measured")
            .stdin(Stdio::null())
            .stdout(out.try_clone().unwrap())
            .stderr(out)
            .spawn()
            .map_err(|error| format!("{}: {error}", binary.display()))?;
        let mut function = Self {
            child,
            server,
            events,
            requested,
            logs,
            started_at,
            init: Init {
                wall: Duration::ZERO,
                cpu: Duration::ZERO,
            },
        };
        function.wait().await?;
        function.init = Init {
            wall: function.started_at.elapsed(),
            cpu: function.usage().cpu,
        };
        Ok(function)
    }

    /// Waits until it requests the next event.
    async fn wait(&mut self) -> Result<(), String> {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            let requested = timeout(Duration::from_millis(100), self.requested.recv());
            if let Ok(Some(())) = requested.await {
                return Ok(());
            }
            if let Ok(Some(status)) = self.child.try_wait() {
                return Err(format!("the process ended ({status}): {}", self.logs()));
            }
        }
        Err(format!(
            "the process did not request an event: {}",
            self.logs()
        ))
    }

    /// Sends an event and waits for the response.
    ///
    /// # Errors
    ///
    /// When it responds with an error, or not at all.
    pub async fn invoke(&mut self, payload: impl Into<Bytes>) -> Result<Invocation, String> {
        let (done, answered) = oneshot::channel();
        let event = Event {
            payload: payload.into(),
            done,
        };
        let started_at = Instant::now();
        let sent = self.events.send(event).await;
        sent.map_err(|_| "the Runtime API ended".to_owned())?;
        let Ok(Ok((is_answer, response))) = timeout(PATIENCE, answered).await else {
            return Err(format!("no response: {}", self.logs()));
        };
        let wall = started_at.elapsed();
        if !is_answer {
            return Err(String::from_utf8_lossy(&response).into_owned());
        }
        self.wait().await?;
        Ok(Invocation { response, wall })
    }

    /// The output so far.
    #[must_use]
    pub fn logs(&self) -> String {
        fs::read_to_string(&self.logs).unwrap_or_default()
    }

    /// The resources used so far.
    #[must_use]
    pub fn usage(&self) -> Usage {
        let own = self.child.id();
        let mut usage = Usage {
            cpu: Duration::ZERO,
            peak_kib: 0,
        };
        for id in std::iter::once(own).chain(children_of(own)) {
            usage.cpu += cpu_of(id);
            usage.peak_kib += peak_of(id);
        }
        usage
    }
}

impl Drop for Function {
    fn drop(&mut self) {
        // Both fail only if the process has ended; its children end with it.
        let _ = self.child.kill();
        let _ = self.child.wait();
        self.server.abort();
        // The log has been read by now.
        let _ = fs::remove_file(&self.logs);
    }
}

/// `proc_pid_task(5)`, `children`.
fn children_of(process: u32) -> Vec<u32> {
    let mut all = Vec::new();
    for entry in fs::read_dir(format!("/proc/{process}/task"))
        .into_iter()
        .flatten()
    {
        let Ok(entry) = entry else { continue };
        let children = fs::read_to_string(entry.path().join("children")).unwrap_or_default();
        all.extend(
            children
                .split_whitespace()
                .filter_map(|id| id.parse::<u32>().ok()),
        );
    }
    all
}

/// The first field of `schedstat` of each thread: nanoseconds on a core.
fn cpu_of(process: u32) -> Duration {
    let mut all = Duration::ZERO;
    for entry in fs::read_dir(format!("/proc/{process}/task"))
        .into_iter()
        .flatten()
    {
        let Ok(entry) = entry else { continue };
        let text = fs::read_to_string(entry.path().join("schedstat")).unwrap_or_default();
        let first = text.split_whitespace().next().and_then(|n| n.parse().ok());
        all += Duration::from_nanos(first.unwrap_or_default());
    }
    all
}

fn peak_of(process: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmHWM:"));
    let field = line.and_then(|line| line.split_whitespace().nth(1)?.parse().ok());
    field.unwrap_or_default()
}

async fn next(State(api): State<Arc<Api>>) -> Response {
    let mut events = api.events.lock().await;
    // The receiver is gone when the function is being ended.
    let _ = api.requested.send(()).await;
    let Some(event) = events.recv().await else {
        return Response::builder()
            .status(StatusCode::INTERNAL_SERVER_ERROR)
            .body(Body::empty())
            .unwrap();
    };
    *api.out.lock().await = Some(event.done);
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let deadline = (now + PATIENCE).as_millis();
    Response::builder()
        .header(
            "lambda-runtime-aws-request-id",
            format!("{:036x}", now.as_nanos()),
        )
        .header("lambda-runtime-deadline-ms", deadline.to_string())
        .header(
            "lambda-runtime-invoked-function-arn",
            "arn:aws:lambda:us-east-1:000000000000:function:measured",
        )
        .header(
            "lambda-runtime-trace-id",
            "Root=1-00000000-000000000000000000000000;Sampled=0",
        )
        .header("content-type", "application/json")
        .body(Body::from(event.payload))
        .unwrap()
}

async fn end(api: &Api, is_answer: bool, body: Bytes) -> StatusCode {
    if let Some(done) = api.out.lock().await.take() {
        // The receiver may have timed out.
        let _ = done.send((is_answer, body));
    }
    StatusCode::ACCEPTED
}

async fn response(
    State(api): State<Arc<Api>>,
    Parameter(_): Parameter<String>,
    body: Bytes,
) -> StatusCode {
    end(&api, true, body).await
}

async fn error(
    State(api): State<Arc<Api>>,
    Parameter(_): Parameter<String>,
    body: Bytes,
) -> StatusCode {
    end(&api, false, body).await
}

async fn error_at_init() -> StatusCode {
    StatusCode::ACCEPTED
}
