//! How webhook requests are verified. A scheme is a value, of the catalogue or written by the owner
//! of an endpoint, and one function verifies all of them over the raw bytes.

pub mod catalogue;
mod explain;
mod handshake;
mod place;
mod published;
mod scheme;
mod settings;
mod template;
mod verify;

pub use explain::{Explanation, FormExplanation, explain};
pub use handshake::{
    Answer, Handshake, HandshakeOutcome, HandshakeSecrets, is_visited, signed_handshake,
    unsigned_handshake,
};
pub use place::{Place, Values};
pub use published::{KeyRequest, PublishedKey, UnknownKey, key_request};
pub use scheme::{
    Condition, Encoding, KeyForm, Method, ProviderResponse, Scheme, SecretOrigin, SecretRule,
    Signature, SignedTimestamp, TimeUnit,
};
pub use settings::{Algorithm, ConfigError, HmacOptions, Verification, scheme_names};
pub use template::Template;
pub use verify::{Refusal, TOLERANCE_SECONDS, digest, key_bytes, verify};

#[cfg(test)]
mod tests;
