//! Public keys of providers, fetched from their own hosts and cached.
//!
//! The caller has checked that a URL is the provider's. A flood of requests that name many such URLs
//! causes at most one fetch a second.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use aias_domain::{
    event,
    verification::{KeyRequest, Scheme, UnknownKey, Values, key_request},
};
use http::{Request, header::CONTENT_TYPE};
use tokio::{
    sync,
    time::{Instant, timeout},
};

use crate::{
    client::{Client, RequestError, SystemResolver},
    http::Problem,
    outbound::{CONNECT_TIMEOUT, Guard, GuardedResolver},
};

/// How long a key is used.
const TTL: Duration = Duration::from_mins(10);

/// How long it is used if it cannot be fetched again.
const TTL_WITHOUT_FETCH: Duration = Duration::from_hours(1);

/// The shortest time between two fetches.
const FETCH_EVERY: Duration = Duration::from_secs(1);

/// How long a fetch may take.
const FETCH_TIMEOUT: Duration = Duration::from_secs(4);

/// The largest certificate or set of keys, in bytes.
const MAX_BYTES: usize = 64 * 1024;

/// The most keys that are cached.
const MAX_KEYS: usize = 64;

/// Why there is no key. The provider retries.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the provider's host does not respond")]
    Request(#[from] RequestError),
    #[error("the provider's host does not respond in time")]
    Timeout,
    #[error("the provider's host responds with status {0}")]
    Status(u16),
    #[error("another key was fetched less than a second ago")]
    TooSoon,
    #[error("the URL is malformed")]
    Malformed,
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        Self::unavailable(error).retry_after(1)
    }
}

#[derive(Debug)]
pub struct PublishedKeys {
    client: Client,
    cached: Mutex<HashMap<String, CachedKey>>,
    /// When a key was last fetched. Held over a fetch, so that concurrent requests wait for the same
    /// key; requests whose key is cached do not wait.
    fetched_at: sync::Mutex<Option<Instant>>,
}

#[derive(Debug)]
struct CachedKey {
    fetched_at: Instant,
    key: Arc<Vec<u8>>,
}

impl Default for PublishedKeys {
    /// With connections to public addresses only.
    fn default() -> Self {
        let resolver = GuardedResolver::new(Guard::default(), SystemResolver);
        Self::with_client(Client::with_resolver(resolver, CONNECT_TIMEOUT))
    }
}

impl PublishedKeys {
    #[must_use]
    pub fn with_client(client: Client) -> Self {
        Self {
            client,
            cached: Mutex::default(),
            fetched_at: sync::Mutex::default(),
        }
    }

    fn cached(&self) -> MutexGuard<'_, HashMap<String, CachedKey>> {
        self.cached.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A key that is younger than `ttl`.
    fn younger(&self, name: &str, ttl: Duration) -> Option<Arc<Vec<u8>>> {
        let cached = self.cached();
        let cached = cached.get(name)?;
        (cached.fetched_at.elapsed() < ttl).then(|| Arc::clone(&cached.key))
    }

    /// Uses this key from now on, as if it had been fetched.
    pub fn insert(&self, request: &KeyRequest, key: Arc<Vec<u8>>) {
        let mut cached = self.cached();
        if cached.len() >= MAX_KEYS {
            cached.clear();
        }
        let entry = CachedKey {
            fetched_at: Instant::now(),
            key,
        };
        cached.insert(request.name(), entry);
    }

    /// The values of a request, with the published key of its provider if the scheme needs one. A
    /// lookup uses the endpoint's newest `secret`.
    ///
    /// # Errors
    ///
    /// When there is no such key.
    pub async fn values_of<'a>(
        &self,
        scheme: &Scheme,
        secret: Option<&[u8]>,
        request: &'a event::Request<'a>,
    ) -> Result<Values<'a>, Error> {
        let values = Values::new(request);
        match key_request(scheme, secret, &values) {
            Ok(Some(request)) => {
                let key = self.get(&request).await?;
                Ok(values.with_published_key(request, key))
            }
            // Without a key, the request is refused as one without a signature is.
            Ok(None) | Err(UnknownKey) => Ok(values),
        }
    }

    /// The response to a request. A key that was fetched an hour ago at most is used while it cannot be fetched
    /// again: the provider's host does not respond, or others' requests name one URL after another.
    ///
    /// # Errors
    ///
    /// When there is no such key.
    pub async fn get(&self, request: &KeyRequest) -> Result<Arc<Vec<u8>>, Error> {
        let name = request.name();
        if let Some(key) = self.younger(&name, TTL) {
            return Ok(key);
        }
        let fetched = self.fetch_again(request, &name).await;
        fetched.or_else(|error| self.younger(&name, TTL_WITHOUT_FETCH).ok_or(error))
    }

    async fn fetch_again(&self, request: &KeyRequest, name: &str) -> Result<Arc<Vec<u8>>, Error> {
        let mut fetched_at = self.fetched_at.lock().await;
        // Another request may have fetched it.
        if let Some(key) = self.younger(name, TTL) {
            return Ok(key);
        }
        if fetched_at.is_some_and(|at| at.elapsed() < FETCH_EVERY) {
            return Err(Error::TooSoon);
        }
        *fetched_at = Some(Instant::now());
        let key = Arc::new(self.fetch(request).await?);
        self.insert(request, Arc::clone(&key));
        Ok(key)
    }

    /// Sends a request and returns the body of its response.
    ///
    /// # Errors
    ///
    /// When the response is not `200`.
    pub async fn fetch(&self, request: &KeyRequest) -> Result<Vec<u8>, Error> {
        let request = match &request.body {
            None => Request::get(&request.url).body(Vec::new()),
            Some(json) => Request::post(&request.url)
                .header(CONTENT_TYPE, "application/json")
                .body(json.clone().into_bytes()),
        };
        let request = request.map_err(|_| Error::Malformed)?;
        let sent = timeout(FETCH_TIMEOUT, self.client.send(request, MAX_BYTES));
        let response = sent.await.map_err(|_| Error::Timeout)??;
        match response.status().as_u16() {
            200 => Ok(response.into_body()),
            status => Err(Error::Status(status)),
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn key_that_cannot_be_fetched_again_is_used_for_an_hour() {
        let keys = PublishedKeys::with_client(Client::new());
        // Nothing listens there.
        let at = |path: &str| KeyRequest::get(format!("http://127.0.0.1:1/{path}"));
        let own = at("keys");
        keys.insert(&own, Arc::new(b"key".to_vec()));
        advance(TTL).await;
        assert_eq!(*keys.get(&own).await.unwrap(), b"key");
        // A fetch was tried just now.
        assert_eq!(*keys.get(&own).await.unwrap(), b"key");
        assert!(matches!(keys.get(&at("other")).await, Err(Error::TooSoon)));
        advance(TTL_WITHOUT_FETCH).await;
        assert!(keys.get(&own).await.is_err());
    }
}
