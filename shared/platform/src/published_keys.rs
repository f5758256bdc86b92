//! Public keys of providers, fetched from their own hosts and cached.
//!
//! The caller has checked that a URL is the provider's. A flood of requests that name many such URLs
//! causes at most one fetch a second.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use http::Request;
use tokio::{sync::Mutex, time::timeout};

use crate::{
    client::{Client, RequestError, SystemResolver},
    outbound::{CONNECT_TIMEOUT, Guard, GuardedResolver},
};

/// How long a key is used.
const TTL: Duration = Duration::from_mins(10);

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

#[derive(Debug)]
pub struct PublishedKeys {
    client: Client,
    cached: Mutex<Cached>,
}

#[derive(Debug, Default)]
struct Cached {
    keys: HashMap<String, (Instant, Arc<Vec<u8>>)>,
    fetched_at: Option<Instant>,
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
        }
    }

    /// Uses this key from now on, as if it had been fetched.
    pub async fn insert(&self, url: &str, key: Vec<u8>) {
        let mut cached = self.cached.lock().await;
        let entry = (Instant::now(), Arc::new(key));
        cached.keys.insert(url.to_owned(), entry);
    }

    /// What is at a URL.
    ///
    /// # Errors
    ///
    /// When it cannot be fetched.
    pub async fn get(&self, url: &str) -> Result<Arc<Vec<u8>>, Error> {
        // Held over the fetch: concurrent requests wait for the same key.
        let mut cached = self.cached.lock().await;
        if let Some((at, key)) = cached.keys.get(url)
            && at.elapsed() < TTL
        {
            return Ok(Arc::clone(key));
        }
        if cached
            .fetched_at
            .is_some_and(|at| at.elapsed() < FETCH_EVERY)
        {
            return Err(Error::TooSoon);
        }
        cached.fetched_at = Some(Instant::now());
        let key = Arc::new(self.fetch(url).await?);
        if cached.keys.len() >= MAX_KEYS {
            cached.keys.clear();
        }
        let entry = (Instant::now(), Arc::clone(&key));
        cached.keys.insert(url.to_owned(), entry);
        Ok(key)
    }

    /// Sends a `GET` and returns the body of its response.
    ///
    /// # Errors
    ///
    /// When the response is not `200`.
    pub async fn fetch(&self, url: &str) -> Result<Vec<u8>, Error> {
        let request = Request::get(url)
            .body(Vec::new())
            .map_err(|_| Error::Malformed)?;
        let sent = timeout(FETCH_TIMEOUT, self.client.send(request, MAX_BYTES));
        let response = sent.await.map_err(|_| Error::Timeout)??;
        match response.status().as_u16() {
            200 => Ok(response.into_body()),
            status => Err(Error::Status(status)),
        }
    }
}
