//! A short-lived cache of endpoints with opened secrets.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use aias_domain::{
    endpoint::EndpointSecretKind,
    id::TenantId,
    plan::Limits,
    verification::{Scheme, key_bytes},
};
use aias_platform::{
    cache::{self, Cache},
    http::{Problem, Result},
    secrets::Purpose,
    signing::SigningSecret,
    store::CachedEndpoint,
};
use jiff::Timestamp;

use crate::App;

/// How long an endpoint is cached, and so how long a change takes to apply to every webhook.
pub const ENDPOINT_TTL: Duration = Duration::from_secs(2);

const MAX_ENDPOINTS: usize = 10_000;

/// An endpoint with its secrets opened.
#[derive(Debug)]
pub(crate) struct ReadyEndpoint {
    pub(crate) found: CachedEndpoint,
    pub(crate) limits: Limits,
    pub(crate) scheme: Scheme,
    /// The valid keys, with their index among the endpoint's signing secrets.
    pub(crate) keys: Vec<(usize, Vec<u8>)>,
    pub(crate) verify_tokens: Vec<String>,
    noted: AtomicBool,
}

impl ReadyEndpoint {
    /// The valid keys.
    pub(crate) fn secrets(&self) -> Vec<Vec<u8>> {
        self.keys.iter().map(|(_, key)| key.clone()).collect()
    }

    /// Whether the provider wants responses without a body, also to what is refused.
    pub(crate) fn responds_without_body(&self) -> bool {
        let response = self.scheme.response.as_ref();
        response.is_some_and(|own| own.body.as_deref() == Some(""))
    }

    /// The secrets whose `last_used_at` must be written; each at most once per cached endpoint.
    pub(crate) fn uses_to_record(
        &self,
        signing: Option<usize>,
        now: Timestamp,
    ) -> Vec<(EndpointSecretKind, usize)> {
        let endpoint = &self.found.endpoint.value;
        let url = endpoint
            .url_secrets
            .iter()
            .position(|s| s.value == self.found.hash);
        let due = |secrets: &[aias_domain::endpoint::EndpointSecret], index: usize| {
            secrets
                .get(index)
                .is_some_and(|secret| secret.must_record_use(now))
        };
        let mut all = Vec::new();
        all.extend(
            url.filter(|i| due(&endpoint.url_secrets, *i))
                .map(|i| (EndpointSecretKind::Url, i)),
        );
        all.extend(
            signing
                .filter(|i| due(&endpoint.signing_secrets, *i))
                .map(|i| (EndpointSecretKind::Signing, i)),
        );
        if all.is_empty() || self.noted.swap(true, Ordering::Relaxed) {
            return Vec::new();
        }
        all
    }
}

/// After a refusal by a cached endpoint, it is read again at most once in this time.
const REREAD_INTERVAL: Duration = Duration::from_millis(100);

#[derive(Debug, Clone)]
struct Entry {
    read_at: Timestamp,
    /// When it was last read because of a refusal.
    reread_at: Option<Timestamp>,
    ready: Arc<ReadyEndpoint>,
}

/// Endpoints by tenant and path secret.
#[derive(Debug)]
pub(crate) struct Endpoints(Cache<(TenantId, String), Entry>);

impl Default for Endpoints {
    fn default() -> Self {
        Self(cache::bounded(MAX_ENDPOINTS))
    }
}

fn age(at: Timestamp, now: Timestamp) -> Duration {
    now.duration_since(at).unsigned_abs()
}

impl App {
    /// The endpoint of a path secret.
    pub(crate) async fn endpoint(
        &self,
        tenant: TenantId,
        secret: &str,
    ) -> Result<Option<Arc<ReadyEndpoint>>> {
        let now = self.clock.now();
        match self.endpoints.0.get(&(tenant, secret.to_owned())) {
            Some(entry) if age(entry.read_at, now) < ENDPOINT_TTL => Ok(Some(entry.ready)),
            entry => {
                let reread_at = entry.and_then(|entry| entry.reread_at);
                self.read_endpoint(tenant, secret, reread_at, now).await
            }
        }
    }

    /// The endpoint, read again because the cached one refused a request: its signing secret may
    /// just have been rotated. `None` if it was read again a moment ago.
    pub(crate) async fn reread_endpoint(
        &self,
        tenant: TenantId,
        secret: &str,
    ) -> Result<Option<Arc<ReadyEndpoint>>> {
        let now = self.clock.now();
        let entry = self.endpoints.0.get(&(tenant, secret.to_owned()));
        let reread_at = entry.and_then(|entry| entry.reread_at);
        if reread_at.is_some_and(|at| age(at, now) < REREAD_INTERVAL) {
            return Ok(None);
        }
        self.read_endpoint(tenant, secret, Some(now), now).await
    }

    async fn read_endpoint(
        &self,
        tenant: TenantId,
        secret: &str,
        reread_at: Option<Timestamp>,
        now: Timestamp,
    ) -> Result<Option<Arc<ReadyEndpoint>>> {
        let key = (tenant, secret.to_owned());
        let keyring = self.keyrings.get().await?;
        let hashes = keyring.hashes(
            Purpose::UrlSecret,
            &[tenant.ulid().as_bytes(), secret.as_bytes()],
        );
        let Some(found) = self.intake.store.hook(tenant, &hashes, now).await? else {
            self.endpoints.0.remove(&key);
            return Ok(None);
        };
        let endpoint = &found.endpoint.value;
        let scheme = endpoint.verification.scheme().map_err(Problem::internal)?;
        let mut keys = Vec::new();
        let mut verify_tokens = Vec::new();
        for (index, sealed) in endpoint.signing_secrets.iter().enumerate() {
            if !sealed.is_valid_at(now) {
                continue;
            }
            let opened = SigningSecret::open(&keyring, tenant, endpoint.id, &sealed.value)?;
            let key = key_bytes(scheme.secret.form, opened.secret());
            keys.extend(key.map(|key| (index, key)));
            verify_tokens.extend(opened.verify_token().map(str::to_owned));
        }
        let ready = Arc::new(ReadyEndpoint {
            limits: found.tenant.limits(now),
            scheme,
            keys,
            verify_tokens,
            noted: AtomicBool::new(false),
            found,
        });
        let entry = Entry {
            read_at: now,
            reread_at,
            ready: Arc::clone(&ready),
        };
        self.endpoints.0.insert(key, entry);
        Ok(Some(ready))
    }
}
