//! `make bench`: all figures of `docs/benchmarks.md` and `docs/scale.md`, and their plots.
//!
//! The functions are release binaries, run as by Lambda, in turns with one that does nothing.
//! Compared figures are measured in one run and reported as a ratio with its spread.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a benchmark that cannot be set up has failed; its settings are its own"
)]

mod cost;
mod functions;
mod load;
mod plot;
mod report;
mod scale;
mod scale_page;

use std::{
    path::{Path, PathBuf},
    time::Instant,
};

use aias_tests::measured::{CASES, World};

/// The memory size of a function in `template.yaml`, in MiB.
fn memory_of(template: &str, function: &str) -> u32 {
    let default = template.split("MemorySize: ").nth(1);
    let own = template.split(&format!("Binary: {function}\n")).nth(1);
    // Up to the next function.
    let own = own.and_then(|rest| rest.split("AWS::Serverless::Function").next());
    let own = own.and_then(|own| own.split("MemorySize: ").nth(1));
    let digits: String = own
        .or(default)
        .unwrap_or_default()
        .chars()
        .take_while(char::is_ascii_digit)
        .collect();
    digits.parse().unwrap()
}

#[tokio::main]
async fn main() {
    let started_at = Instant::now();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let setting = |name: &str| std::env::var(name).ok();
    let folder = setting("AIAS_RELEASE").map_or_else(|| root.join("target/release"), PathBuf::from);
    let template = std::fs::read_to_string(root.join("template.yaml")).unwrap();
    // As with any benchmark, an argument selects the cases whose names contain it. Nothing is
    // written then.
    let chosen = std::env::args()
        .skip(1)
        .find(|word| !word.starts_with("--"));
    let mut rows = Vec::new();
    for case in &CASES {
        if chosen
            .as_ref()
            .is_some_and(|word| !case.name.contains(word))
        {
            continue;
        }
        // A new one, so that existing items do not slow it down.
        let mut world = World::new().await;
        let memory_mib = memory_of(&template, case.function);
        let row = functions::measure(&mut world, case, &folder, memory_mib).await;
        println!("{}", report::line_of(&row));
        rows.push(row);
    }
    if chosen.as_ref().is_some_and(|word| word != "load") {
        return;
    }
    let mut loads = Vec::new();
    if let Some(systems) = setting("AIAS_LOADS") {
        let systems: Vec<load::System> = serde_json::from_str(&systems).unwrap();
        loads.extend(systems.iter().flat_map(load::all));
    } else {
        println!("skipped: systems under load; `make bench` starts them");
    }
    if chosen.is_some() {
        return;
    }
    report::write(&root, &rows, &loads, started_at.elapsed());
}
