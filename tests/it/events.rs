//! The events in `events/`: each file is used here, with its expected response.

use std::{collections::BTreeSet, fs, path::Path};

use aias_tests::bench::{Bench, json_of};
use serde_json::Value;

/// A file, and its expected status.
macro_rules! events {
    ($($function:literal / $case:literal => $status:literal),* $(,)?) => {
        &[$(($function, $case, include_str!(concat!("../../events/", $function, "/", $case, ".json")), $status)),*]
    };
}

const HTTP: &[(&str, &str, &str, u16)] = events! {
    "webhook-ingest" / "json" => 202,
    "webhook-ingest" / "form" => 202,
    "webhook-ingest" / "binary" => 202,
    "webhook-ingest" / "broken-base64" => 400,
    "webhook-ingest" / "odd-request" => 400,
    "webhook-ingest" / "malformed-host" => 400,
    "webhook-ingest" / "malformed-path" => 400,
    "webhook-ingest" / "malformed-query" => 400,
    "webhook-ingest" / "malformed-header" => 400,
    "webhook-ingest" / "malformed-header-name" => 400,
    "webhook-ingest" / "malformed-method" => 400,
    "webhook-ingest" / "get" => 405,
    "webhook-endpoints" / "create" => 201,
    "webhook-endpoints" / "list" => 200,
    "webhook-endpoints" / "sources" => 200,
    "webhook-endpoints" / "check-source" => 200,
    "webhook-endpoints" / "deliveries" => 200,
    "workflows" / "create" => 201,
    "workflows" / "execute" => 202,
    "workflows" / "test" => 200,
    "workflows" / "create-sample" => 201,
    "runs" / "list" => 200,
    "runs" / "counts" => 200,
    "runs" / "unknown" => 404,
    "runs" / "verify" => 404,
    "runs" / "events" => 404,
    "artifacts" / "list" => 200,
    "tenants" / "mine" => 200,
    "tenants" / "create-key" => 201,
    "tenants" / "put-secret" => 201,
    "tenants" / "list-secrets" => 200,
    "tenants" / "audit-log" => 200,
    "billing" / "subscription" => 200,
    "billing" / "entitlements" => 200,
    "billing" / "checkout" => 200,
    "billing" / "bad-url" => 400,
    "stripe-webhook" / "subscription" => 200,
    "stripe-webhook" / "forged" => 400,
    "stripe-webhook" / "wrong-method" => 405,
    "console" / "sign-in" => 200,
    "console" / "runs" => 303,
    "diagnostics" / "diagnostics" => 200,
    "diagnostics" / "health" => 200,
    "diagnostics" / "openapi" => 200,
    "diagnostics" / "wrong-method" => 405,
};

const OTHERS: [&str; 5] = [
    "executor/one-run.json",
    "executor/unreadable.json",
    "reconciler/schedule.json",
    "reconciler/dead-letter.json",
    "reconciler/enterprise.json",
];

#[test]
fn every_event_file_is_used() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../events");
    let mut there = BTreeSet::new();
    for function in fs::read_dir(folder).unwrap() {
        let function = function.unwrap();
        for file in fs::read_dir(function.path()).unwrap() {
            let name = |entry: &fs::DirEntry| entry.file_name().into_string().unwrap();
            there.insert(format!("{}/{}", name(&function), name(&file.unwrap())));
        }
    }
    let used = HTTP
        .iter()
        .map(|(function, case, ..)| format!("{function}/{case}.json"));
    assert_eq!(there, used.chain(OTHERS.map(str::to_owned)).collect());
}

#[tokio::test]
async fn events_get_expected_status() {
    let bench = Bench::new().await;
    for (function, case, event, status) in HTTP {
        let answer = bench.respond_to(function, event).await;
        assert_eq!(
            answer.status_code, *status,
            "{function}/{case}: {}",
            answer.body
        );
        assert_eq!(
            answer.headers["x-request-id"], "events-1",
            "{function}/{case}"
        );
        assert_eq!(answer.headers["api-version"], "2026-11-01");
        if *status >= 400 {
            assert_eq!(answer.headers["content-type"], "application/problem+json");
            let problem = json_of(&answer);
            assert_eq!(problem["status"], *status);
            assert!(
                problem["code"].is_string() && problem["title"].is_string(),
                "{problem}"
            );
        }
    }
}

#[tokio::test]
async fn messages_are_executed_or_redelivered() {
    let bench = Bench::new().await;
    let deadline = std::time::SystemTime::now() + std::time::Duration::from_secs(60);
    let unreadable =
        serde_json::from_str(include_str!("../../events/executor/unreadable.json")).unwrap();
    assert_eq!(
        executor::handle(&bench.executor(), unreadable, deadline)
            .await
            .batch_item_failures
            .len(),
        1
    );
    // The run never existed, and the message is old, so it is dropped.
    let orphan = || include_str!("../../events/executor/one-run.json");
    let event = serde_json::from_str(orphan()).unwrap();
    assert!(
        executor::handle(&bench.executor(), event, deadline)
            .await
            .batch_item_failures
            .is_empty()
    );
    // The same message, just sent: its run may not be written yet.
    let now = bench.now().as_millisecond().to_string();
    let event = serde_json::from_str(&orphan().replace("1732190000000", &now)).unwrap();
    assert_eq!(
        executor::handle(&bench.executor(), event, deadline)
            .await
            .batch_item_failures
            .len(),
        1
    );
    let dead =
        serde_json::from_str(include_str!("../../events/reconciler/dead-letter.json")).unwrap();
    assert!(
        reconciler::handle(&bench.reconciler(), dead)
            .await
            .unwrap()
            .batch_item_failures
            .is_empty()
    );
}

#[tokio::test]
async fn operator_event_with_unknown_member_is_refused() {
    let bench = Bench::new().await;
    let event: Value =
        serde_json::from_str(include_str!("../../events/reconciler/enterprise.json")).unwrap();
    bench.invoke_reconciler(&event).await.unwrap();
    let path = "/api/entitlements/check?feature=runs";
    let runs = json_of(&bench.request("billing", "GET", path, &Value::Null).await);
    assert_eq!(
        (&runs["limit"], &runs["plan"]),
        (&5_000_000.into(), &"enterprise".into())
    );
    let text = event.to_string();
    for slip in [
        text.replace("runs_per_month", "runs_a_month"),
        text.replace("tenant_id", "tenant"),
        text.replace("enterprise", "entreprise"),
    ] {
        assert!(
            serde_json::from_str::<reconciler::Event>(&slip).is_err(),
            "{slip}"
        );
    }
    let stranger = text.replace("01JD3V4ZK8QW5R7T9X1B3C5D7F", "01JD3V4ZK8QW5R7T9X1B3C5D7G");
    let stranger = serde_json::from_str(&stranger).unwrap();
    bench.invoke_reconciler(&stranger).await.unwrap_err();
}
