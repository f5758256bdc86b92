//! The process dies between any two calls, before or after AWS did what it was asked. What happens
//! next is what always happens next: the provider sends again, the queue delivers again.

use aias_domain::run::Status;
use aias_testkit::wire::Side;
use aias_tests::bench::{Bench, failed_of, json_of};

/// Exactly one run, completed, with one artifact and a log without a gap.
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

/// Delivers what is on the queue until it is empty.
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
async fn ingest_dies_at_any_call_and_the_providers_retry_finishes_the_same_run() {
    let mut broken = 0;
    // The second body goes to the bucket first: another call to die at.
    for body in [
        r#"{"id": "ord_1"}"#.to_owned(),
        format!(r#"{{"id": "ord_1", "pad": "{}"}}"#, "x".repeat(40_000)),
    ] {
        for side in [Side::Before, Side::After] {
            for number in 0.. {
                let Some(bench) = Bench::new().await else {
                    return;
                };
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
    println!("ingest died at {broken} places");
}

#[tokio::test]
async fn executor_dies_at_any_call_and_the_redelivery_finishes_the_run() {
    let mut broken = 0;
    for side in [Side::Before, Side::After] {
        for number in 0.. {
            let Some(bench) = Bench::new().await else {
                return;
            };
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
            // And once more, as a queue may.
            let response = bench.deliver(&bench.executor(), &messages, 3).await;
            assert!(response.batch_item_failures.is_empty(), "{what}");
            check(&bench, &what).await;
        }
    }
    println!("executor died at {broken} places");
}

#[tokio::test]
async fn the_executor_dies_again_while_it_makes_up_for_a_death() {
    for number in 0.. {
        let Some(bench) = Bench::new().await else {
            return;
        };
        bench
            .post(&bench.ingest(), "evt_1", r#"{"id": "ord_1"}"#)
            .await;
        let messages = bench.messages().await;
        // The first delivery dies after its log, before its end.
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
async fn what_nobody_sends_again_the_reconciler_finishes() {
    let Some(bench) = Bench::new().await else {
        return;
    };
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
    // Whatever was sent is lost too.
    bench.messages().await;
    assert_eq!(bench.runs().await[0].status, Status::Pending);
    let schedule = include_str!("../../events/reconciler/schedule.json");
    let wake = || serde_json::from_str(schedule).unwrap();
    reconciler::handle(&bench.reconciler(), wake())
        .await
        .unwrap();
    assert!(bench.messages().await.is_empty(), "it is too young");
    bench.clock.advance(std::time::Duration::from_secs(121));
    reconciler::handle(&bench.reconciler(), wake())
        .await
        .unwrap();
    settle(&bench).await;
    check(&bench, "reconciled").await;
    bench.clock.advance(std::time::Duration::from_secs(600));
    reconciler::handle(&bench.reconciler(), wake())
        .await
        .unwrap();
    assert!(bench.messages().await.is_empty(), "it has ended");
}
