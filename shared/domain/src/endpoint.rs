//! Webhook endpoints: a URL with a secret in it, a workflow, and a way of proving.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    id::{EndpointId, WorkflowId},
    text::Name,
    verification::Verification,
};

/// How many secrets of a kind may be valid at once: the newest, and those in their overlap.
pub const MAX_SECRETS: usize = 4;

/// The longest overlap of a rotation, in seconds: 30 days.
pub const MAX_OVERLAP_SECONDS: u32 = 30 * 24 * 3600;

/// How precisely `last_used_at` is kept, in seconds: it costs a write each time.
pub const LAST_USED_SECONDS: i64 = 3600;

/// A secret and how long it opens; `value` is a keyed hash or a sealed text, never the secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Secret {
    /// The keyed hash (URL secrets) or the sealed text (signing secrets).
    pub value: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// From when on it opens nothing; set by a rotation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub valid_until: Option<Timestamp>,
    /// When it last opened something, to the hour.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_used_at: Option<Timestamp>,
}

impl Secret {
    /// A secret that opens until it is rotated.
    #[must_use]
    pub fn new(value: String, now: Timestamp) -> Self {
        Self {
            value,
            created_at: now,
            valid_until: None,
            last_used_at: None,
        }
    }

    /// Whether the secret still opens.
    #[must_use]
    pub fn is_valid_at(&self, now: Timestamp) -> bool {
        self.valid_until.is_none_or(|until| now < until)
    }

    /// Whether `last_used_at` is old enough to be written again.
    #[must_use]
    pub fn is_use_due(&self, now: Timestamp) -> bool {
        self.last_used_at
            .is_none_or(|used| now.as_second() - used.as_second() >= LAST_USED_SECONDS)
    }
}

/// A webhook endpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoint {
    /// Its id.
    pub id: EndpointId,
    /// What a person called it.
    pub name: Name,
    /// The workflow that its events run.
    pub workflow_id: WorkflowId,
    /// Whether people want it to take events.
    pub enabled: bool,
    /// Whether it is more than the plan allows: it takes events again with a larger one.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub disabled_by_plan: bool,
    /// How its events prove themselves.
    pub verification: Verification,
    /// The keyed hashes of the secrets in its URL, newest first.
    pub url_secrets: Vec<Secret>,
    /// The sealed signing secrets, newest first; none for the scheme `none`.
    pub signing_secrets: Vec<Secret>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
}

impl Endpoint {
    /// Whether it takes events.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.enabled && !self.disabled_by_plan
    }
}

/// Which of an endpoint's secrets.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = SecretKind)]
pub enum Which {
    /// The one in the URL.
    #[default]
    Url,
    /// The one that signatures are made with.
    Signing,
}

/// Puts `secret` first; those before it open for `overlap_seconds` more, or less if they already
/// end sooner. What has ended goes, and so do the oldest beyond [`MAX_SECRETS`].
/// Returns what went.
pub fn rotate(
    secrets: &mut Vec<Secret>,
    secret: Secret,
    overlap_seconds: u32,
    now: Timestamp,
) -> Vec<Secret> {
    let end =
        now + jiff::SignedDuration::from_secs(i64::from(overlap_seconds.min(MAX_OVERLAP_SECONDS)));
    for old in secrets.iter_mut() {
        old.valid_until = Some(old.valid_until.map_or(end, |until| until.min(end)));
    }
    secrets.insert(0, secret);
    let mut kept = 0;
    let (keep, gone) = std::mem::take(secrets).into_iter().partition(|s| {
        kept += usize::from(s.is_valid_at(now));
        s.is_valid_at(now) && kept <= MAX_SECRETS
    });
    *secrets = keep;
    gone
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn an_old_secret_opens_until_its_overlap_ends() {
        let mut secrets = vec![Secret::new("a".into(), at(0))];
        assert!(rotate(&mut secrets, Secret::new("b".into(), at(10)), 60, at(10)).is_empty());
        assert!(secrets[1].is_valid_at(at(69)) && !secrets[1].is_valid_at(at(70)));
        // A second rotation does not lengthen the first one's overlap.
        rotate(&mut secrets, Secret::new("c".into(), at(20)), 600, at(20));
        assert_eq!(secrets[2].valid_until, Some(at(70)));
        let gone = rotate(&mut secrets, Secret::new("d".into(), at(80)), 0, at(80));
        assert_eq!(gone.len(), 3);
        assert_eq!(secrets.len(), 1);
    }

    #[test]
    fn the_number_of_secrets_is_bounded() {
        let mut secrets = Vec::new();
        for second in 0..9 {
            rotate(
                &mut secrets,
                Secret::new(second.to_string(), at(second)),
                3600,
                at(second),
            );
        }
        assert_eq!(secrets.len(), MAX_SECRETS);
        assert_eq!(secrets[0].value, "8");
    }

    #[test]
    fn a_use_is_noted_once_an_hour() {
        let mut secret = Secret::new("a".into(), at(0));
        assert!(secret.is_use_due(at(0)));
        secret.last_used_at = Some(at(0));
        assert!(!secret.is_use_due(at(3599)) && secret.is_use_due(at(3600)));
    }
}
