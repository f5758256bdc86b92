//! `RotatingSecret` secrets: the new secret is valid immediately, the old one until its overlap ends.

use aias_domain::{
    endpoint::{EndpointSecret, EndpointSecretKind, MAX_OVERLAP_SECONDS, rotate},
    id::EndpointId,
};
use aias_platform::{
    http::{
        Admin, Api, Change, JsonBody, Path, Problem, RequestBody, Result, kinds, openapi,
        response::json,
    },
    signing::SigningSecret,
};
use axum::http::StatusCode;
use serde::Deserialize;
use utoipa::ToSchema;

use crate::{
    audited, find,
    secret::PathSecret,
    verification::signing_secret,
    view::{self, RotatedEndpointView},
};

/// A rotation.
#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Rotation {
    /// How long the old secret stays valid; a day by default.
    #[schema(maximum = 2_592_000, default = 86_400)]
    overlap_seconds: Option<u32>,
    /// `url` (the path secret) by default.
    #[serde(default)]
    which: EndpointSecretKind,
    /// The new signing secret, if the provider generates it.
    #[schema(min_length = 1, max_length = 512)]
    secret: Option<String>,
}

impl RequestBody for Rotation {
    fn empty() -> Option<Self> {
        Some(Self::default())
    }
}

/// One day, the time to change a URL in a provider's settings.
const DEFAULT_OVERLAP_SECONDS: u32 = 86_400;

const _: () = assert!(MAX_OVERLAP_SECONDS == 2_592_000, "documented in `Rotation`");

/// Rotate a secret of a webhook endpoint
///
/// The new secret is valid immediately. Only this response contains it.
#[utoipa::path(
    post,
    path = "/api/webhook-endpoints/{id}/rotate-secret",
    tag = "webhook-endpoints",
    params(("id" = EndpointId, Path), openapi::IfMatch),
    request_body = Option<Rotation>,
    responses((
        status = 200, description = "The endpoint, with its new secret", body = RotatedEndpointView,
    )),
    extensions(
        ("x-role" = json!("admin")),
        ("x-problems" = json!(["conflict", "no-signing-secret", "precondition-failed"])),
    ),
)]
pub(crate) async fn rotate_secret(
    ctx: Admin<Api>,
    Path(id): Path<EndpointId>,
    JsonBody { value, .. }: JsonBody<Rotation>,
) -> Result {
    let mut endpoint = find(&ctx.store(), id).await?;
    ctx.head.check_if_match(&view::endpoint(&endpoint.value))?;
    let overlap = value.overlap_seconds.unwrap_or(DEFAULT_OVERLAP_SECONDS);
    if overlap > MAX_OVERLAP_SECONDS {
        return Err(Problem::invalid_member(
            "/overlap_seconds",
            format!("must be at most {MAX_OVERLAP_SECONDS}"),
        ));
    }
    let now = ctx.now;
    let keyring = ctx.app.auth.keyring().await?;
    let tenant = ctx.caller.tenant.id;
    let before = audited(&endpoint.value);
    let own = &mut endpoint.value;
    own.updated_at = now;
    let mut added = None;
    let mut removed = Vec::new();
    let (secret, url) = match value.which {
        EndpointSecretKind::Url => {
            if value.secret.is_some() {
                return Err(Problem::invalid_member(
                    "/secret",
                    "a path secret cannot be chosen; AIAS generates it",
                ));
            }
            let secret = PathSecret::new(&keyring, tenant);
            let new = EndpointSecret::new(secret.hash.clone(), now);
            removed = rotate(&mut own.url_secrets, new.clone(), overlap, now);
            added = Some(new);
            let url = view::url(&ctx.head.base_url(), tenant, &secret);
            (secret.text, Some(url))
        }
        EndpointSecretKind::Signing => {
            let scheme = own.verification.scheme().map_err(Problem::internal)?;
            let signature = scheme
                .signature
                .ok_or_else(|| Problem::new(&kinds::NO_SIGNING_SECRET))?;
            let (text, _) = signing_secret(signature.origin, signature.key, value.secret)
                .map_err(|detail| Problem::invalid_member("/secret", detail))?;
            let token = match own.signing_secrets.first() {
                None => None,
                Some(newest) => {
                    let opened = SigningSecret::open(&keyring, tenant, id, &newest.value)?;
                    opened.verify_token().map(str::to_owned)
                }
            };
            let sealed = SigningSecret::new(text.clone(), token).seal(&keyring, tenant, id)?;
            rotate(
                &mut own.signing_secrets,
                EndpointSecret::new(sealed, now),
                overlap,
                now,
            );
            (text, None)
        }
    };
    let change = Change::rotated("endpoint", &id, before, audited(&endpoint.value));
    ctx.change(change, async |store| {
        let saved = store.save_endpoint(&endpoint, added.as_ref(), &removed);
        saved.await
    })
    .await?;
    let rotated = RotatedEndpointView {
        own: view::endpoint(&endpoint.value),
        which: value.which,
        secret,
        url,
    };
    json(StatusCode::OK, &rotated)
}
