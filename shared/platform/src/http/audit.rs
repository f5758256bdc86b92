//! The change that a request makes, as recorded in the audit log.

use aias_domain::{
    audit::{Actor, Entry, Target},
    id::AuditId,
};
use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;

use super::request::Head;
use crate::clock::random_id;

/// A change of an object.
#[derive(Debug)]
pub struct Change {
    kind: &'static str,
    id: String,
    verb: &'static str,
    before: Value,
    after: Value,
}

/// An object as the API shows it.
pub fn shown(view: &impl Serialize) -> Value {
    serde_json::to_value(view).unwrap_or_default()
}

impl Change {
    /// Creation of an object of type `kind`: `member`, `api_key`, `secret`, `endpoint`, `workflow`,
    /// `sample` or `tenant`.
    #[must_use]
    pub fn created(kind: &'static str, id: &impl ToString, after: Value) -> Self {
        Self {
            kind,
            id: id.to_string(),
            verb: "created",
            before: Value::Null,
            after,
        }
    }

    #[must_use]
    pub fn updated(kind: &'static str, id: &impl ToString, before: Value, after: Value) -> Self {
        Self {
            verb: "updated",
            before,
            ..Self::created(kind, id, after)
        }
    }

    /// Rotation of a secret of an object.
    #[must_use]
    pub fn rotated(kind: &'static str, id: &impl ToString, before: Value, after: Value) -> Self {
        Self {
            verb: "rotated",
            ..Self::updated(kind, id, before, after)
        }
    }

    #[must_use]
    pub fn deleted(kind: &'static str, id: &impl ToString, before: Value) -> Self {
        Self {
            verb: "deleted",
            before,
            ..Self::created(kind, id, Value::Null)
        }
    }

    /// The audit entry of this change.
    #[must_use]
    pub fn entry(self, actor: Actor, head: &Head, now: Timestamp) -> Entry {
        let text = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
        Entry {
            id: AuditId::new(now, random_id()),
            at: now,
            actor,
            action: format!("{}.{}", self.kind, self.verb),
            target: Target {
                kind: self.kind.to_owned(),
                id: self.id,
            },
            source_ip: text(&head.origin.source_ip),
            request_id: text(&head.origin.request_id),
            before: self.before,
            after: self.after,
        }
    }
}
