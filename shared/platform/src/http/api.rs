//! What every function with authenticated routes has, and running one.

use std::future::Future;

use aws_config::SdkConfig;
use lambda_runtime::{LambdaEvent, service_fn};

use super::{Auth, HttpAnswer, HttpEvent, Issuer};
use crate::{clock::Clock, config::Env, secrets::Keyrings, store::Store};

/// The table, who calls, and the time.
#[derive(Debug)]
pub struct Api {
    /// The table.
    pub store: Store,
    /// Who calls.
    pub auth: Auth,
    /// The time.
    pub clock: Clock,
}

impl Api {
    /// From `TABLE_NAME`, `KEYRING_SECRET_ARN`, `OIDC_ISSUER` and `OIDC_AUDIENCE`. Without an issuer
    /// only API keys open. `tenants` is for what belongs to them ([`crate::narrow`]).
    #[must_use]
    pub fn load(aws: &SdkConfig, tenants: &SdkConfig, env: &Env) -> Self {
        let store = Store::new(tenants, env.text("TABLE_NAME"));
        let keyrings = Keyrings::new(aws, env.text("KEYRING_SECRET_ARN"));
        let issuer = env.optional("OIDC_ISSUER").and_then(|url| {
            let audience = env.optional("OIDC_AUDIENCE").unwrap_or_default();
            Issuer::new(&url, &audience)
                .map_err(|why| env.refuse("OIDC_ISSUER", why))
                .ok()
        });
        Self::new(store, keyrings, issuer, Clock::system())
    }

    /// Of its parts.
    #[must_use]
    pub fn new(store: Store, keyrings: Keyrings, issuer: Option<Issuer>, clock: Clock) -> Self {
        let auth = Auth::new(store.clone(), keyrings, issuer, clock.clone());
        Self { store, auth, clock }
    }

    /// Reads the keyring, so that no request waits for it. When it cannot be read now, a request
    /// tries again.
    pub async fn warm(&self) {
        // A request that needs it says why it cannot be read.
        let _ = self.auth.keyring().await;
    }
}

/// Answers events until the environment ends.
///
/// # Errors
/// When the Lambda runtime itself fails.
pub async fn run<F>(handle: impl Fn(HttpEvent) -> F) -> Result<(), lambda_runtime::Error>
where
    F: Future<Output = HttpAnswer>,
{
    let handle = &handle;
    lambda_runtime::run(service_fn(async |event: LambdaEvent<HttpEvent>| {
        Ok::<_, std::convert::Infallible>(handle(event.payload).await)
    }))
    .await
}
