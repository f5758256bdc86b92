//! Signatures by keys that a provider publishes.

use super::*;

fn first(name: &str) -> KnownAnswer {
    known(name).remove(0)
}

fn refused(name: &str, what: &str, change: impl FnOnce(&mut KnownAnswer)) {
    let mut changed = first(name);
    change(&mut changed);
    assert!(changed.check(&scheme(name)).is_err(), "{name}: {what}");
}

#[test]
fn signed_members_of_an_sns_message_are_checked() {
    for (from, to) in [
        ("ord_1", "ord_2"),
        ("da41e39f", "da41e39e"),
        (":orders", ":others"),
        ("Notification", "UnsubscribeConfirmation"),
        ("\"SignatureVersion\": \"2\"", "\"SignatureVersion\": \"1\""),
        ("\"Message\":", "\"Subject\": \"x\", \"Message\":"),
    ] {
        refused("aws-sns", from, |own| {
            assert!(own.body.contains(from), "{from}");
            own.body = own.body.replacen(from, to, 1);
        });
    }
    // A message of another topic, whose owner is somebody else, is signed as well.
    refused("aws-sns", "the topic", |own| {
        own.secret = own.secret.replace(":orders", ":others");
    });
    let confirmation = known("aws-sns").remove(2);
    for (from, to) in [("Token=2336412f37", "Token=0"), ("2336412f37\"", "0\"")] {
        let mut changed = confirmation.clone();
        changed.body = changed.body.replacen(from, to, 1);
        assert!(changed.check(&scheme("aws-sns")).is_err(), "{from}");
    }
}

#[test]
fn only_sns_is_visited() {
    let own = "https://sns.eu-west-1.amazonaws.com/?Action=ConfirmSubscription&Token=1";
    assert!(is_visited(own));
    for foreign in [
        "https://evil.example/?Action=ConfirmSubscription&Token=1",
        "https://sns.eu-west-1.amazonaws.com/?Action=Publish&Token=1",
        "https://sns.eu-west-1.amazonaws.com/x?Action=ConfirmSubscription&Token=1",
        "https://sns.eu-west-1.amazonaws.com/?Action=ConfirmSubscription&Token=1#x",
        "https://sns.eu-west-1.amazonaws.com/?Action=ConfirmSubscription& x",
        "http://sns.eu-west-1.amazonaws.com/?Action=ConfirmSubscription&Token=1",
        "",
    ] {
        assert!(!is_visited(foreign), "{foreign}");
    }
}

#[test]
fn another_certificate_or_algorithm_is_refused() {
    let other = rcgen::generate_simple_self_signed(vec!["sns.amazonaws.com".to_owned()]);
    let other = other.unwrap().cert.pem();
    for name in ["aws-sns", "paypal"] {
        for key in [other.as_str(), "", "-----BEGIN CERTIFICATE-----"] {
            refused(name, key, |own| own.key = Some(key.to_owned()));
        }
        let answer = first(name);
        let cut = answer.key.clone().unwrap().replacen("MII", "MIJ", 1);
        refused(name, "a damaged certificate", |own| own.key = Some(cut));
        let none = KnownAnswer {
            key: None,
            ..answer.clone()
        };
        let request = Request {
            method: "POST",
            url: &none.url,
            headers: none
                .headers
                .iter()
                .map(|(n, v)| (n.as_str(), v.as_str()))
                .collect(),
            query: "",
            body: none.body.as_bytes(),
        };
        let at = Timestamp::from_second(none.at).unwrap();
        let keys = [none.secret.clone().into_bytes()];
        let found = verify(&scheme(name), &keys, &Values::new(&request), at);
        assert_eq!(found, Err(Refusal::NoKey), "{name}");
    }
    for (header, value) in [
        ("paypal-auth-algo", "SHA1withRSA"),
        ("paypal-transmission-id", "other"),
        ("paypal-transmission-time", "2026-11-19T00:00:00Z"),
    ] {
        refused("paypal", header, |own| {
            own.headers.insert(header.to_owned(), value.to_owned());
        });
    }
}

#[test]
fn claims_and_times_of_a_token_are_checked() {
    let answer = first("google-pubsub");
    let own = scheme("google-pubsub");
    let hour = 3_600;
    // Issued a minute before, valid for an hour, with a minute of leeway.
    assert_eq!(answer.at(answer.at - 120).check(&own), Ok(0));
    assert!(answer.at(answer.at - 121).check(&own).is_err());
    assert_eq!(answer.at(answer.at + hour).check(&own), Ok(0));
    assert!(answer.at(answer.at + hour + 1).check(&own).is_err());
    refused("google-pubsub", "the URL", |own| {
        own.url = own.url.replace("ten_1", "ten_2");
    });
    refused("google-pubsub", "the account", |own| {
        own.secret = "push@other.iam.gserviceaccount.com".to_owned();
    });
    for (from, to) in [
        ("key-1", "key-2"),
        ("\"RSA\"", "\"oct\""),
        ("\"e\": \"AQAB\"", "\"e\": \"Aw\""),
    ] {
        refused("google-pubsub", from, |own| {
            let key = own.key.clone().unwrap();
            assert!(key.contains(from), "{key}");
            own.key = Some(key.replace(from, to));
        });
    }
    // `{"alg":"none"}` and HS256 with the public key as secret.
    let token = answer.headers["authorization"].clone();
    let (_, rest) = token.split_once('.').unwrap();
    let encode = |text: &str| base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(text);
    for header in [
        r#"{"alg":"none","kid":"key-1"}"#,
        r#"{"alg":"HS256","kid":"key-1"}"#,
        r#"{"alg":"RS256"}"#,
    ] {
        refused("google-pubsub", header, |own| {
            let changed = format!("Bearer {}.{rest}", encode(header));
            own.headers.insert("authorization".to_owned(), changed);
        });
    }
}

#[test]
fn own_scheme_has_no_published_keys() {
    for text in [
        r#"{"signatures": [{"method": "rsa-sha256", "at": "header:x-sig"}]}"#,
        r#"{"signatures": [{"method": "hmac-sha256", "at": "header:x-sig", "key": {"jwks": {"url": "https://e.example"}}}]}"#,
    ] {
        let custom = Verification {
            custom: Some(Box::new(serde_json::from_str(text).unwrap())),
            ..Verification::named("custom")
        };
        assert_eq!(custom.scheme().unwrap_err().member(), "custom/signatures");
    }
}

#[test]
fn key_of_a_lookup_belongs_to_its_secret() {
    let (answer, own) = (first("plaid"), scheme("plaid"));
    // Five minutes after it was issued, the token is too old.
    assert_eq!(answer.at(answer.at + 300).check(&own), Ok(0));
    assert!(answer.at(answer.at + 301).check(&own).is_err());
    assert!(answer.at(answer.at - 61).check(&own).is_err());
    let secret = answer.secret.clone().into_bytes();
    let other = b"other:secret".to_vec();
    let body = answer.body.as_bytes();
    assert_eq!(
        answer.check_with(&own, &[other.clone(), secret], body),
        Ok(1)
    );
    assert!(answer.check_with(&own, &[other], body).is_err());
    for (from, to) in [
        ("bfbd5111", "bfbd5112"),
        ("P-256", "P-384"),
        ("\"expired_at\": null", "\"expired_at\": 1794999999"),
        ("\"x\": \"i", "\"x\": \"j"),
    ] {
        refused("plaid", from, |own| {
            let key = own.key.clone().unwrap();
            assert!(key.contains(from), "{key}");
            own.key = Some(key.replace(from, to));
        });
    }
}

#[test]
fn key_is_looked_up_for_a_token_of_its_algorithm_only() {
    let own = scheme("plaid");
    let encode = |text: &str| base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(text);
    let secret = b"client:s3cret".to_vec();
    let requested = |header: &str, secret: Option<&[u8]>| {
        let token = format!("{}.e30.AA", encode(header));
        let request = Request {
            method: "POST",
            url: "https://hooks.example.com/",
            headers: vec![("plaid-verification", token.as_str())],
            query: "",
            body: b"{}",
        };
        key_request(&own, secret, &Values::new(&request))
    };
    let request = requested(r#"{"alg":"ES256","kid":"k-1"}"#, Some(&secret));
    let request = request.unwrap().unwrap();
    assert_eq!(
        request.url,
        "https://production.plaid.com/webhook_verification_key/get"
    );
    let body: serde_json::Value = serde_json::from_str(request.body.as_ref().unwrap()).unwrap();
    let expected = serde_json::json!({"client_id": "client", "secret": "s3cret", "key_id": "k-1"});
    assert_eq!(body, expected);
    assert_eq!(request.secret, Some(secret.clone()));
    assert!(!format!("{request:?}").contains("s3cret"));
    let long = format!(r#"{{"alg":"ES256","kid":"{}"}}"#, "k".repeat(65));
    for header in [
        r#"{"alg":"RS256","kid":"k-1"}"#,
        r#"{"alg":"none","kid":"k-1"}"#,
        r#"{"alg":"ES256"}"#,
        r#"{"alg":"ES256","kid":"k 1"}"#,
        long.as_str(),
        "",
    ] {
        assert_eq!(
            requested(header, Some(&secret)),
            Err(UnknownKey),
            "{header}"
        );
    }
    let without = requested(r#"{"alg":"ES256","kid":"k-1"}"#, None);
    assert_eq!(without, Err(UnknownKey));
}
