//! What providers ask of a URL before they send events.

use aias_domain::{event, verification::Handshake};
use aias_platform::http::{Problem, Request, Response};

use crate::cache::Ready;

/// What an endpoint's URL answers.
pub(crate) fn allowed(endpoint: &Ready) -> &'static str {
    match endpoint.scheme.handshake {
        Handshake::HubChallenge => "GET, POST",
        Handshake::None | Handshake::SlackChallenge => "POST",
    }
}

/// A `GET`: the challenge of a scheme that has one.
pub(crate) fn get(endpoint: &Ready, request: &Request) -> Result<Response, Problem> {
    if endpoint.scheme.handshake != Handshake::HubChallenge {
        return Err(Problem::method_not_allowed(allowed(endpoint)));
    }
    let (token, challenge) = event::hub_challenge(&request.query).ok_or_else(|| {
        Problem::bad_request("bad-challenge", "Bad challenge")
            .detail("hub.mode=subscribe, hub.verify_token and hub.challenge are needed")
    })?;
    let known = endpoint.verify_tokens.iter().fold(false, |known, own| {
        known | aias_platform::secrets::is_equal(own.as_bytes(), token.as_bytes())
    });
    if !known || !endpoint.found.endpoint.value.is_on() {
        return Err(Problem::bad_signature());
    }
    Ok(Response::plain(challenge.0))
}
