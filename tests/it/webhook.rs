//! Webhooks through the deployed stack.

use std::{sync::Arc, thread};

use aias_tests::client::{ApiResponse, Client, send};
use serde_json::{Value, json};

const MIB: usize = 1024 * 1024;

fn echo(client: &Client) -> String {
    let endpoint = client.endpoint(
        &client.workflow(&json!([{"echo": {"set": "${ . }"}}])),
        &json!({"scheme": "none"}),
    );
    endpoint["url"].as_str().unwrap().to_owned()
}

fn post(url: &str, content_type: &str, body: &[u8]) -> ApiResponse {
    send("POST", url, &[("content-type", content_type)], body)
}

/// The artifact of a webhook's run, as JSON.
fn became(client: &Client, answer: &ApiResponse) -> Value {
    let run = client.ended(&answer.text("run_id"));
    assert_eq!(run["status"], "completed", "{run}");
    serde_json::from_slice(&client.download(&run)).unwrap()
}

#[test]
fn webhook_of_any_type_becomes_artifact() {
    let client = Client::new();
    let url = echo(&client);
    let answer = send(
        "POST",
        &format!("{url}?a=1&b=2&b=3"),
        &[
            ("content-type", "application/json"),
            ("authorization", "secret"),
            ("x-kept", "y"),
        ],
        br#"{"id": 9007199254740993, "name": "\u00fc", "list": [1.0, 1e3]}"#,
    )
    .expect(202);
    assert_eq!(
        answer.header("location"),
        format!("/api/runs/{}", answer.text("run_id"))
    );
    assert_eq!(answer.json()["duplicate"], false);
    let input = became(&client, &answer);
    assert_eq!(
        input["body"],
        json!({"id": 9_007_199_254_740_993_u64, "list": [1, 1000], "name": "ü"})
    );
    assert_eq!(input["query"], json!({"a": "1", "b": ["2", "3"]}));
    assert_eq!(input["headers"]["x-kept"], "y");
    assert_eq!(input["headers"].get("authorization"), None);
    assert_eq!(
        (input["method"].as_str(), input["content_type"].as_str()),
        (Some("POST"), Some("application/json"))
    );
    assert_eq!(input["id"], answer.json()["run_id"]);

    let form = became(
        &client,
        &post(&url, "application/x-www-form-urlencoded", b"a=1&b=x+y&b=z").expect(202),
    );
    assert_eq!(form["body"], json!({"a": "1", "b": ["x y", "z"]}));
    let text = became(
        &client,
        &post(&url, "text/plain", "grüße".as_bytes()).expect(202),
    );
    assert_eq!(text["body"], "grüße");
    let binary = became(
        &client,
        &post(&url, "application/octet-stream", b"\xff\x00\x80").expect(202),
    );
    assert_eq!(binary["body_base64"], "/wCA");
    let empty = became(&client, &send("POST", &url, &[], b"").expect(202));
    assert_eq!(empty["body"], "");
}

#[test]
fn body_size_limit_is_exact() {
    let client = Client::new();
    let size = json!([{"size": {"set": {"size": "${ .body.pad | length }"}}}]);
    let endpoint = client.endpoint(&client.workflow(&size), &json!({"scheme": "none"}));
    let url = endpoint["url"].as_str().unwrap();
    let body = |n: usize| format!("{{\"pad\":\"{}\"}}", "x".repeat(n - 10)).into_bytes();
    assert_eq!(body(100).len(), 100);
    let answer = post(url, "application/json", &body(4 * MIB)).expect(202);
    assert_eq!(became(&client, &answer), json!({"size": 4 * MIB - 10}));
    let refused = post(url, "application/json", &body(4 * MIB + 1)).expect(413);
    assert_eq!(refused.text("code"), "body-too-large");
    // An input that is too large for a function's response is downloaded from the bucket.
    let quotes = format!("{{\"pad\":[{}0]}}", "\"\",".repeat(1_200_000));
    let run = client.ended(
        &post(url, "application/json", quotes.as_bytes())
            .expect(202)
            .text("run_id"),
    );
    let input = client
        .get(&format!("/api/runs/{}/input", run["id"].as_str().unwrap()))
        .expect(302);
    let file = send("GET", input.header("location"), &[], b"").expect(200);
    assert_eq!(
        aias_domain::canonical::digest(&file.body),
        run["input_digest"].as_str().unwrap()
    );
    // Sizes around the limit between the item and the bucket.
    for n in [32 * 1024 - 600, 32 * 1024, 40 * 1024] {
        assert_eq!(
            became(
                &client,
                &post(url, "application/json", &body(n)).expect(202)
            ),
            json!({"size": n - 10})
        );
    }
}

#[test]
fn invalid_input_gets_clear_error() {
    let client = Client::new();
    let url = echo(&client);
    let nested = |n: usize| format!("{}{}", "[".repeat(n), "]".repeat(n)).into_bytes();
    let deepest = post(&url, "application/json", &nested(128)).expect(202);
    assert_eq!(client.ended(&deepest.text("run_id"))["status"], "completed");
    for (body, pointer) in [
        (b"{".to_vec(), ""),
        (b"".to_vec(), ""),
        (b"\xff\xfe".to_vec(), ""),
        (br#"{"a": {"b": 1, "b": 2}}"#.to_vec(), "/a/b"),
        (nested(129), &"/0".repeat(128)),
    ] {
        let problem = post(&url, "application/json", &body).expect(400);
        assert_eq!(problem.header("content-type"), "application/problem+json");
        assert_eq!(problem.text("code"), "invalid-body");
        assert_eq!(problem.json()["errors"][0]["pointer"], pointer);
    }
    let headers = [
        ("content-type", "application/json"),
        ("content-encoding", "gzip"),
    ];
    assert_eq!(
        send("POST", &url, &headers, b"\x1f\x8b")
            .expect(415)
            .text("code"),
        "unsupported-media-type"
    );
    for method in ["PUT", "DELETE", "PATCH", "GET", "HEAD"] {
        let answer = send(method, &url, &[], b"");
        assert_eq!(answer.status, 405, "{method}");
        assert!(answer.header("allow").contains("POST"), "{method}");
    }
    let long = "x".repeat(256);
    let answer = send("POST", &url, &[("idempotency-key", &long)], b"x").expect(400);
    assert_eq!(answer.text("code"), "bad-event-id");
}

#[test]
fn unknown_urls_are_indistinguishable() {
    let client = Client::new();
    let url = echo(&client);
    let (base, secret) = url.rsplit_once('/').unwrap();
    let (api, tenant) = base.rsplit_once('/').unwrap();
    let kind = format!(
        "{}/dashboard/errors/not-found",
        api.trim_end_matches("/api/webhooks")
    );
    let mut other = secret.to_owned();
    other.replace_range(0..1, if secret.starts_with('A') { "B" } else { "A" });
    let unknown = [
        format!("{base}/{other}"),
        format!("{base}/short"),
        format!("{base}/{}", "x".repeat(5_000)),
        format!("{api}/ten_01JD3V4ZK8QW5R7T9X1B3C5D7F/{secret}"),
        format!("{api}/{}/{secret}", tenant.to_lowercase()),
        format!("{api}/nobody/{secret}"),
        format!("{api}/%00%ff/{secret}"),
    ];
    for url in unknown {
        let answer = post(&url, "application/json", b"{}").expect(404);
        let mut problem = answer.json();
        for own in ["request_id", "instance"] {
            problem.as_object_mut().unwrap().remove(own);
        }
        assert_eq!(
            problem,
            json!({"type": kind, "title": "Not found", "status": 404, "code": "not-found"})
        );
        assert!(!String::from_utf8_lossy(&answer.body).contains(secret));
    }
}

#[test]
fn concurrent_duplicate_events_are_one_run() {
    let client = Client::new();
    let url = Arc::new(echo(&client));
    let senders: Vec<_> = (0..20)
        .map(|_| {
            let url = Arc::clone(&url);
            thread::spawn(move || {
                let headers = [
                    ("content-type", "application/json"),
                    ("idempotency-key", "evt_same"),
                ];
                (0..5)
                    .map(|_| send("POST", &url, &headers, b"{\"n\":1}"))
                    .collect::<Vec<_>>()
            })
        })
        .collect();
    let responses: Vec<ApiResponse> = senders
        .into_iter()
        .flat_map(|sender| sender.join().unwrap())
        .collect();
    assert_eq!(responses.len(), 100);
    let mut ids: Vec<String> = responses
        .iter()
        .map(|answer| answer.text("run_id"))
        .collect();
    ids.dedup();
    assert_eq!(ids.len(), 1, "{ids:?}");
    let new = responses
        .iter()
        .filter(|answer| answer.status == 202)
        .count();
    assert!(new >= 1, "at least one is new");
    assert!(
        responses
            .iter()
            .all(|answer| [200, 202].contains(&answer.status))
    );
    assert!(
        responses
            .iter()
            .all(|answer| (answer.status == 200) == (answer.json()["duplicate"] == true))
    );
    let run = client.ended(&ids[0]);
    assert_eq!(
        client.get("/api/runs").json()["data"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
    assert_eq!(
        client.get("/api/artifacts").json()["data"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
    assert_eq!(run["trigger"]["event_id"], "evt_same");

    let headers = [
        ("content-type", "application/json"),
        ("idempotency-key", "evt_same"),
    ];
    let other = send("POST", &url, &headers, b"{\"n\":2}").expect(409);
    assert_eq!(other.text("code"), "event-id-reused");
}

#[test]
fn disabled_or_deleted_endpoint_refuses_events() {
    let client = Client::new();
    let endpoint = client.endpoint(
        &client.workflow(&json!([{"a": {"set": "${ . }"}}])),
        &json!({"scheme": "none"}),
    );
    let (id, url) = (
        endpoint["id"].as_str().unwrap(),
        endpoint["url"].as_str().unwrap(),
    );
    let path = format!("/api/webhook-endpoints/{id}");
    let becomes = |status: u16| {
        for _ in 0..100 {
            if post(url, "text/plain", b"x").status == status {
                return;
            }
            thread::sleep(std::time::Duration::from_millis(100));
        }
        panic!("the status never became {status}");
    };
    becomes(202);
    client
        .json("PATCH", &path, &json!({"enabled": false}))
        .expect(200);
    becomes(410);
    client
        .json("PATCH", &path, &json!({"enabled": true}))
        .expect(200);
    becomes(202);
    client.call("DELETE", &path, &[], b"").expect(204);
    becomes(404);
}

#[test]
fn rotated_url_is_valid_until_overlap_ends() {
    let client = Client::new();
    let endpoint = client.endpoint(
        &client.workflow(&json!([{"a": {"set": "${ . }"}}])),
        &json!({"scheme": "none"}),
    );
    let (id, old) = (
        endpoint["id"].as_str().unwrap(),
        endpoint["url"].as_str().unwrap(),
    );
    let path = format!("/api/webhook-endpoints/{id}/rotate-secret");
    let first = client
        .post(&path, &json!({"overlap_seconds": 3600}))
        .expect(200);
    let second = first.text("url");
    post(old, "text/plain", b"x").expect(202);
    post(&second, "text/plain", b"x").expect(202);
    let third = client
        .post(&path, &json!({"overlap_seconds": 0}))
        .expect(200)
        .text("url");
    post(&third, "text/plain", b"x").expect(202);
    // A function may cache the endpoint for this long.
    thread::sleep(webhook_ingest::ENDPOINT_TTL + std::time::Duration::from_millis(100));
    post(old, "text/plain", b"x").expect(404);
    post(&second, "text/plain", b"x").expect(404);
    let view = client.get(&format!("/api/webhook-endpoints/{id}")).json();
    assert!(view["url_secrets"][0]["last_used_at"].is_string(), "{view}");
    assert!(view.get("secret").is_none() && view.get("url").is_none());
    client.post(&path, &json!({"which": "signing"})).expect(409);
    client
        .post(&path, &json!({"overlap_seconds": 99_999_999}))
        .expect(400);
}
