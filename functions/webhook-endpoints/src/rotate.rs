//! Rotating a secret: the new one opens at once, the old one until its overlap ends.

use aias_domain::{
    endpoint::{MAX_OVERLAP_SECONDS, Secret, Which, rotate as rotate_secrets},
    tenant::Role,
};
use aias_platform::{
    http::{Caller, Changed, Problem, Request, Response, parse_body},
    signing::SigningSecret,
    store::TenantStore,
};
use serde::Deserialize;
use serde_json::json;

use crate::{App, find, secret::UrlSecret, told, verification::signing_secret, view};

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Body {
    overlap_seconds: Option<u32>,
    #[serde(default)]
    which: Which,
    secret: Option<String>,
}

/// One day: what a person needs to change a URL in a provider's settings.
const DEFAULT_OVERLAP_SECONDS: u32 = 86_400;

pub(crate) async fn rotate(
    app: &App,
    store: &TenantStore<'_>,
    caller: &Caller,
    request: &Request,
    id: &str,
) -> Result<Response, Problem> {
    caller.require(Role::Admin)?;
    let mut endpoint = find(store, id).await?;
    request.check_if_match(&view::endpoint(&endpoint.value))?;
    let body: Body = if request.body.is_empty() {
        Body::default()
    } else {
        parse_body(request)?
    };
    let overlap = body.overlap_seconds.unwrap_or(DEFAULT_OVERLAP_SECONDS);
    if overlap > MAX_OVERLAP_SECONDS {
        return Err(Problem::invalid_member(
            "/overlap_seconds",
            format!("at most {MAX_OVERLAP_SECONDS}"),
        ));
    }
    let now = app.api.clock.now();
    let keyring = app.api.auth.keyring().await?;
    let tenant = caller.tenant.id;
    let before = told(&endpoint.value);
    let own = &mut endpoint.value;
    own.updated_at = now;
    let (shown, added, gone) = match body.which {
        Which::Url => {
            if body.secret.is_some() {
                return Err(Problem::invalid_member(
                    "/secret",
                    "the secret in the URL is always made here",
                ));
            }
            let secret = UrlSecret::make(&keyring, tenant);
            let added = Secret::new(secret.hash.clone(), now);
            let gone = rotate_secrets(&mut own.url_secrets, added.clone(), overlap, now);
            let url = view::url(&request.base_url(), tenant, &secret);
            (
                json!({"secret": secret.text, "url": url}),
                Some(added),
                gone,
            )
        }
        Which::Signing => {
            let scheme = own.verification.scheme().map_err(Problem::internal)?;
            let signature = scheme.signature.ok_or_else(|| {
                Problem::conflict(
                    "no-signing-secret",
                    "The endpoint's scheme has no signing secret",
                )
            })?;
            let (text, _) = signing_secret(signature.origin, signature.key, body.secret)
                .map_err(|detail| Problem::invalid_member("/secret", detail))?;
            let token = match own.signing_secrets.first() {
                None => None,
                Some(newest) => {
                    let opened = SigningSecret::open(&keyring, tenant, own.id, &newest.value)?;
                    opened.verify_token().map(str::to_owned)
                }
            };
            let sealed = SigningSecret::new(text.clone(), token).seal(&keyring, tenant, own.id)?;
            rotate_secrets(
                &mut own.signing_secrets,
                Secret::new(sealed, now),
                overlap,
                now,
            );
            (json!({ "secret": text }), None, Vec::new())
        }
    };
    let changed = Changed {
        verb: "rotated",
        ..Changed::updated(
            "endpoint",
            &endpoint.value.id,
            before,
            told(&endpoint.value),
        )
    };
    let entry = caller.tells(request, now, changed);
    let store = store.audited(&entry);
    let saved = store.save_endpoint(&endpoint, added.as_ref(), &gone).await;
    saved.map_err(|refused| Problem::refused(refused, &caller.limits))?;
    let mut answer =
        serde_json::to_value(view::endpoint(&endpoint.value)).map_err(Problem::internal)?;
    if let (Some(answer), Some(shown)) = (answer.as_object_mut(), shown.as_object()) {
        answer.extend(shown.clone());
        answer.insert("which".to_owned(), json!(body.which));
    }
    Response::json(200, &answer)
}
