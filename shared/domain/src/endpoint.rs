//! Webhook endpoints: a URL that contains a secret, a workflow, and how requests are verified.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use wildmatch::WildMatch;

use crate::{
    id::{EndpointId, WorkflowId},
    name::Name,
    verification::Verification,
};

/// How many path secrets, and how many signing secrets, may be valid at once: the newest and the
/// rotated ones in their overlap.
pub const MAX_SECRETS: usize = 4;

/// The longest overlap of a rotation, in seconds: 30 days.
pub const MAX_OVERLAP_SECONDS: u32 = 30 * 24 * 3600;

/// `last_used_at` is written at most this often, in seconds, because each time costs a write.
pub const LAST_USED_SECONDS: i64 = 300;

/// A path secret or a signing secret of an endpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndpointSecret {
    /// The keyed hash of a path secret, or a sealed signing secret; never the plain text.
    pub value: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// When the secret stops being valid; set by a rotation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub valid_until: Option<Timestamp>,
    /// Accurate to [`LAST_USED_SECONDS`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_used_at: Option<Timestamp>,
}

impl EndpointSecret {
    /// A secret that is valid until it is rotated.
    #[must_use]
    pub fn new(value: String, now: Timestamp) -> Self {
        Self {
            value,
            created_at: now,
            valid_until: None,
            last_used_at: None,
        }
    }

    #[must_use]
    pub fn is_valid_at(&self, now: Timestamp) -> bool {
        self.valid_until.is_none_or(|until| now < until)
    }

    /// Whether `last_used_at` is old enough to be written again.
    #[must_use]
    pub fn must_record_use(&self, now: Timestamp) -> bool {
        self.last_used_at
            .is_none_or(|used| now.as_second() - used.as_second() >= LAST_USED_SECONDS)
    }
}

/// A webhook endpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoint {
    /// Its id.
    pub id: EndpointId,
    /// A display name.
    pub name: Name,
    /// The workflow that runs on each event.
    pub workflow_id: WorkflowId,
    /// The version that runs; the active one by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workflow_version: Option<u32>,
    /// Set by the tenant.
    pub enabled: bool,
    /// Set while the plan allows fewer endpoints; cleared when it allows more.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub disabled_by_plan: bool,
    /// What the provider gets while the endpoint is disabled.
    #[serde(default, skip_serializing_if = "DisabledStatus::is_default")]
    pub disabled_status: DisabledStatus,
    /// How requests are verified.
    pub verification: Verification,
    /// Keyed hashes of the path secrets, newest first.
    pub url_secrets: Vec<EndpointSecret>,
    /// Sealed signing secrets, newest first; empty for the scheme `none`, and while the provider's
    /// secret is not known yet.
    pub signing_secrets: Vec<EndpointSecret>,
    /// When the provider last sent a test event that is not run, to the minute.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_ping_at: Option<Timestamp>,
    /// The first request whose signature did not verify after an accepted event.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refusing_since: Option<Timestamp>,
    /// Patterns of the event types that run, with `*` for any text; all types if there are none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub event_types: Vec<String>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
}

/// The most patterns of event types, and their longest, in characters.
pub const MAX_EVENT_TYPES: usize = 50;
pub const MAX_EVENT_TYPE_PATTERN: usize = 128;

/// `last_ping_at` is written at most this often, in seconds.
pub const PING_SECONDS: i64 = 60;

impl Endpoint {
    /// Whether the endpoint is enabled, by the tenant and by the plan.
    #[must_use]
    pub fn is_enabled(&self) -> bool {
        self.enabled && !self.disabled_by_plan
    }

    /// Since when the endpoint refuses all requests, because their signatures do not verify.
    #[must_use]
    pub fn refusing_since(&self) -> Option<Timestamp> {
        let used = self.url_secrets.iter().filter_map(|own| own.last_used_at);
        let used = used.max();
        self.refusing_since
            .filter(|since| used.is_none_or(|used| used < *since))
    }

    /// Whether the first refusal after an accepted event is not recorded yet.
    #[must_use]
    pub fn must_record_refusal(&self) -> bool {
        self.refusing_since().is_none()
    }

    /// Whether events of this type run. If the type is not known, only the pattern `*` has it.
    #[must_use]
    pub fn runs_type(&self, event_type: Option<&str>) -> bool {
        let matches = |pattern: &String| WildMatch::new(pattern).matches(event_type.unwrap_or(""));
        self.event_types.is_empty() || self.event_types.iter().any(matches)
    }

    #[must_use]
    pub fn state(&self) -> EndpointState {
        if !self.is_enabled() {
            EndpointState::Disabled
        } else if self.signing_secrets.is_empty() && self.verification.is_signed() {
            EndpointState::PendingSecret
        } else {
            EndpointState::Active
        }
    }

    /// Whether `last_ping_at` is old enough to be written again.
    #[must_use]
    pub fn must_record_ping(&self, now: Timestamp) -> bool {
        self.last_ping_at
            .is_none_or(|at| now.as_second() - at.as_second() >= PING_SECONDS)
    }
}

/// Whether an endpoint accepts events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum EndpointState {
    Active,
    /// Disabled by the tenant or by the plan.
    Disabled,
    /// The provider's signing secret is not known yet, so no event can be verified.
    PendingSecret,
}

/// The status of the response to an event while the endpoint is disabled.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "u16", into = "u16")]
pub enum DisabledStatus {
    /// `410`: the provider may stop sending for good.
    #[default]
    Gone,
    /// `503`: the provider retries later.
    Unavailable,
}

impl DisabledStatus {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

impl From<DisabledStatus> for u16 {
    fn from(status: DisabledStatus) -> Self {
        match status {
            DisabledStatus::Gone => 410,
            DisabledStatus::Unavailable => 503,
        }
    }
}

impl TryFrom<u16> for DisabledStatus {
    type Error = &'static str;

    fn try_from(status: u16) -> Result<Self, Self::Error> {
        match status {
            410 => Ok(Self::Gone),
            503 => Ok(Self::Unavailable),
            _ => Err("must be 410 or 503"),
        }
    }
}

/// The two secrets of an endpoint.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = SecretKind)]
pub enum EndpointSecretKind {
    /// The secret in the URL.
    #[default]
    Url,
    /// The secret that the provider signs with.
    Signing,
}

/// Puts `secret` first. The older ones stay valid for `overlap_seconds`, or less if they already
/// expire sooner. Expired secrets and the oldest beyond [`MAX_SECRETS`] are removed and returned.
pub fn rotate(
    secrets: &mut Vec<EndpointSecret>,
    secret: EndpointSecret,
    overlap_seconds: u32,
    now: Timestamp,
) -> Vec<EndpointSecret> {
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
    fn rotated_secret_is_valid_until_overlap_ends() {
        let mut secrets = vec![EndpointSecret::new("a".into(), at(0))];
        assert!(
            rotate(
                &mut secrets,
                EndpointSecret::new("b".into(), at(10)),
                60,
                at(10)
            )
            .is_empty()
        );
        assert!(secrets[1].is_valid_at(at(69)) && !secrets[1].is_valid_at(at(70)));
        // A second rotation does not extend the overlap of the first.
        rotate(
            &mut secrets,
            EndpointSecret::new("c".into(), at(20)),
            600,
            at(20),
        );
        assert_eq!(secrets[2].valid_until, Some(at(70)));
        let gone = rotate(
            &mut secrets,
            EndpointSecret::new("d".into(), at(80)),
            0,
            at(80),
        );
        assert_eq!(gone.len(), 3);
        assert_eq!(secrets.len(), 1);
    }

    #[test]
    fn number_of_secrets_is_limited() {
        let mut secrets = Vec::new();
        for second in 0..9 {
            rotate(
                &mut secrets,
                EndpointSecret::new(second.to_string(), at(second)),
                3600,
                at(second),
            );
        }
        assert_eq!(secrets.len(), MAX_SECRETS);
        assert_eq!(secrets[0].value, "8");
    }

    #[test]
    fn use_is_recorded_every_five_minutes() {
        let mut secret = EndpointSecret::new("a".into(), at(0));
        assert!(secret.must_record_use(at(0)));
        secret.last_used_at = Some(at(0));
        assert!(!secret.must_record_use(at(299)) && secret.must_record_use(at(300)));
    }
}
