//! Plans: objects beyond a smaller plan, headers with the remaining quota, and limits of the executor.

use std::time::Duration;

use aias_domain::{
    plan::{Limits, PlanName},
    run::Status,
};
use aias_testkit::wire::Side;
use aias_tests::bench::{Bench, TENANT, WORKFLOW, json_of, ten_steps};
use serde_json::{Value, json};

async fn on(bench: &Bench, function: &str, path: &str) -> Vec<(String, bool)> {
    let list = json_of(&bench.request(function, "GET", path, &Value::Null).await);
    let mut all: Vec<(String, bool)> = list["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|thing| {
            let id = thing.get("id").or_else(|| thing.get("user_id")).unwrap();
            let off = thing["disabled_reason"] == "plan-limit-exceeded";
            if let Some(enabled) = thing.get("enabled") {
                assert_eq!(*enabled, json!(!off));
            }
            (id.as_str().unwrap().to_owned(), !off)
        })
        .collect();
    all.sort();
    all
}

#[tokio::test]
async fn objects_beyond_plan_are_disabled_and_reenabled() {
    let bench = Bench::new().await;
    let members = format!("/api/tenants/{TENANT}/members");
    let keys = format!("/api/tenants/{TENANT}/api-keys");
    for n in 0..3 {
        bench.clock.advance(Duration::from_secs(1));
        let made = json!({"definition": ten_steps()});
        bench
            .request("workflows", "POST", "/api/workflows", &made)
            .await;
        let made = json!({"name": "E", "workflow_id": WORKFLOW});
        bench
            .request("webhook-endpoints", "POST", "/api/webhook-endpoints", &made)
            .await;
        let made = json!({"user_id": format!("user-{n}"), "role": "viewer"});
        bench.request("tenants", "POST", &members, &made).await;
        let made = json!({"name": "k", "role": "viewer"});
        bench.request("tenants", "POST", &keys, &made).await;
    }
    let lists = [
        ("workflows", "/api/workflows"),
        ("webhook-endpoints", "/api/webhook-endpoints"),
        ("tenants", members.as_str()),
        ("tenants", keys.as_str()),
    ];
    let two = json!({"workflows": 2, "endpoints": 2, "members": 2, "api_keys": 2});
    // If the process dies at any call, the next pass completes the work.
    for number in 0.. {
        bench.wire.reset();
        bench.wire.break_at(number, Side::After);
        let event = json!({"enterprise": {"tenant_id": TENANT, "limits": two}});
        let set = bench.invoke_reconciler(&event).await;
        let broken = bench.wire.is_broken();
        bench.wire.reset();
        if !broken {
            set.unwrap();
            break;
        }
    }
    for (function, path) in lists {
        let all: Vec<bool> = on(&bench, function, path)
            .await
            .into_iter()
            .map(|(_, on)| on)
            .collect();
        // The oldest remain enabled; the owner is the first member by name.
        assert_eq!(all, [true, true, false, false], "{path}");
    }
    // A tenant cannot enable more than the plan allows, nor create more.
    let ends = on(&bench, "webhook-endpoints", "/api/webhook-endpoints").await;
    let path = |n: usize| format!("/api/webhook-endpoints/{}", ends[n].0);
    let enable = json!({"enabled": true});
    let refused = bench
        .request("webhook-endpoints", "PATCH", &path(3), &enable)
        .await;
    let refused = json_of(&refused);
    assert_eq!(refused["code"], "plan-limit-exceeded");
    assert_eq!(
        (
            &refused["feature"],
            &refused["limit"],
            &refused["used"],
            &refused["plan"]
        ),
        (
            &json!("endpoints"),
            &json!(2),
            &json!(2),
            &json!("enterprise")
        )
    );
    let flows = on(&bench, "workflows", "/api/workflows").await;
    let flow = format!("/api/workflows/{}", flows[3].0);
    let refused = bench.request("workflows", "PATCH", &flow, &enable).await;
    assert_eq!(refused.status_code, 402, "{}", refused.body);
    let made = json!({"name": "E", "workflow_id": WORKFLOW});
    let refused = bench
        .request("webhook-endpoints", "POST", "/api/webhook-endpoints", &made)
        .await;
    assert_eq!(refused.status_code, 402, "{}", refused.body);
    let held = json_of(
        &bench
            .request(
                "tenants",
                "POST",
                &keys,
                &json!({"name": "k", "role": "viewer"}),
            )
            .await,
    );
    assert_eq!(held["feature"], "api_keys");
    // After one is deleted, another one can be enabled.
    bench
        .request("webhook-endpoints", "DELETE", &path(1), &Value::Null)
        .await;
    let back = bench
        .request("webhook-endpoints", "PATCH", &path(3), &enable)
        .await;
    assert_eq!(json_of(&back)["enabled"], true, "{}", back.body);
    // Deleting a disabled object does not change the counter.
    bench
        .request("webhook-endpoints", "DELETE", &path(2), &Value::Null)
        .await;
    let check = bench
        .request(
            "billing",
            "GET",
            "/api/entitlements/check?feature=endpoints",
            &Value::Null,
        )
        .await;
    let check = json_of(&check);
    assert_eq!(
        (&check["used"], &check["allowed"]),
        (&json!(2), &json!(false))
    );
    // With the larger plan, all objects are enabled again.
    bench.enterprise(&Value::Null).await;
    for (function, path) in lists {
        let all = on(&bench, function, path).await;
        assert!(all.iter().all(|(_, on)| *on), "{path}: {all:?}");
    }
    assert_eq!(on(&bench, "workflows", "/api/workflows").await.len(), 4);
}

#[tokio::test]
async fn objects_disabled_by_plan_are_refused() {
    let bench = Bench::new().await;
    bench.clock.advance(Duration::from_secs(1));
    let made = json!({"name": "E", "workflow_id": WORKFLOW});
    let made = bench
        .request("webhook-endpoints", "POST", "/api/webhook-endpoints", &made)
        .await;
    let url = json_of(&made)["url"].as_str().unwrap().to_owned();
    let keys = format!("/api/tenants/{TENANT}/api-keys");
    let key = json_of(
        &bench
            .request(
                "tenants",
                "POST",
                &keys,
                &json!({"name": "k", "role": "viewer"}),
            )
            .await,
    );
    let use_key = async || {
        let token = format!("Bearer {}", key["key"].as_str().unwrap());
        let event = json!({"rawPath": "/api/runs", "headers": {"authorization": token}, "requestContext": {"http": {"method": "GET"}}});
        bench
            .respond_to("runs", &event.to_string())
            .await
            .status_code
    };
    let post = async || {
        let path = format!(
            "/api/webhooks/{}",
            url.split_once("/api/webhooks/").unwrap().1
        );
        let event = json!({"rawPath": path, "body": "{}", "headers": {"content-type": "application/json"}, "requestContext": {"http": {"method": "POST"}}});
        bench
            .respond_to("webhook-ingest", &event.to_string())
            .await
            .status_code
    };
    assert_eq!((use_key().await, post().await), (200, 202));
    bench
        .enterprise(&json!({"endpoints": 1, "api_keys": 1}))
        .await;
    assert_eq!((use_key().await, post().await), (403, 410));
    bench.enterprise(&Value::Null).await;
    assert_eq!((use_key().await, post().await), (200, 202));
}

#[tokio::test]
async fn rate_limit_headers_report_remaining_quota() {
    let bench = Bench::new().await;
    bench
        .enterprise(&json!({"runs_per_month": 50, "events_per_second": 1}))
        .await;
    let app = bench.ingest();
    let head =
        |response: &aias_tests::bench::GatewayResponse, name: &str| response.headers[name].clone();
    let first = bench.post(&app, "evt_0", "{}").await;
    // 1 of 10 in this window, 1 of 50 in this month, which ends in 9.5 days.
    assert_eq!(
        head(&first, "ratelimit"),
        r#""events";r=9;t=10, "runs";r=49;t=820800"#
    );
    assert_eq!(
        head(&first, "ratelimit-policy"),
        r#""events";q=10;w=10, "runs";q=50;w=2592000"#
    );
    for n in 1..10 {
        assert_eq!(
            bench
                .post(&app, &format!("evt_{n}"), "{}")
                .await
                .status_code,
            202
        );
    }
    bench.wire.reset();
    let refused = bench.post(&app, "evt_10", "{}").await;
    assert_eq!(
        (refused.status_code, json_of(&refused)["code"].clone()),
        (429, json!("rate-limited"))
    );
    assert_eq!(head(&refused, "retry-after"), "10");
    assert!(head(&refused, "ratelimit").starts_with(r#""events";r=0;t=10"#));
    // The used-up limit is remembered, so the next event only costs its claim.
    bench.wire.reset();
    bench.post(&app, "evt_11", "{}").await;
    assert!(
        !bench
            .wire
            .calls()
            .contains(&"DynamoDB.UpdateItem".to_owned()),
        "{:?}",
        bench.wire.calls()
    );
    bench.clock.advance(Duration::from_secs(10));
    assert_eq!(
        bench.post(&app, "evt_10", "{}").await.status_code,
        202,
        "a refused event is not a duplicate later"
    );
}

#[tokio::test]
async fn event_of_sharded_tenant_costs_the_same() {
    let bench = Bench::new().await;
    bench.enterprise(&json!({})).await;
    let app = bench.ingest();
    bench.post(&app, "evt_0", "{}").await;
    for n in 1..30 {
        bench.wire.reset();
        assert_eq!(
            bench
                .post(&app, &format!("evt_{n}"), "{}")
                .await
                .status_code,
            202
        );
        assert_eq!((bench.wire.calls().len(), bench.wire.rounds()), (4, 2));
    }
}

fn steps(n: usize, output: &str) -> Value {
    let step = |n: usize| json!({format!("s{n}"): {"set": "${ . }"}});
    json!({
        "document": {"dsl": "1.0.3", "namespace": "test", "name": "steps", "version": "1.0.0"},
        "do": (0..n).map(step).collect::<Vec<_>>(),
        "output": {"as": output},
    })
}

#[tokio::test]
async fn executor_enforces_plan_limits() {
    let bench = Bench::new().await;
    let limits = json!({"steps_per_run": 5, "artifact_bytes": 100, "retention_days": 3});
    bench.enterprise(&limits).await;
    let text = |n: usize| format!(r#"${{ "x" * {n} }}"#);
    let run = async |definition: Value| {
        let made = bench
            .request(
                "workflows",
                "POST",
                "/api/workflows",
                &json!({"definition": definition}),
            )
            .await;
        assert_eq!(made.status_code, 201, "{}", made.body);
        let id = json_of(&made)["id"].clone();
        bench
            .request(
                "workflows",
                "POST",
                "/api/workflows/execute",
                &json!({"workflow_id": id, "input": 1}),
            )
            .await;
        let messages = bench.messages().await;
        bench.deliver(&bench.executor(), &messages, 1).await;
        let run = bench.runs().await.remove(0);
        run.error
            .map_or_else(|| run.status.as_str().to_owned(), |error| error.code)
    };
    bench.clock.advance(Duration::from_millis(10));
    assert_eq!(run(steps(5, &text(100))).await, "completed");
    bench.clock.advance(Duration::from_millis(10));
    assert_eq!(run(steps(6, &text(1))).await, "step-limit");
    bench.clock.advance(Duration::from_millis(10));
    assert_eq!(run(steps(1, &text(101))).await, "artifact-too-large");
    let store = bench.store();
    let newest = bench.runs().await[0].id;
    let stored = bench.tenant(&store).run(newest).await.unwrap().unwrap();
    let kept = stored.expires_at.as_second() - newest.created_at().as_second();
    assert_eq!(kept, 3 * 86_400);
}

#[tokio::test]
async fn long_run_waits_for_capacity() {
    let bench = Bench::new().await;
    bench.enterprise(&json!({"concurrent_runs": 1})).await;
    let slow = json!({
        "document": {"dsl": "1.0.3", "namespace": "test", "name": "slow", "version": "1.0.0"},
        "do": (0..60).map(|n| json!({format!("s{n}"): {"set": {"x": "${ [range(100000)] | add }"}}})).collect::<Vec<_>>(),
    });
    let made = bench
        .request(
            "workflows",
            "POST",
            "/api/workflows",
            &json!({"definition": slow}),
        )
        .await;
    let request = json!({"workflow_id": json_of(&made)["id"], "input": 1});
    for _ in 0..2 {
        bench
            .request("workflows", "POST", "/api/workflows/execute", &request)
            .await;
    }
    let messages = bench.messages().await;
    let (one, two) = (bench.executor(), bench.executor());
    let begun = std::time::Instant::now();
    tokio::join!(
        bench.deliver(&one, &messages[..1], 1),
        bench.deliver(&two, &messages[1..], 1)
    );
    assert!(
        begun.elapsed() > Duration::from_secs(1),
        "the run is too short for this test"
    );
    let runs = bench.runs().await;
    let with = |status| runs.iter().filter(|run| run.status == status).count();
    assert_eq!(
        (with(Status::Completed), with(Status::Pending)),
        (1, 1),
        "{runs:?}"
    );
    // The message is delayed, and then the plan allows another run.
    let later = async {
        loop {
            let messages = bench.messages().await;
            if !messages.is_empty() {
                return messages;
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    };
    let messages = tokio::time::timeout(Duration::from_secs(20), later)
        .await
        .unwrap();
    bench.deliver(&bench.executor(), &messages, 1).await;
    assert!(
        bench
            .runs()
            .await
            .iter()
            .all(|run| run.status == Status::Completed)
    );
    let store = bench.store();
    assert_eq!(bench.tenant(&store).running(5).await.unwrap(), 0);
}

#[test]
fn retention_does_not_exceed_bucket_lifecycle() {
    let template = include_str!("../../template.yaml");
    let kept = template.split("  RetentionDays:").nth(1).unwrap();
    let kept = kept.split("Default: ").nth(1).unwrap();
    let days: u32 = kept.lines().next().unwrap().parse().unwrap();
    let longest = PlanName::ALL.map(|plan: PlanName| -> Limits { plan.limits() });
    assert!(longest.iter().all(|limits| limits.retention_days <= days));
}
