//! Two functions that handle the same event at once, interleaved at each pair of their calls: the
//! first stops before a call, the second before one of its own, then the first ends, then the second.

use std::pin::pin;

use aias_domain::run::Status;
use aias_platform::clock::Clock;
use aias_tests::bench::{Bench, failed_of, json_of};
use jiff::SignedDuration;

/// The two results, and whether each one stopped. The benches are stopped by their connections.
async fn interleaved<A, B>(
    (first, first_bench): (impl Future<Output = A>, &Bench),
    (second, second_bench): (impl Future<Output = B>, &Bench),
) -> ((A, bool), (B, bool)) {
    let (mut first, mut second) = (pin!(first), pin!(second));
    let first_end = tokio::select! {
        end = &mut first => Some(end),
        () = first_bench.wire.paused() => None,
    };
    let second_end = tokio::select! {
        end = &mut second => Some(end),
        () = second_bench.wire.paused() => None,
    };
    let paused = (first_end.is_none(), second_end.is_none());
    first_bench.wire.resume();
    let first_end = match first_end {
        Some(end) => end,
        None => first.await,
    };
    second_bench.wire.resume();
    let second_end = match second_end {
        Some(end) => end,
        None => second.await,
    };
    ((first_end, paused.0), (second_end, paused.1))
}

/// Exactly one completed run, with one artifact and a log without gaps.
async fn check(bench: &Bench, what: &str) {
    let mut waiting = bench.messages().await;
    for received in 1..10 {
        if waiting.is_empty() {
            break;
        }
        let reported = bench.deliver(&bench.executor(), &waiting, received).await;
        waiting = failed_of(&reported, &waiting);
        waiting.extend(bench.messages().await);
    }
    assert!(waiting.is_empty(), "{what}");
    let runs = bench.runs().await;
    assert_eq!(runs.len(), 1, "{what}");
    assert_eq!(runs[0].status, Status::Completed, "{what}");
    assert_eq!(runs[0].artifacts.len(), 1, "{what}");
    let numbers = bench.log(&runs[0]).await.into_iter().map(|entry| entry.seq);
    assert!(numbers.eq(0..12), "{what}");
}

/// The runs that count in the month.
async fn counted(bench: &Bench) -> u64 {
    let store = bench.store();
    let own = bench.tenant(&store);
    let tenant = own.tenant().await.unwrap().unwrap().value;
    let limits = tenant.limits(bench.now());
    own.usage(&limits, bench.now()).await.unwrap().runs
}

/// The month counts it once.
#[tokio::test]
async fn two_ingests_of_an_event_make_one_run() {
    let body = r#"{"id": "ord_1"}"#;
    let mut pairs = 0;
    'first: for first_call in 0.. {
        for second_call in 0.. {
            let bench = Bench::new().await;
            let mut other = bench.beside();
            other.clock = Clock::set_to(bench.now() + SignedDuration::from_millis(1));
            bench.wire.pause_at(first_call);
            other.wire.pause_at(second_call);
            let (one, two) = (bench.ingest(), other.ingest());
            let ((first, first_paused), (second, second_paused)) = interleaved(
                (bench.post(&one, "evt_1", body), &bench),
                (other.post(&two, "evt_1", body), &other),
            )
            .await;
            if !first_paused {
                break 'first;
            }
            pairs += 1;
            let what = format!("before calls {first_call} and {second_call}");
            // Both may be the first: then both write the same run.
            let statuses = [first.status_code, second.status_code];
            assert!(
                statuses.contains(&202) && statuses.iter().all(|code| [200, 202].contains(code)),
                "{what}: {} {}",
                first.body,
                second.body
            );
            assert_eq!(
                json_of(&first)["run_id"],
                json_of(&second)["run_id"],
                "{what}"
            );
            bench.wire.reset();
            assert_eq!(counted(&bench).await, 1, "{what}");
            check(&bench, &what).await;
            if !second_paused {
                break;
            }
        }
    }
    assert!(pairs >= 16, "{pairs}");
}

#[tokio::test]
async fn two_executors_of_a_message_end_one_run() {
    let mut pairs = 0;
    'first: for first_call in 0.. {
        for second_call in 0.. {
            let bench = Bench::new().await;
            let accepted = bench
                .post(&bench.ingest(), "evt_1", r#"{"id": "ord_1"}"#)
                .await;
            assert_eq!(accepted.status_code, 202);
            let messages = bench.messages().await;
            bench.wire.reset();
            let other = bench.beside();
            bench.wire.pause_at(first_call);
            other.wire.pause_at(second_call);
            let (one, two) = (bench.executor(), other.executor());
            let ((first, first_paused), (second, second_paused)) = interleaved(
                (bench.deliver(&one, &messages, 1), &bench),
                (other.deliver(&two, &messages, 2), &other),
            )
            .await;
            if !first_paused {
                break 'first;
            }
            pairs += 1;
            let what = format!("before calls {first_call} and {second_call}");
            bench.wire.reset();
            // A message that is reported as failed is redelivered.
            for failed in [failed_of(&first, &messages), failed_of(&second, &messages)] {
                let again = bench.deliver(&bench.executor(), &failed, 3).await;
                assert!(failed_of(&again, &failed).is_empty(), "{what}");
            }
            check(&bench, &what).await;
            if !second_paused {
                break;
            }
        }
    }
    assert!(pairs >= 16, "{pairs}");
}
