//! What a run asks of the world, and what the world answered: the journal.
//!
//! A run is its workflow version, its input and its journal. The interpreter goes as far as it can;
//! then it is given the next [`Entry`], by the journal first and by the [`crate::Host`] after its
//! end. Time is an entry too: it passes only between two of them. So the same journal leads through
//! the same steps, whatever was cut off when, and in whatever order things really happened: their
//! order in the journal is the order that counts, also under `fork`.

use aias_domain::canonical;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Which effect of a run: the `visit`-th that this task asks for, from 1.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Key {
    /// The task's reference.
    pub task: String,
    /// Counted for each task.
    pub visit: u32,
}

/// Something that a run asks for and cannot do itself.
#[derive(Debug, Clone, PartialEq)]
pub struct Effect {
    /// Its name in the journal.
    pub key: Key,
    /// The same for all attempts of a `retry`, another for each turn of a loop: what an
    /// `Idempotency-Key` is made of.
    pub occurrence: u32,
    /// When it was asked for: by the journal, so always the same.
    pub asked_at: Timestamp,
    /// What is asked for.
    pub request: Request,
}

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Request {
    /// An HTTP request.
    Http(Box<HttpRequest>),
    /// A run of another workflow of the same tenant.
    Workflow(Box<Subflow>),
}

/// An HTTP request, ready to be sent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HttpRequest {
    /// In capitals.
    pub method: String,
    /// Absolute, `http` or `https`.
    pub uri: String,
    /// Names in lower case, in order.
    pub headers: Vec<(String, String)>,
    /// The body, if any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
    /// Whether redirections are followed.
    pub redirect: bool,
    /// Who asks. Never part of a journal or a digest.
    #[serde(skip)]
    pub authentication: Option<Authentication>,
}

/// How a request shows who sends it: the DSL's policies, filled.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub enum Authentication {
    /// RFC 7617.
    Basic {
        /// The user's name.
        username: String,
        /// The password.
        password: String,
    },
    /// RFC 6750.
    Bearer {
        /// The token.
        token: String,
    },
    /// RFC 7616.
    Digest {
        /// The user's name.
        username: String,
        /// The password.
        password: String,
    },
    /// RFC 6749: a token is asked for first.
    OAuth2(Box<OAuth2>),
    /// The policy is one of the tenant's secrets.
    Secret {
        /// Its scheme, as the DSL names it.
        scheme: String,
        /// The secret's name.
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

/// How a token is got.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct OAuth2 {
    /// The URI of the authority.
    pub authority: String,
    /// Where under it tokens are given; none when its OpenID configuration says so.
    pub token_path: Option<String>,
    /// Whether the client shows itself by RFC 7617 instead of in the form.
    pub basic: bool,
    /// Whether the request is JSON instead of a form.
    pub json: bool,
    /// The members of the token request, in order, without the client's.
    pub form: Vec<(String, String)>,
    /// The client's id and secret.
    pub client: (Option<String>, Option<String>),
}

impl std::fmt::Debug for OAuth2 {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("OAuth2")
    }
}

/// A workflow to run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Subflow {
    /// `document.namespace`.
    pub namespace: String,
    /// `document.name`.
    pub name: String,
    /// `document.version`, or `latest`.
    pub version: String,
    /// Its input.
    pub input: Value,
    /// Whether its output is waited for.
    pub wait: bool,
}

impl Effect {
    /// `sha256:<hex>` of what is asked for, credentials left out.
    #[must_use]
    pub fn digest(&self) -> String {
        let value = serde_json::to_value(&self.request).unwrap_or_default();
        canonical::digest(&canonical::to_vec(&value))
    }
}

/// What an effect came to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// A response, whatever its status.
    Http(HttpResponse),
    /// The output of a workflow; `null` when it was not waited for.
    Output(Value),
    /// It did not come to be.
    Failed(Failure),
}

/// A response.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HttpResponse {
    /// Its status.
    pub status: u16,
    /// Names in lower case, in order.
    pub headers: Vec<(String, String)>,
    /// Its body.
    pub body: Body,
}

/// A response's body.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Body {
    /// UTF-8.
    Text(String),
    /// Anything else, in base64.
    Base64(String),
}

/// Why an effect did not come to be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// A URI, or the name of one of the DSL's standard types.
    #[serde(rename = "type")]
    pub kind: String,
    /// An HTTP status that fits.
    pub status: u16,
    /// The kind in words.
    pub title: String,
    /// This occurrence in words.
    pub detail: String,
}

impl Answer {
    /// Whether it is one that makes its task fault, unless redirections are taken.
    #[must_use]
    pub fn is_failure(&self) -> bool {
        match self {
            Self::Http(response) => !(200..400).contains(&response.status),
            Self::Output(_) => false,
            Self::Failed(_) => true,
        }
    }
}

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// When.
    pub at: Timestamp,
    /// What.
    pub what: What,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum What {
    /// An effect was answered.
    Answered {
        /// Which one.
        key: Key,
        /// The digest of what was asked for.
        digest: String,
        /// The answer.
        answer: Answer,
    },
    /// The run began, later than it was accepted: what limits time and what waits begins here. Only
    /// ever the first entry.
    Began,
    /// The time came that something waited for.
    Time,
    /// A caller retried the run: what limits time begins anew.
    Retried,
}

/// What a run cannot go on without.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Asked {
    /// The effects that were asked for and not answered, in order.
    pub effects: Vec<std::sync::Arc<Effect>>,
    /// When it goes on by itself, if it does.
    pub until: Option<Timestamp>,
}

/// The journal of a faulted run, as a retry goes on from it: without the failure that ended it, and
/// with a mark where limits of time begin anew. None when nothing was asked for.
#[must_use]
pub fn retried(journal: &[Entry], at: Timestamp) -> Option<(usize, Entry)> {
    let last = journal.last()?;
    let failed = match &last.what {
        What::Answered { answer, .. } => answer.is_failure(),
        What::Time => true,
        What::Began | What::Retried => false,
    };
    let kept = journal.len() - usize::from(failed);
    Some((
        kept,
        Entry {
            at,
            what: What::Retried,
        },
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(what: What) -> Entry {
        Entry {
            at: Timestamp::UNIX_EPOCH,
            what,
        }
    }

    fn answered(status: u16) -> Entry {
        entry(What::Answered {
            key: Key {
                task: "/do/0/a".into(),
                visit: 1,
            },
            digest: String::new(),
            answer: Answer::Http(HttpResponse {
                status,
                headers: vec![],
                body: Body::Text(String::new()),
            }),
        })
    }

    #[test]
    fn a_retry_forgets_the_failure_that_ended_the_run_and_nothing_else() {
        let now = Timestamp::from_second(9).unwrap();
        let kept = |journal: &[Entry]| retried(journal, now).map(|(kept, entry)| (kept, entry.at));
        assert_eq!(kept(&[]), None);
        assert_eq!(kept(&[answered(200), answered(503)]), Some((1, now)));
        assert_eq!(kept(&[answered(503), answered(200)]), Some((2, now)));
        assert_eq!(kept(&[answered(200), entry(What::Time)]), Some((1, now)));
        assert_eq!(kept(&[answered(200), entry(What::Retried)]), Some((2, now)));
    }

    #[test]
    fn credentials_are_neither_shown_nor_digested() {
        let effect = |authentication| Effect {
            key: Key {
                task: "/do/0/a".into(),
                visit: 1,
            },
            occurrence: 1,
            asked_at: Timestamp::UNIX_EPOCH,
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
