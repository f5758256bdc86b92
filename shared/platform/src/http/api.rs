//! The state that every function with authenticated routes has.

use std::sync::Arc;

use aws_config::SdkConfig;

use super::{Auth, Issuer};
use crate::{clock::Clock, config::Env, secrets::Keyrings, store::Store};

/// Clones share the keyring, the issuer's keys and the counts of requests.
#[derive(Debug, Clone)]
pub struct Api {
    pub store: Store,
    pub auth: Arc<Auth>,
    pub clock: Clock,
}

/// The state of a function with authenticated routes.
pub trait HasApi: Send + Sync + 'static {
    fn api(&self) -> &Api;
}

/// The state of a function that needs nothing else.
impl HasApi for Api {
    fn api(&self) -> &Api {
        self
    }
}

impl Api {
    /// From `TABLE_NAME`, `KEYRING_SECRET_ARN`, `OIDC_ISSUER`, `OIDC_AUDIENCE` and
    /// `OIDC_FORMER_ISSUERS`. Without an issuer only API keys are valid. `tenants` is the configuration of
    /// [`crate::tenant_credentials`], for items that belong to a tenant.
    #[must_use]
    pub fn load(aws: &SdkConfig, tenants: &SdkConfig, env: &Env) -> Self {
        let store = Store::new(tenants, env.text("TABLE_NAME"));
        let keyrings = Keyrings::new(aws, env.text("KEYRING_SECRET_ARN"));
        let issuer = env.optional("OIDC_ISSUER").and_then(|url| {
            let audience = env.optional("OIDC_AUDIENCE").unwrap_or_default();
            let former = env.optional("OIDC_FORMER_ISSUERS").unwrap_or_default();
            Issuer::new(&url, &audience)
                .map(|issuer| issuer.with_former(&former))
                .map_err(|why| env.refuse("OIDC_ISSUER", why))
                .ok()
        });
        Self::new(store, keyrings, issuer, Clock::system())
    }

    /// From its parts.
    #[must_use]
    pub fn new(store: Store, keyrings: Keyrings, issuer: Option<Issuer>, clock: Clock) -> Self {
        let auth = Auth::new(store.clone(), keyrings, issuer, clock.clone());
        Self {
            store,
            auth: Arc::new(auth),
            clock,
        }
    }

    /// Reads the keyring, so that no request waits for it. When that fails, the first request that
    /// needs the keyring tries again and reports why.
    pub async fn warm(&self) {
        let _ = self.auth.keyring().await;
    }
}
