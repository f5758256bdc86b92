//! Authentication of outgoing requests.

use std::time::{Duration, Instant};

use aias_domain::id::TenantId;
use aias_engine::journal::{Authentication, Body, HttpRequest, HttpResponse, OAuth2};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use http_auth::{PasswordClient, PasswordParams};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::{Error, Outbound, Redactions, header};
use crate::cache::{self, Cache};

/// The most cached tokens.
const MAX_TOKENS: usize = 256;

/// The lifetime of a token without `expires_in`, and how long before its end a token is no longer
/// used.
const DEFAULT_LIFE: Duration = Duration::from_secs(60);
const MARGIN: Duration = Duration::from_secs(30);

/// The longest lifetime of a cached token.
const MAX_LIFE: Duration = Duration::from_secs(3_600);

/// Cached tokens, separate per tenant.
pub(super) struct Tokens(Cache<(TenantId, OAuth2), (String, Instant)>);

impl Default for Tokens {
    fn default() -> Self {
        Self(cache::bounded(MAX_TOKENS))
    }
}

impl std::fmt::Debug for Tokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tokens")
    }
}

impl Tokens {
    fn kept(&self, key: &(TenantId, OAuth2)) -> Option<String> {
        let (token, end) = self.0.get(key)?;
        (end > Instant::now()).then_some(token)
    }

    fn keep(&self, key: (TenantId, OAuth2), token: &str, life: Duration) {
        let end = Instant::now() + life.min(MAX_LIFE).saturating_sub(MARGIN);
        self.0.insert(key, (token.to_owned(), end));
    }

    fn forget(&self, key: &(TenantId, OAuth2)) {
        self.0.remove(key);
    }
}

/// RFC 6749, section 5.1.
#[derive(Deserialize)]
struct TokenAnswer {
    access_token: String,
    #[serde(default)]
    expires_in: Option<u64>,
}

/// OpenID Connect Discovery 1.0, section 3.
#[derive(Deserialize)]
struct Discovery {
    token_endpoint: String,
}

impl Outbound {
    /// Sends a request with its authentication.
    pub(super) async fn authenticated(
        &self,
        tenant: TenantId,
        key: &str,
        request: &HttpRequest,
        redactions: &mut Redactions,
    ) -> Result<HttpResponse, Error> {
        match &request.authentication {
            None => self.follow(request, Some(key), None, redactions).await,
            Some(Authentication::Basic { username, password }) => {
                let basic = basic(username, password);
                redactions.add_authorization(&basic);
                self.follow(request, Some(key), Some(&basic), redactions)
                    .await
            }
            Some(Authentication::Bearer { token }) => {
                let bearer = format!("Bearer {token}");
                redactions.add_authorization(&bearer);
                self.follow(request, Some(key), Some(&bearer), redactions)
                    .await
            }
            Some(Authentication::Digest { username, password }) => {
                self.digest(request, key, (username, password), redactions)
                    .await
            }
            Some(Authentication::OAuth2(policy)) => {
                let cached = (tenant, OAuth2::clone(policy));
                let (token, fresh) = self.token(&cached).await?;
                let bearer = format!("Bearer {token}");
                redactions.add_authorization(&bearer);
                let response = self.follow(request, Some(key), Some(&bearer), redactions);
                let response = response.await?;
                if response.status != 401 || fresh {
                    return Ok(response);
                }
                // The token may have been revoked since it was cached.
                self.tokens.forget(&cached);
                let (token, _) = self.token(&cached).await?;
                let bearer = format!("Bearer {token}");
                redactions.add_authorization(&bearer);
                self.follow(request, Some(key), Some(&bearer), redactions)
                    .await
            }
            // The executor replaces this policy by the value of the secret.
            Some(Authentication::Secret { name, .. }) => {
                let why = format!("the tenant has no secret `{name}`");
                Err(Error::Authentication(why))
            }
        }
    }

    async fn digest(
        &self,
        request: &HttpRequest,
        key: &str,
        (username, password): (&str, &str),
        redactions: &Redactions,
    ) -> Result<HttpResponse, Error> {
        let first = self.once(request, Some(key), None).await?;
        let challenge = header(&first, "www-authenticate").filter(|_| first.status == 401);
        let Some(challenge) = challenge else {
            return Ok(first);
        };
        let refused =
            |_| Error::Authentication("the challenge of the host is not supported".to_owned());
        // The `digest_auth` features exclude RFC 7617, so this policy never sends a password in
        // plain text.
        let mut client = PasswordClient::try_from(challenge).map_err(refused)?;
        let url = url::Url::parse(&request.uri).map_err(|_| Error::Malformed("invalid URI"))?;
        let target = match url.query() {
            Some(query) => format!("{}?{query}", url.path()),
            None => url.path().to_owned(),
        };
        let answer = client.respond(&PasswordParams {
            username,
            password,
            uri: &target,
            method: &request.method,
            body: Some(request.body.as_deref().unwrap_or_default().as_bytes()),
        });
        let answer = answer.map_err(refused)?;
        self.follow(request, Some(key), Some(&answer), redactions)
            .await
    }

    /// A token, and whether it was requested just now.
    async fn token(&self, key: &(TenantId, OAuth2)) -> Result<(String, bool), Error> {
        if let Some(token) = self.tokens.kept(key) {
            return Ok((token, false));
        }
        let policy = &key.1;
        let authority = policy.authority.trim_end_matches('/');
        let endpoint = match &policy.token_path {
            Some(path) if path.starts_with('/') => format!("{authority}{path}"),
            Some(path) if path.contains("://") => path.clone(),
            Some(path) => format!("{authority}/{path}"),
            None => {
                let uri = format!("{authority}/.well-known/openid-configuration");
                let request = request("GET", uri, None, "application/json");
                let found = self
                    .follow(&request, None, None, &Redactions::default())
                    .await?;
                read::<Discovery>(&found)?.token_endpoint
            }
        };
        let mut form = policy.form.clone();
        let mut authorization = None;
        match &policy.client {
            (Some(id), Some(secret)) if policy.basic => {
                // RFC 6749, section 2.3.1: both are form-encoded first.
                let encoded = |text: &str| -> String {
                    form_urlencoded::byte_serialize(text.as_bytes()).collect()
                };
                authorization = Some(basic(&encoded(id), &encoded(secret)));
            }
            (id, secret) => {
                form.extend(id.clone().map(|id| ("client_id".to_owned(), id)));
                form.extend(secret.clone().map(|s| ("client_secret".to_owned(), s)));
            }
        }
        let (body, content_type) = if policy.json {
            let members: Map<String, Value> = form
                .into_iter()
                .map(|(name, value)| (name, Value::String(value)))
                .collect();
            (Value::Object(members).to_string(), "application/json")
        } else {
            let mut text = form_urlencoded::Serializer::new(String::new());
            text.extend_pairs(form);
            (text.finish(), "application/x-www-form-urlencoded")
        };
        let request = request("POST", endpoint, Some(body), content_type);
        let given = self.once(&request, None, authorization.as_deref()).await?;
        let answer: TokenAnswer = read(&given)?;
        let life = answer.expires_in.map_or(DEFAULT_LIFE, Duration::from_secs);
        self.tokens.keep(key.clone(), &answer.access_token, life);
        Ok((answer.access_token, true))
    }
}

/// RFC 7617.
fn basic(username: &str, password: &str) -> String {
    format!(
        "Basic {}",
        STANDARD.encode(format!("{username}:{password}"))
    )
}

fn request(method: &str, uri: String, body: Option<String>, content_type: &str) -> HttpRequest {
    HttpRequest {
        method: method.to_owned(),
        uri,
        headers: vec![
            ("accept".to_owned(), "application/json".to_owned()),
            ("content-type".to_owned(), content_type.to_owned()),
        ],
        body,
        redirect: false,
        authentication: None,
    }
}

/// Parses the response of an authority. Errors do not repeat it, since it may contain a token.
fn read<T: serde::de::DeserializeOwned>(response: &HttpResponse) -> Result<T, Error> {
    if response.status != 200 {
        let why = format!("the authority responded with status {}", response.status);
        return Err(Error::Authentication(why));
    }
    let Body::Text(text) = &response.body else {
        return Err(Error::Authentication(
            "the authority's response is not JSON".to_owned(),
        ));
    };
    serde_json::from_str(text).map_err(|_| {
        Error::Authentication("the authority's response lacks the expected members".to_owned())
    })
}
