//! The secret in a webhook URL.

use aias_domain::id::TenantId;
use aias_platform::{
    clock::random_secret,
    secrets::{Keyring, Purpose},
};

/// A new one: its text, which is shown once, and its hash, which is kept.
pub(crate) struct UrlSecret {
    pub(crate) text: String,
    pub(crate) hash: String,
}

impl UrlSecret {
    pub(crate) fn make(keyring: &Keyring, tenant: TenantId) -> Self {
        let text = random_secret();
        let hash = keyring.hash(
            Purpose::UrlSecret,
            &[tenant.ulid().as_bytes(), text.as_bytes()],
        );
        Self { text, hash }
    }
}
