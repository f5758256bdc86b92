//! Tenants, their members and their API keys.

use std::{fmt, str::FromStr};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    id::{InvitationId, KeyId, TenantId},
    name::Name,
    plan::{Limits, Overrides, Plan},
};

/// The most tenants that a user creates in a month, so that the limits of a plan bound what one
/// person takes of an installation.
pub const MAX_CREATED_A_MONTH: u64 = 1_000;

/// A customer of this installation. Every other object belongs to one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tenant {
    /// Not stored: it is the item's key.
    #[serde(skip, default = "nil_id")]
    pub id: TenantId,
    /// Its display name.
    pub name: Name,
    /// When it was made.
    pub created_at: Timestamp,
    /// When its name last changed.
    pub updated_at: Timestamp,
    /// Set when the deletion was requested. From then on every caller is refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deleted_at: Option<Timestamp>,
    /// The OIDC issuer whose subjects its members are. None: the members of any issuer, for a tenant
    /// that an operator, a local issuer or an earlier release made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issuer: Option<String>,
    /// The plan of its subscription.
    #[serde(default)]
    pub plan: Plan,
    /// Set by an operator: the enterprise plan with these limits, whatever the subscription.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enterprise: Option<Overrides>,
}

impl Tenant {
    /// A tenant without a subscription.
    #[must_use]
    pub fn new(id: TenantId, name: Name, now: Timestamp) -> Self {
        Self {
            id,
            name,
            created_at: now,
            updated_at: now,
            deleted_at: None,
            issuer: None,
            plan: Plan::default(),
            enterprise: None,
        }
    }

    /// The limits in force at a moment.
    #[must_use]
    pub fn limits(&self, now: Timestamp) -> Limits {
        let (limits, shards) = match self.enterprise {
            Some(overrides) => (overrides.limits(), overrides.limits().shards),
            None => (self.plan.at(now).limits(), self.plan.name.limits().shards),
        };
        Limits {
            shards: self.plan.shards(shards, now),
            run_shards: self.plan.run_shards,
            ..limits
        }
    }
}

fn nil_id() -> TenantId {
    TenantId::new(Timestamp::UNIX_EPOCH, 0)
}

/// What a caller may do. Each role includes the previous ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Reads.
    Viewer,
    /// Writes workflows, executes and retries runs.
    Editor,
    /// Manages members, keys and endpoints.
    Admin,
    /// Manages billing and deletes the tenant.
    Owner,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Viewer => "viewer",
            Self::Editor => "editor",
            Self::Admin => "admin",
            Self::Owner => "owner",
        })
    }
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a user id is an OIDC subject: 1 to 255 printable ASCII characters")]
pub struct UserIdError;

/// An OIDC subject (`sub`): 1 to 255 ASCII characters (`OpenID` Connect Core 1.0, section 2).
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(try_from = "String")]
#[schema(pattern = "^[!-~]{1,255}$", examples("auth0|5f7c8ec7c33c6c004bbafe82"))]
pub struct UserId(String);

impl UserId {
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for UserId {
    type Err = UserIdError;

    fn from_str(text: &str) -> Result<Self, UserIdError> {
        let fits = (1..=255).contains(&text.len());
        let printable = text.bytes().all(|b| b.is_ascii_graphic());
        (fits && printable)
            .then(|| Self(text.to_owned()))
            .ok_or(UserIdError)
    }
}

impl TryFrom<String> for UserId {
    type Error = UserIdError;

    fn try_from(text: String) -> Result<Self, UserIdError> {
        text.parse()
    }
}

impl fmt::Display for UserId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A person in a tenant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// The OIDC subject.
    pub user_id: UserId,
    pub role: Role,
    /// When the member was added.
    pub created_at: Timestamp,
    /// Set while the plan allows fewer members; cleared when it allows more.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub disabled_by_plan: bool,
}

/// An e-mail address, to which the inviter sends the invitation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(try_from = "String")]
#[schema(
    pattern = r"^[^@\s\x00-\x1f\x7f]{1,64}@[^@\s\x00-\x1f\x7f]{1,189}$",
    examples("ada@example.com")
)]
pub struct Email(String);

impl Email {
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Email {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let part = |part: &str, max: usize| {
            (1..=max).contains(&part.chars().count())
                && !part.contains('@')
                && !part.chars().any(|c| c.is_whitespace() || c.is_control())
        };
        match text.split_once('@') {
            Some((local, domain)) if part(local, 64) && part(domain, 189) => Ok(Self(text)),
            Some(_) | None => Err("not an e-mail address"),
        }
    }
}

/// How long an invitation can be accepted, in days.
pub const INVITATION_DAYS: i64 = 7;

/// An invitation to a tenant. A person accepts it, once, with its token; an invitation that names a
/// subject is accepted only by that person. The token itself is not stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Invitation {
    pub id: InvitationId,
    pub role: Role,
    /// To whom the token is sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email: Option<Email>,
    /// Who alone can accept it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_id: Option<UserId>,
    pub created_at: Timestamp,
    pub valid_until: Timestamp,
    /// The keyed hash of the token.
    pub token_hash: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accepted_by: Option<UserId>,
}

impl Invitation {
    /// Whether a person can accept it: repeating a request that accepted it is no error.
    #[must_use]
    pub fn can_be_accepted(&self, user: &UserId, now: Timestamp) -> bool {
        let is_free = self.accepted_by.as_ref().is_none_or(|by| by == user);
        let is_for = self.user_id.as_ref().is_none_or(|only| only == user);
        now < self.valid_until && is_free && is_for
    }
}

/// A credential for programs, bound to one tenant and one role. The token itself is not stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApiKey {
    /// The id of the key, not the token.
    pub id: KeyId,
    /// A display name.
    pub name: Name,
    pub role: Role,
    /// When it was made.
    pub created_at: Timestamp,
    /// When the key expires.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub valid_until: Option<Timestamp>,
    /// The keyed hash of the token.
    pub token_hash: String,
    /// Set while the plan allows fewer keys; cleared when it allows more.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub disabled_by_plan: bool,
}

impl ApiKey {
    #[must_use]
    pub fn is_valid_at(&self, now: Timestamp) -> bool {
        self.valid_until.is_none_or(|until| now < until)
    }
}

/// Why a change of members or keys is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RoleError {
    /// A caller cannot give, remove or use a role above their own.
    #[error("only a caller with the role {0} or a higher one may do this")]
    AboveCaller(Role),
    /// A tenant always has an owner.
    #[error("a tenant must keep an owner: make somebody else an owner first")]
    LastOwner,
}

/// Whether `caller` may give, change or remove a role.
///
/// # Errors
///
/// When `role` is above the caller's own.
pub fn may_manage(caller: Role, role: Role) -> Result<(), RoleError> {
    if role > caller {
        return Err(RoleError::AboveCaller(role));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_are_ordered() {
        assert!(
            Role::Owner > Role::Admin && Role::Admin > Role::Editor && Role::Editor > Role::Viewer
        );
        assert_eq!(
            may_manage(Role::Admin, Role::Owner),
            Err(RoleError::AboveCaller(Role::Owner))
        );
        assert_eq!(may_manage(Role::Admin, Role::Admin), Ok(()));
    }

    #[test]
    fn subject_is_limited() {
        assert!("auth0|5f7c".parse::<UserId>().is_ok());
        for bad in ["", "a b", "ü", &"x".repeat(256)] {
            assert!(bad.parse::<UserId>().is_err(), "{bad}");
        }
    }
}
