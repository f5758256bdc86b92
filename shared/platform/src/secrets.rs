//! Secrets in Secrets Manager: the keyring, and the secrets created by third parties. A secret is
//! read again every five minutes, so that it rotates without a deployment.

mod keyring;

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use aws_config::SdkConfig;
use secrecy::{ExposeSecret as _, SecretString};
use subtle::ConstantTimeEq as _;
use tokio::sync::Mutex;

pub use keyring::{Keyring, Purpose};

/// How long a secret is cached.
const TTL: Duration = Duration::from_secs(300);

/// Why a keyring or a sealed string cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Secrets Manager is unavailable.
    #[error("the secret cannot be read")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The secret does not have the expected form.
    #[error("the secret is malformed: {0}")]
    Malformed(&'static str),
    /// The string was not sealed with a key of this keyring, or was sealed for another context.
    #[error("a sealed string cannot be opened")]
    Sealed,
}

/// A value that is stored in a secret.
pub trait FromSecret: Sized {
    /// Parses the secret.
    ///
    /// # Errors
    ///
    /// When it does not have the expected form.
    fn from_secret(text: &SecretString) -> Result<Self, Error>;
}

/// A secret created by a third party: `{"current": "…", "previous": "…"}`. Both are accepted during
/// a rotation.
#[derive(Debug, Clone)]
pub struct RotatingSecret {
    /// The value to use.
    pub current: SecretString,
    /// The previous value, which is still accepted.
    pub previous: Option<SecretString>,
}

impl RotatingSecret {
    /// All accepted values, the current one first.
    pub fn all(&self) -> impl Iterator<Item = &SecretString> {
        std::iter::once(&self.current).chain(&self.previous)
    }
}

impl FromSecret for RotatingSecret {
    fn from_secret(text: &SecretString) -> Result<Self, Error> {
        let mut members: BTreeMap<String, String> = serde_json::from_str(text.expose_secret())
            .map_err(|_| Error::Malformed("not an object of strings"))?;
        let mut take = |name| members.remove(name).filter(|text| !text.is_empty());
        let current = take("current").ok_or(Error::Malformed("no `current`"))?;
        let previous = take("previous").map(SecretString::from);
        if members
            .keys()
            .any(|name| !matches!(name.as_str(), "current" | "previous"))
        {
            return Err(Error::Malformed(
                "only `current` and `previous` are allowed",
            ));
        }
        Ok(Self {
            current: SecretString::from(current),
            previous,
        })
    }
}

pub type Keyrings = Secret<Keyring>;

/// A secret of Secrets Manager and its cached value.
#[derive(Debug)]
pub struct Secret<T> {
    source: Source<T>,
    cached: Mutex<Option<(Instant, Arc<T>)>>,
}

#[derive(Debug)]
enum Source<T> {
    SecretsManager {
        client: aws_sdk_secretsmanager::Client,
        arn: String,
    },
    Constant(Arc<T>),
}

impl<T: FromSecret> Secret<T> {
    #[must_use]
    pub fn new(aws: &SdkConfig, arn: String) -> Self {
        let client = aws_sdk_secretsmanager::Client::new(aws);
        Self {
            source: Source::SecretsManager { client, arn },
            cached: Mutex::new(None),
        }
    }

    /// A constant value, for tests.
    #[must_use]
    pub fn constant(value: T) -> Self {
        Self {
            source: Source::Constant(Arc::new(value)),
            cached: Mutex::new(None),
        }
    }

    /// The current value. If Secrets Manager is unavailable, the cached value is used.
    ///
    /// # Errors
    ///
    /// When there is no cached value and the secret cannot be read.
    pub async fn get(&self) -> Result<Arc<T>, Error> {
        self.get_within(TTL).await
    }

    /// The value, not older than `ttl`: for use after a third party refused the cached value.
    ///
    /// # Errors
    ///
    /// As [`Secret::get`].
    pub async fn get_within(&self, ttl: Duration) -> Result<Arc<T>, Error> {
        let (client, arn) = match &self.source {
            Source::Constant(value) => return Ok(Arc::clone(value)),
            Source::SecretsManager { client, arn } => (client, arn),
        };
        let mut cached = self.cached.lock().await;
        if let Some((read_at, value)) = &*cached
            && read_at.elapsed() < ttl
        {
            return Ok(Arc::clone(value));
        }
        match (Self::fetch(client, arn).await, &mut *cached) {
            (Ok(value), slot) => {
                let value = Arc::new(value);
                *slot = Some((Instant::now(), Arc::clone(&value)));
                Ok(value)
            }
            (Err(error), Some((read_at, value))) => {
                let error = crate::telemetry::ErrorChain(&error).to_string();
                tracing::error!(event = "secret_stale", error);
                *read_at = Instant::now();
                Ok(Arc::clone(value))
            }
            (Err(error), None) => Err(error),
        }
    }

    async fn fetch(client: &aws_sdk_secretsmanager::Client, arn: &str) -> Result<T, Error> {
        let response = client
            .get_secret_value()
            .secret_id(arn)
            .send()
            .await
            .map_err(|e| Error::Unavailable(Box::new(e)))?;
        let text = response
            .secret_string
            .ok_or(Error::Malformed("not a string"))?;
        T::from_secret(&SecretString::from(text))
    }
}

/// Compares two byte strings in constant time.
#[must_use]
pub fn is_equal(one: &[u8], other: &[u8]) -> bool {
    one.ct_eq(other).into()
}
