//! Conventions of the API that hold for every route.

use aias_tests::client::{Client, definition, send};
use serde_json::{Value, json};

#[test]
fn workflow_versions_are_immutable() {
    let client = Client::new();
    let first = definition(&json!([{"a": {"set": {"x": 1}}}]));
    let made = client
        .post("/api/workflows", &json!({"definition": first}))
        .expect(201);
    let id = made.text("id");
    assert_eq!(made.header("location"), format!("/api/workflows/{id}"));
    let made = made.json();
    assert_eq!(
        (
            made["version"].as_u64(),
            made["enabled"].as_bool(),
            made["name"].as_str()
        ),
        (Some(1), Some(true), Some("test"))
    );
    assert_eq!(made["definition"], first);
    let path = format!("/api/workflows/{id}");
    let yaml = "document: {dsl: '1.0.3', namespace: test, name: renamed, version: '1.0.0'}\ndo: [{a: {set: {x: 2}}}]\n";
    let yaml_type = [("content-type", "application/yaml")];
    let second = client
        .call("PUT", &path, &yaml_type, yaml.as_bytes())
        .expect(200)
        .json();
    assert_eq!(
        (second["version"].as_u64(), second["name"].as_str()),
        (Some(2), Some("renamed"))
    );
    assert_ne!(second["digest"], made["digest"]);
    assert_eq!(
        client.get(&format!("{path}/versions/1")).expect(200).json()["definition"],
        first
    );
    assert_eq!(
        client.get(&format!("{path}/versions/1")).json()["digest"],
        made["digest"]
    );
    let versions = client.get(&format!("{path}/versions")).json();
    let numbers: Vec<u64> = versions["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|v| v["version"].as_u64().unwrap())
        .collect();
    assert_eq!(numbers, [2, 1]);
    client.get(&format!("{path}/versions/3")).expect(404);
    client.get(&format!("{path}/versions/x")).expect(404);

    client
        .json("PATCH", &path, &json!({"enabled": false}))
        .expect(200);
    assert_eq!(
        client
            .post(&format!("{path}/execute"), &json!({}))
            .expect(409)
            .text("code"),
        "workflow-disabled"
    );
    let endpoint = client.endpoint(&id, &json!({"scheme": "none"}));
    assert_eq!(
        client
            .call("DELETE", &path, &[], b"")
            .expect(409)
            .text("code"),
        "workflow-in-use"
    );
    let endpoint = format!(
        "/api/webhook-endpoints/{}",
        endpoint["id"].as_str().unwrap()
    );
    client.call("DELETE", &endpoint, &[], b"").expect(204);
    client.call("DELETE", &path, &[], b"").expect(204);
    client.get(&path).expect(404);
    client.get(&format!("{path}/versions/1")).expect(404);
}

#[test]
fn invalid_definition_is_refused_with_all_faults() {
    let client = Client::new();
    let bad = definition(
        &json!([{"a": {"set": {}, "then": "nowhere"}}, {"b": {"call": "http", "with": {}}}]),
    );
    let problem = client
        .post("/api/workflows", &json!({"definition": bad}))
        .expect(422)
        .json();
    assert_eq!(problem["code"], "invalid-workflow");
    let pointers: Vec<&str> = problem["errors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|e| e["pointer"].as_str().unwrap())
        .collect();
    assert_eq!(
        pointers,
        [
            "/definition/do/0/a/set",
            "/definition/do/0/a/then",
            "/definition/do/1/b/with",
            "/definition/do/1/b/with"
        ]
    );
    let yaml = [("content-type", "application/yaml")];
    client
        .call("POST", "/api/workflows", &yaml, b"do: [")
        .expect(400);
    let problem = client
        .call("POST", "/api/workflows", &yaml, b"do: []")
        .expect(422)
        .json();
    assert_eq!(
        problem["errors"][0],
        json!({"pointer": "", "detail": "`document` is missing", "line": 1, "column": 1})
    );
    client
        .call(
            "POST",
            "/api/workflows",
            &[("content-type", "text/plain")],
            b"x",
        )
        .expect(415);
    client
        .call(
            "POST",
            "/api/workflows",
            &[("content-type", "application/json")],
            b"{",
        )
        .expect(400);
    let problem = client
        .post("/api/workflows", &json!({"definition": {}, "colour": 1}))
        .expect(400)
        .json();
    assert_eq!(problem["errors"][0]["pointer"], "/colour");

    // The largest definition, and one that is larger.
    let sized = |bytes: usize| {
        let whole = |pad: &str| {
            let mut d = definition(&json!([{"a": {"set": {"x": 1}}}]));
            d["document"]["summary"] = pad.into();
            d
        };
        let rest = whole("").to_string().len();
        whole(&"x".repeat(bytes - rest))
    };
    client
        .post("/api/workflows", &json!({"definition": sized(256 * 1024)}))
        .expect(201);
    client
        .post(
            "/api/workflows",
            &json!({"definition": sized(256 * 1024 + 1)}),
        )
        .expect(413);
}

#[test]
fn post_with_idempotency_key_is_made_once() {
    let client = Client::new();
    let send = |path: &str, key: &str, body: &Value| {
        let headers = [
            ("content-type", "application/json"),
            ("idempotency-key", key),
        ];
        client.call("POST", path, &headers, body.to_string().as_bytes())
    };
    let workflow = json!({"definition": definition(&json!([{"a": {"set": {"x": 1}}}]))});
    let first = send("/api/workflows", "k1", &workflow).expect(201);
    let again = send("/api/workflows", "k1", &workflow).expect(201);
    assert_eq!(again.json(), first.json());
    assert_eq!(again.header("idempotency-replayed"), "true");
    let other = json!({"definition": definition(&json!([{"a": {"set": {"x": 2}}}]))});
    assert_eq!(
        send("/api/workflows", "k1", &other)
            .expect(409)
            .text("code"),
        "idempotency-key-reused"
    );
    assert_eq!(
        client.get("/api/workflows").json()["data"]
            .as_array()
            .unwrap()
            .len(),
        1
    );

    // A secret that is shown once is repeated to the same caller with the same key.
    let keys = format!("/api/tenants/{}/api-keys", client.tenant);
    let body = json!({"name": "ci", "role": "viewer"});
    assert_eq!(
        send(&keys, "k1", &body).expect(201).text("key"),
        send(&keys, "k1", &body).expect(201).text("key")
    );
    let run = format!("/api/workflows/{}/execute", first.text("id"));
    let body = json!({"input": 1});
    let run_id = send(&run, "k1", &body).expect(202).text("run_id");
    assert_eq!(send(&run, "k1", &body).expect(202).text("run_id"), run_id);
    drop(client.ended(&run_id));
    assert_eq!(
        client.get("/api/runs").json()["data"]
            .as_array()
            .unwrap()
            .len(),
        1
    );

    // Also for concurrent requests.
    let responses: Vec<_> = std::thread::scope(|scope| {
        let body = json!({"name": "at once", "role": "viewer"});
        let tasks: Vec<_> = (0..8)
            .map(|_| {
                scope.spawn({
                    let body = body.clone();
                    let (send, keys) = (&send, &keys);
                    move || send(keys, "k2", &body)
                })
            })
            .collect();
        tasks.into_iter().map(|task| task.join().unwrap()).collect()
    });
    let keys: std::collections::BTreeSet<String> = responses
        .into_iter()
        .map(|a| a.expect(201).text("key"))
        .collect();
    assert_eq!(keys.len(), 1);
}

#[test]
fn stale_change_is_refused() {
    let client = Client::new();
    let path = format!(
        "/api/workflows/{}",
        client.workflow(&json!([{"a": {"set": {"x": 1}}}]))
    );
    let etag = client.get(&path).header("etag").to_owned();
    assert!(etag.starts_with('"'));
    let patch = |etag: &str, enabled: bool| {
        let headers = [("content-type", "application/json"), ("if-match", etag)];
        client.call(
            "PATCH",
            &path,
            &headers,
            json!({ "enabled": enabled }).to_string().as_bytes(),
        )
    };
    patch(&etag, false).expect(200);
    assert_eq!(
        patch(&etag, true).expect(412).text("code"),
        "precondition-failed"
    );
    patch("*", true).expect(200);
    let headers = [
        ("content-type", "application/json"),
        ("if-match", "\"stale\""),
    ];
    let body = json!({"definition": definition(&json!([]))}).to_string();
    client
        .call("PUT", &path, &headers, body.as_bytes())
        .expect(412);
}

#[test]
fn responses_follow_conventions() {
    let client = Client::new();
    let url = client.stack.url();
    let listed = client.get("/api/runs").expect(200);
    assert_eq!(listed.header("api-version"), "2026-11-01");
    assert!(!listed.header("x-request-id").is_empty());
    assert!(listed.header("ratelimit").starts_with("\"tenant\";r="));
    assert_eq!(listed.header("ratelimit-policy"), "\"tenant\";q=6000;w=60");
    client
        .call("GET", "/api/runs", &[("api-version", "2026-11-01")], b"")
        .expect(200);
    let unknown = client
        .call("GET", "/api/runs", &[("api-version", "1999-01-01")], b"")
        .expect(400);
    assert_eq!(unknown.text("code"), "unknown-api-version");

    for (method, path, status, allow) in [
        ("GET", "/api/nothing", 404, ""),
        ("GET", "/api/", 404, ""),
        ("POST", "/api/runs", 405, "GET,HEAD"),
        ("DELETE", "/api/health", 405, "GET,HEAD"),
        ("HEAD", "/api/runs", 401, ""),
        (
            "PUT",
            "/api/webhook-endpoints/whe_1",
            405,
            "GET,HEAD,PATCH,DELETE",
        ),
        ("GET", "/api/workflows/execute", 405, "POST"),
        ("BREW", "/api/runs", 405, "GET,HEAD"),
    ] {
        let response = send(method, &format!("{url}{path}"), &[], b"");
        assert_eq!(
            (response.status, response.header("allow")),
            (status, allow),
            "{method} {path}"
        );
        assert_eq!(
            response.header("content-type"),
            "application/problem+json",
            "{method} {path}"
        );
    }
    for path in [
        "/api/runs/nothing",
        "/api/runs/run_01JD3V4ZK8QW5R7T9X1B3C5D7F",
        "/api/runs/a%20b%00%ff",
        "/api/artifacts/x/download",
        "/api/workflows/%2e%2e",
    ] {
        let problem = client.get(path).expect(404).json();
        assert_eq!(
            (problem["code"].as_str(), problem["title"].as_str()),
            (Some("not-found"), Some("Not found")),
            "{path}"
        );
    }
    let body = json!({"name": "x".repeat(129), "role": "viewer"});
    let problem = client
        .post(&format!("/api/tenants/{}/api-keys", client.tenant), &body)
        .expect(400)
        .json();
    assert_eq!(problem["errors"][0]["pointer"], "/name");
    client
        .call(
            "POST",
            "/api/webhook-endpoints",
            &[("content-type", "text/plain")],
            b"{}",
        )
        .expect(415);
    let headers = [
        ("content-type", "application/json"),
        ("content-encoding", "gzip"),
    ];
    client
        .call("POST", "/api/webhook-endpoints", &headers, b"{}")
        .expect(415);
}

#[test]
fn only_allowed_origins_pass_cors() {
    let client = Client::new();
    let url = format!("{}/api/runs", client.stack.url());
    let ask = |origin: &str| {
        let headers = [
            ("origin", origin),
            ("access-control-request-method", "GET"),
            ("access-control-request-headers", "authorization"),
        ];
        send("OPTIONS", &url, &headers, b"")
    };
    assert_eq!(
        ask("http://localhost:3000").header("access-control-allow-origin"),
        "http://localhost:3000"
    );
    assert_eq!(
        ask("https://elsewhere.example").header("access-control-allow-origin"),
        ""
    );
}
