//! Samples of a workflow: the artifact of an event is kept, and a version that changes it is refused.

use aias_tests::{
    bench::json_of,
    client::{Client, definition},
};
use serde_json::{Value, json};

use crate::effects::{define, execute, furnished, output_of, settle};

/// A workflow that adds numbers, with its path.
fn workflow(client: &Client) -> String {
    format!("/api/workflows/{}", client.workflow(&sum("${ .a + .b }")))
}

fn sum(expression: &str) -> Value {
    json!([{"sum": {"set": {"sum": expression}}}])
}

fn put(client: &Client, path: &str, expression: &str, status: u16) -> Value {
    let body = json!({"definition": definition(&sum(expression))});
    client.json("PUT", path, &body).expect(status).json()
}

fn keep(client: &Client, path: &str, name: &str, input: &Value, status: u16) -> Value {
    let body = json!({"name": name, "input": input});
    let samples = format!("{path}/samples");
    client.post(&samples, &body).expect(status).json()
}

#[test]
fn version_that_changes_an_artifact_is_refused_until_it_is_accepted() {
    let client = Client::new();
    let path = workflow(&client);
    keep(&client, &path, "small", &json!({"a": 1, "b": 2}), 201);
    keep(&client, &path, "zero", &json!({"a": 0, "b": 5}), 201);
    assert_eq!(client.get(&path).expect(200).json()["samples"], 2);
    let sample = client
        .get(&format!("{path}/samples/small"))
        .expect(200)
        .json();
    assert_eq!(sample["output"], json!({"sum": 3}));
    assert_eq!(sample["reproducible"], true);

    // An equal artifact by another way.
    assert_eq!(put(&client, &path, "${ .b + .a }", 200)["version"], 2);

    let refused = put(&client, &path, "${ .b - .a }", 409);
    assert_eq!(refused["code"], "sample-changed");
    assert_eq!(
        refused["samples"],
        json!([{
            "name": "small", "error": null,
            "output_patch": [{"op": "replace", "path": "/sum", "value": 1}],
        }])
    );
    assert_eq!(client.get(&path).expect(200).json()["version"], 2);

    // Accepting another sample does not accept this one, and an unknown name is an error.
    let other = format!("{path}?accept_samples=zero");
    assert_eq!(
        put(&client, &other, "${ .b - .a }", 409)["code"],
        "sample-changed"
    );
    let unknown = format!("{path}?accept_samples=smal");
    let problem = put(&client, &unknown, "${ .b - .a }", 400);
    let detail = problem["detail"].as_str().unwrap();
    assert!(detail.contains("no sample `smal`"), "{detail}");
    assert!(detail.contains("`small`"), "{detail}");

    let accepted = put(
        &client,
        &format!("{path}?accept_samples=small"),
        "${ .b - .a }",
        200,
    );
    assert_eq!(accepted["version"], 3);
    let sample = client
        .get(&format!("{path}/samples/small"))
        .expect(200)
        .json();
    assert_eq!(
        (&sample["output"], &sample["workflow_version"]),
        (&json!({"sum": 1}), &json!(3))
    );
    // The accepted artifact is the one that counts from now on.
    assert_eq!(
        put(&client, &path, "${ .a + .b }", 409)["code"],
        "sample-changed"
    );
    assert_eq!(put(&client, &path, "${ .b + 0 - .a }", 200)["version"], 4);

    client
        .json("DELETE", &format!("{path}/samples/small"), &Value::Null)
        .expect(204);
    assert_eq!(put(&client, &path, "${ .b }", 200)["version"], 5);
    client.json("DELETE", &path, &Value::Null).expect(204);
    client.get(&format!("{path}/samples")).expect(404);
}

#[test]
fn version_that_faults_on_a_sample_cannot_be_accepted() {
    let client = Client::new();
    let path = workflow(&client);
    keep(&client, &path, "small", &json!({"a": 1, "b": 2}), 201);
    let raises = "${ error(\"no\") }";
    for query in ["", "?accept_samples=small"] {
        let refused = put(&client, &format!("{path}{query}"), raises, 409);
        assert_eq!(refused["code"], "sample-changed");
        assert!(
            refused["samples"][0]["error"]["status"].is_number(),
            "{refused}"
        );
        let detail = refused["detail"].as_str().unwrap();
        assert!(detail.contains("delete these samples"), "{detail}");
    }
}

#[test]
fn sample_is_of_one_event_on_which_the_workflow_completes() {
    let client = Client::new();
    let path = workflow(&client);
    let samples = format!("{path}/samples");
    let faulted = keep(&client, &path, "text", &json!({"a": 1, "b": "2"}), 422);
    assert_eq!(faulted["code"], "sample-faulted");
    assert!(faulted["error"]["instance"].is_string(), "{faulted}");
    for body in [
        json!({"name": "none"}),
        json!({"name": "two", "input": 1, "source": "github"}),
        json!({"name": "A", "input": 1}),
        json!({"name": "a", "source": "githubb"}),
        json!({"name": "a", "run_id": "run_01JD3V4ZK8QW5R7T9X1B3C5D7F"}),
        json!({"name": "a", "input": 1, "responses": {"/do/0/x": 1}}),
    ] {
        let refused = client.post(&samples, &body).expect(400).json();
        assert!(refused["errors"][0]["detail"].is_string(), "{refused}");
    }
    // As everywhere, null is an input.
    keep(&client, &path, "null", &Value::Null, 201);
    keep(&client, &path, "null", &json!({"a": 1}), 409);
    let list = client.get(&samples).expect(200).json();
    assert_eq!(list["data"].as_array().unwrap().len(), 1);
    assert_eq!(list["next_cursor"], Value::Null);
    client.get(&format!("{samples}/other")).expect(404);
    client
        .json("DELETE", &format!("{samples}/other"), &Value::Null)
        .expect(404);
}

#[test]
fn sample_event_of_a_source_is_the_input() {
    let client = Client::new();
    let title = json!([{"t": {"set": {"title": "${ .body.issue.title }", "event": "${ .headers[\"x-github-event\"] }"}}}]);
    let path = format!("/api/workflows/{}", client.workflow(&title));
    let body = json!({"name": "issue", "source": "github"});
    let kept = client
        .post(&format!("{path}/samples"), &body)
        .expect(201)
        .json();
    assert_eq!(kept["source"], "github");
    let sample = client
        .get(&format!("{path}/samples/issue"))
        .expect(200)
        .json();
    assert_eq!(
        sample["output"],
        json!({"title": "An issue", "event": "issues"})
    );
    // The identity and the time of the sample stay, so what depends on them does.
    let timed =
        json!([{"t": {"set": {"at": "${ $workflow.startedAt }", "id": "${ $workflow.id }"}}}]);
    let path = format!("/api/workflows/{}", client.workflow(&timed));
    keep(&client, &path, "now", &json!({}), 201);
    let digest = |sample: &Value| sample["output_digest"].clone();
    let first = client
        .get(&format!("{path}/samples/now"))
        .expect(200)
        .json();
    assert_eq!(first["reproducible"], true);
    let again = client
        .get(&format!("{path}/samples/now"))
        .expect(200)
        .json();
    assert_eq!(digest(&first), digest(&again));
}

#[test]
fn number_of_samples_is_limited() {
    let client = Client::new();
    let path = workflow(&client);
    for n in 0..20 {
        keep(
            &client,
            &path,
            &format!("s-{n}"),
            &json!({"a": n, "b": 1}),
            201,
        );
    }
    let refused = keep(&client, &path, "s-20", &json!({"a": 1, "b": 1}), 409);
    assert_eq!(refused["code"], "too-many-samples");
    let refused = put(&client, &path, "${ .a }", 409);
    assert_eq!(refused["samples"].as_array().unwrap().len(), 20);
    client
        .json("DELETE", &format!("{path}/samples/s-3"), &Value::Null)
        .expect(204);
    keep(&client, &path, "s-20", &json!({"a": 1, "b": 1}), 201);
}

#[tokio::test]
async fn sample_of_a_past_run_uses_its_results() {
    let (bench, hosts, url) = furnished().await;
    let tasks = |output: &str| {
        json!([{"a": {
            "call": "http",
            "with": {"method": "post", "endpoint": format!("{url}/echo"), "body": {"n": "${ .n }"}},
            "output": {"as": output},
        }}])
    };
    let workflow = define(&bench, "past", tasks("{n: .body.n}")).await;
    let id = execute(&bench, &workflow, json!({"n": 4})).await;
    settle(&bench).await;
    assert_eq!(output_of(&bench, &id).await, json!({"n": 4}));
    let path = format!("/api/workflows/{workflow}");
    let samples = format!("{path}/samples");
    let body = json!({"name": "past", "run_id": id});
    let kept = bench.request("workflows", "POST", &samples, &body).await;
    assert_eq!(kept.status_code, 201, "{}", kept.body);

    // The sample stays when the data of the run is gone.
    bench.expire_objects().await;
    let put = async |output: &str| {
        let body = json!({"definition": {
            "document": {"dsl": "1.0.3", "namespace": "test", "name": "past", "version": "1.0.0"},
            "do": tasks(output),
        }});
        bench.request("workflows", "PUT", &path, &body).await
    };
    let refused = put("{m: .body.n}").await;
    assert_eq!(refused.status_code, 409, "{}", refused.body);
    let patch = &json_of(&refused)["samples"][0]["output_patch"];
    let expected = json!([{"op": "add", "path": "/m", "value": 4}, {"op": "remove", "path": "/n"}]);
    assert_eq!(*patch, expected);
    let equal = put("{n: (.body.n + 0)}").await;
    assert_eq!(equal.status_code, 200, "{}", equal.body);
    // Only the run itself called.
    assert_eq!(hosts.seen("/echo").len(), 1);

    let other = define(&bench, "other", tasks(".")).await;
    let samples = format!("/api/workflows/{other}/samples");
    let refused = bench.request("workflows", "POST", &samples, &body).await;
    assert_eq!(refused.status_code, 400, "{}", refused.body);
}
