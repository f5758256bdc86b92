//! Says why a request is verified or not, step by step, without the secret.

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    place::Values,
    scheme::{Encoding, Scheme, Signature},
    template::MissingValue,
    verify::{Refusal, digest, hmac_of, key_bytes, timestamp, verify},
};

/// Why a request is verified or not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Explanation {
    pub verified: bool,
    /// `no-signature`, `signed-value-missing`, `bad-timestamp`, `timestamp-too-old`,
    /// `bad-signature`, `bad-secret` or `not-signed`; `null` if the request is verified.
    #[schema(example = "bad-signature")]
    pub reason: Option<&'static str>,
    pub detail: String,
    /// What would make the request verify, if that was found.
    pub hint: Option<&'static str>,
    /// Each form of signature that the scheme has.
    pub forms: Vec<FormExplanation>,
}

/// A form of signature of a scheme, applied to a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct FormExplanation {
    /// Where the signature is expected.
    #[schema(example = "header:x-hub-signature-256")]
    pub at: String,
    pub method: super::Method,
    pub verified: bool,
    pub detail: String,
    /// What the request has there; not shown for a token.
    pub given: Option<String>,
    /// The signed string, cut after 4,096 characters.
    pub signed: Option<String>,
    /// The signature of that string by the secret, for an HMAC.
    pub expected: Option<String>,
    /// The first character in which `given` differs from `expected`, counted from 0.
    pub differs_at: Option<usize>,
}

/// The longest signed string that is shown, in characters.
const MAX_SHOWN: usize = 4_096;

/// Explains a request. The secret is the text that the provider has.
#[must_use]
pub fn explain(scheme: &Scheme, secret: &str, values: &Values<'_>, now: Timestamp) -> Explanation {
    if !scheme.is_signed() {
        return refused(
            "not-signed",
            "the scheme has no signatures: every request is accepted",
        );
    }
    let Some(key) = key_bytes(scheme.secret.form, secret) else {
        return refused(
            "bad-secret",
            "the secret does not have the form that the scheme needs",
        );
    };
    let forms = scheme.signatures.iter();
    let forms = forms
        .map(|signature| form(scheme, signature, &key, values, now))
        .collect();
    match verify(scheme, std::slice::from_ref(&key), values, now) {
        Ok(_) => Explanation {
            verified: true,
            reason: None,
            detail: "the request is verified".to_owned(),
            hint: None,
            forms,
        },
        Err(refusal) => Explanation {
            verified: false,
            reason: Some(refusal.code()),
            detail: refusal.to_string(),
            hint: hint(scheme, secret, values, now),
            forms,
        },
    }
}

fn refused(reason: &'static str, detail: &str) -> Explanation {
    Explanation {
        verified: false,
        reason: Some(reason),
        detail: detail.to_owned(),
        hint: None,
        forms: Vec::new(),
    }
}

fn form(
    scheme: &Scheme,
    signature: &Signature,
    key: &[u8],
    values: &Values<'_>,
    now: Timestamp,
) -> FormExplanation {
    let alone = Scheme {
        signatures: vec![signature.clone()],
        ..scheme.clone()
    };
    let result = verify(&alone, &[key.to_vec()], values, now);
    let given = values.get(&signature.at);
    let stamp = given
        .as_deref()
        .and_then(|value| timestamp(signature, value, values).ok().flatten());
    // A placeholder for the secret is not filled in.
    let filled = signature.signed.fill(values, stamp.as_deref(), b"(secret)");
    let missing = filled.as_ref().err().map(|MissingValue(name)| name.clone());
    let algorithm = hmac_of(signature.method);
    let text = |bytes: &[u8]| {
        let text = String::from_utf8_lossy(bytes);
        text.chars().take(MAX_SHOWN).collect::<String>()
    };
    let signed = filled.ok().map(|parts| text(&parts.concat()));
    let parts = signature.signed.fill(values, stamp.as_deref(), key).ok();
    let expected = algorithm.zip(parts).map(|(algorithm, parts)| {
        let parts: Vec<&[u8]> = parts.iter().map(AsRef::as_ref).collect();
        let mac = digest(algorithm, key, &parts);
        let encoded = match signature.encoding {
            Encoding::Hex | Encoding::Text => hex::encode(mac),
            Encoding::Base64 => STANDARD.encode(mac),
            Encoding::Base64url => URL_SAFE_NO_PAD.encode(mac),
        };
        match &signature.field {
            Some(name) => format!("{name}={encoded}"),
            None => format!("{}{encoded}", signature.prefix),
        }
    });
    let is_shown = signature.method != super::Method::Token;
    let given = given.filter(|_| is_shown).map(std::borrow::Cow::into_owned);
    let is_whole = signature.field.is_none() && signature.separator.is_none();
    let differs_at = match (&given, &expected) {
        (Some(given), Some(expected)) if is_whole => first_difference(given, expected),
        _ => None,
    };
    let detail = match &result {
        Ok(_) => "verified".to_owned(),
        Err(Refusal::Mismatch) if missing.is_some() => {
            format!("a signed value is missing: {}", missing.unwrap_or_default())
        }
        Err(refusal) => refusal.to_string(),
    };
    FormExplanation {
        at: signature.at.to_string(),
        method: signature.method,
        verified: result.is_ok(),
        detail,
        given,
        signed: signed.filter(|_| is_shown),
        expected,
        differs_at,
    }
}

fn first_difference(one: &str, other: &str) -> Option<usize> {
    let common = one
        .chars()
        .zip(other.chars())
        .take_while(|(a, b)| a == b)
        .count();
    (one != other).then_some(common)
}

/// A common mistake without which the request would be verified.
fn hint(
    scheme: &Scheme,
    secret: &str,
    values: &Values<'_>,
    now: Timestamp,
) -> Option<&'static str> {
    let verifies = |secret: &str, body: &[u8]| {
        let request = crate::event::Request {
            headers: values.request.headers.clone(),
            body,
            ..*values.request
        };
        key_bytes(scheme.secret.form, secret)
            .is_some_and(|key| verify(scheme, &[key], &Values::new(&request), now).is_ok())
    };
    let body = values.request.body;
    let compact = values.json().map(ToString::to_string).unwrap_or_default();
    if verifies(secret.trim(), body) {
        Some("the secret has white space at its start or end")
    } else if verifies(secret, body.trim_ascii_end()) {
        Some("the body has white space at its end that the provider did not sign")
    } else if verifies(secret, &[body, b"\n"].concat()) {
        Some("the body has lost the line break at its end")
    } else if verifies(secret, compact.as_bytes()) {
        Some("the body was reformatted: the provider signed JSON without white space")
    } else {
        None
    }
}
