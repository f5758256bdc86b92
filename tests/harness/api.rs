//! The routers of all functions, and the API description generated from them.

use std::collections::BTreeMap;

use aias_platform::{
    aws::{self, SdkConfig},
    config::Env,
    http::{API_VERSION, Api, Routes, openapi::ProblemSchema, problem::kinds},
};
use serde_json::{Map, Value, json};
use utoipa::{PartialSchema as _, ToSchema as _, openapi::RefOr};

pub fn routers(aws: &SdkConfig, env: &Env) -> Vec<(&'static str, Routes)> {
    vec![
        (
            "webhook-ingest",
            webhook_ingest::routes(webhook_ingest::App::load(aws, env)),
        ),
        (
            "webhook-endpoints",
            webhook_endpoints::routes(webhook_endpoints::App::new(Api::load(aws, aws, env))),
        ),
        (
            "workflows",
            workflows::routes(workflows::App::load(aws, aws, env)),
        ),
        ("runs", runs::routes(runs::App::load(aws, aws, env))),
        (
            "artifacts",
            artifacts::routes(artifacts::App::load(aws, aws, env)),
        ),
        ("tenants", tenants::routes(Api::load(aws, aws, env))),
        (
            "billing",
            billing::routes(billing::App::load(Api::load(aws, aws, env), aws, env)),
        ),
        (
            "stripe-webhook",
            stripe_events::routes(stripe_events::App::load(aws, env)),
        ),
        (
            "diagnostics",
            diagnostics::routes(diagnostics::App::load(Api::load(aws, aws, env), aws, env)),
        ),
    ]
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operation {
    pub function: &'static str,
    /// In upper case.
    pub method: String,
    /// With parameters in braces.
    pub path: String,
    /// The lowest role; `any` for any valid credential; none for public operations.
    pub role: Option<String>,
}

/// The descriptions of the functions. No request is made, so the settings do not matter.
fn described() -> Vec<(&'static str, Value)> {
    let env = Env::new(|name| (name != "OIDC_ISSUER").then(|| "unused".to_owned()));
    let aws = aws::load(&env);
    routers(&aws, &env)
        .into_iter()
        .map(|(function, router)| (function, json!(router.describe())))
        .collect()
}

#[must_use]
pub fn operations() -> Vec<Operation> {
    let mut all = Vec::new();
    for (function, document) in described() {
        for (path, operations) in document["paths"].as_object().unwrap() {
            for (method, operation) in operations.as_object().unwrap() {
                all.push(Operation {
                    function,
                    method: method.to_uppercase(),
                    path: path.clone(),
                    role: operation["x-role"].as_str().map(str::to_owned),
                });
            }
        }
    }
    all
}

/// The expected content of `docs/openapi.json`.
#[must_use]
pub fn document() -> Value {
    let (mut paths, mut schemas) = (BTreeMap::new(), BTreeMap::new());
    for (_, document) in described() {
        let members = |value: &Value| value.as_object().cloned().unwrap_or_default();
        paths.extend(members(&document["paths"]));
        for (name, schema) in members(&document["components"]["schemas"]) {
            if let Some(other) = schemas.insert(name.clone(), schema.clone()) {
                assert_eq!(other, schema, "two schemas have the name {name}");
            }
        }
    }
    schemas.insert("Problem".to_owned(), json!(ProblemSchema::schema()));
    let mut nested: Vec<(String, RefOr<utoipa::openapi::Schema>)> = Vec::new();
    ProblemSchema::schemas(&mut nested);
    for (name, schema) in nested {
        schemas.insert(name, json!(schema));
    }
    let mut shared = Map::new();
    for (path, operations) in &mut paths {
        for (method, operation) in operations.as_object_mut().unwrap() {
            complete(path, method, operation, &mut shared);
        }
    }
    shared.sort_keys();
    let mut document = json!({
        "openapi": "3.1.0",
        "info": {
            "title": "AIAS",
            "version": API_VERSION,
            "summary": "Receives webhooks, runs workflows on them and stores the results.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "security": [{"bearer": []}],
        "tags": [
            {"name": "webhooks", "description": "Receiving webhooks."},
            {"name": "webhook-endpoints", "description": "URLs that providers post to, and how requests are verified."},
            {"name": "sources", "description": "The catalogue of providers, and a check of recorded requests."},
            {"name": "workflows", "description": "Definitions, their versions, and executing them."},
            {"name": "runs", "description": "What happened to an event, step by step."},
            {"name": "artifacts", "description": "The outputs of runs."},
            {"name": "tenants", "description": "Tenants, members, API keys and the audit log."},
            {"name": "secrets", "description": "Secrets that workflows may send."},
            {"name": "billing", "description": "Subscriptions and entitlements."},
            {"name": "operations", "description": "Health, and the API description."},
        ],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {
                "bearer": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "An API key, or a token of the OIDC issuer.",
                },
            },
            "parameters": common_parameters(),
            "headers": common_headers(),
            "responses": shared,
        },
    });
    camel_case_ids(&mut document);
    document
}

fn common_parameters() -> Value {
    json!({
        "api_version": {
            "name": "Api-Version", "in": "header", "required": false,
            "description": "The version of the API that the caller was written for.",
            "schema": {"type": "string", "enum": [API_VERSION]},
        },
        "tenant_header": {
            "name": "X-Tenant-Id", "in": "header", "required": false,
            "description": "The tenant. A person names it here or in the query; an API key has one tenant.",
            "schema": {"$ref": "#/components/schemas/TenantId"},
        },
        "tenant_query": {
            "name": "tenant_id", "in": "query", "required": false,
            "description": "The tenant, where `X-Tenant-Id` does not name it.",
            "schema": {"$ref": "#/components/schemas/TenantId"},
        },
    })
}

fn common_headers() -> Value {
    let header =
        |description: &str| json!({"description": description, "schema": {"type": "string"}});
    json!({
        "x-request-id": header("The request's id, for support."),
        "api-version": header("The version of the API."),
        "ratelimit": header("The remaining quota of the limits, and when they reset (IETF httpapi draft)."),
        "ratelimit-policy": header("The limits (IETF httpapi draft)."),
        "retry-after": header("After how many seconds the same request may succeed."),
        "www-authenticate": header("How to authenticate."),
        "allow": header("The methods that the path has."),
    })
}

/// Adds the common parts of operations: parameters, headers, and the problems of authentication,
/// bodies and lists.
fn complete(path: &str, method: &str, operation: &mut Value, shared: &mut Map<String, Value>) {
    let role = operation["x-role"].as_str().map(str::to_owned);
    let parameters: Vec<Value> = operation["parameters"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    let has = |name: &str| parameters.iter().any(|parameter| parameter["name"] == name);
    let own = operation["x-problems"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    let mut codes: Vec<String> = own
        .iter()
        .map(|code| code.as_str().unwrap().to_owned())
        .collect();
    let mut add = |all: &[&str]| codes.extend(all.iter().map(|code| (*code).to_owned()));
    add(&[
        "malformed-request",
        "unknown-api-version",
        "internal",
        "unavailable",
    ]);
    if role.is_some() {
        add(&[
            "unauthorized",
            "rate-limited",
            "too-many-attempts",
            "unknown-parameter",
        ]);
    }
    let in_path_tenant = path.starts_with("/api/tenants/");
    if role.as_deref().is_some_and(|role| role != "any") {
        add(&["forbidden", "not-found"]);
        if !in_path_tenant {
            add(&["tenant-missing"]);
        }
    }
    if role.is_some() && operation.get("requestBody").is_some() {
        add(&[
            "malformed-body",
            "invalid-body",
            "body-too-large",
            "unsupported-media-type",
        ]);
    }
    if operation.get("requestBody").is_some() {
        add(&["malformed-body"]);
    }
    if has("Idempotency-Key") {
        add(&["bad-idempotency-key", "idempotency-key-reused"]);
    }
    if has("cursor") {
        add(&["bad-limit", "bad-cursor"]);
    }
    if parameters
        .iter()
        .any(|parameter| parameter["in"] == "query")
    {
        add(&["bad-parameter"]);
    }
    for parameter in &parameters {
        assert!(
            parameter["in"] != "path"
                || path.contains(&format!("{{{}}}", parameter["name"].as_str().unwrap())),
            "{method} {path} has no {}",
            parameter["name"]
        );
    }
    let responses = operation["responses"].as_object_mut().unwrap();
    add_problems(method, path, responses, &codes);
    for (status, response) in responses {
        let headers = &mut response["headers"];
        for name in ["x-request-id", "api-version"] {
            headers[name] = json!({"$ref": format!("#/components/headers/{name}")});
        }
        if role.is_some() && status != "401" {
            for name in ["ratelimit", "ratelimit-policy"] {
                headers[name] = json!({"$ref": format!("#/components/headers/{name}")});
            }
        }
        let more = match status.as_str() {
            "401" => Some("www-authenticate"),
            "405" => Some("allow"),
            "429" | "503" => Some("retry-after"),
            _ => None,
        };
        if let Some(name) = more {
            headers[name] = json!({"$ref": format!("#/components/headers/{name}")});
        }
        share(response, shared);
    }
    let operation = operation.as_object_mut().unwrap();
    operation.remove("x-problems");
    let mut parameters = parameters;
    let mut refer = |name: &str| {
        parameters.push(json!({"$ref": format!("#/components/parameters/{name}")}));
    };
    refer("api_version");
    if role.as_deref().is_some_and(|role| role != "any") && !in_path_tenant {
        refer("tenant_header");
        refer("tenant_query");
    }
    operation.insert("parameters".to_owned(), parameters.into());
}

/// Moves a response with one problem type to the shared responses.
fn share(response: &mut Value, shared: &mut Map<String, Value>) {
    let only = match response["x-problems"].as_array().map(Vec::as_slice) {
        Some([code])
            if response["content"]
                .as_object()
                .is_some_and(|all| all.len() == 1) =>
        {
            code
        }
        _ => return,
    };
    let name = only.as_str().unwrap().to_owned();
    let known = shared
        .entry(name.clone())
        .or_insert_with(|| response.clone());
    if known == response {
        *response = json!({"$ref": format!("#/components/responses/{name}")});
    }
}

/// Adds a response for each status of the codes.
fn add_problems(method: &str, path: &str, responses: &mut Map<String, Value>, codes: &[String]) {
    let mut by_status: BTreeMap<u16, BTreeMap<&str, &str>> = BTreeMap::new();
    for code in codes {
        let mut found: Vec<_> = kinds::ALL.iter().filter(|kind| kind.code == code).collect();
        // `bad-signature` has two statuses: `400` for Stripe, `401` for all others.
        if path == "/api/stripe/webhook" {
            found.retain(|kind| *kind != &kinds::BAD_SIGNATURE);
        } else {
            found.retain(|kind| *kind != &kinds::BAD_STRIPE_SIGNATURE);
        }
        assert!(
            !found.is_empty(),
            "{method} {path} names no kind of problem: {code}"
        );
        for kind in found {
            by_status
                .entry(kind.status)
                .or_default()
                .insert(kind.code, kind.title);
        }
    }
    for (status, kinds) in by_status {
        let codes: Vec<&str> = kinds.keys().copied().collect();
        let description: Vec<String> = kinds
            .iter()
            .map(|(code, title)| format!("`{code}`: {title}."))
            .collect();
        let schema = json!({"$ref": "#/components/schemas/Problem"});
        let response = responses
            .entry(status.to_string())
            .or_insert_with(|| json!({}));
        let before = response["description"].as_str().map(str::to_owned);
        let description = before.into_iter().chain(description).collect::<Vec<_>>();
        response["description"] = description.join(" ").into();
        response["content"]["application/problem+json"] = json!({ "schema": schema });
        response["x-problems"] = codes.into();
    }
}

/// Operation ids are function names in code, and in camel case in the document.
fn camel_case_ids(value: &mut Value) {
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                if name == "operationId"
                    && let Some(id) = member.as_str()
                {
                    *member = camel_case(id).into();
                }
                camel_case_ids(member);
            }
        }
        Value::Array(items) => items.iter_mut().for_each(camel_case_ids),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn camel_case(id: &str) -> String {
    let mut words = id.split('_');
    let first = words.next().unwrap_or_default().to_owned();
    words.fold(first, |all, word| {
        let (head, tail) = word.split_at(word.len().min(1));
        format!("{all}{}{tail}", head.to_uppercase())
    })
}
