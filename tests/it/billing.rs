//! Stripe events in any order, twice, late, forged, and with crashes.

use std::{collections::BTreeMap, time::Duration};

use aias_testkit::wire::Side;
use aias_tests::bench::{Bench, STRIPE_SECRET, TENANT, json_of};
use futures_util::future::join_all;
use serde_json::{Value, json};
use stripe_mock::{Price, StripeMock, invoice, subscription};

const DAY: i64 = 86_400;

pub(crate) fn event(id: &str, kind: &str, created: i64, object: &Value) -> Value {
    json!({"id": id, "object": "event", "type": kind, "created": created, "livemode": false,
           "pending_webhooks": 1, "data": {"object": object}})
}

/// Checkout, active, upgrade, past due, recovered, canceled. Only the checkout names the tenant of
/// the customer.
fn life(customer: &str, start: i64) -> Vec<Value> {
    let sub = format!("sub_{customer}");
    let state = |status, price, at| subscription(&sub, customer, status, price, at, None);
    let bill = |status, at| invoice(&format!("in_{customer}_{at}"), customer, &sub, status, at);
    let session = json!({"id": "cs_1", "object": "checkout.session", "mode": "subscription",
        "customer": customer, "subscription": sub, "client_reference_id": TENANT, "metadata": {}});
    type Object<'a> = &'a dyn Fn(i64) -> Value;
    let events: [(&str, i64, Object<'_>); 10] = [
        ("customer.subscription.created", 0, &|at| {
            state("incomplete", Price::Pro, at)
        }),
        ("invoice.paid", 1, &|at| bill("paid", at)),
        ("customer.subscription.updated", 2, &|at| {
            state("active", Price::Pro, at)
        }),
        ("checkout.session.completed", 3, &|_| session.clone()),
        ("customer.subscription.updated", 9 * DAY, &|at| {
            state("active", Price::Business, at)
        }),
        ("invoice.payment_failed", 30 * DAY, &|at| bill("open", at)),
        ("customer.subscription.updated", 30 * DAY + 1, &|at| {
            state("past_due", Price::Business, at)
        }),
        ("invoice.paid", 33 * DAY, &|at| bill("paid", at)),
        ("customer.subscription.updated", 33 * DAY + 1, &|at| {
            state("active", Price::Business, at)
        }),
        ("customer.subscription.deleted", 60 * DAY, &|at| {
            state("canceled", Price::Business, at)
        }),
    ];
    events
        .into_iter()
        .enumerate()
        .map(|(n, (kind, after, object))| {
            let at = start + after;
            event(&format!("evt_{customer}_{n}"), kind, at, &object(at))
        })
        .collect()
}

async fn state(bench: &Bench) -> Value {
    let answer = bench
        .request("billing", "GET", "/api/billing/subscription", &Value::Null)
        .await;
    json_of(&answer)
}

pub(crate) async fn deliver(bench: &Bench, event: &Value) -> Value {
    let answer = bench
        .send_stripe_event(&bench.stripe_webhook(), event)
        .await;
    assert_eq!(answer.status_code, 200, "{}: {event}", answer.body);
    json_of(&answer)["outcome"].clone()
}

#[tokio::test]
async fn subscription_events_in_order() {
    let bench = Bench::new().await;
    let start = bench.now().as_second();
    let life = life("cus_1", start);
    let mut seen = Vec::new();
    for (n, event) in life.iter().enumerate() {
        bench.clock.advance(
            Duration::from_secs(u64::try_from(event["created"].as_i64().unwrap()).unwrap())
                .saturating_sub(Duration::from_secs(
                    u64::try_from(bench.now().as_second()).unwrap(),
                )),
        );
        let outcome = deliver(&bench, event).await;
        // The tenant is known from the checkout on.
        assert_eq!(outcome, if n < 3 { "unassigned" } else { "applied" }, "{n}");
        assert_eq!(deliver(&bench, event).await, "duplicate", "{n}");
        let state = state(&bench).await;
        seen.push(format!(
            "{} {}",
            state["plan"].as_str().unwrap(),
            state["status"].as_str().unwrap()
        ));
    }
    // The tenant of the bench has the business plan until the first event changes it.
    assert_eq!(
        seen[3..],
        [
            "pro active",
            "business active",
            "business past_due",
            "business past_due",
            "business active",
            "business active",
            "free canceled",
        ]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn subscription_events_in_any_order_and_twice() {
    // `domain::subscription` tests the rules with a thousand orders; this tests fewer with the
    // table.
    const ORDERS: usize = 100;
    let bench = Bench::new().await;
    // Without the cancellation, so that the final state has a plan.
    let start = bench.now().as_second() - 90 * DAY;
    let mut ends: BTreeMap<String, usize> = BTreeMap::new();
    let app = bench.stripe_webhook();
    let mut seed = 7_u64;
    for order in 0..ORDERS {
        let customer = format!("cus_{order}");
        let mut events = life(&customer, start);
        events.truncate(9);
        let mut twice: Vec<Value> = events.iter().chain(&events).cloned().collect();
        // A Fisher-Yates shuffle with a 64-bit generator.
        for n in (1..twice.len()).rev() {
            seed = seed
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            twice.swap(n, usize::try_from(seed >> 33).unwrap() % (n + 1));
        }
        for event in &twice {
            let answer = bench.send_stripe_event(&app, event).await;
            assert_eq!(answer.status_code, 200, "order {order}: {}", answer.body);
        }
        let mut state = state(&bench).await;
        state["latest_invoice"]["id"] = Value::Null;
        state["latest_invoice"]["hosted_invoice_url"] = Value::Null;
        *ends.entry(state.to_string()).or_default() += 1;
        // The next customer starts in the same state.
        let gone = event(
            &format!("evt_gone_{order}"),
            "customer.deleted",
            start + 61 * DAY,
            &json!({"id": customer}),
        );
        assert_eq!(deliver(&bench, &gone).await, "applied");
    }
    assert_eq!(ends.len(), 1, "{ends:#?}");
    let end = ends.keys().next().unwrap();
    assert!(
        end.contains(r#""plan":"business","status":"active""#),
        "{end}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_duplicate_event_is_applied_once() {
    let bench = Bench::new().await;
    let own = subscription(
        "sub_1",
        "cus_1",
        "active",
        Price::Pro,
        bench.now().as_second(),
        Some(TENANT),
    );
    let event = event(
        "evt_1",
        "customer.subscription.created",
        bench.now().as_second(),
        &own,
    );
    let app = bench.stripe_webhook();
    let responses = join_all((0..20).map(|_| bench.send_stripe_event(&app, &event))).await;
    let outcome = |a| json_of(a)["outcome"].as_str().map(str::to_owned);
    let all: Vec<Option<String>> = responses.iter().map(outcome).collect();
    let count = |what: &str| all.iter().filter(|o| o.as_deref() == Some(what)).count();
    // A request that conflicts too often gets 503, and Stripe retries.
    let busy = responses.iter().filter(|a| a.status_code == 503).count();
    assert_eq!(
        (count("applied"), count("duplicate") + busy),
        (1, 19),
        "{all:?}"
    );
    assert_eq!(state(&bench).await["plan"], "pro");
}

#[tokio::test]
async fn crash_at_any_call_is_completed_by_redelivery() {
    for side in [Side::Before, Side::After] {
        for number in 0.. {
            let bench = Bench::new().await;
            let what = format!("{side:?} call {number}");
            let now = bench.now().as_second();
            let own = subscription("sub_1", "cus_1", "active", Price::Pro, now, Some(TENANT));
            let event = event("evt_1", "customer.subscription.created", now, &own);
            bench.wire.break_at(number, side);
            let first = bench
                .send_stripe_event(&bench.stripe_webhook(), &event)
                .await;
            if !bench.wire.is_broken() {
                assert!(number >= 10, "{what}");
                break;
            }
            assert_eq!(first.status_code, 503, "{what}: {}", first.body);
            bench.wire.reset();
            deliver(&bench, &event).await;
            assert_eq!(state(&bench).await["plan"], "pro", "{what}");
            let store = bench.store();
            let scheduled = bench
                .tenant(&store)
                .task_schedule(aias_platform::store::Task::ApplyPlan)
                .await;
            assert_eq!(scheduled.unwrap(), None, "{what}");
        }
    }
}

#[tokio::test]
async fn reconciler_applies_plan_after_crash() {
    let bench = Bench::new().await;
    for _ in 0..3 {
        let made = json!({"definition": aias_tests::bench::ten_steps()});
        bench
            .request("workflows", "POST", "/api/workflows", &made)
            .await;
    }
    bench.enterprise(&json!({"workflows": 4})).await;
    // Only the transaction has been made.
    let event = json!({"enterprise": {"tenant_id": TENANT, "limits": {"workflows": 2}}});
    bench.wire.reset();
    bench.wire.break_at(2, Side::Before);
    bench.invoke_reconciler(&event).await.unwrap_err();
    bench.wire.reset();
    assert_eq!(enabled(&bench).await, 4);
    bench.wake().await;
    assert_eq!(enabled(&bench).await, 2);
}

#[tokio::test]
async fn forged_stripe_event_is_refused() {
    let bench = Bench::new().await;
    let now = bench.now().as_second();
    let body = event("evt_1", "customer.deleted", now, &json!({"id": "cus_1"})).to_string();
    let post = async |signature: String, body: &str, method: &str| {
        let event = json!({"rawPath": "/api/stripe/webhook", "body": body,
            "headers": {"stripe-signature": signature}, "requestContext": {"http": {"method": method}}});
        bench.respond_to("stripe-webhook", &event.to_string()).await
    };
    let sign = |secret: &str, at: i64| StripeMock::sign(secret, at, &body);
    for (signature, status) in [
        (sign(STRIPE_SECRET, now), 200),
        // The previous secret is accepted during a rotation.
        (sign("whsec_before", now), 200),
        (sign("whsec_other", now), 400),
        (sign(STRIPE_SECRET, now - 301), 400),
        (sign(STRIPE_SECRET, now + 301), 400),
        (String::new(), 400),
        ("t=,v1=".into(), 400),
    ] {
        let answer = post(signature.clone(), &body, "POST").await;
        assert_eq!(answer.status_code, status, "{signature}: {}", answer.body);
    }
    let other = post(sign(STRIPE_SECRET, now), &format!("{body} "), "POST").await;
    assert_eq!(json_of(&other)["code"], "bad-signature");
    for method in ["GET", "PUT", "DELETE"] {
        let answer = post(sign(STRIPE_SECRET, now), &body, method).await;
        assert_eq!(
            (answer.status_code, answer.headers["allow"].as_str()),
            (405, "POST")
        );
    }
    for unreadable in ["{}", r#"{"id": "evt_1"}"#, "[1]", "x"] {
        let answer = post(
            StripeMock::sign(STRIPE_SECRET, now, unreadable),
            unreadable,
            "POST",
        )
        .await;
        assert_eq!(json_of(&answer)["code"], "bad-event", "{unreadable}");
    }
    let unknown = event("evt_2", "charge.succeeded", now, &json!({"id": "ch_1"}));
    assert_eq!(deliver(&bench, &unknown).await, "ignored");
}

#[tokio::test]
async fn ambiguous_event_queries_stripe() {
    let bench = Bench::new().await;
    let now = bench.now().as_second();
    let own = |status, price| subscription("sub_1", "cus_1", status, price, now, Some(TENANT));
    let first = event(
        "evt_1",
        "customer.subscription.updated",
        now,
        &own("active", Price::Business),
    );
    deliver(&bench, &first).await;
    assert_eq!(bench.stripe.calls(), [""; 0]);
    // In the same second, with a different state: Stripe is queried.
    bench.stripe.put_subscription(&own("active", Price::Pro));
    let second = event(
        "evt_2",
        "customer.subscription.updated",
        now,
        &own("incomplete", Price::Pro),
    );
    deliver(&bench, &second).await;
    assert_eq!(bench.stripe.calls(), ["GET /v1/subscriptions/sub_1"]);
    assert_eq!(state(&bench).await["plan"], "pro");
    // Stripe is unavailable, so the event is retried.
    let third = event(
        "evt_3",
        "customer.subscription.updated",
        now,
        &own("past_due", Price::Pro),
    );
    bench.stripe.fail(3);
    let answer = bench
        .send_stripe_event(&bench.stripe_webhook(), &third)
        .await;
    assert_eq!(answer.status_code, 503, "{}", answer.body);
    assert!(answer.headers.contains_key("retry-after"));
    assert_eq!(deliver(&bench, &third).await, "applied");
    // A checkout of an unknown subscription.
    let session = json!({"mode": "subscription", "customer": "cus_2", "subscription": "sub_2",
        "metadata": {"tenant_id": TENANT}});
    bench.stripe.put_subscription(&subscription(
        "sub_2",
        "cus_2",
        "active",
        Price::Business,
        now,
        None,
    ));
    deliver(
        &bench,
        &event("evt_4", "checkout.session.completed", now, &session),
    )
    .await;
    assert_eq!(state(&bench).await["plan"], "business");
}

/// The number of enabled workflows.
async fn enabled(bench: &Bench) -> usize {
    let path = "/api/workflows?limit=100";
    let list = json_of(&bench.request("workflows", "GET", path, &Value::Null).await);
    let all = list["data"].as_array().unwrap();
    all.iter().filter(|w| w["enabled"] == true).count()
}

#[tokio::test]
async fn plan_ends_after_grace_period() {
    let bench = Bench::new().await;
    for _ in 0..21 {
        let made = json!({"definition": aias_tests::bench::ten_steps()});
        bench
            .request("workflows", "POST", "/api/workflows", &made)
            .await;
    }
    let now = bench.now().as_second();
    let own = subscription("sub_1", "cus_1", "active", Price::Pro, now, Some(TENANT));
    deliver(
        &bench,
        &event("evt_1", "customer.subscription.created", now, &own),
    )
    .await;
    let failed = invoice("in_1", "cus_1", "sub_1", "open", now + 1);
    deliver(
        &bench,
        &event("evt_2", "invoice.payment_failed", now + 1, &failed),
    )
    .await;
    let due = state(&bench).await;
    assert_eq!(
        (&due["plan"], &due["status"]),
        (&json!("pro"), &json!("past_due"))
    );
    assert_eq!(due["past_due_since"], "2026-11-21T12:00:01.000Z");
    assert_eq!(due["grace_ends_at"], "2026-11-28T12:00:01.000Z");
    assert_eq!(due["latest_invoice"]["status"], "open");
    bench.clock.advance(Duration::from_secs(7 * 86_400));
    assert_eq!(state(&bench).await["plan"], "pro");
    bench.clock.advance(Duration::from_secs(1));
    assert_eq!(state(&bench).await["plan"], "free");
    // Objects beyond the limits of the free plan are disabled by then, although no event has
    // arrived.
    assert_eq!(enabled(&bench).await, 22);
    bench.wake().await;
    assert_eq!(enabled(&bench).await, 20);
    // The payment succeeds.
    let at = bench.now().as_second();
    let paid = invoice("in_1", "cus_1", "sub_1", "paid", at);
    deliver(&bench, &event("evt_3", "invoice.paid", at, &paid)).await;
    let back = state(&bench).await;
    assert_eq!(
        (&back["plan"], &back["status"]),
        (&json!("pro"), &json!("active"))
    );
    assert_eq!(enabled(&bench).await, 22);
}
