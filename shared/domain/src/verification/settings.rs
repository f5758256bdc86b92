//! The verification settings of an endpoint.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    catalogue,
    place::{Place, is_token},
    scheme::{Encoding, Method, Scheme, SecretRule, Signature},
    template::Template,
};

/// The verification settings of an endpoint, without secrets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verification {
    /// `none`, `hmac`, `custom`, or the name of a source.
    pub scheme: String,
    /// Only for `hmac`.
    #[serde(flatten)]
    pub hmac: HmacOptions,
    /// Only for `custom`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub custom: Option<Box<Scheme>>,
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

/// The hash function of the HMAC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Algorithm {
    /// For providers that offer nothing better.
    Sha1,
    Sha256,
    Sha512,
}

/// Why a [`Verification`] is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    #[error("unknown scheme; the schemes are: {}", scheme_names().join(", "))]
    UnknownScheme,
    #[error("the scheme `hmac` needs `header`, the name of the header that has the signature")]
    HeaderMissing,
    #[error("the scheme `custom` needs `custom`, an object that describes the signature")]
    CustomMissing,
    #[error("{0}: {1}")]
    Custom(&'static str, String),
    #[error("only the scheme `{1}` has this member")]
    NotForScheme(&'static str, &'static str),
    #[error("not a header name (RFC 9110 token, at most 64 characters)")]
    BadHeader(&'static str),
    #[error("a prefix has at most 32 visible ASCII characters")]
    BadPrefix,
}

impl ConfigError {
    /// The member of the verification object that is wrong.
    #[must_use]
    pub fn member(&self) -> String {
        match self {
            Self::UnknownScheme => "scheme".to_owned(),
            Self::HeaderMissing => "header".to_owned(),
            Self::CustomMissing => "custom".to_owned(),
            Self::Custom(member, _) => format!("custom/{member}"),
            Self::NotForScheme(member, _) | Self::BadHeader(member) => (*member).to_owned(),
            Self::BadPrefix => "prefix".to_owned(),
        }
    }
}

/// The names of all schemes.
#[must_use]
pub fn scheme_names() -> Vec<&'static str> {
    let mut names = vec!["none", "hmac", "custom"];
    names.extend(catalogue::names());
    names
}

impl Verification {
    /// Whether requests are verified.
    #[must_use]
    pub fn is_signed(&self) -> bool {
        self.scheme().is_ok_and(|own| own.is_signed())
    }

    /// The scheme `none`.
    #[must_use]
    pub fn none() -> Self {
        Self::named("none")
    }

    /// A scheme without settings of its own.
    #[must_use]
    pub fn named(scheme: &str) -> Self {
        Self {
            scheme: scheme.to_owned(),
            hmac: HmacOptions::default(),
            custom: None,
        }
    }

    /// The scheme with these settings.
    ///
    /// # Errors
    ///
    /// When the scheme is unknown, or a setting does not belong to it.
    pub fn scheme(&self) -> Result<Scheme, ConfigError> {
        if self.scheme != "hmac"
            && let Some(member) = self.hmac.first_set()
        {
            return Err(ConfigError::NotForScheme(member, "hmac"));
        }
        if self.scheme != "custom" && self.custom.is_some() {
            return Err(ConfigError::NotForScheme("custom", "custom"));
        }
        match self.scheme.as_str() {
            "none" => Ok(Scheme::default()),
            "hmac" => self.hmac.scheme(),
            "custom" => {
                let custom = self.custom.as_deref().ok_or(ConfigError::CustomMissing)?;
                match custom.fault() {
                    Some((member, reason)) => Err(ConfigError::Custom(member, reason)),
                    None => Ok(custom.clone()),
                }
            }
            name => catalogue::scheme(name).ok_or(ConfigError::UnknownScheme),
        }
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
        let method = match self.algorithm {
            Some(Algorithm::Sha1) => Method::HmacSha1,
            Some(Algorithm::Sha512) => Method::HmacSha512,
            None | Some(Algorithm::Sha256) => Method::HmacSha256,
        };
        let event_id = match self.event_id_header.as_deref() {
            None => Vec::new(),
            Some(name) => {
                let name = header_name(name, "event_id_header")?;
                let template = Template::try_from(format!("{{header:{name}}}"));
                vec![template.map_err(|_| ConfigError::BadHeader("event_id_header"))?]
            }
        };
        Ok(Scheme {
            signatures: vec![Signature {
                prefix,
                encoding: self.encoding.unwrap_or_default(),
                ..Signature::new(method, Place::Header(header_name(header, "header")?))
            }],
            secret: SecretRule::default(),
            event_id,
            ..Scheme::default()
        })
    }
}

fn header_name(text: &str, member: &'static str) -> Result<String, ConfigError> {
    if text.len() <= 64 && is_token(text) {
        Ok(text.to_ascii_lowercase())
    } else {
        Err(ConfigError::BadHeader(member))
    }
}
