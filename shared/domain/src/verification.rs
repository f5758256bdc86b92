//! How webhook requests are verified. A scheme is a value: `schemes::ROWS` has a row per provider,
//! `hmac` is a row that the endpoint's owner fills in, and one function verifies all of them over
//! the raw bytes.
//!
//! Sources: Standard Webhooks 1.0 (standardwebhooks.com), "Validating webhook deliveries"
//! (docs.github.com), "Verify webhook signatures" (docs.stripe.com), "Verifying requests from
//! Slack" (docs.slack.dev), "Verify webhook deliveries" (shopify.dev), "Getting started with
//! webhooks" (developers.facebook.com).

mod schemes;
mod settings;
mod verify;

pub use schemes::{
    Algorithm, Carrier, Encoding, EventIdSource, Handshake, KeyForm, Part, Scheme, SecretOrigin,
    Signature, TimestampSource, scheme_names,
};
pub use settings::{ConfigError, HmacOptions, Verification};
pub use verify::{Refusal, TOLERANCE_SECONDS, digest, key_bytes, verify};

#[cfg(test)]
mod tests;
