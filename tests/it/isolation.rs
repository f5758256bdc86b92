//! Every route of the template, as the wrong tenant, with too low a role, and with no credential. A
//! route without a row here fails.

use std::{collections::BTreeSet, fs, path::Path};

use aias_tests::client::{Client, send};
use serde_json::{Value, json};

/// Who may call a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Who {
    /// Anybody: it has no credential, or its own.
    Anybody,
    /// Anybody who is somebody.
    Caller,
    /// A member with this role.
    Member(&'static str),
}

use Who::{Anybody, Caller, Member};

const ROUTES: [(&str, &str, Who); 57] = [
    ("POST", "/api/webhooks/{tenant_id}/{secret}", Anybody),
    ("GET", "/api/webhooks/{tenant_id}/{secret}", Anybody),
    ("POST", "/api/stripe/webhook", Anybody),
    ("GET", "/api/billing/subscription", Member("owner")),
    ("GET", "/api/billing/invoices", Member("owner")),
    ("GET", "/api/billing/usage", Member("owner")),
    ("POST", "/api/billing/checkout", Member("owner")),
    ("POST", "/api/billing/portal", Member("owner")),
    ("GET", "/api/entitlements/check", Member("viewer")),
    ("GET", "/api/health", Anybody),
    ("GET", "/api/openapi.json", Anybody),
    ("GET", "/api/tenants", Caller),
    ("POST", "/api/tenants", Caller),
    ("GET", "/api/webhook-endpoints", Member("viewer")),
    ("POST", "/api/webhook-endpoints", Member("admin")),
    ("GET", "/api/webhook-endpoints/{id}", Member("viewer")),
    ("PATCH", "/api/webhook-endpoints/{id}", Member("admin")),
    ("DELETE", "/api/webhook-endpoints/{id}", Member("admin")),
    (
        "POST",
        "/api/webhook-endpoints/{id}/rotate-secret",
        Member("admin"),
    ),
    ("GET", "/api/workflows", Member("viewer")),
    ("POST", "/api/workflows", Member("editor")),
    ("POST", "/api/workflows/execute", Member("editor")),
    ("GET", "/api/workflows/{id}", Member("viewer")),
    ("PUT", "/api/workflows/{id}", Member("editor")),
    ("PATCH", "/api/workflows/{id}", Member("editor")),
    ("DELETE", "/api/workflows/{id}", Member("editor")),
    ("GET", "/api/workflows/{id}/versions", Member("viewer")),
    (
        "GET",
        "/api/workflows/{id}/versions/{number}",
        Member("viewer"),
    ),
    ("POST", "/api/workflows/{id}/execute", Member("editor")),
    ("POST", "/api/workflows/{id}/test", Member("editor")),
    ("GET", "/api/runs", Member("viewer")),
    ("GET", "/api/runs/{id}", Member("viewer")),
    ("GET", "/api/runs/{id}/logs", Member("viewer")),
    ("GET", "/api/runs/{id}/input", Member("viewer")),
    ("POST", "/api/runs/{id}/cancel", Member("editor")),
    ("POST", "/api/runs/{id}/retry", Member("editor")),
    ("POST", "/api/runs/{id}/replay", Member("editor")),
    ("POST", "/api/runs/{id}/verify", Member("editor")),
    ("GET", "/api/runs/{id}/events", Member("viewer")),
    ("GET", "/api/artifacts", Member("viewer")),
    ("GET", "/api/artifacts/{id}", Member("viewer")),
    ("GET", "/api/artifacts/{id}/download", Member("viewer")),
    ("GET", "/api/tenants/{id}", Member("viewer")),
    ("PATCH", "/api/tenants/{id}", Member("admin")),
    ("DELETE", "/api/tenants/{id}", Member("owner")),
    ("GET", "/api/tenants/{id}/members", Member("viewer")),
    ("POST", "/api/tenants/{id}/members", Member("admin")),
    (
        "PATCH",
        "/api/tenants/{id}/members/{user_id}",
        Member("admin"),
    ),
    (
        "DELETE",
        "/api/tenants/{id}/members/{user_id}",
        Member("admin"),
    ),
    ("GET", "/api/tenants/{id}/api-keys", Member("admin")),
    ("POST", "/api/tenants/{id}/api-keys", Member("admin")),
    (
        "DELETE",
        "/api/tenants/{id}/api-keys/{key_id}",
        Member("admin"),
    ),
    ("GET", "/api/tenants/{id}/audit-log", Member("admin")),
    ("GET", "/api/secrets", Member("admin")),
    ("GET", "/api/secrets/{name}", Member("admin")),
    ("PUT", "/api/secrets/{name}", Member("admin")),
    ("DELETE", "/api/secrets/{name}", Member("admin")),
];

fn template() -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../template.yaml")).unwrap()
}

fn routes_of_the_template() -> BTreeSet<(String, String)> {
    let text = template();
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let pairs = lines.windows(2).filter_map(|pair| {
        Some((
            pair[0].strip_prefix("Method: ")?.to_owned(),
            pair[1].strip_prefix("Path: ")?.to_owned(),
        ))
    });
    pairs.collect()
}

#[test]
fn every_route_of_the_template_has_a_row_and_a_description() {
    let rows: BTreeSet<_> = ROUTES
        .iter()
        .map(|(m, p, _)| ((*m).to_owned(), (*p).to_owned()))
        .collect();
    assert_eq!(rows, routes_of_the_template());
    let openapi: Value = serde_json::from_str(diagnostics::OPENAPI).unwrap();
    let mut described = BTreeSet::new();
    for (path, operations) in openapi["paths"].as_object().unwrap() {
        for method in operations
            .as_object()
            .unwrap()
            .keys()
            .filter(|name| *name != "parameters")
        {
            described.insert((method.to_uppercase(), path.clone()));
        }
    }
    assert_eq!(described, rows);
}

#[test]
fn the_local_loop_has_the_same_routes() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../Cargo.toml");
    let text = fs::read_to_string(root).unwrap();
    for (method, path, _) in ROUTES {
        assert!(
            text.contains(&format!("\"{path}\"")),
            "{method} {path} is not in the router of Cargo.toml"
        );
    }
}

/// A tenant with one of everything.
struct Furnished {
    owner: Client,
    workflow: String,
    endpoint: String,
    run: String,
    key: String,
}

fn furnished() -> Option<Furnished> {
    let owner = Client::new()?;
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
    Some(Furnished {
        owner,
        workflow,
        endpoint,
        run,
        key,
    })
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
        route
            .replace("{id}", &id)
            .replace("{number}", "1")
            .replace("{user_id}", "bob")
            .replace("{key_id}", &self.key)
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
            _ => json!({}),
        }
    }
}

#[test]
fn without_a_credential_nothing_opens() {
    let Some(own) = furnished() else { return };
    for (method, route, who) in ROUTES {
        if who == Anybody {
            continue;
        }
        let url = format!("{}{}", own.owner.stack.url(), own.path(route));
        let headers = [("x-tenant-id", own.owner.tenant.as_str())];
        let answer = send(method, &url, &headers, b"").expect(401);
        assert!(
            answer.header("www-authenticate").starts_with("Bearer"),
            "{method} {route}"
        );
    }
}

#[test]
fn another_tenants_things_are_not_there() {
    let (Some(own), Some(other)) = (furnished(), Client::new()) else {
        return;
    };
    let person = other.with(aias_tests::client::token(
        other.stack,
        &json!({"sub": "stranger"}),
    ));
    for (method, route, who) in ROUTES {
        let Member(_) = who else { continue };
        let (path, body) = (own.path(route), own.body(method, route));
        // By a key of another tenant: of this tenant's things, none is there.
        let answer = other.json(method, &path, &body);
        match route {
            "/api/secrets/{name}" if method == "PUT" => {
                assert_eq!(answer.status, 400, "{method} {route}");
            }
            _ if route.contains('{') => assert_eq!(answer.status, 404, "{method} {route}"),
            "/api/workflows/execute" => assert_eq!(answer.status, 404, "{method} {route}"),
            "/api/webhook-endpoints" | "/api/workflows" if method == "POST" => {
                // A workflow of another tenant is no workflow; a definition is missing anyway.
                assert_eq!(answer.status, 400, "{method} {route}");
            }
            // Its own: it has bought nothing.
            "/api/billing/subscription" => {
                assert_eq!(answer.expect(200).json()["status"], "none");
            }
            "/api/billing/usage" => assert_eq!(answer.expect(200).json()["reported"], 0),
            "/api/billing/checkout" => assert_eq!(answer.status, 400, "{method} {route}"),
            "/api/billing/portal" => assert_eq!(answer.status, 409, "{method} {route}"),
            "/api/entitlements/check" => {
                assert_eq!(answer.expect(200).json()["data"][0]["plan"], "free");
            }
            _ => assert_eq!(
                answer.expect(200).json()["data"],
                json!([]),
                "{method} {route}"
            ),
        }
        // By a key of another tenant that names this one, and by a person who is no member.
        for client in [&other.with(other.credential.clone()), &person] {
            let client = Client {
                stack: client.stack,
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
    // And all of it is still there.
    own.owner.get(&own.path("/api/workflows/{id}")).expect(200);
    own.owner
        .get(&own.path("/api/webhook-endpoints/{id}"))
        .expect(200);
    own.owner.get(&own.path("/api/artifacts/{id}")).expect(200);
}

#[test]
fn a_role_that_is_too_low_is_refused() {
    let Some(own) = furnished() else { return };
    let roles = ["viewer", "editor", "admin", "owner"];
    let clients: Vec<Client> = roles
        .iter()
        .map(|role| own.owner.with(own.owner.key(role)))
        .collect();
    for (method, route, who) in ROUTES {
        let Member(least) = who else { continue };
        let least = roles.iter().position(|role| *role == least).unwrap();
        let (path, body) = (own.path(route), own.body(method, route));
        for (rank, client) in clients.iter().enumerate().take(least) {
            let answer = client.json(method, &path, &body);
            assert_eq!(
                (answer.status, answer.text("code").as_str()),
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
fn every_role_is_narrow() {
    let text = template();
    for line in text.lines().map(str::trim) {
        if line.starts_with("Action:") {
            assert!(!line.contains(":*") || line == "Action: s3:*", "{line}");
        }
        if line.starts_with("Resource: \"*\"") {
            assert!(line.contains("X-Ray"), "{line}");
        }
    }
    // The one wildcard is a denial.
    assert_eq!(text.matches("s3:*").count(), 1);
    assert_eq!(
        text.matches("Type: AWS::IAM::Role").count(),
        text.matches("Type: AWS::Serverless::Function").count()
            + text.matches("TENANT_ROLE_ARN:").count()
    );
    // What belongs to a tenant is reached with its tag only, but for the functions that find out
    // whose an event is: these have no other way.
    let own = text.matches("dynamodb:LeadingKeys: [\"TENANT#${aws:PrincipalTag/tenant_id}\"");
    assert_eq!(own.count(), text.matches("TENANT_ROLE_ARN:").count());
}
