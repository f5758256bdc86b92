//! The audit log: it has every change, and entries are immutable.

use aias_tests::{
    bench::{Bench, TENANT, json_of},
    client::{Client, definition},
};
use serde_json::{Value, json};

fn log(client: &Client, query: &str) -> Value {
    let path = format!("/api/tenants/{}/audit-log{query}", client.tenant);
    client.get(&path).expect(200).json()
}

fn actions(log: &Value) -> Vec<String> {
    let entries = log["data"].as_array().unwrap().iter();
    let action = |entry: &Value| entry["action"].as_str().unwrap().to_owned();
    entries.map(action).collect()
}

#[test]
fn every_change_is_in_audit_log() {
    let client = Client::new();
    let tenant = format!("/api/tenants/{}", client.tenant);
    let own = client.with(client.key("admin"));
    let workflow = own.workflow(&json!([{"a": {"set": {"x": 1}}}]));
    let workflow_path = format!("/api/workflows/{workflow}");
    let changed = json!({"definition": definition(&json!([{"b": {"set": {"x": 2}}}]))});
    own.json("PUT", &workflow_path, &changed).expect(200);
    own.json("PATCH", &workflow_path, &json!({"enabled": false}))
        .expect(200);
    // A request that changes nothing writes no entry.
    own.json("PATCH", &workflow_path, &json!({"enabled": false}))
        .expect(200);
    let endpoint = own.endpoint(
        &workflow,
        &json!({"scheme": "github", "secret": "canary-signing"}),
    );
    let url_secret = endpoint["secret"].as_str().unwrap().to_owned();
    let path = format!(
        "/api/webhook-endpoints/{}",
        endpoint["id"].as_str().unwrap()
    );
    own.json("PATCH", &path, &json!({"name": "F"})).expect(200);
    own.post(&format!("{path}/rotate-secret"), &json!({}))
        .expect(200);
    own.json("DELETE", &path, &Value::Null).expect(204);
    own.json("DELETE", &workflow_path, &Value::Null).expect(204);
    let secret = json!({"value": "canary-of-a-secret"});
    own.json("PUT", "/api/secrets/s", &secret).expect(201);
    own.json("PUT", "/api/secrets/s", &secret).expect(200);
    own.json("DELETE", "/api/secrets/s", &Value::Null)
        .expect(204);
    let members = format!("{tenant}/members");
    own.post(&members, &json!({"user_id": "bob", "role": "viewer"}))
        .expect(201);
    let bob = format!("{members}/bob");
    own.json("PATCH", &bob, &json!({"role": "editor"}))
        .expect(200);
    own.json("DELETE", &bob, &Value::Null).expect(204);
    own.json("PATCH", &tenant, &json!({"name": "Other"}))
        .expect(200);
    let keys = format!("{tenant}/api-keys");
    let key = own.post(&keys, &json!({"name": "k", "role": "viewer"}));
    let key = key.expect(201).json();
    let key_path = format!("{keys}/{}", key["id"].as_str().unwrap());
    own.json("DELETE", &key_path, &Value::Null).expect(204);
    // A refused request writes no entry.
    own.json("DELETE", &key_path, &Value::Null).expect(404);

    let all = log(&own, "?limit=100");
    let expected = [
        "api_key.deleted",
        "api_key.created",
        "tenant.updated",
        "member.deleted",
        "member.updated",
        "member.created",
        "secret.deleted",
        "secret.updated",
        "secret.created",
        "workflow.deleted",
        "endpoint.deleted",
        "endpoint.rotated",
        "endpoint.updated",
        "endpoint.created",
        "workflow.updated",
        "workflow.updated",
        "workflow.created",
        "api_key.created",
    ];
    let entries = actions(&all);
    assert_eq!(entries[..expected.len()], expected);
    assert_eq!(entries.last().unwrap(), "tenant.created");
    let entries = all["data"].as_array().unwrap();
    let of = |action: &str| {
        entries
            .iter()
            .find(|entry| entry["action"] == action)
            .unwrap()
    };
    let updated = of("member.updated");
    assert_eq!(updated["before"]["role"], "viewer");
    assert_eq!(updated["after"]["role"], "editor");
    assert_eq!(updated["target"], json!({"type": "member", "id": "bob"}));
    assert_eq!(updated["actor"]["type"], "api_key");
    assert_eq!(updated["source_ip"], "127.0.0.1");
    assert!(!updated["request_id"].as_str().unwrap().is_empty());
    assert_eq!(of("tenant.created")["actor"]["type"], "user");
    assert_eq!(of("workflow.created")["before"], Value::Null);
    let digests: Vec<_> = entries
        .iter()
        .filter(|entry| entry["action"] == "workflow.updated")
        .map(|entry| (&entry["before"]["digest"], &entry["after"]["digest"]))
        .collect();
    assert_eq!(digests[0].0, digests[0].1, "it was disabled");
    assert_ne!(digests[1].0, digests[1].1, "it was changed");
    let text = all.to_string();
    let token = key["key"].as_str().unwrap();
    for hidden in ["canary", &url_secret, token, "k1."] {
        assert!(!text.contains(hidden), "{hidden}");
    }

    // Page by page.
    let (mut pages, mut query) = (Vec::new(), "?limit=5".to_owned());
    loop {
        let page = log(&own, &query);
        pages.extend(page["data"].as_array().unwrap().clone());
        match page["next_cursor"].as_str() {
            Some(cursor) => query = format!("?limit=5&cursor={cursor}"),
            None => break,
        }
    }
    assert_eq!(&pages, entries);
    for method in ["POST", "PUT", "PATCH", "DELETE"] {
        let path = format!("{tenant}/audit-log");
        let status = own.json(method, &path, &json!({})).status;
        assert!([404, 405].contains(&status), "{method}: {status}");
    }
}

#[tokio::test]
async fn plan_change_is_in_audit_log() {
    let bench = Bench::new().await;
    bench.enterprise(&json!({"runs_per_month": 5})).await;
    bench
        .clock
        .advance(std::time::Duration::from_secs(70 * 24 * 3600));
    bench.enterprise(&Value::Null).await;
    let path = format!("/api/tenants/{TENANT}/audit-log?limit=2");
    let page = json_of(&bench.request("tenants", "GET", &path, &Value::Null).await);
    assert_eq!(actions(&page), ["plan.updated", "plan.updated"]);
    let newest = &page["data"][0];
    assert_eq!(newest["actor"], json!({"type": "operator"}));
    assert_eq!(newest["before"]["runs_per_month"], 5);
    assert_eq!(newest["after"], Value::Null);
    let cursor = page["next_cursor"].as_str().unwrap();
    let path = format!("{path}&cursor={cursor}");
    let page = json_of(&bench.request("tenants", "GET", &path, &Value::Null).await);
    assert_eq!(page["next_cursor"], Value::Null);
}
