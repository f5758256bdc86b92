//! Sessions: a sealed cookie that contains the caller's credential, and is replaced while it is used.
//!
//! The cookie is encrypted and authenticated with the current key of the keyring, so rotating the
//! keyring signs out everybody (`docs/operations.md`). A session of an API key contains the key, and
//! each page checks it again: deleting the key ends its sessions.

use aias_domain::tenant::UserId;
use aias_platform::{clock::random_id, secrets::Keyring};
use axum::http::HeaderValue;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::cookies::set_cookie;

/// Browsers accept a cookie with this prefix only from this host, for all its paths, with `Secure`.
pub(crate) const COOKIE: &str = "__Host-aias-session";

/// What the keyring seals a session for.
const PLACE: &str = "console/session";

/// How long a session lasts without a request.
const IDLE: SignedDuration = SignedDuration::from_mins(30);
/// How long a session lasts at most.
const LIFETIME: SignedDuration = SignedDuration::from_hours(8);
/// How old a cookie is when it is replaced.
const RENEW_AFTER: SignedDuration = SignedDuration::from_mins(1);

/// Who signed in.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Credential {
    /// A person, and the selected tenant.
    Person {
        user: UserId,
        tenant: Option<String>,
    },
    ApiKey(String),
}

#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Session {
    pub(crate) credential: Credential,
    /// The token of its forms.
    pub(crate) csrf: String,
    /// In seconds since 1970.
    started_at: i64,
    /// In seconds since 1970.
    used_at: i64,
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session").finish_non_exhaustive()
    }
}

/// A random string of 128 bits.
pub(crate) fn random_token() -> String {
    format!("{:032x}", random_id())
}

impl Session {
    pub(crate) fn start(credential: Credential, now: Timestamp) -> Self {
        Self {
            credential,
            csrf: random_token(),
            started_at: now.as_second(),
            used_at: now.as_second(),
        }
    }

    /// The session of a cookie, unless it has ended or the keyring was rotated since.
    pub(crate) fn open(keyring: &Keyring, cookie: &str, now: Timestamp) -> Option<Self> {
        let text = keyring.open_current(PLACE, cookie).ok()?;
        let session: Self = serde_json::from_slice(&text).ok()?;
        let now = now.as_second();
        let is_live =
            now < session.used_at + IDLE.as_secs() && now < session.started_at + LIFETIME.as_secs();
        is_live.then_some(session)
    }

    /// The cookie of this session. None if it cannot be sealed.
    pub(crate) fn cookie(&self, keyring: &Keyring) -> Option<HeaderValue> {
        let text = serde_json::to_vec(self).ok()?;
        let sealed = keyring.seal(PLACE, &text).ok()?;
        Some(set_cookie(COOKIE, &sealed, LIFETIME.as_secs()))
    }

    /// The session as used now, if its cookie is to be replaced.
    pub(crate) fn renewed(&self, now: Timestamp) -> Option<Self> {
        let now = now.as_second();
        (now >= self.used_at + RENEW_AFTER.as_secs()).then(|| Self {
            used_at: now,
            ..self.clone()
        })
    }

    /// The session with another tenant selected.
    pub(crate) fn in_tenant(&self, tenant: &str) -> Self {
        let credential = match &self.credential {
            Credential::Person { user, .. } => Credential::Person {
                user: user.clone(),
                tenant: Some(tenant.to_owned()),
            },
            key @ Credential::ApiKey(_) => key.clone(),
        };
        Self {
            credential,
            ..self.clone()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keyring(current: &str) -> Keyring {
        let (one, two) = ("1".repeat(32), "2".repeat(32));
        let text = format!(r#"{{"current": "{current}", "k1": "{one}", "k2": "{two}"}}"#);
        Keyring::read(&text.into()).unwrap()
    }

    fn value(cookie: &HeaderValue) -> String {
        let text = cookie.to_str().unwrap();
        let value = text.split(';').next().unwrap().split_once('=').unwrap().1;
        value.to_owned()
    }

    #[test]
    fn session_ends_when_idle_when_old_and_when_the_keyring_is_rotated() {
        let (first, second) = (keyring("k1"), keyring("k2"));
        let start: Timestamp = "2026-11-27T10:00:00Z".parse().unwrap();
        let at = |minutes: i64| start + SignedDuration::from_mins(minutes);
        let session = Session::start(Credential::ApiKey("aias_x".into()), start);
        let cookie = session.cookie(&first).unwrap();
        let text = cookie.to_str().unwrap();
        assert!(text.starts_with("__Host-aias-session=") && !text.contains("aias_x"));
        assert!(text.ends_with("; Path=/; Max-Age=28800; Secure; HttpOnly; SameSite=Lax"));

        let open = |keyring, minutes| Session::open(keyring, &value(&cookie), at(minutes));
        assert_eq!(open(&first, 29), Some(session.clone()));
        assert_eq!(open(&first, 30), None);
        assert_eq!(open(&second, 0), None);

        // Used every 20 minutes, it ends after eight hours.
        let mut used = session;
        for minutes in (20..=480).step_by(20) {
            let cookie = value(&used.cookie(&first).unwrap());
            let opened = Session::open(&first, &cookie, at(minutes));
            assert_eq!(opened.is_some(), minutes < 480, "{minutes}");
            used = used.renewed(at(minutes)).unwrap();
        }
        assert_eq!(used.renewed(at(480)), None);
    }
}
