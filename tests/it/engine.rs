//! The engine in the deployed stack: calls, waits, other workflows, events, `verify` and `test`,
//! with the functions' binaries and roles.

use std::time::Duration;

use aias_tests::{client::Client, hosts};
use serde_json::{Value, json};

fn execute(client: &Client, workflow: &str, input: &Value) -> String {
    let body = json!({"workflow_id": workflow, "input": input});
    let response = client.post("/api/workflows/execute", &body);
    response.expect(202).text("run_id")
}

fn output(client: &Client, run: &Value) -> Value {
    assert_eq!(run["status"], "completed", "{run}");
    serde_json::from_slice(&client.download(run)).unwrap()
}

#[test]
fn run_with_effects_is_verifiable() {
    let client = Client::new();
    let (hosts, url) = hosts::start();
    let tasks = json!([
        {"order": {
            "call": "http",
            "with": {"method": "post", "endpoint": format!("{url}/echo/{{id}}"), "body": {"big": "${ [range(9000)] }"}},
            "output": {"as": {"size": "${ .body.big | length }"}},
        }},
        {"pause": {"wait": {"seconds": 3}}},
        {"both": {"fork": {"branches": [
            {"flaky": {"try": [{"call": {"call": "http", "with": {"method": "get", "endpoint": format!("{url}/flaky/1/{}", client.tenant)}}}], "catch": {"retry": {"delay": {"seconds": 1}, "limit": {"attempt": {"count": 3}}}}}},
            {"size": {"set": {"size": "${ .size }"}}},
        ]}}},
        {"tell": {"emit": {"event": {"with": {"source": "https://shop.example", "type": "order.done", "data": "${ . }"}}}}},
    ]);
    let workflow = client.workflow(&tasks);
    let id = execute(&client, &workflow, &json!({"id": "o 1"}));
    let run = client.ended_within(&id, Duration::from_secs(60));
    assert_eq!(
        output(&client, &run)["data"],
        json!([{"attempt": 2}, {"size": 9000}])
    );
    assert!(run["duration_ms"].as_u64().unwrap() >= 4_000, "{run}");
    let seen = hosts.seen("/echo/o%201");
    assert_eq!(seen.len(), 1);
    assert!(seen[0].header("idempotency-key").starts_with(&id));

    let verdict = client.post(&format!("/api/runs/{id}/verify"), &Value::Null);
    let verdict = verdict.expect(200).json();
    assert_eq!(verdict["reproducible"], true, "{verdict}");
    let events = client
        .get(&format!("/api/runs/{id}/events"))
        .expect(200)
        .json();
    assert_eq!(events["data"][0]["type"], "order.done");
    assert_eq!(events["next_cursor"], Value::Null);
    let logs = client
        .get(&format!("/api/runs/{id}/logs?limit=100"))
        .expect(200)
        .json();
    let reported: Vec<_> = logs["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|e| e["event"].as_str().unwrap())
        .collect();
    assert_eq!(
        reported.first().zip(reported.last()),
        Some((&"run.started", &"run.completed"))
    );
    assert!(
        reported.contains(&"task.started") && reported.contains(&"task.retried"),
        "{reported:?}"
    );
}

#[test]
fn parent_continues_after_child() {
    let client = Client::new();
    let child = json!([{"w": {"wait": {"seconds": 3}}}, {"a": {"set": {"n": "${ $workflow.input.n + 1 }"}}}]);
    let _ = client.workflow(&child);
    let head = client.get("/api/workflows").expect(200).json()["data"][0].clone();
    let tasks = json!([
        {"a": {"run": {"workflow": {"namespace": head["namespace"], "name": head["name"], "version": "1.0.0", "input": {"n": 1}}}}},
        {"b": {"set": {"got": "${ . }"}}},
    ]);
    let definition = json!({
        "document": {"dsl": "1.0.3", "namespace": "test", "name": "parent", "version": "1.0.0"},
        "do": tasks,
    });
    let parent = client
        .post("/api/workflows", &json!({"definition": definition}))
        .expect(201)
        .text("id");
    let id = execute(&client, &parent, &json!({}));
    let run = client.ended_within(&id, Duration::from_secs(60));
    assert_eq!(output(&client, &run), json!({"got": {"n": 2}}));
    let child = run["children"][0]["run_id"].as_str().unwrap();
    let child = client.get(&format!("/api/runs/{child}")).expect(200).json();
    assert_eq!(child["trigger"]["parent_run_id"], id.as_str());
}

#[test]
fn non_public_address_is_refused_and_run_can_be_retried() {
    let client = Client::new();
    let (hosts, url) = hosts::start();
    let tasks = json!([
        {"a": {"call": "http", "with": {"method": "get", "endpoint": format!("{url}/echo/first")}}},
        {"b": {"call": "http", "with": {"method": "get", "endpoint": "http://169.254.169.254/latest/meta-data"}}},
    ]);
    let workflow = client.workflow(&tasks);
    let id = execute(&client, &workflow, &json!({}));
    let run = client.ended(&id);
    assert_eq!(
        (run["status"].as_str(), run["error"]["status"].as_u64()),
        (Some("faulted"), Some(403))
    );
    client
        .post(&format!("/api/runs/{id}/retry"), &Value::Null)
        .expect(202);
    let run = client.ended(&id);
    assert_eq!(run["error"]["code"], "communication");
    assert_eq!(hosts.seen("/echo/first").len(), 1);
}

#[test]
fn dry_run_uses_supplied_responses() {
    let client = Client::new();
    let tasks = json!([{"a": {"call": "http", "with": {"method": "get", "endpoint": "https://api.example/{id}"}, "output": {"as": ".name"}}}]);
    let workflow = client.workflow(&tasks);
    let path = format!("/api/workflows/{workflow}/test");
    let body = json!({"input": {"id": 1}, "responses": {"/do/0/a": {"name": "Rex"}}});
    let reported = client.post(&path, &body).expect(200).json();
    assert_eq!(
        (&reported["status"], &reported["output"]),
        (&json!("completed"), &json!("Rex"))
    );
    let reported = client.post(&path, &json!({"input": {}})).expect(200).json();
    assert_eq!(reported["error"]["detail"], "the input has no `id`");
    assert_eq!(
        client.get("/api/runs").expect(200).json()["data"],
        json!([])
    );
}
