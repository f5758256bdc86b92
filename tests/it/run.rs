//! Runs: results, actions, and failures that must not affect other runs.

use std::{collections::BTreeSet, thread, time::Duration};

use aias_domain::run::Status;
use aias_sandbox::Sandbox;
use aias_tests::{
    bench::{Bench, WORKFLOW, json_of},
    client::{Client, definition, random_text, send},
};
use serde_json::json;

#[tokio::test]
async fn poisoned_message_does_not_affect_batch() {
    let bench = Bench::new().await;
    let app = bench.ingest();
    for n in 0..10 {
        let answer = bench
            .post(
                &app,
                &format!("evt_{n}"),
                &format!(r#"{{"id": "ord_{n}"}}"#),
            )
            .await;
        assert_eq!(answer.status_code, 202);
    }
    let messages = bench.messages().await;
    assert_eq!(messages.len(), 10);
    // A run whose executor died: started twice, never ended.
    let store = bench.store();
    let own = bench.tenant(&store);
    let poisoned = bench.runs().await[4].id;
    for _ in 0..3 {
        let mut read = own.run(poisoned).await.unwrap().unwrap();
        read.run = read.run.start(1, bench.now()).unwrap();
        own.save_run(&read).await.unwrap();
    }
    // Another message, as sent by a provider's retry, does not indicate a death.
    let response = bench.deliver(&bench.executor(), &messages, 1).await;
    assert!(response.batch_item_failures.is_empty());
    let of =
        |runs: Vec<aias_domain::run::Run>| runs.into_iter().find(|run| run.id == poisoned).unwrap();
    assert_eq!(of(bench.runs().await).status, Status::Running);
    let response = bench.deliver(&bench.executor(), &messages, 4).await;
    assert!(response.batch_item_failures.is_empty());
    let runs = bench.runs().await;
    let with = |status| runs.iter().filter(|run| run.status == status).count();
    assert_eq!((with(Status::Completed), with(Status::Faulted)), (9, 1));
    let faulted = runs.iter().find(|run| run.id == poisoned).unwrap();
    assert_eq!(faulted.error.as_ref().unwrap().code, "executor-ended");
}

#[tokio::test]
async fn inline_artifact_can_be_downloaded() {
    let bench = Bench::new().await;
    let text = "a".repeat(2_000);
    for (inline_bytes, puts) in [(4_096, 0), (100, 1)] {
        let app = bench.ingest();
        let body = json!({"id": format!("ord_{inline_bytes}{text}")}).to_string();
        let event = format!("evt_{inline_bytes}");
        assert_eq!(bench.post(&app, &event, &body).await.status_code, 202);
        let messages = bench.messages().await;
        bench.wire.reset();
        let executor = bench.executor().with_inline_artifacts(inline_bytes);
        bench.deliver(&executor, &messages, 1).await;
        let put = |calls: Vec<String>| calls.iter().filter(|call| *call == "S3.PUT").count();
        assert_eq!(put(bench.wire.calls()), puts);
        let run = bench.runs().await.into_iter().next().unwrap();
        assert_eq!(run.status, Status::Completed);
        let path = format!("/api/artifacts/{}", run.artifacts[0].id);
        let artifact = bench.request("artifacts", "GET", &path, &json!(null)).await;
        let preview = json_of(&artifact)["preview"].as_str().unwrap().to_owned();
        assert!(preview.contains(&text), "{preview}");
        // Twice, since downloads may be repeated.
        for _ in 0..2 {
            let path = format!("{path}/download");
            let answer = bench.request("artifacts", "GET", &path, &json!(null)).await;
            assert_eq!(answer.status_code, 302);
            let mut file = ureq::get(&answer.headers["location"]).call().unwrap();
            let bytes = file.body_mut().read_to_vec().unwrap();
            assert_eq!(String::from_utf8(bytes).unwrap(), preview);
        }
    }
}

#[test]
fn endless_run_is_faulted_and_others_complete() {
    let client = Client::new();
    let spin = client.workflow(&json!([{"spin": {"set": {"x": "${ def f: f; f }"}}}]));
    let good = client.workflow(&json!([{"a": {"set": {"x": 1}}}]));
    let execute = |id: &str| {
        client
            .post(
                "/api/workflows/execute",
                &json!({"workflow_id": id, "input": 1}),
            )
            .expect(202)
            .text("run_id")
    };
    let spinning = execute(&spin);
    let others: Vec<String> = (0..9).map(|_| execute(&good)).collect();
    for run in &others {
        assert_eq!(client.ended(run)["status"], "completed");
    }
    let run = client.ended_within(&spinning, Duration::from_secs(60));
    assert_eq!(
        (run["status"].as_str(), run["error"]["code"].as_str()),
        (Some("faulted"), Some("cpu-limit")),
        "{run}"
    );
    assert_eq!(client.ended(&execute(&good))["status"], "completed");
}

#[tokio::test]
async fn run_without_an_engine_is_executed_by_another_executor() {
    let bench = Bench::new().await;
    bench.post(&bench.ingest(), "evt_1", r#"{"id": 1}"#).await;
    let messages = bench.messages().await;
    let missing = Sandbox::new("/nowhere".into());
    let without = bench.executor_in(missing);
    let response = bench.deliver(&without, &messages, 1).await;
    assert_eq!(response.batch_item_failures.len(), 1);
    bench.deliver(&bench.executor(), &messages, 2).await;
    assert_eq!(bench.runs().await[0].status, Status::Completed);
}

#[tokio::test]
async fn dead_lettered_run_is_faulted() {
    let bench = Bench::new().await;
    bench.post(&bench.ingest(), "evt_1", r#"{"id": 1}"#).await;
    let messages = bench.messages().await;
    for _ in 0..2 {
        let event = reconciler::Event::Dead(bench.batch(&messages, 6));
        assert!(
            reconciler::handle(&bench.reconciler(), event)
                .await
                .unwrap()
                .batch_item_failures
                .is_empty()
        );
        let runs = bench.runs().await;
        assert_eq!(runs[0].error.as_ref().unwrap().code, "dead-letter");
        assert_eq!(bench.log(&runs[0]).await.len(), 1);
    }
    // The run can be retried.
    let event = format!(
        r#"{{"rawPath": "/api/runs/{}/retry", "headers": {{"authorization": "Bearer aias_01JD3V4ZK8QW5R7T9X1B3C5D7F_{}"}},
            "requestContext": {{"http": {{"method": "POST"}}}}}}"#,
        bench.runs().await[0].id,
        "B".repeat(43)
    );
    assert_eq!(bench.respond_to("runs", &event).await.status_code, 202);
    let messages = bench.messages().await;
    bench.deliver(&bench.executor(), &messages, 1).await;
    let run = &bench.runs().await[0];
    assert_eq!((run.status, run.retries), (Status::Completed, 1));
    let numbers: Vec<u32> = bench.log(run).await.iter().map(|e| e.seq).collect();
    assert_eq!(numbers, (0..13).collect::<Vec<_>>());
    let again = bench.respond_to("runs", &event).await;
    assert_eq!(
        (again.status_code, json_of(&again)["code"].as_str()),
        (409, Some("run-not-faulted"))
    );
}

#[tokio::test]
async fn batch_without_time_passes_runs_on() {
    let bench = Bench::new().await;
    bench.post(&bench.ingest(), "evt_1", r#"{"id": 1}"#).await;
    let messages = bench.messages().await;
    let soon = std::time::SystemTime::now() + Duration::from_secs(5);
    let response = executor::handle(&bench.executor(), bench.batch(&messages, 1), soon).await;
    assert!(response.batch_item_failures.is_empty());
    assert_eq!(bench.runs().await[0].status, Status::Pending);
    assert_eq!(bench.messages().await, messages);
}

#[tokio::test]
async fn cancelled_run_stays_cancelled() {
    let bench = Bench::new().await;
    bench.post(&bench.ingest(), "evt_1", r#"{"id": 1}"#).await;
    let messages = bench.messages().await;
    let store = bench.store();
    let own = bench.tenant(&store);
    let mut read = own.run(bench.runs().await[0].id).await.unwrap().unwrap();
    read.run = read.run.cancel(bench.now()).unwrap();
    own.save_run(&read).await.unwrap();
    assert!(
        bench
            .deliver(&bench.executor(), &messages, 1)
            .await
            .batch_item_failures
            .is_empty()
    );
    assert_eq!(bench.runs().await[0].status, Status::Cancelled);
}

#[test]
fn run_is_executed_awaited_and_replayed() {
    let client = Client::new();
    let id = client.workflow(&json!([{"sum": {"set": {"sum": "${ .a + .b }"}}}]));
    let path = format!("/api/workflows/{id}/execute");
    let body = json!({"input": {"a": 1, "b": 2}}).to_string();
    let headers = [("content-type", "application/json"), ("prefer", "wait=20")];
    let run = client
        .call("POST", &path, &headers, body.as_bytes())
        .expect(200);
    assert_eq!(run.header("preference-applied"), "wait=20");
    let run = run.json();
    assert_eq!(
        (run["status"].as_str(), run["trigger"]["type"].as_str()),
        (Some("completed"), Some("api"))
    );
    assert_eq!(client.download(&run), b"{\"sum\":3}");
    let run_id = run["id"].as_str().unwrap();
    assert_eq!(
        client.get(&format!("/api/runs/{run_id}/input")).json(),
        json!({"a": 1, "b": 2})
    );
    let log = client.get(&format!("/api/runs/{run_id}/logs")).json();
    let events: Vec<&str> = log["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|e| e["event"].as_str().unwrap())
        .collect();
    assert_eq!(events, ["run.started", "task.completed", "run.completed"]);
    assert_eq!(log["data"][2]["output_digest"], run["output_digest"]);

    // After a new version, a replay can run the old one.
    let next = definition(&json!([{"sum": {"set": {"product": "${ .a * .b }"}}}]));
    client
        .json(
            "PUT",
            &format!("/api/workflows/{id}"),
            &json!({"definition": next}),
        )
        .expect(200);
    let replay = |body| {
        client
            .post(&format!("/api/runs/{run_id}/replay"), &body)
            .expect(202)
            .text("run_id")
    };
    let newest = client.ended(&replay(json!({})));
    assert_eq!(client.download(&newest), b"{\"product\":2}");
    assert_eq!(
        newest["trigger"],
        json!({"type": "replay", "replay_of": run_id})
    );
    let same = client.ended(&replay(json!({"workflow_version": 1})));
    assert_eq!(same["output_digest"], run["output_digest"]);
    assert_eq!(same["input_digest"], run["input_digest"]);
    client
        .post(
            &format!("/api/runs/{run_id}/replay"),
            &json!({"workflow_version": 3}),
        )
        .expect(400);

    client
        .post(&format!("/api/runs/{run_id}/cancel"), &json!({}))
        .expect(409);
    client
        .post(&format!("/api/runs/{run_id}/retry"), &json!({}))
        .expect(409);
}

#[test]
fn fault_has_detail_and_instance() {
    let client = Client::new();
    let id = client.workflow(&json!([{"no": {"raise": {"error": {
        "type": "https://example.com/full", "status": 507, "title": "Full", "detail": "${ \"no room for \" + .what }",
    }}}}]));
    let run = client
        .post(
            &format!("/api/workflows/{id}/execute"),
            &json!({"input": {"what": "milk"}}),
        )
        .expect(202);
    let run = client.ended(&run.text("run_id"));
    assert_eq!(
        run["error"],
        json!({"code": "raised", "type": "https://example.com/full", "title": "Full", "status": 507,
               "detail": "no room for milk", "instance": "/do/0/no"})
    );
    assert_eq!(run["artifacts"], json!([]));
    let text = client.workflow(&json!([{"t": {"set": "${ \"plain text\" }"}}]));
    let run = client
        .post(
            &format!("/api/workflows/{text}/execute"),
            &json!({"input": 1}),
        )
        .expect(202);
    let run = client.ended(&run.text("run_id"));
    assert_eq!(client.download(&run), b"plain text");
    assert_eq!(run["artifacts"][0]["name"], "output.txt");
}

#[test]
fn long_run_is_running_and_keeps_log() {
    let client = Client::new();
    // 4,000 steps, slow enough to be observed.
    let slow = json!([{"l": {"for": {"in": "[range(4000)]"}, "do": [{"s": {"set": {"n": "${ [limit(400; repeat(1))] | add }"}}}]}}]);
    let id = client.workflow(&slow);
    let run = client
        .post(
            &format!("/api/workflows/{id}/execute"),
            &json!({"input": {}}),
        )
        .expect(202)
        .text("run_id");
    let ended = client.ended_within(&run, Duration::from_secs(60));
    assert_eq!(ended["status"], "completed", "{ended}");
    let (mut next, mut seq) = (String::new(), 0);
    loop {
        let page = client
            .get(&format!("/api/runs/{run}/logs?limit=100{next}"))
            .expect(200)
            .json();
        for entry in page["data"].as_array().unwrap() {
            assert_eq!(entry["seq"], seq);
            seq += 1;
        }
        match page["next_cursor"].as_str() {
            Some(cursor) => next = format!("&cursor={cursor}"),
            None => break,
        }
    }
    assert_eq!(seq, 4_003);
}

#[test]
fn lists_are_paged_newest_first() {
    let client = Client::new();
    let id = client.workflow(&json!([{"a": {"set": {"x": 1}}}]));
    let path = format!("/api/workflows/{id}/execute");
    let mut made: Vec<String> = (0..7)
        .map(|n| {
            client
                .post(&path, &json!({"input": n}))
                .expect(202)
                .text("run_id")
        })
        .collect();
    made.iter().for_each(|run| drop(client.ended(run)));
    made.sort();
    made.reverse();
    for list in [
        "/api/runs?status=completed&",
        "/api/runs?",
        "/api/artifacts?",
    ] {
        let (mut seen, mut cursor) = (Vec::new(), String::new());
        loop {
            let page = client
                .get(&format!("{list}limit=3{cursor}"))
                .expect(200)
                .json();
            let data = page["data"].as_array().unwrap();
            assert!(data.len() <= 3);
            let id = if list.contains("artifacts") {
                "run_id"
            } else {
                "id"
            };
            seen.extend(
                data.iter()
                    .map(|item| item[id].as_str().unwrap().to_owned()),
            );
            match page["next_cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => break,
            }
        }
        assert_eq!(seen, made, "{list}");
    }
    let cursor = client.get("/api/runs?limit=3").json()["next_cursor"]
        .as_str()
        .unwrap()
        .to_owned();
    let other = Client::new();
    for (client, query) in [
        (&client, format!("limit=3&status=faulted&cursor={cursor}")),
        (&client, format!("limit=3&cursor={cursor}x")),
        (&client, "cursor=bm9uc2Vuc2U".to_owned()),
        (&client, "limit=0".to_owned()),
        (&client, "limit=101".to_owned()),
        (&client, "status=done".to_owned()),
        (&client, "colour=red".to_owned()),
        (&other, format!("limit=3&cursor={cursor}")),
    ] {
        client.get(&format!("/api/runs?{query}")).expect(400);
    }
    assert_eq!(
        client.get("/api/runs?status=faulted").json()["data"],
        json!([])
    );
    assert_eq!(
        client.get(&format!("/api/runs?workflow_id={id}")).json()["data"]
            .as_array()
            .unwrap()
            .len(),
        7
    );
}

#[tokio::test]
async fn event_for_disabled_workflow_can_be_retried() {
    let bench = Bench::new().await;
    let store = bench.store();
    let own = bench.tenant(&store);
    let mut head = own
        .workflow(WORKFLOW.parse().unwrap())
        .await
        .unwrap()
        .unwrap();
    head.value.enabled = false;
    own.save_workflow(&head, None, &[]).await.unwrap();
    assert_eq!(
        bench.post(&bench.ingest(), "evt_1", "{}").await.status_code,
        202
    );
    let messages = bench.messages().await;
    bench.deliver(&bench.executor(), &messages, 1).await;
    let run = &bench.runs().await[0];
    assert_eq!(run.error.as_ref().unwrap().code, "workflow-disabled");
}

#[test]
fn health_lists_dependencies() {
    let client = Client::new();
    let answer = send(
        "GET",
        &format!("{}/api/health", client.stack.url()),
        &[],
        b"",
    )
    .expect(200);
    assert_eq!(
        answer.json()["checks"],
        json!({"store": "ok", "queue": "ok", "blobs": "ok", "secrets": "ok"})
    );
}

/// Both store the same object.
#[test]
fn equal_large_inputs_at_once_are_two_runs() {
    let client = Client::new();
    let workflow = client.workflow(&json!([{"size": {"set": {"size": "${ .text | length }"}}}]));
    let path = format!("/api/workflows/{workflow}/execute");
    let input = json!({"input": {"text": random_text(200_000)}});
    let runs: Vec<String> = thread::scope(|scope| {
        let execute = || client.post(&path, &input).expect(202).text("run_id");
        let at_once: Vec<_> = (0..4).map(|_| scope.spawn(execute)).collect();
        at_once.into_iter().map(|run| run.join().unwrap()).collect()
    });
    assert_eq!(runs.iter().collect::<BTreeSet<_>>().len(), 4);
    for run in runs {
        let ended = client.ended(&run);
        assert_eq!(ended["status"], "completed", "{ended}");
    }
}
