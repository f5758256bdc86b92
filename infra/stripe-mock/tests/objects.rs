//! Compares the mock's objects with Stripe's own examples: no additional members, and the same JSON
//! types. The examples are reference data next to the checkout; without them the test skips.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "tests"
)]

use std::path::Path;

use serde_json::Value;
use stripe_mock::{Price, StripeMock, invoice, subscription};

fn examples() -> Option<Value> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../../shared/stripe-fixtures/fixtures3.json");
    let Ok(text) = std::fs::read_to_string(&path) else {
        eprintln!("skipped: {} does not exist", path.display());
        return None;
    };
    Some(serde_json::from_str::<Value>(&text).unwrap()["resources"].take())
}

fn compare(path: &str, own: &Value, theirs: &Value) {
    match (own, theirs) {
        (Value::Object(own), Value::Object(theirs)) => {
            // Chosen by the user.
            if path.ends_with("/metadata") || path.ends_with("/payload") {
                return;
            }
            for (name, value) in own {
                let path = format!("{path}/{name}");
                let theirs = theirs.get(name);
                compare(
                    &path,
                    value,
                    theirs.unwrap_or_else(|| panic!("Stripe has no {path}")),
                );
            }
        }
        (Value::Array(own), Value::Array(theirs)) => {
            for (own, theirs) in own.iter().zip(theirs) {
                compare(&format!("{path}/0"), own, theirs);
            }
        }
        // An example has one of the values that a member may have.
        (Value::Null, _) | (_, Value::Null) => {}
        (own, theirs) => assert_eq!(
            std::mem::discriminant(own),
            std::mem::discriminant(theirs),
            "{path}: {own} beside {theirs}"
        ),
    }
}

#[tokio::test]
async fn mock_objects_have_the_members_of_stripes() {
    let Some(examples) = examples() else { return };
    let mock = StripeMock::new("sk_test_mock", None);
    mock.put_subscription(&subscription(
        "sub_1",
        "cus_1",
        "active",
        Price::Pro,
        1,
        Some("ten_1"),
    ));
    let url = mock.start().await;
    let ask = |method: &'static str, path: String, form: String| {
        let url = format!("{url}v1/{path}");
        async move {
            let sent = tokio::task::spawn_blocking(move || {
                let key = "Bearer sk_test_mock";
                let response = match method {
                    "POST" => ureq::post(&url)
                        .header("authorization", key)
                        .header("content-type", "application/x-www-form-urlencoded")
                        .send(form),
                    _ => ureq::get(&format!("{url}?{form}"))
                        .header("authorization", key)
                        .call(),
                };
                response.unwrap().body_mut().read_json::<Value>().unwrap()
            });
            sent.await.unwrap()
        }
    };
    let example = |name: &str| {
        examples
            .get(name)
            .unwrap_or_else(|| panic!("no example of {name}"))
    };
    let customer = ask(
        "POST",
        "customers".into(),
        "metadata[tenant_id]=ten_1".into(),
    )
    .await;
    compare("customer", &customer, example("customer"));
    let id = customer["id"].as_str().unwrap();
    let prices = ask("GET", "prices".into(), "lookup_keys[0]=pro".into()).await;
    assert_eq!(prices["data"].as_array().unwrap().len(), 1);
    compare("price", &prices["data"][0], example("price"));
    let form = format!(
        "mode=subscription&customer={id}&success_url=https://a.example&client_reference_id=ten_1&line_items[0][price]={}",
        prices["data"][0]["id"].as_str().unwrap()
    );
    let session = ask("POST", "checkout/sessions".into(), form).await;
    compare("checkout.session", &session, example("checkout.session"));
    let portal = ask(
        "POST",
        "billing_portal/sessions".into(),
        format!("customer={id}"),
    )
    .await;
    compare(
        "billing_portal.session",
        &portal,
        example("billing_portal.session"),
    );
    let own = ask("GET", "subscriptions/sub_1".into(), String::new()).await;
    compare("subscription", &own, example("subscription"));
    compare(
        "invoice",
        &invoice("in_1", "cus_1", "sub_1", "paid", 1),
        example("invoice"),
    );
    let form = format!(
        "event_name=aias_runs&identifier=i&timestamp=1&payload[value]=2&payload[stripe_customer_id]={id}"
    );
    let metered = ask("POST", "billing/meter_events".into(), form).await;
    compare(
        "billing.meter_event",
        &metered,
        example("billing.meter_event"),
    );
    assert_eq!(mock.metered(id), 2);
    let meters = ask("GET", "billing/meters".into(), String::new()).await;
    compare(
        "billing.meter",
        &meters["data"][0],
        example("billing.meter"),
    );
    let form = format!("customer={id}&start_time=0&end_time=60");
    let sums = ask(
        "GET",
        "billing/meters/mtr_mock/event_summaries".into(),
        form,
    )
    .await;
    compare(
        "billing.meter_event_summary",
        &sums["data"][0],
        example("billing.meter_event_summary"),
    );
}
