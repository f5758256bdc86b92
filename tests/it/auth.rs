//! Credentials: invalid ones are `401` with the same message.

use aias_platform::http::{Gateway, Identity, Issuer, service};
use aias_testkit::issuer;
use aias_tests::{
    bench::{Bench, TENANT, respond},
    client::{Client, send, token},
};
use serde_json::{Value, json};

#[test]
fn invalid_tokens_are_refused() {
    let client = Client::new();
    let stack = client.stack;
    let good = |claims| token(stack, &claims);
    let call = |credential: &str| {
        let bearer = format!("Bearer {credential}");
        send(
            "GET",
            &format!("{}/api/tenants", stack.url()),
            &[("authorization", &bearer)],
            b"",
        )
    };
    call(&good(json!({"sub": "a"}))).expect(200);
    call(&good(json!({"sub": "a", "alg": "ES256"}))).expect(200);
    let valid = good(json!({"sub": "a"}));
    let (head, signature) = valid.rsplit_once('.').unwrap();
    let mut flipped = signature.to_owned();
    flipped.replace_range(5..6, if &signature[5..6] == "A" { "B" } else { "A" });
    for bad in [
        good(json!({"sub": "a", "alg": "none"})),
        good(json!({"sub": "a", "alg": "HS256", "kid": "rs256"})),
        good(json!({"sub": "a", "kid": "unknown"})),
        good(json!({"sub": "a", "kid": "es256"})),
        good(json!({"sub": "a", "expires_in": -120})),
        good(json!({"sub": "a", "nbf": 4_000_000_000_u64})),
        good(json!({"sub": "a", "aud": "somebody"})),
        good(json!({"sub": "a", "iss": "https://elsewhere.example"})),
        good(json!({"x": 1})),
        good(json!({"sub": "white space"})),
        format!("{head}.{flipped}"),
        "nonsense".to_owned(),
        "a.b.c".to_owned(),
        "x".repeat(9_000),
        format!("{}x", client.credential),
        client.credential.replace("aias_", "aias_X"),
        format!("aias_01JD3V4ZK8QW5R7T9X1B3C5D7F_{}", "A".repeat(43)),
    ] {
        let response = call(&bad).expect(401);
        assert_eq!(
            response.text("detail"),
            "the credential is not valid",
            "{bad}"
        );
        assert!(
            response
                .header("www-authenticate")
                .contains("invalid_token")
        );
        assert!(!String::from_utf8_lossy(&response.body).contains(&bad));
    }
    for header in ["", "Basic YTpi", "Bearer"] {
        let headers = [("authorization", header)];
        send(
            "GET",
            &format!("{}/api/tenants", stack.url()),
            &headers,
            b"",
        )
        .expect(401);
    }
}

#[test]
fn members_and_keys_are_managed() {
    let owner = Client::new();
    let tenant = &owner.tenant;
    let person = |sub: &str| owner.with(token(owner.stack, &json!({"sub": sub})));
    let alice = person(&format!("alice-{tenant}"));
    alice.get("/api/workflows").expect(404);
    let members = format!("/api/tenants/{tenant}/members");
    let own = format!("{members}/alice-{tenant}");
    owner
        .post(
            &members,
            &json!({"user_id": format!("alice-{tenant}"), "role": "admin"}),
        )
        .expect(201);
    owner
        .post(
            &members,
            &json!({"user_id": format!("alice-{tenant}"), "role": "admin"}),
        )
        .expect(409);
    alice.get("/api/workflows").expect(200);
    alice
        .get(&format!("/api/workflows?tenant_id={tenant}"))
        .expect(200);
    assert_eq!(alice.get("/api/tenants").json()["data"][0]["role"], "admin");

    // No member can raise their own role.
    alice
        .json("PATCH", &own, &json!({"role": "owner"}))
        .expect(403);
    alice
        .post(&members, &json!({"user_id": "bob", "role": "owner"}))
        .expect(403);
    alice
        .post(
            &format!("/api/tenants/{tenant}/api-keys"),
            &json!({"name": "k", "role": "owner"}),
        )
        .expect(403);
    owner
        .json("PATCH", &own, &json!({"role": "viewer"}))
        .expect(200);
    alice
        .post("/api/workflows", &json!({"definition": {}}))
        .expect(403);
    alice.call("DELETE", &own, &[], b"").expect(204);
    alice.get("/api/workflows").expect(404);

    // The last owner cannot leave.
    let people = owner.get(&members).json();
    let last = people["data"]
        .as_array()
        .unwrap()
        .iter()
        .find(|m| m["role"] == "owner")
        .unwrap();
    let last = format!("{members}/{}", last["user_id"].as_str().unwrap());
    assert_eq!(
        owner
            .call("DELETE", &last, &[], b"")
            .expect(409)
            .text("code"),
        "last-owner"
    );
    assert_eq!(
        owner
            .json("PATCH", &last, &json!({"role": "admin"}))
            .expect(409)
            .text("code"),
        "last-owner"
    );
    owner
        .post(&members, &json!({"user_id": "second", "role": "owner"}))
        .expect(201);
    owner
        .json("PATCH", &last, &json!({"role": "admin"}))
        .expect(200);

    // A key is valid until it is deleted or expires.
    let keys = format!("/api/tenants/{tenant}/api-keys");
    let made = owner
        .post(&keys, &json!({"name": "ci", "role": "viewer"}))
        .expect(201);
    let program = owner.with(made.text("key"));
    program.get("/api/runs").expect(200);
    program.get(&keys).expect(403);
    let listed = owner.get(&keys).json().to_string();
    assert!(listed.contains(&made.text("id")) && !listed.contains(&made.text("key")));
    owner
        .call("DELETE", &format!("{keys}/{}", made.text("id")), &[], b"")
        .expect(204);
    program.get("/api/runs").expect(401);
    owner
        .post(
            &keys,
            &json!({"name": "x", "role": "viewer", "expires_at": "2020-01-01T00:00:00Z"}),
        )
        .expect(400);
    let soon =
        jiff::Timestamp::try_from(std::time::SystemTime::now() + std::time::Duration::from_secs(2))
            .unwrap();
    let brief = owner
        .post(
            &keys,
            &json!({"name": "x", "role": "viewer", "expires_at": soon}),
        )
        .expect(201);
    let program = owner.with(brief.text("key"));
    program.get("/api/runs").expect(200);
    std::thread::sleep(std::time::Duration::from_millis(2_100));
    program.get("/api/runs").expect(401);
}

#[test]
fn deleted_tenant_refuses_everybody() {
    let owner = Client::new();
    let path = format!("/api/tenants/{}", owner.tenant);
    let workflow = owner.workflow(&json!([{"a": {"set": {"x": 1}}}]));
    let url = owner.endpoint(&workflow, &json!({"scheme": "none"}))["url"]
        .as_str()
        .unwrap()
        .to_owned();
    let admin = owner.with(owner.key("admin"));
    admin.call("DELETE", &path, &[], b"").expect(403);
    owner.call("DELETE", &path, &[], b"").expect(204);
    owner.get(&path).expect(401);
    admin.get("/api/runs").expect(401);
    for _ in 0..50 {
        if send("POST", &url, &[], b"x").status == 404 {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    send("POST", &url, &[], b"x").expect(404);
}

/// A token with these parts, signed with HMAC.
fn forged(header: &Value, claims: &Value, key: Option<&[u8]>) -> String {
    use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
    use hmac::{Hmac, KeyInit as _, Mac as _};
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let text = format!("{}.{}", part(header), part(claims));
    let signature = key.map(|key| {
        let mut mac = Hmac::<sha2::Sha256>::new_from_slice(key).unwrap();
        mac.update(text.as_bytes());
        URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes())
    });
    format!("{text}.{}", signature.unwrap_or_default())
}

#[test]
fn public_key_as_hmac_secret_is_refused() {
    let client = Client::new();
    let stack = client.stack;
    let url = format!("{}/jwks.json", stack.issuer());
    let jwks = send("GET", &url, &[], b"").expect(200).json();
    let rsa = jwks["keys"].as_array().unwrap();
    let rsa = rsa.iter().find(|key| key["kty"] == "RSA").unwrap();
    let n = rsa["n"].as_str().unwrap();
    let pem = stack.python(
        "import jwt, json, sys\nfrom cryptography.hazmat.primitives import serialization as s\nkey = jwt.algorithms.RSAAlgorithm.from_jwk(sys.argv[1])\nprint(key.public_bytes(s.Encoding.PEM, s.PublicFormat.SubjectPublicKeyInfo).decode())",
        &[&rsa.to_string()],
    );
    let claims = json!({
        "sub": "a", "iss": stack.issuer(), "aud": "aias", "exp": 4_000_000_000_u64,
    });
    let mut tokens = Vec::new();
    for kid in [json!("rs256"), json!("hs256"), Value::Null] {
        for key in [n.as_bytes(), pem.as_bytes(), rsa.to_string().as_bytes()] {
            let header = json!({"alg": "HS256", "typ": "JWT", "kid": kid});
            tokens.push(forged(&header, &claims, Some(key)));
            // Another algorithm name with the same signature.
            let header = json!({"alg": "RS256", "typ": "JWT", "kid": kid});
            tokens.push(forged(&header, &claims, Some(key)));
        }
        for alg in ["none", "None", "nOnE", ""] {
            tokens.push(forged(&json!({"alg": alg, "kid": kid}), &claims, None));
        }
        let own = json!({"alg": "HS256", "kid": kid, "jwk": rsa, "jku": "https://a.example/", "x5u": "https://a.example/"});
        tokens.push(forged(&own, &claims, Some(n.as_bytes())));
    }
    let mut requested = Vec::new();
    for token in &tokens {
        let response = client.with(token.clone()).get("/api/tenants").expect(401);
        requested.push(response.text("request_id"));
    }
    let printed = String::from_utf8(client.printed()).unwrap();
    for (token, request_id) in tokens.iter().zip(&requested) {
        let lines: Vec<_> = printed.lines().filter(|l| l.contains(request_id)).collect();
        let responses: Vec<_> = lines.iter().filter(|l| l.contains("\"status\"")).collect();
        assert_eq!(responses.len(), 1, "{lines:?}");
        assert!(responses[0].contains("unauthorized"), "{responses:?}");
        let signature = token.rsplit('.').next().unwrap();
        assert!(signature.is_empty() || !printed.contains(signature));
        assert!(!printed.contains(token.as_str()));
    }
}

#[tokio::test]
async fn misbehaving_issuer_is_refused() {
    use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
    let bench = Bench::new().await;
    let url = issuer::start().await;
    let shared = &URL_SAFE_NO_PAD.decode(issuer::SYMMETRIC_KEY).unwrap();
    let mut waiting = Vec::new();
    for wrong in issuer::WRONGS {
        let issuer = Issuer::new(&format!("{url}/{wrong}"), "aias").unwrap();
        let api = bench.api_of(Some(issuer.clone()));
        let tenants = Gateway::new(service(bench.routes(api, "tenants")));
        let claims = json!({
            "sub": "a", "iss": issuer.url, "aud": "aias", "exp": 4_000_000_000_u64,
        });
        waiting.push(async move {
            for (alg, kid) in [
                ("HS256", "k1"),
                ("RS256", "k1"),
                ("RS256", "k499"),
                ("ES256", "k1"),
            ] {
                let token = forged(&json!({"alg": alg, "kid": kid}), &claims, Some(&shared[..]));
                let response = respond(&tenants, &get(&token, "192.0.2.1")).await;
                // An issuer that is unavailable may respond later, so the problem is transient.
                let fits = match wrong {
                    _ if alg == "HS256" => response.status_code == 401,
                    "symmetric" | "crowded" => response.status_code == 401,
                    _ => response.status_code == 503,
                };
                assert!(
                    fits,
                    "{wrong} {alg} {kid}: {} {}",
                    response.status_code, response.body
                );
                assert!(!response.body.contains(&token));
            }
        });
    }
    futures_util::future::join_all(waiting.into_iter().map(Box::pin)).await;
}

/// Another issuer may give the subject of a member to somebody else.
#[tokio::test]
async fn subject_of_another_issuer_is_not_a_member() {
    let bench = Bench::new().await;
    let of = |url: &str, former: &str| {
        let issuer = Issuer::new(url, "aias").unwrap().with_former(former);
        let identity = Identity::User("ann".parse().unwrap());
        let routes = bench.routes(bench.api_of(Some(issuer)), "tenants");
        Gateway::new(service(routes.layer(axum::Extension(identity))))
    };
    let call = async |issuer: &Gateway, method: &str, path: &str| {
        let event = json!({
            "rawPath": path, "headers": {"content-type": "application/json"},
            "body": json!({"name": "Of Ann"}).to_string(),
            "requestContext": {"http": {"method": method}},
        });
        respond(issuer, &event.to_string()).await
    };
    let (first, other) = ("https://first.example", "https://other.example");
    let made = call(&of(first, ""), "POST", "/api/tenants").await;
    let made: Value = serde_json::from_str(&made.body).unwrap();
    let path = format!("/api/tenants/{}", made["id"].as_str().unwrap());
    let former = format!("https://older.example, {first}");
    for (issuer, knows) in [
        (of(first, ""), true),
        (of(other, ""), false),
        // It took the place of the first.
        (of(other, &former), true),
        // A prefix is another issuer.
        (of("https://first.example/", ""), false),
    ] {
        let response = call(&issuer, "GET", &path).await;
        assert_eq!(response.status_code, if knows { 200 } else { 404 });
        let listed = call(&issuer, "GET", "/api/tenants").await;
        assert_eq!(listed.body.contains("Of Ann"), knows);
    }
    // A local issuer, whose port may change, is not recorded.
    let local = of("http://127.0.0.1:4567", "");
    let made = call(&local, "POST", "/api/tenants").await;
    let made: Value = serde_json::from_str(&made.body).unwrap();
    let path = format!("/api/tenants/{}", made["id"].as_str().unwrap());
    let response = call(&of("http://127.0.0.1:4568", ""), "GET", &path).await;
    assert_eq!(response.status_code, 200);
}

fn get(token: &str, source_ip: &str) -> String {
    let event = json!({
        "rawPath": "/api/tenants", "headers": {"authorization": format!("Bearer {token}")},
        "requestContext": {"http": {"method": "GET", "sourceIp": source_ip}},
    });
    event.to_string()
}

#[tokio::test]
async fn failed_attempts_per_address_are_limited() {
    let bench = Bench::new().await;
    let tenants = Gateway::new(service(bench.routes(bench.api_of(None), "tenants")));
    let good = format!("aias_{}_{}", &TENANT[4..], "B".repeat(43));
    let bad = format!("aias_{}_{}", &TENANT[4..], "C".repeat(43));
    let status = async |token: &str, ip: &str| {
        let response = respond(&tenants, &get(token, ip)).await;
        response.status_code
    };
    // Valid credentials are not counted.
    for _ in 0..150 {
        assert_eq!(status(&good, "192.0.2.1").await, 200);
    }
    for n in 0..100 {
        let token = if n % 2 == 0 { bad.as_str() } else { "nonsense" };
        assert_eq!(status(token, "192.0.2.1").await, 401);
    }
    bench.wire.reset();
    let refused = respond(&tenants, &get(&bad, "192.0.2.1")).await;
    assert_eq!(refused.status_code, 429);
    assert!(refused.body.contains("too-many-attempts"));
    assert!(
        refused.headers.contains_key("retry-after"),
        "{:?}",
        refused.headers
    );
    assert_eq!(bench.wire.calls(), Vec::<String>::new());
    // Other addresses are not affected, nor is this one a minute later.
    assert_eq!(status(&good, "192.0.2.2").await, 200);
    bench.clock.advance(std::time::Duration::from_secs(61));
    assert_eq!(status(&good, "192.0.2.1").await, 200);
}
