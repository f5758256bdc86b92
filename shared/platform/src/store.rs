//! The DynamoDB table. A tenant's items are reached only through a [`TenantStore`], which requires
//! a [`Proof`] that the caller belongs to the tenant. Access across tenants is limited to
//! `lookups`. Every write has a condition.
//!
//! Items that change have a version counter, which refuses a stale write ([`Error::Conflict`]).

mod admission;
mod api_keys;
mod audit;
mod claims;
mod compression;
mod cursor;
mod deliveries;
mod endpoints;
mod idempotency;
mod invitations;
mod items;
mod journal;
mod keys;
mod logs;
mod lookups;
mod members;
mod metering;
mod plan_enforcement;
mod reconciler_pass;
mod run_counts;
mod run_item;
mod run_list;
mod running;
mod runs;
mod samples;
mod scheduled_tasks;
mod secrets;
mod subscriptions;
mod suspended;
mod tenants;
mod transaction;
mod transaction_error;
mod wakes;
mod workflows;

use aias_domain::{
    id::{RUN_SHARDS, TenantId},
    plan::Limits,
};
use aws_config::SdkConfig;
use aws_sdk_dynamodb::Client;
use aws_smithy_runtime_api::client::result::SdkError;
use serde::Deserialize;

pub use admission::{Admission, CounterShard, Gate, RemainingQuota, Usage};
pub use api_keys::KeyOwner;
pub use audit::plan_entry;
pub use claims::{Claim, ClaimResult};
pub use cursor::{Cursor, InvalidCursor, Listing, Page};
pub use endpoints::{CachedEndpoint, Hook};
pub use idempotency::{Idempotency, IdempotencyMatch, Scope};
pub use invitations::FoundInvitation;
pub use journal::{MAX_ENTRY_BYTES, StoredEntry};
pub use lookups::ActiveTenant;
pub use metering::{Hour, Meter, Report};
pub use plan_enforcement::ChangedObjects;
pub use reconciler_pass::{Lease, Position, Progress, Sweep};
pub use run_counts::{MAX_COUNTED, RunCounts};
pub use run_list::RunFilter;
pub use runs::{Input, MAX_INLINE_ARTIFACT, StoredRun};
pub use samples::CompressedRecording;
pub use scheduled_tasks::{DueWork, ScheduledTask, Task, TaskSchedule};
pub use subscriptions::{Change, Customer, PlanChange, SignedTenant, TenantChange};
pub use tenants::Counts;
pub use transaction_error::TransactionError;
pub use wakes::Wake;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The item has changed since it was read.
    #[error("the item has changed since it was read")]
    Conflict,
    /// The same call may succeed later.
    #[error("the table cannot be reached")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// DynamoDB refused the call, or an item cannot be parsed.
    #[error("DynamoDB refused the call, or an item cannot be parsed")]
    Broken(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl Error {
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

/// Proves that a caller belongs to a tenant. Only authentication, a message received from the runs
/// queue, a path secret, a signed Stripe event and an operator's invocation give one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Proof(TenantId);

impl Proof {
    pub(crate) fn new(tenant_id: TenantId) -> Self {
        Self(tenant_id)
    }

    /// An unchecked proof, for tests.
    #[cfg(feature = "testing")]
    #[must_use]
    pub fn for_tests(tenant_id: TenantId) -> Self {
        Self(tenant_id)
    }
}

/// The tenant named in an event with which an operator invokes a function. It can only be
/// deserialized, and nobody but an operator may invoke functions.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(transparent)]
pub struct OperatorTenant(TenantId);

impl OperatorTenant {
    #[must_use]
    pub fn id(self) -> TenantId {
        self.0
    }

    /// Proves that the operator named the tenant.
    #[must_use]
    pub fn proof(self) -> Proof {
        Proof::new(self.0)
    }
}

/// A value and the version of its item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored<T> {
    pub value: T,
    pub version: u64,
}

#[derive(Debug, Clone)]
pub struct Store {
    client: Client,
    table: String,
}

impl Store {
    #[must_use]
    pub fn new(aws: &SdkConfig, table: String) -> Self {
        Self {
            client: Client::new(aws),
            table,
        }
    }

    #[must_use]
    pub fn tenant(&self, proof: Proof) -> TenantStore<'_> {
        TenantStore {
            store: self,
            tenant: proof.0,
            run_shards: RUN_SHARDS,
            audit: None,
        }
    }

    /// Checks that the table is reachable.
    ///
    /// # Errors
    ///
    /// When it is not.
    pub async fn check(&self) -> Result<(), Error> {
        let at = jiff::Timestamp::UNIX_EPOCH;
        let key = keys::tenant(TenantId::new(at, 0));
        self.item(&key, false).await.map(|_| ())
    }
}

/// The items of one tenant: every key starts with the tenant.
#[derive(Debug, Clone, Copy)]
pub struct TenantStore<'a> {
    store: &'a Store,
    tenant: TenantId,
    /// Number of partitions in which runs are looked for.
    run_shards: u8,
    audit: Option<&'a aias_domain::audit::Entry>,
}

impl TenantStore<'_> {
    /// The same items, with lists of runs that read only the partitions which the tenant has
    /// ([`Limits::run_shards`]).
    #[must_use]
    pub fn with_run_shards(self, limits: &Limits) -> Self {
        Self {
            run_shards: limits.run_shards,
            ..self
        }
    }

    #[must_use]
    pub fn tenant_id(&self) -> TenantId {
        self.tenant
    }
}

/// Classifies an SDK error. Throttling, timeouts and lost connections are transient; a request that
/// the service refuses is not.
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
