//! Events beyond the monthly run quota: suspended and resumed.

use std::time::Duration;

use aias_domain::{
    plan::{self, PlanName, RATE_SECONDS},
    run::{Status, Trigger},
};
use aias_testkit::wire::Side;
use aias_tests::{
    bench::{Bench, WORKFLOW, json_of},
    client::{Client, send},
};
use serde_json::{Value, json};

/// Posts events until one is refused. Returns the ids of the runs in order.
async fn flood(bench: &Bench, from: usize, to: usize) -> Vec<String> {
    let app = bench.ingest();
    let mut seen = Vec::new();
    for n in from..to {
        bench.clock.advance(Duration::from_millis(5));
        let response = bench
            .post(&app, &format!("evt_{n}"), &format!(r#"{{"id": "{n}"}}"#))
            .await;
        let what = json_of(&response);
        let what = what
            .get("status")
            .filter(|s| s.is_string())
            .or_else(|| what.get("code"));
        seen.push(format!(
            "{} {}",
            response.status_code,
            what.unwrap().as_str().unwrap()
        ));
    }
    seen
}

/// Executes all queued runs. Returns the event ids in the order of their messages.
async fn executed(bench: &Bench) -> Vec<String> {
    let messages = bench.messages().await;
    let store = bench.store();
    let own = bench.tenant(&store);
    let mut order = Vec::new();
    for message in &messages {
        let id = serde_json::from_str::<Value>(message).unwrap()["run_id"]
            .as_str()
            .unwrap()
            .to_owned();
        bench
            .deliver(&bench.executor(), std::slice::from_ref(message), 1)
            .await;
        let run = own.run(id.parse().unwrap()).await.unwrap().unwrap();
        assert_eq!(run.run.status, Status::Completed);
        if let Trigger::Webhook { event_id, .. } = run.run.trigger {
            order.extend(event_id);
        }
    }
    order
}

#[tokio::test]
async fn suspended_runs_resume_next_month() {
    let bench = Bench::new().await;
    bench
        .enterprise(&json!({"runs_per_month": 2, "suspended_runs": 3}))
        .await;
    assert_eq!(
        flood(&bench, 0, 7).await,
        [
            "202 pending",
            "202 pending",
            "202 suspended",
            "202 suspended",
            "202 suspended",
            "429 runs-exhausted",
            "429 runs-exhausted"
        ]
    );
    // A duplicate of a suspended event is a duplicate.
    let again = bench.post(&bench.ingest(), "evt_3", r#"{"id": "3"}"#).await;
    assert_eq!(
        (again.status_code, json_of(&again)["status"].clone()),
        (200, json!("suspended"))
    );
    // A refused event was not stored, so its id can be used again.
    assert_eq!(executed(&bench).await, ["evt_0", "evt_1"]);
    bench.wake().await;
    assert_eq!(executed(&bench).await, [""; 0], "the month has not ended");
    // A run requested by a caller is refused.
    let refused = bench
        .request(
            "workflows",
            "POST",
            "/api/workflows/execute",
            &json!({"workflow_id": WORKFLOW}),
        )
        .await;
    assert_eq!(
        (refused.status_code, json_of(&refused)["feature"].clone()),
        (402, json!("runs"))
    );
    let turn = plan::month_end(bench.now()).duration_since(bench.now());
    bench.clock.advance(turn.unsigned_abs());
    bench.wake().await;
    // The quota of the new month allows two, the oldest; the third waits for the following month.
    assert_eq!(executed(&bench).await, ["evt_2", "evt_3"]);
    bench.wake().await;
    assert_eq!(executed(&bench).await, [""; 0]);
    bench.clock.advance(Duration::from_secs(31 * 86_400));
    bench.wake().await;
    assert_eq!(executed(&bench).await, ["evt_4"]);
    let store = bench.store();
    let own = bench.tenant(&store);
    assert_eq!(
        own.task_schedule(aias_platform::store::Task::Resume)
            .await
            .unwrap(),
        None
    );
    let november = "2026-11-21T00:00:00Z".parse().unwrap();
    let usage = own.usage(&PlanName::Enterprise.limits(), november).await;
    assert_eq!(usage.unwrap().suspended, 0);
}

#[tokio::test]
async fn suspended_runs_resume_at_plan_rate_after_upgrade() {
    let bench = Bench::new().await;
    bench
        .enterprise(&json!({"runs_per_month": 1, "suspended_runs": 30}))
        .await;
    assert_eq!(flood(&bench, 0, 26).await[25], "202 suspended");
    assert_eq!(executed(&bench).await.len(), 1);
    // One a second is ten in a window.
    bench
        .enterprise(&json!({"runs_per_month": 100, "events_per_second": 1}))
        .await;
    let mut order = Vec::new();
    // The first window also has the original events.
    for expected in [0, 10, 10, 5, 0] {
        bench.wake().await;
        let some = executed(&bench).await;
        assert_eq!(some.len(), expected, "{order:?}");
        order.extend(some);
        bench.wake().await;
        assert_eq!(
            executed(&bench).await.len(),
            0,
            "the event rate of the window is used up"
        );
        bench.clock.advance(Duration::from_secs(RATE_SECONDS));
    }
    let wanted: Vec<String> = (1..26).map(|n| format!("evt_{n}")).collect();
    assert_eq!(order, wanted);
}

#[tokio::test]
async fn crash_while_resuming_suspended_runs_loses_none() {
    for number in 0.. {
        let bench = Bench::new().await;
        // Not at the start of an hour, when missed tasks are searched as well.
        bench.clock.advance(Duration::from_secs(300));
        bench
            .enterprise(&json!({"runs_per_month": 0, "suspended_runs": 3}))
            .await;
        assert_eq!(flood(&bench, 0, 3).await, ["202 suspended"; 3]);
        bench.enterprise(&json!({"runs_per_month": 100})).await;
        bench.wire.reset();
        bench.wire.break_beside_queries_at(number, Side::After);
        bench.wake().await;
        let broken = bench.wire.is_broken();
        bench.wire.reset();
        bench.expire_lease().await;
        bench.wake().await;
        // A message may be sent twice, but a run is executed once.
        let messages = bench.messages().await;
        for message in &messages {
            bench
                .deliver(&bench.executor(), std::slice::from_ref(message), 1)
                .await;
        }
        let runs = bench.runs().await;
        assert!(
            runs.iter().all(|run| run.status == Status::Completed),
            "call {number}: {runs:?}"
        );
        assert!((3..=4).contains(&messages.len()), "call {number}");
        let store = bench.store();
        assert!(
            bench
                .tenant(&store)
                .suspended_runs(10)
                .await
                .unwrap()
                .is_empty()
        );
        if !broken {
            assert!(number > 15);
            break;
        }
    }
}

#[tokio::test]
async fn crash_while_suspending_is_completed_by_retry() {
    for side in [Side::Before, Side::After] {
        for number in 0.. {
            let bench = Bench::new().await;
            let what = format!("{side:?} call {number}");
            bench
                .enterprise(&json!({"runs_per_month": 0, "suspended_runs": 30}))
                .await;
            bench.wire.reset();
            bench.wire.break_at(number, side);
            let first = bench.post(&bench.ingest(), "evt_1", "{}").await;
            let broken = bench.wire.is_broken();
            bench.wire.reset();
            assert_eq!(
                first.status_code,
                if broken { 503 } else { 202 },
                "{what}: {}",
                first.body
            );
            let second = bench.post(&bench.ingest(), "evt_1", "{}").await;
            assert!(
                [200, 202].contains(&second.status_code),
                "{what}: {}",
                second.body
            );
            assert_eq!(bench.runs().await.len(), 1, "{what}");
            bench.enterprise(&Value::Null).await;
            bench.wake().await;
            assert_eq!(executed(&bench).await, ["evt_1"], "{what}");
            if !broken {
                break;
            }
        }
    }
}

#[tokio::test]
async fn suspended_run_can_be_cancelled() {
    let bench = Bench::new().await;
    bench
        .enterprise(&json!({"runs_per_month": 0, "suspended_runs": 3}))
        .await;
    flood(&bench, 0, 2).await;
    let run = bench.runs().await[0].id;
    let path = format!("/api/runs/{run}/cancel");
    let cancelled = bench.request("runs", "POST", &path, &Value::Null).await;
    assert_eq!(json_of(&cancelled)["status"], "cancelled");
    // Its place is free at once.
    let store = bench.store();
    let own = bench.tenant(&store);
    let suspended = async || {
        let usage = own.usage(&PlanName::Enterprise.limits(), bench.now()).await;
        usage.unwrap().suspended
    };
    assert_eq!(suspended().await, 1);
    bench.enterprise(&Value::Null).await;
    bench.wake().await;
    assert_eq!(executed(&bench).await, ["evt_0"]);
    assert_eq!(suspended().await, 0);
}

const INVOKE: &str = "
import sys, boto3
client = boto3.client('lambda', endpoint_url=sys.argv[1], region_name='us-east-1',
                      aws_access_key_id='test', aws_secret_access_key='test')
response = client.invoke(FunctionName=sys.argv[2], Payload=sys.argv[3].encode())
print(response.get('FunctionError', 'done'), response['Payload'].read().decode())
";

#[test]
fn deployed_stack_suspends_and_resumes_runs() {
    let client = Client::new();
    let invoke = |event: &Value| {
        let name = client.stack.output("ReconcilerFunctionName");
        let event = event.to_string();
        client
            .stack
            .python(INVOKE, &[client.stack.url(), name, &event])
    };
    let give = |limits: &Value| {
        invoke(&json!({"enterprise": {"tenant_id": client.tenant, "limits": limits}}))
    };
    assert!(give(&json!({"runs_per_month": 1, "suspended_runs": 2})).starts_with("done"));
    assert!(
        !give(&json!({"runs_a_month": 1})).starts_with("done"),
        "a wrong member is reported"
    );
    let workflow = client.workflow(&json!([{"a": {"set": {"x": 1}}}]));
    let url = client.endpoint(&workflow, &json!({"scheme": "none"}))["url"].clone();
    let post = || {
        let headers = [("content-type", "application/json")];
        let response = send("POST", url.as_str().unwrap(), &headers, b"{}");
        let body = response.json();
        let what = body
            .get("status")
            .filter(|s| s.is_string())
            .or_else(|| body.get("code"));
        (
            response.status,
            what.unwrap().clone(),
            body["run_id"].clone(),
        )
    };
    let all: Vec<_> = (0..4).map(|_| post()).collect();
    let reported: Vec<_> = all
        .iter()
        .map(|(status, what, _)| (*status, what.as_str().unwrap()))
        .collect();
    assert_eq!(
        reported,
        [
            (202, "pending"),
            (202, "suspended"),
            (202, "suspended"),
            (429, "runs-exhausted")
        ]
    );
    let held = client.get("/api/runs?status=suspended").expect(200).json();
    assert_eq!(held["data"].as_array().unwrap().len(), 2);
    assert!(give(&json!({})).starts_with("done"));
    let schedule = json!({"detail-type": "Scheduled Event", "source": "aws.events"});
    assert!(invoke(&schedule).starts_with("done"));
    for (_, _, run) in &all[..3] {
        assert_eq!(client.ended(run.as_str().unwrap())["status"], "completed");
    }
}
