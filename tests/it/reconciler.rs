//! The reconciler with many tenants, short passes and long queues.

use std::{collections::BTreeSet, time::Duration};

use aias_domain::{
    canonical::digest,
    id::{RunId, TenantId, WorkflowId},
    plan::PlanName,
    run::{Run, Trigger},
};
use aias_platform::{
    clock::random_id,
    runs::new_run,
    store::{Gate, Input, Proof},
};
use aias_tests::bench::{Bench, WORKFLOW};
use jiff::SignedDuration;
use reconciler::PassTimes;
use serde_json::{Value, json};

/// A pending run of a new tenant, whose message was lost.
async fn lost_run(bench: &Bench) -> RunId {
    let (now, store) = (bench.now(), bench.store());
    let tenant = TenantId::new(now, random_id());
    let own = store.tenant(Proof::for_tests(tenant));
    let limits = PlanName::Free.limits();
    Gate::default().admit(&own, &limits, now).await.unwrap();
    let input = Input::inline(b"{}").unwrap().unwrap();
    let workflow: WorkflowId = WORKFLOW.parse().unwrap();
    let id = RunId::new(now, random_id());
    let run = Run::pending(id, workflow, None, Trigger::Api, digest(b"{}"));
    let run = new_run(run, input, 30);
    own.create_run(&run).await.unwrap();
    id
}

async fn pass(bench: &Bench, times: PassTimes) {
    let event = json!({"detail-type": "Scheduled Event"});
    let event = serde_json::from_value(event).unwrap();
    let app = bench.reconciler_with(times);
    reconciler::handle(&app, event).await.unwrap();
}

async fn sent(bench: &Bench) -> BTreeSet<String> {
    let run = |message: &String| {
        let message: Value = serde_json::from_str(message).unwrap();
        message["run_id"].as_str().unwrap().to_owned()
    };
    bench.messages().await.iter().map(run).collect()
}

const NO_TIME: PassTimes = PassTimes {
    resuming: Duration::ZERO,
    checking: SignedDuration::ZERO,
};

/// Each pass has only time for one tenant of each shard, and an outage came before.
#[tokio::test]
async fn short_passes_check_every_tenant() {
    let bench = Bench::new().await;
    pass(&bench, PassTimes::default()).await;
    let mut lost = BTreeSet::new();
    for hour in 0..5 {
        for _ in 0..8 {
            lost.insert(lost_run(&bench).await.to_string());
        }
        bench.clock.advance(Duration::from_secs(hour * 3_600 + 180));
    }
    let (mut found, mut passes) = (BTreeSet::new(), 0);
    while found.len() < lost.len() && passes < lost.len() {
        pass(&bench, NO_TIME).await;
        passes += 1;
        found.extend(sent(&bench).await);
        // No run is sent twice.
        assert!(sent(&bench).await.is_empty());
    }
    assert_eq!(found, lost);
    assert!(passes > 1);
    for _ in 0..3 {
        bench.clock.advance(Duration::from_secs(180));
        pass(&bench, PassTimes::default()).await;
    }
    assert!(sent(&bench).await.is_empty(), "all runs were checked");
}

/// A sweep of at least two minutes is followed by the longest wait.
#[tokio::test]
async fn long_sweeps_are_less_frequent() {
    let bench = Bench::new().await;
    pass(&bench, PassTimes::default()).await;
    for _ in 0..24 {
        lost_run(&bench).await;
    }
    bench.clock.advance(Duration::from_secs(200));
    let (mut found, mut passes) = (BTreeSet::new(), 0);
    while found.len() < 24 {
        pass(&bench, NO_TIME).await;
        found.extend(sent(&bench).await);
        passes += 1;
        assert!(passes <= 24);
        bench.clock.advance(Duration::from_secs(60));
    }
    pass(&bench, PassTimes::default()).await;
    let late = lost_run(&bench).await.to_string();
    bench.clock.advance(Duration::from_secs(590));
    pass(&bench, PassTimes::default()).await;
    assert!(sent(&bench).await.is_empty());
    bench.clock.advance(Duration::from_secs(20));
    pass(&bench, PassTimes::default()).await;
    assert_eq!(sent(&bench).await, BTreeSet::from([late]));
}

/// Runs are pending because their messages wait: sending them again would make the queue longer.
#[tokio::test]
async fn long_queue_postpones_the_check_for_an_hour() {
    let bench = Bench::new().await;
    pass(&bench, PassTimes::default()).await;
    let ingest = bench.ingest();
    for n in 0..60 {
        bench.post(&ingest, &format!("evt_{n}"), "{}").await;
        bench.clock.advance(Duration::from_secs(1));
    }
    lost_run(&bench).await;
    for n in 60..120 {
        bench.post(&ingest, &format!("evt_{n}"), "{}").await;
        bench.clock.advance(Duration::from_secs(1));
    }
    bench.clock.advance(Duration::from_secs(180));
    let before = bench.queue_depth().await;
    assert!(before > 100, "{before}");
    pass(&bench, PassTimes::default()).await;
    assert_eq!(bench.queue_depth().await, before);
    bench.clock.advance(Duration::from_secs(3_600));
    pass(&bench, PassTimes::default()).await;
    assert_eq!(bench.queue_depth().await, before + before + 1);
}

/// A message that was perhaps not sent is sent by the next pass, although each run is checked once.
#[tokio::test]
async fn run_whose_message_was_not_sent_is_checked_again() {
    let bench = Bench::new().await;
    let lost = lost_run(&bench).await.to_string();
    bench.clock.advance(Duration::from_secs(300));
    bench.wire.lose_answer_of_next("SQS.SendMessage");
    pass(&bench, PassTimes::default()).await;
    assert!(bench.wire.has_lost_answer());
    assert_eq!(sent(&bench).await, BTreeSet::from([lost.clone()]));
    pass(&bench, PassTimes::default()).await;
    assert_eq!(sent(&bench).await, BTreeSet::from([lost]));
    bench.clock.advance(Duration::from_secs(300));
    pass(&bench, PassTimes::default()).await;
    assert!(sent(&bench).await.is_empty());
}

/// The index gets the run a minute after it could have been found. A part of each sweep is checked
/// again by the next one.
#[tokio::test]
async fn run_that_the_index_does_not_have_yet_is_found_later() {
    let bench = Bench::new().await;
    pass(&bench, PassTimes::default()).await;
    bench.clock.advance(Duration::from_secs(60));
    let lost = lost_run(&bench).await.to_string();
    bench.clock.advance(Duration::from_secs(130));
    bench.wire.hide_indexes(true);
    pass(&bench, PassTimes::default()).await;
    assert!(sent(&bench).await.is_empty());
    bench.wire.hide_indexes(false);
    bench.clock.advance(Duration::from_secs(60));
    pass(&bench, PassTimes::default()).await;
    assert_eq!(sent(&bench).await, BTreeSet::from([lost]));
}
