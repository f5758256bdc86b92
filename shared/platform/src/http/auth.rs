//! Who calls: the one place where a credential becomes a [`Caller`], before any path or body is
//! looked at. Nothing else gives a [`Proof`] of a tenant to a route.

use std::fmt;

use aias_domain::{
    id::{KeyId, TenantId},
    plan::{self, Limits},
    tenant::{Role, Tenant, UserId},
};

use super::{
    SeenCell,
    oidc::{Oidc, TokenError},
    problem::Problem,
    rate::{Attempts, Rate, RateState},
    request::Request,
    response::Response,
};
use crate::{
    clock::Clock,
    narrow,
    secrets::{Keyring, Keyrings, Purpose},
    store::{Proof, Store},
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

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::User(user) => user.fmt(f),
            Self::Key(key) => key.fmt(f),
        }
    }
}

/// A caller whose credential is good, in their tenant.
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

/// A credential that is good, before a tenant is chosen.
#[derive(Debug, Clone)]
pub enum Identity {
    /// A person, who may be in many tenants.
    User(UserId),
    /// A program, in its one tenant.
    Key(Box<Caller>),
}

/// What authentication takes.
#[derive(Debug)]
pub struct Auth {
    store: Store,
    keyrings: Keyrings,
    oidc: Oidc,
    rate: Rate,
    attempts: Attempts,
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
            rate: Rate::default(),
            attempts: Attempts::default(),
            clock,
        }
    }

    /// The keyring.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn keyring(&self) -> Result<std::sync::Arc<Keyring>, Problem> {
        Ok(self.keyrings.get().await?)
    }

    /// Answers a request of a caller in a tenant: finds out who calls, lets `endpoint` answer, and
    /// puts the rate onto whatever the answer is.
    ///
    /// # Errors
    /// `401`, `429`, or what `endpoint` says.
    pub async fn as_caller<F>(
        &self,
        request: &Request,
        seen: &SeenCell,
        endpoint: impl FnOnce(Caller) -> F,
    ) -> Result<Response, Problem>
    where
        F: Future<Output = Result<Response, Problem>>,
    {
        let caller = self.caller(request).await?;
        seen.note(|seen| seen.caller(&caller));
        let rate = caller.rate;
        rated(rate, endpoint(caller)).await
    }

    /// Answers a request of somebody who has not named a tenant.
    ///
    /// # Errors
    /// `401`, `429`, or what `endpoint` says.
    pub async fn as_somebody<F>(
        &self,
        request: &Request,
        endpoint: impl FnOnce(Identity) -> F,
    ) -> Result<Response, Problem>
    where
        F: Future<Output = Result<Response, Problem>>,
    {
        let identity = self.identity(request).await?;
        let rate = match &identity {
            Identity::Key(caller) => caller.rate,
            Identity::User(user) => {
                self.rate
                    .count(user.as_str(), &plan::ceiling(), self.clock.now())?
            }
        };
        rated(rate, endpoint(identity)).await
    }

    /// The same for a path that names the tenant itself.
    ///
    /// # Errors
    /// `401`, `404` for a tenant that is not the caller's, `429`, or what `endpoint` says.
    pub async fn as_member<F>(
        &self,
        request: &Request,
        seen: &SeenCell,
        tenant: &str,
        endpoint: impl FnOnce(Caller) -> F,
    ) -> Result<Response, Problem>
    where
        F: Future<Output = Result<Response, Problem>>,
    {
        let caller = match self.identity(request).await? {
            Identity::Key(caller) if caller.tenant.id.to_string() == tenant => *caller,
            Identity::Key(_) => return Err(Problem::not_found()),
            Identity::User(user) => {
                let tenant = tenant.parse().map_err(|_| Problem::not_found())?;
                self.member(tenant, user).await?
            }
        };
        seen.note(|seen| seen.caller(&caller));
        let rate = caller.rate;
        rated(rate, endpoint(caller)).await
    }

    /// Who calls, in the tenant that the request or the key names.
    async fn caller(&self, request: &Request) -> Result<Caller, Problem> {
        let named = tenant_named(request);
        match self.identity(request).await? {
            Identity::Key(caller) => match named {
                Some(named) if named != caller.tenant.id.to_string() => Err(Problem::not_found()),
                _ => Ok(*caller),
            },
            Identity::User(user) => {
                let named = named.ok_or_else(|| {
                    Problem::bad_request("tenant-missing", "No tenant named")
                        .detail("name the tenant in X-Tenant-Id or ?tenant_id=")
                })?;
                let tenant_id = named.parse().map_err(|_| Problem::not_found())?;
                let caller = self.member(tenant_id, user).await?;
                // Only its deletion can still be asked for.
                if caller.tenant.deleted_at.is_some() {
                    return Err(Problem::not_found());
                }
                Ok(caller)
            }
        }
    }

    /// A person, in a tenant that they are a member of.
    async fn member(&self, tenant_id: TenantId, user: UserId) -> Result<Caller, Problem> {
        let found = self.store.membership(tenant_id, &user).await?;
        let (tenant, member) = found.ok_or_else(Problem::not_found)?;
        if member.disabled_by_plan {
            return Err(disabled_by_plan());
        }
        self.admit(tenant, member.role, Actor::User(user))
    }

    fn admit(&self, tenant: Tenant, role: Role, actor: Actor) -> Result<Caller, Problem> {
        let now = self.clock.now();
        let limits = plan::limits(&tenant, now);
        narrow::enter(tenant.id);
        let rate = self.rate.count(&tenant.id.to_string(), &limits, now)?;
        Ok(Caller {
            tenant,
            role,
            actor,
            limits,
            rate,
        })
    }

    /// Whose credential the request carries.
    ///
    /// # Errors
    /// `401` without a good one, `429` when too many were not.
    async fn identity(&self, request: &Request) -> Result<Identity, Problem> {
        let who = request.source_ip.as_str();
        self.attempts.check(who, self.clock.now())?;
        let found = self.credential(request).await;
        if found.as_ref().is_err_and(Problem::is_bad_credential) {
            self.attempts.failed(who, self.clock.now());
        }
        found
    }

    async fn credential(&self, request: &Request) -> Result<Identity, Problem> {
        let header = request
            .header("authorization")
            .ok_or_else(|| Problem::unauthorized("no credential"))?;
        let token = match header.split_once(' ') {
            Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => token.trim(),
            _ => {
                return Err(Problem::unauthorized(
                    "the credential has to be a Bearer token",
                ));
            }
        };
        if token.starts_with(TOKEN_PREFIX) {
            return self
                .api_key(token)
                .await
                .map(|caller| Identity::Key(Box::new(caller)));
        }
        match self.oidc.user(token).await {
            Ok(user) => Ok(Identity::User(user)),
            Err(error @ (TokenError::Issuer(_) | TokenError::Unreachable(_))) => {
                Err(Problem::unavailable(error))
            }
            Err(error) => Err(invalid().because(error)),
        }
    }

    async fn api_key(&self, token: &str) -> Result<Caller, Problem> {
        let refuse = |reason: &'static str| invalid().because(format!("the API key is {reason}"));
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

/// Puts the rate onto whatever the answer is.
async fn rated(
    rate: RateState,
    answer: impl Future<Output = Result<Response, Problem>>,
) -> Result<Response, Problem> {
    match answer.await {
        Ok(response) => Ok(rate.onto(response)),
        Err(problem) => Err(rate.onto_problem(problem)),
    }
}

fn invalid() -> Problem {
    Problem::bad_credential()
}

/// A caller whom the tenant's plan has no room for.
fn disabled_by_plan() -> Problem {
    Problem::forbidden(
        "the tenant's plan allows fewer of these; a larger plan lets this one in again",
    )
}

/// The tenant that the request names, by header or query.
fn tenant_named(request: &Request) -> Option<String> {
    request
        .header("x-tenant-id")
        .map(str::to_owned)
        .or_else(|| request.parameter("tenant_id"))
}
