//! The audit log: who changed what, when, from where, with the state before and after. An entry and
//! its change are one transaction. Entries are immutable until they expire.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::id::AuditId;

/// How long an entry is kept, in days.
pub const KEPT_DAYS: i64 = 400;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = AuditActor)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Actor {
    /// A person, by OIDC subject.
    User {
        /// The OIDC subject.
        id: String,
    },
    /// An API key.
    ApiKey {
        /// The key's id.
        id: String,
    },
    /// Stripe, by the event that it sent.
    Stripe {
        /// Its event.
        id: String,
    },
    /// The operator of the installation.
    Operator,
}

/// The object that was changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = AuditTarget)]
pub struct Target {
    /// `member`, `api_key`, `secret`, `endpoint`, `workflow`, `tenant` or `plan`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The object's id.
    pub id: String,
}

/// One change.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// Sorts by time.
    pub id: AuditId,
    /// When.
    pub at: Timestamp,
    /// Who.
    pub actor: Actor,
    /// `<type>.created`, `.updated`, `.deleted` or `.rotated`.
    pub action: String,
    /// To what.
    pub target: Target,
    /// The address of the caller; none when Stripe or an operator made the change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_ip: Option<String>,
    /// The id of the HTTP request, which its log line has too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// As the API showed the object before the change; `null` if it did not exist. Never contains a
    /// secret.
    pub before: Value,
    /// As the API shows the object after the change; `null` if it was deleted.
    pub after: Value,
}
