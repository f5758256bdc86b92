//! Setting and rotating secrets: the new secret is valid immediately, the old one until its overlap ends.

use aias_domain::{
    endpoint::{Endpoint, EndpointSecret, EndpointSecretKind, MAX_OVERLAP_SECONDS, rotate},
    id::EndpointId,
    verification::Handshake,
};
use aias_platform::{
    http::{
        Admin, Change, JsonBody, Path, Problem, RequestBody, Result, kinds, openapi,
        response::{json, object},
    },
    secrets::Keyring,
    signing::SigningSecret,
};
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    App, audited, find,
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
    ctx: Admin<App>,
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
    let keyring = ctx.app.api.auth.keyring().await?;
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
            let NewSigningSecret { text, sealed } =
                new_signing_secret(&ctx, &keyring, own, value.secret)?;
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

/// The signing secret that a provider created.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SigningSecretInput {
    #[schema(min_length = 1, max_length = 512)]
    secret: String,
}

impl RequestBody for SigningSecretInput {}

/// Set the signing secret of a webhook endpoint
///
/// Replaces all signing secrets. To keep the old one valid for some time, rotate it instead.
#[utoipa::path(
    put,
    path = "/api/webhook-endpoints/{id}/signing-secret",
    tag = "webhook-endpoints",
    params(("id" = EndpointId, Path), openapi::IfMatch),
    request_body = SigningSecretInput,
    responses((
        status = 200, description = "The endpoint, without its secrets", body = view::EndpointView,
        headers(("etag" = String)),
    )),
    extensions(
        ("x-role" = json!("admin")),
        ("x-problems" = json!(["conflict", "no-signing-secret", "precondition-failed"])),
    ),
)]
pub(crate) async fn set_signing_secret(
    ctx: Admin<App>,
    Path(id): Path<EndpointId>,
    JsonBody { value, .. }: JsonBody<SigningSecretInput>,
) -> Result {
    let mut endpoint = find(&ctx.store(), id).await?;
    ctx.head.check_if_match(&view::endpoint(&endpoint.value))?;
    let keyring = ctx.app.api.auth.keyring().await?;
    let before = audited(&endpoint.value);
    let sealed = new_signing_secret(&ctx, &keyring, &endpoint.value, Some(value.secret))?.sealed;
    let own = &mut endpoint.value;
    own.updated_at = ctx.now;
    own.signing_secrets = vec![EndpointSecret::new(sealed, ctx.now)];
    let change = Change::rotated("endpoint", &id, before, audited(&endpoint.value));
    ctx.change(change, async |store| {
        store.save_endpoint(&endpoint, None, &[]).await
    })
    .await?;
    object(StatusCode::OK, &view::endpoint(&endpoint.value))
}

/// The signing secret that a provider sent.
#[derive(Serialize, ToSchema)]
struct ReceivedSecretView {
    /// `null` unless the provider shows it nowhere and wants it back, and no request was verified
    /// with it yet.
    secret: Option<String>,
}

/// Get the signing secret that a provider sent
///
/// Some providers, such as Notion, send a secret to the URL and want its owner to enter it at the
/// provider. It is shown until a request has been verified with it. Other secrets are never shown.
#[utoipa::path(
    get,
    path = "/api/webhook-endpoints/{id}/signing-secret",
    tag = "webhook-endpoints",
    params(("id" = EndpointId, Path)),
    responses((
        status = 200, description = "The secret", body = ReceivedSecretView,
        headers(("etag" = String)),
    )),
    extensions(("x-role" = json!("admin"))),
)]
pub(crate) async fn get_signing_secret(ctx: Admin<App>, Path(id): Path<EndpointId>) -> Result {
    let endpoint = find(&ctx.store(), id).await?.value;
    let scheme = endpoint.verification.scheme().map_err(Problem::internal)?;
    let unused = match endpoint.signing_secrets.as_slice() {
        [only] if only.last_used_at.is_none() => Some(only),
        _ => None,
    };
    let secret = match unused.filter(|_| scheme.has(Handshake::VerificationToken)) {
        None => None,
        Some(sealed) => {
            let keyring = ctx.app.api.auth.keyring().await?;
            let tenant = ctx.caller.tenant.id;
            let opened = SigningSecret::open(&keyring, tenant, id, &sealed.value)?;
            Some(opened.secret().to_owned())
        }
    };
    object(StatusCode::OK, &ReceivedSecretView { secret })
}

struct NewSigningSecret {
    text: String,
    sealed: String,
}

/// A new signing secret of an endpoint, with the verify token of the newest one.
fn new_signing_secret(
    ctx: &Admin<App>,
    keyring: &Keyring,
    endpoint: &Endpoint,
    secret: Option<String>,
) -> Result<NewSigningSecret> {
    let (tenant, id) = (ctx.caller.tenant.id, endpoint.id);
    let scheme = endpoint.verification.scheme().map_err(Problem::internal)?;
    if !scheme.is_signed() {
        return Err(Problem::new(&kinds::NO_SIGNING_SECRET));
    }
    let (text, _) = signing_secret(&scheme.secret, secret)
        .map_err(|detail| Problem::invalid_member("/secret", detail))?;
    let token = match endpoint.signing_secrets.first() {
        None => None,
        Some(newest) => {
            let opened = SigningSecret::open(keyring, tenant, id, &newest.value)?;
            opened.verify_token().map(str::to_owned)
        }
    };
    let sealed = SigningSecret::new(text.clone(), token).seal(keyring, tenant, id)?;
    Ok(NewSigningSecret { text, sealed })
}
