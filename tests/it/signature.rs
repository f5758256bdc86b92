//! Signatures made by official packages, and over real bodies.

use std::{fs, path::PathBuf, thread::sleep, time::Duration};

use aias_domain::verification::{Algorithm, digest};
use aias_tests::client::{ApiResponse, Client, send};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

fn endpoint(client: &Client, verification: &Value) -> (String, Value) {
    let workflow =
        client.workflow(&json!([{"a": {"set": {"id": "${ .id }", "headers": "${ .headers }"}}}]));
    let endpoint = client.endpoint(&workflow, verification);
    (endpoint["url"].as_str().unwrap().to_owned(), endpoint)
}

fn post(url: &str, headers: &[(&str, &str)], body: &[u8]) -> ApiResponse {
    let all: Vec<_> = [("content-type", "application/json")]
        .iter()
        .chain(headers)
        .copied()
        .collect();
    send("POST", url, &all, body)
}

fn refused(response: ApiResponse) {
    let response = response.expect(401);
    assert_eq!(response.text("code"), "bad-signature");
    assert!(!response.header("www-authenticate").is_empty());
}

const STRIPE: &str = "
import sys, time, stripe
body, secret = sys.argv[1], sys.argv[2]
stamp = int(time.time()) + int(sys.argv[3])
print(f't={stamp},v1=' + stripe.WebhookSignature._compute_signature(f'{stamp}.{body}', secret))
";

const STANDARD_WEBHOOKS: &str = "
import sys, datetime, standardwebhooks
body, secret, message = sys.argv[1:4]
now = datetime.datetime.now(tz=datetime.timezone.utc)
print(int(now.timestamp()), standardwebhooks.Webhook(secret).sign(message, now, body), sep='|')
";

#[test]
fn official_stripe_package_signatures_verify() {
    let client = Client::new();
    let (url, endpoint) = endpoint(
        &client,
        &json!({"scheme": "stripe", "secret": "whsec_test_secret"}),
    );
    assert!(
        !endpoint.to_string().contains("whsec_test_secret"),
        "a given secret is not shown"
    );
    let body = r#"{"id":"evt_stripe_1","object":"event"}"#;
    let sign = |secret: &str, offset: &str| client.stack.python(STRIPE, &[body, secret, offset]);
    let response = post(
        &url,
        &[("stripe-signature", &sign("whsec_test_secret", "0"))],
        body.as_bytes(),
    )
    .expect(202);
    let run = client.ended(&response.text("run_id"));
    assert_eq!(run["trigger"]["event_id"], "evt_stripe_1");
    let output: Value = serde_json::from_slice(&client.download(&run)).unwrap();
    assert_eq!(output["headers"].get("stripe-signature"), None);
    refused(post(
        &url,
        &[("stripe-signature", &sign("whsec_other", "0"))],
        body.as_bytes(),
    ));
    refused(post(
        &url,
        &[("stripe-signature", &sign("whsec_test_secret", "-301"))],
        body.as_bytes(),
    ));
    refused(post(
        &url,
        &[("stripe-signature", &sign("whsec_test_secret", "0"))],
        b"{}",
    ));
    refused(post(
        &url,
        &[("stripe-signature", "t=1,v1=%%%")],
        body.as_bytes(),
    ));
    refused(post(&url, &[], body.as_bytes()));
}

#[test]
fn official_standardwebhooks_signatures_verify_during_rotation() {
    let client = Client::new();
    let (url, endpoint) = endpoint(&client, &json!({"scheme": "standard-webhooks"}));
    let first = endpoint["verification"]["secret"]
        .as_str()
        .unwrap()
        .to_owned();
    let sent = |secret: &str, id: &str| {
        let made = client
            .stack
            .python(STANDARD_WEBHOOKS, &["{\"n\":1}", secret, id]);
        let (stamp, signature) = made.split_once('|').unwrap();
        let headers = [
            ("webhook-id", id),
            ("webhook-timestamp", stamp),
            ("webhook-signature", signature),
        ];
        post(&url, &headers, b"{\"n\":1}")
    };
    sent(&first, "msg_1").expect(202);
    assert_eq!(sent(&first, "msg_1").expect(200).json()["duplicate"], true);
    let path = format!(
        "/api/webhook-endpoints/{}/rotate-secret",
        endpoint["id"].as_str().unwrap()
    );
    let second = client
        .post(&path, &json!({"which": "signing"}))
        .expect(200)
        .text("secret");
    sleep(Duration::from_millis(2_500));
    sent(&first, "msg_2").expect(202);
    sent(&second, "msg_3").expect(202);
    let view = client.get(path.trim_end_matches("/rotate-secret")).json();
    assert!(!view.to_string().contains("whsec_"), "{view}");
    assert_eq!(view["signing_secrets"].as_array().unwrap().len(), 2);
}

#[test]
fn recorded_github_and_stripe_bodies_verify() {
    let samples = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared/webhook-samples");
    if !samples.is_dir() {
        eprintln!("skipped: {} does not exist", samples.display());
        return;
    }
    let client = Client::new();
    let (github, _) = endpoint(&client, &json!({"scheme": "github", "secret": "hush"}));
    let (stripe, _) = endpoint(&client, &json!({"scheme": "stripe", "secret": "hush"}));
    let mut sent = 0;
    for (folder, url) in [
        ("github/2022-11-28", &github),
        ("stripe/2022-11-15", &stripe),
    ] {
        for file in fs::read_dir(samples.join(folder)).unwrap() {
            let path = file.unwrap().path();
            let sample: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
            let body = sample.get("body").unwrap_or(&sample);
            let body = body
                .as_str()
                .map_or_else(|| body.to_string(), str::to_owned);
            let name = path.file_name().unwrap().to_str().unwrap();
            let response = if folder.starts_with("github") {
                let signature = format!(
                    "sha256={}",
                    hex::encode(digest(Algorithm::Sha256, b"hush", &[body.as_bytes()]))
                );
                post(
                    url,
                    &[
                        ("x-hub-signature-256", &signature),
                        ("x-github-delivery", name),
                    ],
                    body.as_bytes(),
                )
            } else {
                post(
                    url,
                    &[(
                        "stripe-signature",
                        &client.stack.python(STRIPE, &[&body, "hush", "0"]),
                    )],
                    body.as_bytes(),
                )
            };
            let run = client.ended(&response.expect(202).text("run_id"));
            assert_eq!(run["status"], "completed", "{}", path.display());
            sent += 1;
        }
    }
    assert!(sent > 20, "{sent}");
}

#[test]
fn hmac_endpoint_uses_its_options() {
    let client = Client::new();
    let (url, endpoint) = endpoint(
        &client,
        &json!({"scheme": "hmac", "header": "X-WC-Webhook-Signature", "encoding": "base64", "event_id_header": "X-WC-Webhook-Delivery-ID"}),
    );
    let secret = endpoint["verification"]["secret"].as_str().unwrap();
    let signature = STANDARD.encode(digest(Algorithm::Sha256, secret.as_bytes(), &[b"{}"]));
    let headers = [
        ("x-wc-webhook-signature", signature.as_str()),
        ("x-wc-webhook-delivery-id", "d1"),
    ];
    let first = post(&url, &headers, b"{}").expect(202).text("run_id");
    assert_eq!(
        post(&url, &headers, b"{}").expect(200).text("run_id"),
        first
    );
    refused(post(&url, &headers, b"[]"));
}

#[test]
fn slack_and_meta_handshakes_succeed() {
    let client = Client::new();
    let (slack, _) = endpoint(&client, &json!({"scheme": "slack", "secret": "hush"}));
    let body = br#"{"type":"url_verification","challenge":"c-42","token":"t"}"#;
    let stamp = jiff::Timestamp::try_from(std::time::SystemTime::now())
        .unwrap()
        .as_second()
        .to_string();
    let mac = digest(
        Algorithm::Sha256,
        b"hush",
        &[b"v0:", stamp.as_bytes(), b":", body],
    );
    let signature = format!("v0={}", hex::encode(mac));
    let headers = [
        ("x-slack-request-timestamp", stamp.as_str()),
        ("x-slack-signature", signature.as_str()),
    ];
    let response = post(&slack, &headers, body).expect(200);
    assert_eq!(response.body, b"c-42");
    assert!(response.header("content-type").starts_with("text/plain"));
    refused(post(&slack, &[], body));

    let (meta, _) = endpoint(
        &client,
        &json!({"scheme": "meta", "secret": "hush", "verify_token": "tok"}),
    );
    let ask = |token: &str| {
        send(
            "GET",
            &format!("{meta}?hub.mode=subscribe&hub.challenge=77&hub.verify_token={token}"),
            &[],
            b"",
        )
    };
    assert_eq!(ask("tok").expect(200).body, b"77");
    refused(ask("other"));
    send("GET", &meta, &[], b"").expect(400);
    assert_eq!(
        client.get("/api/runs").json()["data"],
        json!([]),
        "a challenge starts no run"
    );
}

#[test]
fn invalid_verification_is_refused() {
    let client = Client::new();
    let workflow = client.workflow(&json!([{"a": {"set": {"x": 1}}}]));
    for (verification, pointer) in [
        (json!({"scheme": "morse"}), "/verification/scheme"),
        (
            json!({"scheme": "stripe", "secret": ""}),
            "/verification/secret",
        ),
        (
            json!({"scheme": "none", "secret": "x"}),
            "/verification/secret",
        ),
        (
            json!({"scheme": "standard-webhooks", "secret": "plain"}),
            "/verification/secret",
        ),
        (json!({"scheme": "hmac"}), "/verification/header"),
        (
            json!({"scheme": "hmac", "header": "a b"}),
            "/verification/header",
        ),
        (
            json!({"scheme": "hmac", "header": "a", "algorithm": "md5"}),
            "/verification/algorithm",
        ),
        (
            json!({"scheme": "github", "header": "x"}),
            "/verification/header",
        ),
        (
            json!({"scheme": "meta", "secret": "x"}),
            "/verification/verify_token",
        ),
        (
            json!({"scheme": "github", "colour": "red"}),
            "/verification/colour",
        ),
    ] {
        let body = json!({"name": "E", "workflow_id": workflow, "verification": verification});
        let problem = client
            .post("/api/webhook-endpoints", &body)
            .expect(400)
            .json();
        assert_eq!(problem["errors"][0]["pointer"], pointer, "{problem}");
    }
}
