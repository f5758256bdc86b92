//! How providers validate a URL before they send events.
//!
//! Some providers want a keyed hash of a text that they choose. Somebody who knows the URL could ask for
//! the hash of a forged body this way, so such texts must not look like a body.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::{
    place::{Place, Values},
    published::is_own_url,
    scheme::Scheme,
    settings::Algorithm,
    verify::digest,
};

/// How a provider validates a URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Handshake {
    /// A signed `POST` of `{"type": "url_verification", "challenge": …}`; the response is the
    /// challenge.
    SlackChallenge,
    /// A `GET` with `hub.mode`, `hub.verify_token` and `hub.challenge`; the response is the
    /// challenge.
    HubChallenge,
    /// A `GET` with `crc_token`; the response has its HMAC.
    CrcToken,
    /// A `GET` with `challengeCode`; the response has it and its HMAC.
    ChallengeCode,
    /// A signed `POST` with the event `endpoint.url_validation`; the response has the HMAC of its
    /// token.
    ZoomValidation,
    /// A signed `POST` with the message type `webhook_callback_verification`; the response is the
    /// challenge.
    TwitchChallenge,
    /// A `POST` or `GET` with the query parameter `validationToken`; the response is the token.
    ValidationToken,
    /// A `GET` with the query parameter `challenge`; the response is the challenge.
    QueryChallenge,
    /// A `HEAD` that must succeed.
    Head,
    /// A `GET` that must succeed.
    Get,
    /// A `POST` with the header `X-Hook-Secret`, which is the signing secret; the response has the
    /// same header.
    HookSecret,
    /// A `GET` with the header `X-Okta-Verification-Challenge`; the response has it as JSON.
    OktaChallenge,
    /// A signed `POST` of a ping; the response is `{"type": 1}` to an interaction, `204` to a
    /// webhook event.
    DiscordPing,
    /// An `OPTIONS` with `WebHook-Request-Origin` (`CloudEvents` webhooks 1.0, section 4).
    WebhookOrigin,
    /// A `GET` with the header `X-AdobeSign-ClientId`, which is the secret; the response has the
    /// same header.
    AdobeClientId,
    /// A `POST` of `{"challenge": …}` alone; the response is the same.
    ChallengeEcho,
    /// A `POST` of the form `webhook_id=…` alone, without a signature.
    WoocommercePing,
    /// A signed `POST` with the type `SubscriptionConfirmation`, whose `SubscribeURL` is visited, or
    /// `UnsubscribeConfirmation`.
    SnsConfirmation,
    /// A `POST` of `{"verification_token": …}` alone, which is the signing secret.
    VerificationToken,
}

/// A response to a handshake.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(&'static str, String)>,
    pub content_type: &'static str,
    pub body: String,
    /// The URL that must be visited before the answer is sent.
    pub visits: Option<String>,
}

impl Answer {
    fn text(body: impl Into<String>) -> Self {
        Self {
            status: 200,
            content_type: "text/plain; charset=utf-8",
            body: body.into(),
            ..Self::default()
        }
    }

    fn json(body: &Value) -> Self {
        Self {
            content_type: "application/json",
            ..Self::text(body.to_string())
        }
    }

    fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }
}

/// What a handshake asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HandshakeOutcome {
    Answer(Answer),
    /// The provider sets the signing secret.
    SetSecret(String, Answer),
    /// The token or the secret of the handshake is another one.
    Refused,
    /// The challenge is missing, too long, or could be used to sign a body.
    Malformed(&'static str),
}

/// The longest challenge that is sent back, in characters.
const MAX_CHALLENGE: usize = 2_048;

/// The longest text whose keyed hash is sent back.
const MAX_HASHED: usize = 128;

/// The secrets that handshakes compare or use.
#[derive(Debug, Clone, Copy)]
pub struct HandshakeSecrets<'a> {
    /// The newest first.
    pub keys: &'a [Vec<u8>],
    pub verify_tokens: &'a [String],
}

/// The outcome of a handshake that is not signed; none if the request is not one.
#[must_use]
pub fn unsigned_handshake(
    scheme: &Scheme,
    values: &Values<'_>,
    secrets: HandshakeSecrets<'_>,
) -> Option<HandshakeOutcome> {
    let mut handshakes = scheme.handshakes.iter();
    handshakes.find_map(|handshake| unsigned(*handshake, values, secrets))
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "each handshake has one of two stages, and one method"
)]
fn unsigned(
    handshake: Handshake,
    values: &Values<'_>,
    secrets: HandshakeSecrets<'_>,
) -> Option<HandshakeOutcome> {
    use HandshakeOutcome::Answer as Answered;

    let query = |name: &str| values.get(&Place::Query(name.to_owned()));
    let header = |name: &str| values.request.header(name);
    let method = values.request.method;
    let is_get = method == "GET";
    match handshake {
        Handshake::HubChallenge if is_get => Some(hub(values, secrets.verify_tokens)),
        Handshake::CrcToken if is_get => {
            let token = query("crc_token")?;
            Some(hashed(&token, secrets.keys, |mac| {
                let text = format!("sha256={}", STANDARD.encode(mac));
                Answer::json(&json!({ "response_token": text }))
            }))
        }
        Handshake::ChallengeCode if is_get => {
            let code = query("challengeCode")?;
            Some(hashed(&code, secrets.keys, |mac| {
                let response = hex::encode(mac);
                Answer::json(&json!({"challengeCode": *code, "challengeResponse": response}))
            }))
        }
        Handshake::ValidationToken if is_get || method == "POST" => {
            Some(echo(&query("validationToken")?))
        }
        Handshake::QueryChallenge if is_get => Some(echo(&query("challenge")?)),
        Handshake::Head if method == "HEAD" => Some(Answered(Answer::text(""))),
        Handshake::Get if is_get => Some(Answered(Answer::text("ok"))),
        Handshake::HookSecret if method == "POST" => {
            let secret = header("x-hook-secret")?;
            let answer = Answer::text("").with("x-hook-secret", secret);
            Some(set_secret(secret, secrets.keys, answer))
        }
        Handshake::VerificationToken if method == "POST" => {
            let token = only_member(values, "verification_token")?;
            Some(set_secret(&token, secrets.keys, Answer::text("")))
        }
        Handshake::OktaChallenge if is_get => {
            let challenge = header("x-okta-verification-challenge")?;
            Some(bounded(challenge, || {
                Answer::json(&json!({ "verification": challenge }))
            }))
        }
        Handshake::WebhookOrigin if method == "OPTIONS" => {
            let origin = header("webhook-request-origin")?;
            Some(bounded(origin, || {
                let rate = header("webhook-request-rate").unwrap_or("*");
                Answer::text("")
                    .with("webhook-allowed-origin", origin)
                    .with("webhook-allowed-rate", rate)
                    .with("allow", "POST")
            }))
        }
        Handshake::AdobeClientId if is_get => {
            let id = header("x-adobesign-clientid")?;
            let is_known = is_any(secrets.keys.iter().map(Vec::as_slice), id.as_bytes());
            Some(if is_known {
                Answered(Answer::text("").with("x-adobesign-clientid", id))
            } else {
                HandshakeOutcome::Refused
            })
        }
        Handshake::ChallengeEcho if method == "POST" => {
            let challenge = only_member(values, "challenge")?;
            Some(bounded(&challenge, || {
                Answer::json(&json!({ "challenge": challenge }))
            }))
        }
        Handshake::WoocommercePing if method == "POST" => {
            let [(name, value)] = values.form() else {
                return None;
            };
            let is_ping = name == "webhook_id" && value.bytes().all(|b| b.is_ascii_digit());
            is_ping.then(|| Answered(Answer::text("pong")))
        }
        // Another method, or a signed handshake.
        _ => None,
    }
}

/// The answer to a handshake in a verified request; none if the request is not one.
#[must_use]
pub fn signed_handshake(scheme: &Scheme, values: &Values<'_>, key: &[u8]) -> Option<Answer> {
    let mut handshakes = scheme.handshakes.iter();
    handshakes.find_map(|handshake| signed(*handshake, values, key))
}

#[expect(clippy::wildcard_enum_match_arm, reason = "as above")]
fn signed(handshake: Handshake, values: &Values<'_>, key: &[u8]) -> Option<Answer> {
    let body = |pointer: &str| values.json()?.pointer(pointer);
    let text = |pointer: &str| body(pointer)?.as_str();
    match handshake {
        Handshake::SlackChallenge => {
            (text("/type")? == "url_verification").then_some(())?;
            let challenge = text("/challenge").filter(|own| own.len() <= MAX_CHALLENGE)?;
            Some(Answer::text(challenge))
        }
        Handshake::ZoomValidation => {
            (text("/event")? == "endpoint.url_validation").then_some(())?;
            let token = text("/payload/plainToken").filter(|own| is_plain(own))?;
            let mac = digest(Algorithm::Sha256, key, &[token.as_bytes()]);
            let encrypted = hex::encode(mac);
            Some(Answer::json(
                &json!({"plainToken": token, "encryptedToken": encrypted}),
            ))
        }
        Handshake::TwitchChallenge => {
            let kind = values.request.header("twitch-eventsub-message-type")?;
            (kind == "webhook_callback_verification").then_some(())?;
            let challenge = text("/challenge").filter(|own| own.len() <= MAX_CHALLENGE)?;
            Some(Answer::text(challenge))
        }
        Handshake::DiscordPing => match (body("/type")?.as_u64()?, body("/event")) {
            (0, None) => Some(Answer {
                status: 204,
                ..Answer::text("")
            }),
            (1, None) => Some(Answer::json(&json!({"type": 1}))),
            _ => None,
        },
        Handshake::SnsConfirmation => match text("/Type")? {
            "SubscriptionConfirmation" => Some(Answer {
                visits: text("/SubscribeURL").map(str::to_owned),
                ..Answer::text("")
            }),
            "UnsubscribeConfirmation" => Some(Answer::text("")),
            _ => None,
        },
        // Not signed.
        _ => None,
    }
}

/// Whether a URL to visit is one with which Amazon SNS confirms a subscription.
#[must_use]
pub fn is_visited(url: &str) -> bool {
    let Some((start, query)) = url.split_once('?') else {
        return false;
    };
    let hosts = ["sns.*.amazonaws.com", "sns.*.amazonaws.com.cn"].map(str::to_owned);
    is_own_url(start, &hosts, "/")
        && query.starts_with("Action=ConfirmSubscription&")
        && query.bytes().all(|b| b.is_ascii_graphic() && b != b'#')
}

fn hub(values: &Values<'_>, tokens: &[String]) -> HandshakeOutcome {
    let query = |name: &str| values.get(&Place::Query(name.to_owned()));
    let subscribe = query("hub.mode").filter(|mode| mode == "subscribe");
    let parts = subscribe
        .and_then(|_| query("hub.verify_token"))
        .zip(query("hub.challenge"));
    let Some((token, challenge)) = parts else {
        return HandshakeOutcome::Malformed(
            "hub.mode=subscribe, hub.verify_token and hub.challenge are required",
        );
    };
    if is_any(tokens.iter().map(String::as_bytes), token.as_bytes()) {
        echo(&challenge)
    } else {
        HandshakeOutcome::Refused
    }
}

/// Whether a text is one of these, in constant time.
fn is_any<'a>(known: impl Iterator<Item = &'a [u8]>, text: &[u8]) -> bool {
    use subtle::ConstantTimeEq as _;
    known.fold(false, |found, own| found | bool::from(own.ct_eq(text)))
}

fn bounded(text: &str, answer: impl FnOnce() -> Answer) -> HandshakeOutcome {
    if (1..=MAX_CHALLENGE).contains(&text.len()) {
        HandshakeOutcome::Answer(answer())
    } else {
        HandshakeOutcome::Malformed("a challenge has 1 to 2,048 characters")
    }
}

fn echo(text: &str) -> HandshakeOutcome {
    bounded(text, || Answer::text(text))
}

/// Whether a text cannot be a body or another signed string.
fn is_plain(text: &str) -> bool {
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || b"-_+/=".contains(&b);
    (1..=MAX_HASHED).contains(&text.len()) && text.bytes().all(is_plain)
}

fn hashed(
    text: &str,
    keys: &[Vec<u8>],
    answer: impl FnOnce(Vec<u8>) -> Answer,
) -> HandshakeOutcome {
    if !is_plain(text) {
        return HandshakeOutcome::Malformed(
            "a challenge has 1 to 128 letters, digits and characters of base64",
        );
    }
    match keys.first() {
        Some(key) => {
            HandshakeOutcome::Answer(answer(digest(Algorithm::Sha256, key, &[text.as_bytes()])))
        }
        None => HandshakeOutcome::Refused,
    }
}

/// A secret is set once; the same one may be sent again.
fn set_secret(secret: &str, keys: &[Vec<u8>], answer: Answer) -> HandshakeOutcome {
    if keys.is_empty() {
        return HandshakeOutcome::SetSecret(secret.to_owned(), answer);
    }
    if is_any(keys.iter().map(Vec::as_slice), secret.as_bytes()) {
        HandshakeOutcome::Answer(answer)
    } else {
        HandshakeOutcome::Refused
    }
}

/// The text of the only member of a JSON object.
fn only_member(values: &Values<'_>, name: &str) -> Option<String> {
    let object = values.json()?.as_object().filter(|own| own.len() == 1)?;
    object.get(name)?.as_str().map(str::to_owned)
}
