//! What a child is to run, named so that it need not be told twice.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

/// A definition, as JSON.
#[derive(Debug)]
pub struct Definition {
    /// Names it in this process.
    pub(crate) id: u64,
    /// Its text.
    pub(crate) text: String,
}

impl Definition {
    /// Whether it may use secrets in its expressions.
    #[must_use]
    pub fn mentions_secrets(&self) -> bool {
        self.text.contains("$secrets")
    }

    /// A definition of this text.
    #[must_use]
    pub fn new(text: String) -> Arc<Self> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let id = NEXT.fetch_add(1, Ordering::Relaxed);
        Arc::new(Self { id, text })
    }
}
