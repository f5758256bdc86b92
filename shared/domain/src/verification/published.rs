//! Public keys that a provider publishes: the certificate whose URL a request names, a set of keys
//! (JWKS, RFC 7517), or one key that the provider's API returns for its name.
//!
//! The URL of a certificate is in the request, so anybody can name one. It is fetched only if it is
//! the provider's own: the host and the path must match the source's pattern, and the URL has
//! nothing else, such as a query, that could make the provider's host return bytes of somebody
//! else's choice.

use std::fmt;

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use jiff::Timestamp;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents, UnparsedPublicKey,
};
use rustls_pki_types::CertificateDer;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use utoipa::ToSchema;
use webpki::EndEntityCert;

use super::{
    place::{Place, Values},
    scheme::{Method, Scheme, Signature},
    verify::TOLERANCE_SECONDS,
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
    /// A key (RFC 7517) that the provider's API returns for the name which the token has. The signing
    /// secret is the name and the secret of a client of this API, with a colon between them.
    Lookup {
        #[schema(format = "uri")]
        url: String,
    },
}

/// The request for a published key.
#[derive(Clone, PartialEq, Eq)]
pub struct KeyRequest {
    pub url: String,
    /// The JSON of a `POST`, which contains credentials. Without it, the request is a `GET`.
    pub body: Option<String>,
    /// The signing secret with which the key is read. The key verifies nothing for another secret.
    pub secret: Option<Vec<u8>>,
}

impl KeyRequest {
    /// A `GET`.
    #[must_use]
    pub fn get(url: String) -> Self {
        Self {
            url,
            body: None,
            secret: None,
        }
    }

    /// What distinguishes it from other requests. It does not reveal credentials.
    #[must_use]
    pub fn name(&self) -> String {
        match &self.body {
            None => self.url.clone(),
            Some(body) => format!("{}#{}", self.url, hex::encode(Sha256::digest(body))),
        }
    }
}

impl fmt::Debug for KeyRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("KeyRequest").field(&self.name()).finish()
    }
}

/// The request names no key of the provider.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the request names no key, or one that is not the provider's")]
pub struct UnknownKey;

/// How the key that verifies a request is fetched; none if the scheme has no published keys, or the
/// request has no signature. A lookup uses the endpoint's newest `secret`.
///
/// # Errors
///
/// When the request does not name a key of the provider.
pub fn key_request(
    scheme: &Scheme,
    secret: Option<&[u8]>,
    values: &Values<'_>,
) -> Result<Option<KeyRequest>, UnknownKey> {
    let mut keys = scheme.signatures.iter().filter_map(|own| {
        let has_signature = values
            .get(&own.at)
            .is_some_and(|value| value.starts_with(&own.prefix));
        let applies = has_signature && own.when.iter().all(|condition| condition.holds(values));
        let key = own.key.as_ref().filter(|_| applies)?;
        Some((own, key))
    });
    match keys.next() {
        None => Ok(None),
        Some((_, PublishedKey::Jwks { url })) => Ok(Some(KeyRequest::get(url.clone()))),
        Some((_, PublishedKey::Certificate { at, hosts, path })) => {
            let url = values.get(at).ok_or(UnknownKey)?;
            if is_own_url(&url, hosts, path) {
                Ok(Some(KeyRequest::get(url.into_owned())))
            } else {
                Err(UnknownKey)
            }
        }
        Some((own, PublishedKey::Lookup { url })) => {
            let token = values.get(&own.at).ok_or(UnknownKey)?;
            let token = token.strip_prefix(own.prefix.as_str()).ok_or(UnknownKey)?;
            let key_id = key_id(own.method, token).ok_or(UnknownKey)?;
            let secret = secret.ok_or(UnknownKey)?;
            let credentials = str::from_utf8(secret).map_err(|_| UnknownKey)?;
            let (client_id, client_secret) = credentials.split_once(':').ok_or(UnknownKey)?;
            let body = json!({"client_id": client_id, "secret": client_secret, "key_id": key_id});
            Ok(Some(KeyRequest {
                url: url.clone(),
                body: Some(body.to_string()),
                secret: Some(secret.to_vec()),
            }))
        }
    }
}

/// The name of the key of a token, if the token has the method's algorithm.
fn key_id(method: Method, token: &str) -> Option<String> {
    const LONGEST: usize = 64;
    let (header, _) = token.split_once('.')?;
    let header = TokenHeader::parse(header, method)?;
    let is_name = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
    let fits = header.kid.len() <= LONGEST && header.kid.bytes().all(is_name);
    fits.then_some(header.kid)
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

/// A set of keys, or the response with one key.
#[derive(Deserialize)]
struct KeySet {
    #[serde(default)]
    keys: Vec<Key>,
    key: Option<Key>,
}

#[derive(Deserialize)]
struct Key {
    kid: Option<String>,
    kty: String,
    /// RSA.
    n: Option<String>,
    e: Option<String>,
    /// An elliptic curve.
    crv: Option<String>,
    x: Option<String>,
    y: Option<String>,
    /// When the provider stopped using it.
    #[serde(default)]
    expired_at: Value,
}

#[derive(Deserialize)]
struct TokenHeader {
    alg: String,
    kid: String,
}

fn decode(text: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text).ok()
}

impl TokenHeader {
    /// The header, if it has the method's algorithm.
    fn parse(text: &str, method: Method) -> Option<Self> {
        let header: Self = serde_json::from_slice(&decode(text)?).ok()?;
        let is_of_method = match header.alg.as_str() {
            "RS256" => method == Method::JwtRs256,
            "ES256" => method == Method::JwtEs256,
            _ => false,
        };
        is_of_method.then_some(header)
    }
}

impl Key {
    /// Whether the key has signed these bytes.
    fn verifies(&self, method: Method, signed: &[u8], signature: &[u8]) -> Option<bool> {
        let part = |part: &Option<String>| decode(part.as_ref()?);
        let verified = match (method, self.kty.as_str()) {
            (Method::JwtRs256, "RSA") => {
                let (n, e) = (part(&self.n)?, part(&self.e)?);
                let key = RsaPublicKeyComponents { n, e };
                key.verify(&RSA_PKCS1_2048_8192_SHA256, signed, signature)
            }
            (Method::JwtEs256, "EC") if self.crv.as_deref() == Some("P-256") => {
                // An uncompressed point (SEC 1, section 2.3.3).
                let point = [vec![4], part(&self.x)?, part(&self.y)?].concat();
                let key = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point);
                key.verify(signed, signature)
            }
            _ => return None,
        };
        Some(verified.is_ok())
    }
}

/// Whether a JSON Web Token (RFC 7519) is of a key in this set, is valid now, and has the claims of
/// the signature. A token without an end is valid for as long as a signed timestamp.
pub(super) fn token_verifies(
    jwks: &[u8],
    token: &[u8],
    own: &Signature,
    values: &Values<'_>,
    secret: &[u8],
    now: Timestamp,
) -> bool {
    verified_claims(jwks, token, own.method).is_some_and(|claimed| {
        let seconds = |name: &str| claimed[name].as_i64();
        let end = seconds("exp").map(|at| at.saturating_add(LEEWAY));
        let end = end.or_else(|| Some(seconds("iat")?.saturating_add(TOLERANCE_SECONDS.into())));
        let is_valid = end.is_some_and(|end| now.as_second() <= end)
            && ["iat", "nbf"].into_iter().all(|name| {
                seconds(name).is_none_or(|at| now.as_second() >= at.saturating_sub(LEEWAY))
            });
        is_valid
            && own.claims.iter().all(|(name, expected)| {
                let expected = expected
                    .fill(values, None, secret)
                    .map(|parts| parts.concat());
                let value = &claimed[name];
                let text = value
                    .as_str()
                    .map_or_else(|| value.to_string(), str::to_owned);
                expected.is_ok_and(|expected| expected == text.as_bytes())
            })
    })
}

/// The claims of a token, if its signature verifies.
fn verified_claims(jwks: &[u8], token: &[u8], method: Method) -> Option<Value> {
    let token = str::from_utf8(token).ok()?;
    let (signed, signature) = token.rsplit_once('.')?;
    let (header, claims) = signed.split_once('.')?;
    let header = TokenHeader::parse(header, method)?;
    let set: KeySet = serde_json::from_slice(jwks).ok()?;
    let is_named =
        |key: &&Key| key.kid.as_deref() == Some(&*header.kid) && key.expired_at.is_null();
    let key = set.keys.iter().chain(&set.key).find(is_named)?;
    let is_verified = key.verifies(method, signed.as_bytes(), &decode(signature)?)?;
    is_verified.then(|| serde_json::from_slice(&decode(claims)?).ok())?
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
