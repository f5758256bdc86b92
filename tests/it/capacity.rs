//! The limit of running runs: what a run that it does not allow costs, and which keys carry it.

use std::{collections::BTreeMap, time::Duration};

use aias_domain::{
    canonical::digest,
    id::{RunId, WorkflowId},
    plan::PlanName,
    run::{Run, Trigger},
};
use aias_platform::{
    clock::random_id,
    runs::new_run,
    store::{Gate, Input, PlanChange, TransactionError},
};
use aias_tests::bench::{TENANT, WORKFLOW};
use serde_json::{Value, json};

use crate::effects::{define, execute, furnished, get, output_of};

#[tokio::test]
async fn run_at_capacity_is_not_computed_again() {
    let (bench, _, url) = furnished().await;
    bench.enterprise(&json!({"concurrent_runs": 1})).await;
    let shard = format!("TENANT#{TENANT}#RUNNING#0");
    bench.set_number((&shard, "RUNNING"), "running", 1).await;
    let tasks = json!([{"a": get(&format!("{url}/echo"))}, {"b": {"set": {"done": true}}}]);
    let workflow = define(&bench, "calls", tasks).await;
    let id = execute(&bench, &workflow, json!({})).await;
    let executor = bench.executor();
    bench.deliver(&executor, &bench.messages().await, 1).await;
    tokio::time::sleep(Duration::from_secs(6)).await;
    let refused = bench.messages().await;
    let refusals =
        |message: &String| serde_json::from_str::<Value>(message).unwrap()["refusals"].clone();
    assert_eq!(refused.iter().map(refusals).collect::<Vec<_>>(), [1]);

    bench.wire.reset();
    bench.deliver(&executor, &refused, 1).await;
    let mut calls = bench.wire.calls();
    calls.sort_unstable();
    let expected = [
        "DynamoDB.GetItem",
        "DynamoDB.GetItem",
        "DynamoDB.GetItem",
        "DynamoDB.TransactWriteItems",
        "SQS.SendMessage",
    ];
    assert_eq!(calls, expected);

    bench.set_number((&shard, "RUNNING"), "running", 0).await;
    bench.deliver(&executor, &refused, 1).await;
    assert_eq!(output_of(&bench, &id).await, json!({"done": true}));
    let store = bench.store();
    assert_eq!(bench.tenant(&store).running(1).await.unwrap(), 0);
}

/// One tenant with the widest plan: no key of its runs carries more than twice its share.
#[tokio::test]
async fn thousand_runs_are_spread_over_partitions() {
    const RUNS: u64 = 1_000;
    let (bench, _, _) = furnished().await;
    let (store, now, limits) = (bench.store(), bench.now(), PlanName::Enterprise.limits());
    let (own, gate) = (bench.tenant(&store), Gate::default());
    let input = Input::inline(b"{}").unwrap().unwrap();
    let workflow: WorkflowId = WORKFLOW.parse().unwrap();
    bench.wire.reset();
    for _ in 0..RUNS {
        gate.admit(&own, &limits, now).await.unwrap();
        let id = RunId::new_in(limits.run_shards, now, random_id());
        let run = Run::pending(id, workflow, None, Trigger::Api, digest(b"{}"));
        own.create_run(&new_run(run, input.clone(), 30))
            .await
            .unwrap();
        let mut run = own.run(id).await.unwrap().unwrap();
        run.run = run.run.start(1, now).unwrap();
        let started = own.start_run(run, limits.concurrent_runs).await.unwrap();
        let mut run = own.run(started.unwrap().run.id).await.unwrap().unwrap();
        run.run = run.run.complete(String::new(), Vec::new(), now).unwrap();
        own.save_run(&run).await.unwrap();
    }
    let mut kinds: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    for (partition, writes) in bench.wire.writes_by_partition() {
        let kind = partition.split('#').nth(2).unwrap_or_default().to_owned();
        kinds.entry(kind).or_default().push(writes);
    }
    for (kind, partitions, writes) in [("RUNNING", 16, 4), ("RUNS", 32, 5), ("USAGE", 16, 1)] {
        let found = kinds.remove(kind).unwrap();
        assert_eq!(found.iter().sum::<u64>(), RUNS * writes, "{kind}");
        let share = RUNS * writes / partitions;
        assert!(
            found.iter().all(|count| *count < share * 2),
            "{kind}: {found:?}"
        );
    }
    assert!(kinds.is_empty(), "{kinds:?}");
    assert_eq!(own.running(limits.concurrent_runs).await.unwrap(), 0);
}

#[tokio::test]
async fn list_reads_the_partitions_of_the_largest_plan() {
    let (bench, _, _) = furnished().await;
    let workflow = define(&bench, "one", json!([{"a": {"set": {"a": 1}}}])).await;
    let mut created = Vec::new();
    for (limits, partitions) in [
        (None, 1),
        (Some(json!({"events_per_second": 500})), 4),
        (Some(json!({})), 32),
        (Some(Value::Null), 32),
    ] {
        if let Some(limits) = limits {
            bench.enterprise(&limits).await;
        }
        for _ in 0..4 {
            created.push(execute(&bench, &workflow, json!({})).await);
        }
        bench.wire.reset();
        let path = "/api/runs?from=2026-11-21&limit=100";
        let response = bench.request("runs", "GET", path, &Value::Null).await;
        let page: Value = serde_json::from_str(&response.body).unwrap();
        let runs = page["data"].as_array().unwrap();
        let mut found: Vec<_> = runs.iter().map(|run| run["id"].as_str().unwrap()).collect();
        found.sort_unstable();
        created.sort_unstable();
        assert_eq!(found, created);
        let calls = bench.wire.calls();
        let queries = calls.iter().filter(|call| *call == "DynamoDB.Query");
        assert_eq!(queries.count(), partitions);
    }
}

#[tokio::test]
async fn plan_that_was_changed_meanwhile_is_not_overwritten() {
    let (bench, _, _) = furnished().await;
    let store = bench.store();
    let own = bench.tenant(&store);
    let before = own.tenant().await.unwrap().unwrap().value.plan;
    bench.enterprise(&json!({})).await;
    let stale = PlanChange {
        before,
        after: before,
    };
    let saved = own.save_enterprise(None, stale, bench.now()).await;
    assert!(
        matches!(saved, Err(TransactionError::Conflict)),
        "{saved:?}"
    );
    let plan = own.tenant().await.unwrap().unwrap().value.plan;
    assert_eq!(plan.run_shards, 32);
}
