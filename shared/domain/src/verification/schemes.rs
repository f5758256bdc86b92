//! The schemes of providers.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

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
    /// The header, and its value, of a test event that the provider sends when an endpoint is set
    /// up. It is answered and not run.
    pub ping: Option<(&'static str, &'static str)>,
    /// The form field that has the event as JSON, if the provider can send a form.
    pub payload_field: Option<&'static str>,
}

#[derive(Debug)]
pub(super) struct Row {
    pub(super) name: &'static str,
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
    ping: Option<(&'static str, &'static str)>,
    payload_field: Option<&'static str>,
}

#[derive(Debug)]
pub(super) enum RowEventId {
    None,
    Header(&'static str),
    Body(&'static str),
}

pub(super) const ROWS: [Row; 6] = [
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
        ping: None,
        payload_field: None,
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
        ping: Some(("x-github-event", "ping")),
        payload_field: Some("payload"),
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
        ping: None,
        payload_field: None,
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
        ping: None,
        payload_field: None,
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
        ping: None,
        payload_field: None,
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
        ping: None,
        payload_field: None,
    },
];

impl Row {
    pub(super) fn scheme(&self) -> Scheme {
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
            ping: self.ping,
            payload_field: self.payload_field,
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
