//! Every counted limit of every plan is exact under concurrency.

use std::time::Duration;

use aias_domain::{
    endpoint::{Endpoint, EndpointSecret},
    id::{EndpointId, KeyId, WorkflowId},
    name::Name,
    plan::{PlanName, RATE_SECONDS},
    run::Status,
    tenant::{ApiKey, Member, Role},
    verification::Verification,
    workflow::{Version, Workflow},
};
use aias_platform::{
    clock::random_id,
    store::{Admission, Error, Gate, TenantStore, TransactionError},
};
use aias_tests::bench::{Bench, TENANT, WORKFLOW, ten_steps};
use futures_util::future::join_all;
use jiff::Timestamp;
use serde_json::{Value, json};

/// The number of fifty concurrent requests that succeeded. All others must be refused by the plan.
fn room(responses: &[Result<(), TransactionError>]) -> usize {
    let refused =
        |r: &Result<(), TransactionError>| matches!(r, Err(TransactionError::Limit { .. }));
    let made = responses.iter().filter(|response| response.is_ok()).count();
    // A transaction that conflicts too often fails as transient, and has written nothing.
    let again = |r: &Result<(), TransactionError>| matches!(r, Err(TransactionError::Store(e)) if e.is_transient());
    assert!(
        responses
            .iter()
            .all(|r| r.is_ok() || refused(r) || again(r)),
        "{responses:?}"
    );
    made
}

async fn fifty<T>(make: impl AsyncFn() -> T) -> Vec<T> {
    join_all((0..50).map(|_| make())).await
}

fn name() -> Name {
    Name::new("N").unwrap()
}

async fn endpoint(
    own: &TenantStore<'_>,
    limit: u64,
    now: Timestamp,
) -> Result<(), TransactionError> {
    let endpoint = Endpoint {
        id: EndpointId::new(now, random_id()),
        name: name(),
        workflow_id: WORKFLOW.parse().unwrap(),
        workflow_version: None,
        disabled_status: Default::default(),
        last_ping_at: None,
        refusing_since: None,
        event_types: Vec::new(),
        enabled: true,
        disabled_by_plan: false,
        verification: Verification::none(),
        url_secrets: vec![EndpointSecret::new(format!("h.{:x}", random_id()), now)],
        signing_secrets: Vec::new(),
        created_at: now,
        updated_at: now,
    };
    own.create_endpoint(&endpoint, limit, None).await
}

async fn workflow(
    own: &TenantStore<'_>,
    limit: u64,
    now: Timestamp,
) -> Result<(), TransactionError> {
    let head = Workflow {
        id: WorkflowId::new(now, random_id()),
        name: "w".into(),
        namespace: "n".into(),
        latest: 1,
        active: None,
        samples: 0,
        enabled: true,
        disabled_by_plan: false,
        created_at: now,
        updated_at: now,
    };
    let version = Version {
        number: 1,
        document_version: "1.0.0".to_owned(),
        digest: String::new(),
        definition: ten_steps().to_string(),
        created_at: now,
    };
    own.create_workflow(&head, &version, limit, None).await
}

async fn member(own: &TenantStore<'_>, limit: u64, now: Timestamp) -> Result<(), TransactionError> {
    let member = Member {
        user_id: format!("u{:x}", random_id()).parse().unwrap(),
        role: Role::Viewer,
        created_at: now,
        disabled_by_plan: false,
    };
    own.create_member(&member, limit, None).await
}

async fn api_key(
    own: &TenantStore<'_>,
    limit: u64,
    now: Timestamp,
) -> Result<(), TransactionError> {
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

fn admitted(all: &[Result<Admission, Error>]) -> usize {
    let is = |a: &Result<Admission, _>| matches!(a, Ok(Admission::Admitted(..)));
    all.iter().filter(|a| is(a)).count()
}

/// Every counted limit of every plan: usage is set to slightly less than the limit, then fifty
/// concurrent requests are repeated until all are refused.
#[tokio::test(flavor = "multi_thread")]
async fn every_plan_is_exact_under_concurrency() {
    const LEFT: u64 = 7;
    let bench = Bench::new().await;
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
            // Slightly less than the limit, or zero.
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

        // The monthly quota, each shard with its share. Time advances between plans, so that a
        // used-up window has ended.
        let at = now + Duration::from_secs(100 * limits.plan as u64);
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
                admitted(&fifty(async || Gate::default().admit(&own, &limits, at).await).await);
        }
        assert_eq!(taken as u64, LEFT * shards, "{what}: runs");
        let usage = format!("{home}#USAGE#2026-11#0");
        let grace = limits.suspended_runs - LEFT;
        bench
            .set_number((&usage, "USAGE"), "suspended", grace)
            .await;
        let held = fifty(async || own.admit_suspended(&limits, at).await).await;
        assert_eq!(admitted(&held) as u64, LEFT, "{what}: suspended runs");

        // The next window.
        let later = at + Duration::from_secs(RATE_SECONDS);
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

        // Running runs.
        let running = limits.concurrent_runs.saturating_sub(LEFT);
        let shards = u8::try_from((limits.concurrent_runs / 16).clamp(1, 16)).unwrap();
        for shard in 0..shards {
            let key = format!("{home}#RUNNING#{shard}");
            let share = aias_domain::admission::share(running, shards, shard);
            bench.set_number((&key, "RUNNING"), "running", share).await;
        }
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
            read.run = read.run.start(1, now).unwrap();
            let started = own.start_run(read, limits.concurrent_runs).await?;
            Ok::<_, Error>(started.is_some())
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
        // A run that ends allows another one.
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
        read.run = read.run.cancel(now).unwrap();
        own.save_run(&read).await.unwrap();
        assert_eq!(
            own.running(limits.concurrent_runs).await.unwrap(),
            limits.concurrent_runs - 1
        );
    }
}

/// An old endpoint behind more newer ones than a page of the table has.
#[tokio::test]
async fn workflow_of_an_old_endpoint_is_not_deleted() {
    let bench = Bench::new().await;
    bench.enterprise(&json!({"endpoints": 200})).await;
    let workflow = bench.new_workflow(&ten_steps()).await;
    let body = |workflow: &str| json!({"name": "E", "workflow_id": workflow});
    let create = async |body: Value| {
        let created = bench
            .request("webhook-endpoints", "POST", "/api/webhook-endpoints", &body)
            .await;
        assert_eq!(created.status_code, 201, "{}", created.body);
    };
    create(body(&workflow.to_string())).await;
    let other = bench.new_workflow(&ten_steps()).await;
    for _ in 0..60 {
        create(body(&other.to_string())).await;
    }
    let path = format!("/api/workflows/{workflow}");
    let refused = bench
        .request("workflows", "DELETE", &path, &Value::Null)
        .await;
    assert_eq!(refused.status_code, 409, "{}", refused.body);
}
