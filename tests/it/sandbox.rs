//! Untrusted workflows: each ends with a stable code within its limits, and no other run is
//! affected.

use std::{collections::BTreeSet, fs, path::PathBuf, process::Command, time::Duration};

use aias_domain::{
    plan::{COMPUTING, Computing},
    run::Status,
};
use aias_engine::journal::{Body, EffectResult, Entry, EntryEvent, HttpResponse};
use aias_platform::clock::Clock;
use aias_sandbox::{ChildFailure, Computation, ComputationInput, Definition, Report, Sandbox};
use aias_tests::bench::{Bench, json_of, sandbox};
use serde_json::{Value, json};

const WORKFLOW: &str = "wf_01JD3V4ZK8QW5R7T9X1B3C5D90";

fn document(tasks: &Value) -> Value {
    json!({
        "document": {"dsl": "1.0.3", "namespace": "test", "name": "hostile", "version": "1.0.0"},
        "do": tasks,
    })
}

fn expression(text: &str) -> Value {
    document(&json!([{"hostile": {"set": {"x": format!("${{ {text} }}")}}}]))
}

fn given(definition: &Value) -> ComputationInput {
    ComputationInput {
        definition: Definition::new(definition.to_string()),
        run_id: "run_01JD3V4ZK8QW5R7T9X1B3C5D7F".to_owned(),
        input: json!({"n": 1}),
        started_at: Clock::system().now(),
        max_steps: 10_000,
        computing: COMPUTING,
        journal: Vec::new(),
        secret_nonce: String::new(),
        with_data: false,
    }
}

/// Delivers one hostile run with nine others in one batch, and returns its status and code. With
/// `kills`, all children are killed once the others have completed.
async fn among_others(definition: &Value, kills: bool) -> Option<(Status, Option<String>)> {
    let bench = Bench::new().await;
    bench.add_workflow(WORKFLOW, definition).await;
    let ingest = bench.ingest();
    for n in 0..9 {
        bench
            .post(&ingest, &format!("evt_{n}"), r#"{"id": 1}"#)
            .await;
    }
    let body = json!({"workflow_id": WORKFLOW, "input": {}});
    let path = "/api/workflows/execute";
    let answer = bench.request("workflows", "POST", path, &body).await;
    assert_eq!(answer.status_code, 202, "{}", answer.body);
    let messages = bench.messages().await;
    assert_eq!(messages.len(), 10);
    let executor = bench.executor();
    let killing = async {
        if !kills {
            return;
        }
        loop {
            let runs = bench.runs().await;
            let completed = runs.iter().filter(|run| run.status == Status::Completed);
            if completed.count() == 9 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        children().into_iter().for_each(kill);
    };
    let (response, ()) = tokio::join!(bench.deliver(&executor, &messages, 1), killing);
    assert!(response.batch_item_failures.is_empty());
    let (hostile, others): (Vec<_>, Vec<_>) = bench
        .runs()
        .await
        .into_iter()
        .partition(|run| run.workflow_id.to_string() == WORKFLOW);
    assert_eq!(others.len(), 9);
    for run in others {
        assert_eq!(run.status, Status::Completed, "{:?}", run.error);
    }
    let run = hostile.into_iter().next().unwrap();
    Some((run.status, run.error.map(|error| error.code)))
}

async fn ends_as(definition: Value, codes: &[&str]) {
    let Some((status, code)) = among_others(&definition, false).await else {
        return;
    };
    assert_eq!(status, Status::Faulted, "{definition}");
    let code = code.unwrap();
    assert!(codes.contains(&code.as_str()), "{code}: {definition}");
}

#[tokio::test]
async fn endless_computation_hits_cpu_limit() {
    ends_as(expression("last(range(1e18))"), &["cpu-limit"]).await;
    ends_as(expression("last(repeat(1))"), &["cpu-limit"]).await;
    ends_as(expression("def f: f; f"), &["cpu-limit"]).await;
}

#[tokio::test]
async fn endless_values_hit_limits() {
    let both = ["memory-limit", "cpu-limit"];
    ends_as(expression("[range(1e18)]"), &both).await;
    ends_as(expression("[limit(1e9; repeat(\"x\"))] | length"), &both).await;
    let wide = "reduce range(1e9) as $i ({}; .[\"k\\($i)\"] = $i) | length";
    ends_as(expression(wide), &both).await;
}

#[tokio::test]
async fn growing_strings_hit_memory_limit() {
    let doubled = "reduce range(60) as $i (\"xxxxxxxx\"; . + .)";
    ends_as(expression(doubled), &["memory-limit"]).await;
    ends_as(expression("\"x\" * 1e10"), &["memory-limit", "expression"]).await;
    ends_as(
        expression("[\"x\" * 30000000, \"y\"] | join(\"-\") * 9"),
        &["memory-limit"],
    )
    .await;
}

#[tokio::test]
async fn deep_nesting_hits_limit() {
    // Any of these limits may be reached first; on a slow machine it is the CPU limit.
    let codes = [
        "depth-limit",
        "memory-limit",
        "cpu-limit",
        "runtime",
        "expression",
    ];
    ends_as(expression("reduce range(1000000) as $i (0; [.])"), &codes).await;
    ends_as(expression("def f: 1 + f; f"), &codes).await;
    ends_as(expression("def f: [f]; f"), &codes).await;
}

#[tokio::test]
async fn large_numbers_and_patterns_hit_limits() {
    let codes = ["cpu-limit", "memory-limit", "expression"];
    let digits = "reduce range(60) as $i (99999999999; . * .) | tostring | length | tostring * 1e9";
    ends_as(expression(digits), &codes).await;
    let digits = "(\"9\" * 5000000) | tonumber | [range(20) as $i | . * .] | tostring | . * 999";
    ends_as(expression(digits), &codes).await;
    let pattern = "(\"a\" * 60000) | [match(\"(a*)*(a*)*b|a*?c\"; \"g\")] | length";
    let pattern = format!("[range(99999)] | map({pattern}) | length");
    ends_as(expression(&pattern), &codes).await;
}

#[tokio::test]
async fn many_forks_hit_limits() {
    let branch = json!({"set": {"y": 1}});
    let fork = json!([{"f": {"fork": {"branches": [{"a": branch}, {"b": branch}]}}}]);
    let tasks = json!([{"many": {"for": {"each": "i", "in": "${ [range(100000)] }"}, "do": fork}}]);
    ends_as(document(&tasks), &["step-limit"]).await;
}

#[tokio::test]
async fn oversized_definition_is_refused() {
    let bench = Bench::new().await;
    let deep = expression(&format!("{}1{}", "(".repeat(100_000), ")".repeat(100_000)));
    let many = expression(&"def f: [.]; ".repeat(15_000));
    let alternatives = (0..9).fold("a".to_owned(), |text, _| format!("({text}|{text})"));
    let pattern =
        json!({"type": "string", "pattern": format!("({alternatives}){{50}}x{{999}}{{999}}")});
    let mut heavy = expression("1");
    heavy["input"] = json!({"schema": {"document": pattern}});
    for (what, definition) in [("deep", deep), ("many", many), ("heavy", heavy)] {
        let body = json!({"definition": definition});
        let answer = bench
            .request("workflows", "POST", "/api/workflows", &body)
            .await;
        assert_eq!(answer.status_code, 422, "{what}: {}", answer.body);
        assert_eq!(json_of(&answer)["code"], "invalid-workflow", "{what}");
    }
}

#[tokio::test]
async fn oversized_version_faults_run() {
    // Stored before this limit existed.
    let deep = expression(&format!("{}1{}", "(".repeat(100_000), ")".repeat(100_000)));
    ends_as(deep, &["depth-limit", "cpu-limit"]).await;
    ends_as(json!({"document": {}}), &["version-broken"]).await;
}

#[tokio::test]
async fn killed_children_affect_only_their_runs() {
    // Runs in a child that was used before are started again.
    let hostile = expression("last(range(1e18))");
    let Some((status, code)) = among_others(&hostile, true).await else {
        return;
    };
    assert_eq!(status, Status::Faulted);
    let code = code.unwrap();
    assert!(
        ["engine-killed", "cpu-limit"].contains(&code.as_str()),
        "{code}"
    );
}

/// The result of a run in a sandbox.
async fn outcome(sandbox: &Sandbox, definition: &Value) -> Result<Value, String> {
    outcome_within(COMPUTING, sandbox, definition).await
}

async fn outcome_within(
    computing: Computing,
    sandbox: &Sandbox,
    definition: &Value,
) -> Result<Value, String> {
    let given = ComputationInput {
        computing,
        ..given(definition)
    };
    let mut computation = Computation::new(sandbox, given);
    loop {
        match computation.next().await {
            Report::Step(_) | Report::StepData(_) | Report::Emitted(..) => {}
            Report::PendingEffects(requested) => panic!("{requested:?}"),
            Report::Ended(outcome) => return outcome.map_err(|error| error.code),
        }
    }
}

fn kill(id: u32) {
    let killed = Command::new("kill").args(["-9", &id.to_string()]).status();
    assert!(killed.unwrap().success());
}

/// The children of this process.
fn children() -> Vec<u32> {
    let own = std::process::id().to_string();
    let of_proc = fs::read_dir("/proc").unwrap().filter_map(Result::ok);
    let ids = of_proc.filter_map(|entry| entry.file_name().to_string_lossy().parse().ok());
    ids.filter(|id: &u32| {
        let stat = fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
        let parent = stat
            .rsplit_once(')')
            .map(|(_, rest)| rest.split_whitespace().nth(1));
        parent.flatten() == Some(own.as_str())
    })
    .collect()
}

#[tokio::test]
async fn killed_child_faults_only_its_run() {
    let sandbox = sandbox();
    sandbox.warm(COMPUTING).await.unwrap();
    let first = children();
    assert_eq!(first.len(), 1);
    // An idle child is killed: the next run gets another one.
    kill(first[0]);
    assert_eq!(
        outcome(&sandbox, &expression("1")).await,
        Ok(json!({"x": 1}))
    );
    let second = children();
    assert!(!second.iter().any(|id| first.contains(id)), "{second:?}");
    // A child that runs its first run is killed.
    let hostile = expression("last(range(1e18))");
    let fresh = aias_tests::bench::sandbox();
    let killing = async {
        let third = loop {
            let third = children().into_iter().find(|id| !second.contains(id));
            tokio::time::sleep(Duration::from_millis(200)).await;
            if let Some(third) = third {
                break third;
            }
        };
        kill(third);
    };
    let (ended, ()) = tokio::join!(outcome(&fresh, &hostile), killing);
    assert_eq!(ended, Err("engine-killed".to_owned()));
    assert_eq!(outcome(&fresh, &expression("2")).await, Ok(json!({"x": 2})));
}

#[tokio::test]
async fn malformed_report_faults_run() {
    for (binary, lost) in [
        ("/usr/bin/yes", ChildFailure::Malformed),
        ("/bin/true", ChildFailure::Failed),
        ("/nowhere", ChildFailure::NotStarted),
    ] {
        let sandbox = Sandbox::new(PathBuf::from(binary));
        let warmed = sandbox.warm(COMPUTING).await;
        assert_eq!(warmed.unwrap_err(), lost, "{binary}");
        let ended = outcome(&sandbox, &expression("1")).await.unwrap_err();
        let codes = ["engine-failed", "engine-missing"];
        assert!(codes.contains(&ended.as_str()), "{ended}");
    }
}

#[tokio::test]
async fn child_is_reused_and_limited() {
    let sandbox = sandbox();
    let held = sandbox.warm(COMPUTING).await.unwrap();
    assert_eq!(
        (held.memory_bytes, held.descriptors),
        (COMPUTING.memory_bytes, 3)
    );
    println!("seccomp: {}", held.seccomp);
    let begun = children();
    for n in 0..200 {
        let ended = outcome(&sandbox, &expression(&n.to_string())).await;
        assert_eq!(ended, Ok(json!({"x": n})));
    }
    assert_eq!(children(), begun, "the same child all the time");
    let id = begun[0];
    let of_child = |name: &str| fs::read_to_string(format!("/proc/{id}/{name}"));
    let limits = of_child("limits").unwrap();
    for (name, limit) in [
        ("Max open files", "3"),
        ("Max processes", "0"),
        ("Max core file size", "0"),
    ] {
        let line = limits.lines().find(|line| line.starts_with(name)).unwrap();
        assert_eq!(
            line[name.len()..].split_whitespace().next(),
            Some(limit),
            "{line}"
        );
    }
    if held.seccomp {
        let status = of_child("status").unwrap();
        assert!(status.contains("Seccomp:\t2"), "{status}");
        assert!(status.contains("NoNewPrivs:\t1"));
    }
}

#[tokio::test]
async fn limits_come_from_plan() {
    let sandbox = sandbox();
    let large = expression("[range(5000000)] | length");
    let long = expression("reduce range(1500000) as $i (0; . + 1)");
    for (memory_mib, segment_ms, of_large, of_long) in [
        (
            512,
            20_000,
            Ok(json!({"x": 5_000_000})),
            Ok(json!({"x": 1_500_000})),
        ),
        (16, 20_000, Err("memory-limit"), Ok(json!({"x": 1_500_000}))),
        (512, 60, Err("cpu-limit"), Err("cpu-limit")),
    ] {
        let computing = Computing {
            memory_bytes: memory_mib * 1024 * 1024,
            segment_ms,
        };
        for (definition, expected) in [(&large, of_large), (&long, of_long)] {
            let ended = outcome_within(computing, &sandbox, definition).await;
            assert_eq!(ended, expected.map_err(str::to_owned), "{computing:?}");
        }
    }
}

#[tokio::test]
async fn large_response_restarts_child_with_more_memory() {
    let call = json!({"call": "http", "with": {"method": "get", "endpoint": "https://a.example/"}});
    let tasks = json!([
        {"before": {"set": {"n": 1}}},
        {"call": call},
        {"count": {"set": {"x": "${ length }"}}},
    ]);
    // A new child, so that its memory is only used by this run.
    let sandbox = sandbox();
    let given = ComputationInput {
        computing: Computing {
            segment_ms: 20_000,
            ..COMPUTING
        },
        ..given(&document(&tasks))
    };
    let mut computation = Computation::new(&sandbox, given);
    let count = 1_500_000;
    let mut steps = Vec::new();
    let ended = loop {
        match computation.next().await {
            Report::Step(record) => steps.push((record.task, record.event.as_str())),
            Report::StepData(_) | Report::Emitted(..) => {}
            Report::PendingEffects(requested) => {
                let effect = &requested.effects[0];
                let body = format!("[0{}]", ",0".repeat(count - 1));
                let response = HttpResponse {
                    status: 200,
                    headers: vec![("content-type".into(), "application/json".into())],
                    body: Body::Text(body),
                };
                let event = EntryEvent::EffectCompleted {
                    key: effect.key.clone(),
                    digest: effect.digest(),
                    result: EffectResult::Http(response),
                };
                let at = Clock::system().now();
                computation.give(Entry { at, event }).await;
            }
            Report::Ended(outcome) => break outcome,
        }
    };
    assert_eq!(ended.map_err(|error| error.code), Ok(json!({"x": count})));
    // Each step is reported once, however often it was computed.
    let reported: BTreeSet<_> = steps.iter().collect();
    assert_eq!(reported.len(), steps.len(), "{steps:?}");
}

#[tokio::test]
async fn leftover_memory_does_not_fault_next_run() {
    let sandbox = sandbox();
    // Without a CPU limit, since this is about memory.
    let computing = Computing {
        segment_ms: 20_000,
        ..COMPUTING
    };
    // Programs of this size fill the memory of a child before their number is limited.
    for n in 0..60 {
        let many = (0..400).map(|i| {
            (
                format!("m{n}x{i}"),
                json!("${ [.n, .n] | map(. + 1) | add }"),
            )
        });
        let set = Value::Object(many.collect());
        let ended = outcome_within(
            computing,
            &sandbox,
            &document(&json!([{"a": {"set": set}}])),
        )
        .await;
        assert!(ended.is_ok(), "{n}: {ended:?}");
    }
    // Nearly the memory limit of a run, repeatedly.
    for _ in 0..5 {
        let large = expression("[range(400000)] | length");
        assert_eq!(
            outcome_within(computing, &sandbox, &large).await,
            Ok(json!({"x": 400_000}))
        );
    }
}
