//! OIDC tokens: verified with the keys of the issuer, which are fetched once, cached, and fetched
//! again when a token names an unknown key.

mod code_flow;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use aias_domain::tenant::UserId;
use http::Request;
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header, jwk::JwkSet};
use serde::Deserialize;
use tokio::{sync::Mutex, time::timeout};

pub use code_flow::SignIn;

use super::{problem::Problem, tokens::PROVIDER};
use crate::{
    client::{Client, RequestError},
    telemetry::ErrorChain,
};

/// How long keys are cached.
const KEYS_TTL: Duration = Duration::from_secs(3600);
/// The shortest time between two fetches caused by unknown keys.
const REFETCH_AFTER: Duration = Duration::from_secs(10);
const FETCH_TIMEOUT: Duration = Duration::from_secs(3);
/// The largest response of an issuer, in bytes.
const MAX_ANSWER: usize = 256 * 1024;
/// The most keys of an issuer.
const MAX_KEYS: usize = 100;
/// The largest token, in bytes.
const MAX_TOKEN: usize = 8 * 1024;
/// The accepted difference between the issuer's clock and ours, in seconds.
const LEEWAY: u64 = 30;

/// Why a token is refused. Logged only; the caller learns that it is invalid.
#[derive(Debug, thiserror::Error)]
pub(super) enum TokenError {
    #[error("no issuer is configured")]
    NoIssuer,
    #[error("not a JSON Web Token")]
    Form,
    #[error("signed with an algorithm that is not accepted")]
    Algorithm,
    #[error("signed with a key that the issuer does not have")]
    UnknownKey,
    #[error("the token is refused")]
    Invalid(#[source] jsonwebtoken::errors::Error),
    #[error("the token belongs to another sign-in")]
    Nonce,
    #[error("the issuer refused the code: {0}")]
    Code(String),
    #[error("the issuer's response cannot be used: {0}")]
    Issuer(&'static str),
    #[error("the issuer cannot be reached")]
    Unreachable(#[from] RequestError),
}

impl From<TokenError> for Problem {
    fn from(error: TokenError) -> Self {
        match error {
            TokenError::Issuer(_) | TokenError::Unreachable(_) => Self::unavailable(error),
            TokenError::NoIssuer
            | TokenError::Form
            | TokenError::Algorithm
            | TokenError::UnknownKey
            | TokenError::Invalid(_)
            | TokenError::Nonce
            | TokenError::Code(_) => Self::bad_credential().because(error),
        }
    }
}

/// An issuer of tokens, and their audience.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issuer {
    /// `iss`.
    pub url: String,
    /// `aud`.
    pub audience: String,
    /// Issuers whose subjects are the same people as this one's, since it took their place.
    pub former: Vec<String>,
}

impl Issuer {
    /// An issuer, if its URL is safe: https, or http on loopback.
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    pub fn new(url: &str, audience: &str) -> Result<Self, &'static str> {
        if !url.starts_with("https://") && !is_local(url) {
            return Err("must start with https://");
        }
        if audience.is_empty() {
            return Err("requires an audience");
        }
        Ok(Self {
            url: url.to_owned(),
            audience: audience.to_owned(),
            former: Vec::new(),
        })
    }

    /// With the issuers whose place it took, separated by commas.
    #[must_use]
    pub fn with_former(self, urls: &str) -> Self {
        let urls = urls.split(',').map(str::trim).filter(|url| !url.is_empty());
        Self {
            former: urls.map(str::to_owned).collect(),
            ..self
        }
    }

    /// Whether its subjects are those of another issuer.
    fn has_subjects_of(&self, url: &str) -> bool {
        self.url == url || self.former.iter().any(|former| former == url)
    }
}

fn is_local(url: &str) -> bool {
    let starts = ["http://127.0.0.1:", "http://localhost:"];
    starts.iter().any(|start| url.starts_with(start))
}

#[derive(Debug)]
pub(super) struct Oidc {
    issuer: Option<Issuer>,
    client: Client,
    keys: Mutex<Keys>,
}

#[derive(Debug, Default)]
struct Keys {
    set: Option<Arc<JwkSet>>,
    fetched_at: Option<Instant>,
}

#[derive(Deserialize)]
struct Claims {
    sub: String,
    nonce: Option<String>,
}

#[derive(Deserialize)]
struct Discovery {
    issuer: String,
    jwks_uri: String,
    authorization_endpoint: Option<String>,
    token_endpoint: Option<String>,
}

impl Oidc {
    pub(super) fn new(issuer: Option<Issuer>) -> Self {
        // A second installation in the same process is ignored.
        let _ = PROVIDER.install_default();
        Self {
            issuer,
            client: Client::new(),
            keys: Mutex::default(),
        }
    }

    pub(super) fn has_issuer(&self) -> bool {
        self.issuer.is_some()
    }

    /// The issuer of a new tenant's members. A local one, whose port may change, is not recorded.
    pub(super) fn recorded_issuer(&self) -> Option<String> {
        let url = &self.issuer.as_ref()?.url;
        (!is_local(url)).then(|| url.clone())
    }

    /// Whether the subjects of the configured issuer are those of this one.
    pub(super) fn has_subjects_of(&self, url: &str) -> bool {
        let issuer = self.issuer.as_ref();
        issuer.is_some_and(|issuer| issuer.has_subjects_of(url))
    }

    fn issuer(&self) -> Result<&Issuer, TokenError> {
        self.issuer.as_ref().ok_or(TokenError::NoIssuer)
    }

    pub(super) async fn user(&self, token: &str) -> Result<UserId, TokenError> {
        let claims = self.claims(token, &self.issuer()?.audience).await?;
        claims.sub.parse().map_err(|_| TokenError::Form)
    }

    /// The claims of a valid token for this audience.
    async fn claims(&self, token: &str, audience: &str) -> Result<Claims, TokenError> {
        let issuer = self.issuer()?;
        if token.len() > MAX_TOKEN {
            return Err(TokenError::Form);
        }
        let header = decode_header(token).map_err(|_| TokenError::Form)?;
        if !matches!(header.alg, Algorithm::RS256 | Algorithm::ES256) {
            return Err(TokenError::Algorithm);
        }
        let kid = header.kid.as_deref().ok_or(TokenError::UnknownKey)?;
        let key = self.key(issuer, kid).await?;
        let mut validation = Validation::new(header.alg);
        validation.set_issuer(&[&issuer.url]);
        validation.set_audience(&[audience]);
        validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
        validation.validate_nbf = true;
        validation.leeway = LEEWAY;
        let token = decode::<Claims>(token, &key, &validation).map_err(TokenError::Invalid)?;
        Ok(token.claims)
    }

    /// The key with this id. An unknown id causes a fetch, at most one in [`REFETCH_AFTER`], so
    /// that invented ids cost nothing.
    async fn key(&self, issuer: &Issuer, kid: &str) -> Result<DecodingKey, TokenError> {
        let mut keys = self.keys.lock().await;
        let age = keys.fetched_at.map(|at| at.elapsed());
        let known = keys
            .set
            .as_ref()
            .filter(|_| age.is_some_and(|age| age < KEYS_TTL))
            .and_then(|set| find(set, kid));
        if let Some(key) = known {
            return Ok(key);
        }
        if age.is_none_or(|age| age >= REFETCH_AFTER) {
            keys.fetched_at = Some(Instant::now());
            match self.fetch(issuer).await {
                Ok(set) => keys.set = Some(Arc::new(set)),
                Err(error) if keys.set.is_none() => {
                    keys.fetched_at = None;
                    return Err(error);
                }
                Err(error) => {
                    tracing::error!(event = "issuer_keys_stale", error = %ErrorChain(&error));
                }
            }
        }
        keys.set
            .as_ref()
            .and_then(|set| find(set, kid))
            .ok_or(TokenError::UnknownKey)
    }

    async fn fetch(&self, issuer: &Issuer) -> Result<JwkSet, TokenError> {
        let fetches = async {
            let discovery = self.discovery(issuer).await?;
            let mut set: JwkSet = self.get(safe(&discovery.jwks_uri)?).await?;
            set.keys.truncate(MAX_KEYS);
            Ok(set)
        };
        in_time(fetches).await
    }

    async fn discovery(&self, issuer: &Issuer) -> Result<Discovery, TokenError> {
        let base = issuer.url.trim_end_matches('/');
        let url = format!("{base}/.well-known/openid-configuration");
        let discovery: Discovery = self.get(&url).await?;
        if discovery.issuer != issuer.url {
            return Err(TokenError::Issuer("its `issuer` is different"));
        }
        Ok(discovery)
    }

    async fn get<T: serde::de::DeserializeOwned>(&self, url: &str) -> Result<T, TokenError> {
        let request = Request::get(url)
            .body(Vec::new())
            .map_err(|_| TokenError::Issuer("its URL is malformed"))?;
        let answer = self.client.send(request, MAX_ANSWER).await?;
        if answer.status() != 200 {
            return Err(TokenError::Issuer("its status is not 200"));
        }
        serde_json::from_slice(answer.body())
            .map_err(|_| TokenError::Issuer("its response is malformed"))
    }
}

async fn in_time<T>(fetches: impl Future<Output = Result<T, TokenError>>) -> Result<T, TokenError> {
    timeout(FETCH_TIMEOUT, fetches)
        .await
        .map_err(|_| TokenError::Issuer("it took too long"))?
}

/// A URL of the issuer, if it is safe as the one of an [`Issuer`] is.
fn safe(url: &str) -> Result<&str, TokenError> {
    let refused = |_| TokenError::Issuer("one of its URLs is unsafe");
    Issuer::new(url, "any").map_err(refused).map(|_| url)
}

fn find(set: &JwkSet, kid: &str) -> Option<DecodingKey> {
    // A symmetric key in the set would let everybody who can read it sign tokens.
    let jwk = set.find(kid)?;
    let asymmetric = !matches!(
        jwk.algorithm,
        jsonwebtoken::jwk::AlgorithmParameters::OctetKey(_)
    );
    asymmetric
        .then(|| DecodingKey::from_jwk(jwk).ok())
        .flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unsafe_issuer_is_refused() {
        assert!(Issuer::new("https://issuer.example", "aias").is_ok());
        assert!(Issuer::new("http://127.0.0.1:4567", "aias").is_ok());
        assert!(Issuer::new("http://127.0.0.1.example:80", "aias").is_err());
        assert!(Issuer::new("http://issuer.example", "aias").is_err());
        assert!(Issuer::new("https://issuer.example", "").is_err());
    }
}
