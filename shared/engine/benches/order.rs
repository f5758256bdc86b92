//! A workflow of ten steps without effects, with a record per step, compared to the same ten steps
//! as precompiled jq filters chained by hand. The filters map a jq value to a jq value; the
//! workflow also converts from and to JSON. Both run in turns, so that a disturbance affects both.
//!
//! `cargo bench -p aias-engine` prints the ratio of each round and their spread, then criterion's
//! own figures.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a benchmark that cannot be set up has failed"
)]

use std::{
    hint::black_box,
    time::{Duration, Instant},
};

use aias_engine::{
    Control, Host, Input, Outcome, Program, Record, Start,
    definition::{self, Format},
};
use criterion::{Criterion, criterion_group};
use jaq_core::{
    Compiler, Ctx, Filter, Vars,
    data::JustLut,
    load::{Arena, File, Loader},
    unwrap_valr,
};
use jaq_json::Val;
use jiff::Timestamp;
use serde_json::Value;

const WORKFLOW: &str = include_str!("order/order.yaml");
const INPUT: &str = include_str!("order/order.input.json");
const OUTPUT: &str = include_str!("order/order.output.json");

const FILTERS: [&str; 10] = [
    "{order: .body.id, items: .body.line_items, currency: .body.currency}",
    "{order: .order, items: .items, total: ([.items[] | .price * .quantity] | add)}",
    "{order: .order, total: .total, n: (.items | length)}",
    "{order: .order, total: .total, n: .n, big: (.total > 100)}",
    "if .big then . else . end",
    r#"{order: .order, total: .total, label: (if .big then "large" else "small" end)}"#,
    r#"{order: .order, total: .total, label: .label, text: "order \(.order): \(.total)"}"#,
    "{order: .order, total: .total, label: .label, text: (.text | ascii_upcase)}",
    r#"{order: .order, total: .total, label: .label, text: .text, key: (.text | split(" ") | join("-"))}"#,
    "{order: .order, total: .total, label: .label, key: .key}",
];

type Data = JustLut<Val>;

fn filter(code: &str) -> Filter<Data> {
    let defs = jaq_core::defs()
        .chain(jaq_std::defs())
        .chain(jaq_json::defs());
    let funs = jaq_core::funs()
        .chain(jaq_std::funs())
        .chain(jaq_json::funs());
    let arena = Arena::default();
    let modules = Loader::new(defs).load(&arena, File { code, path: () });
    let compiled = Compiler::default()
        .with_funs(funs)
        .compile(modules.map_err(|_| "parsed").unwrap());
    compiled.map_err(|_| "compiled").unwrap()
}

fn by_hand(filters: &[Filter<Data>], input: &Val) -> Val {
    let mut data = input.clone();
    for filter in filters {
        let ctx = Ctx::<Data>::new(&filter.lut, Vars::new([]));
        data = filter
            .id
            .run((ctx, data))
            .map(unwrap_valr)
            .next()
            .unwrap()
            .unwrap();
    }
    data
}

#[derive(Default)]
struct Log(Vec<Record>);

impl Host for Log {
    fn step(&mut self, record: Record) -> Control {
        self.0.push(record);
        Control::Continue
    }
}

fn run(program: &Program, input: &Value) -> (Value, usize) {
    let start = Start {
        id: "run_1",
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

fn program() -> Program {
    let document = definition::read(WORKFLOW.as_bytes(), Format::Yaml).unwrap();
    Program::compile(&document).unwrap()
}

/// Calls of `work` per second.
fn rate(mut work: impl FnMut()) -> f64 {
    let (started, mut count) = (Instant::now(), 0_u32);
    while started.elapsed() < Duration::from_millis(300) {
        for _ in 0..50 {
            work();
        }
        count += 50;
    }
    f64::from(count) / started.elapsed().as_secs_f64()
}

fn compare() {
    let (program, input): (_, Value) = (program(), serde_json::from_str(INPUT).unwrap());
    let filters: Vec<_> = FILTERS.iter().map(|code| filter(code)).collect();
    let expected: Value = serde_json::from_str(OUTPUT).unwrap();
    let (output, records) = run(&program, &input);
    assert_eq!((output, records), (expected.clone(), 10));
    let value = jaq_json::read::parse_single(INPUT.as_bytes()).unwrap();
    let by_filters: Value = serde_json::from_str(&by_hand(&filters, &value).to_string()).unwrap();
    assert_eq!(by_filters, expected);
    let mut ratios = Vec::new();
    for round in 0..9 {
        let ours = rate(|| drop(black_box(run(&program, black_box(&input)))));
        let theirs = rate(|| drop(black_box(by_hand(&filters, black_box(&value)))));
        println!(
            "round {round}: program {ours:.0}/s, filters {theirs:.0}/s, ratio {:.2}",
            ours / theirs
        );
        ratios.push(ours / theirs);
    }
    ratios.sort_by(f64::total_cmp);
    println!(
        "ratio: {:.2} (from {:.2} to {:.2})",
        ratios[4], ratios[0], ratios[8]
    );
}

fn benches(criterion: &mut Criterion) {
    let (program, input): (_, Value) = (program(), serde_json::from_str(INPUT).unwrap());
    let document = definition::read(WORKFLOW.as_bytes(), Format::Yaml).unwrap();
    criterion.bench_function("order: run", |b| {
        b.iter(|| run(&program, black_box(&input)));
    });
    criterion.bench_function("order: compile", |b| {
        b.iter(|| Program::compile(black_box(&document)).unwrap());
    });
}

criterion_group!(all, benches);

fn main() {
    compare();
    all();
    Criterion::default().configure_from_args().final_summary();
}
