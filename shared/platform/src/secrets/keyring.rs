//! The keyring: one secret in Secrets Manager. The keys for all hashes and sealed strings are
//! derived from it.
//!
//! ```json
//! {"current": "k1", "k1": "<at least 32 characters>", "k0": "<the previous key>"}
//! ```
//! New hashes and sealed strings are made with `current`; those made with any other key of the
//! keyring are still valid. To rotate, add a key and make it `current`; there is no downtime
//! (`docs/operations.md`).

use std::collections::BTreeMap;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use chacha20poly1305::{
    KeyInit as _, XChaCha20Poly1305, XNonce,
    aead::{Aead as _, Payload},
};
use hkdf::Hkdf;
use hmac::{Hmac, Mac as _};
use secrecy::{ExposeSecret as _, SecretString};
use sha2::Sha256;
use subtle::ConstantTimeEq as _;

use super::{Error, FromSecret};
use crate::clock::random;

/// The purpose of a keyed hash. Each purpose has its own derived key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Purpose {
    /// The secret in a webhook URL.
    UrlSecret,
    /// The token of an API key.
    ApiKey,
    /// The cursor of a list.
    Cursor,
    /// The token of an invitation.
    Invitation,
}

impl Purpose {
    fn label(self) -> &'static [u8] {
        match self {
            Self::UrlSecret => b"aias url secret",
            Self::ApiKey => b"aias api key",
            Self::Cursor => b"aias cursor",
            Self::Invitation => b"aias invitation",
        }
    }
}

struct Keys {
    hash: BTreeMap<Purpose, [u8; 32]>,
    seal: XChaCha20Poly1305,
}

pub struct Keyring {
    current: String,
    keys: BTreeMap<String, Keys>,
}

impl std::fmt::Debug for Keyring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Keyring")
            .field("current", &self.current)
            .finish_non_exhaustive()
    }
}

impl Keyring {
    /// Parses a keyring.
    ///
    /// # Errors
    ///
    /// When the string is not a keyring, or a key is too short.
    pub fn read(text: &SecretString) -> Result<Self, Error> {
        let mut members: BTreeMap<String, String> = serde_json::from_str(text.expose_secret())
            .map_err(|_| Error::Malformed("not an object of strings"))?;
        let current = members
            .remove("current")
            .ok_or(Error::Malformed("no `current`"))?;
        if !members.contains_key(&current) {
            return Err(Error::Malformed("`current` names no key"));
        }
        let mut keys = BTreeMap::new();
        for (id, key) in members {
            let id_fits =
                (1..=16).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_alphanumeric());
            if !id_fits {
                return Err(Error::Malformed(
                    "a key id must have 1 to 16 letters and digits",
                ));
            }
            if key.len() < 32 {
                return Err(Error::Malformed("a key must have at least 32 characters"));
            }
            keys.insert(id, Keys::derive(key.as_bytes()));
        }
        Ok(Self { current, keys })
    }

    /// The keyed hash by the current key: `<key id>.<base64url>`.
    #[must_use]
    pub fn hash(&self, purpose: Purpose, parts: &[&[u8]]) -> String {
        self.hash_with(&self.current, purpose, parts)
            .unwrap_or_default()
    }

    /// The keyed hashes by every key, the current one first.
    #[must_use]
    pub fn hashes(&self, purpose: Purpose, parts: &[&[u8]]) -> Vec<String> {
        let others = self.keys.keys().filter(|id| **id != self.current);
        std::iter::once(&self.current)
            .chain(others)
            .filter_map(|id| self.hash_with(id, purpose, parts))
            .collect()
    }

    /// Whether `hash` is the keyed hash of `parts` by any key.
    #[must_use]
    pub fn is_hash(&self, purpose: Purpose, parts: &[&[u8]], hash: &str) -> bool {
        self.hashes(purpose, parts)
            .iter()
            .fold(false, |found, own| {
                found | bool::from(own.as_bytes().ct_eq(hash.as_bytes()))
            })
    }

    fn hash_with(&self, id: &str, purpose: Purpose, parts: &[&[u8]]) -> Option<String> {
        let key = self.keys.get(id)?.hash.get(&purpose)?;
        let mut mac = <Hmac<Sha256> as hmac::KeyInit>::new_from_slice(key).ok()?;
        for part in parts {
            // Lengths are included, so that different lists of parts never have the same bytes.
            mac.update(&(part.len() as u64).to_be_bytes());
            mac.update(part);
        }
        Some(format!(
            "{id}.{}",
            URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes())
        ))
    }

    /// Seals a string for one context: XChaCha20-Poly1305 with the context as associated data.
    ///
    /// # Errors
    ///
    /// Only when encryption fails, which no string in memory causes.
    pub fn seal(&self, place: &str, text: &[u8]) -> Result<String, Error> {
        let keys = self.keys.get(&self.current).ok_or(Error::Sealed)?;
        let nonce: [u8; 24] = random();
        let payload = Payload {
            msg: text,
            aad: place.as_bytes(),
        };
        let sealed = keys
            .seal
            .encrypt(&XNonce::from(nonce), payload)
            .map_err(|_| Error::Sealed)?;
        let bytes = [nonce.as_slice(), sealed.as_slice()].concat();
        Ok(format!(
            "{}.{}",
            self.current,
            URL_SAFE_NO_PAD.encode(bytes)
        ))
    }

    /// As [`Keyring::open`], for strings that end with a rotation: only the current key opens them.
    ///
    /// # Errors
    ///
    /// As [`Keyring::open`], and when it was sealed with another key.
    pub fn open_current(&self, place: &str, sealed: &str) -> Result<Vec<u8>, Error> {
        match sealed.split_once('.') {
            Some((id, _)) if id == self.current => self.open(place, sealed),
            _ => Err(Error::Sealed),
        }
    }

    /// Opens a string that was sealed for this context.
    ///
    /// # Errors
    ///
    /// When it was sealed for another context or with a removed key, or was modified.
    pub fn open(&self, place: &str, sealed: &str) -> Result<Vec<u8>, Error> {
        let (id, text) = sealed.split_once('.').ok_or(Error::Sealed)?;
        let keys = self.keys.get(id).ok_or(Error::Sealed)?;
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| Error::Sealed)?;
        let (nonce, sealed) = bytes.split_first_chunk::<24>().ok_or(Error::Sealed)?;
        let payload = Payload {
            msg: sealed,
            aad: place.as_bytes(),
        };
        keys.seal
            .decrypt(&XNonce::from(*nonce), payload)
            .map_err(|_| Error::Sealed)
    }
}

impl Keys {
    fn derive(key: &[u8]) -> Self {
        let hkdf = Hkdf::<Sha256>::new(None, key);
        let derive = |label: &[u8]| {
            let mut bytes = [0; 32];
            // HKDF can output 32 bytes.
            let _ = hkdf.expand(label, &mut bytes);
            bytes
        };
        let purposes = [
            Purpose::UrlSecret,
            Purpose::ApiKey,
            Purpose::Cursor,
            Purpose::Invitation,
        ];
        Self {
            hash: purposes
                .into_iter()
                .map(|p| (p, derive(p.label())))
                .collect(),
            seal: XChaCha20Poly1305::new(&derive(b"aias sealed text").into()),
        }
    }
}

impl FromSecret for Keyring {
    fn from_secret(text: &SecretString) -> Result<Self, Error> {
        Self::read(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keyring(text: &str) -> Keyring {
        Keyring::read(&SecretString::from(text.to_owned())).unwrap()
    }

    const OLD: &str = r#"{"current":"k1","k1":"0123456789abcdef0123456789abcdef"}"#;
    const NEW: &str = r#"{"current":"k2","k2":"fedcba9876543210fedcba9876543210","k1":"0123456789abcdef0123456789abcdef"}"#;

    #[test]
    fn sealed_string_opens_after_rotation() {
        let (old, new) = (keyring(OLD), keyring(NEW));
        let sealed = old.seal("place", b"hush").unwrap();
        assert!(sealed.starts_with("k1.") && !sealed.contains("hush"));
        assert_eq!(new.open("place", &sealed).unwrap(), b"hush");
        assert!(new.open("elsewhere", &sealed).is_err());
        let later = new.seal("place", b"hush").unwrap();
        assert!(later.starts_with("k2."));
        assert!(old.open("place", &later).is_err());
        let hash = old.hash(Purpose::ApiKey, &[b"x"]);
        assert_eq!(new.hashes(Purpose::ApiKey, &[b"x"])[1], hash);
        assert!(new.is_hash(Purpose::ApiKey, &[b"x"], &hash));
        assert!(!new.is_hash(Purpose::UrlSecret, &[b"x"], &hash));
        assert!(!new.is_hash(Purpose::ApiKey, &[b"", b"x"], &hash));
    }

    #[test]
    fn modified_sealed_string_does_not_open() {
        let ring = keyring(OLD);
        let sealed = ring.seal("p", b"hush").unwrap();
        for index in 0..sealed.len() {
            let mut bytes = sealed.clone().into_bytes();
            bytes[index] = if bytes[index] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(bytes).unwrap();
            assert!(ring.open("p", &changed).is_err(), "{index}");
        }
        for junk in ["", ".", "k1.", "k1.AAAA", "k9.AAAA"] {
            assert!(ring.open("p", junk).is_err());
        }
    }

    #[test]
    fn malformed_keyring_is_refused() {
        for bad in [
            "",
            "{}",
            r#"{"current":"k1"}"#,
            r#"{"current":"k1","k1":"short"}"#,
            r#"{"current":"k.1","k.1":"0123456789abcdef0123456789abcdef"}"#,
        ] {
            assert!(
                Keyring::read(&SecretString::from(bad.to_owned())).is_err(),
                "{bad}"
            );
        }
    }
}
