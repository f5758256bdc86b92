//! Credentials that reach one tenant's items and objects, and no other's.
//!
//! An API function's own role may only find out who calls. Once that is known, everything that the
//! request still reads or writes goes out with a session of another role, tagged with the tenant; its
//! policy lets through keys that begin with the tag (`dynamodb:LeadingKeys`), and objects under it.
//! So code that asks for another tenant's things is refused by IAM, whatever it believes.
//!
//! A session is kept until shortly before its end: a tenant that is warm costs no call.

use std::{
    cell::Cell,
    collections::HashMap,
    sync::Arc,
    time::{Duration, SystemTime},
};

use aias_domain::id::TenantId;
use aws_config::{SdkConfig, identity::IdentityCache};
use aws_credential_types::{
    Credentials,
    provider::{self, ProvideCredentials, SharedCredentialsProvider, error::CredentialsError},
};
use aws_sdk_sts::types::Tag;
use tokio::sync::Mutex;

use crate::config::Env;

/// The session tag that policies compare keys with.
pub const TAG: &str = "tenant_id";

/// How long a session lasts: the longest that a role of a role may have.
const SESSION_SECONDS: i32 = 3600;

/// How long before its end a session is used no more. A download's URL that was signed with it opens
/// for five minutes.
const MARGIN: Duration = Duration::from_secs(600);

/// How many sessions are kept.
const MAX_SESSIONS: usize = 1_000;

tokio::task_local! {
    /// Whose things the request that is under way may reach.
    static CURRENT: Cell<Option<TenantId>>;
}

/// Runs a request, which belongs to nobody until [`enter`] says to whom.
pub(crate) async fn scope<F: Future>(request: F) -> F::Output {
    CURRENT.scope(Cell::new(None), request).await
}

/// From here on the request reaches this tenant's things and no others.
pub(crate) fn enter(tenant: TenantId) {
    // Outside of a request there is nothing to narrow.
    let _ = CURRENT.try_with(|current| current.set(Some(tenant)));
}

/// The same for a whole future, whatever it does.
#[cfg(feature = "testing")]
pub async fn as_tenant<F: Future>(tenant: TenantId, work: F) -> F::Output {
    CURRENT.scope(Cell::new(Some(tenant)), work).await
}

/// The configuration of clients for tenants' things: their calls go out with `TENANT_ROLE_ARN`, tagged
/// with the request's tenant; before it is known, with the function's own role.
#[must_use]
pub fn config(aws: &SdkConfig, env: &Env) -> SdkConfig {
    narrowed(aws, env.text("TENANT_ROLE_ARN"))
}

/// The same with this role.
#[must_use]
pub fn narrowed(aws: &SdkConfig, role_arn: String) -> SdkConfig {
    let Some(own) = aws.credentials_provider() else {
        return aws.clone();
    };
    let sessions = Sessions {
        own,
        sts: aws_sdk_sts::Client::new(aws),
        role_arn,
        kept: Mutex::default(),
    };
    aws.to_builder()
        .credentials_provider(SharedCredentialsProvider::new(Narrowed(Arc::new(sessions))))
        // It would take one tenant's session for everybody's.
        .identity_cache(IdentityCache::no_cache())
        .build()
}

#[derive(Debug)]
struct Narrowed(Arc<Sessions>);

struct Sessions {
    own: SharedCredentialsProvider,
    sts: aws_sdk_sts::Client,
    role_arn: String,
    kept: Mutex<HashMap<TenantId, Credentials>>,
}

impl std::fmt::Debug for Sessions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sessions")
            .field("role_arn", &self.role_arn)
            .finish_non_exhaustive()
    }
}

impl ProvideCredentials for Narrowed {
    fn provide_credentials<'a>(&'a self) -> provider::future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        let tenant = CURRENT.try_with(Cell::get).ok().flatten();
        let sessions = &self.0;
        provider::future::ProvideCredentials::new(async move {
            match tenant {
                None => sessions.own.provide_credentials().await,
                Some(tenant) => sessions.of(tenant).await,
            }
        })
    }
}

impl Sessions {
    async fn of(&self, tenant: TenantId) -> provider::Result {
        let mut kept = self.kept.lock().await;
        let now = SystemTime::now();
        let lasts = |own: &&Credentials| own.expiry().is_some_and(|end| end > now + MARGIN);
        if let Some(own) = kept.get(&tenant).filter(lasts) {
            return Ok(own.clone());
        }
        let own = self.assume(tenant).await?;
        if kept.len() >= MAX_SESSIONS {
            kept.clear();
        }
        kept.insert(tenant, own.clone());
        Ok(own)
    }

    async fn assume(&self, tenant: TenantId) -> provider::Result {
        let tenant_id = tenant.to_string();
        let tag = Tag::builder().key(TAG).value(&tenant_id).build();
        let assumed = self
            .sts
            .assume_role()
            .role_arn(&self.role_arn)
            .role_session_name(&tenant_id)
            .duration_seconds(SESSION_SECONDS)
            .tags(tag.map_err(CredentialsError::unhandled)?)
            .send()
            .await
            .map_err(CredentialsError::provider_error)?;
        let own = assumed
            .credentials
            .ok_or_else(|| CredentialsError::not_loaded("the session has no credentials"))?;
        let end = SystemTime::try_from(own.expiration).map_err(CredentialsError::unhandled)?;
        Ok(Credentials::new(
            own.access_key_id,
            own.secret_access_key,
            Some(own.session_token),
            Some(end),
            "tenant session",
        ))
    }
}
