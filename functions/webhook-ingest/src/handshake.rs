//! Responses to challenges by which providers validate a URL.

use aias_domain::{event, verification::Handshake};
use aias_platform::{
    http::{Problem, Result, kinds, response::plain},
    secrets::is_equal,
};

use crate::cache::ReadyEndpoint;

/// The response to a `GET` request of a scheme with a challenge.
pub(crate) fn answer(endpoint: &ReadyEndpoint, query: &str) -> Result {
    if endpoint.scheme.handshake != Handshake::HubChallenge {
        return Err(Problem::method_not_allowed("POST"));
    }
    let (token, challenge) = event::hub_challenge(query).ok_or_else(|| {
        Problem::new(&kinds::BAD_CHALLENGE)
            .detail("hub.mode=subscribe, hub.verify_token and hub.challenge are required")
    })?;
    let known = endpoint.verify_tokens.iter().fold(false, |known, own| {
        known | is_equal(own.as_bytes(), token.as_bytes())
    });
    if !known || !endpoint.found.endpoint.value.is_enabled() {
        return Err(Problem::bad_signature());
    }
    Ok(plain(challenge.0))
}
