//! The workflow of ten steps, in this process and in the sandbox: in turns, so that what disturbs
//! one disturbs the other. Both go from the input's JSON to the output's, with a record of each step.
//!
//! `cargo bench -p aias-platform` prints the ratio of each round and their spread.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a benchmark that cannot be set up has failed"
)]

use std::{
    process::ExitCode,
    sync::Arc,
    time::{Duration, Instant},
};

use aias_domain::plan::MEMORY_BYTES;
use aias_engine::{
    Control, Host, Outcome, Program, Record, Start,
    definition::{Format, read},
};
use aias_platform::{
    clock::Clock,
    computation::{Computation, Given, Told},
    definitions::Definition,
    sandbox::{self, Sandbox},
};
use jiff::Timestamp;
use serde_json::Value;

const WORKFLOW: &str = include_str!("../../engine/benches/order/order.yaml");
const INPUT: &str = include_str!("../../engine/benches/order/order.input.json");
const OUTPUT: &str = include_str!("../../engine/benches/order/order.output.json");

const RUN: &str = "run_01JD3V4ZK8QW5R7T9X1B3C5D7F";

#[derive(Default)]
struct Log(Vec<Record>);

impl Host for Log {
    fn step(&mut self, record: Record) -> Control {
        self.0.push(record);
        Control::Continue
    }
}

fn here(program: &Program, input: &Value) -> (Value, usize) {
    let start = Start {
        id: RUN,
        input,
        started_at: Timestamp::UNIX_EPOCH,
        max_steps: 10_000,
        journal: &[],
        mark: "",
    };
    let mut log = Log::default();
    match program.run(&start, &mut log) {
        Outcome::Completed(output) => (output, log.0.len()),
        other @ (Outcome::Faulted(_) | Outcome::Waiting(_)) => panic!("{other:?}"),
    }
}

async fn there(sandbox: &Sandbox, definition: &Arc<Definition>, input: &Value) -> (Value, usize) {
    let given = Given {
        definition: Arc::clone(definition),
        run_id: RUN.to_owned(),
        input: input.clone(),
        started_at: Timestamp::UNIX_EPOCH,
        max_steps: 10_000,
        memory_bytes: MEMORY_BYTES,
        journal: Vec::new(),
        mark: String::new(),
        clock: Clock::system(),
    };
    let mut log = Vec::new();
    let mut computation = Computation::new(sandbox, given);
    loop {
        match computation.next().await {
            Told::Step(record, _) => log.push(record),
            Told::Ended(outcome) => return (outcome.unwrap(), log.len()),
            other @ (Told::Emitted(..) | Told::Asked(_)) => panic!("{other:?}"),
        }
    }
}

const ROUND: Duration = Duration::from_millis(300);

fn main() -> ExitCode {
    if let Some(code) = sandbox::serve() {
        return code;
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.unwrap().block_on(compare());
    ExitCode::SUCCESS
}

async fn compare() {
    let document = read(WORKFLOW.as_bytes(), Format::Yaml).unwrap();
    let program = Program::compile(&document).unwrap();
    let definition = Definition::new(document.to_string());
    let input: Value = serde_json::from_str(INPUT).unwrap();
    let expected: (Value, usize) = (serde_json::from_str(OUTPUT).unwrap(), 10);
    let sandbox = Sandbox::of_this_binary();
    let begun = Instant::now();
    let held = sandbox.warm(MEMORY_BYTES).await.unwrap();
    println!("a child begins in {:?}: {held:?}", begun.elapsed());
    assert_eq!(here(&program, &input), expected);
    assert_eq!(there(&sandbox, &definition, &input).await, expected);
    let mut ratios = Vec::new();
    for round in 0..9 {
        let (begun, mut count) = (Instant::now(), 0_u32);
        while begun.elapsed() < ROUND {
            std::hint::black_box(here(&program, &input));
            count += 1;
        }
        let in_process = f64::from(count) / begun.elapsed().as_secs_f64();
        let (begun, mut count) = (Instant::now(), 0_u32);
        while begun.elapsed() < ROUND {
            std::hint::black_box(there(&sandbox, &definition, &input).await);
            count += 1;
        }
        let sandboxed = f64::from(count) / begun.elapsed().as_secs_f64();
        let ratio = sandboxed / in_process;
        println!(
            "round {round}: in process {in_process:.0}/s, sandboxed {sandboxed:.0}/s, ratio {ratio:.2}"
        );
        ratios.push(ratio);
    }
    ratios.sort_by(f64::total_cmp);
    println!(
        "ratio: {:.2} (from {:.2} to {:.2})",
        ratios[4], ratios[0], ratios[8]
    );
}
