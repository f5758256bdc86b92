//! The path secret of a webhook URL.

use aias_domain::id::TenantId;
use aias_platform::{
    clock::random_secret,
    secrets::{Keyring, Purpose},
};

/// A new path secret, which is shown once, and its keyed hash, which is stored.
pub(crate) struct PathSecret {
    pub(crate) text: String,
    pub(crate) hash: String,
}

impl PathSecret {
    pub(crate) fn new(keyring: &Keyring, tenant: TenantId) -> Self {
        let text = random_secret();
        let parts = [tenant.ulid().into_bytes(), text.clone().into_bytes()];
        let parts: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
        let hash = keyring.hash(Purpose::UrlSecret, &parts);
        Self { text, hash }
    }
}
