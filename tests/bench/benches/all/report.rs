//! Writes `docs/benchmarks.md`, its plots, and the table of zip sizes that a test checks.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    fs,
    path::Path,
    time::Duration,
};

use aias_tests::{
    measured::Event,
    zips::{DEPLOYED, OWN, Zips},
};

use crate::{
    cost::{Cost, Invocation, Prices},
    functions::{Row, Spread},
    load::Load,
    memory_of,
    plot::{self, Bar, Line},
    scale::{Service, SweptTenant},
    scale_page::{self, Measured},
};

const MB: f64 = 1e6;

/// The budgets of the design.
const MAX_OF_NO_OP: f64 = 2.0;
const MAX_INIT_MS: f64 = 10.0;
const MAX_ZIP_MB: f64 = 4.0;
const MAX_DOLLARS: f64 = 11.0;
const MAX_PAGE_MS: f64 = 3.0;
const MAX_DOLLARS_INLINE: f64 = 5.0;

fn spread(of: &Spread, digits: usize) -> String {
    format!(
        "{:.digits$} ({:.digits$}–{:.digits$})",
        of.median, of.least, of.most
    )
}

/// A row, printed as progress.
pub(crate) fn line_of(row: &Row) -> String {
    format!(
        "{}: init {:.1} ms of CPU, {:.0} µs of CPU a request = {:.1} of the no-op, p50 {:.2} ms, {} MB zipped",
        row.case.name,
        row.init_cpu.median,
        row.cpu.median,
        row.of_no_op.median,
        row.p50,
        zip(row, OWN)
    )
}

fn find<'a>(rows: &'a [Row], name: &str) -> &'a Row {
    rows.iter().find(|row| row.case.name == name).unwrap()
}

/// The case used for summaries.
const DEFAULT: &str = "one step, ten at once";

fn cost_of(costs: &[(String, Cost)], name: &str) -> f64 {
    costs.iter().find(|(of, _)| of == name).unwrap().1.total()
}

fn holds(value: f64, budget: f64) -> String {
    let share = value / budget;
    if share <= 1.0 {
        format!("met, {:.0} % used", share * 100.0)
    } else {
        format!("**missed**, {share:.2} times the budget")
    }
}

pub(crate) fn write(root: &Path, rows: &[Row], loads: &[Load], took: Duration) {
    let docs = root.join("docs");
    let plots = docs.join("plots");
    fs::create_dir_all(&plots).unwrap();
    let template = fs::read_to_string(root.join("template.yaml")).unwrap();
    let prices = Prices::read();
    let costs = costs(rows, &prices, &template);
    let mut page = String::new();
    head(&mut page, took);
    budgets(&mut page, rows, &costs);
    functions(&mut page, rows);
    dollars(&mut page, &costs, &prices);
    throughput(&mut page, loads);
    fs::write(docs.join("benchmarks.md"), page).unwrap();
    let measured = Measured {
        service: service(rows, &costs),
        tenant: swept_tenant(rows),
        reconciler_mib: memory_of(&template, "reconciler"),
    };
    let scale = scale_page::of(&measured, &prices, &plots);
    fs::write(docs.join("scale.md"), scale).unwrap();
    draw(&plots, rows, &costs, loads);
    let mut zips = Zips::new();
    for row in rows.iter().filter(|row| row.case.function != "no-op") {
        for (architecture, bytes) in &row.zips {
            let of_it = zips.entry(architecture.clone()).or_default();
            of_it.insert(row.case.function.to_owned(), *bytes);
        }
    }
    let zips = serde_json::to_string_pretty(&zips).unwrap();
    fs::write(root.join("tests/zips.json"), zips + "\n").unwrap();
}

/// One tenant of a sweep of the reconciler.
fn swept_tenant(rows: &[Row]) -> SweptTenant {
    let nothing = find(rows, "reconciler");
    let sweep = find(rows, "reconciler: sweep of forty tenants");
    let of_one = |value: fn(&Row) -> f64| (value(sweep) - value(nothing)) / 40.0;
    SweptTenant {
        cpu_s: of_one(|row| row.cpu.median) / 1e6,
        calls: of_one(|row| f64::from(row.counts.calls.values().sum::<u32>())),
        units: of_one(|row| row.counts.read_units),
    }
}

/// The input of the simulation.
fn service(rows: &[Row], costs: &[(String, Cost)]) -> Service {
    let ingest = find(rows, "webhook-ingest");
    let batch = find(rows, "executor: one step, ten at once");
    Service {
        ingest_s: ingest.regional_mean / 1e3,
        batch_s: batch.regional_mean / 1e3,
        units: ingest.counts.write_units + batch.counts.write_units / 10.0,
        cost: cost_of(costs, DEFAULT) / 1e6,
    }
}

fn first_line(path: &str, begins: &str) -> String {
    let text = fs::read_to_string(path).unwrap_or_default();
    let line = text.lines().find(|line| line.starts_with(begins));
    let value = line.and_then(|line| line.split([':', '=']).nth(1));
    value
        .unwrap_or("unknown")
        .trim()
        .trim_matches('"')
        .to_owned()
}

fn printed(program: &str) -> String {
    let output = std::process::Command::new(program)
        .arg("--version")
        .output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    text.unwrap_or_default().trim().to_owned()
}

fn head(page: &mut String, took: Duration) {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let engine = std::env::var("AIAS_ENGINE_FIGURES")
        .ok()
        .and_then(|path| fs::read_to_string(path).ok());
    let ratios: Vec<&str> = engine
        .iter()
        .flat_map(|text| text.lines())
        .filter(|line| line.starts_with("ratio"))
        .collect();
    writeln!(
        page,
        "# Benchmarks

For operators and contributors. `make bench` writes this page, its plots, [scale.md](scale.md) and `tests/zips.json`. Every figure was
measured by one run on one machine; none is from AWS.

| | |
|---|---|
| machine | {cores} cores, {}, Linux {} |
| versions | AIAS {}, {} |
| duration | {:.0} s, without building |

The functions are release binaries under a Lambda Runtime API of our own (`tests/harness/lambda.rs`), AWS is a local server that gives
correct responses, counts them, and responds at once or with realistic latency (`tests/harness/cloud.rs`: medians of 4 ms for DynamoDB, 8 ms
for SQS, 20 ms for S3, p99 at 2.5 times that). The no-op is a `lambda_http` function that returns an empty `202`. It runs in turns with
the measured function, so that a disturbance affects both. Figures in brackets are the minimum and maximum of nine rounds, or of seven
starts.
",
        first_line("/proc/cpuinfo", "model name"),
        kernel.trim(),
        env!("CARGO_PKG_VERSION"),
        printed("rustc"),
        took.as_secs_f64()
    )
    .unwrap();
    if !ratios.is_empty() {
        writeln!(page, "## The engine\n\nTen steps with a record per step (`shared/engine/benches/order`), compared to ten precompiled jq filters chained by hand, and in the\nsandbox compared to in process. The budgets are 1.5 and 0.7.\n").unwrap();
        let names = [
            "compared to the filters",
            "in the sandbox, one run at a time",
            "in the sandbox, batches of ten as in the executor",
        ];
        writeln!(
            page,
            "| | ratio (minimum to maximum of nine rounds) |\n|---|---|"
        )
        .unwrap();
        for (name, ratio) in names.iter().zip(&ratios) {
            let value = ratio.rsplit_once(": ").map_or(*ratio, |(_, value)| value);
            writeln!(page, "| {name} | {value} |").unwrap();
        }
        writeln!(page).unwrap();
    }
    let lines = engine.iter().flat_map(|text| text.lines());
    let verified: Vec<&str> = lines
        .filter_map(|line| line.strip_prefix("verifier "))
        .collect();
    if !verified.is_empty() {
        writeln!(page, "## The verifier\n\nThe time to verify a request in microseconds, and of that the HMAC of its body, which any implementation computes (`cargo bench -p\naias-domain`). The verifier allocates the same for a body of any size; a test counts that.\n").unwrap();
        writeln!(
            page,
            "| scheme | 1 KiB | HMAC | 64 KiB | HMAC |\n|---|---|---|---|---|"
        )
        .unwrap();
        for row in verified {
            writeln!(page, "{row}").unwrap();
        }
        writeln!(page).unwrap();
    }
}

fn budgets(page: &mut String, rows: &[Row], costs: &[(String, Cost)]) {
    let no_op = find(rows, "no-op");
    let ingest = find(rows, "webhook-ingest");
    let init = ingest.init_cpu.median - no_op.init_cpu.median;
    let cost = |name: &str| cost_of(costs, name);
    let deployed = |row: &Row| row.zips.get(DEPLOYED).map(|bytes| *bytes as f64 / MB);
    let zips: BTreeMap<&str, f64> = rows
        .iter()
        .filter_map(|row| Some((row.case.function, deployed(row)?)))
        .collect();
    let largest = zips.iter().max_by(|a, b| a.1.total_cmp(b.1)).unwrap();
    let over: Vec<&str> = zips
        .iter()
        .filter(|(_, megabytes)| **megabytes > MAX_ZIP_MB)
        .map(|(function, _)| *function)
        .collect();
    let peak = rows
        .iter()
        .filter(|row| row.case.function != "executor")
        .max_by_key(|row| row.peak_kib)
        .unwrap();
    let console_init = (rows.iter())
        .filter(|row| row.case.function == "console")
        .map(|row| row.init_cpu.median - no_op.init_cpu.median)
        .fold(0.0, f64::max);
    let (slowest_page, page_ms) = slowest_page(rows);
    writeln!(
        page,
        "## Budgets

| | budget | measured | |
|---|---|---|---|
| CPU time of an accepted webhook, relative to the no-op | {MAX_OF_NO_OP} | {} | {} |
| initialization CPU time of `webhook-ingest`, in addition to the no-op's | {MAX_INIT_MS} ms | {init:.1} ms | {} |
| initialization CPU time of `console`, in addition to the no-op's | {MAX_INIT_MS} ms | {console_init:.1} ms | {} |
| CPU time of the slowest page (`{slowest_page}`), without that of its AWS calls | {MAX_PAGE_MS} ms | {page_ms:.1} ms | {} |
| largest deployed zip, `{}` | {MAX_ZIP_MB} MB | {:.2} MB | {} |
| a million webhooks, one step, batches of ten | ${MAX_DOLLARS} | ${:.2} | {} |
| with small artifacts inline | ${MAX_DOLLARS_INLINE} | ${:.2} | {} |
| largest memory of a function except the executor (`{}`) | 128 MB | {:.0} MB | {} |

Zips over the budget: {}. A call of a page is counted as one of the calls of the reconciler's sweep, {:.2} ms.
",
        spread(&ingest.of_no_op, 1),
        holds(ingest.of_no_op.median, MAX_OF_NO_OP),
        holds(init, MAX_INIT_MS),
        holds(console_init, MAX_INIT_MS),
        holds(page_ms, MAX_PAGE_MS),
        largest.0,
        largest.1,
        holds(*largest.1, MAX_ZIP_MB),
        cost(DEFAULT),
        holds(cost(DEFAULT), MAX_DOLLARS),
        cost("one step, inline, ten at once"),
        holds(cost("one step, inline, ten at once"), MAX_DOLLARS_INLINE),
        peak.case.function,
        peak.peak_kib as f64 / 1024.0,
        holds(peak.peak_kib as f64 / 1024.0, 128.0),
        if over.is_empty() { "none".to_owned() } else { over.join(", ") },
        call_ms(rows),
    )
    .unwrap();
}

/// The CPU time of one AWS call, in milliseconds.
fn call_ms(rows: &[Row]) -> f64 {
    let tenant = swept_tenant(rows);
    tenant.cpu_s * 1e3 / tenant.calls
}

/// The page of the console that computes longest without its AWS calls, and how long in
/// milliseconds.
fn slowest_page(rows: &[Row]) -> (&str, f64) {
    let call_ms = call_ms(rows);
    let without_calls = |row: &Row| {
        let calls: u32 = row.counts.calls.values().sum();
        row.cpu.median / 1e3 - f64::from(calls) * call_ms
    };
    rows.iter()
        .filter(|row| row.case.function == "console")
        .map(|row| (row.case.name, without_calls(row)))
        .max_by(|a, b| a.1.total_cmp(&b.1))
        .unwrap()
}

/// A figure, or a dash if it is 0, which stands for an unknown one.
fn known(figure: f64, decimals: usize) -> String {
    if figure > 0.0 {
        format!("{figure:.decimals$}")
    } else {
        "–".to_owned()
    }
}

/// The size of a zip in megabytes, if it is known.
fn zip(row: &Row, architecture: &str) -> String {
    let bytes = row.zips.get(architecture);
    bytes.map_or_else(
        || "–".to_owned(),
        |bytes| format!("{:.2}", *bytes as f64 / MB),
    )
}

fn functions(page: &mut String, rows: &[Row]) {
    writeln!(
        page,
        "## Each function

One warm event. *p50* and *p99* are with immediate AWS responses, *in the region* with realistic latency. `runs` and `artifacts` read the
partition of a day, since the tenant is free, and in the last hour of a day (UTC) also that of the next. *zip* is for this
machine, *arm64* the deployed default, built by `make zips`.

| | init CPU, ms | init, ms | first, ms | p50, ms | p99, ms | in the region p50, ms | p99, ms | CPU, µs | of the no-op | peak MB | zip MB | arm64 |
|---|---|---|---|---|---|---|---|---|---|---|---|---|"
    )
    .unwrap();
    for row in rows {
        writeln!(
            page,
            "| {} | {} | {:.1} | {:.1} | {:.2} | {:.2} | {:.0} | {:.0} | {} | {} | {:.0} | {} | {} |",
            row.case.name,
            spread(&row.init_cpu, 1),
            row.init_wall.median,
            row.first,
            row.p50,
            row.p99,
            row.regional_p50,
            row.regional_p99,
            spread(&row.cpu, 0),
            spread(&row.of_no_op, 1),
            row.peak_kib as f64 / 1024.0,
            zip(row, OWN),
            zip(row, DEPLOYED)
        )
        .unwrap();
    }
    writeln!(
        page,
        "\nCalls, sequential rounds, units and log bytes are exact and checked by a test: [the table]\
         (../tests/it/snapshots/it__figures__event_cost_matches_snapshot.snap).\n\n![computing](plots/cpu.svg)\n"
    )
    .unwrap();
}

/// The price of a million webhooks, per case of the executor.
fn costs(rows: &[Row], prices: &Prices, template: &str) -> Vec<(String, Cost)> {
    // With less memory a computation takes longer: 1,769 MB are one core.
    let invocation = |row: &Row| -> (f64, u32) {
        let memory_mib = memory_of(template, row.case.function);
        let slower = (1769.0 / f64::from(memory_mib) - 1.0).max(0.0);
        (
            row.regional_mean + row.cpu.median / 1e3 * slower,
            memory_mib,
        )
    };
    let ingest = find(rows, "webhook-ingest");
    let of = |row: &Row| {
        let Event::Runs(_, batch) = row.case.event else {
            return None;
        };
        let (ingest_ms, ingest_mib) = invocation(ingest);
        let (run_ms, run_mib) = invocation(row);
        let taking = Invocation {
            counts: &ingest.counts,
            billed_ms: ingest_ms,
            memory_mib: ingest_mib,
        };
        let running = Invocation {
            counts: &row.counts,
            billed_ms: run_ms,
            memory_mib: run_mib,
        };
        let cost = Cost::of(prices, &taking, &running, u32::try_from(batch).unwrap());
        Some((
            row.case.name.trim_start_matches("executor: ").to_owned(),
            cost,
        ))
    };
    rows.iter().filter_map(of).collect()
}

fn dollars(page: &mut String, costs: &[(String, Cost)], prices: &Prices) {
    writeln!(
        page,
        "## Dollars for a million webhooks

Counted calls at public prices ({}, {}: {}; `tests/bench/benches/all/prices.json`). A webhook has a JSON body of 1 KiB and GitHub's
signature. Batches of ten are of one workflow, which is read once. Lambda is arm64 with the memory of `template.yaml`, billed for the mean
duration *in the region*, and longer if less memory is a smaller share of a core. Logs are the functions' lines; Lambda's own info lines
(`SystemLogLevel`) and X-Ray (`Tracing`) are off. Storage is not included.

| | gateway | Lambda | DynamoDB | SQS | S3 | logs | **all** | log bytes |
|---|---|---|---|---|---|---|---|---|",
        prices.as_of, prices.region, prices.source
    )
    .unwrap();
    for (name, cost) in costs {
        let lines = cost.lines().map(|line| format!("{line:.2}")).join(" | ");
        writeln!(
            page,
            "| {name} | {lines} | **{:.2}** | {:.0} |",
            cost.total(),
            cost.log_bytes
        )
        .unwrap();
    }
    writeln!(page, "\n![dollars](plots/cost.svg)\n").unwrap();
}

fn throughput(page: &mut String, loads: &[Load]) {
    if loads.is_empty() {
        return;
    }
    writeln!(
        page,
        "## End to end

Each client posts an event of 1 KiB for ten seconds, the next one when the last was answered; *done* is from the POST to the artifact. Events
of AIAS are signed and verified, deduplicated, admitted and logged. *One process* is `aias serve` with its default durability: `202` after
the event is synced to the disk. *Local AWS* is the deployed template with release binaries on a local AWS, a single Python process that
limits these figures more than AIAS does. Node-RED runs the same workflow in one process and appends its output to a file. It responds `202`
before anything is durable: events in memory are lost in a crash, duplicates run twice, and nothing is verified, counted, limited or logged.
Its rows show what an HTTP server can do on this machine, not what a durable service can. What becomes of events while calls fail and
the process is killed is measured by `make soak` ([soak.md](soak.md)).

| of | clients | events | lost | events/s to the artifact | 202 p50, ms | p99, ms | done p50, ms | p99, ms | CPU, ms an event | memory, MB |
|---|---|---|---|---|---|---|---|---|---|---|"
    )
    .unwrap();
    for load in loads {
        writeln!(
            page,
            "| {} | {} | {} | {} | {:.0} | {:.1} | {:.1} | {:.1} | {:.1} | {} | {} |",
            load.of,
            load.clients,
            load.posted,
            load.lost,
            load.rate,
            load.answered.0,
            load.answered.1,
            load.done.0,
            load.done.1,
            known(load.cpu_ms, 2),
            known(load.memory_mb, 0)
        )
        .unwrap();
    }
    writeln!(page, "\n![throughput](plots/throughput.svg)").unwrap();
}

fn draw(plots: &Path, rows: &[Row], costs: &[(String, Cost)], loads: &[Load]) {
    let single =
        |row: &&Row| !row.case.name.contains(": ") || row.case.name == "executor: one step";
    let cpu: Vec<Bar> = rows
        .iter()
        .filter(single)
        .map(|row| Bar {
            name: row.case.function.to_owned(),
            parts: vec![row.cpu.median / 1e3],
        })
        .collect();
    plot::bars(
        &plots.join("cpu.svg"),
        "Computing for one event",
        "ms",
        &["CPU"],
        &cpu,
    );
    let cost: Vec<Bar> = costs
        .iter()
        .map(|(name, cost)| Bar {
            name: name.clone(),
            parts: cost.lines().to_vec(),
        })
        .collect();
    plot::bars(
        &plots.join("cost.svg"),
        "A million webhooks",
        "dollars",
        &Cost::LINES,
        &cost,
    );
    if !loads.is_empty() {
        let points = |of: &str| {
            let of_it = loads.iter().filter(|load| load.of == of);
            of_it.map(|load| (load.clients as f64, load.rate)).collect()
        };
        let names: BTreeSet<&str> = loads.iter().map(|load| load.of.as_str()).collect();
        let line = |of: &&str| Line {
            name: (*of).to_owned(),
            points: points(of),
        };
        let lines: Vec<Line> = names.iter().map(line).collect();
        plot::lines(
            &plots.join("throughput.svg"),
            "End to end, on the local stack",
            ("clients", "events a second to the artifact"),
            &lines,
        );
    }
}
