//! Signing secrets, sealed for their endpoint.

use aias_domain::id::{EndpointId, TenantId};
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};

use crate::secrets::{Error, Keyring};

/// The secret that a provider shares with an endpoint.
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
    /// A secret, with the token that some providers send to validate a URL.
    #[must_use]
    pub fn new(secret: String, verify_token: Option<String>) -> Self {
        Self {
            secret: secret.into(),
            verify_token: verify_token.map(SecretString::from),
        }
    }

    #[must_use]
    pub fn secret(&self) -> &str {
        self.secret.expose_secret()
    }

    #[must_use]
    pub fn verify_token(&self) -> Option<&str> {
        self.verify_token
            .as_ref()
            .map(|token| token.expose_secret())
    }

    /// Seals the secret for its endpoint.
    ///
    /// # Errors
    ///
    /// Only when encryption fails.
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

    /// Opens a secret that was sealed for this endpoint.
    ///
    /// # Errors
    ///
    /// When it was sealed for another endpoint.
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
