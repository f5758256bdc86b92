//! Credentials scoped to one tenant's items and objects.
//!
//! The role of an API function may only authenticate callers. Everything else uses a session of
//! another role, tagged with the tenant. The policy of that role allows keys that start with the
//! tag (`dynamodb:LeadingKeys`) and objects under it. IAM so refuses access to another tenant's
//! items, even if the code has a bug.
//!
//! A session is cached until shortly before it expires, so most requests need no call for it.

use std::{
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

use crate::{
    cache::{self, Cache},
    config::Env,
};

/// The session tag that policies compare keys with.
pub const TAG: &str = "tenant_id";

/// The lifetime of a session: the longest for role chaining.
const SESSION_SECONDS: i32 = 3600;

/// How long before its end a session is no longer used. A download URL signed with it must stay
/// valid for five minutes.
const MARGIN: Duration = Duration::from_secs(600);

/// The most cached sessions.
const MAX_SESSIONS: usize = 1_000;

tokio::task_local! {
    /// The tenant of the current request.
    static TENANT: TenantId;
}

/// Runs a future whose AWS calls use the credentials of this tenant.
pub async fn as_tenant<F: Future>(tenant: TenantId, work: F) -> F::Output {
    TENANT.scope(tenant, work).await
}

/// The configuration of clients for tenants' items and objects. Within [`as_tenant`] they use a
/// session of `TENANT_ROLE_ARN`, elsewhere the function's own role.
#[must_use]
pub fn config(aws: &SdkConfig, env: &Env) -> SdkConfig {
    scoped(aws, env.text("TENANT_ROLE_ARN"))
}

/// As [`config`], with this role.
#[must_use]
pub fn scoped(aws: &SdkConfig, role_arn: String) -> SdkConfig {
    let Some(own) = aws.credentials_provider() else {
        return aws.clone();
    };
    let sessions = Sessions {
        own,
        sts: aws_sdk_sts::Client::new(aws),
        role_arn,
        sessions: cache::bounded(MAX_SESSIONS),
    };
    aws.to_builder()
        .credentials_provider(SharedCredentialsProvider::new(TenantCredentials(Arc::new(
            sessions,
        ))))
        // The SDK's identity cache would use one tenant's session for all tenants.
        .identity_cache(IdentityCache::no_cache())
        .build()
}

#[derive(Debug)]
struct TenantCredentials(Arc<Sessions>);

struct Sessions {
    own: SharedCredentialsProvider,
    sts: aws_sdk_sts::Client,
    role_arn: String,
    sessions: Cache<TenantId, Credentials>,
}

impl std::fmt::Debug for Sessions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sessions")
            .field("role_arn", &self.role_arn)
            .finish_non_exhaustive()
    }
}

impl ProvideCredentials for TenantCredentials {
    fn provide_credentials<'a>(&'a self) -> provider::future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        let tenant = TENANT.try_with(|tenant| *tenant).ok();
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
        let now = SystemTime::now();
        let expires = |own: &Credentials| own.expiry().is_none_or(|end| end <= now + MARGIN);
        self.sessions.remove_if(&tenant, expires);
        // Concurrent requests of one tenant share a session; other tenants do not wait for it.
        let session = self
            .sessions
            .get_or_insert_async(&tenant, self.assume(tenant));
        session.await
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
