//! A client of the deployed stack.

use std::{
    thread::sleep,
    time::{Duration, Instant},
};

use aias_testkit::{
    aws, dynamodb,
    stack::{self, Stack},
    wire::Wire,
};
use serde_json::{Value, json};
use ureq::{Agent, http};

use crate::contract::{self, Exchange};

#[derive(Debug)]
pub struct ApiResponse {
    pub status: u16,
    pub headers: http::HeaderMap,
    pub body: Vec<u8>,
}

impl ApiResponse {
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("not JSON: {self:?}"))
    }

    /// The value of a header, or an empty string.
    #[must_use]
    pub fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .and_then(|v| v.to_str().ok())
            .unwrap_or_default()
    }

    /// A member of the body, as a string.
    #[must_use]
    pub fn text(&self, name: &str) -> String {
        self.json()[name]
            .as_str()
            .unwrap_or_else(|| panic!("no {name} in {}", self.json()))
            .to_owned()
    }

    /// Fails unless the response has this status.
    pub fn expect(self, status: u16) -> Self {
        assert_eq!(
            self.status,
            status,
            "{}",
            String::from_utf8_lossy(&self.body)
        );
        self
    }
}

/// Sends a request and returns the response, whatever its status.
pub fn send(method: &str, url: &str, headers: &[(&str, &str)], body: &[u8]) -> ApiResponse {
    let config = Agent::config_builder()
        .http_status_as_error(false)
        .max_redirects(0)
        .allow_non_standard_methods(true)
        .timeout_global(Some(Duration::from_secs(60)))
        .build();
    let mut request = http::Request::builder().method(method).uri(url);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let agent = Agent::new_with_config(config);
    let response = if body.is_empty() {
        agent.run(request.body(()).unwrap())
    } else {
        agent.run(request.body(body.to_vec()).unwrap())
    };
    let mut response = response.unwrap_or_else(|e| panic!("{method} {url}: {e}"));
    let body = response
        .body_mut()
        .with_config()
        .limit(64 * 1024 * 1024)
        .read_to_vec()
        .unwrap();
    let answer = ApiResponse {
        status: response.status().as_u16(),
        headers: response.headers().clone(),
        body,
    };
    check_response(method, url, &answer);
    answer
}

/// Checks a response of the API, not of another host, against the API description.
fn check_response(method: &str, url: &str, answer: &ApiResponse) {
    let own = url.strip_prefix(stack::get().url());
    let Some(path) = own.filter(|path| path.starts_with("/api/")) else {
        return;
    };
    contract::check(&Exchange {
        method,
        path: path.split('?').next().unwrap_or_default(),
        status: answer.status,
        content_type: answer.header("content-type"),
        body: &answer.body,
    });
}

/// A new tenant for one test, with the API key of its owner.
#[derive(Debug)]
pub struct Client {
    pub stack: &'static Stack,
    /// The URL of the API.
    pub url: String,
    pub tenant: String,
    /// A token or an API key.
    pub credential: String,
}

/// A token of the local issuer.
#[must_use]
pub fn token(stack: &Stack, claims: &Value) -> String {
    let url = format!("{}/token", stack.issuer());
    send("POST", &url, &[], claims.to_string().as_bytes())
        .expect(200)
        .text("access_token")
}

impl Client {
    /// A new tenant with an API key of its owner.
    #[must_use]
    #[expect(clippy::new_without_default, reason = "it creates a tenant")]
    pub fn new() -> Self {
        Self::at(stack::get().url())
    }

    /// The same at another URL.
    #[must_use]
    pub fn at(url: &str) -> Self {
        let stack = stack::get();
        let mut client = Self {
            stack,
            url: url.to_owned(),
            tenant: String::new(),
            credential: token(
                stack,
                &json!({"sub": format!("owner-{:x}", aias_platform::clock::random_id())}),
            ),
        };
        client.tenant = client
            .post("/api/tenants", &json!({"name": "Test"}))
            .expect(201)
            .text("id");
        client.credential = client.key("owner");
        client
    }

    #[must_use]
    pub fn key(&self, role: &str) -> String {
        let path = format!("/api/tenants/{}/api-keys", self.tenant);
        self.post(&path, &json!({"name": role, "role": role}))
            .expect(201)
            .text("key")
    }

    /// The same tenant with another credential.
    #[must_use]
    pub fn with(&self, credential: String) -> Self {
        Self {
            stack: self.stack,
            url: self.url.clone(),
            tenant: self.tenant.clone(),
            credential,
        }
    }

    /// Sends a request to the API.
    pub fn call(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> ApiResponse {
        let bearer = format!("Bearer {}", self.credential);
        let mut all = vec![("authorization", bearer.as_str())];
        if !self.tenant.is_empty() {
            all.push(("x-tenant-id", &self.tenant));
        }
        all.extend(headers);
        send(method, &format!("{}{path}", self.url), &all, body)
    }

    pub fn get(&self, path: &str) -> ApiResponse {
        self.call("GET", path, &[], b"")
    }

    /// Sends a request with a JSON body.
    pub fn json(&self, method: &str, path: &str, body: &Value) -> ApiResponse {
        self.call(
            method,
            path,
            &[("content-type", "application/json")],
            body.to_string().as_bytes(),
        )
    }

    pub fn post(&self, path: &str, body: &Value) -> ApiResponse {
        self.json("POST", path, body)
    }

    /// Creates a workflow with these tasks and returns its id.
    #[must_use]
    pub fn workflow(&self, tasks: &Value) -> String {
        self.post("/api/workflows", &json!({"definition": definition(tasks)}))
            .expect(201)
            .text("id")
    }

    /// Creates an endpoint and returns its representation.
    #[must_use]
    pub fn endpoint(&self, workflow: &str, verification: &Value) -> Value {
        let body = json!({"name": "E", "workflow_id": workflow, "verification": verification});
        self.post("/api/webhook-endpoints", &body)
            .expect(201)
            .json()
    }

    /// Waits until a run ends and returns it.
    #[must_use]
    pub fn ended(&self, run: &str) -> Value {
        self.ended_within(run, Duration::from_secs(30))
    }

    /// As [`Client::ended`], with a longer timeout.
    #[must_use]
    pub fn ended_within(&self, run: &str, patience: Duration) -> Value {
        let until = Instant::now() + patience;
        loop {
            let view = self.get(&format!("/api/runs/{run}")).expect(200).json();
            let status = view["status"].as_str().unwrap();
            if ["completed", "faulted", "cancelled"].contains(&status) {
                return view;
            }
            assert!(Instant::now() < until, "the run is still {status}");
            sleep(Duration::from_millis(50));
        }
    }

    /// The logs of all functions since the longest test began. The local AWS returns 10,000 lines at
    /// most, the oldest ones.
    #[must_use]
    pub fn printed(&self) -> Vec<u8> {
        if let Some(file) = self.stack.function_log() {
            return std::fs::read(file).unwrap();
        }
        let program = r#"
import boto3, sys, time
since = int((time.time() - 180) * 1000)
logs = boto3.client("logs", endpoint_url=sys.argv[1], region_name="us-east-1", aws_access_key_id="test", aws_secret_access_key="test")
for group in logs.describe_log_groups()["logGroups"]:
    for page in logs.get_paginator("filter_log_events").paginate(logGroupName=group["logGroupName"], startTime=since):
        assert len(page["events"]) < 10_000, "some lines are missing"
        for event in page["events"]:
            print(event["message"])
"#;
        let printed = self.stack.python(program, &[self.stack.url()]);
        assert!(printed.contains("request_answered"), "the logs are empty");
        printed.into_bytes()
    }

    /// All attribute values and objects of the tenant, as bytes.
    #[must_use]
    pub fn everything_stored(&self) -> Vec<Vec<u8>> {
        let (endpoint, tenant) = (self.stack.url(), self.tenant.as_str());
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        runtime.unwrap().block_on(async {
            let table = self.stack.output("TableName");
            let mut all = dynamodb::everything(endpoint, table, tenant).await;
            let s3 = aws_sdk_s3::Client::from_conf(
                aws_sdk_s3::config::Builder::from(&aws::config(endpoint, &Wire::default()))
                    .force_path_style(true)
                    .build(),
            );
            let bucket = self.stack.output("BucketName");
            let listed = s3.list_objects_v2().bucket(bucket).prefix(tenant);
            for object in listed.send().await.unwrap().contents() {
                let key = object.key().unwrap();
                let got = s3.get_object().bucket(bucket).key(key).send().await;
                let bytes = got.unwrap().body.collect().await.unwrap().into_bytes();
                all.extend(dynamodb::spellings(&bytes));
            }
            all
        })
    }

    /// Downloads the artifact of a run and checks its digest.
    #[must_use]
    pub fn download(&self, run: &Value) -> Vec<u8> {
        let artifact = &run["artifacts"][0];
        let path = format!(
            "/api/artifacts/{}/download",
            artifact["id"].as_str().unwrap()
        );
        let url = self.get(&path).expect(302).header("location").to_owned();
        let file = send("GET", &url, &[], b"").expect(200);
        assert!(file.header("content-disposition").starts_with("attachment"));
        assert_eq!(
            aias_domain::canonical::digest(&file.body),
            artifact["digest"].as_str().unwrap()
        );
        file.body
    }
}

/// A definition with these tasks.
#[must_use]
pub fn definition(tasks: &Value) -> Value {
    json!({
        "document": {"dsl": "1.0.3", "namespace": "test", "name": "test", "version": "1.0.0"},
        "do": tasks,
    })
}

/// Text that does not compress to less than half.
#[must_use]
pub fn random_text(length: usize) -> String {
    let mut text = String::new();
    while text.len() < length {
        text += &format!("{:032x}", aias_platform::clock::random_id());
    }
    text
}
