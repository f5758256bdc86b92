//! Connecting a provider: a secret that comes later, test events, forms, and a disabled endpoint.

use aias_domain::verification::{Algorithm, digest};
use aias_tests::client::{ApiResponse, Client, send};
use serde_json::{Value, json};

fn signed(url: &str, secret: &str, headers: &[(&str, &str)], body: &[u8]) -> ApiResponse {
    let mac = digest(Algorithm::Sha256, secret.as_bytes(), &[body]);
    let signature = format!("sha256={}", hex(&mac));
    let all = [("x-hub-signature-256", signature.as_str())];
    let all: Vec<_> = all.into_iter().chain(headers.iter().copied()).collect();
    send("POST", url, &all, body)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn echo(client: &Client) -> String {
    client.workflow(&json!([{"a": {"set": {"body": "${ .body }"}}}]))
}

const STRIPE: &str = "
import sys, time, stripe
body, secret = sys.argv[1:3]
stamp = int(time.time())
print(f't={stamp},v1=' + stripe.WebhookSignature._compute_signature(f'{stamp}.{body}', secret))
";

#[test]
fn endpoint_waits_for_the_secret_of_its_provider() {
    let client = Client::new();
    let endpoint = client.endpoint(&echo(&client), &json!({"scheme": "stripe"}));
    assert_eq!(endpoint["state"], "pending-secret");
    let url = endpoint["url"].as_str().unwrap();
    let body = r#"{"id":"evt_later","object":"event"}"#;
    let post = |secret: &str| {
        let signature = client.stack.python(STRIPE, &[body, secret]);
        let headers = [
            ("content-type", "application/json"),
            ("stripe-signature", &signature),
        ];
        send("POST", url, &headers, body.as_bytes())
    };
    let refused = post("whsec_later").expect(503);
    assert_eq!(refused.text("code"), "endpoint-pending-secret");
    assert!(!refused.header("retry-after").is_empty());
    let place = format!(
        "/api/webhook-endpoints/{}",
        endpoint["id"].as_str().unwrap()
    );
    let secret = json!({"secret": "whsec_later"});
    let set = client.json("PUT", &format!("{place}/signing-secret"), &secret);
    assert_eq!(set.expect(200).json()["state"], "active");
    // At once, although the endpoint is cached.
    let taken = post("whsec_later").expect(202);
    assert_eq!(client.ended(&taken.text("run_id"))["status"], "completed");
    post("whsec_other").expect(401);
    // A known secret is not dropped by leaving it out.
    let same = json!({"verification": {"scheme": "stripe"}});
    let problem = client.json("PATCH", &place, &same).expect(400).json();
    assert_eq!(problem["errors"][0]["pointer"], "/verification/secret");
    let unsigned = client.endpoint(&echo(&client), &json!({"scheme": "none"}));
    let place = format!(
        "/api/webhook-endpoints/{}",
        unsigned["id"].as_str().unwrap()
    );
    let problem = client.json("PUT", &format!("{place}/signing-secret"), &secret);
    assert_eq!(problem.expect(409).text("code"), "no-signing-secret");
}

#[test]
fn rotated_signing_secret_is_accepted_at_once() {
    let client = Client::new();
    let endpoint = client.endpoint(
        &echo(&client),
        &json!({"scheme": "github", "secret": "first-secret"}),
    );
    let url = endpoint["url"].as_str().unwrap();
    let json = [("content-type", "application/json")];
    signed(url, "first-secret", &json, b"{}").expect(202);
    let place = format!(
        "/api/webhook-endpoints/{}",
        endpoint["id"].as_str().unwrap()
    );
    let rotation = json!({"which": "signing", "secret": "second-secret"});
    client
        .post(&format!("{place}/rotate-secret"), &rotation)
        .expect(200);
    signed(url, "second-secret", &json, b"{}").expect(202);
    signed(url, "first-secret", &json, b"{}").expect(202);
    let shown = client.get(&place).expect(200).json();
    assert_ne!(
        shown["signing_secrets"][0]["last_used_at"],
        Value::Null,
        "{shown}"
    );
}

#[test]
fn github_ping_is_answered_and_shown_but_not_run() {
    let client = Client::new();
    let endpoint = client.endpoint(
        &echo(&client),
        &json!({"scheme": "github", "secret": "shared-secret"}),
    );
    let url = endpoint["url"].as_str().unwrap();
    let ping = [
        ("content-type", "application/json"),
        ("x-github-event", "ping"),
    ];
    signed(url, "wrong-secret", &ping, b"{\"zen\":\"x\"}").expect(401);
    let answer = signed(url, "shared-secret", &ping, b"{\"zen\":\"x\"}").expect(200);
    assert_eq!(answer.body, b"pong");
    let place = format!(
        "/api/webhook-endpoints/{}",
        endpoint["id"].as_str().unwrap()
    );
    let shown = client.get(&place).expect(200).json();
    assert_ne!(shown["last_ping_at"], Value::Null);
    let runs = client.get("/api/runs").expect(200).json();
    assert_eq!(runs["data"], json!([]));
}

#[test]
fn github_form_is_unwrapped() {
    let client = Client::new();
    let endpoint = client.endpoint(
        &echo(&client),
        &json!({"scheme": "github", "secret": "shared-secret"}),
    );
    let url = endpoint["url"].as_str().unwrap();
    let form = [
        ("content-type", "application/x-www-form-urlencoded"),
        ("x-github-event", "push"),
    ];
    let body = b"payload=%7B%22ref%22%3A%22refs%2Fheads%2Fmain%22%7D";
    let taken = signed(url, "shared-secret", &form, body).expect(202);
    let run = client.ended(&taken.text("run_id"));
    let output: Value = serde_json::from_slice(&client.download(&run)).unwrap();
    assert_eq!(output["body"], json!({"ref": "refs/heads/main"}));
    signed(url, "shared-secret", &form, b"payload=%7B").expect(400);
}

#[test]
fn status_of_a_disabled_endpoint_is_a_choice() {
    let client = Client::new();
    let workflow = echo(&client);
    let body =
        json!({"name": "E", "workflow_id": workflow, "enabled": false, "disabled_status": 503});
    let endpoint = client.post("/api/webhook-endpoints", &body).expect(201);
    let url = endpoint.text("url");
    let post = || send("POST", &url, &[("content-type", "application/json")], b"{}");
    let refused = post().expect(503);
    assert_eq!(refused.text("code"), "endpoint-disabled");
    assert!(!refused.header("retry-after").is_empty());
    let place = format!("/api/webhook-endpoints/{}", endpoint.text("id"));
    client
        .json("PATCH", &place, &json!({"disabled_status": 410}))
        .expect(200);
    std::thread::sleep(std::time::Duration::from_millis(110));
    assert_eq!(post().expect(410).text("code"), "endpoint-disabled");
    client
        .json("PATCH", &place, &json!({"disabled_status": 404}))
        .expect(400);
    client
        .json("PATCH", &place, &json!({"enabled": true}))
        .expect(200);
    std::thread::sleep(std::time::Duration::from_millis(110));
    post().expect(202);
}
