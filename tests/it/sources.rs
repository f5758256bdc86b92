//! Sources, through the API: the catalogue, handshakes, the responses that providers want, own
//! schemes, and the check of a recorded request.

use std::time::SystemTime;

use aias_domain::verification::{Algorithm, catalogue, digest};
use aias_tests::client::{ApiResponse, Client, send};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use jiff::Timestamp;
use serde_json::{Value, json};

const JSON: (&str, &str) = ("content-type", "application/json");

fn hook(client: &Client, verification: &Value) -> (String, Value) {
    let workflow =
        client.workflow(&json!([{"a": {"set": {"id": "${ .id }", "headers": "${ .headers }"}}}]));
    let endpoint = client.endpoint(&workflow, verification);
    (endpoint["url"].as_str().unwrap().to_owned(), endpoint)
}

fn post(url: &str, headers: &[(&str, &str)], body: &[u8]) -> ApiResponse {
    let all: Vec<_> = std::iter::once(&JSON).chain(headers).copied().collect();
    send("POST", url, &all, body)
}

fn mac(algorithm: Algorithm, key: &str, parts: &[&str]) -> Vec<u8> {
    let parts: Vec<_> = parts.iter().map(|part| part.as_bytes()).collect();
    digest(algorithm, key.as_bytes(), &parts)
}

fn now() -> Timestamp {
    Timestamp::try_from(SystemTime::now()).unwrap()
}

#[test]
fn catalogue_has_every_source() {
    let client = Client::new();
    let list = client.get("/api/sources").expect(200).json();
    assert_eq!(list["next_cursor"], Value::Null);
    let names: Vec<_> = list["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|own| own["name"].clone())
        .collect();
    assert!(names.len() >= 60, "{}", names.len());
    for name in [
        "github",
        "stripe",
        "gitlab",
        "twilio",
        "discord",
        "microsoft-graph",
        "x",
        "cloudevents",
    ] {
        assert!(names.contains(&json!(name)), "{name}");
    }
    for name in &names {
        let path = format!("/api/sources/{}", name.as_str().unwrap());
        let source = client.get(&path).expect(200).json();
        assert_eq!(source["name"], *name);
        assert!(!source["steps"].as_array().unwrap().is_empty(), "{name}");
        assert_eq!(
            source["verified"],
            json!(source["scheme"].get("signatures").is_some())
        );
    }
    client.get("/api/sources/nobody").expect(404);
}

#[test]
fn workflow_of_each_source_uses_its_sample() {
    let client = Client::new();
    for name in catalogue::names() {
        let source = client.get(&format!("/api/sources/{name}"));
        let source = source.expect(200).json();
        let text = source["workflow"].as_str().unwrap();
        let definition: Value = serde_saphyr::from_str(text).unwrap();
        let input = catalogue::sample_event(name, now()).unwrap();
        let body = json!({"definition": definition, "input": input});
        let report = client.post("/api/workflows/test", &body).expect(200).json();
        assert_eq!(report["status"], "completed", "{name}: {report}");
        let output = report["output"].as_object().unwrap();
        assert!(!output.is_empty(), "{name}");
        for (member, value) in output {
            let is_empty = value.is_null() || value == "" || value == &json!([]);
            assert!(!is_empty, "{name}: {member} of {input}");
        }
    }
}

/// An endpoint of each source refuses a request that is not signed.
#[test]
fn unsigned_request_is_refused_by_every_signed_source() {
    let client = Client::new();
    let workflow = client.workflow(&json!([{"a": {"set": {"x": 1}}}]));
    let list = client.get("/api/sources").expect(200).json();
    let sources = list["data"].as_array().unwrap().iter();
    // Those whose secret AIAS generates, and two limits of endpoints apart.
    let chosen = sources.filter(|own| own["verified"] == true && own["secret_origin"] == "chosen");
    for source in chosen {
        let endpoint = client.endpoint(&workflow, &json!({"scheme": source["name"]}));
        let secret = endpoint["verification"]["secret"].as_str().unwrap();
        assert!(!secret.is_empty(), "{source}");
        let url = endpoint["url"].as_str().unwrap();
        let refused = post(url, &[], br#"{"id": "1"}"#).expect(401);
        assert_eq!(refused.text("code"), "bad-signature", "{source}");
        let id = endpoint["id"].as_str().unwrap();
        let path = format!("/api/webhook-endpoints/{id}");
        client.json("DELETE", &path, &Value::Null).expect(204);
    }
}

#[test]
fn providers_get_the_response_that_they_want() {
    let client = Client::new();
    let (gitlab, endpoint) = hook(&client, &json!({"scheme": "gitlab"}));
    let token = endpoint["verification"]["secret"].as_str().unwrap();
    let headers = [("x-gitlab-token", token), ("x-gitlab-event-uuid", "u1")];
    let response = post(&gitlab, &headers, b"{}").expect(200);
    let run = client.ended(&response.text("run_id"));
    assert_eq!(run["trigger"]["event_id"], "u1");
    let output: Value = serde_json::from_slice(&client.download(&run)).unwrap();
    assert_eq!(output["headers"].get("x-gitlab-token"), None);
    assert_eq!(post(&gitlab, &headers, b"{}").json()["duplicate"], true);
    post(&gitlab, &[("x-gitlab-token", "other")], b"{}").expect(401);

    let (twilio, _) = hook(&client, &json!({"scheme": "twilio", "secret": "auth"}));
    let signature = STANDARD.encode(mac(Algorithm::Sha1, "auth", &[&twilio, "BodyhiFrom+1"]));
    let form = [
        ("content-type", "application/x-www-form-urlencoded"),
        ("x-twilio-signature", signature.as_str()),
    ];
    let response = send("POST", &twilio, &form, b"From=%2B1&Body=hi").expect(200);
    assert!(response.header("content-type").starts_with("text/xml"));
    assert!(response.body.ends_with(b"<Response/>"));
    send("POST", &twilio, &form, b"From=%2B1&Body=ho").expect(401);

    let body = json!({"notificationItems": []}).to_string();
    let (adyen, _) = hook(&client, &json!({"scheme": "adyen", "secret": "00ff"}));
    post(&adyen, &[], body.as_bytes()).expect(401);
    let (salesforce, _) = hook(&client, &json!({"scheme": "salesforce"}));
    let xml = [("content-type", "text/xml")];
    let response = send("POST", &salesforce, &xml, b"<a/>").expect(200);
    assert!(String::from_utf8_lossy(&response.body).contains("<Ack>true</Ack>"));
}

/// Xero validates a URL by requests of which some are wrongly signed, and accepts no body.
#[test]
fn xero_gets_responses_without_body() {
    let client = Client::new();
    let (url, _) = hook(&client, &json!({"scheme": "xero", "secret": "hush"}));
    let signed = |key: &str, body: &str| {
        let signature = STANDARD.encode(mac(Algorithm::Sha256, key, &[body]));
        let response = post(&url, &[("x-xero-signature", &signature)], body.as_bytes());
        assert_eq!(response.body, b"", "{body}");
        response
    };
    let intent =
        r#"{"events":[],"firstEventSequence":0,"lastEventSequence":0,"entropy":"S0m3r4Nd0mt3xt"}"#;
    signed("hush", intent).expect(200);
    signed("other", intent).expect(401);
    assert_eq!(client.get("/api/runs").json()["data"], json!([]));
    let event =
        r#"{"events":[{"eventType":"UPDATE"}],"firstEventSequence":1,"lastEventSequence":1}"#;
    let response = signed("hush", event).expect(200);
    let run = response.header("location").replace("/api/runs/", "");
    assert_eq!(client.ended(&run)["trigger"]["event_type"], "UPDATE");
}

#[test]
fn handshakes_without_signature_are_answered() {
    let client = Client::new();
    let url = |scheme: &str| hook(&client, &json!({"scheme": scheme, "secret": "hush"})).0;
    let graph = url("microsoft-graph");
    let validation = send("POST", &format!("{graph}?validationToken=a%20b"), &[], b"").expect(200);
    assert_eq!(validation.body, b"a b");
    assert!(validation.header("content-type").starts_with("text/plain"));
    let events = json!({"value": [{"clientState": "hush"}]}).to_string();
    post(&graph, &[], events.as_bytes()).expect(202);
    post(&graph, &[], br#"{"value": [{"clientState": "other"}]}"#).expect(401);

    let trello = url("trello");
    send("HEAD", &trello, &[], b"").expect(200);
    send("GET", &trello, &[], b"").expect(405);
    let cloudevents = url("cloudevents");
    let origin = [("webhook-request-origin", "events.example.com")];
    let allowed = send("OPTIONS", &cloudevents, &origin, b"");
    // API Gateway itself answers where CORS is configured.
    let is_deployed = client.stack.function_log().is_none();
    if !is_deployed {
        let allowed = allowed.expect(200);
        assert_eq!(
            allowed.header("webhook-allowed-origin"),
            "events.example.com"
        );
    }
    let bearer = [("authorization", "Bearer hush"), ("ce-id", "1")];
    post(&cloudevents, &bearer, b"{}").expect(202);

    let x = url("x");
    let crc = send("GET", &format!("{x}?crc_token=abc"), &[], b"").expect(200);
    let expected = STANDARD.encode(mac(Algorithm::Sha256, "hush", &["abc"]));
    assert_eq!(crc.text("response_token"), format!("sha256={expected}"));
    send("GET", &format!("{x}?crc_token=%7B%7D"), &[], b"").expect(400);
    let unsigned = hook(&client, &json!({"scheme": "mailchimp"})).0;
    send("GET", &unsigned, &[], b"").expect(200);
    // GitHub has no handshake.
    send("GET", &url("github"), &[], b"").expect(405);
    if !is_deployed {
        send("OPTIONS", &url("github"), &[], b"").expect(405);
    }
}

#[test]
fn signed_handshakes_are_answered_and_not_run() {
    let client = Client::new();
    let stamp = now().as_second().to_string();
    let (zoom, _) = hook(&client, &json!({"scheme": "zoom", "secret": "hush"}));
    let body = r#"{"event":"endpoint.url_validation","payload":{"plainToken":"abc"}}"#;
    let signature = format!(
        "v0={}",
        hex::encode(mac(Algorithm::Sha256, "hush", &["v0:", &stamp, ":", body]))
    );
    let headers = [
        ("x-zm-request-timestamp", stamp.as_str()),
        ("x-zm-signature", &signature),
    ];
    let answer = post(&zoom, &headers, body.as_bytes()).expect(200).json();
    let encrypted = hex::encode(mac(Algorithm::Sha256, "hush", &["abc"]));
    assert_eq!(
        answer,
        json!({"plainToken": "abc", "encryptedToken": encrypted})
    );
    // Without a signature nothing is hashed.
    post(&zoom, &[], body.as_bytes()).expect(401);
    assert_eq!(client.get("/api/runs").json()["data"], json!([]));
}

/// A second handshake is refused: for two seconds, another execution environment may not have the
/// first one's secret, and its write conflicts.
fn assert_refused(second: &ApiResponse) {
    assert!([401, 409].contains(&second.status), "{}", second.status);
}

/// Asana sends the secret in a handshake; a second one cannot replace it.
#[test]
fn handshake_sets_the_signing_secret_once() {
    let client = Client::new();
    let (url, endpoint) = hook(&client, &json!({"scheme": "asana"}));
    assert_eq!(endpoint["state"], "pending-secret");
    let first = post(&url, &[("x-hook-secret", "s1")], b"").expect(200);
    assert_eq!(first.header("x-hook-secret"), "s1");
    let signature = hex::encode(mac(Algorithm::Sha256, "s1", &[r#"{"events":[]}"#]));
    post(
        &url,
        &[("x-hook-signature", &signature)],
        br#"{"events":[]}"#,
    )
    .expect(200);
    assert_refused(&post(&url, &[("x-hook-secret", "s2")], b""));
    let path = format!(
        "/api/webhook-endpoints/{}",
        endpoint["id"].as_str().unwrap()
    );
    assert_eq!(client.get(&path).json()["state"], "active");
}

/// Notion sends a token that its owner enters at Notion; it is shown until it is used.
#[test]
fn token_of_a_handshake_is_shown_until_it_is_used() {
    let client = Client::new();
    let (url, endpoint) = hook(&client, &json!({"scheme": "notion"}));
    let id = endpoint["id"].as_str().unwrap();
    let path = format!("/api/webhook-endpoints/{id}/signing-secret");
    let shown = || client.get(&path).expect(200).json()["secret"].clone();
    assert_eq!(shown(), Value::Null);
    post(&url, &[], br#"{"verification_token": "secret_1"}"#).expect(200);
    assert_eq!(shown(), "secret_1");
    client.with(client.key("editor")).get(&path).expect(403);
    let body = r#"{"id":"1","type":"page.created"}"#;
    let signature = hex::encode(mac(Algorithm::Sha256, "secret_1", &[body]));
    let signature = format!("sha256={signature}");
    post(&url, &[("x-notion-signature", &signature)], body.as_bytes()).expect(200);
    assert_refused(&post(&url, &[], br#"{"verification_token": "secret_2"}"#));
    assert_eq!(shown(), Value::Null);
    // A secret that the owner chose is never shown.
    let (_, chosen) = hook(&client, &json!({"scheme": "github"}));
    let id = chosen["id"].as_str().unwrap();
    let path = format!("/api/webhook-endpoints/{id}/signing-secret");
    assert_eq!(client.get(&path).expect(200).json()["secret"], Value::Null);
}

#[test]
fn own_scheme_verifies_without_code() {
    let client = Client::new();
    let custom = json!({
        "signatures": [{
            "method": "hmac-sha512", "at": "header:X-Sig", "prefix": "v1=", "encoding": "base64",
            "signed": "{method}:{timestamp}:{body}", "timestamp": {"at": "header:X-Time", "unit": "milliseconds"},
        }],
        "event_id": ["{body:/event/id}"],
        "response": {"status": 204},
    });
    let (url, endpoint) = hook(
        &client,
        &json!({"scheme": "custom", "custom": custom, "secret": "hush"}),
    );
    assert_eq!(
        endpoint["verification"]["custom"]["signatures"][0]["at"],
        "header:x-sig"
    );
    let (stamp, body) = (
        now().as_millisecond().to_string(),
        r#"{"event":{"id":"e1"}}"#,
    );
    let signature = mac(Algorithm::Sha512, "hush", &["POST:", &stamp, ":", body]);
    let signature = format!("v1={}", STANDARD.encode(signature));
    let headers = [("x-sig", signature.as_str()), ("x-time", stamp.as_str())];
    let response = post(&url, &headers, body.as_bytes()).expect(204);
    let run = response
        .header("location")
        .strip_prefix("/api/runs/")
        .unwrap()
        .to_owned();
    assert_eq!(client.ended(&run)["trigger"]["event_id"], "e1");
    post(&url, &headers, b"{}").expect(401);

    let workflow = client.workflow(&json!([{"a": {"set": {"x": 1}}}]));
    for (custom, pointer) in [
        (json!({}), "/verification/custom/signatures"),
        (
            json!({"signatures": [{"method": "hmac-sha256", "at": "header:x", "prefix": "ü"}]}),
            "/verification/custom/signatures",
        ),
        (
            json!({"signatures": [{"method": "token", "at": "header:x"}], "response": {"status": 500}}),
            "/verification/custom/response",
        ),
        (
            json!({"signatures": [{"method": "token", "at": "header:x"}], "response": {"status": 200, "content_type": "text/html"}}),
            "/verification/custom/response",
        ),
        (
            json!({"signatures": [{"method": "token", "at": "header:x"}], "response": {"status": 200, "repeats_header": "set-cookie"}}),
            "/verification/custom/response",
        ),
    ] {
        let body = json!({"name": "E", "workflow_id": workflow, "verification": {"scheme": "custom", "custom": custom}});
        let refused = client.post("/api/webhook-endpoints", &body).expect(400);
        assert_eq!(
            refused.json()["errors"][0]["pointer"],
            pointer,
            "{}",
            refused.json()
        );
    }
    for at in ["cookie:x", "header:", "body:x"] {
        let custom = json!({"signatures": [{"method": "token", "at": at}]});
        let body = json!({"name": "E", "workflow_id": workflow, "verification": {"scheme": "custom", "custom": custom}});
        client.post("/api/webhook-endpoints", &body).expect(400);
    }
}

#[test]
fn recorded_request_is_explained() {
    let client = Client::new();
    let body = r#"{"id": 1}"#;
    let signature = hex::encode(mac(Algorithm::Sha256, "hush", &[body]));
    let check = |secret: &str, signature: &str, body: &str| {
        let check = json!({
            "verification": {"scheme": "github", "secret": secret},
            "request": {
                "headers": {"X-Hub-Signature-256": signature, "X-GitHub-Delivery": "d1", "X-GitHub-Event": "push"},
                "body": body,
            },
        });
        client.post("/api/sources/check", &check).expect(200)
    };
    let prefixed = format!("sha256={signature}");
    let good = check("hush", &prefixed, body).json();
    assert_eq!(
        (&good["verified"], &good["reason"]),
        (&json!(true), &Value::Null)
    );
    assert_eq!(
        (&good["event_id"], &good["event_type"]),
        (&json!("d1"), &json!("push"))
    );
    let form = &good["forms"][0];
    assert_eq!(form["signed"], body);
    assert_eq!(form["expected"], prefixed);

    let other = check("other-secret", &prefixed, body);
    assert!(!String::from_utf8_lossy(&other.body).contains("other-secret"));
    let other = other.json();
    assert_eq!(other["reason"], "bad-signature");
    assert!(other["forms"][0]["differs_at"].as_u64().unwrap() >= 7);
    let hint = |secret: &str, body: &str| {
        check(secret, &prefixed, body).json()["hint"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    };
    assert!(hint("hush\n", body).contains("white space"));
    assert!(hint("hush", "{\"id\": 1}\n").contains("white space"));
    let compact = r#"{"id":1}"#;
    let of_compact = format!(
        "sha256={}",
        hex::encode(mac(Algorithm::Sha256, "hush", &[compact]))
    );
    let reformatted = check("hush", &of_compact, body).json();
    assert!(
        reformatted["hint"]
            .as_str()
            .unwrap()
            .contains("reformatted")
    );
    assert_eq!(check("hush", "", body).json()["reason"], "no-signature");

    let old = json!({
        "verification": {"scheme": "zoom", "secret": "hush"},
        "received_at": "2026-11-18T12:06:40Z",
        "request": {
            "headers": {
                "x-zm-request-timestamp": "1795000000",
                "x-zm-signature": format!("v0={}", hex::encode(mac(Algorithm::Sha256, "hush", &["v0:1795000000:", body]))),
            },
            "body": body,
        },
    });
    let old = client.post("/api/sources/check", &old).expect(200).json();
    assert_eq!(old["reason"], "timestamp-too-old");
    assert_eq!(old["detail"], "the signed timestamp is 3600 seconds old");
    let token = json!({
        "verification": {"scheme": "gitlab", "secret": "the-token"},
        "request": {"headers": {"x-gitlab-token": "another-token"}},
    });
    let token = client.post("/api/sources/check", &token).expect(200);
    let text = String::from_utf8_lossy(&token.body).into_owned();
    assert!(
        !text.contains("the-token") && !text.contains("another-token"),
        "{text}"
    );
}
