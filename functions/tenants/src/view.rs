//! Tenants, members and keys as the API shows them.

use aias_domain::{
    event::text_of,
    id::{KeyId, TenantId},
    plan::{self, PlanName},
    tenant::{ApiKey, Member, Role, Tenant},
};
use jiff::Timestamp;
use serde::Serialize;

#[derive(Serialize)]
pub(crate) struct TenantView {
    id: TenantId,
    name: String,
    plan: PlanName,
    role: Role,
    created_at: String,
    updated_at: String,
}

pub(crate) fn tenant(tenant: &Tenant, role: Role, now: Timestamp) -> TenantView {
    TenantView {
        id: tenant.id,
        name: tenant.name.to_string(),
        plan: plan::limits(tenant, now).plan,
        role,
        created_at: text_of(tenant.created_at),
        updated_at: text_of(tenant.updated_at),
    }
}

#[derive(Serialize)]
pub(crate) struct MemberView {
    user_id: String,
    role: Role,
    created_at: String,
    disabled_reason: Option<&'static str>,
}

pub(crate) fn member(member: &Member) -> MemberView {
    MemberView {
        user_id: member.user_id.to_string(),
        role: member.role,
        created_at: text_of(member.created_at),
        disabled_reason: plan::disabled_reason(member.disabled_by_plan),
    }
}

#[derive(Serialize)]
pub(crate) struct KeyView {
    id: KeyId,
    name: String,
    role: Role,
    created_at: String,
    expires_at: Option<String>,
    disabled_reason: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
}

pub(crate) fn api_key(key: &ApiKey) -> KeyView {
    KeyView {
        id: key.id,
        name: key.name.to_string(),
        role: key.role,
        created_at: text_of(key.created_at),
        expires_at: key.valid_until.map(text_of),
        disabled_reason: plan::disabled_reason(key.disabled_by_plan),
        key: None,
    }
}

/// With its token, which is shown this once.
pub(crate) fn new_api_key(key: &ApiKey, token: String) -> KeyView {
    KeyView {
        key: Some(token),
        ..api_key(key)
    }
}
