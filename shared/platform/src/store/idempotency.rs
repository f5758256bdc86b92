//! `Idempotency-Key`: the response is stored in the transaction that creates the object, so that
//! neither exists without the other.

use aias_domain::{canonical, id::TenantId, tenant::UserId};
use aws_sdk_dynamodb::types::AttributeValue;
use jiff::Timestamp;

use super::{
    Error, Store,
    items::{EXPIRES_AT, Item, KIND, number, number_of, string_of},
    keys::{self, Key},
};

/// How long a response is stored, in seconds: 24 hours.
const KEPT_SECONDS: i64 = 24 * 3600;

/// The owner of idempotency keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    Tenant(TenantId),
    /// A user, for requests outside of tenants.
    User(UserId),
}

/// A request with an `Idempotency-Key`, and its response.
#[derive(Debug, Clone)]
pub struct Idempotency {
    key: Key,
    request: String,
    pub(super) now: Timestamp,
    /// Sealed, since it may contain a secret that is shown once.
    response: String,
}

/// The stored response to a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IdempotencyMatch {
    /// The same request; its response, sealed.
    Same(String),
    /// Another request with the same key.
    Other,
}

impl Idempotency {
    /// `route` and `body` identify the request.
    #[must_use]
    pub fn new(scope: &Scope, key: &str, route: &str, body: &[u8], now: Timestamp) -> Self {
        let hash = canonical::digest(format!("{route}\n{key}").as_bytes());
        Self {
            key: match scope {
                Scope::Tenant(tenant) => keys::idempotency(*tenant, &hash),
                Scope::User(user) => keys::user_idempotency(user, &hash),
            },
            request: canonical::digest(body),
            now,
            response: String::new(),
        }
    }

    /// The location of the response, which is also the context that it is sealed for.
    #[must_use]
    pub fn place(&self) -> String {
        format!("{} {}", self.key.pk, self.key.sk)
    }

    /// Adds the response, sealed for [`Idempotency::place`].
    #[must_use]
    pub fn with_response(self, response: String) -> Self {
        Self { response, ..self }
    }

    pub(super) fn item(&self) -> Item {
        let mut item = self.key.attributes();
        let expires = self.now.as_second() + KEPT_SECONDS;
        item.insert(KIND.to_owned(), AttributeValue::S("idempotency".to_owned()));
        item.insert(
            "request".to_owned(),
            AttributeValue::S(self.request.clone()),
        );
        item.insert(
            "response".to_owned(),
            AttributeValue::S(self.response.clone()),
        );
        item.insert(EXPIRES_AT.to_owned(), number(expires));
        item
    }
}

pub(super) fn stored(requested: &Idempotency, found: &Item) -> Result<IdempotencyMatch, Error> {
    let request = string_of(found, "request")
        .ok_or_else(|| Error::broken("a stored response without its request"))?;
    if request != requested.request {
        return Ok(IdempotencyMatch::Other);
    }
    let response = string_of(found, "response")
        .ok_or_else(|| Error::broken("a stored response without its content"))?;
    Ok(IdempotencyMatch::Same(response.to_owned()))
}

impl Store {
    /// The stored response to a request, if there is one.
    ///
    /// # Errors
    ///
    /// When the table is unavailable.
    pub async fn stored_response(
        &self,
        requested: &Idempotency,
    ) -> Result<Option<IdempotencyMatch>, Error> {
        let Some(found) = self.item(&requested.key, true).await? else {
            return Ok(None);
        };
        let now = u64::try_from(requested.now.as_second()).unwrap_or_default();
        if number_of(&found, EXPIRES_AT).is_some_and(|until| until < now) {
            return Ok(None);
        }
        stored(requested, &found).map(Some)
    }
}
