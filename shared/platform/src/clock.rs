//! The current time and random bytes, which the domain rules take as arguments.

use std::sync::{
    Arc,
    atomic::{AtomicI64, Ordering},
};

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use jiff::Timestamp;

#[derive(Debug, Clone)]
pub struct Clock(Source);

#[derive(Debug, Clone)]
enum Source {
    System,
    Set(Arc<AtomicI64>),
}

impl Clock {
    /// The system clock.
    #[must_use]
    pub fn system() -> Self {
        Self(Source::System)
    }

    /// A fixed clock, for tests.
    #[must_use]
    pub fn set_to(at: Timestamp) -> Self {
        Self(Source::Set(Arc::new(AtomicI64::new(at.as_millisecond()))))
    }

    /// Advances a fixed clock and all of its clones.
    pub fn advance(&self, by: std::time::Duration) {
        if let Source::Set(ms) = &self.0 {
            ms.fetch_add(
                i64::try_from(by.as_millis()).unwrap_or(i64::MAX),
                Ordering::Relaxed,
            );
        }
    }

    /// The current time to the millisecond, the precision of all stored timestamps.
    #[must_use]
    #[expect(
        clippy::disallowed_methods,
        reason = "only here is the system clock read"
    )]
    pub fn now(&self) -> Timestamp {
        let ms = match &self.0 {
            Source::System => Timestamp::now().as_millisecond(),
            Source::Set(ms) => ms.load(Ordering::Relaxed),
        };
        Timestamp::from_millisecond(ms).unwrap_or(Timestamp::UNIX_EPOCH)
    }
}

/// Random bytes from the operating system.
///
/// # Panics
///
/// When the operating system has no random bytes: nothing can be done safely without them.
#[must_use]
#[expect(
    clippy::expect_used,
    reason = "no secret can be generated without random bytes"
)]
pub fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).expect("the operating system has no random bytes");
    bytes
}

/// The random part of an id.
#[must_use]
pub fn random_id() -> u128 {
    u128::from_be_bytes(random())
}

/// A secret for a URL, a token or an HMAC key: 43 characters, 256 bits.
#[must_use]
pub fn random_secret() -> String {
    URL_SAFE_NO_PAD.encode(random::<32>())
}

/// A signing secret in the form of Standard Webhooks: `whsec_` and base64.
#[must_use]
pub fn random_whsec() -> String {
    format!("whsec_{}", STANDARD.encode(random::<32>()))
}

/// The nonce in a run's secret placeholders: 128 bits in hex.
#[must_use]
pub fn new_secret_nonce() -> String {
    hex::encode(random::<16>())
}
