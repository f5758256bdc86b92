//! Invitations: accepted once, by the person they are for, while the plan has room.

use aias_tests::client::{Client, token};
use serde_json::{Value, json};

const ACCEPT: &str = "/api/invitations/accept";

fn invite(owner: &Client, body: &Value) -> Value {
    let path = format!("/api/tenants/{}/invitations", owner.tenant);
    owner.post(&path, body).expect(201).json()
}

fn person(owner: &Client, name: &str) -> (Client, String) {
    let subject = format!("{name}-{:x}", aias_platform::clock::random_id());
    let client = owner.with(token(owner.stack, &json!({"sub": subject})));
    (client, subject)
}

#[test]
fn invitation_makes_the_first_who_accepts_it_a_member() {
    let owner = Client::new();
    let invitation = invite(
        &owner,
        &json!({"email": "ada@example.com", "role": "editor"}),
    );
    let body = json!({"token": invitation["token"]});
    let (ada, subject) = person(&owner, "ada");
    ada.get("/api/workflows").expect(404);
    // A response may be lost, so accepting twice is no error.
    for _ in 0..2 {
        let tenant = ada.post(ACCEPT, &body).expect(200).json();
        assert_eq!(
            (&tenant["id"], &tenant["role"]),
            (&json!(owner.tenant), &json!("editor"))
        );
    }
    ada.get("/api/workflows").expect(200);
    let (eve, _) = person(&owner, "eve");
    eve.post(ACCEPT, &body).expect(404);
    let path = format!("/api/tenants/{}/invitations", owner.tenant);
    let listed = owner.get(&path).expect(200).json();
    assert_eq!(listed["data"][0]["accepted_by"], subject.as_str());
    let shown = listed.to_string();
    assert!(
        !shown.contains("aias_invite_") && !shown.contains("token"),
        "{shown}"
    );
    let audit = owner.get(&format!("/api/tenants/{}/audit-log", owner.tenant));
    let audit = String::from_utf8(audit.expect(200).body).unwrap();
    assert!(
        audit.contains(&subject) && !audit.contains("aias_invite_"),
        "{audit}"
    );
}

#[test]
fn invitation_for_a_subject_is_only_theirs() {
    let owner = Client::new();
    let ((ada, subject), (eve, _)) = (person(&owner, "ada"), person(&owner, "eve"));
    let invitation = invite(&owner, &json!({"user_id": subject, "role": "viewer"}));
    let body = json!({"token": invitation["token"]});
    eve.post(ACCEPT, &body).expect(404);
    ada.post(ACCEPT, &body).expect(200);
    // A key is not a person.
    owner.post(ACCEPT, &body).expect(403);
}

#[test]
fn deleted_and_forged_invitations_are_refused() {
    let owner = Client::new();
    let invitation = invite(&owner, &json!({"role": "viewer"}));
    let token = invitation["token"].as_str().unwrap();
    let (eve, _) = person(&owner, "eve");
    let (start, _) = token.split_at(token.len() - 43);
    for forged in [
        format!("{start}{}", "A".repeat(43)),
        "aias_invite_x".to_owned(),
        String::new(),
    ] {
        eve.post(ACCEPT, &json!({"token": forged})).expect(404);
    }
    let place = format!(
        "/api/tenants/{}/invitations/{}",
        owner.tenant,
        invitation["id"].as_str().unwrap()
    );
    owner.json("DELETE", &place, &Value::Null).expect(204);
    eve.post(ACCEPT, &json!({"token": token})).expect(404);
}

#[test]
fn invitations_are_limited_like_members_and_roles_like_the_inviter() {
    let owner = Client::new();
    let admin = owner.with(owner.key("admin"));
    let path = format!("/api/tenants/{}/invitations", owner.tenant);
    admin.post(&path, &json!({"role": "owner"})).expect(403);
    let plan = owner
        .get("/api/entitlements/check?feature=members")
        .expect(200)
        .json();
    let limit = plan["limit"].as_u64().unwrap();
    for _ in 0..limit {
        invite(&owner, &json!({"role": "viewer"}));
    }
    let refused = owner.post(&path, &json!({"role": "viewer"})).expect(402);
    assert_eq!(refused.text("code"), "plan-limit-exceeded");
}
