//! Stripe with the deployed stack: signatures and requests of the official package, a complete
//! checkout, and rotation of secrets.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use aias_billing::Stripe;
use aias_platform::secrets::{RotatingSecret, Secret};
use aias_tests::{
    bench::{Bench, TENANT},
    client::{ApiResponse, Client, send},
};
use serde_json::{Value, json};
use stripe_mock::{Price, StripeMock, subscription};
use tokio::net::TcpListener;

use crate::{billing::event, client::answering};

const SIGN: &str = "
import sys, time, stripe
body, secret = sys.argv[1:3]
stamp = int(time.time())
signature = stripe.WebhookSignature._compute_signature(f'{stamp}.{body}', secret)
print(f't={stamp},v1={signature}')
";

/// Posts an event to the deployed stack, signed by the official package.
fn post_signed(client: &Client, secret: &str, event: &Value) -> ApiResponse {
    let body = event.to_string();
    let signature = client.stack.python(SIGN, &[&body, secret]);
    let url = format!("{}/api/stripe/webhook", client.stack.url());
    let headers = [
        ("stripe-signature", signature.as_str()),
        ("content-type", "application/json"),
    ];
    send("POST", &url, &headers, body.as_bytes())
}

fn plan_of(client: &Client) -> String {
    client
        .get("/api/billing/subscription")
        .expect(200)
        .text("plan")
}

fn seconds_now() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    i64::try_from(since.unwrap().as_secs()).unwrap()
}

#[test]
fn deployed_stack_accepts_officially_signed_events() {
    let client = Client::new();
    let secret = client.stack.output("stripe_webhook_secret").to_owned();
    assert_eq!(plan_of(&client), "free");
    let (customer, now) = (format!("cus_{}", &client.tenant[4..]), seconds_now());
    let own = |status, price, at| {
        subscription(
            &format!("sub_{customer}"),
            &customer,
            status,
            price,
            at,
            Some(&client.tenant),
        )
    };
    let id = |n: usize| format!("evt_{customer}_{n}");
    let events = [
        event(
            &id(1),
            "customer.subscription.created",
            now - 20,
            &own("active", Price::Pro, now),
        ),
        event(
            &id(2),
            "customer.subscription.updated",
            now - 10,
            &own("active", Price::Business, now),
        ),
    ];
    post_signed(&client, &secret, &events[1]).expect(200);
    assert_eq!(plan_of(&client), "business");
    // The older event arrives late and has no effect.
    assert_eq!(
        post_signed(&client, &secret, &events[0])
            .expect(200)
            .text("outcome"),
        "applied"
    );
    assert_eq!(plan_of(&client), "business");
    let again = post_signed(&client, &secret, &events[0]).expect(200);
    assert_eq!(again.text("outcome"), "duplicate");
    let runs = client
        .get("/api/entitlements/check?feature=runs")
        .expect(200)
        .json();
    assert_eq!(
        (&runs["limit"], &runs["plan"]),
        (&json!(2_000_000), &json!("business"))
    );
    let tenants = client
        .get(&format!("/api/tenants/{}", client.tenant))
        .expect(200);
    assert_eq!(tenants.text("plan"), "business");
    // A forged signature, and an unsupported method.
    post_signed(&client, "whsec_other", &events[0]).expect(400);
    let url = format!("{}/api/stripe/webhook", client.stack.url());
    for method in ["GET", "PUT"] {
        assert_eq!(
            send(method, &url, &[], b"").expect(405).header("allow"),
            "POST"
        );
    }
    let over = event(
        &id(3),
        "customer.subscription.deleted",
        now,
        &own("canceled", Price::Business, now),
    );
    post_signed(&client, &secret, &over).expect(200);
    assert_eq!(plan_of(&client), "free");
}

#[test]
fn deployed_checkout_changes_plan() {
    let client = Client::new();
    let back = format!("{}/api/health", client.stack.url());
    let request = json!({"plan": "pro", "success_url": back, "cancel_url": back});
    let page = client
        .post("/api/billing/checkout", &request)
        .expect(200)
        .text("url");
    assert_eq!(send("GET", &page, &[], b"").status, 303);
    assert_eq!(plan_of(&client), "pro");
    let portal = client
        .post("/api/billing/portal", &json!({}))
        .expect(200)
        .text("url");
    let change = |what: &str| {
        send("GET", &format!("{portal}/{what}"), &[], b"").expect(200);
        let state = client.get("/api/billing/subscription").expect(200).json();
        format!(
            "{} {}",
            state["plan"].as_str().unwrap(),
            state["status"].as_str().unwrap()
        )
    };
    assert_eq!(change("business"), "business active");
    assert_eq!(change("fail"), "business past_due");
    assert_eq!(change("pay"), "business active");
    let invoices = client
        .get("/api/billing/invoices?limit=10")
        .expect(200)
        .json();
    assert_eq!(invoices["data"].as_array().unwrap().len(), 3);
    assert_eq!(change("cancel"), "free canceled");
}

const DRIVE: &str = "
import sys, json, stripe
stripe.api_key, stripe.api_base = 'sk_test_mock', sys.argv[1].rstrip('/')
customer = stripe.Customer.create(metadata={'tenant_id': 'ten_1'}, idempotency_key='k')
again = stripe.Customer.create(metadata={'tenant_id': 'ten_1'}, idempotency_key='k')
assert customer.id == again.id, 'an idempotency key is replayed'
try:
    stripe.Customer.create(metadata={'tenant_id': 'ten_2'}, idempotency_key='k')
except stripe.IdempotencyError as error:
    assert error.http_status == 400
prices = stripe.Price.list(lookup_keys=['pro'], active=True)
session = stripe.checkout.Session.create(mode='subscription', customer=customer.id, success_url='https://a.example',
    line_items=[{'price': prices.data[0].id, 'quantity': 1}], subscription_data={'metadata': {'tenant_id': 'ten_1'}})
assert session.url.startswith(sys.argv[1]) and session.mode == 'subscription'
assert stripe.billing_portal.Session.create(customer=customer.id).customer == customer.id
event = dict(event_name='aias_runs', identifier='one', payload={'stripe_customer_id': customer.id, 'value': '5'}, timestamp=1700000000)
stripe.billing.MeterEvent.create(**event)
try:
    stripe.billing.MeterEvent.create(**event)
except stripe.InvalidRequestError as error:
    assert 'already exists with identifier one' in str(error), error
meter = stripe.billing.Meter.list().data[0]
sums = stripe.billing.Meter.list_event_summaries(meter.id, customer=customer.id, start_time=1699999980, end_time=1700000040)
assert sums.data[0].aggregated_value == 5
try:
    stripe.Subscription.retrieve('sub_none')
except stripe.InvalidRequestError as error:
    assert (error.http_status, error.code) == (404, 'resource_missing')
stripe.api_key = 'sk_test_wrong'
try:
    stripe.Customer.create()
except stripe.AuthenticationError:
    print('driven')
";

#[tokio::test(flavor = "multi_thread")]
async fn official_package_drives_the_mock() {
    let stack = aias_testkit::stack::get();
    let url = StripeMock::new("sk_test_mock", None).start().await;
    let driven = tokio::task::spawn_blocking(move || stack.python(DRIVE, &[&url])).await;
    assert_eq!(driven.unwrap(), "driven");
}

const ROTATE: &str = "
import sys, boto3
endpoint, arn, value = sys.argv[1:4]
client = boto3.client('secretsmanager', endpoint_url=endpoint, region_name='us-east-1',
                      aws_access_key_id='test', aws_secret_access_key='test')
client.put_secret_value(SecretId=arn, SecretString=value)
";

const MAKE_SECRET: &str = "
import sys, boto3
client = boto3.client('secretsmanager', endpoint_url=sys.argv[1], region_name='us-east-1',
                      aws_access_key_id='test', aws_secret_access_key='test')
print(client.create_secret(Name=sys.argv[2], SecretString=sys.argv[3])['ARN'])
";

#[tokio::test(flavor = "multi_thread")]
async fn stripe_api_key_rotates_without_deployment() {
    let bench = Bench::new().await;
    let stack = aias_testkit::stack::get();
    let name = format!("stripe-{:x}", aias_platform::clock::random_id());
    let python = async |program: &'static str, arguments: [String; 3]| {
        let run = move || stack.python(program, &arguments.each_ref().map(String::as_str));
        tokio::task::spawn_blocking(run).await.unwrap()
    };
    let value = |key: &str| json!({ "current": key }).to_string();
    let url = stack.url().to_owned();
    let arn = python(MAKE_SECRET, [url.clone(), name, value("sk_test_bench")]).await;
    let stripe = bench.stripe_with(&arn);
    let tenant = TENANT.parse().unwrap();
    stripe.create_customer(tenant, 0).await.unwrap();
    bench.stripe.rotate_key("sk_test_new");
    python(ROTATE, [url, arn, value("sk_test_new")]).await;
    tokio::time::sleep(Duration::from_secs(6)).await;
    // Refused once; the secret is read again, and the new key is accepted.
    stripe.create_customer(tenant, 1).await.unwrap();
    assert_eq!(bench.stripe.calls(), ["POST /v1/customers"; 3]);
    assert_eq!(bench.stripe.customers(), 2);
}

#[test]
fn stripe_webhook_secret_rotates_without_deployment() {
    let client = Client::new();
    let (url, old) = (
        client.stack.url(),
        client.stack.output("stripe_webhook_secret"),
    );
    let arn = client.stack.output("StripeWebhookSecretArn");
    let put = |value: Value| client.stack.python(ROTATE, &[url, arn, &value.to_string()]);
    let post = |secret: &str| {
        let id = format!("evt_rotation_{:x}", aias_platform::clock::random_id());
        let unknown = event(
            &id,
            "charge.succeeded",
            seconds_now(),
            &json!({"id": "ch_1"}),
        );
        post_signed(&client, secret, &unknown).status
    };
    assert_eq!((post(old), post("whsec_new")), (200, 400));
    // The old secret stays valid for the other tests.
    put(json!({"current": "whsec_new", "previous": old}));
    let started = std::time::Instant::now();
    while post("whsec_new") != 200 {
        assert!(
            started.elapsed() < Duration::from_secs(60),
            "the new secret is not accepted"
        );
        std::thread::sleep(Duration::from_secs(1));
    }
    assert_eq!(post(old), 200);
    put(json!({"current": old}));
}

fn stripe_at(url: &str) -> Stripe {
    let key = RotatingSecret {
        current: "sk_test_place".to_owned().into(),
        previous: None,
    };
    Stripe::new(url, Secret::constant(key))
}

/// A Stripe client whose server gives these responses, and the ports of its connections.
async fn in_stripes_place(answers: Vec<(u16, String)>) -> (Stripe, Arc<Mutex<Vec<u16>>>) {
    let (url, ports) = answering(answers).await;
    (stripe_at(&url), ports)
}

#[tokio::test]
async fn malformed_stripe_responses_are_errors() {
    let found =
        json!({"id": "sub_1", "customer": "cus_1", "status": "active", "items": {"data": []}});
    let page = "<html><h1>502 Bad Gateway</h1></html>".to_owned();
    let large = json!({"id": "x".repeat(5 * 1024 * 1024)}).to_string();
    let missing = json!({"error": {"type": "invalid_request_error", "code": "resource_missing"}});
    let long = json!({"error": {"code": "x".repeat(101)}}).to_string();
    // The responses, the result, and the number of requests.
    let cases = [
        (
            vec![(502, page.clone()), (200, found.to_string())],
            "found",
            2,
        ),
        (vec![(502, page.clone())], "Unavailable(\"502 \")", 3),
        (vec![(429, "{}".to_owned())], "Unavailable(\"429 \")", 3),
        (vec![(200, page.clone())], "Malformed", 1),
        (
            vec![(200, large)],
            "Malformed(\"the response has more than",
            1,
        ),
        (vec![(404, missing.to_string())], "none", 1),
        (vec![(403, page)], "Refused { status: 403, code: \"\"", 1),
        (vec![(400, long)], "Refused { status: 400, code: \"\"", 1),
        (vec![(302, String::new())], "Refused { status: 302", 1),
    ];
    for (answers, expected, requests) in cases {
        let (stripe, ports) = in_stripes_place(answers).await;
        let reported = match stripe.subscription("sub_1").await {
            Ok(found) => found.map_or("none", |_| "found").to_owned(),
            Err(error) => format!("{error:?}"),
        };
        assert!(
            reported.starts_with(expected),
            "{reported} is not {expected}"
        );
        assert_eq!(ports.lock().unwrap().len(), requests, "{expected}");
    }
}

/// The log must contain the reason.
#[tokio::test]
async fn unreachable_stripe_error_has_cause() {
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", closed.local_addr().unwrap());
    drop(closed);
    let reported = stripe_at(&url).subscription("sub_1").await.unwrap_err();
    assert!(
        reported.to_string().contains("Connection refused"),
        "{reported}"
    );
}

#[tokio::test]
async fn stripe_connection_is_reused() {
    let customer = json!({"id": "cus_1"}).to_string();
    let (stripe, ports) = in_stripes_place(vec![(200, customer)]).await;
    let tenant = TENANT.parse().unwrap();
    for generation in 0..3 {
        stripe.create_customer(tenant, generation).await.unwrap();
    }
    let ports = ports.lock().unwrap().clone();
    assert_eq!(ports, [ports[0]; 3]);
}
