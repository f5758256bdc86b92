//! The `verification` member of requests: a scheme, its options and its secret.

use aias_domain::verification::{
    Algorithm, Encoding, Handshake, HmacOptions, KeyForm, Scheme, SecretOrigin, SecretRule,
    Verification, key_bytes,
};
use aias_platform::{
    clock::{random, random_secret, random_whsec},
    http::{Problem, Result},
    signing::SigningSecret,
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::Deserialize;
use utoipa::ToSchema;

/// How requests are verified.
#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct VerificationInput {
    /// `none`, `hmac`, `custom`, or the name of a source (`GET /api/sources`). `none` by default.
    #[schema(example = "github")]
    scheme: Option<String>,
    /// The signing secret. Some providers create it, and it can be set later; otherwise AIAS
    /// generates one by default.
    secret: Option<String>,
    /// For `meta` and `whatsapp`: the token that the provider sends when it validates the URL.
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
    /// For `custom`: how requests are signed.
    custom: Option<Box<Scheme>>,
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

    /// The scheme and the secret, for the check of a recorded request.
    pub(crate) fn for_check(self) -> Result<(Scheme, String)> {
        let secret = self.secret.clone().unwrap_or_default();
        let verification = self.verification();
        let scheme = verification
            .scheme()
            .map_err(|e| fault(&e.member(), e.to_string()))?;
        Ok((scheme, secret))
    }

    fn verification(self) -> Verification {
        Verification {
            scheme: self.scheme.unwrap_or_else(|| "none".to_owned()),
            hmac: HmacOptions {
                header: self.header,
                algorithm: self.algorithm,
                encoding: self.encoding,
                prefix: self.prefix,
                event_id_header: self.event_id_header,
            },
            custom: self.custom,
        }
    }

    /// Checks the settings, and generates a secret if the provider does not. If the provider does,
    /// and `may_be_pending`, it may be missing.
    pub(crate) fn read(self, may_be_pending: bool) -> Result<ValidVerification> {
        let (secret, verify_token) = (self.secret.clone(), self.verify_token.clone());
        let verification = self.verification();
        let scheme = verification
            .scheme()
            .map_err(|e| fault(&e.member(), e.to_string()))?;
        if !scheme.is_signed() {
            let name = &verification.scheme;
            return match (secret, verify_token) {
                (None, None) => Ok(ValidVerification {
                    verification,
                    secret: None,
                    made: None,
                }),
                (Some(_), _) => Err(fault(
                    "secret",
                    format!("the scheme `{name}` has no secret"),
                )),
                (None, Some(_)) => Err(fault(
                    "verify_token",
                    format!("the scheme `{name}` has no token"),
                )),
            };
        }
        let verify_token = match (scheme.has(Handshake::HubChallenge), verify_token) {
            (true, None) => {
                return Err(fault(
                    "verify_token",
                    "choose a token; the provider sends it when it validates the URL",
                ));
            }
            (true, Some(token)) if (1..=MAX_TOKEN).contains(&token.len()) => Some(token),
            (true, Some(_)) => {
                return Err(fault(
                    "verify_token",
                    format!("a token must have 1 to {MAX_TOKEN} characters"),
                ));
            }
            (false, Some(_)) => return Err(fault("verify_token", "this scheme has no token")),
            (false, None) => None,
        };
        // The secret of a provider that validates the URL first is known before.
        let waits = may_be_pending
            && secret.is_none()
            && verify_token.is_none()
            && scheme.secret.origin != SecretOrigin::Chosen;
        if waits {
            return Ok(ValidVerification {
                verification,
                secret: None,
                made: None,
            });
        }
        let (text, made) =
            signing_secret(&scheme.secret, secret).map_err(|detail| fault("secret", detail))?;
        Ok(ValidVerification {
            verification,
            secret: Some(SigningSecret::new(text, verify_token)),
            made,
        })
    }
}

/// A signing secret, and the same string again if AIAS generated it.
pub(crate) fn signing_secret(
    rule: &SecretRule,
    secret: Option<String>,
) -> std::result::Result<(String, Option<String>), &'static str> {
    if let Some(text) = secret {
        return match key_bytes(rule.form, &text) {
            Some(_) => Ok((text, None)),
            None => Err(expected(rule.form)),
        };
    }
    let made = match (rule.origin, rule.form) {
        (SecretOrigin::Handshake, _) => {
            return Err("required: the provider sends it in its handshake");
        }
        (SecretOrigin::Provider, _) | (_, KeyForm::Ed25519Public | KeyForm::P256Public) => {
            return Err("required: copy the secret from the provider's settings");
        }
        (SecretOrigin::Chosen, KeyForm::Text) => random_secret(),
        (SecretOrigin::Chosen, KeyForm::Whsec) => random_whsec(),
        (SecretOrigin::Chosen, KeyForm::UserPassword) => format!("aias:{}", random_secret()),
        (SecretOrigin::Chosen, KeyForm::Base64) => STANDARD.encode(random::<32>()),
        (SecretOrigin::Chosen, KeyForm::Hex) => hex::encode(random::<32>()),
    };
    Ok((made.clone(), Some(made)))
}

/// What a secret must be.
fn expected(form: KeyForm) -> &'static str {
    match form {
        KeyForm::Text => "a secret must have 1 to 512 characters",
        KeyForm::Whsec => "a secret must be `whsec_` and the base64 of 24 to 64 bytes",
        KeyForm::Base64 => "a secret must be base64, of at most 512 characters",
        KeyForm::Hex => "a secret must be hex, of at most 512 characters",
        KeyForm::UserPassword => "a secret must be a user name, a colon and a password",
        KeyForm::Ed25519Public => "a secret must be an Ed25519 public key in hex, 64 characters",
        KeyForm::P256Public => {
            "a secret must be a P-256 public key, as base64 of its DER or as PEM"
        }
    }
}
