//! Figures of a function's main path that are the same in every run: calls, rounds, units, log
//! bytes.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use serde_json::Value;

use crate::{
    cloud::Latency,
    lambda::Function,
    measured::{Case, World},
};

/// The resources that one event of a warm function uses.
#[derive(Debug, Clone, PartialEq)]
pub struct Counts {
    /// The number of calls by name.
    pub calls: BTreeMap<String, u32>,
    /// The number of sequential rounds of calls. None for events with several runs, which overlap
    /// in different ways.
    pub rounds: Option<usize>,
    pub read_units: f64,
    pub write_units: f64,
    /// The size of the log output in bytes, with durations of three digits.
    pub log_bytes: usize,
}

/// Long enough that concurrent calls overlap.
const SLOW: Latency = Latency {
    dynamodb_us: 10_000,
    sqs_us: 10_000,
    s3_us: 10_000,
    other_us: 10_000,
};

/// Events before a function is warm.
const WARM: usize = 3;

/// The log file of a function.
#[must_use]
pub fn log_file(case: &Case) -> PathBuf {
    let name: String = case
        .name
        .chars()
        .filter(char::is_ascii_alphanumeric)
        .collect();
    std::env::temp_dir().join(format!("aias-{}-{name}.log", std::process::id()))
}

/// Counts what one event of a warm function uses.
///
/// # Errors
///
/// The error of the function.
pub async fn count(world: &mut World, case: &Case, binary: &Path) -> Result<Counts, String> {
    let environment = world.environment(case);
    let mut function = Function::start(binary, &environment, 1769, log_file(case)).await?;
    for event in world.events(case.event, WARM).await {
        function.invoke(event).await?;
    }
    let events = world.events(case.event, 1).await;
    world.cloud.take(SLOW);
    let before = function.logs().len();
    for event in events {
        function.invoke(event).await?;
    }
    world.cloud.take(Latency::NONE);
    let (calls, rounds) = world.cloud.counted();
    let log = function.logs();
    let mut named = BTreeMap::new();
    for call in &calls {
        *named.entry(call.name.clone()).or_insert(0) += 1;
    }
    Ok(Counts {
        calls: named,
        rounds: case.event.has_fixed_rounds().then_some(rounds),
        read_units: calls.iter().fold(0.0, |sum, call| sum + call.read_units),
        write_units: calls.iter().fold(0.0, |sum, call| sum + call.write_units),
        log_bytes: log[before..].lines().map(length_of).sum(),
    })
}

/// The length of a line, including its end, independent of durations.
fn length_of(line: &str) -> usize {
    let Ok(mut entry) = serde_json::from_str::<Value>(line) else {
        return line.len() + 1;
    };
    if let Some(duration) = entry.get_mut("duration_ms") {
        *duration = 100.into();
    }
    entry.to_string().len() + 1
}
