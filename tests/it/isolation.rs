//! Every operation of the API by a member of another tenant, with too low a role, and without a
//! credential. The operations and roles are those declared by the handlers.

use std::{fs, path::Path};

use aias_tests::{
    api::{Operation, operations},
    client::{Client, send},
};
use serde_json::{Value, json};

/// The operations for members, each with its lowest role.
fn for_members() -> Vec<(Operation, String)> {
    let all = operations().into_iter();
    all.filter_map(|operation| {
        let role = operation.role.clone().filter(|role| role != "any")?;
        Some((operation, role))
    })
    .collect()
}

fn template() -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../template.yaml")).unwrap()
}

/// A tenant with one object of each type.
struct Furnished {
    owner: Client,
    workflow: String,
    endpoint: String,
    run: String,
    key: String,
}

fn furnished() -> Furnished {
    let owner = Client::new();
    let workflow = owner.workflow(&json!([{"a": {"set": {"x": 1}}}]));
    let endpoint = owner.endpoint(&workflow, &json!({"scheme": "none"}))["id"]
        .as_str()
        .unwrap()
        .to_owned();
    let run = owner
        .post(
            "/api/workflows/execute",
            &json!({"workflow_id": workflow, "input": 1}),
        )
        .expect(202)
        .text("run_id");
    drop(owner.ended(&run));
    let keys = format!("/api/tenants/{}/api-keys", owner.tenant);
    let key = owner
        .post(&keys, &json!({"name": "k", "role": "viewer"}))
        .expect(201)
        .text("id");
    let members = format!("/api/tenants/{}/members", owner.tenant);
    owner
        .post(&members, &json!({"user_id": "bob", "role": "viewer"}))
        .expect(201);
    let secret = json!({"value": "hush-hush"});
    owner.json("PUT", "/api/secrets/token", &secret).expect(201);
    let samples = format!("/api/workflows/{workflow}/samples");
    owner
        .post(&samples, &json!({"name": "token", "input": {}}))
        .expect(201);
    Furnished {
        owner,
        workflow,
        endpoint,
        run,
        key,
    }
}

impl Furnished {
    fn path(&self, route: &str) -> String {
        let id = match route.split('/').nth(2).unwrap() {
            "workflows" => self.workflow.clone(),
            "webhook-endpoints" => self.endpoint.clone(),
            "runs" => self.run.clone(),
            "artifacts" => format!("{}_0", self.run.replace("run_", "art_")),
            _ => self.owner.tenant.clone(),
        };
        let query = match route {
            "/api/runs/{id}/compare" => format!("?with={}", self.run),
            _ => String::new(),
        };
        format!("{route}{query}")
            .replace("{id}", &id)
            .replace("{number}", "1")
            .replace("{user_id}", "bob")
            .replace("{key_id}", &self.key)
            .replace("{invitation_id}", "inv_01JD3V4ZK8QW5R7T9X1B3C5D7F")
            .replace("sources/{name}", "sources/github")
            .replace("{name}", "token")
    }

    fn body(&self, method: &str, route: &str) -> Value {
        match (method, route) {
            ("POST", "/api/workflows/execute") => json!({"workflow_id": self.workflow}),
            ("POST", "/api/webhook-endpoints") => {
                json!({"name": "E", "workflow_id": self.workflow})
            }
            ("PATCH", "/api/webhook-endpoints/{id}" | "/api/workflows/{id}") => {
                json!({"enabled": true})
            }
            ("POST", "/api/workflows/{id}/samples") => json!({"name": "other", "input": {}}),
            ("PUT", "/api/webhook-endpoints/{id}/signing-secret") => json!({"secret": "whsec_x"}),
            _ => json!({}),
        }
    }
}

#[test]
fn request_without_credential_is_refused() {
    let own = furnished();
    for operation in operations() {
        if operation.role.is_none() {
            continue;
        }
        let (method, route) = (operation.method.as_str(), operation.path.as_str());
        let url = format!("{}{}", own.owner.stack.url(), own.path(route));
        let headers = [("x-tenant-id", own.owner.tenant.as_str())];
        let response = send(method, &url, &headers, b"").expect(401);
        assert!(
            response.header("www-authenticate").starts_with("Bearer"),
            "{method} {route}"
        );
    }
}

#[test]
fn objects_of_other_tenant_are_not_found() {
    let (own, other) = (furnished(), Client::new());
    let person = other.with(aias_tests::client::token(
        other.stack,
        &json!({"sub": "stranger"}),
    ));
    for (operation, _) in for_members() {
        let (method, route) = (operation.method.as_str(), operation.path.as_str());
        let (path, body) = (own.path(route), own.body(method, route));
        // With a key of another tenant, no object of this tenant is found.
        let response = other.json(method, &path, &body);
        match route {
            "/api/secrets/{name}" if method == "PUT" => {
                assert_eq!(response.status, 400, "{method} {route}");
            }
            // The catalogue is the same for everybody.
            "/api/sources" | "/api/sources/{name}" => assert_eq!(response.status, 200, "{route}"),
            "/api/sources/check" => assert_eq!(response.status, 400, "{route}"),
            _ if route.contains('{') => assert_eq!(response.status, 404, "{method} {route}"),
            "/api/workflows/execute" => assert_eq!(response.status, 404, "{method} {route}"),
            "/api/webhook-endpoints" | "/api/workflows" | "/api/workflows/test"
                if method == "POST" =>
            {
                // The workflow of another tenant does not exist; the definition is missing.
                assert_eq!(response.status, 400, "{method} {route}");
            }
            // The caller's own subscription, of which there is none.
            "/api/billing/subscription" => {
                assert_eq!(response.expect(200).json()["status"], "none");
            }
            "/api/billing/usage" => assert_eq!(response.expect(200).json()["reported"], 0),
            "/api/billing/checkout" => assert_eq!(response.status, 400, "{method} {route}"),
            "/api/billing/portal" => assert_eq!(response.status, 409, "{method} {route}"),
            "/api/diagnostics" => {
                let state = response.expect(200).json();
                assert_eq!(state["runs"]["by_status"], json!({}), "{state}");
                let ok = json!({"store": "ok", "queue": "ok", "blobs": "ok", "secrets": "ok"});
                assert_eq!(state["checks"], ok, "{state}");
            }
            "/api/runs/counts" => {
                let counts = response.expect(200).json();
                let periods = counts["data"].as_array().unwrap();
                assert!(periods.iter().all(|period| period["runs"] == 0), "{counts}");
            }
            "/api/entitlements/check" => {
                assert_eq!(response.expect(200).json()["data"][0]["plan"], "free");
            }
            _ => assert_eq!(
                response.expect(200).json()["data"],
                json!([]),
                "{method} {route}"
            ),
        }
        // With a key of another tenant and this tenant's id, and by a person who is not a member.
        for client in [&other.with(other.credential.clone()), &person] {
            let client = Client {
                stack: client.stack,
                url: client.url.clone(),
                tenant: own.owner.tenant.clone(),
                credential: client.credential.clone(),
            };
            assert_eq!(
                client.json(method, &path, &body).status,
                404,
                "{method} {route}"
            );
        }
    }
    // All objects still exist.
    own.owner.get(&own.path("/api/workflows/{id}")).expect(200);
    own.owner
        .get(&own.path("/api/webhook-endpoints/{id}"))
        .expect(200);
    own.owner.get(&own.path("/api/artifacts/{id}")).expect(200);
}

#[test]
fn too_low_role_is_refused() {
    let own = furnished();
    let roles = ["viewer", "editor", "admin", "owner"];
    let clients: Vec<Client> = roles
        .iter()
        .map(|role| own.owner.with(own.owner.key(role)))
        .collect();
    for (operation, least) in for_members() {
        let (method, route) = (operation.method.as_str(), operation.path.as_str());
        let least = roles.iter().position(|role| *role == least).unwrap();
        let (path, body) = (own.path(route), own.body(method, route));
        for (rank, client) in clients.iter().enumerate().take(least) {
            let response = client.json(method, &path, &body);
            assert_eq!(
                (response.status, response.text("code").as_str()),
                (403, "forbidden"),
                "{method} {route} as {}",
                roles[rank]
            );
        }
        if method == "GET" {
            for client in clients.iter().skip(least) {
                let status = client.get(&path).status;
                assert!([200, 302].contains(&status), "{method} {route}: {status}");
            }
        }
    }
}

#[test]
fn iam_roles_have_least_privilege() {
    let text = template();
    for line in text.lines().map(str::trim) {
        if line.starts_with("Action:") {
            assert!(!line.contains(":*") || line == "Action: s3:*", "{line}");
        }
        if line.starts_with("Resource: \"*\"") {
            assert!(line.contains("X-Ray"), "{line}");
        }
    }
    // The only wildcard is in a denial.
    assert_eq!(text.matches("s3:*").count(), 1);
    assert_eq!(
        text.matches("Type: AWS::IAM::Role").count(),
        text.matches("Type: AWS::Serverless::Function").count()
            + text.matches("TENANT_ROLE_ARN:").count()
    );
    // A tenant's items are reached with its tag only, except by the functions that have to find the
    // tenant of an event.
    let own = text.matches("dynamodb:LeadingKeys: [\"TENANT#${aws:PrincipalTag/tenant_id}\"");
    assert_eq!(own.count(), text.matches("TENANT_ROLE_ARN:").count());
}
