//! The exact cost of a webhook's path: AWS calls, sequential rounds, write units.

use std::time::Duration;

use aias_domain::{id::WorkflowId, run::Status};
use aias_testkit::hosts::Hosts;
use aias_tests::bench::{Bench, json_of};
use serde_json::{Value, json};

#[expect(clippy::print_stdout, reason = "the table is the output of the test")]
fn show(what: &str, bench: &Bench) {
    let calls = bench.wire.calls();
    println!(
        "| {what} | {} | {} | {} | {} |",
        calls.len(),
        bench.wire.rounds(),
        bench.wire.write_units(),
        calls.join(" ")
    );
}

fn one_kib_body() -> String {
    // Letters that compress badly, like an id or a signature.
    let mut state = 7_u64;
    let pad: String = std::iter::from_fn(|| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        Some(char::from(
            b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
                [(state >> 58) as usize],
        ))
    })
    .take(1024 - 26)
    .collect();
    let body = format!(r#"{{"id": "ord_1", "pad": "{pad}"}}"#);
    assert_eq!(body.len(), 1024);
    body
}

#[tokio::test]
async fn webhook_path_stays_within_budget() {
    let bench = Bench::new().await;
    let (ingest, executor) = (bench.ingest(), bench.executor());
    let body = one_kib_body();
    println!("| path | calls | rounds | write units | which |\n|---|---|---|---|---|");

    bench.post(&ingest, "evt_cold", &body).await;
    show("ingest, cold", &bench);
    let messages = bench.messages().await;
    bench.wire.reset();
    bench.deliver(&executor, &messages, 1).await;
    show("executor, cold", &bench);

    bench.wire.reset();
    let response = bench.post(&ingest, "evt_hot", &body).await;
    assert_eq!(response.status_code, 202);
    show("ingest, hot", &bench);
    let mut calls = bench.wire.calls();
    calls.sort();
    assert_eq!(
        calls,
        [
            "DynamoDB.PutItem",
            "DynamoDB.PutItem",
            "DynamoDB.UpdateItem",
            "SQS.SendMessage"
        ]
    );
    assert_eq!(bench.wire.rounds(), 2);
    assert!(
        (1.0..=4.0).contains(&bench.wire.write_units()),
        "{}",
        bench.wire.write_units()
    );

    let messages = bench.messages().await;
    bench.wire.reset();
    assert!(
        bench
            .deliver(&executor, &messages, 1)
            .await
            .batch_item_failures
            .is_empty()
    );
    show("executor, hot", &bench);
    let mut calls = bench.wire.calls();
    calls.sort();
    assert_eq!(
        calls,
        [
            "DynamoDB.GetItem",
            "DynamoDB.GetItem",
            "DynamoDB.GetItem",
            "DynamoDB.PutItem",
            "S3.PUT"
        ]
    );
    assert_eq!(bench.wire.rounds(), 3);
    assert!(
        (1.0..=3.0).contains(&bench.wire.write_units()),
        "{}",
        bench.wire.write_units()
    );

    bench.wire.reset();
    let response = bench.post(&ingest, "evt_hot", &body).await;
    assert_eq!(response.status_code, 200);
    show("ingest, a duplicate", &bench);
}

#[tokio::test]
async fn batch_shares_reads_but_redelivery_does_not() {
    let bench = Bench::new().await;
    let (ingest, executor) = (bench.ingest(), bench.executor());
    // The definition of the version is read once and cached.
    bench.post(&ingest, "evt_cold", "{}").await;
    bench.deliver(&executor, &bench.messages().await, 1).await;
    for (received, reads) in [(1, 3 + 2), (2, 3 * 3)] {
        for n in 0..3 {
            bench
                .post(&ingest, &format!("evt_{received}_{n}"), "{}")
                .await;
        }
        let messages = bench.messages().await;
        assert_eq!(messages.len(), 3);
        bench.wire.reset();
        let told = bench.deliver(&executor, &messages, received).await;
        assert!(told.batch_item_failures.is_empty());
        let calls = bench.wire.calls();
        let read = calls.iter().filter(|call| *call == "DynamoDB.GetItem");
        assert_eq!(read.count(), reads, "{received} {calls:?}");
    }
}

#[tokio::test]
async fn calling_and_waiting_runs_stay_within_budget() {
    let bench = Bench::new().await;
    let url = Hosts::default().start().await;
    let executor = bench.executor();
    println!("| run | calls | rounds | write units | which |\n|---|---|---|---|---|");
    let own = |tasks: Value| {
        json!({
            "document": {"dsl": "1.0.3", "namespace": "test", "name": "budget", "version": "1.0.0"},
            "do": tasks,
        })
    };
    let call =
        json!({"call": "http", "with": {"method": "get", "endpoint": format!("{url}/echo")}});
    let one = json!([{"a": call}]);
    let ten = (0..10).map(|n| json!({format!("a{n}"): call})).collect();
    let wait = json!([{"a": {"wait": {"hours": 1}}}]);
    for (what, tasks, wakes, exactly, most) in [
        ("one call", one, false, 8, 9.0),
        ("ten calls", Value::Array(ten), false, 27, 19.0),
        (
            "a wait of an hour, until it waits",
            wait.clone(),
            false,
            6,
            4.0,
        ),
        ("a wait, after it ended", wait, true, 9, 4.0),
    ] {
        let id = WorkflowId::new(bench.now(), aias_platform::clock::random_id());
        bench.add_workflow(&id.to_string(), &own(tasks)).await;
        let body = json!({"workflow_id": id, "input": {"n": 1}});
        // A first run, so that the version is compiled.
        let mut run = String::new();
        for _ in 0..2 {
            let path = "/api/workflows/execute";
            let response = bench.request("workflows", "POST", path, &body).await;
            run = json_of(&response)["run_id"].as_str().unwrap().to_owned();
            let messages = bench.messages().await;
            bench.wire.reset();
            bench.deliver(&executor, &messages, 1).await;
            if wakes {
                bench.clock.advance(Duration::from_secs(3_601));
                bench.wire.reset();
                bench.deliver(&executor, &messages, 1).await;
            }
        }
        show(what, &bench);
        assert_eq!(bench.wire.calls().len(), exactly, "{what}");
        assert!(
            (1.0..=most).contains(&bench.wire.write_units()),
            "{what}: {}",
            bench.wire.write_units()
        );
        let runs = bench.runs().await;
        let ended = runs.iter().find(|one| one.id.to_string() == run).unwrap();
        let expected = if wakes || !what.contains("wait") {
            Status::Completed
        } else {
            Status::Waiting
        };
        assert_eq!(ended.status, expected, "{what}");
    }
}
