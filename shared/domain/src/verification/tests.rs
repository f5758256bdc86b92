//! A known answer for each row, and requests that must be refused.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use jiff::Timestamp;

use super::{schemes::ROWS, *};

fn scheme(name: &str) -> Signature {
    let verification = Verification {
        scheme: name.into(),
        ..Verification::none()
    };
    verification.scheme().unwrap().signature.unwrap()
}

/// A request from the provider's documentation, or made with another implementation of the scheme.
struct KnownAnswer {
    scheme: &'static str,
    secret: &'static str,
    headers: &'static [(&'static str, &'static str)],
    body: &'static str,
    at: i64,
}

const KNOWN: [KnownAnswer; 6] = [
    // The example of standardwebhooks.com's reference libraries.
    KnownAnswer {
        scheme: "standard-webhooks",
        secret: "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        headers: &[
            ("webhook-id", "msg_p5jXN8AQM9LWM0D4loKWxJek"),
            ("webhook-timestamp", "1614265330"),
            (
                "webhook-signature",
                "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
            ),
        ],
        body: r#"{"test": 2432232314}"#,
        at: 1_614_265_330,
    },
    // The example of docs.github.com.
    KnownAnswer {
        scheme: "github",
        secret: "It's a Secret to Everybody",
        headers: &[(
            "x-hub-signature-256",
            "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17",
        )],
        body: "Hello, World!",
        at: 0,
    },
    // Made with OpenSSL: printf '1700000000.{"id":"evt_1"}' | openssl dgst -sha256 -hmac whsec_test
    KnownAnswer {
        scheme: "stripe",
        secret: "whsec_test",
        headers: &[(
            "stripe-signature",
            "t=1700000000,v1=c89214b5b5da833daed6f0b8c5bb6bd58cea9022bd80ccc78230f3942d632925,v0=6ffbb59b2300aae63f272406069a9788598b792a944a07aba816edb039989a39",
        )],
        body: r#"{"id":"evt_1"}"#,
        at: 1_700_000_000,
    },
    // The example of docs.slack.dev.
    KnownAnswer {
        scheme: "slack",
        secret: "8f742231b10e8888abcd99yyyzzz85a5",
        headers: &[
            ("x-slack-request-timestamp", "1531420618"),
            (
                "x-slack-signature",
                "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503",
            ),
        ],
        body: "token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V&channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text=&response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN&trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c",
        at: 1_531_420_618,
    },
    // Made with OpenSSL: printf '{"id":1}' | openssl dgst -sha256 -hmac hush -binary | base64
    KnownAnswer {
        scheme: "shopify",
        secret: "hush",
        headers: &[(
            "x-shopify-hmac-sha256",
            "VnKUjZsLuN5iZWjn5EntcBVCF9kMN43LglzCE1/GSeY=",
        )],
        body: r#"{"id":1}"#,
        at: 0,
    },
    // Made with OpenSSL: printf '{"object":"page"}' | openssl dgst -sha256 -hmac app-secret
    KnownAnswer {
        scheme: "meta",
        secret: "app-secret",
        headers: &[(
            "x-hub-signature-256",
            "sha256=ae958d6f00b134dd32b95a9a76bedaaeb068c0949769358355023f7d1a0c580b",
        )],
        body: r#"{"object":"page"}"#,
        at: 0,
    },
];

fn check(known: &KnownAnswer, secret: &str, body: &str, at: i64) -> Result<usize, Refusal> {
    let signature = scheme(known.scheme);
    let keys = [vec![7; 32], key_bytes(signature.key, secret).unwrap()];
    let header = |name: &str| {
        known
            .headers
            .iter()
            .find(|(n, _)| *n == name)
            .map(|(_, v)| *v)
    };
    verify(
        &signature,
        &keys,
        header,
        body.as_bytes(),
        Timestamp::from_second(at).unwrap(),
    )
}

#[test]
fn every_scheme_has_known_answer() {
    let mut named: Vec<&str> = KNOWN.iter().map(|known| known.scheme).collect();
    named.sort_unstable();
    let mut rows: Vec<&str> = ROWS.iter().map(|row| row.name).collect();
    rows.sort_unstable();
    assert_eq!(named, rows);
    for known in &KNOWN {
        assert_eq!(
            check(known, known.secret, known.body, known.at),
            Ok(1),
            "{}",
            known.scheme
        );
    }
}

#[test]
fn changed_body_or_secret_is_refused() {
    for known in &KNOWN {
        let body = format!("{} ", known.body);
        assert_eq!(
            check(known, known.secret, &body, known.at),
            Err(Refusal::Mismatch)
        );
        let secret = match scheme(known.scheme).key {
            KeyForm::Text => "another secret",
            KeyForm::Whsec => "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
        };
        assert_eq!(
            check(known, secret, known.body, known.at),
            Err(Refusal::Mismatch)
        );
    }
}

#[test]
fn signed_timestamp_tolerance_is_five_minutes() {
    for known in KNOWN
        .iter()
        .filter(|k| scheme(k.scheme).timestamp.is_some())
    {
        for offset in [-TOLERANCE_SECONDS, TOLERANCE_SECONDS] {
            assert_eq!(
                check(known, known.secret, known.body, known.at + offset),
                Ok(1)
            );
            let past = offset + offset.signum();
            assert_eq!(
                check(known, known.secret, known.body, known.at + past),
                Err(Refusal::Stale)
            );
        }
    }
}

#[test]
fn malformed_signature_is_refused() {
    let now = Timestamp::from_second(1_700_000_000).unwrap();
    for name in ["stripe", "github", "shopify", "standard-webhooks", "slack"] {
        let signature = scheme(name);
        let with = |value: Option<&'static str>| {
            let header = move |n: &str| if n == "webhook-id" { Some("m") } else { value };
            verify(&signature, &[b"k".to_vec()], header, b"", now)
        };
        assert_eq!(with(None), Err(Refusal::Missing), "{name}");
        for junk in [
            "",
            ",",
            "v1",
            "t=,v1=",
            "sha256=zz",
            "v1,%%%",
            "=====",
            "t=x,v1=zz",
        ] {
            assert!(with(Some(junk)).is_err(), "{name} {junk}");
        }
    }
    let stripe = scheme("stripe");
    let header = |_: &str| Some("v1=00,t=soon");
    assert_eq!(
        verify(&stripe, &[b"k".to_vec()], header, b"", now),
        Err(Refusal::Mismatch)
    );
    assert_eq!(
        verify(&stripe, &[b"k".to_vec()], |_: &str| Some("v1=00"), b"", now),
        Err(Refusal::BadTimestamp)
    );
    assert_eq!(
        verify(&stripe, &[], header, b"", now),
        Err(Refusal::Mismatch)
    );
}

#[test]
fn hmac_options_define_scheme() {
    let mut verification: Verification = serde_json::from_str(
        r#"{"scheme":"hmac","header":"X-Sig","algorithm":"sha512","encoding":"base64","prefix":"h=","event_id_header":"X-Id"}"#,
    )
    .unwrap();
    let scheme = verification.scheme().unwrap();
    assert_eq!(scheme.event_id, EventIdSource::Header("x-id".into()));
    let signature = scheme.signature.unwrap();
    let value = format!(
        "h={}",
        STANDARD.encode(digest(Algorithm::Sha512, b"k", &[b"body"]))
    );
    let header = |name: &str| (name == "x-sig").then_some(value.as_str());
    assert_eq!(
        verify(
            &signature,
            &[b"k".to_vec()],
            header,
            b"body",
            Timestamp::UNIX_EPOCH
        ),
        Ok(0)
    );

    verification.hmac.header = Some("a b".into());
    assert_eq!(verification.scheme(), Err(ConfigError::BadHeader("header")));
    verification.hmac.header = None;
    assert_eq!(verification.scheme(), Err(ConfigError::HeaderMissing));
    verification.scheme = "github".into();
    assert_eq!(
        verification.scheme(),
        Err(ConfigError::NotForScheme("algorithm"))
    );
    verification = Verification {
        scheme: "morse".into(),
        ..Verification::none()
    };
    assert_eq!(verification.scheme(), Err(ConfigError::UnknownScheme));
}

#[test]
fn secret_must_match_scheme() {
    assert_eq!(key_bytes(KeyForm::Text, ""), None);
    assert_eq!(key_bytes(KeyForm::Text, &"x".repeat(513)), None);
    assert_eq!(key_bytes(KeyForm::Whsec, "whsec_%%"), None);
    assert_eq!(key_bytes(KeyForm::Whsec, "whsec_AAAA"), None);
    assert_eq!(
        key_bytes(KeyForm::Whsec, "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"),
        None
    );
}
