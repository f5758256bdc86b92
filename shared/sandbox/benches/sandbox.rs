//! Compares the workflow of ten steps in this process and in the sandbox. Both run in turns, so
//! that a disturbance affects both. The sandbox is measured with one run after the other, when a
//! core has to wake up for each half of a run, and with batches of ten as in the executor, one run
//! per core and one ready.
//!
//! `cargo bench -p aias-sandbox` prints the ratio of each round and their spread.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a benchmark that cannot be set up has failed"
)]

use std::{
    num::NonZero,
    process::ExitCode,
    sync::Arc,
    time::{Duration, Instant},
};

use aias_domain::plan::COMPUTING;
use aias_engine::{
    Control, Host, Input, Outcome, Program, Record, Start,
    definition::{Format, read},
};
use aias_sandbox::{Computation, ComputationInput, Definition, Report, Sandbox, serve};
use jiff::Timestamp;
use serde_json::Value;
use tokio::sync::Semaphore;

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
    // The sandbox takes ownership of the input, so it is cloned here as well.
    let input = &input.clone();
    let start = Start {
        id: RUN,
        input: Input::Value(input),
        started_at: Timestamp::UNIX_EPOCH,
        max_steps: 10_000,
        journal: &[],
        secret_nonce: "",
    };
    let mut log = Log::default();
    match program.run(&start, &mut log) {
        Outcome::Completed(output) => (output, log.0.len()),
        other @ (Outcome::Faulted(_) | Outcome::Waiting(_)) => panic!("{other:?}"),
    }
}

async fn there(sandbox: &Sandbox, definition: &Arc<Definition>, input: &Value) -> (Value, usize) {
    let given = ComputationInput {
        definition: Arc::clone(definition),
        run_id: RUN.to_owned(),
        input: input.clone(),
        started_at: Timestamp::UNIX_EPOCH,
        max_steps: 10_000,
        computing: COMPUTING,
        journal: Vec::new(),
        secret_nonce: String::new(),
        with_data: false,
    };
    let mut log = Vec::new();
    let mut computation = Computation::new(sandbox, given);
    loop {
        match computation.next().await {
            Report::Step(record) => log.push(record),
            Report::Ended(outcome) => return (outcome.unwrap(), log.len()),
            other @ (Report::StepData(_) | Report::Emitted(..) | Report::PendingEffects(_)) => {
                panic!("{other:?}")
            }
        }
    }
}

/// The size of a batch.
const BATCH: u32 = 10;

const ROUND: Duration = Duration::from_millis(300);

fn main() -> ExitCode {
    if let Some(code) = serve() {
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
    let started = Instant::now();
    let child_limits = sandbox.warm(COMPUTING).await.unwrap();
    println!(
        "a child starts in {:?}: {child_limits:?}",
        started.elapsed()
    );
    assert_eq!(here(&program, &input), expected);
    assert_eq!(there(&sandbox, &definition, &input).await, expected);
    let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
    let cores = Semaphore::new(cores + 1);
    let (mut singly, mut batched) = (Vec::new(), Vec::new());
    for round in 0..9 {
        let in_process = rate(1, async || {
            std::hint::black_box(here(&program, &input));
        });
        let in_process = in_process.await;
        let one = rate(1, async || {
            std::hint::black_box(there(&sandbox, &definition, &input).await);
        });
        let one = one.await;
        let ten = rate(BATCH, async || {
            let runs = (0..BATCH).map(|_| async {
                let _core = cores.acquire().await;
                std::hint::black_box(there(&sandbox, &definition, &input).await);
            });
            futures_util::future::join_all(runs).await;
        });
        let ten = ten.await;
        println!(
            "round {round}: in process {in_process:.0}/s; sandboxed, one by one {one:.0}/s, a batch of ten {ten:.0}/s"
        );
        singly.push(one / in_process);
        batched.push(ten / in_process);
    }
    for (how, mut ratios) in [("one by one", singly), ("a batch of ten", batched)] {
        ratios.sort_by(f64::total_cmp);
        println!(
            "ratio, {how}: {:.2} (from {:.2} to {:.2})",
            ratios[4], ratios[0], ratios[8]
        );
    }
}

/// Runs per second, if each call of `turn` does `each` of them.
async fn rate(each: u32, mut turn: impl AsyncFnMut()) -> f64 {
    let (started, mut count) = (Instant::now(), 0_u32);
    while started.elapsed() < ROUND {
        turn().await;
        count += each;
    }
    f64::from(count) / started.elapsed().as_secs_f64()
}
