//! `Idempotency-Key`: the answer is stored in the transaction that makes what it tells of, so that
//! there is never one without the other.

use aias_domain::{canonical, id::TenantId, tenant::UserId};
use aws_sdk_dynamodb::types::AttributeValue;
use jiff::Timestamp;

use super::{
    Error, Store,
    items::{EXPIRES_AT, Item, KIND, number, number_of, text_of},
    keys::{self, Key},
};

/// How long an answer is kept, in seconds: 24 hours.
const KEPT_SECONDS: i64 = 24 * 3600;

/// Whose keys they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// A tenant's.
    Tenant(TenantId),
    /// A user's, before there is a tenant.
    User(UserId),
}

/// A request with an `Idempotency-Key`, and the answer that it gets.
#[derive(Debug, Clone)]
pub struct Idempotency {
    key: Key,
    request: String,
    pub(super) now: Timestamp,
    /// The answer, sealed: it may hold a secret that is shown once.
    answer: String,
}

/// What was answered before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// The same request: its answer, sealed.
    Same(String),
    /// Another request with the same key.
    Other,
}

impl Idempotency {
    /// `route` and `body` make the request what it is.
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
            answer: String::new(),
        }
    }

    /// Where the answer is stored, which is also what it is sealed for.
    #[must_use]
    pub fn place(&self) -> String {
        format!("{} {}", self.key.pk, self.key.sk)
    }

    /// With its answer, sealed for [`Idempotency::place`].
    #[must_use]
    pub fn with_answer(self, answer: String) -> Self {
        Self { answer, ..self }
    }

    pub(super) fn item(&self) -> Item {
        let mut item = self.key.attributes();
        let expires = self.now.as_second() + KEPT_SECONDS;
        item.insert(KIND.to_owned(), AttributeValue::S("idempotency".to_owned()));
        item.insert(
            "request".to_owned(),
            AttributeValue::S(self.request.clone()),
        );
        item.insert("answer".to_owned(), AttributeValue::S(self.answer.clone()));
        item.insert(EXPIRES_AT.to_owned(), number(expires));
        item
    }
}

pub(super) fn answer(asked: &Idempotency, found: &Item) -> Result<Answer, Error> {
    let request =
        text_of(found, "request").ok_or_else(|| Error::broken("an answer without a request"))?;
    if request != asked.request {
        return Ok(Answer::Other);
    }
    let answer =
        text_of(found, "answer").ok_or_else(|| Error::broken("an answer without a text"))?;
    Ok(Answer::Same(answer.to_owned()))
}

impl Store {
    /// What the request was answered before, if it was.
    ///
    /// # Errors
    /// When the table does not answer.
    pub async fn answered(&self, asked: &Idempotency) -> Result<Option<Answer>, Error> {
        let Some(found) = self.item(&asked.key, true).await? else {
            return Ok(None);
        };
        let now = u64::try_from(asked.now.as_second()).unwrap_or_default();
        if number_of(&found, EXPIRES_AT).is_some_and(|until| until < now) {
            return Ok(None);
        }
        answer(asked, &found).map(Some)
    }
}
