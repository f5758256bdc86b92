//! Verifies the signature of a request.

use std::borrow::Cow;

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use hmac::{Hmac, KeyInit, Mac};
use jiff::Timestamp;
use ring::signature::{ECDSA_P256_SHA256_ASN1, ED25519, UnparsedPublicKey, VerificationAlgorithm};
use sha1::Sha1;
use sha2::{Digest as _, Sha256, Sha512};
use subtle::ConstantTimeEq;

use super::{
    place::{Place, Values},
    published::{certificate_verifies, token_verifies},
    scheme::{Condition, Encoding, KeyForm, Method, Scheme, Signature, TimeUnit},
    settings::Algorithm,
    template::MissingValue,
};

/// The largest accepted difference between the signed timestamp and the clock, in seconds, unless
/// the scheme has another one.
pub const TOLERANCE_SECONDS: u32 = 300;

/// How many signatures of one request are checked; further ones are ignored.
const MAX_SIGNATURES: usize = 8;

/// The key of a secret; `None` when the text does not have the scheme's form or length (1 to 512
/// characters).
#[must_use]
pub fn key_bytes(form: KeyForm, secret: &str) -> Option<Vec<u8>> {
    if !(1..=512).contains(&secret.len()) {
        return None;
    }
    let key = match form {
        KeyForm::Text => secret.as_bytes().to_vec(),
        KeyForm::Whsec => {
            let text = secret.strip_prefix("v1,").unwrap_or(secret);
            let key = STANDARD
                .decode(text.strip_prefix("whsec_").unwrap_or(text))
                .ok()?;
            // Standard Webhooks requires 24 to 64 bytes.
            return (24..=64).contains(&key.len()).then_some(key);
        }
        KeyForm::UserPassword => secret.contains(':').then(|| secret.as_bytes().to_vec())?,
        KeyForm::Base64 => STANDARD.decode(secret).ok()?,
        KeyForm::Hex => hex::decode(secret).ok()?,
        KeyForm::Ed25519Public => hex::decode(secret).ok().filter(|key| key.len() == 32)?,
        KeyForm::P256Public => p256_point(secret)?,
    };
    (!key.is_empty()).then_some(key)
}

/// The DER of a P-256 public key before its point (RFC 5480).
const P256_PREFIX: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a,
    0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];

fn p256_point(text: &str) -> Option<Vec<u8>> {
    let lines = text.lines().filter(|line| !line.starts_with("-----"));
    let der = STANDARD.decode(lines.collect::<String>().trim()).ok()?;
    let point = der.strip_prefix(&P256_PREFIX)?;
    (point.len() == 65).then(|| point.to_vec())
}

/// Why a request is not verified. The response does not say it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The place of the signature has none.
    #[error("the request has no signature at {0}")]
    Missing(String),
    #[error("a signed value is missing: {0}")]
    Incomplete(String),
    #[error("the signed timestamp is missing or malformed")]
    BadTimestamp,
    /// Seconds, negative if the timestamp is in the future.
    #[error("the signed timestamp is {0} seconds old")]
    Stale(i64),
    #[error("the signature does not match")]
    Mismatch,
    /// The public key of the provider is not there.
    #[error(
        "there is no public key of the provider: the request names none at the provider's hosts, or it was not fetched"
    )]
    NoKey,
}

impl Refusal {
    /// A short name.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Missing(_) => "no-signature",
            Self::Incomplete(_) => "signed-value-missing",
            Self::BadTimestamp => "bad-timestamp",
            Self::Stale(_) => "timestamp-too-old",
            Self::Mismatch => "bad-signature",
            Self::NoKey => "no-published-key",
        }
    }
}

/// Verifies a request and returns the index of the key that signed it.
///
/// Every key is tried with every signature, whether or not an earlier one matched, and digests and
/// tokens are compared in constant time. A scheme without signatures verifies nothing: the caller
/// must not ask.
///
/// # Errors
///
/// When the request is not verified.
pub fn verify(
    scheme: &Scheme,
    keys: &[Vec<u8>],
    values: &Values<'_>,
    now: Timestamp,
) -> Result<usize, Refusal> {
    let mut refused = None;
    for signature in &scheme.signatures {
        match verify_form(signature, keys, values, now) {
            Ok(index) => return Ok(index),
            // The reason of the first form that the request has.
            Err(Refusal::Missing(place)) => {
                refused.get_or_insert(Refusal::Missing(place));
            }
            Err(refusal) if matches!(refused, None | Some(Refusal::Missing(_))) => {
                refused = Some(refusal);
            }
            Err(_) => {}
        }
    }
    Err(refused.unwrap_or(Refusal::Mismatch))
}

fn verify_form(
    signature: &Signature,
    keys: &[Vec<u8>],
    values: &Values<'_>,
    now: Timestamp,
) -> Result<usize, Refusal> {
    let missing = || Refusal::Missing(signature.at.to_string());
    if !signature.when.iter().all(|own| own.holds(values)) {
        return Err(missing());
    }
    let value = values.get(&signature.at).ok_or_else(missing)?;
    let claimed = signatures(signature, &value);
    if claimed.is_empty() {
        return Err(missing());
    }
    if let Some(pointer) = &signature.single {
        let array = values.json().and_then(|body| body.pointer(pointer));
        if array.and_then(|own| own.as_array()).map(Vec::len) != Some(1) {
            return Err(Refusal::Incomplete(format!("one item at {pointer}")));
        }
    }
    let published = values.published_key();
    if signature.key.is_some() && published.is_none() {
        return Err(Refusal::NoKey);
    }
    let (read_with, published) = published.map_or((None, &[][..]), |(request, key)| {
        (request.secret.as_deref(), key)
    });
    let stamp = timestamp(signature, &value, values)?;
    check_body_hash(signature, values)?;
    let mut found = None;
    for (index, key) in keys.iter().enumerate() {
        if let Some(place) = &signature.secret_at
            && !values
                .get(place)
                .is_some_and(|own| is_equal(key, own.as_bytes()))
        {
            continue;
        }
        if read_with.is_some_and(|secret| !is_equal(secret, key)) {
            continue;
        }
        let parts = signature
            .signed
            .fill(values, stamp.as_deref(), key)
            .map_err(|MissingValue(name)| Refusal::Incomplete(name))?;
        let parts: Vec<&[u8]> = parts.iter().map(AsRef::as_ref).collect();
        let expected = hmac_of(signature.method).map(|algorithm| digest(algorithm, key, &parts));
        for candidate in &claimed {
            let matches = match (&expected, signature.method) {
                (Some(expected), _) => is_equal(expected, candidate),
                (None, Method::Token) => is_equal(key, candidate),
                (None, Method::Ed25519) => public(&ED25519, key, &parts, candidate),
                (None, Method::EcdsaP256Sha256) => {
                    public(&ECDSA_P256_SHA256_ASN1, key, &parts, candidate)
                }
                (None, Method::JwsBodySha256) => jws(key, candidate, values.request.body),
                (None, Method::RsaSha256) => {
                    certificate_verifies(published, &parts.concat(), candidate)
                }
                (None, Method::JwtRs256 | Method::JwtEs256) => {
                    token_verifies(published, candidate, signature, values, key, now)
                }
                (None, Method::HmacSha1 | Method::HmacSha256 | Method::HmacSha512) => false,
            };
            if matches && found.is_none() {
                found = Some(index);
            }
        }
    }
    let index = found.ok_or(Refusal::Mismatch)?;
    if let (Some(rule), Some(stamp)) = (&signature.timestamp, stamp) {
        check_age(rule.unit, rule.tolerance_seconds, &stamp, now)?;
    }
    Ok(index)
}

impl Condition {
    #[must_use]
    pub fn holds(&self, values: &Values<'_>) -> bool {
        match (values.get(&self.at), &self.equals) {
            (found, _) if self.absent => found.is_none(),
            (Some(found), Some(expected)) => found == *expected,
            (found, None) => found.is_some(),
            (None, Some(_)) => false,
        }
    }
}

fn is_equal(own: &[u8], other: &[u8]) -> bool {
    own.ct_eq(other).into()
}

fn public(
    algorithm: &'static dyn VerificationAlgorithm,
    key: &[u8],
    parts: &[&[u8]],
    signature: &[u8],
) -> bool {
    let key = UnparsedPublicKey::new(algorithm, key);
    key.verify(&parts.concat(), signature).is_ok()
}

/// Whether a compact JWS with HS256 has this key, and the hash of the body.
fn jws(key: &[u8], token: &[u8], body: &[u8]) -> bool {
    let token = String::from_utf8_lossy(token);
    let Some((signed, signature)) = token.rsplit_once('.') else {
        return false;
    };
    let Some((header, claims)) = signed.split_once('.') else {
        return false;
    };
    let json = |text: &str| -> Option<serde_json::Value> {
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(text).ok()?).ok()
    };
    let is_hs256 = json(header).is_some_and(|own| own["alg"] == "HS256");
    let hash = hex::encode(Sha256::digest(body));
    let has_hash = json(claims).is_some_and(|own| own["sha256"] == hash);
    let expected = digest(Algorithm::Sha256, key, &[signed.as_bytes()]);
    let given = URL_SAFE_NO_PAD.decode(signature).unwrap_or_default();
    is_equal(&expected, &given) && is_hs256 && has_hash
}

pub(super) fn hmac_of(method: Method) -> Option<Algorithm> {
    match method {
        Method::HmacSha1 => Some(Algorithm::Sha1),
        Method::HmacSha256 => Some(Algorithm::Sha256),
        Method::HmacSha512 => Some(Algorithm::Sha512),
        Method::Token
        | Method::Ed25519
        | Method::EcdsaP256Sha256
        | Method::JwsBodySha256
        | Method::RsaSha256
        | Method::JwtRs256
        | Method::JwtEs256 => None,
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
        Encoding::Base64url => URL_SAFE_NO_PAD.decode(text.trim_end_matches('=')).ok(),
        Encoding::Text => (!text.is_empty()).then(|| text.as_bytes().to_vec()),
    };
    let bare = |text: &str| {
        text.trim()
            .strip_prefix(signature.prefix.as_str())
            .and_then(decode)
    };
    match (&signature.field, signature.separator) {
        (Some(name), separator) => fields(value, separator)
            .filter(|(own, _)| own == name)
            .filter_map(|(_, text)| decode(text))
            .take(MAX_SIGNATURES)
            .collect(),
        (None, Some(separator)) => value
            .split(separator)
            .filter_map(bare)
            .take(MAX_SIGNATURES)
            .collect(),
        (None, None) => bare(value).into_iter().collect(),
    }
}

/// The pairs of a list. Space also separates them: Persona sends one list for each of its secrets.
fn fields(value: &str, separator: Option<char>) -> impl Iterator<Item = (&str, &str)> {
    let separators = [separator.unwrap_or(','), ' '];
    value
        .split(separators)
        .filter_map(|pair| pair.split_once('='))
}

/// The signed timestamp as received.
pub(super) fn timestamp<'a>(
    signature: &Signature,
    value: &'a str,
    values: &'a Values<'_>,
) -> Result<Option<Cow<'a, str>>, Refusal> {
    let Some(rule) = &signature.timestamp else {
        return Ok(None);
    };
    let found = match &rule.at {
        Place::Field(name) => fields(value, signature.separator)
            .find(|(own, _)| own == name)
            .map(|(_, text)| Cow::Borrowed(text)),
        place @ (Place::Header(_) | Place::Query(_) | Place::Form(_) | Place::Body(_)) => {
            values.get(place)
        }
    };
    found.map(Some).ok_or(Refusal::BadTimestamp)
}

/// A signed form proves its fields. Any other body must have its hash where the scheme says; only
/// an empty one may be without.
fn check_body_hash(signature: &Signature, values: &Values<'_>) -> Result<(), Refusal> {
    if !signature.signed.reads_form() || values.is_form() {
        return Ok(());
    }
    let claimed = signature.body_hash.as_ref().map(|place| values.get(place));
    let Some(claimed) = claimed.flatten() else {
        if values.request.body.is_empty() {
            return Ok(());
        }
        let missing = signature.body_hash.as_ref().map(ToString::to_string);
        return Err(Refusal::Incomplete(
            missing.unwrap_or_else(|| "a form as body".to_owned()),
        ));
    };
    let own = hex::encode(Sha256::digest(values.request.body));
    if is_equal(own.as_bytes(), claimed.to_ascii_lowercase().as_bytes()) {
        Ok(())
    } else {
        Err(Refusal::Mismatch)
    }
}

fn check_age(unit: TimeUnit, tolerance: u32, stamp: &str, now: Timestamp) -> Result<(), Refusal> {
    let number = || stamp.parse::<i64>().map_err(|_| Refusal::BadTimestamp);
    let at = match unit {
        TimeUnit::Seconds => number()?,
        TimeUnit::Milliseconds => number()?.div_euclid(1_000),
        TimeUnit::Rfc3339 => stamp
            .parse::<Timestamp>()
            .map_err(|_| Refusal::BadTimestamp)?
            .as_second(),
    };
    if now.as_second().abs_diff(at) <= u64::from(tolerance) {
        Ok(())
    } else {
        Err(Refusal::Stale(now.as_second().saturating_sub(at)))
    }
}
