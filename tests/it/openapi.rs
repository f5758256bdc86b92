//! The API description, the template and the local loop have the routes declared by the handlers.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use aias_platform::http::{Gateway, Identity, Routes, service};
use aias_tests::{
    api::{document, operations},
    bench::{Bench, OWNERS_KEY, TENANT, json_of, respond},
};
use serde_json::{Value, json};

fn read(file: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(file);
    fs::read_to_string(path).unwrap()
}

fn paths() -> BTreeMap<String, BTreeSet<String>> {
    let mut all: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for operation in operations() {
        let function = all.entry(operation.function.to_owned()).or_default();
        function.insert(operation.path);
    }
    all
}

#[test]
fn checked_in_document_is_current() {
    let checked_in: Value = serde_json::from_str(&read("docs/openapi.json")).unwrap();
    assert!(
        checked_in == document(),
        "docs/openapi.json is stale: run `make openapi`"
    );
}

#[test]
fn every_reference_of_the_document_resolves() {
    let document = document();
    let mut left = vec![&document];
    while let Some(value) = left.pop() {
        match value {
            Value::Object(members) => {
                if let Some(target) = members.get("$ref").and_then(Value::as_str) {
                    let found = target.strip_prefix('#').and_then(|at| document.pointer(at));
                    assert!(found.is_some(), "{target}");
                }
                left.extend(members.values());
            }
            Value::Array(items) => left.extend(items),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }
}

#[test]
fn every_operation_states_who_may_call_it() {
    for operation in operations() {
        let public = [
            "/api/webhooks/",
            "/api/stripe/",
            "/api/health",
            "/api/openapi.json",
        ];
        let is_public = public.iter().any(|path| operation.path.starts_with(path));
        assert_eq!(operation.role.is_none(), is_public, "{operation:?}");
    }
}

#[test]
fn template_has_the_paths_of_each_function() {
    let mut declared: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut function = String::new();
    for line in read("template.yaml").lines().map(str::trim) {
        if let Some(binary) = line.strip_prefix("Binary: ") {
            binary.clone_into(&mut function);
        }
        let event = line.strip_prefix("Properties: {ApiId: !Ref Api, Method: ANY, Path: \"");
        if let Some(path) = event.and_then(|rest| rest.strip_suffix("\"}")) {
            let paths = declared.entry(function.clone()).or_default();
            assert!(paths.insert(path.to_owned()), "{path} twice");
        }
        assert!(!line.starts_with("Method: "), "{line}");
    }
    remove_pages(&mut declared, "/dashboard/{proxy+}");
    assert_eq!(declared, paths());
}

#[test]
fn local_loop_has_the_paths_of_each_function() {
    let manifest = read("Cargo.toml");
    let (_, router) = manifest
        .split_once("[workspace.metadata.lambda.watch.router]\n")
        .unwrap();
    let mut declared: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for line in router.lines() {
        let (path, function) = line.split_once(" = ").unwrap();
        let plain = |text: &str| text.trim_matches('"').to_owned();
        let paths = declared.entry(plain(function)).or_default();
        assert!(paths.insert(plain(path)), "{path} twice");
    }
    remove_pages(&mut declared, "/dashboard/{*path}");
    assert_eq!(declared, paths());
}

/// The pages of the console are not operations of the API: one path has all of them.
fn remove_pages(declared: &mut BTreeMap<String, BTreeSet<String>>, pages: &str) {
    let own = declared.remove("console").unwrap();
    let expected = ["/dashboard", pages].map(str::to_owned);
    assert_eq!(own, BTreeSet::from(expected));
}

/// The routers of all functions in one router.
fn merged(bench: &Bench) -> Gateway {
    let functions = paths();
    let routers = functions.keys().map(|function| {
        let api = bench.api_of(None);
        bench.routes(api, function)
    });
    Gateway::new(service(routers.fold(Routes::new(), Routes::merge)))
}

#[tokio::test]
async fn all_routers_work_as_one() {
    let bench = Bench::new().await;
    let gateway = merged(&bench);
    let ask = async |method: &str, path: &str, body: &Value| {
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let event = json!({
            "rawPath": path,
            "rawQueryString": query,
            "headers": {
                "authorization": format!("Bearer {OWNERS_KEY}"),
                "content-type": "application/json",
                "host": "127.0.0.1:4566",
            },
            "body": if body.is_null() { Value::Null } else { body.to_string().into() },
            "requestContext": {"requestId": "r-1", "http": {"method": method}},
        });
        let response = respond(&gateway, &event.to_string()).await;
        assert_eq!(response.headers["x-request-id"], "r-1");
        response
    };
    let null = &Value::Null;
    let text = |value: &Value, name: &str| value[name].as_str().unwrap().to_owned();

    assert_eq!(ask("GET", "/api/health", null).await.status_code, 200);
    let tenants = json_of(&ask("GET", "/api/tenants", null).await);
    let tenant = text(&tenants["data"][0], "id");

    let definition = json!({
        "document": {"dsl": "1.0.3", "namespace": "n", "name": "double", "version": "1.0.0"},
        "do": [{"double": {"set": {"n": "${ .body.n * 2 }"}}}],
    });
    let made = ask(
        "POST",
        "/api/workflows",
        &json!({ "definition": definition }),
    )
    .await;
    assert_eq!(made.status_code, 201, "{}", made.body);
    let workflow = text(&json_of(&made), "id");
    let tested = json!({"input": {"body": {"n": 2}}});
    let tested = ask("POST", &format!("/api/workflows/{workflow}/test"), &tested).await;
    assert_eq!(
        json_of(&tested)["output"],
        json!({"n": 4}),
        "{}",
        tested.body
    );

    let endpoint = json!({"name": "E", "workflow_id": workflow});
    let endpoint = json_of(&ask("POST", "/api/webhook-endpoints", &endpoint).await);
    let url = text(&endpoint, "url");
    let path = url.strip_prefix("http://127.0.0.1:4566").unwrap();
    let accepted = ask("POST", path, &json!({"n": 21})).await;
    assert_eq!(accepted.status_code, 202, "{}", accepted.body);
    let run = text(&json_of(&accepted), "run_id");

    let messages = bench.messages().await;
    let executed = bench.deliver(&bench.executor(), &messages, 1).await;
    assert!(executed.batch_item_failures.is_empty());

    let found = json_of(&ask("GET", &format!("/api/runs/{run}"), null).await);
    assert_eq!(found["status"], "completed", "{found}");
    let runs = json_of(&ask("GET", "/api/runs?status=completed&limit=1", null).await);
    assert_eq!(runs["data"][0]["id"], json!(run));
    let logs = json_of(&ask("GET", &format!("/api/runs/{run}/logs"), null).await);
    assert!(logs["data"].as_array().unwrap().len() >= 2, "{logs}");
    let verified = json_of(&ask("POST", &format!("/api/runs/{run}/verify"), null).await);
    assert_eq!(verified["reproducible"], true, "{verified}");
    let artifact = text(&found["artifacts"][0], "id");
    let artifact = json_of(&ask("GET", &format!("/api/artifacts/{artifact}"), null).await);
    assert_eq!(artifact["preview"], "{\"n\":42}");

    let audit = format!("/api/tenants/{tenant}/audit-log");
    let audit = json_of(&ask("GET", &audit, null).await);
    let actions: BTreeSet<_> = audit["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|e| text(e, "action"))
        .collect();
    assert!(actions.contains("endpoint.created"), "{actions:?}");
    let left = json_of(&ask("GET", "/api/entitlements/check?feature=runs", null).await);
    assert_eq!(left["used"], 1);
    let subscription = ask("GET", "/api/billing/subscription", null).await;
    assert_eq!(json_of(&subscription)["status"], "none");

    // An unsupported method and an unknown path.
    let wrong = ask("DELETE", "/api/runs", null).await;
    assert_eq!(
        (wrong.status_code, &*wrong.headers["allow"]),
        (405, "GET,HEAD")
    );
    assert_eq!(ask("GET", "/api/nothing", null).await.status_code, 404);
}

/// A server that verified a session puts the identity into the request.
#[tokio::test]
async fn identity_in_the_request_needs_no_credential() {
    let bench = Bench::new().await;
    let status = async |user: &str, tenant: &str| {
        let identity = Identity::User(user.parse().unwrap());
        let routes = bench.routes(bench.api_of(None), "runs");
        let gateway = Gateway::new(service(routes.layer(axum::Extension(identity))));
        let event = json!({
            "rawPath": "/api/runs",
            "headers": {"x-tenant-id": tenant},
            "requestContext": {"http": {"method": "GET"}},
        });
        respond(&gateway, &event.to_string()).await.status_code
    };
    assert_eq!(status("owner", TENANT).await, 200);
    assert_eq!(status("stranger", TENANT).await, 404);
    assert_eq!(status("owner", "ten_01JD3V4ZK8QW5R7T9X1B3C5D7G").await, 404);
}
