//! Checkout and the customer portal.

use aias_testkit::wire::Side;
use aias_tests::bench::{Bench, TENANT, json_of};
use futures_util::future::join_all;
use serde_json::{Value, json};
use stripe_mock::{Price, subscription};

use crate::billing::{deliver, event};

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_checkouts_create_one_customer() {
    let bench = Bench::new().await;
    let checkout_request = json!({"plan": "pro", "success_url": "https://a.example/ok", "cancel_url": "https://a.example"});
    let responses = join_all((0..20).map(|_| {
        bench.request(
            "billing",
            "POST",
            "/api/billing/checkout",
            &checkout_request,
        )
    }))
    .await;
    for answer in &responses {
        assert_eq!(answer.status_code, 200, "{}", answer.body);
        assert!(
            json_of(answer)["url"]
                .as_str()
                .unwrap()
                .contains("/checkout/cs_test_")
        );
    }
    assert_eq!(bench.stripe.customers(), 1);
    // After the customer is deleted, another one is created.
    let store = bench.store();
    let account = bench.tenant(&store).account().await.unwrap().value;
    let gone = json!({"id": account.customer_id});
    deliver(&bench, &event("evt_1", "customer.deleted", 1, &gone)).await;
    bench
        .request(
            "billing",
            "POST",
            "/api/billing/checkout",
            &checkout_request,
        )
        .await;
    assert_eq!(bench.stripe.customers(), 2);
}

#[tokio::test]
async fn crash_during_checkout_keeps_customer() {
    for number in 0.. {
        let bench = Bench::new().await;
        let checkout_request = json!({"plan": "pro", "success_url": "https://a.example/ok", "cancel_url": "https://a.example"});
        bench.wire.break_at(number, Side::After);
        let first = bench
            .request(
                "billing",
                "POST",
                "/api/billing/checkout",
                &checkout_request,
            )
            .await;
        let broken = bench.wire.is_broken();
        assert_eq!(first.status_code == 503, broken, "{number}: {}", first.body);
        bench.wire.reset();
        let second = bench
            .request(
                "billing",
                "POST",
                "/api/billing/checkout",
                &checkout_request,
            )
            .await;
        assert_eq!(second.status_code, 200, "{number}: {}", second.body);
        assert_eq!(bench.stripe.customers(), 1, "{number}");
        if !broken {
            break;
        }
    }
}

#[tokio::test]
async fn invalid_checkout_is_refused() {
    let bench = Bench::new().await;
    let checkout = |plan: &str, url: &str| json!({"plan": plan, "success_url": url, "cancel_url": "https://a.example"});
    let code = async |checkout: Value| {
        let answer = bench
            .request("billing", "POST", "/api/billing/checkout", &checkout)
            .await;
        format!(
            "{} {}",
            answer.status_code,
            json_of(&answer)["code"].as_str().unwrap_or_default()
        )
    };
    for bad in [
        checkout("free", "https://a.example"),
        checkout("gold", "https://a.example"),
        // The enterprise plan cannot be bought.
        checkout("enterprise", "https://a.example"),
        checkout("pro", "http://a.example"),
        checkout("pro", "http://localhost.evil.example"),
        checkout("pro", "javascript:alert(1)"),
        checkout("pro", &format!("https://a.example/{}", "x".repeat(2_048))),
        json!({"plan": "pro"}),
    ] {
        assert_eq!(code(bad.clone()).await, "400 invalid-body", "{bad}");
    }
    assert_eq!(bench.stripe.calls(), [""; 0]);
    let portal = bench
        .request("billing", "POST", "/api/billing/portal", &Value::Null)
        .await;
    assert_eq!(json_of(&portal)["code"], "no-customer");
    // Stripe is unavailable, then available again.
    bench.stripe.fail(3);
    assert_eq!(
        code(checkout("pro", "http://localhost:3000/ok")).await,
        "503 unavailable"
    );
    bench.stripe.fail(2);
    assert_eq!(
        code(checkout("pro", "http://localhost:3000/ok")).await,
        "200 "
    );
    // Stripe refuses the API key. The response contains no part of it.
    bench.stripe.rotate_key("sk_test_other");
    assert_eq!(
        code(checkout("pro", "https://a.example")).await,
        "500 internal"
    );
    bench.stripe.rotate_key("sk_test_bench");
    let now = bench.now().as_second();
    let own = subscription("sub_1", "cus_1", "active", Price::Pro, now, Some(TENANT));
    deliver(
        &bench,
        &event("evt_1", "customer.subscription.created", now, &own),
    )
    .await;
    assert_eq!(
        code(checkout("business", "https://a.example")).await,
        "409 subscription-exists"
    );
    let portal = json!({"return_url": "https://a.example"});
    let portal = bench
        .request("billing", "POST", "/api/billing/portal", &portal)
        .await;
    assert_eq!(portal.status_code, 200, "{}", portal.body);
    // A tenant with a subscription cannot be deleted.
    let path = format!("/api/tenants/{TENANT}");
    let gone = bench
        .request("tenants", "DELETE", &path, &Value::Null)
        .await;
    assert_eq!(json_of(&gone)["code"], "subscription-active");
}
