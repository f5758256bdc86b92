//! The last deliveries of an endpoint, and the event types that run.

use std::time::SystemTime;

use aias_domain::verification::{Algorithm, digest};
use aias_tests::{
    bench::{Bench, TENANT, WORKFLOW, json_of},
    client::{ApiResponse, Client, send},
};
use jiff::Timestamp;
use serde_json::{Value, json};

fn post(url: &str, headers: &[(&str, &str)], body: &str) -> ApiResponse {
    let json = ("content-type", "application/json");
    let all: Vec<_> = std::iter::once(&json).chain(headers).copied().collect();
    send("POST", url, &all, body.as_bytes())
}

fn github(url: &str, kind: &str, id: &str, body: &str) -> ApiResponse {
    let mac = digest(Algorithm::Sha256, b"hush", &[body.as_bytes()]);
    let signature = format!("sha256={}", hex::encode(mac));
    let headers = [
        ("x-hub-signature-256", signature.as_str()),
        ("x-github-event", kind),
        ("x-github-delivery", id),
    ];
    post(url, &headers, body)
}

/// The endpoint's URL and the path of its object.
fn endpoint(client: &Client, more: &Value) -> (String, String) {
    let workflow = client.workflow(&json!([{"a": {"set": {"x": 1}}}]));
    let mut body = json!({"name": "E", "workflow_id": workflow});
    body.as_object_mut()
        .unwrap()
        .extend(more.as_object().unwrap().clone());
    let made = client
        .post("/api/webhook-endpoints", &body)
        .expect(201)
        .json();
    let path = format!("/api/webhook-endpoints/{}", made["id"].as_str().unwrap());
    (made["url"].as_str().unwrap().to_owned(), path)
}

fn deliveries(client: &Client, path: &str) -> Vec<Value> {
    let list = client.get(&format!("{path}/deliveries")).expect(200).json();
    list["data"].as_array().unwrap().clone()
}

#[test]
fn refusals_are_listed_with_their_reason() {
    let client = Client::new();
    let (url, path) = endpoint(
        &client,
        &json!({"verification": {"scheme": "github", "secret": "hush"}}),
    );
    assert_eq!(deliveries(&client, &path), [] as [Value; 0]);
    post(&url, &[("x-github-event", "push")], r#"{"secret": "body"}"#).expect(401);
    let refused = deliveries(&client, &path);
    assert_eq!(refused.len(), 1);
    let own = &refused[0];
    assert_eq!(
        (&own["accepted"], &own["status"]),
        (&json!(false), &json!(401))
    );
    assert_eq!(
        (&own["reason"], &own["event_type"]),
        (&json!("no-signature-header"), &json!("push"))
    );
    assert_eq!(
        own["detail"],
        "the request has no signature at header:x-hub-signature-256"
    );
    assert!(!own["source_ip"].as_str().unwrap().is_empty());
    assert!(
        !refused[0].to_string().contains("body\""),
        "the body is not kept"
    );
    assert!(client.get(&path).json()["refusing_since"].is_string());

    let run = github(&url, "push", "d1", "{}").expect(202).text("run_id");
    let accepted = deliveries(&client, &path)
        .into_iter()
        .find(|own| own["accepted"] == true);
    let accepted = accepted.unwrap();
    assert_eq!(
        (&accepted["run_id"], &accepted["event_id"]),
        (&json!(run), &json!("d1"))
    );
    assert_eq!(
        (&accepted["event_type"], &accepted["status"]),
        (&json!("push"), &json!(202))
    );
    assert_eq!(client.get(&path).json()["refusing_since"], Value::Null);

    // A duplicate, whatever response the provider wants.
    let (drive, path_of_drive) = endpoint(
        &client,
        &json!({"verification": {"scheme": "google-drive", "secret": "hush-hush"}}),
    );
    let headers = [
        ("x-goog-channel-token", "hush-hush"),
        ("x-goog-channel-id", "c"),
        ("x-goog-message-number", "2"),
        ("x-goog-resource-state", "update"),
    ];
    post(&drive, &headers, "{}").expect(200);
    post(&drive, &headers, "{}").expect(200);
    let twice = deliveries(&client, &path_of_drive);
    let reasons: Vec<_> = twice.iter().map(|own| own["reason"].clone()).collect();
    assert!(reasons.contains(&json!("duplicate")), "{twice:?}");

    let (zoom, path) = endpoint(
        &client,
        &json!({"verification": {"scheme": "zoom", "secret": "hush"}}),
    );
    let stamp = (Timestamp::try_from(SystemTime::now()).unwrap().as_second() - 1_000).to_string();
    let mac = digest(
        Algorithm::Sha256,
        b"hush",
        &[b"v0:", stamp.as_bytes(), b":{}"],
    );
    let signature = format!("v0={}", hex::encode(mac));
    post(
        &zoom,
        &[
            ("x-zm-request-timestamp", &stamp),
            ("x-zm-signature", &signature),
        ],
        "{}",
    )
    .expect(401);
    let old = deliveries(&client, &path).remove(0);
    assert_eq!(old["reason"], "timestamp-too-old");
    assert!(old["detail"].as_str().unwrap().contains("100"), "{old}");
}

#[test]
fn other_event_types_are_answered_and_not_run() {
    let client = Client::new();
    let own = json!({
        "verification": {"scheme": "github", "secret": "hush"},
        "event_types": ["push", "pull_request*"],
    });
    let (url, path) = endpoint(&client, &own);
    let ignored = github(&url, "issues", "d1", "{}").expect(202).json();
    assert_eq!(
        ignored,
        json!({"status": "ignored", "event_type": "issues"})
    );
    github(&url, "push", "d2", "{}").expect(202);
    let review = github(&url, "pull_request_review", "d3", "{}")
        .expect(202)
        .text("run_id");
    let runs = client.get("/api/runs").expect(200).json();
    assert_eq!(runs["data"].as_array().unwrap().len(), 2);
    let of_type = client
        .get("/api/runs?event_type=pull_request_review")
        .expect(200)
        .json();
    assert_eq!(of_type["data"].as_array().unwrap().len(), 1);
    assert_eq!(of_type["data"][0]["id"], review);
    let found = deliveries(&client, &path);
    assert!(
        found.iter().any(|own| own["reason"] == "ignored-type"),
        "{found:?}"
    );

    // An ignored event is not remembered: once its type runs, it can be sent again.
    let changed = client
        .json("PATCH", &path, &json!({"event_types": []}))
        .expect(200)
        .json();
    assert_eq!(changed["event_types"], json!([]));
    std::thread::sleep(std::time::Duration::from_millis(2_100));
    let runs = github(&url, "issues", "d1", "{}").expect(202).json();
    assert!(runs["run_id"].is_string(), "{runs}");
    let too_many: Vec<_> = (0..51).map(|n| n.to_string()).collect();
    for types in [json!([""]), json!(["a".repeat(129)]), json!(too_many)] {
        let refused = client
            .json("PATCH", &path, &json!({"event_types": types}))
            .expect(400);
        assert_eq!(refused.json()["errors"][0]["pointer"], "/event_types");
    }
}

/// Two hundred refused requests cause two writes.
#[tokio::test]
async fn flood_of_refusals_costs_two_writes() {
    let bench = Bench::new().await;
    let body = json!({
        "name": "E", "workflow_id": WORKFLOW, "verification": {"scheme": "github", "secret": "hush"},
    });
    let made = bench
        .request("webhook-endpoints", "POST", "/api/webhook-endpoints", &body)
        .await;
    assert_eq!(made.status_code, 201, "{}", made.body);
    let url = json_of(&made)["url"].as_str().unwrap().to_owned();
    let path = url.split_once("/api/").unwrap().1;
    let ingest = bench.ingest();
    bench.wire.reset();
    for _ in 0..200 {
        let refused = bench
            .post_to(&ingest, &format!("/api/{path}"), "e1", "{}")
            .await;
        assert_eq!(refused.status_code, 401, "{}", refused.body);
    }
    let writes: u64 = bench.wire.writes_by_partition().values().sum();
    assert_eq!(writes, 2, "{:?}", bench.wire.writes_by_partition());
    assert!(
        bench
            .wire
            .writes_by_partition()
            .keys()
            .all(|key| key.contains(TENANT))
    );
}
