//! Load tests of the deployed local stack, from a provider's request to the artifact, and of
//! another product with the same workflow, in the same run.

use std::{
    collections::HashMap,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
    path::PathBuf,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use aias_tests::measured::body_of;
use jiff::Timestamp;
use serde_json::Value;

use crate::functions::percentile;

/// The results with a number of clients.
#[derive(Debug, Clone)]
pub(crate) struct Load {
    pub(crate) of: String,
    pub(crate) clients: usize,
    pub(crate) posted: usize,
    /// Accepted events without an artifact.
    pub(crate) lost: usize,
    /// Events a second, until the last artifact.
    pub(crate) rate: f64,
    /// Milliseconds until the `202`, and until the artifact: p50 and p99.
    pub(crate) answered: (f64, f64),
    pub(crate) done: (f64, f64),
}

/// The measured system.
#[derive(Debug)]
pub(crate) enum System {
    /// The demo tenant of a deployed stack.
    Aias {
        url: String,
        key: String,
        webhook: String,
    },
    /// Another product, which appends a line of JSON with `order` and time to a file per event.
    Rival {
        name: String,
        webhook: String,
        file: PathBuf,
    },
}

const CLIENTS: [usize; 4] = [1, 8, 32, 128];

/// How long clients post, and how long to wait for the remaining artifacts.
const POSTING: Duration = Duration::from_secs(10);
const PATIENCE: Duration = Duration::from_secs(120);

fn now_ms() -> f64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.unwrap_or_default().as_secs_f64() * 1e3
}

/// All of them, one after the other.
pub(crate) fn all(system: &System) -> Vec<Load> {
    // Every environment is there, and none is counted.
    one(system, 32, Duration::from_secs(3));
    let load = |clients: &usize| {
        let load = one(system, *clients, POSTING);
        println!("{load:?}");
        load
    };
    CLIENTS.iter().map(load).collect()
}

fn one(system: &System, clients: usize, posting: Duration) -> Load {
    static NUMBER: AtomicUsize = AtomicUsize::new(0);
    let posted = Mutex::new(HashMap::new());
    let answered = Mutex::new(Vec::new());
    let (started_at, began_ms) = (Instant::now(), now_ms());
    thread::scope(|scope| {
        for _ in 0..clients {
            scope.spawn(|| {
                let mut connection = None;
                while started_at.elapsed() < posting {
                    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
                    let (at, sent) = (now_ms(), Instant::now());
                    let id = format!("load-{}-{number}", std::process::id());
                    // An event without `202` is not accepted.
                    let body = body_of(number);
                    let Some((202, text)) = post(&mut connection, system.webhook(), &id, &body)
                    else {
                        continue;
                    };
                    let took = sent.elapsed().as_secs_f64() * 1e3;
                    answered.lock().unwrap().push(took);
                    let name = system.name_of(number, &text);
                    posted.lock().unwrap().insert(name, at);
                }
            });
        }
    });
    let posted = posted.into_inner().unwrap();
    let mut answered = answered.into_inner().unwrap();
    assert!(!posted.is_empty(), "no event was accepted: {system:?}");
    let ended = await_all(system, &posted, began_ms);
    let mut done: Vec<f64> = ended.iter().map(|(name, at)| at - posted[name]).collect();
    let last = ended.values().copied().fold(began_ms, f64::max);
    let half_and_most = |all: &mut [f64]| (percentile(all, 0.5), percentile(all, 0.99));
    Load {
        of: match system {
            System::Aias { .. } => "AIAS".to_owned(),
            System::Rival { name, .. } => name.clone(),
        },
        clients,
        posted: posted.len(),
        lost: posted.len() - ended.len(),
        rate: ended.len() as f64 / (last - began_ms) * 1e3,
        answered: half_and_most(&mut answered),
        done: half_and_most(&mut done),
    }
}

/// Posts an event on a connection that is kept, and returns status and body; none if the
/// connection fails. Written out, because a client that computes much would be measured as well.
fn post(
    connection: &mut Option<BufReader<TcpStream>>,
    url: &str,
    id: &str,
    body: &str,
) -> Option<(u16, String)> {
    let (host, path) = url.strip_prefix("http://")?.split_once('/')?;
    let mut stream = match connection.take() {
        Some(stream) => stream,
        None => {
            let stream = TcpStream::connect(host).ok()?;
            stream.set_nodelay(true).ok()?;
            stream.set_read_timeout(Some(PATIENCE)).ok()?;
            BufReader::new(stream)
        }
    };
    let request = format!(
        "POST /{path} HTTP/1.1\r\nhost: {host}\r\ncontent-type: application/json\r\n\
         idempotency-key: {id}\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.get_mut().write_all(request.as_bytes()).ok()?;
    let (mut status, mut length) = (0, 0);
    for number in 0.. {
        let mut line = String::new();
        stream.read_line(&mut line).ok().filter(|read| *read > 0)?;
        let line = line.trim_end().to_ascii_lowercase();
        if number == 0 {
            status = line.split(' ').nth(1)?.parse().ok()?;
        } else if line.is_empty() {
            break;
        } else if let Some(text) = line.strip_prefix("content-length:") {
            length = text.trim().parse().ok()?;
        }
    }
    let mut text = vec![0; length];
    stream.read_exact(&mut text).ok()?;
    *connection = Some(stream);
    Some((status, String::from_utf8(text).ok()?))
}

/// When each event was completed, in milliseconds; waits up to [`PATIENCE`] for all of them.
fn await_all(
    system: &System,
    posted: &HashMap<String, f64>,
    began_ms: f64,
) -> HashMap<String, f64> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let mut ended = match system {
            System::Aias { url, key, .. } => completed(url, key, began_ms),
            System::Rival { file, .. } => written(file),
        };
        ended.retain(|name, _| posted.contains_key(name));
        if ended.len() == posted.len() || Instant::now() > deadline {
            return ended;
        }
        thread::sleep(Duration::from_millis(500));
    }
}

impl System {
    fn webhook(&self) -> &str {
        match self {
            Self::Aias { webhook, .. } | Self::Rival { webhook, .. } => webhook,
        }
    }

    /// The name by which a completed event is recognised.
    fn name_of(&self, number: usize, answer: &str) -> String {
        match self {
            Self::Aias { .. } => {
                let parsed: Value = serde_json::from_str(answer).unwrap();
                parsed["run_id"].as_str().unwrap().to_owned()
            }
            Self::Rival { .. } => format!("ord_{number:08}"),
        }
    }
}

/// The completed runs since a time, and when each completed.
fn completed(url: &str, key: &str, began_ms: f64) -> HashMap<String, f64> {
    let from = Timestamp::from_millisecond(began_ms as i64 - 1_000).unwrap();
    let (mut ended, mut cursor) = (HashMap::new(), None::<String>);
    loop {
        let after = cursor.map(|c| format!("&cursor={c}")).unwrap_or_default();
        let list = format!("{url}/api/runs?limit=100&from={from}{after}");
        let request = ureq::get(list).header("authorization", format!("Bearer {key}"));
        let page: Value = request.call().unwrap().body_mut().read_json().unwrap();
        for run in page["data"].as_array().unwrap() {
            if run["status"] == "completed" {
                let at: Timestamp = run["ended_at"].as_str().unwrap().parse().unwrap();
                let id = run["id"].as_str().unwrap().to_owned();
                ended.insert(id, at.as_millisecond() as f64);
            }
        }
        cursor = page["next_cursor"].as_str().map(str::to_owned);
        if cursor.is_none() {
            return ended;
        }
    }
}

/// The lines of the other product's file.
fn written(file: &PathBuf) -> HashMap<String, f64> {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    let line = |line: &str| {
        let parsed: Value = serde_json::from_str(line).ok()?;
        Some((parsed["order"].as_str()?.to_owned(), parsed["at"].as_f64()?))
    };
    text.lines().filter_map(line).collect()
}
