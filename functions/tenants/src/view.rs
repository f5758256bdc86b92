//! Tenants, members and API keys in the API.

use aias_domain::{
    id::{InvitationId, KeyId, TenantId},
    plan::{self, PlanName},
    tenant::{ApiKey, Email, Invitation, Member, Role, Tenant, UserId},
    timestamp,
};
use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

/// A tenant.
#[derive(Serialize, ToSchema)]
#[schema(as = Tenant)]
pub(crate) struct TenantView {
    id: TenantId,
    name: String,
    plan: PlanName,
    /// The caller's role.
    role: Role,
    #[schema(format = DateTime)]
    created_at: String,
    #[schema(format = DateTime)]
    updated_at: String,
}

pub(crate) fn tenant(tenant: &Tenant, role: Role, now: Timestamp) -> TenantView {
    TenantView {
        id: tenant.id,
        name: tenant.name.to_string(),
        plan: tenant.limits(now).plan,
        role,
        created_at: timestamp::format(tenant.created_at),
        updated_at: timestamp::format(tenant.updated_at),
    }
}

/// A member of a tenant.
#[derive(Serialize, ToSchema)]
#[schema(as = Member)]
pub(crate) struct MemberView {
    /// The subject (`sub`) of the member's tokens.
    user_id: String,
    role: Role,
    #[schema(format = DateTime)]
    created_at: String,
    /// `plan` if the member is disabled because the plan allows fewer.
    disabled_reason: Option<&'static str>,
}

pub(crate) fn member(member: &Member) -> MemberView {
    MemberView {
        user_id: member.user_id.to_string(),
        role: member.role,
        created_at: timestamp::format(member.created_at),
        disabled_reason: plan::disabled_reason(member.disabled_by_plan),
    }
}

/// An API key, without its token.
#[derive(Serialize, ToSchema)]
#[schema(as = ApiKey)]
pub(crate) struct KeyView {
    id: KeyId,
    name: String,
    role: Role,
    #[schema(format = DateTime)]
    created_at: String,
    #[schema(format = DateTime)]
    expires_at: Option<String>,
    /// `plan` if the key is disabled because the plan allows fewer.
    disabled_reason: Option<&'static str>,
}

/// A new API key, with its token.
#[derive(Serialize, ToSchema)]
#[schema(as = NewApiKey)]
pub(crate) struct NewKeyView {
    #[serde(flatten)]
    own: KeyView,
    /// The token. Only this response contains it.
    #[schema(pattern = "^aias_[0-9A-HJKMNP-TV-Z]{26}_[A-Za-z0-9_-]{43}$")]
    key: String,
}

pub(crate) fn api_key(key: &ApiKey) -> KeyView {
    KeyView {
        id: key.id,
        name: key.name.to_string(),
        role: key.role,
        created_at: timestamp::format(key.created_at),
        expires_at: key.valid_until.map(timestamp::format),
        disabled_reason: plan::disabled_reason(key.disabled_by_plan),
    }
}

pub(crate) fn new_api_key(key: &ApiKey, token: String) -> NewKeyView {
    NewKeyView {
        own: api_key(key),
        key: token,
    }
}

/// An invitation, without its token.
#[derive(Serialize, ToSchema)]
#[schema(as = Invitation)]
pub(crate) struct InvitationView {
    id: InvitationId,
    role: Role,
    email: Option<Email>,
    /// The only person who can accept it.
    user_id: Option<UserId>,
    #[schema(format = DateTime)]
    created_at: String,
    #[schema(format = DateTime)]
    expires_at: String,
    /// The person who has accepted it.
    accepted_by: Option<UserId>,
}

/// A new invitation, with its token.
#[derive(Serialize, ToSchema)]
#[schema(as = NewInvitation)]
pub(crate) struct NewInvitationView {
    #[serde(flatten)]
    own: InvitationView,
    /// Only this response contains it.
    #[schema(
        pattern = "^aias_invite_[0-9A-HJKMNP-TV-Z]{26}_[0-9A-HJKMNP-TV-Z]{26}_[A-Za-z0-9_-]{43}$"
    )]
    token: String,
}

pub(crate) fn invitation(own: &Invitation) -> InvitationView {
    InvitationView {
        id: own.id,
        role: own.role,
        email: own.email.clone(),
        user_id: own.user_id.clone(),
        created_at: timestamp::format(own.created_at),
        expires_at: timestamp::format(own.valid_until),
        accepted_by: own.accepted_by.clone(),
    }
}

pub(crate) fn new_invitation(own: &Invitation, token: String) -> NewInvitationView {
    NewInvitationView {
        own: invitation(own),
        token,
    }
}
