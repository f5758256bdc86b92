//! Load tests of the deployed local stack, from a provider's request to the artifact, and of
//! another product with the same workflow, in the same run.

use std::{
    collections::HashMap,
    fs,
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
use base64::{Engine as _, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;
use sha2::Sha256;

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
    /// Milliseconds of CPU time an event, and MB of memory at the end; 0 if unknown.
    pub(crate) cpu_ms: f64,
    pub(crate) memory_mb: f64,
}

/// A measured system.
#[derive(Debug, Deserialize)]
pub(crate) struct System {
    name: String,
    /// The URL to which events are posted.
    webhook: String,
    /// The secret of Standard Webhooks, with which events are signed.
    secret: Option<String>,
    /// The processes whose CPU time and memory are measured, with their children.
    #[serde(default)]
    pids: Vec<u32>,
    /// A tenant of AIAS, whose runs are read.
    url: Option<String>,
    key: Option<String>,
    /// Of another product: a file with a line of JSON with `order` and time for each event.
    file: Option<PathBuf>,
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
    let (cpu_before, _) = system.usage();
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
                    let headers = system.headers(&id, &body);
                    let Some((202, text)) = post(&mut connection, &system.webhook, &headers, &body)
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
    let (cpu, memory_mb) = system.usage();
    let mut done: Vec<f64> = ended.iter().map(|(name, at)| at - posted[name]).collect();
    let last = ended.values().copied().fold(began_ms, f64::max);
    let half_and_most = |all: &mut [f64]| (percentile(all, 0.5), percentile(all, 0.99));
    Load {
        of: system.name.clone(),
        clients,
        posted: posted.len(),
        lost: posted.len() - ended.len(),
        rate: ended.len() as f64 / (last - began_ms) * 1e3,
        answered: half_and_most(&mut answered),
        done: half_and_most(&mut done),
        cpu_ms: (cpu - cpu_before) / posted.len() as f64,
        memory_mb,
    }
}

/// Posts an event on a connection that is kept, and returns status and body; none if the
/// connection fails. Written out, because a client that computes much would be measured as well.
fn post(
    connection: &mut Option<BufReader<TcpStream>>,
    url: &str,
    headers: &str,
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
         {headers}content-length: {}\r\n\r\n{body}",
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

/// When each event was completed, in milliseconds; waits up to [`PATIENCE`] for all of them. Lists
/// of runs are read only once the newest event was completed: reading them costs the measured system
/// time that other systems, which write a file, do not spend.
fn await_all(
    system: &System,
    posted: &HashMap<String, f64>,
    began_ms: f64,
) -> HashMap<String, f64> {
    let deadline = Instant::now() + PATIENCE;
    let newest = posted.iter().max_by(|(_, a), (_, b)| a.total_cmp(b));
    while newest.is_some_and(|(name, _)| !system.has_ended(name)) && Instant::now() < deadline {
        thread::sleep(Duration::from_millis(100));
    }
    loop {
        let mut ended = system.ended(began_ms);
        ended.retain(|name, _| posted.contains_key(name));
        if ended.len() == posted.len() || Instant::now() > deadline {
            return ended;
        }
        thread::sleep(Duration::from_millis(500));
    }
}

impl System {
    /// The name by which a completed event is recognised.
    fn name_of(&self, number: usize, answer: &str) -> String {
        if self.file.is_some() {
            return format!("ord_{number:08}");
        }
        let parsed: Value = serde_json::from_str(answer).unwrap();
        parsed["run_id"].as_str().unwrap().to_owned()
    }

    /// Whether an event was completed; true if that is known for all of them only.
    fn has_ended(&self, name: &str) -> bool {
        let (Some(url), Some(key)) = (&self.url, &self.key) else {
            return true;
        };
        let run = read(&format!("{url}/api/runs/{name}"), key);
        run["status"] == "completed"
    }

    /// When each event since a time was completed.
    fn ended(&self, began_ms: f64) -> HashMap<String, f64> {
        match (&self.file, &self.url, &self.key) {
            (Some(file), ..) => written(file),
            (None, Some(url), Some(key)) => completed(url, key, began_ms),
            (None, ..) => panic!("{} has neither a file nor a tenant", self.name),
        }
    }

    /// The headers of an event: its id and, if there is a secret, its signature.
    fn headers(&self, id: &str, body: &str) -> String {
        let Some(secret) = &self.secret else {
            return format!("idempotency-key: {id}\r\n");
        };
        let key = STANDARD
            .decode(secret.trim_start_matches("whsec_"))
            .unwrap();
        let now = (now_ms() / 1e3) as u64;
        let mut mac = Hmac::<Sha256>::new_from_slice(&key).unwrap();
        mac.update(format!("{id}.{now}.{body}").as_bytes());
        let signature = STANDARD.encode(mac.finalize().into_bytes());
        format!(
            "webhook-id: {id}\r\nwebhook-timestamp: {now}\r\nwebhook-signature: v1,{signature}\r\n"
        )
    }

    /// The CPU time of the processes and their children in milliseconds, and their memory in MB.
    fn usage(&self) -> (f64, f64) {
        let (mut cpu, mut memory, mut left) = (0.0, 0.0, self.pids.clone());
        while let Some(pid) = left.pop() {
            let read = |file: &str| fs::read_to_string(format!("/proc/{pid}/{file}"));
            let stat = read("stat").unwrap_or_default();
            // The name of the program may contain spaces.
            let fields: Vec<&str> = stat
                .rsplit(") ")
                .next()
                .unwrap_or_default()
                .split(' ')
                .collect();
            let ticks = |index: usize| fields.get(index).and_then(|text| text.parse::<f64>().ok());
            // utime, stime, and those of ended children, in hundredths of a second.
            cpu += (11..15).filter_map(ticks).sum::<f64>() * 10.0;
            let status = read("status").unwrap_or_default();
            let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
            let kb = line.and_then(|text| text.trim().trim_end_matches(" kB").parse::<f64>().ok());
            memory += kb.unwrap_or_default() / 1e3;
            let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else {
                continue;
            };
            for thread in threads.flatten() {
                let children = fs::read_to_string(thread.path().join("children"));
                let children = children.unwrap_or_default();
                left.extend(
                    children
                        .split_whitespace()
                        .filter_map(|id| id.parse::<u32>().ok()),
                );
            }
        }
        (cpu, memory)
    }
}

/// Reads an object or a list of the API.
fn read(url: &str, key: &str) -> Value {
    let request = ureq::get(url).header("authorization", format!("Bearer {key}"));
    request.call().unwrap().body_mut().read_json().unwrap()
}

/// The completed runs since a time, and when each completed.
fn completed(url: &str, key: &str, began_ms: f64) -> HashMap<String, f64> {
    let from = Timestamp::from_millisecond(began_ms as i64 - 1_000).unwrap();
    let (mut ended, mut cursor) = (HashMap::new(), None::<String>);
    loop {
        let after = cursor.map(|c| format!("&cursor={c}")).unwrap_or_default();
        let list = format!("{url}/api/runs?limit=100&from={from}{after}");
        let page = read(&list, key);
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
    let text = fs::read_to_string(file).unwrap_or_default();
    let line = |line: &str| {
        let parsed: Value = serde_json::from_str(line).ok()?;
        Some((parsed["order"].as_str()?.to_owned(), parsed["at"].as_f64()?))
    };
    text.lines().filter_map(line).collect()
}
