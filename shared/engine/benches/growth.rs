//! Costs that must stay constant: a step with the number of steps and with data it does not read,
//! and memory with the number of runs.
//!
//! `cargo bench -p aias-engine --bench growth` prints nanoseconds per step, and the resident memory
//! after each hundred thousand of a million runs (`RUNS` sets another number).

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a benchmark that cannot be set up has failed"
)]

use std::{
    fs,
    hint::black_box,
    time::{Duration, Instant},
};

use aias_engine::{
    Control, Host, Input, Outcome, Program, Record, Start,
    journal::{Body, EffectResult, Entry, EntryEvent, HttpResponse, PendingEffects},
};
use jiff::Timestamp;
use serde_json::{Value, json};

/// Records the steps, and completes each effect immediately.
#[derive(Default)]
struct World(Vec<Record>);

impl Host for World {
    fn step(&mut self, record: Record) -> Control {
        self.0.push(record);
        Control::Continue
    }

    fn next(&mut self, requested: &PendingEffects) -> Option<Entry> {
        let effect = requested.effects.first()?;
        Some(Entry {
            at: effect.requested_at,
            event: EntryEvent::EffectCompleted {
                key: effect.key.clone(),
                digest: String::new(),
                result: EffectResult::Http(HttpResponse {
                    status: 200,
                    headers: vec![],
                    body: Body::Text("ok".into()),
                }),
            },
        })
    }
}

fn run(program: &Program, input: &Value) -> usize {
    let start = Start {
        id: "run_1",
        input: Input::Value(input),
        started_at: Timestamp::UNIX_EPOCH,
        max_steps: 20_000,
        journal: &[],
        secret_nonce: "",
    };
    let mut world = World::default();
    match program.run(&start, &mut world) {
        Outcome::Completed(output) => drop(black_box(output)),
        other @ (Outcome::Faulted(_) | Outcome::Waiting(_)) => panic!("{other:?}"),
    }
    world.0.len()
}

/// Median of seven runs, in nanoseconds.
fn nanoseconds(program: &Program, input: &Value) -> f64 {
    let mut all: Vec<f64> = (0..7)
        .map(|_| {
            let (started, mut count) = (Instant::now(), 0_u32);
            while started.elapsed() < Duration::from_millis(100) {
                run(program, black_box(input));
                count += 1;
            }
            started.elapsed().as_secs_f64() * 1e9 / f64::from(count)
        })
        .collect();
    all.sort_by(f64::total_cmp);
    all[3]
}

fn looped(body: &Value) -> Program {
    let definition = json!({
        "document": {"dsl": "1.0.3", "namespace": "bench", "name": "growth", "version": "1.0.0"},
        "do": [{"l": {"for": {"in": "[range($workflow.input.n)]"}, "do": [{"a": body}]}}],
        "output": {"as": "null"},
    });
    Program::compile(&definition).unwrap()
}

fn steps() {
    let set = looped(&json!({"set": {"n": "${ $item }", "data": "${ .data }"}}));
    let call = looped(
        &json!({"call": "http", "with": {"method": "get", "endpoint": "https://e.example/"}}),
    );
    println!("| steps | ns per `set` step | ns per call step |\n|---|---|---|");
    for count in [10, 100, 1_000, 10_000] {
        let input = json!({"n": count, "data": 1});
        let each = |program| nanoseconds(program, &input) / f64::from(count);
        println!("| {count} | {:.0} | {:.0} |", each(&set), each(&call));
    }
    println!(
        "\n| unread data, KiB | ns per step of a thousand, without parsing the input |\n|---|---|"
    );
    for kib in [1, 16, 256, 1_024] {
        let data: Vec<String> = (0..kib).map(|_| "x".repeat(1_024)).collect();
        let with = |n: i32| json!({"n": n, "data": data});
        let (long, short) = (nanoseconds(&set, &with(1_001)), nanoseconds(&set, &with(1)));
        println!("| {kib} | {:.0} |", (long - short) / 1_000.0);
    }
}

/// The resident memory of this process, in KiB (`proc(5)`).
fn resident() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmRSS:"))
        .unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

fn memory() {
    let runs = std::env::var("RUNS").map_or(1_000_000, |text| text.parse::<u64>().unwrap());
    let document = serde_json::from_str::<Value>(include_str!("order/order.input.json")).unwrap();
    let definition = aias_engine::definition::read(
        include_str!("order/order.yaml").as_bytes(),
        aias_engine::definition::Format::Yaml,
    );
    let program = Program::compile(&definition.unwrap()).unwrap();
    println!("\n| runs | resident, KiB |\n|---|---|");
    for part in 1..=10 {
        for _ in 0..runs / 10 {
            run(&program, &document);
        }
        println!("| {} | {} |", part * (runs / 10), resident());
    }
}

fn main() {
    steps();
    memory();
}
