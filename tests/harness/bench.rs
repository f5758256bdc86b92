//! The functions in this process, with an in-process DynamoDB and the S3 and SQS of the local AWS.
//! One tenant with one workflow and one endpoint, with the ids of `events/`.

mod queue;
mod request;
mod response;

use std::time::Duration;

use aias_billing::Stripe;
use aias_domain::{
    audit::Actor::Operator,
    endpoint::{Endpoint, EndpointSecret},
    id::{EndpointId, TenantId, WorkflowId},
    log::Entry,
    name::Name,
    plan::{Plan, PlanName},
    run::Run,
    tenant::{ApiKey, Member, Role, Tenant},
    verification::Verification,
    workflow::{Version, Workflow},
};
use aias_platform::{
    aws::SdkConfig,
    blobs::Blobs,
    clock::Clock,
    http::{Api, Gateway, Issuer, Routes, service},
    published_keys::PublishedKeys,
    queue::Queue,
    runs::Intake,
    secrets::{self, Keyring, Keyrings, Purpose, RotatingSecret},
    sqs::SqsBatchResponse,
    store::{Proof, RunFilter, Store, TenantStore, plan_entry},
};
use aias_sandbox::Sandbox;
use aias_testkit::{aws, dynamodb, stack, wire::Wire};
use aws_sdk_sqs::types::QueueAttributeName;
use jiff::Timestamp;
use reconciler::PassTimes;
use serde_json::{Value, json};
use stripe_mock::StripeMock;

pub use queue::failed_of;
pub use response::{GatewayResponse, json_of, respond};

pub const TENANT: &str = "ten_01JD3V4ZK8QW5R7T9X1B3C5D7F";
/// The API key of the owner.
pub const OWNERS_KEY: &str =
    "aias_01JD3V4ZK8QW5R7T9X1B3C5D7F_BBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBB";
pub const WORKFLOW: &str = "wf_01JD3V4ZK8QW5R7T9X1B3C5D7F";
pub const ENDPOINT: &str = "whe_01JD3V4ZK8QW5R7T9X1B3C5D7F";

/// The Stripe API key.
pub const STRIPE_KEY: &str = "sk_test_bench";

/// The Stripe webhook secret.
pub const STRIPE_SECRET: &str = "whsec_bench";

/// The keyring, as stored in Secrets Manager.
pub const KEYRING: &str = r#"{"current":"k1","k1":"0123456789abcdef0123456789abcdef"}"#;

/// The sandbox with children of the executor's binary, which is next to the test binaries.
#[must_use]
pub fn sandbox() -> Sandbox {
    let own = std::env::current_exe().unwrap();
    Sandbox::new(own.parent().unwrap().parent().unwrap().join("executor"))
}

/// Ten steps that compute; the last one returns the output.
#[must_use]
pub fn ten_steps() -> Value {
    let step = |n: usize| json!({format!("s{n}"): {"set": {"body": "${ .body }", "n": format!("${{ (.n // 0) + {n} }}")}}});
    json!({
        "document": {"dsl": "1.0.3", "namespace": "test", "name": "ten-steps", "version": "1.0.0"},
        "do": (0..10).map(step).collect::<Vec<_>>(),
        "output": {"as": "{sum: .n, id: .body.id}"},
    })
}

/// A table, a bucket and a queue for one test.
#[derive(Debug, Clone)]
pub struct Bench {
    /// The connection of the functions to AWS.
    pub wire: Wire,
    /// The clock of the functions.
    pub clock: Clock,
    /// The Stripe mock of the functions.
    pub stripe: StripeMock,
    stripe_url: String,
    database: String,
    aws: String,
    queue: String,
    bucket: String,
    /// Whether the SDK retries, as in production. Without, a count of calls is exact.
    pub retries: bool,
}

fn bench_name() -> Name {
    Name::new("Bench").unwrap()
}

impl Bench {
    /// A bench, with S3 and SQS of the deployed stack.
    pub async fn new() -> Self {
        let stack = stack::get();
        assert!(
            stack.function_log().is_none(),
            "this test needs the local AWS: exclude it from the profile `embedded` in .config/nextest.toml"
        );
        let aws = stack.url().to_owned();
        let config = aws::config(&aws, &Wire::default());
        let name = format!("bench-{:032x}", aias_platform::clock::random_id());
        let sqs = aws_sdk_sqs::Client::new(&config);
        let queue = sqs
            .create_queue()
            .queue_name(&name)
            .attributes(QueueAttributeName::VisibilityTimeout, "0");
        let queue = queue.send().await.unwrap().queue_url.unwrap();
        let bucket = s3(&config).create_bucket().bucket(&name);
        bucket.send().await.unwrap();
        let stripe = StripeMock::new(STRIPE_KEY, None);
        let bench = Self {
            wire: Wire::default(),
            clock: Clock::set_to("2026-11-21T12:00:00Z".parse().unwrap()),
            stripe_url: stripe.start().await,
            stripe,
            database: dynamodb::start().await,
            aws,
            queue,
            bucket: name,
            retries: false,
        };
        bench.furnish().await;
        bench
    }

    /// A bench with all of AWS at one URL, with the table `aias`.
    pub async fn at(url: &str, clock: Clock, stripe: StripeMock, stripe_url: &str) -> Self {
        let bench = Self {
            wire: Wire::default(),
            clock,
            stripe_url: stripe_url.to_owned(),
            stripe,
            database: url.to_owned(),
            aws: url.to_owned(),
            queue: format!("{url}/000000000000/runs"),
            bucket: "aias".to_owned(),
            retries: false,
        };
        bench.furnish().await;
        bench
    }

    /// The same bench with a connection of its own, for functions that run beside its others.
    #[must_use]
    pub fn beside(&self) -> Self {
        Self {
            wire: Wire::default(),
            ..self.clone()
        }
    }

    fn config(&self, endpoint: &str) -> SdkConfig {
        let config = aws::config(endpoint, &self.wire);
        if self.retries {
            aws::retrying(&config)
        } else {
            config
        }
    }

    #[must_use]
    pub fn store(&self) -> Store {
        Store::new(&self.config(&self.database), dynamodb::TABLE.to_owned())
    }

    /// Deletes all objects, as the lifecycle of the bucket does.
    pub async fn expire_objects(&self) {
        let s3 = s3(&aws::config(&self.aws, &Wire::default()));
        let list = s3.list_objects_v2().bucket(&self.bucket);
        for object in list.send().await.unwrap().contents() {
            let delete = s3.delete_object().bucket(&self.bucket);
            let key = object.key().unwrap_or_default();
            delete.key(key).send().await.unwrap();
        }
    }

    fn blobs(&self) -> Blobs {
        Blobs::new(&self.config(&self.aws), self.bucket.clone())
    }

    fn queue(&self) -> Queue {
        Queue::new(&self.config(&self.aws), self.queue.clone())
    }

    fn stripe(&self) -> Stripe {
        let key = RotatingSecret {
            current: STRIPE_KEY.to_owned().into(),
            previous: None,
        };
        Stripe::new(&self.stripe_url, secrets::Secret::constant(key))
    }

    /// Stripe, with the API key in a secret of Secrets Manager.
    #[must_use]
    pub fn stripe_with(&self, arn: &str) -> Stripe {
        let key = secrets::Secret::new(&self.config(&self.aws), arn.to_owned());
        Stripe::new(&self.stripe_url, key)
    }

    #[must_use]
    pub fn stripe_webhook(&self) -> Gateway {
        Gateway::new(service(stripe_events::routes(self.stripe_webhook_app())))
    }

    fn stripe_webhook_app(&self) -> stripe_events::App {
        let taken = RotatingSecret {
            current: STRIPE_SECRET.to_owned().into(),
            previous: Some("whsec_before".to_owned().into()),
        };
        stripe_events::App::new(
            self.store(),
            self.stripe(),
            secrets::Secret::constant(taken),
            self.clock.clone(),
        )
    }

    fn intake(&self) -> Intake {
        Intake::new(self.store(), self.blobs(), self.queue())
    }

    fn keyring() -> Keyring {
        Keyring::read(&KEYRING.to_owned().into()).unwrap()
    }

    fn api_with(&self, keyring: Keyring) -> Api {
        let keyrings = Keyrings::constant(keyring);
        Api::new(self.store(), keyrings, None, self.clock.clone())
    }

    /// The state of an API function that accepts tokens of this issuer.
    #[must_use]
    pub fn api_of(&self, issuer: Option<Issuer>) -> Api {
        let keyrings = Keyrings::constant(Self::keyring());
        Api::new(self.store(), keyrings, issuer, self.clock.clone())
    }

    /// A new instance of `webhook-ingest`, as after a cold start.
    #[must_use]
    pub fn ingest(&self) -> Gateway {
        Gateway::new(service(webhook_ingest::routes(self.ingest_app())))
    }

    /// As [`Bench::ingest`], with these keys of providers.
    #[must_use]
    pub fn ingest_with(&self, keys: PublishedKeys) -> Gateway {
        let app = self.ingest_app().with_published_keys(keys);
        Gateway::new(service(webhook_ingest::routes(app)))
    }

    fn ingest_app(&self) -> webhook_ingest::App {
        webhook_ingest::App::new(
            self.intake(),
            Keyrings::constant(Self::keyring()),
            self.clock.clone(),
        )
    }

    #[must_use]
    pub fn executor(&self) -> executor::App {
        self.executor_with(Keyrings::constant(Self::keyring()))
    }

    /// As [`Bench::executor`], with another keyring.
    #[must_use]
    pub fn executor_with(&self, keyrings: Keyrings) -> executor::App {
        self.executor_of(sandbox(), keyrings)
    }

    /// As [`Bench::executor`], with another sandbox.
    #[must_use]
    pub fn executor_in(&self, sandbox: Sandbox) -> executor::App {
        self.executor_of(sandbox, Keyrings::constant(Self::keyring()))
    }

    fn executor_of(&self, sandbox: Sandbox, keyrings: Keyrings) -> executor::App {
        let loopback = "127.0.0.0/8".parse().unwrap();
        executor::App::new(
            self.intake(),
            loopback,
            keyrings,
            sandbox,
            self.clock.clone(),
        )
    }

    #[must_use]
    pub fn reconciler(&self) -> reconciler::App {
        self.reconciler_with(PassTimes {
            resuming: Duration::ZERO,
            ..PassTimes::default()
        })
    }

    #[must_use]
    pub fn reconciler_with(&self, times: PassTimes) -> reconciler::App {
        reconciler::App::new(self.intake(), self.stripe(), self.clock.clone(), times)
    }

    /// The routes of a function that authenticates with `api`.
    #[must_use]
    pub fn routes(&self, api: Api, function: &str) -> Routes {
        let (blobs, queue) = (self.blobs(), self.queue());
        match function {
            "webhook-ingest" => webhook_ingest::routes(self.ingest_app()),
            "webhook-endpoints" => webhook_endpoints::routes(webhook_endpoints::App::new(api)),
            "workflows" => workflows::routes(workflows::App::new(api, blobs, queue, sandbox())),
            "runs" => runs::routes(runs::App::new(api, blobs, queue, sandbox())),
            "artifacts" => artifacts::routes(artifacts::App::new(api, blobs)),
            "tenants" => tenants::routes(api),
            "stripe-webhook" => stripe_events::routes(self.stripe_webhook_app()),
            "billing" => billing::routes(billing::App::new(api, self.stripe())),
            "diagnostics" => {
                let dead_letters = queue.clone();
                diagnostics::routes(diagnostics::App::new(api, blobs, queue, dead_letters))
            }
            other => panic!("no function {other}"),
        }
    }

    /// The console, with the routers of the API functions in this process.
    #[must_use]
    pub fn console(&self, issuer: Option<Issuer>) -> Gateway {
        let functions = [
            "artifacts",
            "billing",
            "diagnostics",
            "runs",
            "tenants",
            "webhook-endpoints",
            "workflows",
        ];
        let api = self.api_of(issuer);
        let routers = functions.map(|function| self.routes(api.clone(), function));
        let routes = routers.into_iter().fold(Routes::new(), Routes::merge);
        let settings = console::Settings {
            client_id: "console".to_owned(),
            accepts_api_keys: true,
        };
        let app = console::App::new(api, routes, settings);
        Gateway::new(console::router(app))
    }

    /// Creates a tenant with this plan.
    pub async fn create_tenant(&self, id: TenantId, plan: PlanName) {
        let (store, now) = (self.store(), self.clock.now());
        let tenant = Tenant {
            plan: Plan {
                name: plan,
                ..Plan::default()
            },
            ..Tenant::new(id, bench_name(), now)
        };
        let owner = Member {
            user_id: "owner".parse().unwrap(),
            role: Role::Owner,
            created_at: now,
            disabled_by_plan: false,
        };
        let made = plan_entry(Operator, id, now, Value::Null, Value::Null);
        let created = store.create_tenant(&tenant, &owner, &made, None);
        created.await.unwrap();
    }

    async fn furnish(&self) {
        let (store, now) = (self.store(), self.clock.now());
        let id: TenantId = TENANT.parse().unwrap();
        self.create_tenant(id, PlanName::Business).await;
        let own = self.tenant(&store);
        let secret = |purpose, letter: &str| {
            Self::keyring().hash(
                purpose,
                &[id.ulid().as_bytes(), letter.repeat(43).as_bytes()],
            )
        };
        let key = ApiKey {
            id: aias_domain::id::KeyId::new(now, 1),
            name: bench_name(),
            role: Role::Owner,
            created_at: now,
            valid_until: None,
            token_hash: secret(Purpose::ApiKey, "B"),
            disabled_by_plan: false,
        };
        own.create_api_key(&key, 10, None).await.unwrap();
        self.add_workflow(WORKFLOW, &ten_steps()).await;
        let endpoint = Endpoint {
            id: ENDPOINT.parse::<EndpointId>().unwrap(),
            name: bench_name(),
            workflow_version: None,
            disabled_status: Default::default(),
            last_ping_at: None,
            refusing_since: None,
            event_types: Vec::new(),
            workflow_id: WORKFLOW.parse().unwrap(),
            enabled: true,
            disabled_by_plan: false,
            verification: Verification::none(),
            url_secrets: vec![EndpointSecret {
                last_used_at: Some(now),
                ..EndpointSecret::new(secret(Purpose::UrlSecret, "A"), now)
            }],
            signing_secrets: Vec::new(),
            created_at: now,
            updated_at: now,
        };
        own.create_endpoint(&endpoint, 10, None).await.unwrap();
        self.wire.reset();
    }

    /// Adds a workflow with a new id.
    pub async fn new_workflow(&self, definition: &Value) -> WorkflowId {
        let id = WorkflowId::new(self.now(), aias_platform::clock::random_id());
        self.add_workflow(&id.to_string(), definition).await;
        id
    }

    pub async fn add_workflow(&self, id: &str, definition: &Value) {
        let (store, now) = (self.store(), self.clock.now());
        let id: WorkflowId = id.parse().unwrap();
        let head = Workflow {
            id,
            name: "w".into(),
            namespace: "n".into(),
            latest: 1,
            active: None,
            samples: 0,
            enabled: true,
            disabled_by_plan: false,
            created_at: now,
            updated_at: now,
        };
        let version = Version {
            number: 1,
            document_version: "1.0.0".to_owned(),
            digest: String::new(),
            definition: definition.to_string(),
            created_at: now,
        };
        self.tenant(&store)
            .create_workflow(&head, &version, 100, None)
            .await
            .unwrap();
    }

    /// The store of the tenant.
    #[must_use]
    pub fn tenant<'a>(&self, store: &'a Store) -> TenantStore<'a> {
        store.tenant(Proof::for_tests(TENANT.parse().unwrap()))
    }

    /// Invokes a new reconciler by the schedule.
    pub async fn wake(&self) {
        let event = json!({"detail-type": "Scheduled Event", "source": "aws.events"});
        self.invoke_reconciler(&event).await.unwrap();
    }

    /// Ends the lease of a pass that died.
    pub async fn expire_lease(&self) {
        let key = ("RECONCILER", "PASS");
        self.set_number(key, "leased_until", 0).await;
    }

    /// Sets the enterprise plan with these limits, as an operator.
    pub async fn enterprise(&self, limits: &Value) {
        let event = json!({"enterprise": {"tenant_id": TENANT, "limits": limits}});
        self.invoke_reconciler(&event).await.unwrap();
    }

    /// The response to an operator's event.
    ///
    /// # Errors
    ///
    /// The error of the function.
    pub async fn invoke_reconciler(
        &self,
        event: &Value,
    ) -> Result<SqsBatchResponse, reconciler::EnterpriseError> {
        let event = serde_json::from_value(event.clone()).unwrap();
        reconciler::handle(&self.reconciler(), event).await
    }

    /// Sets a number attribute of an item.
    pub async fn set_number(&self, key: (&str, &str), name: &str, number: u64) {
        dynamodb::set_number(&self.database, key, name, number).await;
    }

    pub async fn runs(&self) -> Vec<Run> {
        let store = self.store();
        let now = self.clock.now();
        let span = (now - jiff::SignedDuration::from_hours(24), now);
        self.tenant(&store)
            .runs(&RunFilter::default(), 100, None, span)
            .await
            .unwrap()
            .items
    }

    pub async fn log(&self, run: &Run) -> Vec<Entry> {
        let store = self.store();
        let own = self.tenant(&store);
        let run = own.run(run.id).await.unwrap().unwrap();
        own.log(&run, 0, 100_000).await.unwrap()
    }

    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }
}

fn s3(config: &SdkConfig) -> aws_sdk_s3::Client {
    let config = aws_sdk_s3::config::Builder::from(config);
    aws_sdk_s3::Client::from_conf(config.force_path_style(true).build())
}
