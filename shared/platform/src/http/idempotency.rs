//! `Idempotency-Key`: for a day, the same key and body get the same response.

use std::collections::BTreeMap;

use aias_domain::plan::Limits;
use axum::{
    body::Bytes,
    http::{HeaderName, StatusCode},
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{
    api::Api,
    problem::{Problem, kinds},
    request::{Head, text_of},
    response::{self, Response, WithHeader as _},
};
use crate::{
    secrets::Keyring,
    store::{Idempotency, IdempotencyMatch, Scope, Store, TransactionError},
};

/// The longest key, in bytes.
pub(super) const MAX_KEY_BYTES: usize = 255;

const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");

/// Whether a response is the stored one of an earlier request.
#[must_use]
pub fn is_replayed(response: &Response) -> bool {
    response.headers().contains_key(REPLAYED)
}

/// A request that creates an object, and its `Idempotency-Key` if it has one.
#[derive(Debug)]
pub struct Once<'a> {
    keyring: &'a Keyring,
    request: Option<Idempotency>,
}

#[derive(Serialize, Deserialize)]
struct StoredResponse {
    status: u16,
    headers: BTreeMap<String, String>,
    body: String,
}

impl Api {
    /// Handles a request that creates an object: a repeated request gets the first response.
    ///
    /// # Errors
    ///
    /// `409` when the key was used with another body, or the error of `create`.
    pub async fn once(
        &self,
        scope: Scope,
        head: &Head,
        body: &Bytes,
        create: impl AsyncFnOnce(Once<'_>) -> response::Result,
    ) -> response::Result {
        let keyring = self.auth.keyring().await?;
        let now = self.clock.now();
        let looked_up = Once::look_up(&self.store, &keyring, &scope, head, body, now);
        match looked_up.await? {
            Ok(once) => create(once).await,
            Err(earlier) => Ok(earlier),
        }
    }
}

impl<'a> Once<'a> {
    #[must_use]
    pub fn keyring(&self) -> &Keyring {
        self.keyring
    }

    /// The stored response of the request as `Ok(Err(…))`, if there is one.
    async fn look_up(
        store: &Store,
        keyring: &'a Keyring,
        scope: &Scope,
        head: &Head,
        body: &[u8],
        now: Timestamp,
    ) -> response::Result<Result<Self, Response>> {
        let Some(key) = head.header("idempotency-key") else {
            return Ok(Ok(Self {
                keyring,
                request: None,
            }));
        };
        if !(1..=MAX_KEY_BYTES).contains(&key.len()) {
            return Err(Problem::new(&kinds::BAD_IDEMPOTENCY_KEY).detail(format!(
                "an Idempotency-Key has 1 to {MAX_KEY_BYTES} characters"
            )));
        }
        let route = format!("{} {}", head.method, head.uri.path());
        let request = Idempotency::new(scope, key, &route, body, now);
        let once = Self {
            keyring,
            request: Some(request.clone()),
        };
        match store.stored_response(&request).await? {
            None => Ok(Ok(once)),
            Some(stored) => once.earlier(stored).map(Err),
        }
    }

    /// The sealed response, to be stored in the transaction that creates the object.
    ///
    /// # Errors
    ///
    /// When the response cannot be sealed.
    pub fn sealed(&self, response: &Response) -> response::Result<Option<Idempotency>> {
        let Some(request) = &self.request else {
            return Ok(None);
        };
        let header = |(name, value)| {
            let name: &HeaderName = name;
            Some((name.as_str().to_owned(), text_of(value)?.to_owned()))
        };
        let stored = StoredResponse {
            status: response.status().as_u16(),
            headers: response.headers().iter().filter_map(header).collect(),
            body: response.body().clone(),
        };
        let text = serde_json::to_vec(&stored).map_err(Problem::internal)?;
        let sealed = self.keyring.seal(&request.place(), &text)?;
        Ok(Some(request.clone().with_response(sealed)))
    }

    /// The response after the transaction: this one, or the one that a concurrent request with the
    /// same key stored first.
    ///
    /// # Errors
    ///
    /// Why the transaction was refused.
    pub fn finish(
        &self,
        written: Result<(), TransactionError>,
        response: Response,
        limits: &Limits,
    ) -> response::Result {
        match written {
            Ok(()) => Ok(response),
            Err(TransactionError::Repeated(stored)) => self.earlier(*stored),
            Err(refused) => Err(Problem::refused(refused, limits)),
        }
    }

    fn earlier(&self, stored: IdempotencyMatch) -> response::Result {
        let (Some(request), IdempotencyMatch::Same(sealed)) = (&self.request, stored) else {
            return Err(Problem::new(&kinds::IDEMPOTENCY_KEY_REUSED));
        };
        let text = self.keyring.open(&request.place(), &sealed)?;
        let stored: StoredResponse = serde_json::from_slice(&text).map_err(Problem::internal)?;
        let mut response = Response::new(stored.body);
        *response.status_mut() = StatusCode::from_u16(stored.status).map_err(Problem::internal)?;
        for (name, value) in stored.headers {
            let name: HeaderName = name.parse().map_err(Problem::internal)?;
            response = response.with(name, value);
        }
        Ok(response.with(REPLAYED, "true"))
    }
}
