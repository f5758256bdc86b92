//! The context of a handler: its state, caller and query in one value.
//!
//! ```ignore
//! async fn delete_endpoint(ctx: Admin<App>, Path(id): Path<EndpointId>) -> Result
//! async fn list_runs(ctx: Viewer<App, List<Filter>>) -> Result
//! ```
//! The type states the lowest role that may call the handler, and the query parameters: a caller
//! with a lower role gets `403`, and an unknown parameter `400`, before a body is read.

use std::{marker::PhantomData, ops::Deref, sync::Arc};

use aias_domain::{
    audit::Entry,
    tenant::{Role, UserId},
};
use axum::{body::Bytes, extract::FromRequestParts, http::request::Parts};
use jiff::{SignedDuration, Timestamp};

use super::{
    api::HasApi,
    audit::Change,
    auth::{Actor, Caller, Identity},
    idempotency::Once,
    problem::Problem,
    query::{NoQuery, Query},
    request::Head,
    response::{Response, Result},
};
use crate::store::{Idempotency, Scope, TenantStore, TransactionError};

/// A request of a caller in a tenant.
#[derive(Debug)]
pub struct Context<A, Q = NoQuery> {
    /// The function's state.
    pub app: Arc<A>,
    pub caller: Arc<Caller>,
    /// The request without its body.
    pub head: Head,
    pub query: Q,
    /// When the request was received.
    pub now: Timestamp,
}

/// What a handler requires of its caller.
pub trait Requirement: Send + 'static {
    /// The lowest role.
    const ROLE: Role;
    /// Whether the tenant may be one that is being deleted.
    const DELETED_TENANT: bool = false;
}

/// The requirements that handlers have.
pub(super) mod requirement {
    use super::{Requirement, Role};

    macro_rules! requirements {
        ($($name:ident = $role:ident),*) => {$(
            /// At least this role.
            #[derive(Debug)]
            pub struct $name;

            impl Requirement for $name {
                const ROLE: Role = Role::$role;
            }
        )*};
    }

    requirements! { Viewer = Viewer, Editor = Editor, Admin = Admin, Owner = Owner }

    /// An owner, even of a tenant that is being deleted.
    #[derive(Debug)]
    pub struct DeletingOwner;

    impl Requirement for DeletingOwner {
        const ROLE: Role = Role::Owner;
        const DELETED_TENANT: bool = true;
    }
}

/// The context of a handler that requires `R`.
#[derive(Debug)]
pub struct Authorized<A, R, Q = NoQuery>(Context<A, Q>, PhantomData<R>);

/// The context of a handler for viewers and higher roles.
pub type Viewer<A, Q = NoQuery> = Authorized<A, requirement::Viewer, Q>;
/// The context of a handler for editors and higher roles.
pub type Editor<A, Q = NoQuery> = Authorized<A, requirement::Editor, Q>;
/// The context of a handler for admins and owners.
pub type Admin<A, Q = NoQuery> = Authorized<A, requirement::Admin, Q>;
/// The context of a handler for owners.
pub type Owner<A, Q = NoQuery> = Authorized<A, requirement::Owner, Q>;
/// The context of the handler that deletes a tenant.
pub type DeletingOwner<A> = Authorized<A, requirement::DeletingOwner>;

impl<A, R, Q> Deref for Authorized<A, R, Q> {
    type Target = Context<A, Q>;

    fn deref(&self) -> &Context<A, Q> {
        &self.0
    }
}

fn not_authenticated() -> Problem {
    Problem::internal("the route has no authentication layer")
}

impl<A: HasApi, R: Requirement, Q: Query> FromRequestParts<Arc<A>> for Authorized<A, R, Q> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<A>) -> Result<Self> {
        let caller = parts.extensions.get::<Arc<Caller>>();
        let caller = Arc::clone(caller.ok_or_else(not_authenticated)?);
        if caller.tenant.deleted_at.is_some() && !R::DELETED_TENANT {
            return Err(Problem::not_found());
        }
        caller.require(R::ROLE)?;
        let head = Head::of(parts);
        let context = Context {
            app: Arc::clone(app),
            caller,
            query: Q::read(&head)?,
            now: app.api().clock.now(),
            head,
        };
        Ok(Self(context, PhantomData))
    }
}

impl<A: HasApi, Q> Context<A, Q> {
    /// The tenant's items.
    #[must_use]
    pub fn store(&self) -> TenantStore<'_> {
        let store = self.app.api().store.tenant(self.caller.proof());
        store.with_run_shards(&self.caller.limits)
    }

    /// The range of time in which runs can exist: since the tenant was created, limited by
    /// retention.
    #[must_use]
    pub fn retained_span(&self) -> (Timestamp, Timestamp) {
        let days = i64::from(self.caller.limits.retention_days);
        let retained = self.now - SignedDuration::from_hours(24 * days);
        (self.caller.tenant.created_at.max(retained), self.now)
    }

    fn audit_entry(&self, change: Change) -> Entry {
        change.entry(self.caller.actor.audited(), &self.head, self.now)
    }

    /// Makes a change together with its audit entry.
    ///
    /// # Errors
    ///
    /// Why the change is refused.
    pub async fn change<T>(
        &self,
        change: Change,
        write: impl AsyncFnOnce(&TenantStore<'_>) -> std::result::Result<T, TransactionError>,
    ) -> Result<T> {
        let entry = self.audit_entry(change);
        let written = write(&self.store().audited(&entry)).await;
        written.map_err(|refused| Problem::refused(refused, &self.caller.limits))
    }

    /// Handles a request that creates an object, once per `Idempotency-Key`.
    ///
    /// # Errors
    ///
    /// As [`super::Api::once`].
    pub async fn once(&self, body: &Bytes, create: impl AsyncFnOnce(Once<'_>) -> Result) -> Result {
        let scope = Scope::Tenant(self.caller.tenant.id);
        let api = self.app.api();
        api.once(scope, &self.head, body, create).await
    }

    /// Creates an object together with its audit entry and the stored response.
    ///
    /// # Errors
    ///
    /// Why the creation is refused.
    pub async fn create(
        &self,
        once: &Once<'_>,
        change: Change,
        response: Response,
        write: impl AsyncFnOnce(
            &TenantStore<'_>,
            Option<Idempotency>,
        ) -> std::result::Result<(), TransactionError>,
    ) -> Result {
        let sealed = once.sealed(&response)?;
        let entry = self.audit_entry(change);
        let written = write(&self.store().audited(&entry), sealed).await;
        once.finish(written, response, &self.caller.limits)
    }
}

/// A request outside of any tenant.
#[derive(Debug)]
pub struct Identified<A, Q = NoQuery> {
    /// The function's state.
    pub app: Arc<A>,
    pub identity: Identity,
    /// The request without its body.
    pub head: Head,
    pub query: Q,
    /// When the request was received.
    pub now: Timestamp,
}

impl<A: HasApi, Q: Query> FromRequestParts<Arc<A>> for Identified<A, Q> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<A>) -> Result<Self> {
        let identity = parts.extensions.get::<Identity>();
        let identity = identity.cloned().ok_or_else(not_authenticated)?;
        let head = Head::of(parts);
        Ok(Self {
            app: Arc::clone(app),
            identity,
            query: Q::read(&head)?,
            now: app.api().clock.now(),
            head,
        })
    }
}

impl<A: HasApi, Q> Identified<A, Q> {
    /// The calling person.
    ///
    /// # Errors
    ///
    /// `403` for an API key.
    pub fn user(&self) -> Result<&UserId> {
        let actor = match &self.identity {
            Identity::User(user) => return Ok(user),
            Identity::Caller(caller) => &caller.actor,
        };
        match actor {
            Actor::User(user) => Ok(user),
            Actor::Key(_) => Err(Problem::forbidden("an API key belongs to its one tenant")),
        }
    }
}
