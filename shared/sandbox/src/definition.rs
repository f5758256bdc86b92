//! Definitions with a number, so that each is sent to a child only once.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

#[derive(Debug)]
pub struct Definition {
    /// Unique in this process.
    pub(crate) id: u64,
    pub(crate) text: String,
}

impl Definition {
    /// Whether an expression may use secrets.
    #[must_use]
    pub fn mentions_secrets(&self) -> bool {
        self.text.contains("$secrets")
    }

    #[must_use]
    pub fn new(text: String) -> Arc<Self> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let id = NEXT.fetch_add(1, Ordering::Relaxed);
        Arc::new(Self { id, text })
    }
}
