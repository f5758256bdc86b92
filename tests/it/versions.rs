//! Versions of a workflow: stored without taking traffic, activated, and pinned by an endpoint.

use aias_tests::client::{Client, definition, send};
use serde_json::{Value, json};

fn tasks(n: u32) -> Value {
    json!([{"a": {"set": {"n": n}}}])
}

fn put(client: &Client, path: &str, n: u32, status: u16) -> Value {
    let body = json!({"definition": definition(&tasks(n))});
    client.json("PUT", path, &body).expect(status).json()
}

fn output(client: &Client, run: &str) -> Value {
    drop(client.ended(run));
    let path = format!("/api/runs/{run}?include=output");
    client.get(&path).expect(200).json()["output"].clone()
}

#[test]
fn equal_definition_does_not_create_a_version() {
    let client = Client::new();
    let path = format!("/api/workflows/{}", client.workflow(&tasks(1)));
    let before = client.get(&path).expect(200).json();
    let same = put(&client, &path, 1, 200);
    assert_eq!(same, before);
    assert_eq!(put(&client, &path, 2, 200)["version"], 2);
    let versions = client.get(&format!("{path}/versions")).expect(200).json();
    assert_eq!(versions["data"].as_array().unwrap().len(), 2);
}

#[test]
fn inactive_version_takes_no_traffic_until_it_is_activated() {
    let client = Client::new();
    let workflow = client.workflow(&tasks(1));
    let path = format!("/api/workflows/{workflow}");
    let endpoint = client.endpoint(&workflow, &json!({"scheme": "none"}));
    let url = endpoint["url"].as_str().unwrap();
    let event = || {
        let sent = send("POST", url, &[("content-type", "application/json")], b"{}");
        output(&client, &sent.expect(202).text("run_id"))
    };
    let stored = put(&client, &format!("{path}?activate=false"), 2, 200);
    assert_eq!(
        (&stored["version"], &stored["active_version"]),
        (&json!(2), &json!(1))
    );
    assert_eq!(event(), json!({"n": 1}));
    let executed = client.post(&format!("{path}/execute"), &json!({}));
    assert_eq!(
        output(&client, &executed.expect(202).text("run_id")),
        json!({"n": 1})
    );
    let active = client.post(&format!("{path}/activate"), &Value::Null);
    assert_eq!(active.expect(200).json()["active_version"], 2);
    assert_eq!(event(), json!({"n": 2}));
    // Rollback.
    let active = client.post(&format!("{path}/activate"), &json!({"version": 1}));
    assert_eq!(active.expect(200).json()["active_version"], 1);
    assert_eq!(event(), json!({"n": 1}));
    let problem = client.post(&format!("{path}/activate"), &json!({"version": 3}));
    assert_eq!(
        problem.expect(400).json()["errors"][0]["pointer"],
        "/version"
    );
    // The newest definition again, this time to be activated.
    assert_eq!(put(&client, &path, 2, 200)["active_version"], 2);
}

#[test]
fn endpoint_can_pin_a_version() {
    let client = Client::new();
    let workflow = client.workflow(&tasks(1));
    let path = format!("/api/workflows/{workflow}");
    put(&client, &path, 2, 200);
    let new =
        |version: u32| json!({"name": "E", "workflow_id": workflow, "workflow_version": version});
    let problem = client.post("/api/webhook-endpoints", &new(3)).expect(400);
    assert_eq!(problem.json()["errors"][0]["pointer"], "/workflow_version");
    let endpoint = client.post("/api/webhook-endpoints", &new(1)).expect(201);
    let (url, id) = (endpoint.text("url"), endpoint.text("id"));
    let event = |url: &str| {
        let sent = send("POST", url, &[("content-type", "application/json")], b"{}");
        output(&client, &sent.expect(202).text("run_id"))
    };
    assert_eq!(event(&url), json!({"n": 1}));
    let place = format!("/api/webhook-endpoints/{id}");
    // Naming the same workflow again keeps the pin.
    let same = client.json("PATCH", &place, &json!({"workflow_id": workflow}));
    assert_eq!(same.expect(200).json()["workflow_version"], 1);
    let changed = client.json("PATCH", &place, &json!({"workflow_version": null}));
    assert_eq!(changed.expect(200).json()["workflow_version"], Value::Null);
    // A cached endpoint is used for two seconds.
    std::thread::sleep(std::time::Duration::from_millis(2_100));
    assert_eq!(event(&url), json!({"n": 2}));
}
