//! `verification` in a request: a scheme, its options and its secret.

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

/// How an endpoint's requests are to be verified.
#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct VerificationInput {
    /// `none`, `hmac`, `standard-webhooks` or a provider: `github`, `stripe`, `slack`, `shopify`,
    /// `meta`. `none` by default.
    #[schema(example = "github")]
    scheme: Option<String>,
    /// The signing secret. Some providers give it; for the others AIAS makes one by default.
    secret: Option<String>,
    /// Of `meta`: the token that the provider sends when it validates the URL.
    verify_token: Option<String>,
    /// Of `hmac`: the header that carries the signature.
    header: Option<String>,
    /// Of `hmac`: the hash; `sha256` by default.
    algorithm: Option<Algorithm>,
    /// Of `hmac`: the encoding; `hex` by default.
    encoding: Option<Encoding>,
    /// Of `hmac`: what precedes the signature in its header.
    prefix: Option<String>,
    /// Of `hmac`: the header that carries the event's id.
    event_id_header: Option<String>,
}

/// A valid verification, as it is stored.
pub(crate) struct ValidVerification {
    pub(crate) verification: Verification,
    pub(crate) secret: Option<SigningSecret>,
    /// The secret's text when AIAS made it, to be shown once.
    pub(crate) made: Option<String>,
}

/// The longest token of a handshake, in characters.
const MAX_TOKEN: usize = 256;

fn fault(member: &str, detail: impl Into<String>) -> Problem {
    Problem::invalid_member(&format!("/verification/{member}"), detail)
}

impl VerificationInput {
    /// Validates it, and makes a secret where the provider gives none.
    pub(crate) fn read(self) -> Result<ValidVerification> {
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
                    "the provider sends this token when it validates the URL: choose one",
                ));
            }
            (Handshake::HubChallenge, Some(token)) if (1..=MAX_TOKEN).contains(&token.len()) => {
                Some(token)
            }
            (Handshake::HubChallenge, Some(_)) => {
                return Err(fault(
                    "verify_token",
                    format!("a token has 1 to {MAX_TOKEN} characters"),
                ));
            }
            (_, Some(_)) => return Err(fault("verify_token", "this scheme has no token")),
            (_, None) => None,
        };
        let (text, made) = signing_secret(signature.origin, signature.key, self.secret)
            .map_err(|detail| fault("secret", detail))?;
        Ok(ValidVerification {
            verification,
            secret: Some(SigningSecret::new(text, verify_token)),
            made,
        })
    }
}

/// A signing secret's text, and the same text again when AIAS made it.
pub(crate) fn signing_secret(
    origin: SecretOrigin,
    form: KeyForm,
    secret: Option<String>,
) -> std::result::Result<(String, Option<String>), &'static str> {
    match (secret, origin) {
        (Some(text), _) if key_bytes(form, &text).is_some() => Ok((text, None)),
        (Some(_), _) => Err(match form {
            KeyForm::Text => "a secret has 1 to 512 characters",
            KeyForm::Whsec => "a secret is `whsec_` and the base64 of 24 to 64 bytes",
        }),
        (None, SecretOrigin::Provider) => Err("the provider gives this secret: it is needed"),
        (None, SecretOrigin::Chosen) => {
            let text = match form {
                KeyForm::Text => random_secret(),
                KeyForm::Whsec => aias_platform::clock::random_whsec(),
            };
            Ok((text.clone(), Some(text)))
        }
    }
}
