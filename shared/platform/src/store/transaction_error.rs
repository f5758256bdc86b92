//! Why a transaction was refused.

use aias_domain::counted::CountedFeature;

use super::{Error, idempotency::IdempotencyMatch};

/// Why a transaction was refused.
#[derive(Debug, thiserror::Error)]
pub enum TransactionError {
    /// An item exists already, or has changed since it was read.
    #[error("the item exists already, or has changed")]
    Conflict,
    /// The plan does not allow more.
    #[error("the plan does not allow more")]
    Limit {
        count: CountedFeature,
        /// The current number.
        used: u64,
    },
    #[error("the tenant would have no owner left")]
    LastOwner,
    /// The tenant does not exist or is being deleted.
    #[error("the tenant does not exist")]
    NoTenant,
    /// The tenant has as many runs in the phase `running` as the plan allows.
    #[error("the tenant has as many running runs as the plan allows")]
    ConcurrencyLimit,
    /// The user has created as many tenants in this month as one may.
    #[error("the user has created too many tenants in this month")]
    TooManyTenants,
    /// The Stripe event was applied before.
    #[error("the event was applied before")]
    AlreadyApplied,
    /// The same `Idempotency-Key` has a stored response.
    #[error("the request has a stored response")]
    Repeated(Box<IdempotencyMatch>),
    #[error(transparent)]
    Store(#[from] Error),
}

impl TransactionError {
    /// For callers that treat every refusal as a conflict.
    pub(super) fn into_error(self) -> Error {
        match self {
            Self::Store(error) => error,
            Self::Conflict
            | Self::Limit { .. }
            | Self::LastOwner
            | Self::NoTenant
            | Self::ConcurrencyLimit
            | Self::TooManyTenants
            | Self::AlreadyApplied
            | Self::Repeated(_) => Error::Conflict,
        }
    }
}
