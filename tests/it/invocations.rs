//! Runs that do not fit into one invocation of the executor.

use std::time::Duration;

use aias_domain::run::Status;
use aias_platform::store::StoredRun;
use aias_testkit::wire::Side;
use aias_tests::bench::{Bench, failed_of, json_of};
use serde_json::{Value, json};

use crate::effects::{define, execute, furnished, get, output_of, run_of, settle, verified};

/// Invocation time in which a call can start, since it may take 30 seconds and the writes 9. A result
/// that arrives 10.25 seconds later leaves less than the 20 seconds that a run may compute.
const SHORT: Duration = Duration::from_millis(39_250);

#[tokio::test]
async fn run_is_passed_on_over_many_invocations() {
    let (bench, hosts, url) = furnished().await;
    let tasks = json!([
        {"l": {"for": {"in": "[range(12)]"}, "do": [{"a": get(&format!("{url}/slow/100"))}]}},
        {"b": {"set": {"done": true}}},
    ]);
    let workflow = define(&bench, "many", tasks).await;
    let id = execute(&bench, &workflow, json!({})).await;
    let mut invocations = 0;
    loop {
        let messages = bench.messages().await;
        if messages.is_empty() {
            break;
        }
        invocations += 1;
        let reported = bench
            .deliver_within(&bench.executor(), &messages, 1, SHORT)
            .await;
        assert!(reported.batch_item_failures.is_empty());
        let run = run_of(&bench, &id).await;
        assert!([Status::Waiting, Status::Completed].contains(&run.status));
    }
    assert!(invocations >= 4, "{invocations}");
    assert_eq!(output_of(&bench, &id).await, json!({"done": true}));
    assert_eq!(hosts.seen("/slow").len(), 12);
    let run = run_of(&bench, &id).await;
    let log = bench.log(&run).await;
    assert_eq!(log.len(), 12 * 2 + 2 + 2);
    assert!(
        log.iter()
            .zip(0..)
            .all(|(entry, number)| entry.seq == number)
    );
    let store = bench.store();
    assert_eq!(bench.tenant(&store).running(5).await.unwrap(), 0);
    println!("the run took {invocations} invocations");
}

/// An executor starts a run and dies.
async fn start_and_die(bench: &Bench, id: &str) {
    let store = bench.store();
    let own = bench.tenant(&store);
    let stored = own.run(id.parse().unwrap()).await.unwrap().unwrap();
    let started = StoredRun {
        run: stored.run.clone().start(1, bench.now()).unwrap(),
        ..stored
    };
    own.start_run(started, 10).await.unwrap().unwrap();
}

/// SQS dead-letters a message after five deliveries, and a redelivered message is the last one of its
/// batch, when there may be no time left for its run.
#[tokio::test]
async fn run_of_a_dead_executor_is_passed_on_until_there_is_time() {
    let (bench, hosts, url) = furnished().await;
    let tasks = json!([{"a": get(&format!("{url}/slow/1"))}, {"b": {"set": {"done": true}}}]);
    let workflow = define(&bench, "short", tasks).await;
    let id = execute(&bench, &workflow, json!({})).await;
    let mut messages = bench.messages().await;
    start_and_die(&bench, &id).await;
    // The first is the message of the dead executor, the others are those that took its place.
    for received in [2, 1, 1, 1, 1, 1] {
        let reported = bench
            .deliver_within(
                &bench.executor(),
                &messages,
                received,
                Duration::from_secs(20),
            )
            .await;
        assert!(reported.batch_item_failures.is_empty());
        messages = bench.messages().await;
        assert_eq!(messages.len(), 1);
    }
    let run = run_of(&bench, &id).await;
    assert_eq!((run.status, run.attempts), (Status::Running, 1));
    assert!(hosts.seen("/slow").is_empty());
    bench.deliver(&bench.executor(), &messages, 1).await;
    assert_eq!(output_of(&bench, &id).await, json!({"done": true}));
    assert_eq!(run_of(&bench, &id).await.attempts, 2);
    // Delivered again, it finds the run ended.
    bench.deliver(&bench.executor(), &messages, 1).await;
    assert_eq!(hosts.seen("/slow").len(), 1);
}

/// The executor that passes the run on dies at any of its calls. Its own message is then delivered
/// again.
#[tokio::test]
async fn run_is_passed_on_by_an_executor_that_dies_at_any_call() {
    for side in [Side::Before, Side::After] {
        for number in 0.. {
            let (bench, hosts, url) = furnished().await;
            let tasks =
                json!([{"a": get(&format!("{url}/slow/1"))}, {"b": {"set": {"done": true}}}]);
            let workflow = define(&bench, "short", tasks).await;
            let id = execute(&bench, &workflow, json!({})).await;
            let messages = bench.messages().await;
            start_and_die(&bench, &id).await;
            bench.wire.reset();
            bench.wire.break_at(number, side);
            let time = Duration::from_secs(20);
            bench
                .deliver_within(&bench.executor(), &messages, 2, time)
                .await;
            let has_died = bench.wire.is_broken();
            bench.wire.reset();
            let mut left = bench.messages().await;
            if has_died {
                left.extend(messages);
            }
            for message in left {
                bench.deliver(&bench.executor(), &[message], 3).await;
            }
            assert_eq!(output_of(&bench, &id).await, json!({"done": true}));
            assert_eq!(hosts.seen("/slow").len(), 1, "{number} {side:?}");
            let store = bench.store();
            assert_eq!(bench.tenant(&store).running(10).await.unwrap(), 0);
            if !has_died {
                assert!(number > 2, "{number}");
                break;
            }
        }
    }
}

/// The executor dies after it has taken its start back, before it sends the new message.
#[tokio::test]
async fn run_whose_start_was_taken_back_is_continued_by_the_old_message() {
    let (bench, hosts, url) = furnished().await;
    let tasks = json!([{"a": get(&format!("{url}/slow/1"))}, {"b": {"set": {"done": true}}}]);
    let workflow = define(&bench, "short", tasks).await;
    let id = execute(&bench, &workflow, json!({})).await;
    let messages = bench.messages().await;
    start_and_die(&bench, &id).await;
    let store = bench.store();
    let own = bench.tenant(&store);
    let started = own.run(id.parse().unwrap()).await.unwrap().unwrap();
    let taken_back = StoredRun {
        run: started.run.clone().take_back_start(),
        ..started
    };
    own.save_run(&taken_back).await.unwrap();
    assert_eq!(run_of(&bench, &id).await.attempts, 0);
    bench.deliver(&bench.executor(), &messages, 2).await;
    assert_eq!(output_of(&bench, &id).await, json!({"done": true}));
    assert_eq!(run_of(&bench, &id).await.attempts, 1);
    assert_eq!(hosts.seen("/slow").len(), 1);
    assert_eq!(own.running(10).await.unwrap(), 0);
}

/// The executor that passes the run on dies before its own message is deleted, so that there are two.
#[tokio::test]
async fn run_passed_on_by_two_messages_completes_once() {
    let (bench, _, url) = furnished().await;
    let tasks = json!([{"a": get(&format!("{url}/slow/300"))}, {"b": {"set": {"done": true}}}]);
    let workflow = define(&bench, "short", tasks).await;
    let id = execute(&bench, &workflow, json!({})).await;
    let mut old = bench.messages().await;
    start_and_die(&bench, &id).await;
    let time = Duration::from_secs(20);
    bench.deliver_within(&bench.executor(), &old, 2, time).await;
    let mut new = bench.messages().await;
    let mut received = 1;
    while !(old.is_empty() && new.is_empty()) {
        let (one, other) = (bench.executor(), bench.executor());
        let (of_old, of_new) = tokio::join!(
            bench.deliver(&one, &old, received + 2),
            bench.deliver(&other, &new, received)
        );
        old = failed_of(&of_old, &old);
        new = failed_of(&of_new, &new);
        received += 1;
        assert!(received < 5, "the run does not end");
    }
    assert_eq!(output_of(&bench, &id).await, json!({"done": true}));
    let run = run_of(&bench, &id).await;
    assert_eq!(run.status, Status::Completed);
    let log = bench.log(&run).await;
    assert!(
        log.iter().zip(0..).all(|(entry, seq)| entry.seq == seq),
        "{log:#?}"
    );
    let store = bench.store();
    assert_eq!(bench.tenant(&store).running(10).await.unwrap(), 0);
}

#[tokio::test]
async fn calls_in_progress_are_not_repeated_when_time_is_short() {
    let (bench, hosts, url) = furnished().await;
    let slow = |ms: u32| get(&format!("{url}/slow/{ms}"));
    let tasks = json!([
        {"f": {"fork": {"branches": [{"a": slow(10_400)}, {"b": slow(11_000)}, {"c": slow(11_600)}]}}},
        {"d": {"set": {"done": true}}},
    ]);
    let workflow = define(&bench, "fork", tasks).await;
    let id = execute(&bench, &workflow, json!({})).await;
    let messages = bench.messages().await;
    let reported = bench
        .deliver_within(&bench.executor(), &messages, 1, SHORT)
        .await;
    assert!(reported.batch_item_failures.is_empty());
    assert_eq!(run_of(&bench, &id).await.status, Status::Waiting);
    settle(&bench).await;
    assert_eq!(output_of(&bench, &id).await, json!({"done": true}));
    assert_eq!(hosts.seen("/slow").len(), 3);
    assert_eq!(verified(&bench, &id).await["reproducible"], true);
}

#[tokio::test]
async fn large_journal_is_continued_in_each_invocation() {
    let (bench, _, url) = furnished().await;
    // 4 results of 3.5 MiB are 14 MiB.
    let bytes = 3_670_016;
    let call = json!({
        "call": "http", "with": {"method": "get", "endpoint": format!("{url}/large/{bytes}")},
        "output": {"as": "length"},
    });
    let tasks = json!([
        {"l": {"for": {"in": "[range(4)]"}, "do": [{"a": call}, {"w": {"wait": {"minutes": 20}}}]}},
    ]);
    let workflow = define(&bench, "large", tasks).await;
    let id = execute(&bench, &workflow, json!({})).await;
    for _ in 0..5 {
        settle(&bench).await;
        if run_of(&bench, &id).await.status.is_terminal() {
            break;
        }
        bench.clock.advance(Duration::from_secs(1_200));
        bench.wake().await;
        tokio::time::sleep(Duration::from_millis(1_200)).await;
    }
    assert_eq!(output_of(&bench, &id).await, json!(bytes));
}

/// Their children would together have more memory than the function, and with one core, neither may
/// wait for the other.
#[tokio::test]
async fn two_large_runs_in_one_executor_end() {
    let (bench, _, url) = furnished().await;
    let call = json!({
        "call": "http", "with": {"method": "get", "endpoint": format!("{url}/large/3670016")},
        "output": {"as": "length"},
    });
    let branches = json!([{"a": call}, {"b": call}]);
    let tasks = json!([
        {"f": {"fork": {"branches": branches}}},
        {"c": {"call": "http", "with": {"method": "get", "endpoint": format!("{url}/slow/300")}, "output": {"as": "3"}}},
    ]);
    let workflow = define(&bench, "large", tasks).await;
    let ids = [
        execute(&bench, &workflow, json!({})).await,
        execute(&bench, &workflow, json!({})).await,
    ];
    let messages = bench.messages().await;
    let executor = bench.executor().with_cores(1);
    let reported = bench.deliver(&executor, &messages, 1).await;
    assert!(reported.batch_item_failures.is_empty());
    settle(&bench).await;
    for id in ids {
        assert_eq!(output_of(&bench, &id).await, json!(3));
    }
}

/// A run that was left to another executor before it computed has not ended its executor.
#[tokio::test]
async fn run_that_waits_for_memory_is_not_started_too_often() {
    let (bench, _, url) = furnished().await;
    let call = json!({
        "call": "http", "with": {"method": "get", "endpoint": format!("{url}/large/3670016")},
        "output": {"as": "length"},
    });
    let slow = get(&format!("${{ \"{url}/slow/\" + (.ms | tostring) }}"));
    let tasks = json!([
        {"f": {"fork": {"branches": [{"a": call}, {"b": call}]}, "output": {"as": "$workflow.input"}}},
        {"w": {"wait": {"minutes": 20}}},
        {"s": slow},
        {"d": {"set": {"done": true}}},
    ]);
    let workflow = define(&bench, "large", tasks).await;
    let first = execute(&bench, &workflow, json!({"ms": 15_000})).await;
    let second = execute(&bench, &workflow, json!({"ms": 1})).await;
    settle(&bench).await;
    bench.clock.advance(Duration::from_secs(1_200));
    bench.wake().await;
    tokio::time::sleep(Duration::from_millis(1_200)).await;
    let (of_first, mut of_second): (Vec<_>, Vec<_>) =
        (bench.messages().await.into_iter()).partition(|message| message.contains(&first));

    // The second run's message is redelivered.
    start_and_die(&bench, &second).await;

    let executor = bench.executor();
    let waits = async {
        tokio::time::sleep(Duration::from_millis(1_500)).await;
        for received in [2, 1, 1, 1] {
            let time = Duration::from_secs(30);
            let reported = bench
                .deliver_within(&executor, &of_second, received, time)
                .await;
            assert!(reported.batch_item_failures.is_empty());
            of_second = bench.messages().await;
            assert_eq!(of_second.len(), 1);
            let run = run_of(&bench, &second).await;
            assert_eq!((run.status, run.attempts), (Status::Running, 1));
        }
    };
    let (reported, ()) = tokio::join!(bench.deliver(&executor, &of_first, 1), waits);
    assert!(reported.batch_item_failures.is_empty());
    assert_eq!(output_of(&bench, &first).await, json!({"done": true}));
    bench.deliver(&executor, &of_second, 1).await;
    assert_eq!(output_of(&bench, &second).await, json!({"done": true}));
    let store = bench.store();
    assert_eq!(bench.tenant(&store).running(10).await.unwrap(), 0);
}

#[tokio::test]
async fn page_of_events_ends_before_the_response_is_too_large() {
    let (bench, _, _) = furnished().await;
    let event = json!({"emit": {"event": {"with": {
        "source": "https://e.example", "type": "large", "data": "${ [range(40000)] }",
    }}}});
    let tasks = json!([{"l": {"for": {"in": "[range(9)]"}, "do": [{"e": event}]}}]);
    let workflow = define(&bench, "large", tasks).await;
    let id = execute(&bench, &workflow, json!({})).await;
    settle(&bench).await;
    assert_eq!(run_of(&bench, &id).await.status, Status::Completed);
    let (mut ids, mut cursor) = (Vec::new(), String::new());
    let mut pages = 0;
    loop {
        let path = format!("/api/runs/{id}/events?limit=100{cursor}");
        let page = bench.request("runs", "GET", &path, &Value::Null).await;
        assert_eq!(page.status_code, 200, "{}", page.body);
        assert!(page.body.len() < 2 * 1024 * 1024, "{}", page.body.len());
        pages += 1;
        let page = json_of(&page);
        let events = page["data"].as_array().unwrap();
        ids.extend(events.iter().map(|event| event["id"].to_string()));
        let Some(next) = page["next_cursor"].as_str() else {
            break;
        };
        cursor = format!("&cursor={next}");
    }
    ids.dedup();
    assert_eq!(ids.len(), 9);
    assert_eq!(pages, 3);
}

#[tokio::test]
async fn dry_run_with_large_data_fits_into_a_response() {
    let (bench, _, _) = furnished().await;
    let event = json!({"emit": {"event": {"with": {
        "source": "https://e.example", "type": "large", "data": "${ [range(40000)] }",
    }}}});
    let tasks = json!([
        {"l": {"for": {"in": "[range(20)]"}, "do": [{"e": event}]}},
        {"s": {"set": "${ [range(250000)] }"}},
    ]);
    let workflow = define(&bench, "large", tasks).await;
    let path = format!("/api/workflows/{workflow}/test");
    let result = bench.request("workflows", "POST", &path, &json!({})).await;
    assert_eq!(result.status_code, 200, "{}", result.body);
    let escaped = serde_json::to_string(&result.body).unwrap();
    assert!(escaped.len() < 6_000_000, "{}", escaped.len());
    let result = json_of(&result);
    assert_eq!(result["status"], "completed");
    assert_eq!(result["truncated"], json!(["/output"]));
    assert!(result["output"].as_str().unwrap().starts_with("[0,1,2,"));
    assert!(
        result["output_digest"]
            .as_str()
            .unwrap()
            .starts_with("sha256:")
    );
}
