//! Invitations: a token with which a person becomes a member.

use aias_domain::{
    id::{InvitationId, TenantId},
    tenant::{Email, INVITATION_DAYS, Invitation, Member, Role, UserId},
};
use aias_platform::{
    clock::{random_id, random_secret},
    http::{
        Actor, Admin, Api, Change, Identified, JsonBody, List, NoFilter, Once, PageParams, Path,
        Problem, RequestBody, Result, is_secret_form, kinds, openapi,
        response::{no_content, object},
        shown,
    },
    secrets::Purpose,
    store::{FoundInvitation, Listing, Stored},
    tenant_credentials::as_tenant,
};
use axum::http::StatusCode;
use jiff::SignedDuration;
use serde::Deserialize;
use tracing::{Span, field::display};
use utoipa::ToSchema;

use crate::{members::manage, view};

/// List invitations
///
/// Those that were accepted or have expired are listed for another 30 days.
#[utoipa::path(
    get,
    path = "/api/tenants/{id}/invitations",
    tag = "tenants",
    params(("id" = TenantId, Path), PageParams),
    responses((status = 200, description = "A page", body = openapi::Page<view::InvitationView>)),
    extensions(("x-role" = json!("admin"))),
)]
pub(crate) async fn list_invitations(ctx: Admin<Api, List<NoFilter>>) -> Result {
    let store = ctx.store();
    let fetch = async |listing: Listing| Ok(store.invitations(&listing).await?);
    ctx.page(fetch, |invitation| view::invitation(&invitation))
        .await
}

/// Who is invited.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct InvitationInput {
    /// To whom the token will be sent. AIAS does not send e-mail.
    email: Option<Email>,
    /// The subject (`sub`) of the only person who can accept; anybody with the token by default.
    user_id: Option<UserId>,
    role: Role,
}

impl RequestBody for InvitationInput {}

fn token_hash_parts<'a>(tenant: &'a str, id: &'a str, secret: &'a str) -> [&'a [u8]; 3] {
    [tenant.as_bytes(), id.as_bytes(), secret.as_bytes()]
}

/// Invite a person
///
/// Only this response contains the token. The person accepts it within seven days with
/// `POST /api/invitations/accept`, which makes the subject of their token a member.
#[utoipa::path(
    post,
    path = "/api/tenants/{id}/invitations",
    tag = "tenants",
    params(("id" = TenantId, Path), openapi::IdempotencyKey),
    request_body = InvitationInput,
    responses((
        status = 201, description = "The invitation, with its token", body = view::NewInvitationView,
        headers(("etag" = String)),
    )),
    extensions(("x-role" = json!("admin")), ("x-problems" = json!(["conflict", "plan-limit-exceeded"]))),
)]
pub(crate) async fn create_invitation(ctx: Admin<Api>, body: JsonBody<InvitationInput>) -> Result {
    let create = async |once: Once<'_>| {
        let input = &body.value;
        manage(&ctx.caller, input.role)?;
        let limits = &ctx.caller.limits;
        let max = usize::try_from(limits.members).unwrap_or(usize::MAX);
        let open = ctx.store().open_invitations(max, ctx.now).await?;
        if open >= max {
            let open = u64::try_from(open).unwrap_or(u64::MAX);
            return Err(Problem::plan_limit(
                "members",
                limits.members,
                open,
                limits.plan,
            ));
        }
        let (tenant, id) = (
            ctx.caller.tenant.id.ulid(),
            InvitationId::new(ctx.now, random_id()),
        );
        let secret = random_secret();
        let ulid = id.ulid();
        let parts = token_hash_parts(&tenant, &ulid, &secret);
        let invitation = Invitation {
            id,
            role: input.role,
            email: input.email.clone(),
            user_id: input.user_id.clone(),
            created_at: ctx.now,
            valid_until: ctx.now + SignedDuration::from_hours(24 * INVITATION_DAYS),
            token_hash: once.keyring().hash(Purpose::Invitation, &parts),
            accepted_by: None,
        };
        let token = format!("{TOKEN_PREFIX}{tenant}_{ulid}_{secret}");
        let view = view::new_invitation(&invitation, token);
        let response = object(StatusCode::CREATED, &view)?;
        let after = shown(&view::invitation(&invitation));
        let change = Change::created("invitation", &id, after);
        ctx.create(&once, change, response, async |store, sealed| {
            store.create_invitation(&invitation, sealed).await
        })
        .await
    };
    ctx.once(&body.bytes, create).await
}

/// The start of every token.
const TOKEN_PREFIX: &str = "aias_invite_";

/// Delete an invitation
///
/// Its token is refused from then on. A person who has accepted it stays a member.
#[utoipa::path(
    delete,
    path = "/api/tenants/{id}/invitations/{invitation_id}",
    tag = "tenants",
    params(("id" = TenantId, Path), ("invitation_id" = InvitationId, Path)),
    responses((status = 204, description = "The invitation is deleted")),
    extensions(("x-role" = json!("admin")), ("x-problems" = json!(["conflict"]))),
)]
pub(crate) async fn delete_invitation(
    ctx: Admin<Api>,
    Path((_, id)): Path<(TenantId, InvitationId)>,
) -> Result {
    let read = ctx.store().invitation(id).await?;
    let read = read.ok_or_else(Problem::not_found)?;
    manage(&ctx.caller, read.value.role)?;
    let change = Change::deleted("invitation", &id, shown(&view::invitation(&read.value)));
    ctx.change(change, async |store| store.delete_invitation(&read).await)
        .await?;
    Ok(no_content())
}

/// The token of an invitation.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Acceptance {
    #[schema(
        pattern = "^aias_invite_[0-9A-HJKMNP-TV-Z]{26}_[0-9A-HJKMNP-TV-Z]{26}_[A-Za-z0-9_-]{43}$"
    )]
    token: String,
}

impl RequestBody for Acceptance {}

/// Accept an invitation
///
/// The caller becomes a member of the tenant. An API key cannot accept an invitation. Repeating the
/// request has the same response.
#[utoipa::path(
    post,
    path = "/api/invitations/accept",
    tag = "tenants",
    request_body = Acceptance,
    responses((
        status = 200, description = "The tenant", body = view::TenantView,
        headers(("etag" = String)),
    )),
    extensions(
        ("x-role" = json!("any")),
        ("x-problems" = json!(["conflict", "forbidden", "not-found", "plan-limit-exceeded"])),
    ),
)]
pub(crate) async fn accept_invitation(ctx: Identified<Api>, body: JsonBody<Acceptance>) -> Result {
    let user = ctx.user()?.clone();
    let found = find(&ctx, &body.value.token).await?;
    let found = found.filter(|found| found.invitation.value.can_be_accepted(&user, ctx.now));
    let found = found.ok_or_else(Problem::not_found)?;
    ctx.app.auth.check_issuer(&found.tenant)?;
    let tenant = found.tenant.id;
    Span::current().record("tenant_id", display(tenant));
    as_tenant(tenant, accept(&ctx, user, found)).await
}

/// The invitation of a token.
async fn find(ctx: &Identified<Api>, token: &str) -> Result<Option<FoundInvitation>> {
    let parts = token.strip_prefix(TOKEN_PREFIX).and_then(|parts| {
        let (tenant, rest) = parts.split_once('_')?;
        let (id, secret) = rest.split_once('_')?;
        let ids = (
            TenantId::from_ulid(tenant).ok()?,
            InvitationId::from_ulid(id).ok()?,
        );
        is_secret_form(secret).then_some((ids, secret))
    });
    let Some(((tenant, id), secret)) = parts else {
        return Ok(None);
    };
    let keyring = ctx.app.auth.keyring().await?;
    let (tenant_ulid, ulid) = (tenant.ulid(), id.ulid());
    let parts = token_hash_parts(&tenant_ulid, &ulid, secret);
    let hashes = keyring.hashes(Purpose::Invitation, &parts);
    Ok(ctx
        .app
        .store
        .invitation_of_token(tenant, id, &hashes)
        .await?)
}

async fn accept(ctx: &Identified<Api>, user: UserId, found: FoundInvitation) -> Result {
    let FoundInvitation {
        proof,
        tenant,
        invitation,
    } = found;
    let limits = tenant.limits(ctx.now);
    let role = invitation.value.role;
    let response = object(StatusCode::OK, &view::tenant(&tenant, role, ctx.now))?;
    let store = ctx.app.store.tenant(proof);
    if store.member(&user).await?.is_some() {
        // Of the person who has accepted it, or of one who was a member before.
        return match &invitation.value.accepted_by {
            Some(_) => Ok(response),
            None => Err(Problem::new(&kinds::MEMBER_EXISTS)),
        };
    }
    let member = Member {
        user_id: user.clone(),
        role,
        created_at: ctx.now,
        disabled_by_plan: false,
    };
    let accepted = Stored {
        value: Invitation {
            accepted_by: Some(user.clone()),
            ..invitation.value
        },
        version: invitation.version,
    };
    let change = Change::created("member", &user, shown(&view::member(&member)));
    let entry = change.entry(Actor::User(user).audited(), &ctx.head, ctx.now);
    let written = store
        .audited(&entry)
        .accept_invitation(&accepted, &member, limits.members)
        .await;
    written.map_err(|refused| Problem::refused(refused, &limits))?;
    Ok(response)
}
