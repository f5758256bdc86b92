//! The audit log: who changed what, when, from where, and how it was before and after. An entry is
//! written with the change itself, or neither is; nothing changes one or takes it away before its time.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::id::AuditId;

/// How long an entry is kept, in days.
pub const KEPT_DAYS: i64 = 400;

/// Who changed something.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = AuditActor)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Actor {
    /// A person.
    User {
        /// The OIDC subject.
        id: String,
    },
    /// A program, by its API key.
    ApiKey {
        /// The key's id.
        id: String,
    },
    /// The payment provider.
    Stripe {
        /// Its event.
        id: String,
    },
    /// Whoever runs the installation.
    Operator,
}

/// What was changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = AuditTarget)]
pub struct Target {
    /// What it is: `member`, `api_key`, `secret`, `endpoint`, `workflow`, `tenant`, `plan`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Which one.
    pub id: String,
}

/// One change.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// Its id, which sorts by time.
    pub id: AuditId,
    /// When.
    pub at: Timestamp,
    /// Who.
    pub actor: Actor,
    /// What was done: `<type>.created`, `.updated`, `.deleted`, `.rotated`.
    pub action: String,
    /// To what.
    pub target: Target,
    /// The address that the request came from, if it was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_ip: Option<String>,
    /// The request's id, which its log line has too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// As the API showed it before; `null` when it was not there. No secret is in it.
    pub before: Value,
    /// As the API shows it since; `null` when it is gone.
    pub after: Value,
}
