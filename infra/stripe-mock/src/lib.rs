//! A mock of Stripe's API: the requests that AIAS makes, in Stripe's wire protocol (form-encoded requests,
//! Stripe's error bodies, `Idempotency-Key` replay, signed events). Its objects have Stripe's own
//! members, as a test compares with Stripe's examples.
//!
//! Its checkout and portal are plain pages: opening one buys, changes, fails or ends the
//! subscription at once, and the mock sends the events that Stripe would.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "the mock panics on a request that it does not support"
)]

mod objects;
mod pages;

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard},
};

use axum::{
    Router,
    extract::{Path, RawQuery, State},
    http::{HeaderMap, Method, StatusCode, Uri, header},
    response::{IntoResponse, Response},
    routing::any,
};
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::{Value, json};
use sha2::Sha256;
use tokio::net::TcpListener;

use objects::{Form, error, list};
pub use objects::{Price, invoice, subscription};

/// The receiver of the mock's events, and their signing secret.
#[derive(Debug, Clone)]
pub struct Webhook {
    pub url: String,
    pub secret: String,
}

#[derive(Debug, Default)]
pub(crate) struct World {
    customers: BTreeMap<String, Value>,
    subscriptions: BTreeMap<String, Value>,
    sessions: BTreeMap<String, Value>,
    invoices: Vec<Value>,
    meter_events: Vec<Value>,
    replays: HashMap<String, (String, u16, Value)>,
    calls: Vec<String>,
    failures: usize,
    made: u64,
    life: u64,
    now: Option<i64>,
}

impl World {
    fn next(&mut self, prefix: &str) -> String {
        self.made += 1;
        format!("{prefix}_mock{:x}n{}", self.life, self.made)
    }

    /// Whether a customer was created here, by this or an earlier process.
    fn knows(&self, customer: &str) -> bool {
        customer.starts_with("cus_mock")
    }
}

/// The mock. Clones share their state.
#[derive(Debug, Clone)]
pub struct StripeMock {
    world: Arc<Mutex<World>>,
    key: Arc<Mutex<String>>,
    webhook: Option<Webhook>,
}

impl StripeMock {
    /// A mock that accepts this API key.
    #[must_use]
    pub fn new(key: &str, webhook: Option<Webhook>) -> Self {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        let world = World {
            // Ids must differ from those of earlier processes.
            life: u64::try_from(since.unwrap().as_nanos()).unwrap_or_default(),
            ..World::default()
        };
        Self {
            world: Arc::new(Mutex::new(world)),
            key: Arc::new(Mutex::new(key.to_owned())),
            webhook,
        }
    }

    /// Starts the mock on a free port and returns its URL, with a trailing slash.
    pub async fn start(&self) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        tokio::spawn(self.clone().serve(listener));
        url
    }

    pub async fn serve(self, listener: TcpListener) {
        let router = Router::new()
            .route("/v1/{*path}", any(api))
            .route("/checkout/{session}", any(pages::checkout))
            .route("/portal/{customer}", any(pages::portal))
            .route("/portal/{customer}/{change}", any(pages::change))
            .with_state(self);
        axum::serve(listener, router).await.unwrap();
    }

    pub(crate) fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap()
    }

    /// Sets the clock, in seconds since 1970.
    pub fn set_now(&self, now: i64) {
        self.world().now = Some(now);
    }

    pub(crate) fn now(&self) -> i64 {
        let real = || {
            let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
            i64::try_from(since.unwrap().as_secs()).unwrap()
        };
        self.world().now.unwrap_or_else(real)
    }

    /// Replaces the accepted API key.
    pub fn rotate_key(&self, key: &str) {
        *self.key.lock().unwrap() = key.to_owned();
    }

    /// Responds to the next requests with `503`.
    pub fn fail(&self, times: usize) {
        self.world().failures = times;
    }

    /// The requests so far, such as `POST /v1/customers`.
    #[must_use]
    pub fn calls(&self) -> Vec<String> {
        self.world().calls.clone()
    }

    /// Adds a subscription.
    pub fn put_subscription(&self, subscription: &Value) {
        let id = subscription["id"].as_str().unwrap().to_owned();
        self.world().subscriptions.insert(id, subscription.clone());
    }

    /// The number of customers.
    #[must_use]
    pub fn customers(&self) -> usize {
        self.world().customers.len()
    }

    /// The sum of a customer's meter events.
    #[must_use]
    pub fn metered(&self, customer: &str) -> u64 {
        self.world()
            .meter_events
            .iter()
            .filter(|event| event["payload"]["stripe_customer_id"] == customer)
            .map(|event| {
                event["payload"]["value"]
                    .as_str()
                    .unwrap()
                    .parse::<u64>()
                    .unwrap()
            })
            .sum()
    }

    /// Signs the body of an event and returns the header value.
    #[must_use]
    pub fn sign(secret: &str, at: i64, body: &str) -> String {
        let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
        mac.update(format!("{at}.{body}").as_bytes());
        format!("t={at},v1={}", hex::encode(mac.finalize().into_bytes()))
    }

    /// Sends an event.
    pub(crate) async fn send(&self, kind: &str, object: &Value) {
        let Some(webhook) = self.webhook.clone() else {
            return;
        };
        let now = self.now();
        let id = self.world().next("evt");
        let body = objects::event(&id, kind, now, object).to_string();
        let signature = Self::sign(&webhook.secret, now, &body);
        let sent = tokio::task::spawn_blocking(move || {
            ureq::post(&webhook.url)
                .header("content-type", "application/json")
                .header("stripe-signature", &signature)
                .send(body)
                .map(|answer| answer.status().as_u16())
        });
        println!("{kind} {id}: {:?}", sent.await.unwrap());
    }
}

fn answer(status: u16, body: &Value) -> Response {
    let status = StatusCode::from_u16(status).unwrap();
    (
        status,
        [(header::CONTENT_TYPE, "application/json")],
        body.to_string(),
    )
        .into_response()
}

async fn api(
    State(mock): State<StripeMock>,
    Path(path): Path<String>,
    method: Method,
    uri: Uri,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: String,
) -> Response {
    let key = mock.key.lock().unwrap().clone();
    let given = headers.get("authorization").and_then(|h| h.to_str().ok());
    mock.world().calls.push(format!("{method} {}", uri.path()));
    if given != Some(&format!("Bearer {key}")) {
        let problem = error("invalid_request_error", None, "Invalid API Key provided");
        return answer(401, &problem);
    }
    {
        let mut world = mock.world();
        if world.failures > 0 {
            world.failures -= 1;
            return answer(503, &error("api_error", None, "Try again"));
        }
    }
    let name = headers.get("idempotency-key").and_then(|h| h.to_str().ok());
    // Parameters are compared in any order.
    let requested = format!("{method} {path} {:?}", Form::read(&body).sorted());
    if let Some(name) = name
        && let Some((before, status, answered)) = mock.world().replays.get(name)
    {
        if *before == requested {
            return answer(*status, answered);
        }
        let message = "Keys for idempotent requests can only be used with the same parameters they were first used with.";
        return answer(400, &error("idempotency_error", None, message));
    }
    let now = mock.now();
    let base = headers
        .get("host")
        .and_then(|h| h.to_str().ok())
        .unwrap_or_default();
    let form = Form::read(if method == Method::GET {
        query.as_deref().unwrap_or_default()
    } else {
        &body
    });
    let (status, answered) = mock.world().answer(&method, &path, &form, now, base);
    if let Some(name) = name {
        let kept = (requested, status, answered.clone());
        mock.world().replays.insert(name.to_owned(), kept);
    }
    answer(status, &answered)
}

impl World {
    fn answer(
        &mut self,
        method: &Method,
        path: &str,
        form: &Form,
        now: i64,
        base: &str,
    ) -> (u16, Value) {
        let segments: Vec<&str> = path.split('/').collect();
        let missing = |what: &str, id: &str| {
            let message = format!("No such {what}: '{id}'");
            (
                404,
                error("invalid_request_error", Some("resource_missing"), &message),
            )
        };
        match (method.as_str(), segments.as_slice()) {
            ("POST", ["customers"]) => {
                let id = self.next("cus");
                let own = objects::customer(&id, form, now);
                self.customers.insert(id, own.clone());
                (200, own)
            }
            ("GET", ["prices"]) => {
                let wanted = form.all("lookup_keys");
                let prices = Price::ALL
                    .into_iter()
                    .filter(|price| wanted.iter().any(|key| key == price.lookup_key()))
                    .map(Price::object);
                (200, list("/v1/prices", &prices.collect::<Vec<_>>()))
            }
            ("POST", ["checkout", "sessions"]) => {
                let customer = form.get("customer");
                if !self.knows(customer) {
                    return missing("customer", customer);
                }
                let price = form.get("line_items[0][price]");
                if Price::of_id(price).is_none() {
                    return missing("price", price);
                }
                let id = self.next("cs_test");
                let url = format!("http://{base}/checkout/{id}");
                let own = objects::session(&id, form, now, &url);
                let kept = json!({"session": own, "price": price, "tenant": form.get("subscription_data[metadata][tenant_id]")});
                self.sessions.insert(id, kept);
                (200, own)
            }
            ("POST", ["billing_portal", "sessions"]) => {
                let customer = form.get("customer");
                if !self.knows(customer) {
                    return missing("customer", customer);
                }
                let id = self.next("bps");
                let url = format!("http://{base}/portal/{customer}");
                (200, objects::portal(&id, form, now, &url))
            }
            ("GET", ["subscriptions", id]) => match self.subscriptions.get(*id) {
                Some(own) => (200, own.clone()),
                None => missing("subscription", id),
            },
            ("GET", ["invoices"]) => {
                let customer = form.get("customer");
                let own = self.invoices.iter().rev();
                let own: Vec<Value> = own.filter(|i| i["customer"] == customer).cloned().collect();
                (200, list("/v1/invoices", &own))
            }
            ("POST", ["billing", "meter_events"]) => {
                let identifier = form.get("identifier");
                if self
                    .meter_events
                    .iter()
                    .any(|e| e["identifier"] == identifier)
                {
                    let message = format!("An event already exists with identifier {identifier}.");
                    return (400, error("invalid_request_error", None, &message));
                }
                let own = objects::meter_event(form, now);
                self.meter_events.push(own.clone());
                (200, own)
            }
            ("GET", ["billing", "meters"]) => {
                (200, list("/v1/billing/meters", &[objects::meter(now)]))
            }
            ("GET", ["billing", "meters", meter, "event_summaries"]) => {
                let between = |e: &&Value| {
                    let at = e["timestamp"].as_i64().unwrap();
                    form.number("start_time") <= at
                        && at < form.number("end_time")
                        && e["payload"]["stripe_customer_id"] == form.get("customer")
                };
                let value = |e: &Value| {
                    e["payload"]["value"]
                        .as_str()
                        .unwrap()
                        .parse::<f64>()
                        .unwrap()
                };
                let sum: f64 = self.meter_events.iter().filter(between).map(value).sum();
                (
                    200,
                    list("/v1/billing/meters", &[objects::summary(meter, form, sum)]),
                )
            }
            _ => {
                let message = format!("Unrecognized request URL ({method}: /v1/{path}).");
                (404, error("invalid_request_error", None, &message))
            }
        }
    }
}
