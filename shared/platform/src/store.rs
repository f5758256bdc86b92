//! The table. Code reaches a tenant's items only through a [`TenantStore`], which cannot be made
//! without a [`Proof`] that the caller belongs to the tenant; what crosses tenants is named in
//! `lookups`. Every write carries a condition.
//!
//! A version counter in each item that changes refuses a stale write ([`Error::Conflict`]).

mod admission;
mod audit;
mod cursor;
mod deflate;
mod due;
mod endpoints;
mod fit;
mod idempotency;
mod items;
mod journal;
mod keys;
mod logs;
mod lookups;
mod metering;
mod run_item;
mod runs;
mod secrets;
mod subscriptions;
mod suspended;
mod tenants;
mod transaction;
mod wakes;
mod workflows;

use aias_domain::id::TenantId;
use aws_config::SdkConfig;
use aws_sdk_dynamodb::Client;
use aws_smithy_runtime_api::client::result::SdkError;

pub use admission::{Admission, Gate, Left, Place, Usage};
pub use audit::plan_entry;
pub use cursor::{BadCursor, Cursor, Listing, Page};
pub use due::{Due, Task, Wish};
pub use endpoints::{CachedEndpoint, Hook};
pub use fit::Fitted;
pub use idempotency::{Answer, Idempotency, Scope};
pub use journal::{MAX_ENTRY_BYTES, Written};
pub use lookups::ActiveTenant;
pub use metering::{Hour, Meter, Report};
pub use runs::{Claim, Claimed, Input, MAX_INLINE_ARTIFACT, RunFilter, StoredRun};
pub use subscriptions::{Change, Customer, TenantChange};
pub use tenants::{Counts, KeyOwner};
pub use transaction::{Count, Refused};
pub use wakes::Wake;

/// What the table did.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Somebody else changed the item first.
    #[error("the item has changed since it was read")]
    Conflict,
    /// It may answer later.
    #[error("the table cannot be reached")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// It does not do this, or an item cannot be read.
    #[error("the table refused, or an item cannot be read")]
    Broken(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl Error {
    /// Whether the same call may succeed later.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Conflict | Self::Unavailable(_) => true,
            Self::Broken(_) => false,
        }
    }

    fn broken(why: &'static str) -> Self {
        Self::Broken(why.into())
    }
}

/// Shows that a caller belongs to a tenant. Only authentication, the runs queue, a webhook's
/// path secret, the payment provider's signed word and an operator give one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Proof(TenantId);

impl Proof {
    pub(crate) fn new(tenant_id: TenantId) -> Self {
        Self(tenant_id)
    }

    /// An operator, who may invoke functions in the account, needs no other.
    #[must_use]
    pub fn of_operator(tenant_id: TenantId) -> Self {
        Self(tenant_id)
    }

    /// A proof of nothing, for tests of what stands behind it.
    #[cfg(feature = "testing")]
    #[must_use]
    pub fn for_tests(tenant_id: TenantId) -> Self {
        Self(tenant_id)
    }
}

/// An item's value, and which of its states was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored<T> {
    /// The value.
    pub value: T,
    /// Its version counter.
    pub version: u64,
}

/// The table.
#[derive(Debug, Clone)]
pub struct Store {
    client: Client,
    table: String,
}

impl Store {
    /// The table of this name.
    #[must_use]
    pub fn new(aws: &SdkConfig, table: String) -> Self {
        Self {
            client: Client::new(aws),
            table,
        }
    }

    /// A tenant's part of the table.
    #[must_use]
    pub fn tenant(&self, proof: Proof) -> TenantStore<'_> {
        TenantStore {
            store: self,
            tenant: proof.0,
            audit: None,
        }
    }

    /// Whether the table answers.
    ///
    /// # Errors
    /// When it does not.
    pub async fn check(&self) -> Result<(), Error> {
        let at = jiff::Timestamp::UNIX_EPOCH;
        let key = keys::tenant(TenantId::new(at, 0));
        self.item(&key, false).await.map(|_| ())
    }
}

/// One tenant's part of the table: every key it makes begins with the tenant.
#[derive(Debug, Clone, Copy)]
pub struct TenantStore<'a> {
    store: &'a Store,
    tenant: TenantId,
    audit: Option<&'a aias_domain::audit::Entry>,
}

impl TenantStore<'_> {
    /// Whose it is.
    #[must_use]
    pub fn tenant_id(&self) -> TenantId {
        self.tenant
    }
}

/// What an SDK error means. Throttling, timeouts and lost connections are transient; what the
/// service refuses as wrong is not.
fn classify<E, R>(error: SdkError<E, R>) -> Error
where
    E: std::error::Error
        + aws_smithy_types::error::metadata::ProvideErrorMetadata
        + Send
        + Sync
        + 'static,
    R: std::fmt::Debug + Send + Sync + 'static,
{
    let code = error.as_service_error().and_then(|e| e.code());
    match code {
        Some("ConditionalCheckFailedException") => Error::Conflict,
        Some(
            "ValidationException"
            | "AccessDeniedException"
            | "ResourceNotFoundException"
            | "ItemCollectionSizeLimitExceededException",
        ) => Error::Broken(Box::new(error)),
        _ => Error::Unavailable(Box::new(error)),
    }
}
