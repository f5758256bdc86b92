//! How webhook requests are verified. A scheme is a value: `ROWS` has a row per provider, `hmac` is
//! a row that the endpoint's owner fills in, and one function verifies all of them over the raw
//! bytes.
//!
//! Sources: Standard Webhooks 1.0 (standardwebhooks.com), "Validating webhook deliveries"
//! (docs.github.com), "Verify webhook signatures" (docs.stripe.com), "Verifying requests from
//! Slack" (docs.slack.dev), "Verify webhook deliveries" (shopify.dev), "Getting started with
//! webhooks" (developers.facebook.com).

use base64::{Engine as _, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit, Mac};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha1::Sha1;
use sha2::{Sha256, Sha512};
use subtle::ConstantTimeEq;
use utoipa::ToSchema;

/// The largest accepted difference between the signed timestamp and the clock, in seconds, either
/// way.
pub const TOLERANCE_SECONDS: i64 = 300;

/// How many signatures of one request are checked; further ones are ignored.
const MAX_SIGNATURES: usize = 8;

/// The hash function of the HMAC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Algorithm {
    /// For providers that offer nothing better.
    Sha1,
    Sha256,
    Sha512,
}

/// How the signature is encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Encoding {
    /// Either case.
    Hex,
    /// With padding (RFC 4648, section 4).
    Base64,
}

/// How the header's value contains signatures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Carrier {
    /// The prefix, then one signature.
    Whole,
    /// Comma-separated `name=value` pairs; each value with this name is a signature.
    Fields(&'static str),
    /// Items separated by spaces; each item with the prefix is a signature.
    Items,
}

/// A part of the signed string.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The raw body.
    Body,
    /// The signed timestamp, exactly as received.
    Timestamp,
    /// The value of a header.
    Header(&'static str),
    /// A fixed string.
    Text(&'static str),
}

/// Where the signed timestamp is; in seconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimestampSource {
    /// A header of its own.
    Header(&'static str),
    /// A `name=value` pair of the signature header.
    Field(&'static str),
}

/// How the secret's string becomes the HMAC key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyForm {
    /// Its UTF-8 bytes.
    Text,
    /// `whsec_`, then base64 (Standard Webhooks).
    Whsec,
}

/// Where the provider's event id is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EventIdSource {
    None,
    Header(String),
    /// A JSON pointer into the body.
    Body(&'static str),
}

/// How a provider validates a URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Handshake {
    None,
    /// A signed `POST` of `{"type": "url_verification", "challenge": …}`; the response must contain
    /// the challenge.
    SlackChallenge,
    /// A `GET` with `hub.mode`, `hub.verify_token` and `hub.challenge`; the response must be the
    /// challenge.
    HubChallenge,
}

/// Who creates the signing secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SecretOrigin {
    /// The endpoint's owner chooses it, or AIAS generates it.
    Chosen,
    /// The provider creates it, so an endpoint cannot exist without it.
    Provider,
}

/// How a request is signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signature {
    /// The header that has the signature, in lower case.
    pub header: String,
    /// The string before each signature.
    pub prefix: String,
    pub algorithm: Algorithm,
    pub encoding: Encoding,
    pub carrier: Carrier,
    /// The parts of the signed string, in order.
    pub signed: &'static [Part],
    /// None if the timestamp is not signed.
    pub timestamp: Option<TimestampSource>,
    pub key: KeyForm,
    pub origin: SecretOrigin,
}

/// How requests of one provider are verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scheme {
    /// `None` for the scheme `none`.
    pub signature: Option<Signature>,
    pub event_id: EventIdSource,
    pub handshake: Handshake,
}

#[derive(Debug)]
struct Row {
    name: &'static str,
    header: &'static str,
    prefix: &'static str,
    encoding: Encoding,
    carrier: Carrier,
    signed: &'static [Part],
    timestamp: Option<TimestampSource>,
    key: KeyForm,
    origin: SecretOrigin,
    event_id: RowEventId,
    handshake: Handshake,
}

#[derive(Debug)]
enum RowEventId {
    None,
    Header(&'static str),
    Body(&'static str),
}

const ROWS: [Row; 6] = [
    Row {
        name: "standard-webhooks",
        header: "webhook-signature",
        prefix: "v1,",
        encoding: Encoding::Base64,
        carrier: Carrier::Items,
        signed: &[
            Part::Header("webhook-id"),
            Part::Text("."),
            Part::Timestamp,
            Part::Text("."),
            Part::Body,
        ],
        timestamp: Some(TimestampSource::Header("webhook-timestamp")),
        key: KeyForm::Whsec,
        origin: SecretOrigin::Chosen,
        event_id: RowEventId::Header("webhook-id"),
        handshake: Handshake::None,
    },
    Row {
        name: "github",
        header: "x-hub-signature-256",
        prefix: "sha256=",
        encoding: Encoding::Hex,
        carrier: Carrier::Whole,
        signed: &[Part::Body],
        timestamp: None,
        key: KeyForm::Text,
        origin: SecretOrigin::Chosen,
        event_id: RowEventId::Header("x-github-delivery"),
        handshake: Handshake::None,
    },
    Row {
        name: "stripe",
        header: "stripe-signature",
        prefix: "",
        encoding: Encoding::Hex,
        carrier: Carrier::Fields("v1"),
        signed: &[Part::Timestamp, Part::Text("."), Part::Body],
        timestamp: Some(TimestampSource::Field("t")),
        key: KeyForm::Text,
        origin: SecretOrigin::Provider,
        event_id: RowEventId::Body("/id"),
        handshake: Handshake::None,
    },
    Row {
        name: "slack",
        header: "x-slack-signature",
        prefix: "v0=",
        encoding: Encoding::Hex,
        carrier: Carrier::Whole,
        signed: &[
            Part::Text("v0:"),
            Part::Timestamp,
            Part::Text(":"),
            Part::Body,
        ],
        timestamp: Some(TimestampSource::Header("x-slack-request-timestamp")),
        key: KeyForm::Text,
        origin: SecretOrigin::Provider,
        event_id: RowEventId::Body("/event_id"),
        handshake: Handshake::SlackChallenge,
    },
    Row {
        name: "shopify",
        header: "x-shopify-hmac-sha256",
        prefix: "",
        encoding: Encoding::Base64,
        carrier: Carrier::Whole,
        signed: &[Part::Body],
        timestamp: None,
        key: KeyForm::Text,
        origin: SecretOrigin::Provider,
        event_id: RowEventId::Header("x-shopify-webhook-id"),
        handshake: Handshake::None,
    },
    Row {
        name: "meta",
        header: "x-hub-signature-256",
        prefix: "sha256=",
        encoding: Encoding::Hex,
        carrier: Carrier::Whole,
        signed: &[Part::Body],
        timestamp: None,
        key: KeyForm::Text,
        origin: SecretOrigin::Provider,
        event_id: RowEventId::None,
        handshake: Handshake::HubChallenge,
    },
];

impl Row {
    fn scheme(&self) -> Scheme {
        Scheme {
            signature: Some(Signature {
                header: self.header.to_owned(),
                prefix: self.prefix.to_owned(),
                algorithm: Algorithm::Sha256,
                encoding: self.encoding,
                carrier: self.carrier,
                signed: self.signed,
                timestamp: self.timestamp,
                key: self.key,
                origin: self.origin,
            }),
            event_id: match self.event_id {
                RowEventId::None => EventIdSource::None,
                RowEventId::Header(name) => EventIdSource::Header(name.to_owned()),
                RowEventId::Body(pointer) => EventIdSource::Body(pointer),
            },
            handshake: self.handshake,
        }
    }
}

/// The names of all schemes, for error messages.
#[must_use]
pub fn scheme_names() -> Vec<&'static str> {
    let mut names = vec!["none", "hmac"];
    names.extend(ROWS.iter().map(|row| row.name));
    names
}

/// The verification settings of an endpoint, without secrets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verification {
    /// The name of the scheme.
    pub scheme: String,
    /// Only for `hmac`.
    #[serde(flatten)]
    pub hmac: HmacOptions,
}

/// The columns that the owner of an `hmac` endpoint fills in.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HmacOptions {
    /// The header that has the signature.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub header: Option<String>,
    /// SHA-256 by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub algorithm: Option<Algorithm>,
    /// Hex by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encoding: Option<Encoding>,
    /// The string before the signature; empty by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefix: Option<String>,
    /// The header that has the event id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event_id_header: Option<String>,
}

/// Why a [`Verification`] is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    #[error("unknown scheme; the schemes are: {}", scheme_names().join(", "))]
    UnknownScheme,
    #[error("the scheme `hmac` needs `header`, the name of the header that has the signature")]
    HeaderMissing,
    #[error("only the scheme `hmac` has this member")]
    NotForScheme(&'static str),
    #[error("not a header name (RFC 9110 token, at most 64 characters)")]
    BadHeader(&'static str),
    #[error("a prefix has at most 32 visible ASCII characters")]
    BadPrefix,
}

impl ConfigError {
    /// The member of the verification object that is wrong.
    #[must_use]
    pub fn member(&self) -> &'static str {
        match self {
            Self::UnknownScheme => "scheme",
            Self::HeaderMissing => "header",
            Self::NotForScheme(member) | Self::BadHeader(member) => member,
            Self::BadPrefix => "prefix",
        }
    }
}

impl Verification {
    /// The scheme `none`.
    #[must_use]
    pub fn none() -> Self {
        Self {
            scheme: "none".to_owned(),
            hmac: HmacOptions::default(),
        }
    }

    /// The scheme with these settings.
    ///
    /// # Errors
    ///
    /// When the scheme is unknown, or a setting does not belong to it.
    pub fn scheme(&self) -> Result<Scheme, ConfigError> {
        if self.scheme == "hmac" {
            return self.hmac.scheme();
        }
        if let Some(member) = self.hmac.first_set() {
            return Err(ConfigError::NotForScheme(member));
        }
        if self.scheme == "none" {
            return Ok(Scheme {
                signature: None,
                event_id: EventIdSource::None,
                handshake: Handshake::None,
            });
        }
        ROWS.iter()
            .find(|row| row.name == self.scheme)
            .map(Row::scheme)
            .ok_or(ConfigError::UnknownScheme)
    }
}

impl HmacOptions {
    fn first_set(&self) -> Option<&'static str> {
        [
            ("header", self.header.is_some()),
            ("algorithm", self.algorithm.is_some()),
            ("encoding", self.encoding.is_some()),
            ("prefix", self.prefix.is_some()),
            ("event_id_header", self.event_id_header.is_some()),
        ]
        .into_iter()
        .find_map(|(member, set)| set.then_some(member))
    }

    fn scheme(&self) -> Result<Scheme, ConfigError> {
        let header = self.header.as_deref().ok_or(ConfigError::HeaderMissing)?;
        let prefix = self.prefix.clone().unwrap_or_default();
        if prefix.len() > 32 || !prefix.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(ConfigError::BadPrefix);
        }
        Ok(Scheme {
            signature: Some(Signature {
                header: header_name(header, "header")?,
                prefix,
                algorithm: self.algorithm.unwrap_or(Algorithm::Sha256),
                encoding: self.encoding.unwrap_or(Encoding::Hex),
                carrier: Carrier::Whole,
                signed: &[Part::Body],
                timestamp: None,
                key: KeyForm::Text,
                origin: SecretOrigin::Chosen,
            }),
            event_id: match self.event_id_header.as_deref() {
                None => EventIdSource::None,
                Some(name) => EventIdSource::Header(header_name(name, "event_id_header")?),
            },
            handshake: Handshake::None,
        })
    }
}

fn header_name(text: &str, member: &'static str) -> Result<String, ConfigError> {
    let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    if (1..=64).contains(&text.len()) && text.bytes().all(token) {
        Ok(text.to_ascii_lowercase())
    } else {
        Err(ConfigError::BadHeader(member))
    }
}

/// The HMAC key of a secret; `None` when the string does not have the scheme's form or length (1 to
/// 512 characters).
#[must_use]
pub fn key_bytes(form: KeyForm, secret: &str) -> Option<Vec<u8>> {
    if !(1..=512).contains(&secret.len()) {
        return None;
    }
    match form {
        KeyForm::Text => Some(secret.as_bytes().to_vec()),
        KeyForm::Whsec => {
            let key = STANDARD.decode(secret.strip_prefix("whsec_")?).ok()?;
            // Standard Webhooks requires 24 to 64 bytes.
            (24..=64).contains(&key.len()).then_some(key)
        }
    }
}

/// Why a request is not verified. Logged, never sent to the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The signature header is missing or contains no signature.
    #[error("no signature")]
    Missing,
    #[error("a signed header is missing")]
    Incomplete,
    #[error("the signed timestamp is missing or not a number")]
    BadTimestamp,
    #[error("the signed timestamp differs from the clock by more than {TOLERANCE_SECONDS} seconds")]
    Stale,
    #[error("the signature does not match")]
    Mismatch,
}

/// Verifies a request and returns the key that signed it.
///
/// Every key is tried with every signature, whether or not an earlier one matched, and digests are
/// compared in constant time.
///
/// # Errors
///
/// When the request is not verified.
pub fn verify<'a>(
    signature: &Signature,
    keys: &[Vec<u8>],
    header: impl Fn(&str) -> Option<&'a str>,
    body: &[u8],
    now: Timestamp,
) -> Result<usize, Refusal> {
    let value = header(&signature.header).ok_or(Refusal::Missing)?;
    let claimed = signatures(signature, value);
    if claimed.is_empty() {
        return Err(Refusal::Missing);
    }
    let stamp = match signature.timestamp {
        None => None,
        Some(source) => Some(timestamp(source, value, &header)?),
    };
    let mut signed: Vec<&[u8]> = Vec::with_capacity(signature.signed.len());
    for part in signature.signed {
        signed.push(match part {
            Part::Body => body,
            Part::Text(text) => text.as_bytes(),
            Part::Timestamp => stamp.ok_or(Refusal::BadTimestamp)?.as_bytes(),
            Part::Header(name) => header(name).ok_or(Refusal::Incomplete)?.as_bytes(),
        });
    }
    let mut found = None;
    for (index, key) in keys.iter().enumerate() {
        let expected = digest(signature.algorithm, key, &signed);
        for candidate in &claimed {
            if bool::from(expected.as_slice().ct_eq(candidate.as_slice())) && found.is_none() {
                found = Some(index);
            }
        }
    }
    let index = found.ok_or(Refusal::Mismatch)?;
    match stamp {
        Some(stamp) if !is_fresh(stamp, now)? => Err(Refusal::Stale),
        _ => Ok(index),
    }
}

/// An HMAC over the concatenated parts.
#[must_use]
pub fn digest(algorithm: Algorithm, key: &[u8], parts: &[&[u8]]) -> Vec<u8> {
    fn over<M: Mac + KeyInit>(key: &[u8], parts: &[&[u8]]) -> Vec<u8> {
        // An HMAC accepts a key of any length.
        let Ok(mut mac) = <M as KeyInit>::new_from_slice(key) else {
            return Vec::new();
        };
        for part in parts {
            mac.update(part);
        }
        mac.finalize().into_bytes().to_vec()
    }
    match algorithm {
        Algorithm::Sha1 => over::<Hmac<Sha1>>(key, parts),
        Algorithm::Sha256 => over::<Hmac<Sha256>>(key, parts),
        Algorithm::Sha512 => over::<Hmac<Sha512>>(key, parts),
    }
}

fn signatures(signature: &Signature, value: &str) -> Vec<Vec<u8>> {
    let decode = |text: &str| match signature.encoding {
        Encoding::Hex => hex::decode(text).ok(),
        Encoding::Base64 => STANDARD.decode(text).ok(),
    };
    let bare = |text: &str| {
        text.trim()
            .strip_prefix(signature.prefix.as_str())
            .and_then(decode)
    };
    match signature.carrier {
        Carrier::Whole => bare(value).into_iter().collect(),
        Carrier::Items => value
            .split(' ')
            .filter_map(bare)
            .take(MAX_SIGNATURES)
            .collect(),
        Carrier::Fields(name) => fields(value)
            .filter(|(n, _)| *n == name)
            .filter_map(|(_, text)| decode(text))
            .take(MAX_SIGNATURES)
            .collect(),
    }
}

fn fields(value: &str) -> impl Iterator<Item = (&str, &str)> {
    value
        .split(',')
        .filter_map(|pair| pair.trim().split_once('='))
}

fn timestamp<'a>(
    source: TimestampSource,
    value: &'a str,
    header: &impl Fn(&str) -> Option<&'a str>,
) -> Result<&'a str, Refusal> {
    match source {
        TimestampSource::Header(name) => header(name),
        TimestampSource::Field(name) => fields(value).find(|(n, _)| *n == name).map(|(_, t)| t),
    }
    .ok_or(Refusal::BadTimestamp)
}

fn is_fresh(stamp: &str, now: Timestamp) -> Result<bool, Refusal> {
    let seconds: i64 = stamp.parse().map_err(|_| Refusal::BadTimestamp)?;
    Ok(now.as_second().abs_diff(seconds) <= TOLERANCE_SECONDS.unsigned_abs())
}

#[cfg(test)]
mod tests;
