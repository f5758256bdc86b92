//! The verification settings of an endpoint.

use serde::{Deserialize, Serialize};

use super::schemes::{
    Algorithm, Carrier, Encoding, EventIdSource, Handshake, KeyForm, Part, ROWS, Row, Scheme,
    SecretOrigin, Signature, scheme_names,
};

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
    /// Whether the scheme has signatures.
    #[must_use]
    pub fn is_signed(&self) -> bool {
        self.scheme != "none"
    }

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
                ping: None,
                payload_field: None,
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
            ping: None,
            payload_field: None,
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
