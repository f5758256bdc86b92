//! Metering: completed runs are reported to Stripe.

use std::time::Duration;

use aias_testkit::wire::Side;
use aias_tests::bench::{Bench, TENANT, json_of};
use serde_json::{Value, json};
use stripe_mock::{Price, subscription};

use crate::billing::{deliver, event};

/// Executes all queued runs.
async fn execute(bench: &Bench) {
    let messages = bench.messages().await;
    for ten in messages.chunks(10) {
        let response = bench.deliver(&bench.executor(), ten, 1).await;
        assert!(response.batch_item_failures.is_empty());
    }
}

#[tokio::test]
async fn completed_runs_are_metered_exactly_once() {
    const HOUR: Duration = Duration::from_secs(3_600);
    let bench = Bench::new().await;
    let now = bench.now().as_second();
    let own = subscription("sub_1", "cus_1", "active", Price::Pro, now, Some(TENANT));
    deliver(
        &bench,
        &event("evt_1", "customer.subscription.created", now, &own),
    )
    .await;
    bench.wake().await;
    let ingest = bench.ingest();
    for n in 0..7 {
        bench.post(&ingest, &format!("evt_{n}"), "{}").await;
    }
    execute(&bench).await;
    // Two more runs were accepted in that hour and complete later.
    bench.post(&ingest, "evt_8", "{}").await;
    bench.post(&ingest, "evt_9", "{}").await;
    let usage = async || {
        let usage = bench
            .request("billing", "GET", "/api/billing/usage", &Value::Null)
            .await;
        let usage = json_of(&usage);
        (
            usage["reported"].clone(),
            usage["stripe"].clone(),
            usage["difference"].clone(),
        )
    };
    bench.wake().await;
    assert_eq!(bench.stripe.metered("cus_1"), 0, "the hour has not ended");
    bench.clock.advance(HOUR + Duration::from_secs(601));
    bench.stripe.set_now(bench.now().as_second());
    // Stripe accepts the report, but the process dies before storing that. It is sent again.
    for number in 0.. {
        bench.wire.reset();
        bench.wire.break_beside_queries_at(number, Side::Before);
        bench.wake().await;
        let broken = bench.wire.is_broken();
        bench.wire.reset();
        bench.expire_lease().await;
        if !broken || number > 60 {
            break;
        }
    }
    bench.wake().await;
    assert_eq!(bench.stripe.metered("cus_1"), 7);
    assert_eq!(usage().await, (json!(7), json!(7), json!(0)));
    execute(&bench).await;
    bench.wake().await;
    assert_eq!(
        bench.stripe.metered("cus_1"),
        7,
        "the next pass is in a day"
    );
    // The first pass of an hour also finds tasks that were missed long ago.
    bench.clock.advance(HOUR * 26 - Duration::from_secs(601));
    bench.stripe.set_now(bench.now().as_second());
    // A pass counts at most 48 hours.
    for _ in 0..3 {
        bench.wake().await;
    }
    assert_eq!(bench.stripe.metered("cus_1"), 9);
    assert_eq!(usage().await, (json!(9), json!(9), json!(0)));
    // Without a subscription nothing is metered, and the task ends.
    let at = bench.now().as_second();
    let over = subscription("sub_1", "cus_1", "canceled", Price::Pro, at, Some(TENANT));
    deliver(
        &bench,
        &event("evt_2", "customer.subscription.deleted", at, &over),
    )
    .await;
    bench.post(&ingest, "evt_10", "{}").await;
    execute(&bench).await;
    for _ in 0..35 {
        bench.clock.advance(HOUR * 24);
        bench.wake().await;
    }
    assert_eq!(bench.stripe.metered("cus_1"), 9);
    let store = bench.store();
    let scheduled = bench
        .tenant(&store)
        .task_schedule(aias_platform::store::Task::Meter)
        .await;
    assert_eq!(scheduled.unwrap(), None);
}
