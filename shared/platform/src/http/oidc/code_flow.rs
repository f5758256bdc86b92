//! The authorization code flow with PKCE (RFC 6749, RFC 7636, OpenID Connect Core 1.0, 3.1): how a
//! person signs in to the console.

use aias_domain::tenant::UserId;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use http::{
    Request,
    header::{ACCEPT, CONTENT_TYPE},
};
use serde::Deserialize;
use sha2::{Digest as _, Sha256};
use url::Url;

use super::{MAX_ANSWER, Oidc, TokenError, in_time, safe};
use crate::secrets::is_equal;

/// One sign-in of a person. The three random values are kept by the browser between its two requests.
#[derive(Debug, Clone, Copy)]
pub struct SignIn<'a> {
    pub client_id: &'a str,
    pub redirect_uri: &'a str,
    /// Returned by the issuer with the code.
    pub state: &'a str,
    /// Returned by the issuer in the token.
    pub nonce: &'a str,
    /// The code verifier of PKCE.
    pub verifier: &'a str,
}

#[derive(Deserialize)]
struct TokenResponse {
    id_token: Option<String>,
}

#[derive(Deserialize)]
struct TokenRefusal {
    error: String,
}

impl Oidc {
    pub(in crate::http) async fn authorization_url(
        &self,
        request: &SignIn<'_>,
    ) -> Result<String, TokenError> {
        let discovery = in_time(self.discovery(self.issuer()?)).await?;
        let endpoint = discovery.authorization_endpoint;
        let endpoint = endpoint.ok_or(TokenError::Issuer("it has no authorization endpoint"))?;
        let mut url = Url::parse(safe(&endpoint)?)
            .map_err(|_| TokenError::Issuer("its authorization endpoint is malformed"))?;
        let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(request.verifier));
        url.query_pairs_mut()
            .append_pair("response_type", "code")
            .append_pair("client_id", request.client_id)
            .append_pair("redirect_uri", request.redirect_uri)
            .append_pair("scope", "openid")
            .append_pair("state", request.state)
            .append_pair("nonce", request.nonce)
            .append_pair("code_challenge", &challenge)
            .append_pair("code_challenge_method", "S256");
        Ok(url.into())
    }

    /// Exchanges a code for an ID token, and verifies it.
    pub(in crate::http) async fn redeem(
        &self,
        request: &SignIn<'_>,
        code: &str,
    ) -> Result<UserId, TokenError> {
        let token = in_time(self.id_token(request, code)).await?;
        let claims = self.claims(&token, request.client_id).await?;
        let nonce = claims.nonce.unwrap_or_default();
        if !is_equal(nonce.as_bytes(), request.nonce.as_bytes()) {
            return Err(TokenError::Nonce);
        }
        claims.sub.parse().map_err(|_| TokenError::Form)
    }

    async fn id_token(&self, request: &SignIn<'_>, code: &str) -> Result<String, TokenError> {
        let discovery = self.discovery(self.issuer()?).await?;
        let endpoint = discovery.token_endpoint;
        let endpoint = endpoint.ok_or(TokenError::Issuer("it has no token endpoint"))?;
        let body = form_urlencoded::Serializer::new(String::new())
            .append_pair("grant_type", "authorization_code")
            .append_pair("code", code)
            .append_pair("redirect_uri", request.redirect_uri)
            .append_pair("client_id", request.client_id)
            .append_pair("code_verifier", request.verifier)
            .finish();
        let request = Request::post(safe(&endpoint)?)
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .header(ACCEPT, "application/json")
            .body(body.into_bytes())
            .map_err(|_| TokenError::Issuer("its token endpoint is malformed"))?;
        let response = self.client.send(request, MAX_ANSWER).await?;
        let malformed = |_| TokenError::Issuer("its token response is malformed");
        match response.status().as_u16() {
            200 => {
                let body: TokenResponse =
                    serde_json::from_slice(response.body()).map_err(malformed)?;
                body.id_token
                    .ok_or(TokenError::Issuer("its response has no ID token"))
            }
            400 | 401 => {
                let body: TokenRefusal =
                    serde_json::from_slice(response.body()).map_err(malformed)?;
                Err(TokenError::Code(body.error.chars().take(64).collect()))
            }
            _ => Err(TokenError::Issuer("its token endpoint fails")),
        }
    }
}
