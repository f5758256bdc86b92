//! What a tenant pays for is what a tenant gets: the last that is allowed, the first that is not,
//! and what a change of plan does.

use std::time::Duration;

use aias_domain::{
    endpoint::{Endpoint, Secret},
    id::{EndpointId, KeyId, WorkflowId},
    plan::{self, Limits, PlanName, RATE_SECONDS},
    run::Status,
    tenant::{ApiKey, Member, Role},
    text::Name,
    verification::Verification,
    workflow::{Version, Workflow},
};
use aias_platform::{
    clock::random_id,
    store::{Admission, Gate, Refused, TenantStore},
};
use aias_testkit::wire::Side;
use aias_tests::{
    bench::{Bench, TENANT, WORKFLOW, json_of, ten_steps},
    client::{Client, send},
};
use futures_util::future::join_all;
use jiff::Timestamp;
use serde_json::{Value, json};

/// How many of fifty at once got in; all others were told that the plan has no room.
fn room(answers: &[Result<(), Refused>]) -> usize {
    let refused = |r: &Result<(), Refused>| matches!(r, Err(Refused::Limit { .. }));
    let made = answers.iter().filter(|answer| answer.is_ok()).count();
    // A transaction that collides too often is told to come again: it made nothing.
    let again = |r: &Result<(), Refused>| matches!(r, Err(Refused::Store(e)) if e.is_transient());
    assert!(
        answers.iter().all(|r| r.is_ok() || refused(r) || again(r)),
        "{answers:?}"
    );
    made
}

async fn fifty<T>(make: impl AsyncFn() -> T) -> Vec<T> {
    join_all((0..50).map(|_| make())).await
}

fn name() -> Name {
    Name::new("N").unwrap()
}

async fn endpoint(own: &TenantStore<'_>, limit: u64, now: Timestamp) -> Result<(), Refused> {
    let endpoint = Endpoint {
        id: EndpointId::new(now, random_id()),
        name: name(),
        workflow_id: WORKFLOW.parse().unwrap(),
        enabled: true,
        disabled_by_plan: false,
        verification: Verification::none(),
        url_secrets: vec![Secret::new(format!("h.{:x}", random_id()), now)],
        signing_secrets: Vec::new(),
        created_at: now,
        updated_at: now,
    };
    own.create_endpoint(&endpoint, limit, None).await
}

async fn workflow(own: &TenantStore<'_>, limit: u64, now: Timestamp) -> Result<(), Refused> {
    let head = Workflow {
        id: WorkflowId::new(now, random_id()),
        name: "w".into(),
        namespace: "n".into(),
        latest: 1,
        enabled: true,
        disabled_by_plan: false,
        created_at: now,
        updated_at: now,
    };
    let version = Version {
        number: 1,
        digest: String::new(),
        definition: ten_steps().to_string(),
        created_at: now,
    };
    own.create_workflow(&head, &version, limit, None).await
}

async fn member(own: &TenantStore<'_>, limit: u64, now: Timestamp) -> Result<(), Refused> {
    let member = Member {
        user_id: format!("u{:x}", random_id()).parse().unwrap(),
        role: Role::Viewer,
        created_at: now,
        disabled_by_plan: false,
    };
    own.create_member(&member, limit, None).await
}

async fn api_key(own: &TenantStore<'_>, limit: u64, now: Timestamp) -> Result<(), Refused> {
    let key = ApiKey {
        id: KeyId::new(now, random_id()),
        name: name(),
        role: Role::Viewer,
        created_at: now,
        valid_until: None,
        token_hash: format!("h.{:x}", random_id()),
        disabled_by_plan: false,
    };
    own.create_api_key(&key, limit, None).await
}

fn admitted(all: &[Result<Admission, aias_platform::store::Error>]) -> usize {
    let is = |a: &Result<Admission, _>| matches!(a, Ok(Admission::Admitted(..)));
    all.iter().filter(|a| is(a)).count()
}

/// Every counted limit of every plan: so much is used that the plan has room for a few more, then
/// fifty come at once, and once more until nobody gets in.
#[tokio::test(flavor = "multi_thread")]
async fn the_table_is_walked_by_fifty_at_once() {
    const LEFT: u64 = 7;
    let Some(bench) = Bench::new().await else {
        return;
    };
    let store = bench.store();
    let own = bench.tenant(&store);
    let now = bench.now();
    let home = format!("TENANT#{TENANT}");
    for limits in PlanName::ALL.map(PlanName::limits) {
        let what = limits.plan;
        let counted: [(&str, u64); 4] = [
            ("endpoints", limits.endpoints),
            ("workflows", limits.workflows),
            ("members", limits.members),
            ("api_keys", limits.api_keys),
        ];
        for (feature, limit) in counted {
            // As many as the plan has, but a few; or none where it has fewer than that.
            let used = limit.saturating_sub(LEFT);
            bench.set_number((&home, "TENANT"), feature, used).await;
            let mut made = 0;
            for _ in 0..6 {
                made += room(&match feature {
                    "endpoints" => fifty(async || endpoint(&own, limit, now).await).await,
                    "workflows" => fifty(async || workflow(&own, limit, now).await).await,
                    "members" => fifty(async || member(&own, limit, now).await).await,
                    _ => fifty(async || api_key(&own, limit, now).await).await,
                });
            }
            assert_eq!(made as u64, limit - used, "{what}: {feature}");
        }

        // The month, each shard with its share.
        let shards = u64::from(limits.shards);
        for shard in 0..limits.shards {
            let usage = format!("{home}#USAGE#2026-11#{shard}");
            let share = aias_domain::admission::share(limits.runs_per_month, limits.shards, shard);
            bench
                .set_number((&usage, "USAGE"), "runs", share - LEFT)
                .await;
        }
        let mut taken = 0;
        for _ in 0..6 {
            taken +=
                admitted(&fifty(async || Gate::default().admit(&own, &limits, now).await).await);
        }
        assert_eq!(taken as u64, LEFT * shards, "{what}: runs");
        let usage = format!("{home}#USAGE#2026-11#0");
        let grace = limits.suspended_runs - LEFT;
        bench
            .set_number((&usage, "USAGE"), "suspended", grace)
            .await;
        let held = fifty(async || own.hold(&limits, now).await).await;
        assert_eq!(admitted(&held) as u64, LEFT, "{what}: suspended runs");

        // A window of its own, so that the next plan begins with a fresh one.
        let plan = limits.plan as u64;
        let later = now + Duration::from_secs((plan + 1) * RATE_SECONDS);
        let window = aias_domain::admission::Window::of(later);
        for shard in 0..limits.shards {
            let usage = format!("{home}#USAGE#2026-11#{shard}");
            let share = aias_domain::admission::share(limits.burst(), limits.shards, shard);
            bench.set_number((&usage, "USAGE"), "runs", 0).await;
            bench
                .set_number(
                    (&usage, "USAGE"),
                    "at",
                    u64::try_from(window.number).unwrap(),
                )
                .await;
            bench
                .set_number(
                    (&usage, "USAGE"),
                    &format!("w{}", window.slot()),
                    share - LEFT,
                )
                .await;
        }
        let mut taken = 0;
        for _ in 0..6 {
            taken +=
                admitted(&fifty(async || Gate::default().admit(&own, &limits, later).await).await);
        }
        assert_eq!(taken as u64, LEFT * shards, "{what}: events a second");

        // Running at once.
        let running = limits.concurrent_runs.saturating_sub(LEFT);
        bench
            .set_number((&home, "RUNNING"), "running", running)
            .await;
        let app = bench.ingest();
        for n in 0..20 {
            bench.post(&app, &format!("{what}_{n}"), "{}").await;
        }
        let pending: Vec<_> = bench
            .runs()
            .await
            .into_iter()
            .filter(|r| r.status == Status::Pending)
            .collect();
        let start = async |id| {
            let mut read = own.run(id).await.unwrap().unwrap();
            if read.was != Status::Pending {
                return Ok(false);
            }
            read.run.value = read.run.value.begin(1, now).unwrap();
            own.start_run(&read, limits.concurrent_runs).await
        };
        let mut started = 0;
        for _ in 0..3 {
            let all = join_all(pending.iter().map(|run| start(run.id))).await;
            started += all.iter().filter(|s| matches!(s, Ok(true))).count();
        }
        assert_eq!(
            started as u64,
            limits.concurrent_runs - running,
            "{what}: concurrent runs"
        );
        // Each that ends makes room for one.
        let one = own
            .runs(
                &aias_platform::store::RunFilter {
                    status: Some(Status::Running),
                    ..Default::default()
                },
                1,
                None,
                (now - Duration::from_secs(60), now),
            )
            .await
            .unwrap();
        let mut read = own.run(one.items[0].id).await.unwrap().unwrap();
        read.run.value = read.run.value.cancel(now).unwrap();
        own.save_run(&read).await.unwrap();
        assert_eq!(own.running().await.unwrap(), limits.concurrent_runs - 1);
    }
}

async fn on(bench: &Bench, function: &str, path: &str) -> Vec<(String, bool)> {
    let list = json_of(&bench.ask(function, "GET", path, &Value::Null).await);
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
async fn what_a_smaller_plan_has_no_room_for_is_disabled_and_comes_back() {
    let Some(bench) = Bench::new().await else {
        return;
    };
    let members = format!("/api/tenants/{TENANT}/members");
    let keys = format!("/api/tenants/{TENANT}/api-keys");
    for n in 0..3 {
        bench.clock.advance(Duration::from_secs(1));
        let made = json!({"definition": ten_steps()});
        bench
            .ask("workflows", "POST", "/api/workflows", &made)
            .await;
        let made = json!({"name": "E", "workflow_id": WORKFLOW});
        bench
            .ask("webhook-endpoints", "POST", "/api/webhook-endpoints", &made)
            .await;
        let made = json!({"user_id": format!("user-{n}"), "role": "viewer"});
        bench.ask("tenants", "POST", &members, &made).await;
        let made = json!({"name": "k", "role": "viewer"});
        bench.ask("tenants", "POST", &keys, &made).await;
    }
    let lists = [
        ("workflows", "/api/workflows"),
        ("webhook-endpoints", "/api/webhook-endpoints"),
        ("tenants", members.as_str()),
        ("tenants", keys.as_str()),
    ];
    let two = json!({"workflows": 2, "endpoints": 2, "members": 2, "api_keys": 2});
    // Whatever the process dies at, the next pass ends it.
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
        // The oldest stay; of members the owner does, whose name sorts first.
        assert_eq!(all, [true, true, false, false], "{path}");
    }
    // By hand nothing comes back that the plan has no room for, and nothing new comes.
    let ends = on(&bench, "webhook-endpoints", "/api/webhook-endpoints").await;
    let path = |n: usize| format!("/api/webhook-endpoints/{}", ends[n].0);
    let enable = json!({"enabled": true});
    let refused = bench
        .ask("webhook-endpoints", "PATCH", &path(3), &enable)
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
    let refused = bench.ask("workflows", "PATCH", &flow, &enable).await;
    assert_eq!(refused.status_code, 402, "{}", refused.body);
    let made = json!({"name": "E", "workflow_id": WORKFLOW});
    let refused = bench
        .ask("webhook-endpoints", "POST", "/api/webhook-endpoints", &made)
        .await;
    assert_eq!(refused.status_code, 402, "{}", refused.body);
    let held = json_of(
        &bench
            .ask(
                "tenants",
                "POST",
                &keys,
                &json!({"name": "k", "role": "viewer"}),
            )
            .await,
    );
    assert_eq!(held["feature"], "api_keys");
    // One goes, one of one's choice comes back.
    bench
        .ask("webhook-endpoints", "DELETE", &path(1), &Value::Null)
        .await;
    let back = bench
        .ask("webhook-endpoints", "PATCH", &path(3), &enable)
        .await;
    assert_eq!(json_of(&back)["enabled"], true, "{}", back.body);
    // Deleting what is off leaves the count as it is.
    bench
        .ask("webhook-endpoints", "DELETE", &path(2), &Value::Null)
        .await;
    let check = bench
        .ask(
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
    // The larger plan, and all of it is back.
    bench.enterprise(&Value::Null).await;
    for (function, path) in lists {
        let all = on(&bench, function, path).await;
        assert!(all.iter().all(|(_, on)| *on), "{path}: {all:?}");
    }
    assert_eq!(on(&bench, "workflows", "/api/workflows").await.len(), 4);
}

#[tokio::test]
async fn what_is_disabled_by_the_plan_opens_nothing() {
    let Some(bench) = Bench::new().await else {
        return;
    };
    bench.clock.advance(Duration::from_secs(1));
    let made = json!({"name": "E", "workflow_id": WORKFLOW});
    let made = bench
        .ask("webhook-endpoints", "POST", "/api/webhook-endpoints", &made)
        .await;
    let url = json_of(&made)["url"].as_str().unwrap().to_owned();
    let keys = format!("/api/tenants/{TENANT}/api-keys");
    let key = json_of(
        &bench
            .ask(
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
        bench.answer("runs", &event.to_string()).await.status_code
    };
    let post = async || {
        let path = format!(
            "/api/webhooks/{}",
            url.split_once("/api/webhooks/").unwrap().1
        );
        let event = json!({"rawPath": path, "body": "{}", "headers": {"content-type": "application/json"}, "requestContext": {"http": {"method": "POST"}}});
        bench
            .answer("webhook-ingest", &event.to_string())
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

/// Posts events until one is refused; gives the statuses, and the runs' ids in order.
async fn flood(bench: &Bench, from: usize, to: usize) -> Vec<String> {
    let app = bench.ingest();
    let mut seen = Vec::new();
    for n in from..to {
        bench.clock.advance(Duration::from_millis(5));
        let answer = bench
            .post(&app, &format!("evt_{n}"), &format!(r#"{{"id": "{n}"}}"#))
            .await;
        let what = json_of(&answer);
        let what = what
            .get("status")
            .filter(|s| s.is_string())
            .or_else(|| what.get("code"));
        seen.push(format!(
            "{} {}",
            answer.status_code,
            what.unwrap().as_str().unwrap()
        ));
    }
    seen
}

/// Executes everything that was asked for; gives the numbers of the events, in the order of their
/// messages.
async fn executed(bench: &Bench) -> Vec<String> {
    let messages = bench.messages().await;
    let store = bench.store();
    let own = bench.tenant(&store);
    let mut order = Vec::new();
    for message in &messages {
        let id = serde_json::from_str::<Value>(message).unwrap()["run_id"]
            .as_str()
            .unwrap()
            .to_owned();
        bench
            .deliver(&bench.executor(), std::slice::from_ref(message), 1)
            .await;
        let run = own.run(id.parse().unwrap()).await.unwrap().unwrap();
        assert_eq!(run.run.value.status, Status::Completed);
        if let aias_domain::run::Trigger::Webhook { event_id, .. } = run.run.value.trigger {
            order.extend(event_id);
        }
    }
    order
}

#[tokio::test]
async fn what_the_month_has_no_room_for_is_held_and_goes_on_when_it_turns() {
    let Some(bench) = Bench::new().await else {
        return;
    };
    bench
        .enterprise(&json!({"runs_per_month": 2, "suspended_runs": 3}))
        .await;
    assert_eq!(
        flood(&bench, 0, 7).await,
        [
            "202 pending",
            "202 pending",
            "202 suspended",
            "202 suspended",
            "202 suspended",
            "429 runs-exhausted",
            "429 runs-exhausted"
        ]
    );
    // A duplicate of a held one is a duplicate.
    let again = bench.post(&bench.ingest(), "evt_3", r#"{"id": "3"}"#).await;
    assert_eq!(
        (again.status_code, json_of(&again)["status"].clone()),
        (200, json!("suspended"))
    );
    // One that was refused was not taken: the same id is free.
    assert_eq!(executed(&bench).await, ["evt_0", "evt_1"]);
    bench.wake().await;
    assert_eq!(executed(&bench).await, [""; 0], "the month has not turned");
    // Who asks by hand is told.
    let asked = bench
        .ask(
            "workflows",
            "POST",
            "/api/workflows/execute",
            &json!({"workflow_id": WORKFLOW}),
        )
        .await;
    assert_eq!(
        (asked.status_code, json_of(&asked)["feature"].clone()),
        (402, json!("runs"))
    );
    let turn = plan::month_end(bench.now()).duration_since(bench.now());
    bench.clock.advance(turn.unsigned_abs());
    bench.wake().await;
    // Two have room in the new month, the oldest; the third waits for the next one.
    assert_eq!(executed(&bench).await, ["evt_2", "evt_3"]);
    bench.wake().await;
    assert_eq!(executed(&bench).await, [""; 0]);
    bench.clock.advance(Duration::from_secs(31 * 86_400));
    bench.wake().await;
    assert_eq!(executed(&bench).await, ["evt_4"]);
    let store = bench.store();
    let own = bench.tenant(&store);
    assert_eq!(
        own.due(aias_platform::store::Task::Resume).await.unwrap(),
        None
    );
    let november = "2026-11-21T00:00:00Z".parse().unwrap();
    assert_eq!(own.usage(november).await.unwrap().suspended, 0);
}

#[tokio::test]
async fn held_runs_go_on_when_the_plan_is_raised_and_as_fast_as_it_allows() {
    let Some(bench) = Bench::new().await else {
        return;
    };
    bench
        .enterprise(&json!({"runs_per_month": 1, "suspended_runs": 30}))
        .await;
    assert_eq!(flood(&bench, 0, 26).await[25], "202 suspended");
    assert_eq!(executed(&bench).await.len(), 1);
    // One a second are ten in a window.
    bench
        .enterprise(&json!({"runs_per_month": 100, "events_per_second": 1}))
        .await;
    let mut order = Vec::new();
    // The first window is the flood's own, whose events count.
    for expected in [0, 10, 10, 5, 0] {
        bench.wake().await;
        let some = executed(&bench).await;
        assert_eq!(some.len(), expected, "{order:?}");
        order.extend(some);
        bench.wake().await;
        assert_eq!(
            executed(&bench).await.len(),
            0,
            "the window has no more room"
        );
        bench.clock.advance(Duration::from_secs(RATE_SECONDS));
    }
    let wanted: Vec<String> = (1..26).map(|n| format!("evt_{n}")).collect();
    assert_eq!(order, wanted);
}

#[tokio::test]
async fn whoever_dies_while_held_runs_go_on_loses_and_doubles_none() {
    for number in 0.. {
        let Some(bench) = Bench::new().await else {
            return;
        };
        // Not at the start of an hour, when it is also looked for what was due long ago.
        bench.clock.advance(Duration::from_secs(300));
        bench
            .enterprise(&json!({"runs_per_month": 0, "suspended_runs": 3}))
            .await;
        assert_eq!(flood(&bench, 0, 3).await, ["202 suspended"; 3]);
        bench.enterprise(&json!({"runs_per_month": 100})).await;
        bench.wire.reset();
        bench.wire.break_at(number, Side::After);
        bench.wake().await;
        let broken = bench.wire.is_broken();
        bench.wire.reset();
        bench.wake().await;
        // A message may be sent twice; a run is executed once.
        let messages = bench.messages().await;
        for message in &messages {
            bench
                .deliver(&bench.executor(), std::slice::from_ref(message), 1)
                .await;
        }
        let runs = bench.runs().await;
        assert!(
            runs.iter().all(|run| run.status == Status::Completed),
            "call {number}: {runs:?}"
        );
        assert!((3..=4).contains(&messages.len()), "call {number}");
        let store = bench.store();
        assert!(
            bench
                .tenant(&store)
                .suspended_runs(10)
                .await
                .unwrap()
                .is_empty()
        );
        if !broken {
            assert!(number > 15);
            break;
        }
    }
}

#[tokio::test]
async fn ingest_dies_while_it_holds_an_event_and_the_providers_retry_ends_it() {
    for side in [Side::Before, Side::After] {
        for number in 0.. {
            let Some(bench) = Bench::new().await else {
                return;
            };
            let what = format!("{side:?} call {number}");
            bench
                .enterprise(&json!({"runs_per_month": 0, "suspended_runs": 30}))
                .await;
            bench.wire.reset();
            bench.wire.break_at(number, side);
            let first = bench.post(&bench.ingest(), "evt_1", "{}").await;
            let broken = bench.wire.is_broken();
            bench.wire.reset();
            assert_eq!(
                first.status_code,
                if broken { 503 } else { 202 },
                "{what}: {}",
                first.body
            );
            let second = bench.post(&bench.ingest(), "evt_1", "{}").await;
            assert!(
                [200, 202].contains(&second.status_code),
                "{what}: {}",
                second.body
            );
            assert_eq!(bench.runs().await.len(), 1, "{what}");
            bench.enterprise(&Value::Null).await;
            bench.wake().await;
            assert_eq!(executed(&bench).await, ["evt_1"], "{what}");
            if !broken {
                break;
            }
        }
    }
}

#[tokio::test]
async fn a_held_run_can_be_cancelled() {
    let Some(bench) = Bench::new().await else {
        return;
    };
    bench
        .enterprise(&json!({"runs_per_month": 0, "suspended_runs": 3}))
        .await;
    flood(&bench, 0, 2).await;
    let run = bench.runs().await[0].id;
    let path = format!("/api/runs/{run}/cancel");
    let cancelled = bench.ask("runs", "POST", &path, &Value::Null).await;
    assert_eq!(json_of(&cancelled)["status"], "cancelled");
    bench.enterprise(&Value::Null).await;
    bench.wake().await;
    assert_eq!(executed(&bench).await, ["evt_0"]);
    let store = bench.store();
    assert_eq!(
        bench
            .tenant(&store)
            .usage(bench.now())
            .await
            .unwrap()
            .suspended,
        0
    );
}

#[tokio::test]
async fn a_sender_is_told_what_is_left_by_the_write_that_counted() {
    let Some(bench) = Bench::new().await else {
        return;
    };
    bench
        .enterprise(&json!({"runs_per_month": 50, "events_per_second": 1}))
        .await;
    let app = bench.ingest();
    let head = |answer: &aias_platform::http::HttpAnswer, name: &str| answer.headers[name].clone();
    let first = bench.post(&app, "evt_0", "{}").await;
    // 1 of 10 in this window, 1 of 50 in this month, which turns in 9.5 days.
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
    // Known to be full, the next one costs no write but its claim and that claim's end.
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
        "what was refused is free"
    );
}

#[tokio::test]
async fn a_wide_tenants_event_costs_no_more() {
    let Some(bench) = Bench::new().await else {
        return;
    };
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
async fn the_executor_keeps_to_the_plan() {
    let Some(bench) = Bench::new().await else {
        return;
    };
    let limits = json!({"steps_per_run": 5, "artifact_bytes": 100, "retention_days": 3});
    bench.enterprise(&limits).await;
    let text = |n: usize| format!(r#"${{ "x" * {n} }}"#);
    let run = async |definition: Value| {
        let made = bench
            .ask(
                "workflows",
                "POST",
                "/api/workflows",
                &json!({"definition": definition}),
            )
            .await;
        assert_eq!(made.status_code, 201, "{}", made.body);
        let id = json_of(&made)["id"].clone();
        bench
            .ask(
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
async fn a_run_that_lasts_waits_for_room() {
    let Some(bench) = Bench::new().await else {
        return;
    };
    bench.enterprise(&json!({"concurrent_runs": 1})).await;
    let slow = json!({
        "document": {"dsl": "1.0.3", "namespace": "test", "name": "slow", "version": "1.0.0"},
        "do": (0..60).map(|n| json!({format!("s{n}"): {"set": {"x": "${ [range(100000)] | add }"}}})).collect::<Vec<_>>(),
    });
    let made = bench
        .ask(
            "workflows",
            "POST",
            "/api/workflows",
            &json!({"definition": slow}),
        )
        .await;
    let wish = json!({"workflow_id": json_of(&made)["id"], "input": 1});
    for _ in 0..2 {
        bench
            .ask("workflows", "POST", "/api/workflows/execute", &wish)
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
        "too short to see anything"
    );
    let runs = bench.runs().await;
    let with = |status| runs.iter().filter(|run| run.status == status).count();
    assert_eq!(
        (with(Status::Completed), with(Status::Pending)),
        (1, 1),
        "{runs:?}"
    );
    // Its message comes later, and then there is room.
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
    assert_eq!(bench.tenant(&store).running().await.unwrap(), 0);
}

const INVOKE: &str = "
import sys, boto3
client = boto3.client('lambda', endpoint_url=sys.argv[1], region_name='us-east-1',
                      aws_access_key_id='test', aws_secret_access_key='test')
answer = client.invoke(FunctionName=sys.argv[2], Payload=sys.argv[3].encode())
print(answer.get('FunctionError', 'done'), answer['Payload'].read().decode())
";

#[test]
fn the_deployed_stack_holds_events_back_and_lets_them_go_on() {
    let Some(client) = Client::new() else { return };
    let invoke = |event: &Value| {
        let name = client.stack.output("ReconcilerFunctionName");
        let event = event.to_string();
        client
            .stack
            .python(INVOKE, &[client.stack.url(), name, &event])
    };
    let give = |limits: &Value| {
        invoke(&json!({"enterprise": {"tenant_id": client.tenant, "limits": limits}}))
    };
    assert!(give(&json!({"runs_per_month": 1, "suspended_runs": 2})).starts_with("done"));
    assert!(
        !give(&json!({"runs_a_month": 1})).starts_with("done"),
        "a slip of the pen is told"
    );
    let workflow = client.workflow(&json!([{"a": {"set": {"x": 1}}}]));
    let url = client.endpoint(&workflow, &json!({"scheme": "none"}))["url"].clone();
    let post = || {
        let headers = [("content-type", "application/json")];
        let answer = send("POST", url.as_str().unwrap(), &headers, b"{}");
        let body = answer.json();
        let what = body
            .get("status")
            .filter(|s| s.is_string())
            .or_else(|| body.get("code"));
        (answer.status, what.unwrap().clone(), body["run_id"].clone())
    };
    let all: Vec<_> = (0..4).map(|_| post()).collect();
    let told: Vec<_> = all
        .iter()
        .map(|(status, what, _)| (*status, what.as_str().unwrap()))
        .collect();
    assert_eq!(
        told,
        [
            (202, "pending"),
            (202, "suspended"),
            (202, "suspended"),
            (429, "runs-exhausted")
        ]
    );
    let held = client.get("/api/runs?status=suspended").expect(200).json();
    assert_eq!(held["data"].as_array().unwrap().len(), 2);
    assert!(give(&json!({})).starts_with("done"));
    let schedule = json!({"detail-type": "Scheduled Event", "source": "aws.events"});
    assert!(invoke(&schedule).starts_with("done"));
    for (_, _, run) in &all[..3] {
        assert_eq!(client.ended(run.as_str().unwrap())["status"], "completed");
    }
}

#[test]
fn no_plan_keeps_runs_longer_than_the_bucket() {
    let template = include_str!("../../template.yaml");
    let kept = template.split("  RetentionDays:").nth(1).unwrap();
    let kept = kept.split("Default: ").nth(1).unwrap();
    let days: u32 = kept.lines().next().unwrap().parse().unwrap();
    let longest = PlanName::ALL.map(|plan: PlanName| -> Limits { plan.limits() });
    assert!(longest.iter().all(|limits| limits.retention_days <= days));
}
