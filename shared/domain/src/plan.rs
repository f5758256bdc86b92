//! What a tenant may do: every route and the executor ask [`limits`], on the server.

use crate::tenant::Tenant;

/// The limits of one tenant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The plan's name, for messages.
    pub plan: &'static str,
    /// Runs that may begin in a calendar month (UTC).
    pub runs_per_month: u64,
    /// Workflows that may exist.
    pub workflows: u64,
    /// Webhook endpoints that may exist.
    pub endpoints: u64,
    /// Members, owners included.
    pub members: u64,
    /// API keys that may exist.
    pub api_keys: u64,
    /// A webhook's or an `execute` call's body.
    pub body_bytes: usize,
    /// Steps that one run may execute.
    pub steps_per_run: u32,
    /// How long one run may compute.
    pub run_seconds: u32,
    /// One artifact.
    pub artifact_bytes: usize,
    /// How long runs, logs and artifacts are kept.
    pub retention_days: u32,
    /// Requests that one execution environment answers for the tenant in [`Limits::RATE_WINDOW_SECONDS`].
    pub api_requests: u32,
}

impl Limits {
    /// The window that `api_requests` counts in.
    pub const RATE_WINDOW_SECONDS: u32 = 60;
}

/// The largest body that any plan allows, in bytes.
pub const MAX_BODY_BYTES: usize = 4 * 1024 * 1024;

const STANDARD: Limits = Limits {
    plan: "standard",
    runs_per_month: 10_000_000,
    workflows: 1_000,
    endpoints: 1_000,
    members: 100,
    api_keys: 100,
    body_bytes: MAX_BODY_BYTES,
    steps_per_run: 10_000,
    run_seconds: 20,
    artifact_bytes: 4 * 1024 * 1024,
    retention_days: 90,
    api_requests: 12_000,
};

/// The limits of a tenant. One plan holds for everyone.
#[must_use]
pub fn limits(_tenant: &Tenant) -> Limits {
    STANDARD
}

/// The limits that hold before a tenant's own are known: no plan allows more.
#[must_use]
pub fn ceiling() -> Limits {
    STANDARD
}
