//! Verifies the signature of a request.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit, Mac};
use jiff::Timestamp;
use sha1::Sha1;
use sha2::{Sha256, Sha512};
use subtle::ConstantTimeEq;

use super::schemes::{Algorithm, Carrier, Encoding, KeyForm, Part, Signature, TimestampSource};

/// The largest accepted difference between the signed timestamp and the clock, in seconds, either
/// way.
pub const TOLERANCE_SECONDS: i64 = 300;

/// How many signatures of one request are checked; further ones are ignored.
const MAX_SIGNATURES: usize = 8;

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
