//! Who calls: the one place where a credential becomes a [`Caller`], before any query, path or body
//! is read. Nothing else gives a [`Proof`] of a tenant to a handler.
//!
//! ```text
//! credential ──▶ Identity ──(tenant of the key, the header, the query or the path)──▶ Caller
//! ```
//! A server in front may put an [`Identity`] into the request itself, as one that has verified a
//! session does; then no credential is read.

use std::{fmt, sync::Arc};

use aias_domain::{
    audit,
    id::{KeyId, TenantId},
    plan::{self, Limits},
    tenant::{Role, Tenant, UserId},
};
use axum::{
    extract::{FromRequestParts as _, RawPathParams, Request, State},
    middleware::{Next, from_fn_with_state},
    response::{IntoResponse as _, Response},
};
use tracing::{Span, field::display};
use utoipa_axum::router::OpenApiRouter;

use super::{
    api::Api,
    oidc::{Oidc, TokenError},
    problem::{Problem, kinds},
    rate_limit::{FailedAttempts, RateState, RequestCounts},
    request::Head,
};
use crate::{
    clock::Clock,
    secrets::{Keyring, Keyrings, Purpose},
    store::{Proof, Store},
    tenant_credentials,
};

pub use super::oidc::Issuer;

/// Who acts: a person or a program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Actor {
    /// An OIDC subject.
    User(UserId),
    /// An API key.
    Key(KeyId),
}

impl Actor {
    /// As the audit log names it.
    #[must_use]
    pub fn audited(&self) -> audit::Actor {
        match self {
            Self::User(user) => audit::Actor::User {
                id: user.to_string(),
            },
            Self::Key(key) => audit::Actor::ApiKey {
                id: key.to_string(),
            },
        }
    }
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::User(user) => user.fmt(f),
            Self::Key(key) => key.fmt(f),
        }
    }
}

/// A caller with a valid credential, in a tenant.
#[derive(Debug, Clone)]
pub struct Caller {
    /// The tenant.
    pub tenant: Tenant,
    /// What they may do there.
    pub role: Role,
    /// Who they are.
    pub actor: Actor,
    /// What the tenant's plan allows.
    pub limits: Limits,
    rate: RateState,
}

impl Caller {
    /// Shows that the caller belongs to the tenant.
    #[must_use]
    pub fn proof(&self) -> Proof {
        Proof::new(self.tenant.id)
    }

    /// Refuses a caller whose role is too low.
    ///
    /// # Errors
    /// `403`.
    pub fn require(&self, role: Role) -> Result<(), Problem> {
        if self.role < role {
            return Err(Problem::forbidden(format!(
                "this needs the role {role}; the caller has {}",
                self.role
            )));
        }
        Ok(())
    }
}

/// A valid credential's owner, before a tenant is chosen.
#[derive(Debug, Clone)]
pub enum Identity {
    /// A person, who may be a member of many tenants.
    User(UserId),
    /// A program, in its one tenant.
    Key(Arc<Caller>),
}

/// Authenticates requests.
#[derive(Debug)]
pub struct Auth {
    store: Store,
    keyrings: Keyrings,
    oidc: Oidc,
    requests: RequestCounts,
    failures: FailedAttempts,
    clock: Clock,
}

/// An API key's token: `aias_<tenant ULID>_<43 characters>`.
pub const TOKEN_PREFIX: &str = "aias_";

/// The length of a secret: 32 bytes in base64url.
pub const SECRET_LENGTH: usize = 43;

/// Whether a text has the form of a secret that AIAS made.
#[must_use]
pub fn is_secret_form(text: &str) -> bool {
    text.len() == SECRET_LENGTH
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
}

/// The tenant and the secret of an API key's token, whether or not there is such a key.
#[must_use]
pub fn parts_of_key(token: &str) -> Option<(TenantId, &str)> {
    let (tenant, secret) = token.strip_prefix(TOKEN_PREFIX)?.split_once('_')?;
    let tenant = TenantId::from_ulid(tenant).ok()?;
    is_secret_form(secret).then_some((tenant, secret))
}

impl Auth {
    /// Authentication against this table, keyring and issuer.
    #[must_use]
    pub fn new(store: Store, keyrings: Keyrings, issuer: Option<Issuer>, clock: Clock) -> Self {
        Self {
            store,
            keyrings,
            oidc: Oidc::new(issuer),
            requests: RequestCounts::default(),
            failures: FailedAttempts::default(),
            clock,
        }
    }

    /// The keyring.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn keyring(&self) -> Result<Arc<Keyring>, Problem> {
        Ok(self.keyrings.get().await?)
    }

    /// The caller, in the tenant of the key, or the one that the header or the query names.
    async fn caller_in_named_tenant(&self, request: &Credentials) -> Result<Arc<Caller>, Problem> {
        let identity = self.identity(request).await?;
        let named = request.named_tenant()?;
        match identity {
            Identity::Key(caller) => match named {
                Some(named) if named != caller.tenant.id.to_string() => Err(Problem::not_found()),
                _ => Ok(caller),
            },
            Identity::User(user) => {
                let named = named.ok_or_else(|| {
                    Problem::new(&kinds::TENANT_MISSING)
                        .detail("name the tenant in X-Tenant-Id or ?tenant_id=")
                })?;
                self.member(&named, user).await
            }
        }
    }

    /// The caller, in the tenant that the path names.
    async fn caller_in_tenant(
        &self,
        request: &Credentials,
        tenant: &str,
    ) -> Result<Arc<Caller>, Problem> {
        match self.identity(request).await? {
            Identity::Key(caller) if caller.tenant.id.to_string() == tenant => Ok(caller),
            Identity::Key(_) => Err(Problem::not_found()),
            Identity::User(user) => self.member(tenant, user).await,
        }
    }

    /// A person, in a tenant that they are a member of.
    async fn member(&self, tenant: &str, user: UserId) -> Result<Arc<Caller>, Problem> {
        let tenant_id: TenantId = tenant.parse().map_err(|_| Problem::not_found())?;
        let found = self.store.membership(tenant_id, &user).await?;
        let (tenant, member) = found.ok_or_else(Problem::not_found)?;
        if member.disabled_by_plan {
            return Err(disabled_by_plan());
        }
        self.admit(tenant, member.role, Actor::User(user))
    }

    fn admit(&self, tenant: Tenant, role: Role, actor: Actor) -> Result<Arc<Caller>, Problem> {
        let now = self.clock.now();
        let limits = plan::limits(&tenant, now);
        let rate = self.requests.add(&tenant.id.to_string(), &limits, now)?;
        Ok(Arc::new(Caller {
            tenant,
            role,
            actor,
            limits,
            rate,
        }))
    }

    /// Whose credential the request carries.
    ///
    /// # Errors
    /// `401` without a valid one, `429` after too many invalid ones.
    async fn identity(&self, request: &Credentials) -> Result<Identity, Problem> {
        if let Some(identity) = &request.identity {
            return Ok(identity.clone());
        }
        let address = request.head.origin.source_ip.as_str();
        self.failures.check(address, self.clock.now())?;
        let found = self.credential(&request.head).await;
        if found.as_ref().is_err_and(Problem::is_bad_credential) {
            self.failures.add(address, self.clock.now());
        }
        found
    }

    async fn credential(&self, head: &Head) -> Result<Identity, Problem> {
        let header = head
            .header("authorization")
            .ok_or_else(|| Problem::unauthorized("the request has no credential"))?;
        let token = match header.split_once(' ') {
            Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => token.trim(),
            _ => {
                return Err(Problem::unauthorized(
                    "the credential must be a Bearer token",
                ));
            }
        };
        if token.starts_with(TOKEN_PREFIX) {
            return self.api_key(token).await.map(Identity::Key);
        }
        match self.oidc.user(token).await {
            Ok(user) => Ok(Identity::User(user)),
            Err(error @ (TokenError::Issuer(_) | TokenError::Unreachable(_))) => {
                Err(Problem::unavailable(error))
            }
            Err(error) => Err(Problem::bad_credential().because(error)),
        }
    }

    async fn api_key(&self, token: &str) -> Result<Arc<Caller>, Problem> {
        let refuse = |reason: &'static str| {
            Problem::bad_credential().because(format!("the API key is {reason}"))
        };
        let (tenant, secret) = parts_of_key(token).ok_or_else(|| refuse("malformed"))?;
        let keyring = self.keyrings.get().await?;
        let hashes = keyring.hashes(
            Purpose::ApiKey,
            &[tenant.ulid().as_bytes(), secret.as_bytes()],
        );
        let found = self.store.key_owner(tenant, &hashes).await?;
        let (owner, tenant) = found.ok_or_else(|| refuse("unknown"))?;
        if tenant.deleted_at.is_some() {
            return Err(refuse("of a deleted tenant"));
        }
        if owner
            .valid_until
            .is_some_and(|until| until <= self.clock.now())
        {
            return Err(refuse("expired"));
        }
        if owner.disabled_by_plan {
            return Err(disabled_by_plan());
        }
        self.admit(tenant, owner.role, Actor::Key(owner.key_id))
    }
}

/// A caller whom the tenant's plan does not allow any more.
fn disabled_by_plan() -> Problem {
    Problem::forbidden(
        "the tenant's plan allows fewer of these; upgrade the plan to enable it again",
    )
}

/// The parts of a request that identify its caller.
struct Credentials {
    head: Head,
    identity: Option<Identity>,
}

impl Credentials {
    fn of(request: Request) -> (Self, Request) {
        let (parts, body) = request.into_parts();
        let head = Head::of(&parts);
        let credentials = Self {
            identity: parts.extensions.get().cloned(),
            head,
        };
        (credentials, Request::from_parts(parts, body))
    }

    /// The tenant that the header or the query names.
    ///
    /// # Errors
    /// `404` if they name two.
    fn named_tenant(&self) -> Result<Option<String>, Problem> {
        let mut pairs = form_urlencoded::parse(self.head.query().as_bytes());
        let in_query = pairs.find(|(name, _)| name == "tenant_id");
        let in_query = in_query.map(|(_, value)| value.into_owned());
        let in_header = self.head.header("x-tenant-id").map(str::to_owned);
        match (in_header, in_query) {
            (Some(header), Some(query)) if header != query => Err(Problem::not_found()),
            (header, query) => Ok(header.or(query)),
        }
    }
}

/// Layers that put the caller into the request.
pub trait Authenticated {
    /// Routes in the tenant that the credential, the header or the query names.
    #[must_use]
    fn in_named_tenant(self, api: &Arc<Api>) -> Self;

    /// Routes in the tenant that the path parameter `id` names.
    #[must_use]
    fn in_path_tenant(self, api: &Arc<Api>) -> Self;

    /// Routes outside of any tenant.
    #[must_use]
    fn outside_tenants(self, api: &Arc<Api>) -> Self;
}

impl<S: Clone + Send + Sync + 'static> Authenticated for OpenApiRouter<S> {
    fn in_named_tenant(self, api: &Arc<Api>) -> Self {
        self.route_layer(from_fn_with_state(Arc::clone(api), in_named_tenant))
    }

    fn in_path_tenant(self, api: &Arc<Api>) -> Self {
        self.route_layer(from_fn_with_state(Arc::clone(api), in_path_tenant))
    }

    fn outside_tenants(self, api: &Arc<Api>) -> Self {
        self.route_layer(from_fn_with_state(Arc::clone(api), outside_tenants))
    }
}

async fn in_named_tenant(State(api): State<Arc<Api>>, request: Request, next: Next) -> Response {
    let (credentials, request) = Credentials::of(request);
    match api.auth.caller_in_named_tenant(&credentials).await {
        Ok(caller) => as_caller(caller, request, next).await,
        Err(problem) => problem.into_response(),
    }
}

async fn in_path_tenant(State(api): State<Arc<Api>>, request: Request, next: Next) -> Response {
    let (mut parts, body) = request.into_parts();
    let parameters = RawPathParams::from_request_parts(&mut parts, &())
        .await
        .ok();
    let tenant = parameters.and_then(|all| {
        let mut all = all.iter();
        all.find(|(name, _)| *name == "id")
            .map(|(_, value)| value.to_owned())
    });
    let (credentials, request) = Credentials::of(Request::from_parts(parts, body));
    let tenant = tenant.unwrap_or_default();
    match api.auth.caller_in_tenant(&credentials, &tenant).await {
        Ok(caller) => as_caller(caller, request, next).await,
        Err(problem) => problem.into_response(),
    }
}

/// Runs the handler with the caller in the request and with credentials that reach only the caller's
/// tenant, and adds the caller's rate to the response.
async fn as_caller(caller: Arc<Caller>, mut request: Request, next: Next) -> Response {
    let (tenant, rate) = (caller.tenant.id, caller.rate);
    let span = Span::current();
    span.record("tenant_id", display(tenant));
    span.record("user_id", display(&caller.actor));
    request.extensions_mut().insert(caller);
    let mut response = tenant_credentials::as_tenant(tenant, next.run(request)).await;
    response.headers_mut().extend(rate.headers());
    response
}

async fn outside_tenants(State(api): State<Arc<Api>>, request: Request, next: Next) -> Response {
    let (credentials, mut request) = Credentials::of(request);
    let rate = match api.auth.identity(&credentials).await {
        Ok(Identity::Key(caller)) => {
            let rate = caller.rate;
            request.extensions_mut().insert(Identity::Key(caller));
            rate
        }
        Ok(Identity::User(user)) => {
            let (limits, now) = (plan::ceiling(), api.clock.now());
            match api.auth.requests.add(user.as_str(), &limits, now) {
                Err(problem) => return problem.into_response(),
                Ok(rate) => {
                    request.extensions_mut().insert(Identity::User(user));
                    rate
                }
            }
        }
        Err(problem) => return problem.into_response(),
    };
    let mut response = next.run(request).await;
    response.headers_mut().extend(rate.headers());
    response
}
