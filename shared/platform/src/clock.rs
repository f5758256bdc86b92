//! The time and random bytes: what the rules take as arguments.

use std::sync::{
    Arc,
    atomic::{AtomicI64, Ordering},
};

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use jiff::Timestamp;

/// Where the time comes from.
#[derive(Debug, Clone)]
pub struct Clock(Source);

#[derive(Debug, Clone)]
enum Source {
    System,
    Set(Arc<AtomicI64>),
}

impl Clock {
    /// The host's clock.
    #[must_use]
    pub fn system() -> Self {
        Self(Source::System)
    }

    /// A clock that stands still until it is moved.
    #[must_use]
    pub fn set_to(at: Timestamp) -> Self {
        Self(Source::Set(Arc::new(AtomicI64::new(at.as_millisecond()))))
    }

    /// Moves a clock that stands still, and every copy of it.
    pub fn advance(&self, by: std::time::Duration) {
        if let Source::Set(ms) = &self.0 {
            ms.fetch_add(
                i64::try_from(by.as_millis()).unwrap_or(i64::MAX),
                Ordering::Relaxed,
            );
        }
    }

    /// Now, to the millisecond: what all stored times hold.
    #[must_use]
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place that asks the host"
    )]
    pub fn now(&self) -> Timestamp {
        let ms = match &self.0 {
            Source::System => Timestamp::now().as_millisecond(),
            Source::Set(ms) => ms.load(Ordering::Relaxed),
        };
        Timestamp::from_millisecond(ms).unwrap_or(Timestamp::UNIX_EPOCH)
    }
}

/// Random bytes of the operating system.
///
/// # Panics
/// When the operating system has none, which leaves nothing that could be done safely.
#[must_use]
#[expect(clippy::expect_used, reason = "no secret may be made without them")]
pub fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).expect("the operating system has no random bytes");
    bytes
}

/// The random half of an id.
#[must_use]
pub fn random_id() -> u128 {
    u128::from_be_bytes(random())
}

/// A secret for a URL, a token or an HMAC: 43 characters, 256 bits.
#[must_use]
pub fn random_secret() -> String {
    URL_SAFE_NO_PAD.encode(random::<32>())
}

/// A signing secret in the form of Standard Webhooks: `whsec_` and base64.
#[must_use]
pub fn random_whsec() -> String {
    format!("whsec_{}", STANDARD.encode(random::<32>()))
}

/// A mark that nobody outside can guess: 128 bits in hex.
#[must_use]
pub fn new_mark() -> String {
    hex::encode(random::<16>())
}
