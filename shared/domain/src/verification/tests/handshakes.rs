//! Handshakes of each source that has one.

use super::*;

fn outcome(
    name: &str,
    method: &str,
    query: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> Option<HandshakeOutcome> {
    let request = Request {
        method,
        url: "https://hooks.example.com/x",
        headers: headers.to_vec(),
        query,
        body: body.as_bytes(),
    };
    let secrets = HandshakeSecrets {
        keys: &[b"key".to_vec()],
        verify_tokens: &["token".to_owned()],
    };
    unsigned_handshake(&scheme(name), &Values::new(&request), secrets)
}

fn body_of(outcome: Option<HandshakeOutcome>) -> String {
    match outcome {
        Some(HandshakeOutcome::Answer(answer)) => answer.body,
        other => panic!("{other:?}"),
    }
}

#[test]
fn challenges_are_answered() {
    let get = |name, query| body_of(outcome(name, "GET", query, &[], ""));
    let hub = "hub.mode=subscribe&hub.challenge=42&hub.verify_token=token";
    assert_eq!(get("meta", hub), "42");
    // printf abc | openssl dgst -sha256 -hmac key
    let mac = "9c196e32dc0175f86f4b1cb89289d6619de6bee699e4c378e68309ed97a1a6ab";
    assert_eq!(
        get("linkedin", "challengeCode=abc"),
        format!(r#"{{"challengeCode":"abc","challengeResponse":"{mac}"}}"#)
    );
    let base64 = STANDARD.encode(hex::decode(mac).unwrap());
    assert_eq!(
        get("x", "crc_token=abc"),
        format!(r#"{{"response_token":"sha256={base64}"}}"#)
    );
    assert_eq!(get("dropbox", "challenge=a%26b"), "a&b");
    assert_eq!(get("mailchimp", ""), "ok");
    let token = outcome("microsoft-graph", "POST", "validationToken=a+b", &[], "");
    assert_eq!(body_of(token), "a b");
    let okta = [("x-okta-verification-challenge", "c")];
    assert_eq!(
        body_of(outcome("okta", "GET", "", &okta, "")),
        r#"{"verification":"c"}"#
    );
    let echo = r#"{"challenge":"c"}"#;
    assert_eq!(body_of(outcome("monday", "POST", "", &[], echo)), echo);
    for name in ["trello", "intercom", "mandrill"] {
        assert_eq!(body_of(outcome(name, "HEAD", "", &[], "")), "");
    }
    let form = [("content-type", "application/x-www-form-urlencoded")];
    let ping = outcome("woocommerce", "POST", "", &form, "webhook_id=12");
    assert_eq!(body_of(ping), "pong");
    assert_eq!(
        outcome("woocommerce", "POST", "", &form, "webhook_id=12&a=1"),
        None
    );
}

#[test]
fn headers_of_handshakes_are_repeated() {
    let headers = |outcome| match outcome {
        Some(HandshakeOutcome::Answer(answer) | HandshakeOutcome::SetSecret(_, answer)) => {
            answer.headers
        }
        other => panic!("{other:?}"),
    };
    let origin = [
        ("webhook-request-origin", "example.com"),
        ("webhook-request-rate", "120"),
    ];
    let allowed = headers(outcome("cloudevents", "OPTIONS", "", &origin, ""));
    assert!(allowed.contains(&("webhook-allowed-origin", "example.com".to_owned())));
    assert!(allowed.contains(&("webhook-allowed-rate", "120".to_owned())));
    let adobe = [("x-adobesign-clientid", "key")];
    let repeated = headers(outcome("adobe-sign", "GET", "", &adobe, ""));
    assert_eq!(repeated, [("x-adobesign-clientid", "key".to_owned())]);
    let other = [("x-adobesign-clientid", "other")];
    assert_eq!(
        outcome("adobe-sign", "GET", "", &other, ""),
        Some(HandshakeOutcome::Refused)
    );
}

#[test]
fn handshake_sets_a_secret_once() {
    let asana = [("x-hook-secret", "new")];
    assert_eq!(
        outcome("asana", "POST", "", &asana, ""),
        Some(HandshakeOutcome::Refused)
    );
    let request = Request {
        method: "POST",
        url: "",
        headers: asana.to_vec(),
        query: "",
        body: b"",
    };
    let none = HandshakeSecrets {
        keys: &[],
        verify_tokens: &[],
    };
    let first = unsigned_handshake(&scheme("asana"), &Values::new(&request), none);
    assert!(matches!(first, Some(HandshakeOutcome::SetSecret(secret, _)) if secret == "new"));
}

/// Somebody who knows the URL must not get the signature of a body by a challenge.
#[test]
fn challenge_does_not_sign_a_body() {
    for body in [r#"{"id":1}"#, "v0:1:{}", "", "a b", &"a".repeat(129)] {
        let query = form_urlencoded::Serializer::new(String::new())
            .append_pair("crc_token", body)
            .append_pair("challengeCode", body)
            .finish();
        for name in ["x", "linkedin"] {
            let found = outcome(name, "GET", &query, &[], "");
            assert!(
                matches!(found, Some(HandshakeOutcome::Malformed(_))),
                "{body}"
            );
        }
    }
    let long = format!("challenge={}", "a".repeat(2_049));
    let found = outcome("dropbox", "GET", &long, &[], "");
    assert!(matches!(found, Some(HandshakeOutcome::Malformed(_))));
    let hub = "hub.mode=subscribe&hub.challenge=42&hub.verify_token=other";
    assert_eq!(
        outcome("meta", "GET", hub, &[], ""),
        Some(HandshakeOutcome::Refused)
    );
}

#[test]
fn signed_handshakes_are_answered() {
    let answer = |name: &str, headers: &[(&str, &str)], body: &str| {
        let request = Request {
            method: "POST",
            url: "",
            headers: headers.to_vec(),
            query: "",
            body: body.as_bytes(),
        };
        signed_handshake(&scheme(name), &Values::new(&request), b"key")
    };
    let slack = r#"{"type": "url_verification", "challenge": "c"}"#;
    assert_eq!(answer("slack", &[], slack).unwrap().body, "c");
    assert_eq!(
        answer(
            "slack",
            &[],
            r#"{"type": "event_callback", "challenge": "c"}"#
        ),
        None
    );
    assert_eq!(answer("github", &[], slack), None);
    let twitch = [(
        "twitch-eventsub-message-type",
        "webhook_callback_verification",
    )];
    assert_eq!(
        answer("twitch", &twitch, r#"{"challenge": "c"}"#)
            .unwrap()
            .body,
        "c"
    );
    let zoom = r#"{"event": "endpoint.url_validation", "payload": {"plainToken": "abc"}}"#;
    let mac = "9c196e32dc0175f86f4b1cb89289d6619de6bee699e4c378e68309ed97a1a6ab";
    assert_eq!(
        answer("zoom", &[], zoom).unwrap().body,
        format!(r#"{{"plainToken":"abc","encryptedToken":"{mac}"}}"#)
    );
    let forged = zoom.replace("abc", "v0:1:{}");
    assert_eq!(answer("zoom", &[], &forged), None);
    assert_eq!(
        answer("discord", &[], r#"{"type": 1}"#).unwrap().body,
        r#"{"type":1}"#
    );
    assert_eq!(
        answer("discord", &[], r#"{"type": 0}"#).unwrap().status,
        204
    );
    assert_eq!(answer("discord", &[], r#"{"type": 1, "event": {}}"#), None);
}
