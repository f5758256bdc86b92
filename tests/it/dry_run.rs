//! Dry runs.

use aias_tests::{
    bench::json_of,
    client::{Client, definition},
    hosts,
};
use serde_json::{Value, json};

use crate::effects::{define, furnished, get};

const TEST: &str = "/api/workflows/test";

fn call(url: &str) -> Value {
    json!({"call": "http", "with": {"method": "get", "endpoint": url}})
}

fn dry_run(client: &Client, body: &Value) -> Value {
    client.post(TEST, body).expect(200).json()
}

#[test]
fn unsaved_definition_runs_with_a_sequence_of_results() {
    let client = Client::new();
    let tasks = json!([{"t": {
        "try": [{"get": call("https://api.example.com/x")}],
        "catch": {"errors": {"with": {"status": 503}}, "retry": {"delay": {"seconds": 5}, "limit": {"attempt": {"count": 3}}}},
    }}]);
    let error = json!({"error": {"type": "https://serverlessworkflow.io/spec/1.0.0/errors/communication", "status": 503}});
    let body = json!({
        "definition": definition(&tasks),
        "responses": {"/do/0/t/try/0/get": {"sequence": [error, {"statusCode": 503}, {"n": 3}]}},
    });
    let result = dry_run(&client, &body);
    assert_eq!(result["status"], "completed", "{result}");
    assert_eq!(result["output"], json!({"n": 3}));
    let steps = result["steps"].as_array().unwrap();
    let attempts: Vec<_> = steps
        .iter()
        .map(|s| (&s["attempt"], &s["status"]))
        .collect();
    assert_eq!(
        attempts[..3],
        [
            (&json!(1), &json!("faulted")),
            (&json!(2), &json!("faulted")),
            (&json!(3), &json!("completed")),
        ]
    );
    assert_eq!(steps[2]["calls"][0]["result"]["body"], json!({"n": 3}));
    let list = client.get("/api/workflows").expect(200).json();
    assert_eq!(list["data"], json!([]), "nothing is stored");
}

#[test]
fn response_for_an_unknown_task_is_refused() {
    let client = Client::new();
    let body = json!({
        "definition": definition(&json!([{"get": call("https://api.example.com/x")}])),
        "responses": {"/do/0/gett": 1},
    });
    let problem = client.post(TEST, &body).expect(400).json();
    let fault = &problem["errors"][0];
    assert_eq!(fault["pointer"], "/responses/~1do~10~1gett");
    let detail = fault["detail"].as_str().unwrap();
    assert!(detail.contains("did you mean `/do/0/get`?"), "{detail}");
}

#[test]
fn fault_has_line_and_column_and_warning_does_not_refuse() {
    let client = Client::new();
    let yaml = "document: {dsl: '1.0.3', namespace: a, name: b, version: '1.0.0'}\n\
                do:\n  - report:\n      set:\n        total: ${ .a + }\n";
    let problem = client
        .call(
            "POST",
            "/api/workflows",
            &[("content-type", "application/yaml")],
            yaml.as_bytes(),
        )
        .expect(422)
        .json();
    let fault = &problem["errors"][0];
    assert_eq!(fault["pointer"], "/do/0/report/set/total");
    assert_eq!((&fault["line"], &fault["column"]), (&json!(5), &json!(9)));
    let warned = yaml.replace("${ .a + }", ".body.total");
    let created = client
        .call(
            "POST",
            "/api/workflows",
            &[("content-type", "application/yaml")],
            warned.as_bytes(),
        )
        .expect(201);
    let warning = &created.json()["warnings"][0];
    assert_eq!(warning["pointer"], "/do/0/report/set/total");
    assert_eq!(warning["line"], 5);
    // The ETag is that of the workflow, not of this response.
    let path = format!("/api/workflows/{}", created.text("id"));
    assert_eq!(
        client.get(&path).expect(200).header("etag"),
        created.header("etag")
    );
    let body = json!({"definition": definition(&json!([{"a": {"set": {"x": "${ .a"}}}]))});
    let problem = client.post("/api/workflows", &body).expect(422).json();
    assert_eq!(problem["errors"][0]["pointer"], "/definition/do/0/a/set/x");
    assert!(problem["errors"][0]["column"].as_u64().unwrap() > 1);
}

#[test]
fn past_run_supplies_input_and_results() {
    let client = Client::new();
    let (hosts, url) = hosts::start();
    let endpoint = format!("{url}/echo?n=1");
    let tasks = json!([
        {"get": call(&endpoint)},
        {"pick": {"set": {"method": "${ .method }", "input": "${ $workflow.input.n }"}}},
    ]);
    let workflow = client.workflow(&tasks);
    let body = json!({"workflow_id": workflow, "input": {"n": 7}});
    let run = client.post("/api/workflows/execute", &body).expect(202);
    let run = client.ended(&run.text("run_id"));
    assert_eq!(run["status"], "completed", "{run}");
    let id = run["id"].as_str().unwrap();
    let path = format!("/api/workflows/{workflow}/test");
    let again = client
        .post(&path, &json!({"run_id": id}))
        .expect(200)
        .json();
    assert_eq!(
        again["output"],
        json!({"method": "GET", "input": 7}),
        "{again}"
    );
    // A changed definition, in which the task has moved, gets the same result.
    let moved = json!([
        {"first": {"set": {"x": 1}}},
        {"get": call(&endpoint)},
        {"pick": {"set": {"is": "${ .method }"}}},
    ]);
    let body = json!({"definition": definition(&moved), "run_id": id});
    assert_eq!(dry_run(&client, &body)["output"], json!({"is": "GET"}));
    // Another request has no result.
    let other = json!([{"get": call(&format!("{url}/echo?n=2"))}]);
    let body = json!({"definition": definition(&other), "run_id": id});
    let result = dry_run(&client, &body);
    assert_eq!(result["error"]["code"], "no-response");
    assert_eq!(result["steps"][0]["status"], "waiting");
    assert_eq!(hosts.seen("/echo").len(), 1, "a dry run makes no calls");
    let unknown = json!({"run_id": "run_01JD3V4ZK8QW5R7T9X1B3C5D7F"});
    let problem = client.post(&path, &unknown).expect(400).json();
    assert_eq!(problem["errors"][0]["pointer"], "/run_id");
}

#[tokio::test]
async fn dry_run_has_no_side_effects() {
    let (bench, hosts, url) = furnished().await;
    let tasks = json!([
        {"a": get(&format!("{url}/echo"))},
        {"w": {"wait": {"days": 9}}},
        {"t": {"try": [{"b": get(&format!("{url}/echo"))}], "catch": {"do": [{"c": {"emit": {"event": {"with": {"source": "https://e.example", "type": "t", "data": "${ $error.status }"}}}}}]}}},
        {"r": {"run": {"workflow": {"namespace": "n", "name": "w", "version": "latest"}}}},
    ]);
    let workflow = define(&bench, "dry", tasks).await;
    let path = format!("/api/workflows/{workflow}/test");
    let body = json!({"input": {}, "responses": {
        "/do/0/a": {"id": 7},
        "/do/2/t/try/0/b": {"statusCode": 503},
        "/do/3/r": {"made": true},
    }});
    bench.wire.reset();
    let answer = bench.request("workflows", "POST", &path, &body).await;
    assert_eq!(answer.status_code, 200, "{}", answer.body);
    let reported = json_of(&answer);
    assert_eq!(
        (&reported["status"], &reported["output"]),
        (&json!("completed"), &json!({"made": true}))
    );
    assert_eq!(reported["events"][0]["data"], 503);
    assert_eq!(
        reported["logs"].as_array().unwrap().last().unwrap()["event"],
        "run.completed"
    );
    let answer = bench
        .request("workflows", "POST", &path, &json!({"input": {}}))
        .await;
    let reported = json_of(&answer);
    assert_eq!(reported["status"], "faulted");
    assert_eq!(reported["error"]["code"], "no-response");
    assert_eq!(reported["error"]["instance"], "/do/0/a");
    let answer = bench
        .request("workflows", "POST", &path, &json!({"inputs": 1}))
        .await;
    assert_eq!(answer.status_code, 400);
    assert!(hosts.seen("/").is_empty());
    assert!(bench.runs().await.is_empty());
    assert!(bench.wire.write_units().abs() < f64::EPSILON);
}
