//! How the requests of a provider are verified and answered. Every scheme is a value that one
//! function interprets: those of the catalogue (`sources/*.yaml`), and those that the owner of an
//! endpoint writes.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    handshake::Handshake,
    place::{Place, is_token},
    published::PublishedKey,
    template::Template,
};

/// How requests are verified, and what they mean.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Scheme {
    /// The forms of signature, of which a request must have one. Without any, requests are not
    /// verified.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub signatures: Vec<Signature>,
    pub secret: SecretRule,
    /// The event id, by which duplicates are recognised: the first of these texts that a request
    /// has.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Vec<String>)]
    pub event_id: Vec<Template>,
    /// The type of the event: the first of these texts that a request has.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Vec<String>)]
    pub event_type: Vec<Template>,
    /// How the provider validates the URL.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub handshakes: Vec<Handshake>,
    /// A test event that the provider sends when an endpoint is set up. It is answered and not run.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub ping: Option<Condition>,
    /// The form field that has the event as JSON, if the provider can send a form.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub payload_field: Option<String>,
    /// The body is JSON, whatever its media type says.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub json_body: bool,
    /// The response to an accepted event, if the provider does not take a `202` with JSON.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub response: Option<ProviderResponse>,
}

/// The most forms of signature, texts and handshakes of a scheme.
const MAX_ALTERNATIVES: usize = 8;

impl Scheme {
    /// Whether requests are verified.
    #[must_use]
    pub fn is_signed(&self) -> bool {
        !self.signatures.is_empty()
    }

    #[must_use]
    pub fn has(&self, handshake: Handshake) -> bool {
        self.handshakes.contains(&handshake)
    }

    /// The headers that prove a request, which a workflow does not see.
    pub fn proving_headers(&self) -> impl Iterator<Item = &str> {
        self.signatures.iter().flat_map(|signature| {
            let timestamp = signature.timestamp.as_ref().map(|own| &own.at);
            [Some(&signature.at), timestamp]
                .into_iter()
                .flatten()
                .filter_map(|place| match place {
                    Place::Header(name) => Some(name.as_str()),
                    Place::Query(_) | Place::Form(_) | Place::Body(_) | Place::Field(_) => None,
                })
        })
    }

    /// What is wrong with a scheme that the owner of an endpoint wrote: the member and the reason.
    #[must_use]
    pub fn fault(&self) -> Option<(&'static str, String)> {
        if self.signatures.is_empty() {
            return Some(("signatures", "at least one form of signature".to_owned()));
        }
        for (member, count) in [
            ("signatures", self.signatures.len()),
            ("event_id", self.event_id.len()),
            ("event_type", self.event_type.len()),
            ("handshakes", self.handshakes.len()),
        ] {
            if count > MAX_ALTERNATIVES {
                return Some((member, format!("at most {MAX_ALTERNATIVES}")));
            }
        }
        for signature in &self.signatures {
            if let Some(fault) = signature.fault() {
                return Some(("signatures", fault));
            }
        }
        let response = self.response.as_ref()?;
        if !(200..300).contains(&response.status) {
            return Some(("response", "a status from 200 to 299".to_owned()));
        }
        let too_long = response.body.as_ref().is_some_and(|b| b.len() > 4_096);
        // The console has the same origin, so a response must not be a page.
        let is_page = response
            .content_type
            .as_deref()
            .is_some_and(|own| !["text/plain", "application/json"].contains(&own));
        let bad_header = response
            .repeats_header
            .as_deref()
            .is_some_and(|own| own.len() > 64 || !own.starts_with("x-") || !is_token(own));
        let fault = if too_long {
            "a body of at most 4,096 bytes"
        } else if is_page {
            "the content type text/plain or application/json"
        } else if bad_header {
            "repeats_header must be a header name in lower case that starts with x-"
        } else {
            return None;
        };
        Some(("response", fault.to_owned()))
    }
}

/// A form of signature.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Signature {
    pub method: Method,
    /// Where the signature or the token is.
    #[schema(value_type = String, example = "header:x-signature")]
    pub at: Place,
    /// The text before each signature.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub prefix: String,
    /// The value is a list of `name=value` pairs; those with this name are signatures.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub field: Option<String>,
    /// What separates the items of a list: `,` for pairs, besides a space. Without it and `field`
    /// the value is one signature.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, nullable = false)]
    pub separator: Option<char>,
    #[serde(default)]
    pub encoding: Encoding,
    /// The signed string; the raw body by default. A token signs nothing.
    #[serde(default = "raw_body")]
    #[schema(value_type = String)]
    pub signed: Template,
    /// None if the timestamp is not signed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub timestamp: Option<SignedTimestamp>,
    /// Where the signed hash of a body is that is not a form: its SHA-256 in hex.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, nullable = false)]
    pub body_hash: Option<Place>,
    /// The form applies only to requests that meet these conditions.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub when: Vec<Condition>,
    /// Where the provider publishes its public key. Only sources of the catalogue have this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub key: Option<PublishedKey>,
    /// Where the request must have the secret, which then names the sender, such as its topic.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, nullable = false)]
    pub secret_at: Option<Place>,
    /// The claims that a token must have.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schema(value_type = BTreeMap<String, String>)]
    pub claims: BTreeMap<String, Template>,
    /// A JSON pointer to an array that must have one item, since only the first is signed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub single: Option<String>,
}

fn raw_body() -> Template {
    Template::try_from("{body}".to_owned()).unwrap_or_else(|_| unreachable!("a valid template"))
}

impl Signature {
    /// A signature in hex over the raw body.
    #[must_use]
    pub fn new(method: Method, at: Place) -> Self {
        Self {
            method,
            at,
            prefix: String::new(),
            field: None,
            separator: None,
            encoding: Encoding::Hex,
            signed: raw_body(),
            timestamp: None,
            body_hash: None,
            when: Vec::new(),
            key: None,
            secret_at: None,
            claims: BTreeMap::new(),
            single: None,
        }
    }

    fn fault(&self) -> Option<String> {
        if self.prefix.len() > 32 || !self.prefix.bytes().all(|b| (0x20..0x7f).contains(&b)) {
            return Some("a prefix has at most 32 visible ASCII characters".to_owned());
        }
        if self.key.is_some() || self.method.needs_published_key() {
            return Some("only sources of the catalogue have published keys".to_owned());
        }
        if self.when.len() > MAX_ALTERNATIVES {
            return Some(format!("at most {MAX_ALTERNATIVES} conditions"));
        }
        let tolerance = self.timestamp.as_ref().map(|own| own.tolerance_seconds);
        if tolerance.is_some_and(|seconds| !(1..=3_600).contains(&seconds)) {
            return Some("a tolerance is 1 to 3,600 seconds".to_owned());
        }
        None
    }
}

/// How a request proves its sender.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Method {
    /// For providers that offer nothing better.
    HmacSha1,
    HmacSha256,
    HmacSha512,
    /// The secret itself.
    Token,
    Ed25519,
    /// ECDSA over P-256 with SHA-256; the signature in ASN.1.
    EcdsaP256Sha256,
    /// A compact JWS (RFC 7515) with HS256, whose claim `sha256` is that of the raw body.
    JwsBodySha256,
    /// RSA (PKCS #1 1.5) with SHA-256, by a certificate of the provider.
    RsaSha256,
    /// A JSON Web Token (RFC 7519) with RS256, by a key of the provider. It signs no body.
    JwtRs256,
    /// A JSON Web Token (RFC 7519) with ES256, by a key of the provider. It signs the body by its
    /// claims.
    JwtEs256,
}

impl Method {
    #[must_use]
    pub fn needs_published_key(self) -> bool {
        matches!(self, Self::RsaSha256 | Self::JwtRs256 | Self::JwtEs256)
    }
}

/// How a signature is encoded.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Encoding {
    /// Either case.
    #[default]
    Hex,
    /// With padding (RFC 4648, section 4).
    Base64,
    /// Without padding (RFC 4648, section 5).
    Base64url,
    /// The bytes of the text.
    Text,
}

/// The signed timestamp of a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SignedTimestamp {
    #[schema(value_type = String)]
    pub at: Place,
    #[serde(default)]
    pub unit: TimeUnit,
    /// The largest accepted difference to the clock, either way.
    #[serde(default = "tolerance")]
    pub tolerance_seconds: u32,
}

fn tolerance() -> u32 {
    super::TOLERANCE_SECONDS
}

/// The form of a timestamp.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum TimeUnit {
    /// Since 1970.
    #[default]
    Seconds,
    /// Since 1970.
    Milliseconds,
    Rfc3339,
}

/// What a request has at a place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Condition {
    #[schema(value_type = String)]
    pub at: Place,
    /// The value; by default any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub equals: Option<String>,
    /// Whether there must be no value.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub absent: bool,
}

/// The secret of an endpoint.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SecretRule {
    pub origin: SecretOrigin,
    pub form: KeyForm,
}

/// Who creates the signing secret.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum SecretOrigin {
    /// The endpoint's owner chooses it, or AIAS generates it.
    #[default]
    Chosen,
    /// The provider creates it and shows it to the endpoint's owner.
    Provider,
    /// The provider sends it in a handshake, which sets it.
    Handshake,
}

/// How the secret's text becomes a key.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum KeyForm {
    /// Its UTF-8 bytes.
    #[default]
    Text,
    /// Base64, after `whsec_` or without it (Standard Webhooks).
    Whsec,
    Base64,
    Hex,
    /// A user name and a password with a colon between them.
    UserPassword,
    /// An Ed25519 public key in hex.
    Ed25519Public,
    /// A P-256 public key: the base64 of its DER, or PEM.
    P256Public,
}

/// A response in the form that a provider wants.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ProviderResponse {
    pub status: u16,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub content_type: Option<String>,
    /// By default the run's id and status. If it is empty, a refusal of the signature has no body
    /// either.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub body: Option<String>,
    /// A header of the request that the response repeats.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub repeats_header: Option<String>,
}
