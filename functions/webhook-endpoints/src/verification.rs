//! The `verification` member of requests: a scheme, its options and its secret.

use aias_domain::verification::{
    Algorithm, Encoding, Handshake, HmacOptions, KeyForm, SecretOrigin, Verification, key_bytes,
};
use aias_platform::{
    clock::random_secret,
    http::{Problem, Result},
    signing::SigningSecret,
};
use serde::Deserialize;
use utoipa::ToSchema;

/// How requests are verified.
#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct VerificationInput {
    /// `none`, `hmac`, `standard-webhooks` or a provider: `github`, `stripe`, `slack`, `shopify`,
    /// `meta`. `none` by default.
    #[schema(example = "github")]
    scheme: Option<String>,
    /// The signing secret. Some providers create it, and it can be set later; otherwise AIAS
    /// generates one by default.
    secret: Option<String>,
    /// For `meta`: the token that the provider sends when it validates the URL.
    verify_token: Option<String>,
    /// For `hmac`: the header that has the signature.
    header: Option<String>,
    /// For `hmac`: the hash; `sha256` by default.
    algorithm: Option<Algorithm>,
    /// For `hmac`: the encoding; `hex` by default.
    encoding: Option<Encoding>,
    /// For `hmac`: the string before the signature in its header.
    prefix: Option<String>,
    /// For `hmac`: the header that has the event id.
    event_id_header: Option<String>,
}

/// A checked verification, as it is stored.
pub(crate) struct ValidVerification {
    pub(crate) verification: Verification,
    pub(crate) secret: Option<SigningSecret>,
    /// The secret if AIAS generated it, to be shown once.
    pub(crate) made: Option<String>,
}

/// The longest verify token, in characters.
const MAX_TOKEN: usize = 256;

fn fault(member: &str, detail: impl Into<String>) -> Problem {
    Problem::invalid_member(&format!("/verification/{member}"), detail)
}

impl VerificationInput {
    /// Whether the settings name a scheme.
    pub(crate) fn has_scheme(&self, name: &str) -> bool {
        self.scheme.as_deref() == Some(name)
    }

    /// Checks the settings, and generates a secret if the provider does not. If the provider does,
    /// and `may_be_pending`, it may be missing.
    pub(crate) fn read(self, may_be_pending: bool) -> Result<ValidVerification> {
        let verification = Verification {
            scheme: self.scheme.unwrap_or_else(|| "none".to_owned()),
            hmac: HmacOptions {
                header: self.header,
                algorithm: self.algorithm,
                encoding: self.encoding,
                prefix: self.prefix,
                event_id_header: self.event_id_header,
            },
        };
        let scheme = verification
            .scheme()
            .map_err(|e| fault(e.member(), e.to_string()))?;
        let Some(signature) = &scheme.signature else {
            return match (self.secret, self.verify_token) {
                (None, None) => Ok(ValidVerification {
                    verification,
                    secret: None,
                    made: None,
                }),
                (Some(_), _) => Err(fault("secret", "the scheme `none` has no secret")),
                (None, Some(_)) => Err(fault("verify_token", "the scheme `none` has no token")),
            };
        };
        let verify_token = match (scheme.handshake, self.verify_token) {
            (Handshake::HubChallenge, None) => {
                return Err(fault(
                    "verify_token",
                    "choose a token; the provider sends it when it validates the URL",
                ));
            }
            (Handshake::HubChallenge, Some(token)) if (1..=MAX_TOKEN).contains(&token.len()) => {
                Some(token)
            }
            (Handshake::HubChallenge, Some(_)) => {
                return Err(fault(
                    "verify_token",
                    format!("a token must have 1 to {MAX_TOKEN} characters"),
                ));
            }
            (_, Some(_)) => return Err(fault("verify_token", "this scheme has no token")),
            (_, None) => None,
        };
        // The secret of a provider that validates the URL first is known before.
        let waits = may_be_pending
            && self.secret.is_none()
            && verify_token.is_none()
            && signature.origin == SecretOrigin::Provider;
        if waits {
            return Ok(ValidVerification {
                verification,
                secret: None,
                made: None,
            });
        }
        let (text, made) = signing_secret(signature.origin, signature.key, self.secret)
            .map_err(|detail| fault("secret", detail))?;
        Ok(ValidVerification {
            verification,
            secret: Some(SigningSecret::new(text, verify_token)),
            made,
        })
    }
}

/// A signing secret, and the same string again if AIAS generated it.
pub(crate) fn signing_secret(
    origin: SecretOrigin,
    form: KeyForm,
    secret: Option<String>,
) -> std::result::Result<(String, Option<String>), &'static str> {
    match (secret, origin) {
        (Some(text), _) if key_bytes(form, &text).is_some() => Ok((text, None)),
        (Some(_), _) => Err(match form {
            KeyForm::Text => "a secret must have 1 to 512 characters",
            KeyForm::Whsec => "a secret must be `whsec_` and the base64 of 24 to 64 bytes",
        }),
        (None, SecretOrigin::Provider) => {
            Err("required: copy the secret from the provider's settings")
        }
        (None, SecretOrigin::Chosen) => {
            let text = match form {
                KeyForm::Text => random_secret(),
                KeyForm::Whsec => aias_platform::clock::random_whsec(),
            };
            Ok((text.clone(), Some(text)))
        }
    }
}
