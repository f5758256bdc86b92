//! Credentials: what is not good is `401`, in the same words.

use aias_tests::client::{Client, send, token};
use serde_json::json;

#[test]
fn tokens_that_do_not_hold_are_refused() {
    let Some(client) = Client::new() else { return };
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
        let answer = call(&bad).expect(401);
        assert_eq!(
            answer.text("detail"),
            "the credential is not valid",
            "{bad}"
        );
        assert!(answer.header("www-authenticate").contains("invalid_token"));
        assert!(!String::from_utf8_lossy(&answer.body).contains(&bad));
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
fn people_and_keys_come_and_go() {
    let Some(owner) = Client::new() else { return };
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

    // Nobody rises above themselves.
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

    // The last owner stays.
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

    // A key opens until it is taken away, or until its time.
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
fn a_deleted_tenant_is_gone_for_everybody() {
    let Some(owner) = Client::new() else { return };
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
