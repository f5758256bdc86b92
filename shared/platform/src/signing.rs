//! Signing secrets, sealed for the one endpoint that they belong to.

use aias_domain::id::{EndpointId, TenantId};
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};

use crate::secrets::{Error, Keyring};

/// What a provider and an endpoint share.
#[derive(Debug, Clone)]
pub struct SigningSecret {
    secret: SecretString,
    verify_token: Option<SecretString>,
}

#[derive(Serialize, Deserialize)]
struct Plain {
    secret: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    verify_token: Option<String>,
}

impl SigningSecret {
    /// A secret, with the token that some providers send when they validate a URL.
    #[must_use]
    pub fn new(secret: String, verify_token: Option<String>) -> Self {
        Self {
            secret: secret.into(),
            verify_token: verify_token.map(SecretString::from),
        }
    }

    /// The secret's text.
    #[must_use]
    pub fn secret(&self) -> &str {
        self.secret.expose_secret()
    }

    /// The token's text.
    #[must_use]
    pub fn verify_token(&self) -> Option<&str> {
        self.verify_token
            .as_ref()
            .map(|token| token.expose_secret())
    }

    /// Seals it for its endpoint.
    ///
    /// # Errors
    /// Never for secrets that fit into memory.
    pub fn seal(
        &self,
        keyring: &Keyring,
        tenant: TenantId,
        endpoint: EndpointId,
    ) -> Result<String, Error> {
        let plain = Plain {
            secret: self.secret().to_owned(),
            verify_token: self.verify_token().map(str::to_owned),
        };
        let text = serde_json::to_vec(&plain).map_err(|_| Error::Sealed)?;
        keyring.seal(&place(tenant, endpoint), &text)
    }

    /// Opens one that was sealed for this endpoint.
    ///
    /// # Errors
    /// When it was sealed for another.
    pub fn open(
        keyring: &Keyring,
        tenant: TenantId,
        endpoint: EndpointId,
        sealed: &str,
    ) -> Result<Self, Error> {
        let text = keyring.open(&place(tenant, endpoint), sealed)?;
        let plain: Plain = serde_json::from_slice(&text).map_err(|_| Error::Sealed)?;
        Ok(Self::new(plain.secret, plain.verify_token))
    }
}

fn place(tenant: TenantId, endpoint: EndpointId) -> String {
    format!("{tenant}/{endpoint}/signing")
}
