//! Workflow secrets: they reach the hosts that they are sent to, and nothing else.

use aias_domain::run::Status;
use aias_platform::secrets::{Keyring, Keyrings};
use aias_testkit::{hosts::Hosts, wire::Side};
use aias_tests::{
    bench::{Bench, json_of},
    client::Client,
    hosts,
};
use serde_json::{Value, json};

const WORKFLOW: &str = "wf_01JD3V4ZK8QW5R7T9X1B3C5D91";

fn document(secrets: &Value, tasks: &Value) -> Value {
    json!({
        "document": {"dsl": "1.0.3", "namespace": "test", "name": "secretive", "version": "1.0.0"},
        "use": {"secrets": secrets},
        "input": {"from": "${ . + {token: $secrets.canary} }"},
        "do": tasks,
    })
}

/// A workflow that uses its secret wherever that is possible, and passes it on to everything that
/// is stored.
fn everywhere(url: &str) -> Value {
    let mirror = |endpoint: &str| {
        json!({
            "call": "http",
            "with": {
                "method": "post",
                "endpoint": {"uri": endpoint, "authentication": {"bearer": {"use": "canary"}}},
                "headers": {"x-token": "${ .token }"},
                "query": {"q": "${ .token }"},
                "body": {"in": "${ \"<\" + .token + \">\" }", "plain": "${ .token }"},
                "output": "response",
            },
            "input": {"from": "${ {token: $secrets.canary} }"},
        })
    };
    let event = json!({"source": "https://a.example", "type": "t", "data": "${ . }"});
    let raised = json!({
        "type": "https://a.example/e", "status": 400,
        "title": "${ .token }", "detail": "${ \"it is \" + .token }",
    });
    document(
        &json!(["canary", "login"]),
        &json!([
            {"text": mirror(&format!("{url}/mirror"))},
            {"again": {"set": {"reported": "${ . }", "token": "${ $context.x // $input.token }"}, "input": {"from": "${ . + {token: $secrets.canary} }"}}},
            {"bytes": mirror(&format!("{url}/mirror?binary"))},
            {"login": {
                "call": "http",
                "with": {"method": "get", "endpoint": {"uri": format!("{url}/mirror"), "authentication": {"basic": {"use": "login"}}}, "output": "response"},
                "export": {"as": "${ {login: .} }"},
            }},
            {"tell": {"emit": {"event": {"with": event}}}},
            {"caught": {"try": [{"bad": {"raise": {"error": raised}, "input": {"from": "${ {token: $secrets.canary} }"}}}], "catch": {"as": "e", "do": [{"keep": {"set": {"e": "${ $e }", "login": "${ $context.login }"}}}]}}},
            {"end": {"raise": {"error": raised}, "if": "${ $workflow.input.fail }", "input": {"from": "${ {token: $secrets.canary} }"}}},
        ]),
    )
}

fn put(client: &Client, name: &str, value: &Value, status: u16) -> Value {
    let path = format!("/api/secrets/{name}");
    let body = json!({ "value": value });
    client.json("PUT", &path, &body).expect(status).json()
}

#[test]
fn secret_value_reaches_only_its_host() {
    let client = Client::new();
    let (hosts, url) = hosts::start();
    // Random per run, since the logs of the stack are searched for it. `"` and `/` have several
    // encodings.
    let random = format!("{:x}", aias_platform::clock::random_id());
    let canary = format!("can\"ary/{random}");
    let password = format!("pass-{random}-word");
    put(&client, "canary", &json!(canary), 201);
    let login = json!({"username": "user", "password": password});
    let shown = put(&client, "login", &login, 201);
    assert_eq!(shown.as_object().unwrap().len(), 3, "{shown}");
    let body = json!({"definition": everywhere(&url)});
    let workflow = client.post("/api/workflows", &body).expect(201).text("id");
    let mut kept = Vec::new();
    let mut runs = Vec::new();
    for (fail, status) in [(false, "completed"), (true, "faulted")] {
        let body = json!({"workflow_id": workflow, "input": {"fail": fail}});
        let run = client.post("/api/workflows/execute", &body).expect(202);
        let run = client.ended(&run.text("run_id"));
        assert_eq!(run["status"], status, "{run}");
        let id = run["id"].as_str().unwrap().to_owned();
        for part in ["", "/logs?limit=100", "/events", "/input"] {
            kept.push(
                client
                    .get(&format!("/api/runs/{id}{part}"))
                    .expect(200)
                    .body,
            );
        }
        if !fail {
            kept.push(client.download(&run));
        }
        let verdict = client.post(&format!("/api/runs/{id}/verify"), &Value::Null);
        let verdict = verdict.expect(200).json();
        assert_eq!(verdict["reproducible"], true, "{verdict}");
        runs.push(id);
    }
    let seen = hosts.seen("/mirror");
    assert_eq!(seen.len(), 6);
    let percent: String = form(&canary);
    for (index, seen) in seen.iter().enumerate() {
        if index % 3 == 2 {
            assert!(
                seen.header("authorization")
                    .starts_with("Basic dXNlcjpwYXNzL")
            );
            continue;
        }
        assert_eq!(seen.header("authorization"), format!("Bearer {canary}"));
        assert_eq!(seen.header("x-token"), canary);
        assert!(seen.target.contains(&percent), "{}", seen.target);
        let body: Value = serde_json::from_str(&seen.body).unwrap();
        assert_eq!(body, json!({"in": format!("<{canary}>"), "plain": canary}));
    }
    kept.push(client.get("/api/secrets").expect(200).body);
    kept.push(client.get("/api/secrets/canary").expect(200).body);
    let log = format!("/api/tenants/{}/audit-log?limit=100", client.tenant);
    kept.push(client.get(&log).expect(200).body);
    // Everything that the functions have stored and logged.
    kept.extend(client.everything_stored());
    kept.push(client.printed());
    for (name, needle) in [("canary", &random), ("basic", &basic(&password))] {
        for bytes in &kept {
            let text = String::from_utf8_lossy(bytes);
            let at = text.find(needle.as_str());
            let around = at.map(|at| &text[text.floor_char_boundary(at.saturating_sub(300))..]);
            assert!(at.is_none(), "{name}: {:.600}", around.unwrap_or_default());
        }
    }
    // The search works: other strings of the requests are found.
    let all: String = kept.iter().map(|b| String::from_utf8_lossy(b)).collect();
    assert!(runs.iter().all(|id| all.matches(id.as_str()).count() > 20));
    assert!(all.contains("[secret]"));
}

fn form(text: &str) -> String {
    text.replace('"', "%22").replace('/', "%2F")
}

fn basic(password: &str) -> String {
    use base64::Engine as _;
    let text = base64::engine::general_purpose::STANDARD.encode(format!("user:{password}"));
    // The middle part, since the edges depend on the alignment.
    text[4..text.len() - 4].to_owned()
}

#[test]
fn admins_manage_secrets() {
    let client = Client::new();
    let made = put(&client, "a.b-c", &json!("first value"), 201);
    let changed = put(&client, "a.b-c", &json!({"token": "second"}), 200);
    assert_eq!(made["created_at"], changed["created_at"]);
    let all = client.get("/api/secrets").expect(200).json();
    assert_eq!(all["data"], json!([changed]));
    for (value, pointer) in [
        (json!("short"), "/value"),
        (json!(1), "/value"),
        (json!("x".repeat(9_000)), "/value"),
    ] {
        let body = json!({ "value": value });
        let refused = client.json("PUT", "/api/secrets/x", &body);
        assert_eq!(refused.status, 400, "{:?}", refused.body);
        let text = String::from_utf8_lossy(&refused.body).into_owned();
        assert!(text.contains(pointer) && !text.contains("xxxx"), "{text}");
    }
    let body = json!({"value": "long enough"});
    assert_eq!(client.json("PUT", "/api/secrets/.x", &body).status, 400);
    let slash = client.json("PUT", "/api/secrets/a%2Fb", &body).status;
    assert!([400, 404].contains(&slash), "{slash}");
    assert_eq!(client.get("/api/secrets/other").status, 404);
    let etag = client.get("/api/secrets/a.b-c").expect(200);
    let etag = etag.header("etag").to_owned();
    let stale = client.call(
        "DELETE",
        "/api/secrets/a.b-c",
        &[("if-match", "\"no\"")],
        b"",
    );
    assert_eq!(stale.status, 412);
    let gone = client.call("DELETE", "/api/secrets/a.b-c", &[("if-match", &etag)], b"");
    assert_eq!(gone.status, 204);
    assert_eq!(client.get("/api/secrets/a.b-c").status, 404);
    // The number is limited by the plan.
    for n in 0..20 {
        put(&client, &format!("n{n}"), &json!("long enough"), 201);
    }
    let refused = client.json("PUT", "/api/secrets/n20", &body);
    assert_eq!(
        (refused.status, refused.text("code").as_str()),
        (402, "plan-limit-exceeded")
    );
    put(&client, "n19", &json!("still there"), 200);
}

#[test]
fn secrets_are_allowed_only_in_input_from() {
    let client = Client::new();
    let refused = |definition: &Value| {
        let body = json!({ "definition": definition });
        client.post("/api/workflows", &body).expect(422).json()
    };
    let set = json!([{"a": {"set": {"x": "${ $secrets.canary }"}}}]);
    let refusal = refused(&document(&json!(["canary"]), &set));
    assert_eq!(
        refusal["errors"][0]["pointer"], "/definition/do/0/a/set/x",
        "{refusal}"
    );
    let text = refusal["errors"][0]["detail"].as_str().unwrap();
    assert!(text.contains("input.from"), "{text}");
    let refusal = refused(&document(
        &json!(["not a name"]),
        &json!([{"a": {"set": {"x": 1}}}]),
    ));
    assert_eq!(refusal["errors"][0]["pointer"], "/definition/use/secrets/0");
}

async fn ended(bench: &Bench, executor: &executor::App, workflow: &str) -> aias_domain::run::Run {
    let body = json!({"workflow_id": workflow, "input": {}});
    let answer = bench
        .request("workflows", "POST", "/api/workflows/execute", &body)
        .await;
    let id = json_of(&answer)["run_id"].as_str().unwrap().to_owned();
    let messages = bench.messages().await;
    let response = bench.deliver(executor, &messages, 1).await;
    assert!(response.batch_item_failures.is_empty());
    let runs = bench.runs().await;
    runs.into_iter()
        .find(|run| run.id.to_string() == id)
        .unwrap()
}

#[tokio::test]
async fn missing_or_invalid_secret_faults_call() {
    let bench = Bench::new().await;
    let url = Hosts::default().start().await;
    let endpoint =
        json!({"uri": format!("{url}/mirror"), "authentication": {"basic": {"use": "canary"}}});
    let tasks = json!([{"a": {"call": "http", "with": {"method": "get", "endpoint": endpoint}}}]);
    bench
        .add_workflow(WORKFLOW, &document(&json!(["canary"]), &tasks))
        .await;
    let run = ended(&bench, &bench.executor(), WORKFLOW).await;
    let error = run.error.unwrap();
    assert_eq!((error.code.as_str(), error.status), ("authentication", 401));
    assert_eq!(error.detail.unwrap(), "the tenant has no secret `canary`");
    let body = json!({"value": "no-object-at-all"});
    let path = "/api/secrets/canary";
    assert_eq!(
        bench
            .request("tenants", "PUT", path, &body)
            .await
            .status_code,
        201
    );
    let error = ended(&bench, &bench.executor(), WORKFLOW)
        .await
        .error
        .unwrap();
    assert_eq!((error.code.as_str(), error.status), ("configuration", 400));
    assert!(!error.detail.unwrap().contains("no-object"));
    // As the name of a host that must not be called.
    let call = json!({"method": "get", "endpoint": "${ \"http://\" + .host + \"/\" }"});
    let from = json!({"from": "${ {host: $secrets.canary} }"});
    let tasks = json!([{"a": {"call": "http", "with": call, "input": from}}]);
    let other = "wf_01JD3V4ZK8QW5R7T9X1B3C5D92";
    bench
        .add_workflow(other, &document(&json!(["canary"]), &tasks))
        .await;
    for host in ["169.254.169.254", "Unknown.Host.INVALID"] {
        let body = json!({ "value": host });
        bench.request("tenants", "PUT", path, &body).await;
        let error = ended(&bench, &bench.executor(), other).await.error.unwrap();
        assert_eq!(error.code, "communication", "{error:?}");
        let detail = error.detail.unwrap().to_lowercase();
        assert!(
            !detail.contains("254") && !detail.contains("unknown.host"),
            "{detail}"
        );
    }
}

#[tokio::test]
async fn guessed_placeholder_is_not_replaced() {
    let bench = Bench::new().await;
    let hosts = Hosts::default();
    let url = hosts.start().await;
    let body = json!({"value": "the-value-itself"});
    bench
        .request("tenants", "PUT", "/api/secrets/canary", &body)
        .await;
    let tasks = json!([{"a": {"call": "http", "with": {"method": "post", "endpoint": format!("{url}/echo"), "body": "${ .in }"}}}]);
    bench
        .add_workflow(WORKFLOW, &document(&json!(["canary"]), &tasks))
        .await;
    // With an empty nonce and with the nonce of another run.
    for secret_nonce in ["", "00000000000000000000000000000000"] {
        let guess = aias_domain::secret::placeholder(secret_nonce, "canary");
        let body = json!({"workflow_id": WORKFLOW, "input": {"in": guess}});
        bench
            .request("workflows", "POST", "/api/workflows/execute", &body)
            .await;
    }
    let messages = bench.messages().await;
    bench.deliver(&bench.executor(), &messages, 1).await;
    let seen = hosts.seen("/echo");
    assert_eq!(seen.len(), 2);
    assert!(seen.iter().all(|seen| !seen.body.contains("the-value")));
}

#[tokio::test]
async fn keyring_rotation_keeps_secrets_readable() {
    let bench = Bench::new().await;
    let hosts = Hosts::default();
    let url = hosts.start().await;
    let endpoint =
        json!({"uri": format!("{url}/mirror"), "authentication": {"bearer": {"use": "canary"}}});
    let tasks = json!([{"a": {"call": "http", "with": {"method": "get", "endpoint": endpoint}}}]);
    bench
        .add_workflow(WORKFLOW, &document(&json!(["canary"]), &tasks))
        .await;
    let (k1, k2) = (
        "0123456789abcdef0123456789abcdef",
        "fedcba9876543210fedcba9876543210",
    );
    let ring = |text: Value| Keyring::read(&text.to_string().into()).unwrap();
    // The three states of a rotation. During it, functions are in two of them.
    let states = [
        json!({"current": "k1", "k1": k1}),
        json!({"current": "k1", "k1": k1, "k2": k2}),
        json!({"current": "k2", "k1": k1, "k2": k2}),
    ];
    for pair in states.windows(2) {
        for (writer, reader) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
            let value = format!("value-by-{writer}-for-{reader}");
            let body = json!({ "value": value });
            let path = "/api/secrets/canary";
            let answer = bench
                .request_with(ring(pair[writer].clone()), "tenants", "PUT", path, &body)
                .await;
            assert!([200, 201].contains(&answer.status_code), "{}", answer.body);
            let keyrings = Keyrings::constant(ring(pair[reader].clone()));
            let run = ended(&bench, &bench.executor_with(keyrings), WORKFLOW).await;
            assert_eq!(run.error, None);
            let seen = hosts.seen("/mirror").pop().unwrap();
            assert_eq!(seen.header("authorization"), format!("Bearer {value}"));
        }
    }
}

#[tokio::test]
async fn secret_nonce_survives_executor_crash() {
    for number in 0.. {
        let bench = Bench::new().await;
        let hosts = Hosts::default();
        let url = hosts.start().await;
        let body = json!({"value": "the-value-itself"});
        bench
            .request("tenants", "PUT", "/api/secrets/canary", &body)
            .await;
        let call = |path: &str| {
            let headers = json!({"x-token": "${ .token }"});
            let with =
                json!({"method": "get", "endpoint": format!("{url}{path}"), "headers": headers});
            let from = json!({"from": "${ {token: $secrets.canary} }"});
            json!({"call": "http", "with": with, "input": from})
        };
        let tasks = json!([{"a": call("/echo/a")}, {"b": call("/echo/b")}]);
        bench
            .add_workflow(WORKFLOW, &document(&json!(["canary"]), &tasks))
            .await;
        let body = json!({"workflow_id": WORKFLOW, "input": {}});
        bench
            .request("workflows", "POST", "/api/workflows/execute", &body)
            .await;
        let messages = bench.messages().await;
        // The first executor dies at once, the second at any later call.
        for (received, at) in [(1, Some(0)), (2, Some(number)), (3, None)] {
            bench.wire.reset();
            if let Some(at) = at {
                bench.wire.break_at(at, Side::After);
            }
            bench.deliver(&bench.executor(), &messages, received).await;
            if received == 2 && !bench.wire.is_broken() {
                assert!(number > 10, "{number}");
                return;
            }
        }
        let run = bench.runs().await.remove(0);
        assert_eq!(
            (run.status, run.error),
            (Status::Completed, None),
            "call {number}"
        );
        let seen = hosts.seen("/echo/");
        assert!(
            seen.iter()
                .all(|s| s.header("x-token") == "the-value-itself")
        );
    }
}
