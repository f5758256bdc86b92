//! The measured cases: binaries run by [`crate::lambda`], AWS by [`crate::cloud`], and events of
//! each function's main path.

use std::collections::HashMap;

use aias_domain::{id::TenantId, plan::PlanName};
use aias_platform::{
    clock::{Clock, random_id},
    store::{Admission, Gate, Proof},
};
use aias_testkit::hosts::Hosts;
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::{Value, json};
use sha2::Sha256;
use stripe_mock::{Price, StripeMock, subscription};

use crate::{
    bench::{Bench, KEYRING, OWNERS_KEY, STRIPE_KEY, STRIPE_SECRET, TENANT, json_of, respond},
    cloud::Cloud,
};

/// A row of the figures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Case {
    /// The name of the row.
    pub name: &'static str,
    pub function: &'static str,
    pub event: Event,
    /// The value of `ArtifactInlineMaxBytes`.
    pub inline_bytes: usize,
}

/// The event of a case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// A webhook signed as by GitHub, with a new id and a JSON body of 1 KiB.
    Webhook,
    /// A batch of messages, with runs of this workflow.
    Runs(Workflow, usize),
    /// A request of the owner.
    Get(&'static str),
    /// A page of the console, for the owner.
    Page(&'static str),
    /// The page of a completed run with one step.
    RunPage,
    /// A change of a subscription.
    Stripe,
    /// The schedule, with nothing to do.
    Schedule,
    /// The schedule, after this many tenants on the free plan had an event in the hour.
    Sweep(usize),
}

impl Event {
    /// Whether the calls of the event always overlap in the same way: those of several runs, of
    /// several tenants, or of the parts of a page, do not.
    #[must_use]
    pub fn has_fixed_rounds(self) -> bool {
        !matches!(self, Self::Runs(_, 2..) | Self::RunPage | Self::Sweep(_))
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Workflow {
    /// One step and a small output.
    OneStep,
    /// The ten steps of the engine's benchmark.
    TenSteps,
    /// One HTTP call.
    OneCall,
}

const fn case(name: &'static str, function: &'static str, event: Event) -> Case {
    Case {
        name,
        function,
        event,
        inline_bytes: 0,
    }
}

const fn inline(name: &'static str, workflow: Workflow, batch: usize) -> Case {
    Case {
        inline_bytes: 4096,
        ..case(name, "executor", Event::Runs(workflow, batch))
    }
}

/// All rows, in the order of the report.
pub const CASES: [Case; 28] = [
    case("no-op", "no-op", Event::Get("/")),
    case("webhook-ingest", "webhook-ingest", Event::Webhook),
    case(
        "executor: one step",
        "executor",
        Event::Runs(Workflow::OneStep, 1),
    ),
    case(
        "executor: one step, ten at once",
        "executor",
        Event::Runs(Workflow::OneStep, 10),
    ),
    inline("executor: one step, inline", Workflow::OneStep, 1),
    inline(
        "executor: one step, inline, ten at once",
        Workflow::OneStep,
        10,
    ),
    case(
        "executor: ten steps",
        "executor",
        Event::Runs(Workflow::TenSteps, 1),
    ),
    case(
        "executor: ten steps, ten at once",
        "executor",
        Event::Runs(Workflow::TenSteps, 10),
    ),
    case(
        "executor: one call",
        "executor",
        Event::Runs(Workflow::OneCall, 1),
    ),
    case(
        "executor: one call, ten at once",
        "executor",
        Event::Runs(Workflow::OneCall, 10),
    ),
    case(
        "webhook-endpoints",
        "webhook-endpoints",
        Event::Get("/api/webhook-endpoints"),
    ),
    case("workflows", "workflows", Event::Get("/api/workflows")),
    case("runs", "runs", Event::Get("/api/runs")),
    case("artifacts", "artifacts", Event::Get("/api/artifacts")),
    case(
        "tenants",
        "tenants",
        Event::Get("/api/tenants/ten_01JD3V4ZK8QW5R7T9X1B3C5D7F"),
    ),
    case("billing", "billing", Event::Get("/api/entitlements/check")),
    case("stripe-webhook", "stripe-webhook", Event::Stripe),
    case("reconciler", "reconciler", Event::Schedule),
    case(
        "reconciler: sweep of forty tenants",
        "reconciler",
        Event::Sweep(40),
    ),
    case("diagnostics", "diagnostics", Event::Get("/api/health")),
    case(
        "console: sign-in",
        "console",
        Event::Page("/dashboard/sign-in"),
    ),
    case("console: docs", "console", Event::Page("/dashboard/docs")),
    case("console: overview", "console", Event::Page("/dashboard")),
    case("console: runs", "console", Event::Page("/dashboard/runs")),
    case("console: run", "console", Event::RunPage),
    case(
        "console: workflows",
        "console",
        Event::Page("/dashboard/workflows"),
    ),
    case(
        "console: members",
        "console",
        Event::Page("/dashboard/members"),
    ),
    case(
        "console: diagnostics",
        "console",
        Event::Page("/dashboard/diagnostics"),
    ),
];

const ORDER: &str = include_str!("../../shared/engine/benches/order/order.yaml");

/// A body of exactly 1 KiB: JSON as providers send it, mostly names and ids.
#[must_use]
pub fn body_of(number: usize) -> String {
    let item = |n: usize| json!({"sku": format!("SKU-{n}"), "title": format!("Article number {n}"), "price": 9.5 + n as f64, "quantity": n + 1, "variant_id": 39_072_856 + n * 7_919});
    let mut order = json!({
        "id": format!("ord_{number:08}"),
        "currency": "EUR",
        "created_at": "2026-11-21T12:00:00Z",
        "customer": {"id": 207_119_551 + number, "email": "jane@example.com", "first_name": "Jane", "last_name": "Doe"},
        "line_items": (0..6).map(item).collect::<Vec<_>>(),
        "note": "",
    });
    let missing = 1024_usize.saturating_sub(order.to_string().len());
    order["note"] = "leave it at the door, please; ".repeat(40)[..missing].into();
    order.to_string()
}

/// The URL and the secret of an endpoint.
#[derive(Debug, Clone)]
struct Endpoint {
    path: String,
    secret: String,
}

/// A tenant with workflows and endpoints.
#[derive(Debug)]
pub struct World {
    pub cloud: Cloud,
    bench: Bench,
    stripe: String,
    endpoints: HashMap<Workflow, Endpoint>,
    active_tenants: usize,
    number: usize,
}

impl World {
    pub async fn new() -> Self {
        let secret = |value: &str| json!({ "current": value }).to_string();
        let secrets = HashMap::from([
            ("keyring".to_owned(), KEYRING.to_owned()),
            ("stripe-key".to_owned(), secret(STRIPE_KEY)),
            ("stripe-webhook".to_owned(), secret(STRIPE_SECRET)),
        ]);
        let cloud = Cloud::start(secrets).await;
        let stripe_mock = StripeMock::new(STRIPE_KEY, None);
        let stripe = stripe_mock.start().await;
        let bench = Bench::at(&cloud.url, Clock::system(), stripe_mock, &stripe).await;
        let host = Hosts::default().start().await;
        let mut world = Self {
            cloud,
            bench,
            stripe,
            endpoints: HashMap::new(),
            active_tenants: 0,
            number: 0,
        };
        let one_step = json!({
            "document": {"dsl": "1.0.3", "namespace": "measured", "name": "one-step", "version": "1.0.0"},
            "do": [{"total": {"set": {"order": "${ .body.id }", "total": "${ [.body.line_items[] | .price * .quantity] | add }"}}}],
        });
        let one_call = json!({
            "document": {"dsl": "1.0.3", "namespace": "measured", "name": "one-call", "version": "1.0.0"},
            "do": [{"ask": {"call": "http", "with": {"method": "get", "endpoint": format!("{host}/echo")}}}],
            "output": {"as": "{answered: true}"},
        });
        for (workflow, definition) in [
            (Workflow::OneStep, one_step.to_string()),
            (Workflow::TenSteps, ORDER.to_owned()),
            (Workflow::OneCall, one_call.to_string()),
        ] {
            world.add(workflow, &definition).await;
        }
        world
    }

    async fn add(&mut self, workflow: Workflow, definition: &str) {
        let definition = aias_engine::definition::read(
            definition.as_bytes(),
            aias_engine::definition::Format::Yaml,
        );
        let id = self.bench.new_workflow(&definition.unwrap()).await;
        let secret = "measured-measured-measured-measured";
        let requested = json!({
            "name": "measured",
            "workflow_id": id,
            "verification": {"scheme": "github", "secret": secret},
        });
        let path = "/api/webhook-endpoints";
        let made = self
            .bench
            .request("webhook-endpoints", "POST", path, &requested)
            .await;
        let url = json_of(&made)["url"].as_str().unwrap().to_owned();
        let endpoint = Endpoint {
            path: url[url.find("/api/").unwrap()..].to_owned(),
            secret: secret.to_owned(),
        };
        self.endpoints.insert(workflow, endpoint);
    }

    /// The environment variables of a function.
    #[must_use]
    pub fn environment(&self, case: &Case) -> HashMap<String, String> {
        let inline_bytes = case.inline_bytes.to_string();
        let settings = [
            ("AWS_REGION", "us-east-1"),
            ("AWS_ACCESS_KEY_ID", "test"),
            ("AWS_SECRET_ACCESS_KEY", "test"),
            ("AWS_ENDPOINT_URL", &self.cloud.url),
            ("LOG_LEVEL", "info"),
            ("TABLE_NAME", "aias"),
            ("BUCKET_NAME", "aias"),
            (
                "RUNS_QUEUE_URL",
                &format!("{}/000000000000/runs", self.cloud.url),
            ),
            (
                "DEAD_LETTER_QUEUE_URL",
                &format!("{}/000000000000/dead-letters", self.cloud.url),
            ),
            ("KEYRING_SECRET_ARN", "keyring"),
            ("TENANT_ROLE_ARN", "arn:aws:iam::000000000000:role/tenant"),
            ("STRIPE_API_URL", &self.stripe),
            ("STRIPE_API_KEY_ARN", "stripe-key"),
            ("STRIPE_WEBHOOK_SECRET_ARN", "stripe-webhook"),
            ("OUTBOUND_NETWORKS", "127.0.0.0/8"),
            ("ARTIFACT_INLINE_MAX_BYTES", &inline_bytes),
        ];
        let owned = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
        settings.into_iter().map(owned).collect()
    }

    /// New events of a case. Calls for creating them are not counted.
    pub async fn events(&mut self, event: Event, count: usize) -> Vec<String> {
        if let Event::Sweep(tenants) = event {
            while self.active_tenants < tenants {
                self.add_active_tenant().await;
            }
        }
        let mut events = Vec::new();
        for _ in 0..count {
            events.push(match event {
                Event::Webhook => self.webhook(Workflow::OneStep).to_string(),
                Event::Runs(workflow, batch) => self.runs(workflow, batch).await,
                Event::Get(path) => {
                    let (path, query) = path.split_once('?').unwrap_or((path, ""));
                    let key = format!("Bearer {OWNERS_KEY}");
                    http_event("GET", path, query, &[("authorization", &key)], None).to_string()
                }
                Event::Page(path) => self.page(path).await,
                Event::RunPage => {
                    let run = self.completed_run().await;
                    self.page(&format!("/dashboard/runs/{run}")).await
                }
                Event::Stripe => self.subscription(),
                Event::Schedule | Event::Sweep(_) => {
                    json!({"detail-type": "Scheduled Event", "source": "aws.events"}).to_string()
                }
            });
        }
        let _ = self.cloud.counted();
        events
    }

    /// A tenant on the free plan that just had an event.
    async fn add_active_tenant(&mut self) {
        let (now, store) = (self.bench.now(), self.bench.store());
        let id = TenantId::new(now, random_id());
        self.bench.create_tenant(id, PlanName::Free).await;
        let own = store.tenant(Proof::for_tests(id));
        let admitted = Gate::default()
            .admit(&own, &PlanName::Free.limits(), now)
            .await;
        assert!(matches!(admitted, Ok(Admission::Admitted(..))));
        self.active_tenants += 1;
    }

    fn next(&mut self) -> usize {
        self.number += 1;
        self.number
    }

    fn webhook(&mut self, workflow: Workflow) -> Value {
        let number = self.next();
        let endpoint = &self.endpoints[&workflow];
        let body = body_of(number);
        let mut mac = Hmac::<Sha256>::new_from_slice(endpoint.secret.as_bytes()).unwrap();
        mac.update(body.as_bytes());
        let signature = format!("sha256={}", hex::encode(mac.finalize().into_bytes()));
        let delivery = format!("{number:08x}-0000-4000-8000-{:012x}", std::process::id());
        let headers = [
            ("content-type", "application/json"),
            ("user-agent", "GitHub-Hookshot/0000000"),
            ("x-github-event", "push"),
            ("x-github-delivery", delivery.as_str()),
            ("x-hub-signature-256", signature.as_str()),
        ];
        http_event("POST", &endpoint.path, "", &headers, Some(&body))
    }

    async fn runs(&mut self, workflow: Workflow, batch: usize) -> String {
        let ingest = self.bench.ingest();
        let _ = self.cloud.messages();
        for _ in 0..batch {
            let event = self.webhook(workflow);
            let response = respond(&ingest, &event.to_string()).await;
            assert_eq!(response.status_code, 202, "{}", response.body);
        }
        let messages = self.cloud.messages();
        assert_eq!(messages.len(), batch);
        serde_json::to_string(&self.bench.batch_json(&messages, 1)).unwrap()
    }

    /// A request of the owner's browser, with a new session.
    async fn page(&self, path: &str) -> String {
        let form = format!("api_key={OWNERS_KEY}");
        let headers = [("content-type", "application/x-www-form-urlencoded")];
        let sign_in = http_event("POST", "/dashboard/sign-in", "", &headers, Some(&form));
        let console = self.bench.console(None);
        let response = respond(&console, &sign_in.to_string()).await;
        assert_eq!(response.status_code, 303, "{}", response.body);
        let cookie = response.cookies[0].split(';').next().unwrap().to_owned();
        http_event("GET", path, "", &[("cookie", &cookie)], None).to_string()
    }

    async fn completed_run(&mut self) -> String {
        let event = self.webhook(Workflow::OneStep);
        let _ = self.cloud.messages();
        let response = respond(&self.bench.ingest(), &event.to_string()).await;
        let messages = self.cloud.messages();
        let executed = self
            .bench
            .deliver(&self.bench.executor(), &messages, 1)
            .await;
        assert!(executed.batch_item_failures.is_empty());
        json_of(&response)["run_id"].as_str().unwrap().to_owned()
    }

    fn subscription(&mut self) -> String {
        let number = self.next();
        let now = self.bench.now().as_second();
        let object = subscription(
            "sub_measured",
            "cus_measured",
            "active",
            Price::Pro,
            now,
            Some(TENANT),
        );
        let event = json!({
            "id": format!("evt_measured_{number}"), "object": "event", "livemode": false,
            "type": "customer.subscription.updated", "created": now, "pending_webhooks": 1,
            "data": {"object": object},
        });
        let body = event.to_string();
        let signature = StripeMock::sign(STRIPE_SECRET, now, &body);
        let headers = [
            ("content-type", "application/json"),
            ("stripe-signature", signature.as_str()),
        ];
        http_event("POST", "/api/stripe/webhook", "", &headers, Some(&body)).to_string()
    }

    /// The number of completed runs of the last hour, and of all.
    pub async fn completed(&self) -> (usize, usize) {
        let runs = self.bench.runs().await;
        let is_completed =
            |run: &&aias_domain::run::Run| run.status == aias_domain::run::Status::Completed;
        (runs.iter().filter(is_completed).count(), runs.len())
    }
}

/// An event of API Gateway, format 2.0.
fn http_event(
    method: &str,
    path: &str,
    query: &str,
    headers: &[(&str, &str)],
    body: Option<&str>,
) -> Value {
    let headers: HashMap<_, _> = headers
        .iter()
        .copied()
        .chain([("host", "api.example.com")])
        .collect();
    json!({
        "version": "2.0",
        "routeKey": format!("{method} {path}"),
        "rawPath": path,
        "rawQueryString": query,
        "headers": headers,
        "requestContext": {
            "accountId": "000000000000",
            "apiId": "measured",
            "domainName": "api.example.com",
            "domainPrefix": "api",
            "requestId": "measured-event-0=",
            "routeKey": format!("{method} {path}"),
            "stage": "$default",
            "time": "21/Nov/2026:12:00:00 +0000",
            "timeEpoch": 1_795_262_400_000_u64,
            "http": {"method": method, "path": path, "protocol": "HTTP/1.1", "sourceIp": "192.0.2.1", "userAgent": "measured"},
        },
        "body": body,
        "isBase64Encoded": false,
    })
}
