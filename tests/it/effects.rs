//! Runs with calls and waits: what is called, what the journal has, and what happens when the
//! process dies.

use std::{collections::BTreeSet, time::Duration};

use aias_domain::run::{Run, Status};
use aias_testkit::{hosts::Hosts, wire::Side};
use aias_tests::bench::{Bench, failed_of, json_of};
use serde_json::{Value, json};

/// A bench, test servers, and their URL.
pub(crate) async fn furnished() -> (Bench, Hosts, String) {
    let bench = Bench::new().await;
    let hosts = Hosts::default();
    let url = hosts.start().await;
    (bench, hosts, url)
}

pub(crate) fn get(url: &str) -> Value {
    json!({"call": "http", "with": {"method": "get", "endpoint": url}})
}

/// Creates a workflow with this name.
pub(crate) async fn define(bench: &Bench, name: &str, tasks: Value) -> String {
    let definition = json!({
        "document": {"dsl": "1.0.3", "namespace": "test", "name": name, "version": "1.0.0"},
        "do": tasks,
    });
    let body = json!({"definition": definition});
    let answer = bench
        .request("workflows", "POST", "/api/workflows", &body)
        .await;
    assert_eq!(answer.status_code, 201, "{}", answer.body);
    json_of(&answer)["id"].as_str().unwrap().to_owned()
}

/// Starts a run and returns its id.
pub(crate) async fn execute(bench: &Bench, workflow: &str, input: Value) -> String {
    let body = json!({"workflow_id": workflow, "input": input});
    let answer = bench.request("workflows", "POST", "/api/workflows/execute", &body);
    let answer = answer.await;
    assert_eq!(answer.status_code, 202, "{}", answer.body);
    json_of(&answer)["run_id"].as_str().unwrap().to_owned()
}

pub(crate) async fn run_of(bench: &Bench, id: &str) -> Run {
    let store = bench.store();
    let found = bench.tenant(&store).run(id.parse().unwrap()).await;
    found.unwrap().unwrap().run
}

pub(crate) async fn output_of(bench: &Bench, id: &str) -> Value {
    let run = run_of(bench, id).await;
    assert_eq!(run.status, Status::Completed, "{run:?}");
    let artifact = format!("/api/artifacts/{}", run.artifacts[0].id);
    let answer = bench
        .request("artifacts", "GET", &artifact, &Value::Null)
        .await;
    serde_json::from_str(json_of(&answer)["preview"].as_str().unwrap()).unwrap()
}

/// Delivers messages, including those sent by runs, until the queue is empty.
pub(crate) async fn settle(bench: &Bench) {
    settle_with(bench, 0).await;
}

/// As [`settle`], with artifacts up to this size in the run's item.
pub(crate) async fn settle_with(bench: &Bench, inline_bytes: usize) {
    let mut again: Vec<String> = Vec::new();
    for _ in 0..200 {
        let new = bench.messages().await;
        if new.is_empty() && again.is_empty() {
            return;
        }
        let mut failed = Vec::new();
        for (received, messages) in [(1, new), (2, again)] {
            let executor = bench.executor().with_inline_artifacts(inline_bytes);
            let reported = bench.deliver(&executor, &messages, received).await;
            failed.extend(failed_of(&reported, &messages));
        }
        again = failed;
    }
    panic!("the queue does not become empty");
}

pub(crate) async fn verified(bench: &Bench, id: &str) -> Value {
    let path = format!("/api/runs/{id}/verify");
    let answer = bench.request("runs", "POST", &path, &Value::Null).await;
    assert_eq!(answer.status_code, 200, "{}", answer.body);
    json_of(&answer)
}

/// Three calls, two of them concurrent.
fn three_calls(url: &str) -> Value {
    json!([
        {"a": {"call": "http", "with": {"method": "post", "endpoint": format!("{url}/echo/a"), "body": "${ . }"}, "output": {"as": "{a: .body.n}"}}},
        {"f": {"fork": {"branches": [
            {"b": {"call": "http", "with": {"method": "post", "endpoint": format!("{url}/echo/b"), "body": {"n": "${ .a + 1 }"}}, "output": {"as": ".body.n"}}},
            {"c": {"call": "http", "with": {"method": "post", "endpoint": format!("{url}/echo/c"), "body": {"n": "${ .a + 2 }"}}, "output": {"as": ".body.n"}}},
        ]}}},
        {"e": {"emit": {"event": {"with": {"source": "https://e.example", "type": "done", "data": "${ . }"}}}, "output": {"as": ".data"}}},
    ])
}

#[tokio::test]
async fn executor_crash_with_effects_is_completed() {
    let mut broken = 0;
    for side in [Side::Before, Side::After] {
        for number in 0.. {
            let (bench, hosts, url) = furnished().await;
            let what = format!("{side:?} call {number}");
            let workflow = define(&bench, "calls", three_calls(&url)).await;
            let id = execute(&bench, &workflow, json!({"n": 1})).await;
            let messages = bench.messages().await;
            bench.wire.reset();
            bench.wire.break_at(number, side);
            let reported = bench.deliver(&bench.executor(), &messages, 1).await;
            let was_broken = bench.wire.is_broken();
            bench.wire.reset();
            if was_broken {
                broken += 1;
                assert_eq!(reported.batch_item_failures.len(), 1, "{what}");
                let reported = bench.deliver(&bench.executor(), &messages, 2).await;
                assert!(reported.batch_item_failures.is_empty(), "{what}");
            }
            assert_eq!(output_of(&bench, &id).await, json!([2, 3]), "{what}");
            // Repeated calls have the same idempotency key.
            let keys: BTreeSet<_> = hosts
                .seen("/echo/")
                .iter()
                .map(|seen| {
                    (
                        seen.target.clone(),
                        seen.header("idempotency-key").to_owned(),
                    )
                })
                .collect();
            assert_eq!(keys.len(), 3, "{what}: {keys:?}");
            assert_eq!(
                keys.iter()
                    .map(|(_, key)| key)
                    .collect::<BTreeSet<_>>()
                    .len(),
                3
            );
            let run = run_of(&bench, &id).await;
            let log = bench.log(&run).await;
            let numbers: Vec<u32> = log.iter().map(|entry| entry.seq).collect();
            assert_eq!(numbers, (0..10).collect::<Vec<_>>(), "{what}: {log:#?}");
            assert_eq!(run.events, 1, "{what}");
            assert_eq!(verified(&bench, &id).await["reproducible"], true, "{what}");
            let path = format!("/api/runs/{id}/events");
            let events = bench.request("runs", "GET", &path, &Value::Null);
            let events = json_of(&events.await);
            assert_eq!(events["data"].as_array().unwrap().len(), 1, "{what}");
            assert_eq!(events["data"][0]["data"], json!([2, 3]), "{what}");
            if !was_broken {
                assert!(number >= 12, "{what}");
                break;
            }
        }
    }
    println!("executor died at {broken} calls");
}

#[tokio::test]
async fn duplicate_message_calls_once() {
    let (bench, hosts, url) = furnished().await;
    let workflow = define(&bench, "calls", three_calls(&url)).await;
    let id = execute(&bench, &workflow, json!({"n": 1})).await;
    let messages = bench.messages().await;
    let twice = [messages[0].clone(), messages[0].clone()];
    bench.deliver(&bench.executor(), &twice, 1).await;
    settle(&bench).await;
    assert_eq!(output_of(&bench, &id).await, json!([2, 3]));
    bench.deliver(&bench.executor(), &messages, 2).await;
    let calls = hosts.seen("/echo/").len();
    let keys: BTreeSet<_> = hosts
        .seen("/echo/")
        .iter()
        .map(|seen| seen.header("idempotency-key").to_owned())
        .collect();
    assert_eq!(keys.len(), 3);
    assert!(calls <= 6, "{calls}");
}

#[tokio::test]
async fn retry_does_not_repeat_successful_calls() {
    let (bench, hosts, url) = furnished().await;
    let tasks = json!([
        {"a": get(&format!("{url}/echo/once"))},
        {"b": get(&format!("{url}/flaky/2/b"))},
    ]);
    let workflow = define(&bench, "flaky", tasks).await;
    let id = execute(&bench, &workflow, json!({})).await;
    for retries in 1..=2 {
        settle(&bench).await;
        let run = run_of(&bench, &id).await;
        assert_eq!(run.error.as_ref().unwrap().code, "communication", "{run:?}");
        assert_eq!(verified(&bench, &id).await["reproducible"], true);
        let path = format!("/api/runs/{id}/retry");
        let answer = bench.request("runs", "POST", &path, &Value::Null).await;
        assert_eq!(answer.status_code, 202);
        assert_eq!(run_of(&bench, &id).await.retries, retries);
    }
    settle(&bench).await;
    assert_eq!(output_of(&bench, &id).await, json!({"attempt": 3}));
    assert_eq!(hosts.seen("/echo/once").len(), 1);
    assert_eq!(verified(&bench, &id).await["reproducible"], true);
    let run = run_of(&bench, &id).await;
    let events: Vec<_> = bench.log(&run).await.into_iter().map(|e| e.event).collect();
    assert_eq!(events.iter().filter(|e| *e == "run.started").count(), 3);
    assert_eq!(events.iter().filter(|e| *e == "run.faulted").count(), 2);
    // The first task is recorded only once.
    assert_eq!(events.iter().filter(|e| *e == "task.completed").count(), 2);
}

#[tokio::test]
async fn short_wait_uses_message_long_wait_uses_reconciler() {
    let (bench, _, url) = furnished().await;
    let tasks = json!([
        {"a": {"wait": {"seconds": 3}}},
        {"b": get(&format!("{url}/echo"))},
        {"c": {"wait": {"days": 30}}},
        {"d": {"set": {"waited": "${ $task.startedAt.epoch.seconds - $workflow.startedAt.epoch.seconds }"}}},
    ]);
    let workflow = define(&bench, "waits", tasks).await;
    let id = execute(&bench, &workflow, json!({})).await;
    bench.wire.reset();
    settle(&bench).await;
    let run = run_of(&bench, &id).await;
    let seconds = |n: i64| Some(run.created_at + jiff::SignedDuration::from_secs(n));
    assert_eq!((run.status, run.wakes_at), (Status::Waiting, seconds(3)));

    // Too early: the run stays as it is, and its message is sent again.
    let early = serde_json::to_string(&json!({
        "tenant_id": aias_tests::bench::TENANT, "run_id": id, "workflow_id": workflow,
    }))
    .unwrap();
    bench
        .deliver(&bench.executor(), std::slice::from_ref(&early), 1)
        .await;
    assert_eq!(run_of(&bench, &id).await, run);
    tokio::time::sleep(Duration::from_millis(3_500)).await;
    bench.clock.advance(Duration::from_secs(3));
    settle(&bench).await;
    let waiting = run_of(&bench, &id).await;
    assert_eq!(waiting.status, Status::Waiting);
    let day = 24 * 3_600;
    let wakes_at = seconds(3 + 30 * day).unwrap();
    assert_eq!(waiting.wakes_at, Some(wakes_at));

    // Nothing happens for thirty days.
    bench.clock.advance(Duration::from_secs(15 * 24 * 3_600));
    bench.wake().await;
    assert!(bench.messages().await.is_empty());
    let left = wakes_at
        .duration_since(bench.now())
        .as_secs()
        .unsigned_abs();
    // A pass that reads weeks takes longer than the delay of the message.
    bench.clock.advance(Duration::from_secs(left - 3_600));
    bench.wake().await;
    bench.clock.advance(Duration::from_secs(3_600 - 2));
    bench.wake().await;
    bench.wake().await;
    assert!(bench.messages().await.is_empty(), "the message has a delay");
    tokio::time::sleep(Duration::from_millis(3_500)).await;
    bench.clock.advance(Duration::from_secs(3));
    settle(&bench).await;
    assert_eq!(
        output_of(&bench, &id).await,
        json!({"waited": 30 * day + 4})
    );
    assert_eq!(verified(&bench, &id).await["reproducible"], true);
    // Its items are retained as long as the run waits.
    let store = bench.store();
    let kept = bench.tenant(&store).run(id.parse().unwrap()).await;
    assert!(kept.unwrap().unwrap().expires_at > bench.now());
}

/// The entry of the fault follows the entries of previous deliveries.
#[tokio::test]
async fn fault_of_waiting_run_is_logged_after_its_steps() {
    let (bench, _, _) = furnished().await;
    let tasks = json!([{"a": {"wait": {"hours": 1}}}, {"b": {"set": {"done": true}}}]);
    let workflow = define(&bench, "waits", tasks).await;
    let input = json!({"pad": "x".repeat(40_000)});
    let id = execute(&bench, &workflow, input).await;
    settle(&bench).await;
    bench.expire_objects().await;
    bench.clock.advance(Duration::from_secs(3_600));
    bench.wake().await;
    tokio::time::sleep(Duration::from_millis(1_200)).await;
    settle(&bench).await;
    let run = run_of(&bench, &id).await;
    assert_eq!(run.error.as_ref().unwrap().code, "input-gone");
    let log = bench.log(&run).await;
    assert!(log.iter().enumerate().all(|(n, e)| e.seq as usize == n));
    let events: Vec<_> = log.iter().map(|e| e.event.as_str()).collect();
    assert_eq!(events.first(), Some(&"run.started"));
    assert_eq!(events.last(), Some(&"run.faulted"));
}

#[tokio::test]
async fn crash_while_leaving_waiting_run_is_recovered() {
    for side in [Side::Before, Side::After] {
        for number in 0.. {
            let (bench, _, _) = furnished().await;
            let what = format!("{side:?} call {number}");
            let tasks = json!([{"a": {"wait": {"hours": 1}}}, {"b": {"set": {"done": true}}}]);
            let workflow = define(&bench, "waits", tasks).await;
            let id = execute(&bench, &workflow, json!({})).await;
            let messages = bench.messages().await;
            bench.wire.reset();
            bench.wire.break_at(number, side);
            bench.deliver(&bench.executor(), &messages, 1).await;
            let was_broken = bench.wire.is_broken();
            bench.wire.reset();
            if was_broken {
                bench.deliver(&bench.executor(), &messages, 2).await;
            }
            let run = run_of(&bench, &id).await;
            assert_eq!(run.status, Status::Waiting, "{what}");
            bench.clock.advance(Duration::from_secs(3_600));
            bench.wake().await;
            tokio::time::sleep(Duration::from_millis(1_200)).await;
            settle(&bench).await;
            assert_eq!(
                output_of(&bench, &id).await,
                json!({"done": true}),
                "{what}"
            );
            if !was_broken {
                break;
            }
        }
    }
}

#[tokio::test]
async fn cancelled_run_stops() {
    let (bench, hosts, url) = furnished().await;
    let tasks = json!([
        {"a": get(&format!("{url}/slow/1500"))},
        {"b": get(&format!("{url}/echo"))},
    ]);
    let workflow = define(&bench, "slow", tasks).await;
    let running = execute(&bench, &workflow, json!({})).await;
    let messages = bench.messages().await;
    let executor = bench.executor();
    let path = format!("/api/runs/{running}/cancel");
    let cancel = async {
        tokio::time::sleep(Duration::from_millis(700)).await;
        assert_eq!(run_of(&bench, &running).await.status, Status::Running);
        bench.request("runs", "POST", &path, &Value::Null).await
    };
    let (reported, answer) = tokio::join!(bench.deliver(&executor, &messages, 1), cancel);
    assert_eq!(answer.status_code, 200, "{}", answer.body);
    assert!(reported.batch_item_failures.is_empty());
    assert_eq!(run_of(&bench, &running).await.status, Status::Cancelled);
    assert!(hosts.seen("/echo").is_empty());

    let tasks = json!([{"a": {"wait": {"minutes": 20}}}, {"b": get(&format!("{url}/echo"))}]);
    let workflow = define(&bench, "waits", tasks).await;
    let waiting = execute(&bench, &workflow, json!({})).await;
    settle(&bench).await;
    let path = format!("/api/runs/{waiting}/cancel");
    assert_eq!(
        bench
            .request("runs", "POST", &path, &Value::Null)
            .await
            .status_code,
        200
    );
    bench.clock.advance(Duration::from_secs(1_200));
    bench.wake().await;
    settle(&bench).await;
    assert_eq!(run_of(&bench, &waiting).await.status, Status::Cancelled);
    assert!(hosts.seen("/echo").is_empty());
    let store = bench.store();
    assert_eq!(bench.tenant(&store).running(5).await.unwrap(), 0);
}

#[tokio::test]
async fn timeout_fires_without_executor() {
    let (bench, _, _) = furnished().await;
    let tasks = json!([
        {"a": {
            "try": [{"b": {"wait": {"days": 2}, "timeout": {"after": {"days": 1}}}}],
            "catch": {"do": [{"c": {"set": {"status": "${ $error.status }"}}}]},
        }},
    ]);
    let workflow = define(&bench, "late", tasks).await;
    let id = execute(&bench, &workflow, json!({})).await;
    settle(&bench).await;
    assert_eq!(run_of(&bench, &id).await.status, Status::Waiting);
    bench.clock.advance(Duration::from_secs(24 * 3_600));
    bench.wake().await;
    tokio::time::sleep(Duration::from_millis(1_200)).await;
    settle(&bench).await;
    assert_eq!(output_of(&bench, &id).await, json!({"status": 408}));
}

#[tokio::test]
async fn wait_starts_with_run_not_acceptance() {
    let (bench, _, _) = furnished().await;
    let tasks = json!([{"a": {"wait": {"hours": 1}, "timeout": {"after": {"hours": 2}}}}, {"b": {"set": {"done": true}}}]);
    let workflow = define(&bench, "late", tasks).await;
    let id = execute(&bench, &workflow, json!({})).await;
    bench.clock.advance(Duration::from_secs(24 * 3_600));
    settle(&bench).await;
    let run = run_of(&bench, &id).await;
    let wakes_at = bench.now() + jiff::SignedDuration::from_hours(1);
    assert_eq!(
        (run.status, run.wakes_at),
        (Status::Waiting, Some(wakes_at))
    );
    bench.clock.advance(Duration::from_secs(3_600));
    bench.wake().await;
    tokio::time::sleep(Duration::from_millis(1_200)).await;
    settle(&bench).await;
    assert_eq!(output_of(&bench, &id).await, json!({"done": true}));
    // The log has the duration, although no executor was running.
    let log = bench.log(&run_of(&bench, &id).await).await;
    let hour = log
        .iter()
        .find(|entry| entry.event == "task.completed")
        .unwrap();
    assert_eq!(hour.duration_ms, 3_600_000);
    assert_eq!(log.last().unwrap().duration_ms, 3_600_000);
    assert_eq!(verified(&bench, &id).await["reproducible"], true);
}

#[tokio::test]
async fn modified_journal_is_detected() {
    let (bench, _, url) = furnished().await;
    let workflow = define(&bench, "calls", three_calls(&url)).await;
    let id = execute(&bench, &workflow, json!({"n": 1})).await;
    settle(&bench).await;
    let good = verified(&bench, &id).await;
    assert_eq!(good["expected_digest"], good["actual_digest"]);
    let store = bench.store();
    let own = bench.tenant(&store);
    let run = id.parse().unwrap();
    let journal = own.journal(run).await.unwrap();
    let kept = jiff::Timestamp::MAX;
    let stale = own
        .replace_entry(run, 2, &journal[1], &journal[0], kept)
        .await;
    assert!(matches!(stale, Err(aias_platform::store::Error::Conflict)));
    own.replace_entry(run, 2, &journal[1], &journal[2], kept)
        .await
        .unwrap();
    let bad = verified(&bench, &id).await;
    assert_eq!(bad["reproducible"], false);
    assert_ne!(bad["expected_digest"], bad["actual_digest"]);
}
