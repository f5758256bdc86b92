//! Storage: the real SDK with an in-process DynamoDB.

use std::time::Duration;

use aias_domain::{
    audit::Actor,
    id::{RunId, TenantId, WorkflowId},
    name::Name,
    plan::PlanName,
    run::{Run, Trigger},
    tenant::{MAX_CREATED_A_MONTH, Member, Role, Tenant},
    workflow::{Version, Workflow},
};
use aias_platform::{
    runs::{SerializedInput, new_run},
    store::{
        Error, Gate, Input, Listing, Progress, Proof, RunFilter, Store, StoredEntry, Sweep,
        TenantStore, TransactionError, plan_entry,
    },
};
use aias_testkit::{
    aws, dynamodb,
    wire::{Side, Wire},
};
use jiff::{SignedDuration, Timestamp};
use serde_json::json;

fn now() -> Timestamp {
    "2026-11-21T00:30:00Z".parse().unwrap()
}

pub(crate) async fn store() -> Store {
    Store::new(
        &aws::config(&dynamodb::start().await, &Wire::default()),
        dynamodb::TABLE.to_owned(),
    )
}

pub(crate) async fn with_tenant(store: &Store) -> TenantStore<'_> {
    try_tenant(store).await.unwrap()
}

async fn try_tenant(store: &Store) -> Result<TenantStore<'_>, TransactionError> {
    let id = TenantId::new(now(), aias_platform::clock::random_id());
    let tenant = Tenant::new(id, Name::new("T").unwrap(), now());
    let owner = Member {
        user_id: "o".parse().unwrap(),
        role: Role::Owner,
        created_at: now(),
        disabled_by_plan: false,
    };
    let made = plan_entry(Actor::Operator, id, now(), json!(null), json!(null));
    let created = store.create_tenant(&tenant, &owner, &made, None);
    created.await?;
    Ok(store.tenant(Proof::for_tests(id)))
}

#[tokio::test]
async fn user_creates_a_bounded_number_of_tenants_a_month() {
    let database = dynamodb::start().await;
    let store = Store::new(
        &aws::config(&database, &Wire::default()),
        dynamodb::TABLE.to_owned(),
    );
    let last = MAX_CREATED_A_MONTH - 1;
    let month = ("USER#o", "CREATED#2026-11");
    dynamodb::set_number(&database, month, "created", last).await;
    with_tenant(&store).await;
    let refused = try_tenant(&store).await;
    assert!(matches!(refused, Err(TransactionError::TooManyTenants)));
}

fn run_at(at: Timestamp, random: u128) -> Run {
    Run::pending(
        RunId::new(at, random),
        WorkflowId::new(now(), 1),
        None,
        Trigger::Api,
        "sha256:00".into(),
    )
}

fn inline() -> Input {
    Input::inline(b"{\"a\":1}").unwrap().unwrap()
}

#[tokio::test]
async fn stored_run_round_trips() {
    let store = store().await;
    let own = with_tenant(&store).await;
    let run = new_run(run_at(now(), 5), inline(), 90);
    assert_eq!(own.create_run(&run).await.unwrap(), None);
    assert_eq!(own.run(run.run.id).await.unwrap(), Some(run.clone()));
    assert_eq!(own.create_run(&run).await.unwrap(), Some(run.clone()));
    let Input::Inline(bytes) = &run.input else {
        panic!()
    };
    assert_eq!(Input::decompress(bytes).unwrap(), b"{\"a\":1}");
    let other = with_tenant(&store).await;
    assert_eq!(other.run(run.run.id).await.unwrap(), None);
}

#[tokio::test]
async fn stale_write_conflicts() {
    let store = store().await;
    let own = with_tenant(&store).await;
    let run = new_run(run_at(now(), 5), inline(), 90);
    own.create_run(&run).await.unwrap();
    let mut first = own.run(run.run.id).await.unwrap().unwrap();
    let mut second = first.clone();
    first.run = first.run.start(1, now()).unwrap();
    own.save_run(&first).await.unwrap();
    second.run = second.run.cancel(now()).unwrap();
    assert!(matches!(own.save_run(&second).await, Err(Error::Conflict)));
}

#[tokio::test]
async fn runs_are_counted_by_creation_and_status() {
    let store = store().await;
    let own = with_tenant(&store).await;
    let hours_ago = |hours: i64| now() - SignedDuration::from_hours(hours);
    for n in 0..40_u8 {
        let mut run = run_at(hours_ago(i64::from(n % 4)), u128::from(n) * 7);
        if n < 10 {
            run = run.cancel(now()).unwrap();
        }
        own.create_run(&new_run(run, inline(), 90)).await.unwrap();
    }
    // Of three hours, over midnight.
    let counts = own.run_counts(hours_ago(2), now() + SignedDuration::from_secs(1));
    let counts = counts.await.unwrap();
    assert_eq!(counts.from, hours_ago(2));
    assert_eq!(counts.runs.len(), 30);
    assert_eq!(counts.by_status()["cancelled"], 8);
    assert_eq!(counts.by_status()["pending"], 22);
    assert_eq!(counts.runs.first().unwrap().0, now());

    // With too many runs, the counted time starts later, and all runs in it are counted.
    for n in 0..8_600_u32 {
        let at = hours_ago(3) + SignedDuration::from_secs(i64::from(n));
        let run = run_at(at, u128::from(n) * 131);
        own.create_run(&new_run(run, inline(), 90)).await.unwrap();
    }
    let to = now() + SignedDuration::from_secs(1);
    let counts = own.run_counts(hours_ago(3), to).await.unwrap();
    assert!(counts.from > hours_ago(3), "{}", counts.from);
    let span = (counts.from, to);
    let filter = RunFilter::default();
    let (mut listed, mut after) = (0, None);
    loop {
        let page = own.runs(&filter, 100, after.as_ref(), span).await.unwrap();
        listed += page.items.len();
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(counts.runs.len(), listed);
}

#[tokio::test]
async fn run_list_merges_shards_and_days() {
    let store = store().await;
    let own = with_tenant(&store).await;
    let mut made = Vec::new();
    for n in 0..60_u8 {
        // Over three days, in all shards.
        let at = now() - SignedDuration::from_hours(i64::from(n));
        let run = new_run(run_at(at, u128::from(n) * 7), inline(), 90);
        own.create_run(&run).await.unwrap();
        made.push(run.run.id);
    }
    made.sort();
    made.reverse();
    let span = (now() - SignedDuration::from_hours(24 * 10), now());
    let (mut seen, mut after) = (Vec::new(), None);
    loop {
        let page = own
            .runs(&RunFilter::default(), 7, after.as_ref(), span)
            .await
            .unwrap();
        seen.extend(page.items.iter().map(|run| run.id));
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(seen, made);
    let filter = RunFilter {
        from: Some(now() - SignedDuration::from_hours(30)),
        to: Some(now() - SignedDuration::from_hours(10)),
        ..RunFilter::default()
    };
    let between = own.runs(&filter, 100, None, span).await.unwrap().items;
    assert_eq!(between.len(), 20);
}

#[tokio::test]
async fn empty_time_range_is_an_empty_list() {
    let wire = Wire::default();
    let store = Store::new(
        &aws::config(&dynamodb::start().await, &wire),
        dynamodb::TABLE.into(),
    );
    let own = with_tenant(&store).await;
    let run = new_run(run_at(now(), 1), inline(), 30);
    own.create_run(&run).await.unwrap();
    // Within one UTC day: other days are not queried in any case.
    let now = now() + SignedDuration::from_hours(12);
    let created = now - SignedDuration::from_mins(30);
    let hours = |n: i64| Some(now - SignedDuration::from_hours(n));
    for (from, to) in [(None, hours(1)), (hours(1), hours(2)), (hours(1), hours(1))] {
        let filter = RunFilter {
            from,
            to,
            ..RunFilter::default()
        };
        wire.reset();
        let page = own.runs(&filter, 10, None, (created, now)).await.unwrap();
        assert!(
            page.items.is_empty() && page.next.is_none(),
            "{from:?} {to:?}"
        );
        // DynamoDB would refuse the query; the in-process one does not.
        assert_eq!(wire.calls(), [""; 0], "{from:?} {to:?}");
    }
}

#[tokio::test]
async fn run_list_continues_over_long_gap() {
    let store = store().await;
    let own = with_tenant(&store).await;
    let old = new_run(
        run_at(now() - SignedDuration::from_hours(24 * 80), 1),
        inline(),
        90,
    );
    own.create_run(&old).await.unwrap();
    let span = (now() - SignedDuration::from_hours(24 * 90), now());
    let mut page = own
        .runs(&RunFilter::default(), 10, None, span)
        .await
        .unwrap();
    let mut pages = 1;
    while page.items.is_empty() {
        page = own
            .runs(&RunFilter::default(), 10, page.next.as_ref(), span)
            .await
            .unwrap();
        pages += 1;
    }
    assert_eq!((page.items[0].id, pages), (old.run.id, 3));
}

fn workflow(n: u128) -> (Workflow, Version) {
    let id = WorkflowId::new(now() + Duration::from_millis(u64::try_from(n).unwrap()), n);
    let head = Workflow {
        id,
        name: "w".into(),
        namespace: "n".into(),
        latest: 1,
        active: None,
        samples: 0,
        enabled: true,
        disabled_by_plan: false,
        created_at: now(),
        updated_at: now(),
    };
    let version = Version {
        number: 1,
        document_version: "1.0.0".to_owned(),
        digest: "d".into(),
        definition: "{}".into(),
        created_at: now(),
    };
    (head, version)
}

#[tokio::test]
async fn workflow_limit_is_exact() {
    let store = store().await;
    let own = with_tenant(&store).await;
    for n in 0..3 {
        let (head, version) = workflow(n);
        own.create_workflow(&head, &version, 3, None).await.unwrap();
    }
    let (head, version) = workflow(3);
    let refused = own
        .create_workflow(&head, &version, 3, None)
        .await
        .unwrap_err();
    assert!(
        matches!(refused, TransactionError::Limit { used: 3, .. }),
        "{refused:?}"
    );
    // After one is deleted, another one can be created.
    let (gone, _) = workflow(1);
    let read = own.workflow(gone.id).await.unwrap().unwrap();
    own.delete_workflow(&read).await.unwrap();
    own.create_workflow(&head, &version, 3, None).await.unwrap();
    assert_eq!(own.version(gone.id, 1).await.unwrap(), None);
}

#[tokio::test]
async fn workflow_list_excludes_versions() {
    let store = store().await;
    let own = with_tenant(&store).await;
    let mut made = Vec::new();
    for n in 0..5 {
        let (head, version) = workflow(n);
        own.create_workflow(&head, &version, 100, None)
            .await
            .unwrap();
        let mut read = own.workflow(head.id).await.unwrap().unwrap();
        read.value.latest = 2;
        own.save_workflow(
            &read,
            Some(&Version {
                number: 2,
                ..version
            }),
            &[],
        )
        .await
        .unwrap();
        made.push(head.id);
    }
    made.reverse();
    let (mut seen, mut after) = (Vec::new(), None);
    loop {
        let page = own.workflows(&Listing { limit: 2, after }).await.unwrap();
        seen.extend(page.items.iter().map(|w| w.id));
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(seen, made);
    let versions = own
        .versions(
            made[0],
            &Listing {
                limit: 10,
                after: None,
            },
        )
        .await
        .unwrap()
        .items;
    assert_eq!(
        versions.iter().map(|v| v.number).collect::<Vec<_>>(),
        [2, 1]
    );
}

#[tokio::test]
async fn active_tenants_are_found_in_their_shard() {
    let store = store().await;
    let (first, second) = (with_tenant(&store).await, with_tenant(&store).await);
    let (gate, limits) = (Gate::default(), PlanName::Free.limits());
    let later = now() + SignedDuration::from_hours(5);
    for (own, at) in [(&first, now()), (&second, now()), (&second, later)] {
        gate.admit(own, &limits, at).await.unwrap();
    }
    let since = async |from| {
        let mut found = Vec::new();
        for (shard, position) in (0_u8..).zip(Sweep::new(later).shards) {
            let mut position = position.unwrap();
            loop {
                let page = store.next_tenants(shard, &mut position, (from, later));
                let page = page.await.unwrap();
                if page.is_empty() {
                    break;
                }
                for tenant in page {
                    found.push(tenant.tenant_id);
                    position.pass(tenant);
                }
            }
        }
        found.sort_unstable();
        found
    };
    let mut both = vec![first.tenant_id(), second.tenant_id()];
    both.sort_unstable();
    assert_eq!(since(now()).await, both);
    assert_eq!(since(later).await, [second.tenant_id()]);
}

/// A dead pass's lease expires, and its late end does not overwrite the progress of its successor.
#[tokio::test]
async fn one_pass_of_the_reconciler_runs_at_a_time() {
    let store = store().await;
    let (start, length) = (now(), SignedDuration::from_secs(300));
    let begin = async |at: Timestamp, alone| {
        let lease = store.begin_pass(at, at + length, alone).await;
        lease.unwrap()
    };
    let dead = begin(start, false).await.unwrap();
    assert_eq!(dead.progress, None);
    assert!(begin(start, false).await.is_none());
    let next = begin(start + length, false).await.unwrap();
    let progress = |until| Progress {
        checked_until: until,
        sweep: Some(Sweep::new(until)),
        next_sweep: None,
    };
    store.end_pass(dead, &progress(start)).await.unwrap();
    let after = start + length;
    assert!(begin(after, false).await.is_none());
    store.end_pass(next, &progress(after)).await.unwrap();
    let third = begin(after, false).await.unwrap();
    assert_eq!(third.progress, Some(progress(after)));
    assert!(begin(after, true).await.is_some());
}

#[tokio::test]
async fn retention_is_extended_where_it_stopped() {
    let wire = Wire::default();
    let config = aws::config(&dynamodb::start().await, &wire);
    let store = Store::new(&config, dynamodb::TABLE.to_owned());
    let own = with_tenant(&store).await;
    let run = RunId::new(now(), 5);
    let entries = 1_100_u32;
    for place in 0..entries {
        let entry = StoredEntry::Inline(vec![1]);
        assert!(own.append_entry(run, place, &entry, now()).await.unwrap());
    }
    let updates = || {
        let calls = wire.calls();
        calls
            .iter()
            .filter(|call| call.ends_with(".UpdateItem"))
            .count()
    };
    let kept = now() + SignedDuration::from_hours(24);
    wire.reset();
    wire.break_at(200, Side::Before);
    own.keep_until(run, kept).await.unwrap_err();
    // Some of the calls in progress were not answered.
    let first = updates();
    assert!((150..=232).contains(&first), "{first}");
    wire.reset();
    own.keep_until(run, kept).await.unwrap();
    let second = updates();
    assert!((868..=950).contains(&second), "{second}");
    assert!(wire.rounds() < 200, "{}", wire.rounds());
    wire.reset();
    own.keep_until(run, kept).await.unwrap();
    assert_eq!(updates(), 0);
}

#[tokio::test]
async fn large_input_is_not_inline() {
    assert!(Input::inline(&vec![b'x'; 32 * 1024]).unwrap().is_some());
    assert!(Input::inline(&vec![b'x'; 32 * 1024 + 1]).unwrap().is_none());
    let noise: Vec<u8> = (0..200)
        .flat_map(|_| aias_platform::clock::random::<32>())
        .collect();
    assert!(Input::inline(&noise).unwrap().is_none());
    assert!(
        SerializedInput::new(&json!({"b": 1, "a": 2}))
            .unwrap()
            .digest
            .starts_with("sha256:")
    );
}
