//! The deployed local stack under load: from a provider's POST to the artifact.

use std::{
    collections::HashMap,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use aias_tests::measured::body_of;
use serde_json::Value;

use crate::functions::percentile;

/// What was seen with so many clients at once.
#[derive(Debug, Clone)]
pub(crate) struct Load {
    pub(crate) clients: usize,
    pub(crate) posted: usize,
    /// Events that were answered `202` and whose run did not complete.
    pub(crate) lost: usize,
    /// Events a second, until the last artifact.
    pub(crate) rate: f64,
    /// Milliseconds until the `202`, and until the artifact.
    pub(crate) answered: (f64, f64),
    pub(crate) done: (f64, f64),
}

const CLIENTS: [usize; 4] = [1, 8, 32, 128];

/// How long clients post, and how long the rest may take.
const POSTING: Duration = Duration::from_secs(10);
const PATIENCE: Duration = Duration::from_secs(120);

fn now_ms() -> f64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.unwrap_or_default().as_secs_f64() * 1e3
}

/// The demo tenant, as `make run` makes it.
#[derive(Debug)]
pub(crate) struct Demo {
    pub(crate) url: String,
    pub(crate) key: String,
    pub(crate) webhook: String,
}

/// All of them, one after the other.
pub(crate) fn all(demo: &Demo) -> Vec<Load> {
    // Every environment is there, and none is counted.
    one(demo, 32, Duration::from_secs(3));
    let load = |clients: &usize| {
        let load = one(demo, *clients, POSTING);
        println!("{load:?}");
        load
    };
    CLIENTS.iter().map(load).collect()
}

fn one(demo: &Demo, clients: usize, posting: Duration) -> Load {
    static NUMBER: AtomicUsize = AtomicUsize::new(0);
    let posted = Mutex::new(HashMap::new());
    let answered = Mutex::new(Vec::new());
    let began = Instant::now();
    let began_ms = now_ms();
    thread::scope(|scope| {
        for _ in 0..clients {
            scope.spawn(|| {
                let agent = ureq::Agent::config_builder()
                    .http_status_as_error(false)
                    .build()
                    .new_agent();
                while began.elapsed() < posting {
                    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
                    let (at, sent) = (now_ms(), Instant::now());
                    let response = agent
                        .post(&demo.webhook)
                        .header("content-type", "application/json")
                        .header(
                            "idempotency-key",
                            format!("load-{}-{number}", std::process::id()),
                        )
                        .send(body_of(number));
                    let Ok(mut response) = response else { continue };
                    if response.status() != 202 {
                        continue;
                    }
                    let told: Value = response.body_mut().read_json().unwrap();
                    let run = told["run_id"].as_str().unwrap().to_owned();
                    answered
                        .lock()
                        .unwrap()
                        .push(sent.elapsed().as_secs_f64() * 1e3);
                    posted.lock().unwrap().insert(run, at);
                }
            });
        }
    });
    let posted = posted.into_inner().unwrap();
    let mut answered = answered.into_inner().unwrap();
    let ended = ended(demo, &posted, began_ms);
    let mut done: Vec<f64> = ended.iter().map(|(run, at)| at - posted[run]).collect();
    let last = ended.values().copied().fold(began_ms, f64::max);
    Load {
        clients,
        posted: posted.len(),
        lost: posted.len() - ended.len(),
        rate: ended.len() as f64 / (last - began_ms) * 1e3,
        answered: (
            percentile(&mut answered, 0.5),
            percentile(&mut answered, 0.99),
        ),
        done: (percentile(&mut done, 0.5), percentile(&mut done, 0.99)),
    }
}

/// When each of these runs completed, by the list of runs.
fn ended(demo: &Demo, posted: &HashMap<String, f64>, began_ms: f64) -> HashMap<String, f64> {
    let deadline = Instant::now() + PATIENCE;
    let from = jiff::Timestamp::from_millisecond(began_ms as i64 - 1_000).unwrap();
    loop {
        let mut ended = HashMap::new();
        let mut cursor = None::<String>;
        loop {
            let after = cursor.map(|c| format!("&cursor={c}")).unwrap_or_default();
            let mut answer = ureq::get(format!(
                "{}/api/runs?limit=100&from={from}{after}",
                demo.url
            ))
            .header("authorization", format!("Bearer {}", demo.key))
            .call()
            .unwrap();
            let page: Value = answer.body_mut().read_json().unwrap();
            for run in page["data"].as_array().unwrap() {
                let id = run["id"].as_str().unwrap();
                if run["status"] == "completed" && posted.contains_key(id) {
                    let at: jiff::Timestamp = run["ended_at"].as_str().unwrap().parse().unwrap();
                    ended.insert(id.to_owned(), at.as_millisecond() as f64);
                }
            }
            cursor = page["next_cursor"].as_str().map(str::to_owned);
            if cursor.is_none() {
                break;
            }
        }
        if ended.len() == posted.len() || Instant::now() > deadline {
            return ended;
        }
        thread::sleep(Duration::from_millis(500));
    }
}
