//! Known answers for each source of the catalogue, and requests that must be refused.

use std::{collections::BTreeMap, fs, path::Path, sync::Arc};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use jiff::Timestamp;
use serde::Deserialize;

use super::*;
use crate::event::Request;

mod handshakes;
mod published;

/// A request that the provider's library, its documentation or another implementation of the scheme
/// made.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct KnownAnswer {
    #[serde(rename = "made_with")]
    _made_with: String,
    secret: String,
    headers: BTreeMap<String, String>,
    body: String,
    at: i64,
    #[serde(default = "hook_url")]
    url: String,
    /// What the provider publishes: a certificate or a set of keys.
    key: Option<String>,
}

fn hook_url() -> String {
    "https://hooks.example.com/api/webhooks/ten_1/secret".to_owned()
}

#[derive(Deserialize)]
struct SourceFile {
    #[serde(default)]
    known: Vec<KnownAnswer>,
}

fn known(name: &str) -> Vec<KnownAnswer> {
    let file = format!("{}/sources/{name}.yaml", env!("CARGO_MANIFEST_DIR"));
    let text = fs::read_to_string(Path::new(&file)).unwrap();
    let file: SourceFile = serde_saphyr::from_str(&text).unwrap();
    file.known
}

fn scheme(name: &str) -> Scheme {
    Verification::named(name).scheme().unwrap()
}

impl KnownAnswer {
    fn check(&self, scheme: &Scheme) -> Result<usize, Refusal> {
        let keys: Vec<_> = key_bytes(scheme.secret.form, &self.secret)
            .into_iter()
            .collect();
        self.check_with(scheme, &keys, self.body.as_bytes())
    }

    fn check_with(&self, scheme: &Scheme, keys: &[Vec<u8>], body: &[u8]) -> Result<usize, Refusal> {
        let headers = self.headers.iter();
        let request = Request {
            method: "POST",
            url: &self.url,
            headers: headers.map(|(n, v)| (n.as_str(), v.as_str())).collect(),
            query: self.url.split_once('?').map_or("", |(_, query)| query),
            body,
        };
        let at = Timestamp::from_second(self.at).unwrap();
        let mut values = Values::new(&request);
        // The provider's API returns its key to the owner of the secret only.
        let own = key_bytes(scheme.secret.form, &self.secret);
        if let Ok(Some(request)) = key_request(scheme, own.as_deref(), &values) {
            let key = Arc::new(self.key.clone().unwrap().into_bytes());
            values = values.with_published_key(request, key);
        }
        verify(scheme, keys, &values, at)
    }

    fn with_header(&self, name: &str, value: &str) -> Self {
        let mut changed = self.clone();
        changed.headers.insert(name.to_owned(), value.to_owned());
        changed
    }

    fn at(&self, at: i64) -> Self {
        Self { at, ..self.clone() }
    }
}

/// Each known answer of each signed source.
fn each(mut check: impl FnMut(&str, &Scheme, &KnownAnswer)) {
    let mut count = 0;
    for name in catalogue::names() {
        let own = scheme(name);
        let answers = known(name);
        assert_eq!(own.is_signed(), !answers.is_empty(), "{name}");
        for answer in &answers {
            check(name, &own, answer);
            count += 1;
        }
    }
    assert!(count >= 80, "{count}");
}

/// The form of signature that a known answer has.
fn form_of<'a>(own: &'a Scheme, answer: &KnownAnswer) -> &'a Signature {
    let verifies = |signature: &&Signature| {
        let alone = Scheme {
            signatures: vec![(*signature).clone()],
            ..own.clone()
        };
        answer.check(&alone).is_ok()
    };
    own.signatures.iter().find(verifies).unwrap()
}

/// Whether the body is signed as a whole.
fn signs_body(signature: &Signature) -> bool {
    match signature.method {
        Method::Token | Method::JwtRs256 => false,
        Method::JwsBodySha256 | Method::JwtEs256 => true,
        Method::HmacSha1
        | Method::HmacSha256
        | Method::HmacSha512
        | Method::Ed25519
        | Method::EcdsaP256Sha256
        | Method::RsaSha256 => {
            let signed = String::from(signature.signed.clone());
            ["{body}", "{form}", "{body-crc32}"]
                .iter()
                .any(|whole| signed.contains(whole))
        }
    }
}

#[test]
fn known_answers_verify() {
    each(|name, own, answer| {
        assert_eq!(answer.check(own), Ok(0), "{name}");
        let key = key_bytes(own.secret.form, &answer.secret).unwrap();
        let keys = [vec![7; 65], key];
        let found = answer.check_with(own, &keys, answer.body.as_bytes());
        assert_eq!(found, Ok(1), "{name}: the second key");
    });
}

#[test]
fn changed_body_is_refused() {
    each(|name, own, answer| {
        if !signs_body(form_of(own, answer)) {
            return;
        }
        let key = key_bytes(own.secret.form, &answer.secret).unwrap();
        let keys = std::slice::from_ref(&key);
        for index in 0..answer.body.len() {
            let mut body = answer.body.clone().into_bytes();
            body[index] ^= 1;
            let found = answer.check_with(own, keys, &body);
            assert!(found.is_err(), "{name}: byte {index}");
        }
        let longer = [answer.body.as_bytes(), b" "].concat();
        assert!(answer.check_with(own, keys, &longer).is_err(), "{name}");
        assert!(answer.check_with(own, keys, b"").is_err(), "{name}");
    });
}

#[test]
fn changed_signature_is_refused() {
    each(|name, own, answer| {
        let form = form_of(own, answer);
        let Place::Header(header) = &form.at else {
            return;
        };
        let value = &answer.headers[header];
        let refused = |changed: &str, what: &str| {
            let found = answer.with_header(header, changed).check(own);
            assert!(found.is_err(), "{name}: {what}");
        };
        let last = value.len() - 1;
        for index in [last, last / 2 + value.len() / 3] {
            let index = index
                .min(last)
                .saturating_sub(usize::from(value.ends_with("==")) * 2);
            let mut changed = value.clone().into_bytes();
            changed[index] = if changed[index] == b'0' { b'1' } else { b'0' };
            refused(&String::from_utf8(changed).unwrap(), "one character");
        }
        refused("", "empty");
        refused(&form.prefix, "only the prefix");
        refused(&value[..value.len() / 2], "half");
        let has_prefix = |own: &Signature| !own.prefix.is_empty();
        if own.signatures.iter().all(has_prefix) {
            refused(value.strip_prefix(&form.prefix).unwrap(), "no prefix");
        }
        let other_encoding = match form.encoding {
            Encoding::Hex => hex::decode(value.trim_start_matches(&form.prefix))
                .map(|bytes| STANDARD.encode(bytes)),
            Encoding::Base64 | Encoding::Base64url => Ok(hex::encode(
                STANDARD
                    .decode(value.trim_start_matches(&form.prefix))
                    .unwrap_or_default(),
            )),
            Encoding::Text => Ok(value.to_ascii_uppercase()),
        };
        if let Ok(other) = other_encoding {
            refused(&format!("{}{other}", form.prefix), "another encoding");
        }
    });
}

#[test]
fn request_without_signature_or_key_is_refused() {
    each(|name, own, answer| {
        let bare = KnownAnswer {
            headers: BTreeMap::new(),
            body: "{}".to_owned(),
            ..answer.clone()
        };
        assert!(
            matches!(bare.check(own), Err(Refusal::Missing(_))),
            "{name}"
        );
        let body = answer.body.as_bytes();
        assert!(answer.check_with(own, &[], body).is_err(), "{name}: no key");
        let others = [vec![], vec![0], vec![7; 32], vec![7; 65]];
        assert!(
            answer.check_with(own, &others, body).is_err(),
            "{name}: other keys"
        );
        assert_eq!(key_bytes(own.secret.form, ""), None, "{name}");
        // The provider does not return its key for a shorter secret.
        let is_looked_up = |form: &Signature| matches!(form.key, Some(PublishedKey::Lookup { .. }));
        if own.signatures.iter().any(is_looked_up) {
            return;
        }
        for length in [1, answer.secret.len() - 1] {
            let other = KnownAnswer {
                secret: answer.secret[..length].to_owned(),
                ..answer.clone()
            };
            assert!(other.check(own).is_err(), "{name}: a shorter secret");
        }
    });
}

#[test]
fn old_and_future_timestamps_are_refused() {
    let mut count = 0;
    each(|name, own, answer| {
        let Some(rule) = &form_of(own, answer).timestamp else {
            return;
        };
        count += 1;
        let tolerance = i64::from(rule.tolerance_seconds);
        for distance in [-tolerance, tolerance] {
            let late = answer.at(answer.at + distance);
            assert_eq!(late.check(own), Ok(0), "{name}: {distance}");
        }
        for distance in [-tolerance - 1, tolerance + 1] {
            let late = answer.at(answer.at + distance);
            assert_eq!(late.check(own), Err(Refusal::Stale(distance)), "{name}");
        }
        if let Place::Header(header) = &rule.at {
            for stamp in ["", "0", "x", "9999999999999999999"] {
                let changed = answer.with_header(header, stamp);
                assert!(changed.check(own).is_err(), "{name}: {stamp}");
            }
            let mut without = answer.clone();
            without.headers.remove(header);
            assert!(without.check(own).is_err(), "{name}: no timestamp");
        }
    });
    assert!(count >= 20, "{count}");
}

/// A signature of another source's secret is not accepted because a scheme has several forms.
#[test]
fn signed_parts_besides_the_body_are_checked() {
    let refused = |name: &str, change: &dyn Fn(&mut KnownAnswer)| {
        let mut changed = known(name).remove(0);
        change(&mut changed);
        assert!(changed.check(&scheme(name)).is_err(), "{name}");
    };
    for name in ["twilio", "square", "hubspot", "trello", "mandrill"] {
        refused(name, &|own| own.url = own.url.replace("ten_1", "ten_2"));
    }
    for (name, header) in [
        ("svix", "svix-id"),
        ("twitch", "twitch-eventsub-message-id"),
    ] {
        refused(name, &|own| {
            own.headers.insert(header.to_owned(), "other".to_owned());
        });
    }
    // A body that is no form has to be signed by its hash.
    let form = "application/x-www-form-urlencoded";
    refused("twilio", &|own| {
        own.headers
            .insert("content-type".into(), "text/plain".into());
    });
    let mut json = known("twilio").remove(1);
    json.headers.insert("content-type".into(), form.into());
    assert!(json.check(&scheme("twilio")).is_err());
    // Only the first item would be signed.
    refused("adyen", &|own| {
        let mut body: serde_json::Value = serde_json::from_str(&own.body).unwrap();
        let items = body["notificationItems"].as_array_mut().unwrap();
        items.push(items[0].clone());
        own.body = body.to_string();
    });
    refused("adyen", &|own| own.body = own.body.replace("1130", "9130"));
    refused("microsoft-graph", &|own| {
        own.body = own.body.replacen(&own.secret, "other", 1);
    });
}

#[test]
fn every_source_has_a_guide() {
    let names: Vec<_> = catalogue::names().collect();
    assert!(names.len() >= 60, "{}", names.len());
    for name in names {
        let guide = catalogue::guide(name).unwrap_or_else(|| panic!("{name}"));
        assert!(guide.docs.starts_with("https://"), "{name}");
        assert!(!guide.steps.is_empty(), "{name}");
        let own = scheme(name);
        if !own.is_signed() {
            assert!(guide.caution.unwrap().contains("not verified"), "{name}");
        }
    }
    assert_eq!(catalogue::scheme("nobody"), None);
}

#[test]
fn places_and_templates_are_checked() {
    for text in [
        "",
        "x",
        "header:",
        "header:a b",
        "body:x",
        "cookie:x",
        "query:{a}",
    ] {
        assert!(Place::try_from(text.to_owned()).is_err(), "{text}");
    }
    for text in ["{", "{body", "{nothing}", "{header:}"] {
        assert!(Template::try_from(text.to_owned()).is_err(), "{text}");
    }
    let text = "v0:{timestamp}:{body}{header:x-a?}";
    let template = Template::try_from(text.to_owned()).unwrap();
    assert_eq!(String::from(template), text);
}

/// While secrets are rotated, Persona sends a list of pairs for each, with a space between them.
#[test]
fn one_list_of_each_secret_is_read() {
    let answer = known("persona").remove(0);
    let own = answer.headers["persona-signature"].clone();
    let other = format!("t={},v1={}", answer.at, "ab".repeat(32));
    for both in [format!("{own} {other}"), format!("{other} {own}")] {
        let answer = answer.with_header("persona-signature", &both);
        assert_eq!(answer.check(&scheme("persona")), Ok(0), "{both}");
    }
    let neither = answer.with_header("persona-signature", &format!("{other} {other}"));
    assert!(neither.check(&scheme("persona")).is_err());
}

/// The scheme of an own provider is the same as one of the catalogue.
#[test]
fn custom_scheme_verifies() {
    let custom = |text: &str| Verification {
        custom: Some(Box::new(serde_json::from_str(text).unwrap())),
        ..Verification::named("custom")
    };
    let zoom = custom(
        r#"{"signatures": [{"method": "hmac-sha256", "at": "header:X-ZM-Signature", "prefix": "v0=",
            "signed": "v0:{timestamp}:{body}", "timestamp": {"at": "header:x-zm-request-timestamp"}}]}"#,
    );
    let answer = known("zoom").remove(0);
    assert_eq!(answer.check(&zoom.scheme().unwrap()), Ok(0));
    let unsigned = custom(r#"{"event_id": ["{body:/id}"]}"#);
    let fault = unsigned.scheme().unwrap_err();
    assert_eq!(fault.member(), "custom/signatures");
    assert_eq!(
        Verification::named("custom").scheme(),
        Err(ConfigError::CustomMissing)
    );
    let other = Verification {
        custom: zoom.custom,
        ..Verification::named("github")
    };
    assert!(other.scheme().is_err());
}

#[test]
fn hmac_scheme_has_options() {
    let own = Verification {
        hmac: HmacOptions {
            header: Some("X-Sig".to_owned()),
            algorithm: Some(Algorithm::Sha512),
            encoding: Some(Encoding::Base64),
            prefix: Some("sha512=".to_owned()),
            event_id_header: Some("X-Id".to_owned()),
        },
        ..Verification::named("hmac")
    };
    let scheme = own.scheme().unwrap();
    let mac = STANDARD.encode(digest(Algorithm::Sha512, b"s", &[b"body"]));
    let answer = KnownAnswer {
        _made_with: String::new(),
        secret: "s".to_owned(),
        headers: [("x-sig".to_owned(), format!("sha512={mac}"))].into(),
        body: "body".to_owned(),
        at: 0,
        url: hook_url(),
        key: None,
    };
    assert_eq!(answer.check(&scheme), Ok(0));
    assert_eq!(
        Verification::named("hmac").scheme(),
        Err(ConfigError::HeaderMissing)
    );
}
