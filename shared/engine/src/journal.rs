//! The journal: the effects that a run requests, and their results.
//!
//! A run is its workflow version, its input and its journal. The interpreter executes as far as it
//! can, then takes the next [`Entry`], first from the journal and after its end from the
//! [`crate::Host`]. Time only changes with an entry. So the same journal leads to the same steps,
//! wherever an execution was interrupted. The order in the journal is the order of events, also for
//! the branches of a `fork`.

use aias_domain::canonical;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Identifies an effect of a run: the `visit`-th that the task requests, from 1.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Key {
    /// The task reference.
    pub task: String,
    /// Counted per task.
    pub visit: u32,
}

/// An operation that a run requests from its host.
#[derive(Debug, Clone, PartialEq)]
pub struct Effect {
    pub key: Key,
    /// The same for all attempts of a `retry`, different for each iteration of a loop. Part of the
    /// `Idempotency-Key`.
    pub occurrence: u32,
    /// When it was requested, by the journal, so the same in every execution.
    pub requested_at: Timestamp,
    pub request: Request,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Request {
    Http(Box<HttpRequest>),
    /// A run of another workflow of the same tenant.
    Workflow(Box<Subflow>),
}

/// A complete HTTP request.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HttpRequest {
    /// In upper case.
    pub method: String,
    /// Absolute; `http` or `https`.
    pub uri: String,
    /// Lower-case names, in order.
    pub headers: Vec<(String, String)>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
    /// Whether redirects are followed.
    pub redirect: bool,
    /// Never part of a journal or a digest.
    #[serde(skip)]
    pub authentication: Option<Authentication>,
}

/// A policy of the DSL with all expressions evaluated.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub enum Authentication {
    /// RFC 7617.
    Basic { username: String, password: String },
    /// RFC 6750.
    Bearer { token: String },
    /// RFC 7616.
    Digest { username: String, password: String },
    /// RFC 6749: a token is requested first.
    OAuth2(Box<OAuth2>),
    /// The policy is the value of a workflow secret.
    Secret {
        /// The scheme, as in the DSL.
        scheme: String,
        /// The name of the secret.
        name: String,
    },
}

impl std::fmt::Debug for Authentication {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Basic { .. } => "Basic",
            Self::Bearer { .. } => "Bearer",
            Self::Digest { .. } => "Digest",
            Self::OAuth2(_) => "OAuth2",
            Self::Secret { .. } => "Secret",
        })
    }
}

/// How an OAuth 2 token is requested.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct OAuth2 {
    /// The URI of the authority.
    pub authority: String,
    /// The path of the token endpoint; none if it is read from the OpenID configuration.
    pub token_path: Option<String>,
    /// Whether the client authenticates with RFC 7617 instead of form members.
    pub basic: bool,
    /// Whether the request body is JSON instead of a form.
    pub json: bool,
    /// The members of the token request, in order, without those of the client.
    pub form: Vec<(String, String)>,
    /// The id and the secret of the client.
    pub client: (Option<String>, Option<String>),
}

impl std::fmt::Debug for OAuth2 {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("OAuth2")
    }
}

/// A run of another workflow.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Subflow {
    /// `document.namespace`.
    pub namespace: String,
    /// `document.name`.
    pub name: String,
    /// `document.version`, or `latest`.
    pub version: String,
    pub input: Value,
    /// Whether the task waits for the output.
    pub wait: bool,
}

impl Effect {
    /// `sha256:<hex>` of the request without credentials.
    #[must_use]
    pub fn digest(&self) -> String {
        let value = serde_json::to_value(&self.request).unwrap_or_default();
        canonical::digest(&canonical::to_vec(&value))
    }
}

/// The result of an effect.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EffectResult {
    /// A response with any status.
    Http(HttpResponse),
    /// The output of a workflow; `null` if the task does not wait for it.
    Output(Value),
    /// The effect failed.
    Failed(Failure),
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HttpResponse {
    pub status: u16,
    /// Lower-case names, in order.
    pub headers: Vec<(String, String)>,
    pub body: Body,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Body {
    /// UTF-8.
    Text(String),
    /// Not UTF-8; in base64.
    Base64(String),
}

/// Why an effect failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// A URI, or the name of a standard error type of the DSL.
    #[serde(rename = "type")]
    pub kind: String,
    /// The closest HTTP status.
    pub status: u16,
    /// A summary of the type.
    pub title: String,
    /// An explanation of this occurrence.
    pub detail: String,
}

impl EffectResult {
    /// Whether its task faults. A task that accepts redirects does not fault on a `3xx`.
    #[must_use]
    pub fn is_failure(&self) -> bool {
        match self {
            Self::Http(response) => !(200..400).contains(&response.status),
            Self::Output(_) => false,
            Self::Failed(_) => true,
        }
    }
}

/// An entry of the journal.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    pub at: Timestamp,
    pub event: EntryEvent,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EntryEvent {
    /// An effect has a result.
    EffectCompleted {
        key: Key,
        /// The digest of the request.
        digest: String,
        result: EffectResult,
    },
    /// The run was started, later than it was accepted: timeouts and waits start here. Only ever
    /// the first entry.
    Started,
    /// A timer expired.
    TimerExpired,
    /// A caller retried the run: timeouts restart here.
    Retried,
}

/// What a run waits for.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct PendingEffects {
    /// Requested effects without a result, in order.
    pub effects: Vec<std::sync::Arc<Effect>>,
    /// When the run can continue by itself.
    pub until: Option<Timestamp>,
}

/// The journal with which a retry of a faulted run starts: without the failure that ended it, and
/// with an entry at which timeouts restart. `None` if no effect was requested.
#[must_use]
pub fn retried(journal: &[Entry], at: Timestamp) -> Option<(usize, Entry)> {
    let last = journal.last()?;
    let failed = match &last.event {
        EntryEvent::EffectCompleted { result: answer, .. } => answer.is_failure(),
        EntryEvent::TimerExpired => true,
        EntryEvent::Started | EntryEvent::Retried => false,
    };
    let kept = journal.len() - usize::from(failed);
    Some((
        kept,
        Entry {
            at,
            event: EntryEvent::Retried,
        },
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(event: EntryEvent) -> Entry {
        Entry {
            at: Timestamp::UNIX_EPOCH,
            event,
        }
    }

    fn answered(status: u16) -> Entry {
        entry(EntryEvent::EffectCompleted {
            key: Key {
                task: "/do/0/a".into(),
                visit: 1,
            },
            digest: String::new(),
            result: EffectResult::Http(HttpResponse {
                status,
                headers: vec![],
                body: Body::Text(String::new()),
            }),
        })
    }

    #[test]
    fn retry_removes_only_final_failure() {
        let now = Timestamp::from_second(9).unwrap();
        let kept = |journal: &[Entry]| retried(journal, now).map(|(kept, entry)| (kept, entry.at));
        assert_eq!(kept(&[]), None);
        assert_eq!(kept(&[answered(200), answered(503)]), Some((1, now)));
        assert_eq!(kept(&[answered(503), answered(200)]), Some((2, now)));
        assert_eq!(
            kept(&[answered(200), entry(EntryEvent::TimerExpired)]),
            Some((1, now))
        );
        assert_eq!(
            kept(&[answered(200), entry(EntryEvent::Retried)]),
            Some((2, now))
        );
    }

    #[test]
    fn credentials_are_not_serialized() {
        let effect = |authentication| Effect {
            key: Key {
                task: "/do/0/a".into(),
                visit: 1,
            },
            occurrence: 1,
            requested_at: Timestamp::UNIX_EPOCH,
            request: Request::Http(Box::new(HttpRequest {
                method: "GET".into(),
                uri: "https://example.com/".into(),
                headers: vec![],
                body: None,
                redirect: false,
                authentication,
            })),
        };
        let with = effect(Some(Authentication::Bearer {
            token: "canary".into(),
        }));
        assert_eq!(with.digest(), effect(None).digest());
        assert!(!format!("{with:?}").contains("canary"));
    }
}
