//! `Idempotency-Key`: the same key and body gives the same answer for a day.

use std::collections::BTreeMap;

use aias_domain::plan::Limits;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{api::Api, problem::Problem, request::Request, response::Response};
use crate::{
    secrets::Keyring,
    store::{Answer, Idempotency, Refused, Scope, Store},
};

/// A request that may have come before.
#[derive(Debug)]
pub struct Once<'a> {
    keyring: &'a Keyring,
    asked: Option<Idempotency>,
}

#[derive(Serialize, Deserialize)]
struct Kept {
    status: u16,
    headers: BTreeMap<String, String>,
    body: String,
}

impl Api {
    /// Answers a request that makes something, once: the same `Idempotency-Key` and body gets the
    /// answer that it got before.
    ///
    /// # Errors
    /// `409` when the key came with another body, or what `make` says.
    pub async fn once(
        &self,
        scope: Scope,
        request: &Request,
        make: impl AsyncFnOnce(Once<'_>) -> Result<Response, Problem>,
    ) -> Result<Response, Problem> {
        let keyring = self.auth.keyring().await?;
        let begun = Once::begin(&self.store, &keyring, &scope, request, self.clock.now());
        match begun.await? {
            Ok(once) => make(once).await,
            Err(earlier) => Ok(earlier),
        }
    }
}

impl<'a> Once<'a> {
    /// The keyring, which what is made may need too.
    #[must_use]
    pub fn keyring(&self) -> &Keyring {
        self.keyring
    }

    /// The answer, now that what it tells of was made, or why it was not.
    ///
    /// # Errors
    /// What stood in the way.
    pub fn finish(
        &self,
        made: Result<(), Refused>,
        response: Response,
        limits: &Limits,
    ) -> Result<Response, Problem> {
        match made {
            Ok(()) => Ok(response),
            Err(Refused::Answered(answer)) => self.earlier(*answer),
            Err(refused) => Err(Problem::refused(refused, limits)),
        }
    }

    /// Looks whether the request has an `Idempotency-Key`, and whether it was answered before.
    ///
    /// # Errors
    /// The earlier answer as `Ok(Err(…))`; `409` when the key came with another body.
    async fn begin(
        store: &Store,
        keyring: &'a Keyring,
        scope: &Scope,
        request: &Request,
        now: Timestamp,
    ) -> Result<Result<Self, Response>, Problem> {
        let Some(key) = request.header("idempotency-key") else {
            return Ok(Ok(Self {
                keyring,
                asked: None,
            }));
        };
        if !(1..=255).contains(&key.len()) {
            return Err(
                Problem::bad_request("bad-idempotency-key", "Bad Idempotency-Key")
                    .detail("an Idempotency-Key has 1 to 255 characters"),
            );
        }
        let route = format!("{} /{}", request.method, request.segments.join("/"));
        let asked = Idempotency::new(scope, key, &route, &request.body, now);
        let once = Self {
            keyring,
            asked: Some(asked.clone()),
        };
        match store.answered(&asked).await? {
            None => Ok(Ok(once)),
            Some(answer) => once.earlier(answer).map(Err),
        }
    }

    /// What is to be stored with what the request makes: its answer.
    ///
    /// # Errors
    /// When the answer cannot be sealed.
    pub fn keep(&self, response: &Response) -> Result<Option<Idempotency>, Problem> {
        let Some(asked) = &self.asked else {
            return Ok(None);
        };
        let kept = Kept {
            status: response.status(),
            headers: response.headers().clone(),
            body: response.body().to_owned(),
        };
        let text = serde_json::to_vec(&kept).map_err(Problem::internal)?;
        let sealed = self.keyring.seal(&asked.place(), &text)?;
        Ok(Some(asked.clone().with_answer(sealed)))
    }

    /// The answer that the request got before.
    ///
    /// # Errors
    /// `409` when it was another request.
    fn earlier(&self, answer: Answer) -> Result<Response, Problem> {
        let (Some(asked), Answer::Same(sealed)) = (&self.asked, answer) else {
            return Err(Problem::idempotency_key_reused());
        };
        let text = self.keyring.open(&asked.place(), &sealed)?;
        let kept: Kept = serde_json::from_slice(&text).map_err(Problem::internal)?;
        Ok(Response::of_parts(kept.status, kept.headers, kept.body)
            .header("idempotency-replayed", "true"))
    }
}
