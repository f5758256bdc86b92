//! Public keys that a provider publishes: the certificate whose URL a request names, or a set of
//! keys (JWKS, RFC 7517).
//!
//! The URL of a certificate is in the request, so anybody can name one. It is fetched only if it is
//! the provider's own: the host and the path must match the source's pattern, and the URL has
//! nothing else, such as a query, that could make the provider's host return bytes of somebody
//! else's choice.

use std::collections::BTreeMap;

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use jiff::Timestamp;
use ring::signature::{RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents};
use rustls_pki_types::CertificateDer;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;
use webpki::EndEntityCert;

use super::{
    place::{Place, Values},
    scheme::Scheme,
    template::Template,
};

/// Where a provider publishes the public key of a signature.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
pub enum PublishedKey {
    /// A certificate (PEM), whose URL the request has.
    Certificate {
        #[schema(value_type = String, example = "body:/SigningCertURL")]
        at: Place,
        /// Its host; `*` stands for one label.
        hosts: Vec<String>,
        /// Its path; `*` stands for one part of it.
        path: String,
    },
    /// A set of keys (RFC 7517), of which the token names one.
    Jwks {
        #[schema(format = "uri")]
        url: String,
    },
}

/// The URL of a certificate is not the provider's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the URL of the certificate is missing, or not the provider's")]
pub struct ForeignUrl;

/// The URL of the key that verifies a request; none if the scheme has no published keys, or the
/// request has no signature.
///
/// # Errors
///
/// When the request names a certificate that is not the provider's.
pub fn key_url(scheme: &Scheme, values: &Values<'_>) -> Result<Option<String>, ForeignUrl> {
    let mut keys = scheme.signatures.iter().filter_map(|own| {
        let has_signature = values
            .get(&own.at)
            .is_some_and(|value| value.starts_with(&own.prefix));
        let applies = has_signature && own.when.iter().all(|condition| condition.holds(values));
        own.key.as_ref().filter(|_| applies)
    });
    match keys.next() {
        None => Ok(None),
        Some(PublishedKey::Jwks { url }) => Ok(Some(url.clone())),
        Some(PublishedKey::Certificate { at, hosts, path }) => {
            let url = values.get(at).ok_or(ForeignUrl)?;
            if is_own_url(&url, hosts, path) {
                Ok(Some(url.into_owned()))
            } else {
                Err(ForeignUrl)
            }
        }
    }
}

/// The longest URL of a certificate.
const MAX_URL: usize = 512;

/// Whether a URL has only a host and a path, and both match.
pub(super) fn is_own_url(url: &str, hosts: &[String], path: &str) -> bool {
    let rest = url
        .strip_prefix("https://")
        .filter(|_| url.len() <= MAX_URL);
    let Some((host, rest)) = rest.and_then(|rest| rest.split_once('/')) else {
        return false;
    };
    // Anything else could end the host earlier than here, such as `?`, `#`, `@` or `:`.
    let of_host = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'.');
    let of_path = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b'/');
    host.bytes().all(of_host)
        && rest.bytes().all(of_path)
        && !rest.contains("..")
        && !rest.contains("//")
        && hosts.iter().any(|own| parts_match(host, own, '.'))
        && parts_match(&format!("/{rest}"), path, '/')
}

/// Whether a text has the parts of a pattern. A part of the pattern with `*` matches a part with its
/// start and end.
fn parts_match(text: &str, pattern: &str, separator: char) -> bool {
    let (mut parts, mut patterns) = (text.split(separator), pattern.split(separator));
    loop {
        match (parts.next(), patterns.next()) {
            (None, None) => return true,
            (Some(part), Some(pattern)) => {
                let matches = match pattern.split_once('*') {
                    None => part == pattern,
                    Some((start, end)) => {
                        part.len() > start.len() + end.len()
                            && part.starts_with(start)
                            && part.ends_with(end)
                    }
                };
                if !matches {
                    return false;
                }
            }
            _ => return false,
        }
    }
}

/// Whether the first certificate of a PEM file has signed these bytes: RSA with SHA-256.
pub(super) fn certificate_verifies(pem: &[u8], signed: &[u8], signature: &[u8]) -> bool {
    let Some(der) = first_certificate(pem).map(CertificateDer::from) else {
        return false;
    };
    let Ok(certificate) = EndEntityCert::try_from(&der) else {
        return false;
    };
    let algorithm = webpki::ring::RSA_PKCS1_2048_8192_SHA256;
    certificate
        .verify_signature(algorithm, signed, signature)
        .is_ok()
}

fn first_certificate(pem: &[u8]) -> Option<Vec<u8>> {
    let text = str::from_utf8(pem).ok()?;
    let (_, rest) = text.split_once("-----BEGIN CERTIFICATE-----")?;
    let (base64, _) = rest.split_once("-----END CERTIFICATE-----")?;
    let base64: String = base64.split_ascii_whitespace().collect();
    STANDARD.decode(base64).ok()
}

/// How much a clock may differ from that of the issuer, in seconds.
const LEEWAY: i64 = 60;

#[derive(Deserialize)]
struct KeySet {
    keys: Vec<Key>,
}

#[derive(Deserialize)]
struct Key {
    kid: Option<String>,
    kty: String,
    n: Option<String>,
    e: Option<String>,
}

#[derive(Deserialize)]
struct TokenHeader {
    alg: String,
    kid: String,
}

/// Whether a JSON Web Token (RFC 7519) with RS256 is of a key in this set, is valid now, and has
/// these claims.
pub(super) fn token_verifies(
    jwks: &[u8],
    token: &[u8],
    claims: &BTreeMap<String, Template>,
    values: &Values<'_>,
    secret: &[u8],
    now: Timestamp,
) -> bool {
    verified_claims(jwks, token).is_some_and(|own| {
        let seconds = |name: &str| own[name].as_i64();
        let is_valid = seconds("exp")
            .is_some_and(|at| now.as_second() <= at.saturating_add(LEEWAY))
            && ["iat", "nbf"].into_iter().all(|name| {
                seconds(name).is_none_or(|at| now.as_second() >= at.saturating_sub(LEEWAY))
            });
        is_valid
            && claims.iter().all(|(name, expected)| {
                let expected = expected
                    .fill(values, None, secret)
                    .map(|parts| parts.concat());
                let value = &own[name];
                let claimed = value
                    .as_str()
                    .map_or_else(|| value.to_string(), str::to_owned);
                expected.is_ok_and(|expected| expected == claimed.as_bytes())
            })
    })
}

/// The claims of a token, if its signature verifies.
fn verified_claims(jwks: &[u8], token: &[u8]) -> Option<Value> {
    let token = str::from_utf8(token).ok()?;
    let (signed, signature) = token.rsplit_once('.')?;
    let (header, claims) = signed.split_once('.')?;
    let decode = |text: &str| URL_SAFE_NO_PAD.decode(text).ok();
    let header: TokenHeader = serde_json::from_slice(&decode(header)?).ok()?;
    if header.alg != "RS256" {
        return None;
    }
    let set: KeySet = serde_json::from_slice(jwks).ok()?;
    let is_named = |key: &&Key| key.kty == "RSA" && key.kid.as_deref() == Some(&*header.kid);
    let key = set.keys.iter().find(is_named)?;
    let components = RsaPublicKeyComponents {
        n: decode(key.n.as_ref()?)?,
        e: decode(key.e.as_ref()?)?,
    };
    let signature = decode(signature)?;
    components
        .verify(&RSA_PKCS1_2048_8192_SHA256, signed.as_bytes(), &signature)
        .ok()?;
    serde_json::from_slice(&decode(claims)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_providers_own_urls_are_fetched() {
        let hosts = ["sns.*.amazonaws.com".to_owned()];
        let own = |url: &str| is_own_url(url, &hosts, "/SimpleNotificationService-*.pem");
        assert!(own(
            "https://sns.eu-west-1.amazonaws.com/SimpleNotificationService-0123abc.pem"
        ));
        for foreign in [
            "http://sns.eu-west-1.amazonaws.com/SimpleNotificationService-0.pem",
            "https://sns.eu-west-1.amazonaws.com.evil.example/SimpleNotificationService-0.pem",
            "https://evil.example/sns.eu-west-1.amazonaws.com/SimpleNotificationService-0.pem",
            "https://sns.evil.example/x.amazonaws.com/SimpleNotificationService-0.pem",
            "https://evil.example#sns.eu-west-1.amazonaws.com/SimpleNotificationService-0.pem",
            "https://a@sns.eu-west-1.amazonaws.com/SimpleNotificationService-0.pem",
            "https://sns.eu-west-1.amazonaws.com:444/SimpleNotificationService-0.pem",
            "https://sns.evil?x.amazonaws.com/SimpleNotificationService-0.pem",
            "https://sns.evil#x.amazonaws.com/SimpleNotificationService-0.pem",
            "https://sns.evil:1@x.amazonaws.com/SimpleNotificationService-0.pem",
            "https://sns.a@s3.amazonaws.com/SimpleNotificationService-0.pem",
            "https://sns.evil\\x.amazonaws.com/SimpleNotificationService-0.pem",
            "https://sns.a%2eb.amazonaws.com/SimpleNotificationService-0.pem",
            "https://sns.a b.amazonaws.com/SimpleNotificationService-0.pem",
            "https://sns..amazonaws.com/SimpleNotificationService-0.pem",
            "https://sns.a.b.amazonaws.com/SimpleNotificationService-0.pem",
            "https://sns.eu-west-1.amazonaws.com/?Action=x&SimpleNotificationService-0.pem",
            "https://sns.eu-west-1.amazonaws.com/SimpleNotificationService-0.pem?x=.pem",
            "https://sns.eu-west-1.amazonaws.com/SimpleNotificationService-%0a.pem",
            "https://sns.eu-west-1.amazonaws.com/a/SimpleNotificationService-0.pem",
            "https://sns.eu-west-1.amazonaws.com/SimpleNotificationService-../x.pem",
            "https://sns.eu-west-1.amazonaws.com\\@evil.example/SimpleNotificationService-0.pem",
            "https://sns.eu-west-1.amazonaws.com",
            "",
        ] {
            assert!(!own(foreign), "{foreign}");
        }
    }
}
