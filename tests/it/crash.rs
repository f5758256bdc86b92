//! The process dies between any two calls, before or after AWS has processed the call. Then the
//! provider retries, or the queue redelivers.

use std::time::Duration;

use aias_domain::run::Status;
use aias_testkit::wire::Side;
use aias_tests::bench::{Bench, WORKFLOW, failed_of, json_of};
use serde_json::json;

/// Exactly one completed run, with one artifact and a log without gaps.
async fn check(bench: &Bench, what: &str) {
    let runs = bench.runs().await;
    assert_eq!(runs.len(), 1, "{what}");
    let run = &runs[0];
    assert_eq!(run.status, Status::Completed, "{what}: {run:?}");
    assert_eq!(run.artifacts.len(), 1, "{what}");
    let log = bench.log(run).await;
    let numbers: Vec<u32> = log.iter().map(|entry| entry.seq).collect();
    assert_eq!(numbers, (0..12).collect::<Vec<_>>(), "{what}");
    assert_eq!(log[11].event, "run.completed", "{what}");
}

/// Delivers messages until the queue is empty.
async fn settle(bench: &Bench) {
    let mut waiting = bench.messages().await;
    for received in 1..10 {
        if waiting.is_empty() {
            break;
        }
        let told = bench.deliver(&bench.executor(), &waiting, received).await;
        waiting = failed_of(&told, &waiting);
        waiting.extend(bench.messages().await);
    }
    assert!(waiting.is_empty());
}

#[tokio::test]
async fn ingest_crash_is_completed_by_provider_retry() {
    let mut broken = 0;
    // The second body is first written to the bucket, which is one more call.
    for body in [
        r#"{"id": "ord_1"}"#.to_owned(),
        format!(r#"{{"id": "ord_1", "pad": "{}"}}"#, "x".repeat(40_000)),
    ] {
        for side in [Side::Before, Side::After] {
            for number in 0.. {
                let bench = Bench::new().await;
                let what = format!("{side:?} call {number}");
                bench.wire.break_at(number, side);
                let first = bench.post(&bench.ingest(), "evt_1", &body).await;
                if !bench.wire.is_broken() {
                    assert_eq!(first.status_code, 202);
                    assert!(number >= 6, "{what}");
                    break;
                }
                broken += 1;
                assert_eq!(first.status_code, 503, "{what}: {}", first.body);
                bench.wire.reset();
                let second = bench.post(&bench.ingest(), "evt_1", &body).await;
                assert!(
                    [200, 202].contains(&second.status_code),
                    "{what}: {}",
                    second.body
                );
                let third = bench.post(&bench.ingest(), "evt_1", &body).await;
                assert_eq!(third.status_code, 200, "{what}");
                assert_eq!(
                    json_of(&second)["run_id"],
                    json_of(&third)["run_id"],
                    "{what}"
                );
                settle(&bench).await;
                check(&bench, &what).await;
            }
        }
    }
    println!("ingest died at {broken} calls");
}

#[tokio::test]
async fn executor_crash_is_completed_by_redelivery() {
    let mut broken = 0;
    for side in [Side::Before, Side::After] {
        for number in 0.. {
            let bench = Bench::new().await;
            let what = format!("{side:?} call {number}");
            assert_eq!(
                bench
                    .post(&bench.ingest(), "evt_1", r#"{"id": "ord_1"}"#)
                    .await
                    .status_code,
                202
            );
            let messages = bench.messages().await;
            bench.wire.reset();
            bench.wire.break_at(number, side);
            let response = bench.deliver(&bench.executor(), &messages, 1).await;
            if !bench.wire.is_broken() {
                assert!(response.batch_item_failures.is_empty());
                assert!(number >= 6, "{what}");
                break;
            }
            broken += 1;
            assert_eq!(response.batch_item_failures.len(), 1, "{what}");
            bench.wire.reset();
            let response = bench.deliver(&bench.executor(), &messages, 2).await;
            assert!(response.batch_item_failures.is_empty(), "{what}");
            check(&bench, &what).await;
            // And again, as SQS may deliver twice.
            let response = bench.deliver(&bench.executor(), &messages, 3).await;
            assert!(response.batch_item_failures.is_empty(), "{what}");
            check(&bench, &what).await;
        }
    }
    println!("executor died at {broken} calls");
}

#[tokio::test]
async fn second_executor_crash_is_completed() {
    for number in 0.. {
        let bench = Bench::new().await;
        bench
            .post(&bench.ingest(), "evt_1", r#"{"id": "ord_1"}"#)
            .await;
        let messages = bench.messages().await;
        // The first delivery dies after the log was written, before the end of the run.
        bench.wire.reset();
        bench.wire.break_at(6, Side::Before);
        bench.deliver(&bench.executor(), &messages, 1).await;
        bench.wire.reset();
        bench.wire.break_at(number, Side::After);
        bench.deliver(&bench.executor(), &messages, 2).await;
        let broken = bench.wire.is_broken();
        bench.wire.reset();
        bench.deliver(&bench.executor(), &messages, 3).await;
        check(&bench, &format!("call {number}")).await;
        if !broken {
            break;
        }
    }
}

#[tokio::test]
async fn reconciler_completes_unretried_event() {
    let bench = Bench::new().await;
    // Endpoint (3 calls), then admission and claim, then the run; its message is lost.
    for number in 5.. {
        bench.wire.reset();
        bench.wire.break_at(number, Side::Before);
        bench
            .post(
                &bench.ingest(),
                &format!("evt_{number}"),
                r#"{"id": "ord_1"}"#,
            )
            .await;
        bench.wire.reset();
        if !bench.runs().await.is_empty() {
            break;
        }
    }
    // Messages that were sent are lost as well.
    bench.messages().await;
    assert_eq!(bench.runs().await[0].status, Status::Pending);
    let schedule = include_str!("../../events/reconciler/schedule.json");
    let wake = || serde_json::from_str(schedule).unwrap();
    reconciler::handle(&bench.reconciler(), wake())
        .await
        .unwrap();
    assert!(bench.messages().await.is_empty(), "the run is too recent");
    bench.clock.advance(Duration::from_secs(121));
    reconciler::handle(&bench.reconciler(), wake())
        .await
        .unwrap();
    settle(&bench).await;
    check(&bench, "reconciled").await;
    bench.clock.advance(Duration::from_secs(600));
    reconciler::handle(&bench.reconciler(), wake())
        .await
        .unwrap();
    assert!(bench.messages().await.is_empty(), "the run has ended");
}

/// While a delivery is refused, another one of the same event may find its claim and create the run.
/// If the refusal removed the claim, the provider's retry would create a second run. A large body is
/// stored only for an event that is admitted and new.
#[tokio::test]
async fn refused_delivery_keeps_its_claim_and_stores_no_body() {
    let bench = Bench::new().await;
    bench.enterprise(&json!({"events_per_second": 1})).await;
    let ingest = bench.ingest();
    for n in 0..10 {
        let filler = bench.post(&ingest, &format!("filler_{n}"), "{}").await;
        assert_eq!(filler.status_code, 202);
    }
    let large = format!(r#"{{"pad": "{}"}}"#, "x".repeat(40_000));
    bench.wire.reset();
    let refused = bench.post(&ingest, "evt_1", &large).await;
    assert_eq!(refused.status_code, 429);
    let calls = bench.wire.calls();
    assert!(calls.contains(&"DynamoDB.PutItem".to_owned()), "{calls:?}");
    let undone = |call: &&String| call.contains("DeleteItem") || *call == "S3.PUT";
    assert_eq!(calls.iter().find(undone), None);
    bench.clock.advance(Duration::from_secs(10));
    let first = bench.post(&ingest, "evt_1", &large).await;
    bench.wire.reset();
    let again = bench.post(&ingest, "evt_1", &large).await;
    assert_eq!((first.status_code, again.status_code), (202, 200));
    assert_eq!(json_of(&first)["run_id"], json_of(&again)["run_id"]);
    let calls = bench.wire.calls();
    assert!(!calls.iter().any(|call| call == "S3.PUT"), "{calls:?}");
}

/// The stored response of an `Idempotency-Key` must not hide that the message was never sent.
#[tokio::test]
async fn execute_crash_is_completed_by_retry() {
    let body = json!({"workflow_id": WORKFLOW, "input": {"body": {"id": "ord_1"}}});
    let mut broken = 0;
    for side in [Side::Before, Side::After] {
        for number in 0.. {
            let bench = Bench::new().await;
            let what = format!("{side:?} call {number}");
            let execute = async || {
                let path = "/api/workflows/execute";
                bench.post_once("workflows", path, &body, "key_1").await
            };
            bench.wire.break_at(number, side);
            let first = execute().await;
            if !bench.wire.is_broken() {
                assert_eq!(first.status_code, 202);
                break;
            }
            broken += 1;
            bench.wire.reset();
            let second = execute().await;
            assert_eq!(second.status_code, 202, "{what}: {}", second.body);
            settle(&bench).await;
            let runs = bench.runs().await;
            assert_eq!(runs.len(), 1, "{what}");
            assert_eq!(runs[0].status, Status::Completed, "{what}");
        }
    }
    assert!(broken >= 10, "{broken}");
}
