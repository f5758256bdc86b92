//! Responses to handshakes by which providers validate a URL.

use aias_domain::{
    endpoint::{EndpointSecret, EndpointState},
    event::Request,
    verification::{
        Answer, HandshakeOutcome, HandshakeSecrets, Values, key_bytes, unsigned_handshake,
    },
};
use aias_platform::{
    http::{Problem, Response, Result, kinds, response},
    signing::SigningSecret,
};
use axum::http::{HeaderName, HeaderValue, StatusCode};

use crate::{App, cache::ReadyEndpoint};

/// The response to a request that is a handshake without a signature; none if it is not.
pub(crate) async fn answer(
    app: &App,
    endpoint: &ReadyEndpoint,
    request: &Request<'_>,
) -> Result<Option<Response>> {
    if endpoint.scheme.handshakes.is_empty()
        || endpoint.found.endpoint.value.state() == EndpointState::Disabled
    {
        return Ok(None);
    }
    let keys = endpoint.secrets();
    let secrets = HandshakeSecrets {
        keys: &keys,
        verify_tokens: &endpoint.verify_tokens,
    };
    let values = Values::new(request);
    let outcome = unsigned_handshake(&endpoint.scheme, &values, secrets);
    match outcome {
        None => Ok(None),
        Some(HandshakeOutcome::Answer(answer)) => respond(answer).map(Some),
        Some(HandshakeOutcome::Refused) => Err(Problem::bad_signature()),
        Some(HandshakeOutcome::Malformed(detail)) => {
            Err(Problem::new(&kinds::BAD_CHALLENGE).detail(detail))
        }
        Some(HandshakeOutcome::SetSecret(secret, answer)) => {
            set_secret(app, endpoint, &secret).await?;
            respond(answer).map(Some)
        }
    }
}

/// Stores the signing secret that a provider sent. If another request sets one at the same time,
/// one of them is refused, and the provider repeats its handshake.
async fn set_secret(app: &App, ready: &ReadyEndpoint, secret: &str) -> Result<()> {
    if key_bytes(ready.scheme.secret.form, secret).is_none() {
        let detail = "the secret of the handshake has another form";
        return Err(Problem::new(&kinds::BAD_CHALLENGE).detail(detail));
    }
    let (tenant, now) = (ready.found.tenant.id, app.clock.now());
    let keyring = app.keyrings.get().await?;
    let mut endpoint = ready.found.endpoint.clone();
    let sealed =
        SigningSecret::new(secret.to_owned(), None).seal(&keyring, tenant, endpoint.value.id)?;
    endpoint.value.signing_secrets = vec![EndpointSecret::new(sealed, now)];
    endpoint.value.updated_at = now;
    let store = app.intake.store.tenant(ready.found.proof);
    let saved = store.save_endpoint(&endpoint, None, &[]).await;
    saved.map_err(|refused| Problem::refused(refused, &ready.limits))?;
    tracing::info!(event = "signing_secret_set", endpoint_id = %endpoint.value.id, by = "handshake");
    Ok(())
}

pub(crate) fn respond(answer: Answer) -> Result<Response> {
    let status = StatusCode::from_u16(answer.status).map_err(Problem::internal)?;
    let mut response = response::text(status, answer.content_type, answer.body);
    for (name, value) in answer.headers {
        let value = HeaderValue::from_str(&value).map_err(Problem::internal)?;
        let name = HeaderName::from_static(name);
        response.headers_mut().insert(name, value);
    }
    Ok(response)
}
