//! A change that a caller makes, as the audit log tells it.

use aias_domain::{
    audit::{Actor as AuditActor, Entry, Target},
    id::AuditId,
};
use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;

use super::{Actor, Caller, Request};
use crate::clock::random_id;

/// What is changed, and how.
#[derive(Debug)]
pub struct Changed {
    /// `member`, `api_key`, `secret`, `endpoint`, `workflow`, `tenant`.
    pub kind: &'static str,
    /// Which one.
    pub id: String,
    /// `created`, `updated`, `deleted`, `rotated`.
    pub verb: &'static str,
    /// As the API showed it before.
    pub before: Value,
    /// As the API shows it since.
    pub after: Value,
}

/// Something as the API shows it.
pub fn shown(view: &impl Serialize) -> Value {
    serde_json::to_value(view).unwrap_or_default()
}

impl Changed {
    /// Something that is there from now on.
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

    /// Something that was another.
    #[must_use]
    pub fn updated(kind: &'static str, id: &impl ToString, before: Value, after: Value) -> Self {
        Self {
            verb: "updated",
            before,
            ..Self::created(kind, id, after)
        }
    }

    /// Something that is gone.
    #[must_use]
    pub fn deleted(kind: &'static str, id: &impl ToString, before: Value) -> Self {
        Self {
            verb: "deleted",
            before,
            ..Self::created(kind, id, Value::Null)
        }
    }
}

impl Actor {
    /// As the audit log names it.
    #[must_use]
    pub fn told(&self) -> AuditActor {
        match self {
            Self::User(user) => AuditActor::User {
                id: user.to_string(),
            },
            Self::Key(key) => AuditActor::ApiKey {
                id: key.to_string(),
            },
        }
    }
}

/// The entry of a change by an actor who asked for it.
#[must_use]
pub fn entry(actor: AuditActor, request: &Request, now: Timestamp, changed: Changed) -> Entry {
    let text = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
    Entry {
        id: AuditId::new(now, random_id()),
        at: now,
        actor,
        action: format!("{}.{}", changed.kind, changed.verb),
        target: Target {
            kind: changed.kind.to_owned(),
            id: changed.id,
        },
        source_ip: text(&request.source_ip),
        request_id: text(&request.request_id),
        before: changed.before,
        after: changed.after,
    }
}

impl Caller {
    /// The entry of a change that the caller makes by this request.
    #[must_use]
    pub fn tells(&self, request: &Request, now: Timestamp, changed: Changed) -> Entry {
        entry(self.actor.told(), request, now, changed)
    }
}
