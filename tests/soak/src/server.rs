//! The process that is killed, and a tenant of it.

use std::{
    fs::File,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use aias::{CreateTenantOptions, SetEnterpriseOptions, create_tenant, set_enterprise};
use aias_platform::clock::random_id;
use serde_json::{Value, json};
use tokio::runtime::Runtime;

/// How long a start may take.
const START_WITHIN: Duration = Duration::from_secs(60);

/// A server on one port, whose process changes.
#[derive(Clone)]
pub(crate) struct Server {
    data: PathBuf,
    port: u16,
    process: Arc<Mutex<Child>>,
}

/// A tenant and its key.
pub(crate) struct Tenant {
    pub(crate) key: String,
}

/// A thread that kills the process.
pub(crate) struct Killing {
    stopped: Arc<AtomicBool>,
    thread: JoinHandle<u64>,
}

fn spawn(data: &Path, port: u16, percent: u64) -> Child {
    let program = std::env::current_exe().expect("the program has a path");
    let log = File::options()
        .create(true)
        .append(true)
        .open(data.with_extension("log"))
        .expect("the log can be written");
    Command::new(program)
        .args(["serve", "--percent", &percent.to_string()])
        .args(["--listen", &format!("127.0.0.1:{port}"), "--data"])
        .arg(data)
        // It ends when this process does.
        .stdin(Stdio::piped())
        .stdout(Stdio::from(log))
        .spawn()
        .expect("the program starts")
}

impl Server {
    pub(crate) fn start(data: &Path, percent: u64) -> Self {
        let free = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let port = free.local_addr().expect("it has an address").port();
        drop(free);
        let server = Self {
            data: data.to_owned(),
            port,
            process: Arc::new(Mutex::new(spawn(data, port, percent))),
        };
        server.wait_ready();
        server
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    fn process(&self) -> MutexGuard<'_, Child> {
        self.process.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait_ready(&self) {
        let until = Instant::now() + START_WITHIN;
        while ureq::get(format!("{}/readyz", self.url())).call().is_err() {
            assert!(Instant::now() < until, "the process does not serve");
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Kills the process with SIGKILL, and starts another.
    pub(crate) fn kill_and_start(&self, percent: u64) {
        let mut process = self.process();
        process.kill().expect("the process can be killed");
        process.wait().expect("the process ends");
        *process = spawn(&self.data, self.port, percent);
        drop(process);
        self.wait_ready();
    }

    /// Kills it again and again, on average every `seconds`.
    pub(crate) fn kill_at_random(&self, percent: u64, seconds: u64) -> Killing {
        let stopped = Arc::new(AtomicBool::new(false));
        let (server, stop) = (self.clone(), Arc::clone(&stopped));
        let thread = thread::spawn(move || {
            let mut kills = 0;
            while !stop.load(Ordering::Relaxed) {
                // Not at once: a run whose executor died at each attempt is faulted.
                let pause = 500 + u64::try_from(random_id() % 1_000).unwrap_or_default();
                thread::sleep(Duration::from_millis(pause * seconds));
                server.kill_and_start(percent);
                kills += 1;
            }
            kills
        });
        Killing { stopped, thread }
    }

    /// A new tenant without the limits of the free plan.
    pub(crate) fn new_tenant(&self, runtime: &Runtime) -> Tenant {
        let made = runtime.block_on(create_tenant(CreateTenantOptions {
            data: self.data.clone(),
            name: "Soak".to_owned(),
            owner: "operator".to_owned(),
        }));
        let made: Value =
            serde_json::from_str(&made.expect("a tenant is created")).expect("the result is JSON");
        let text = |name: &str| made[name].as_str().expect("a string").to_owned();
        let plan = runtime.block_on(set_enterprise(SetEnterpriseOptions {
            data: self.data.clone(),
            tenant: text("tenant_id"),
            limits: "{}".to_owned(),
        }));
        plan.expect("the plan is set");
        Tenant {
            key: text("api_key"),
        }
    }
}

impl Killing {
    /// Ends it, and returns how often the process was killed.
    pub(crate) fn stop(self) -> u64 {
        self.stopped.store(true, Ordering::Relaxed);
        self.thread.join().expect("the thread ends")
    }
}

impl Tenant {
    fn create(&self, url: &str, body: &Value) -> Value {
        let request = ureq::post(url).header("authorization", format!("Bearer {}", self.key));
        let mut response = request.send_json(body).expect("it is created");
        response.body_mut().read_json().expect("a JSON response")
    }

    /// An endpoint whose runs return the order of their event; every tenth waits a second before.
    /// Returns its path.
    pub(crate) fn new_endpoint(&self, url: &str) -> String {
        let workflow = self.create(
            &format!("{url}/api/workflows"),
            &json!({"definition": {
                "document": {"dsl": "1.0.3", "namespace": "soak", "name": "order", "version": "1.0.0"},
                "do": [
                    {"pause": {"if": "${ .body.order % 10 == 0 }", "wait": {"seconds": 1}}},
                    {"order": {"set": {"order": "${ .body.order }"}}},
                ],
            }}),
        );
        let endpoint = self.create(
            &format!("{url}/api/webhook-endpoints"),
            &json!({"name": "soak", "workflow_id": workflow["id"]}),
        );
        let webhook = endpoint["url"].as_str().expect("a URL");
        webhook
            .strip_prefix(url)
            .expect("a URL of this process")
            .to_owned()
    }
}
