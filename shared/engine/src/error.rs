//! Errors of the DSL: Problem Details (RFC 9457) whose `instance` is the task.

use aias_domain::run::RunError;
use jaq_json::Val;

use crate::{journal::Failure, value};

/// The DSL's standard error types, and those of AIAS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Expression,
    /// Data does not match a schema.
    Validation,
    /// The run cannot continue.
    Runtime,
    /// A request failed, or its response was not successful.
    Communication,
    /// Credentials were refused.
    Authentication,
    /// The definition refers to something that does not exist.
    Configuration,
    /// A `timeout` of the definition expired.
    Timeout,
    /// The run executed more steps than the plan allows.
    StepLimit,
    /// The run used more CPU time than the plan allows.
    TimeUsedUp,
    /// The journal does not match the run.
    NonDeterministic,
}

impl Kind {
    fn parts(self) -> (&'static str, &'static str, u16, &'static str) {
        match self {
            Self::Expression => ("expression", "Expression Error", 400, "expression"),
            Self::Validation => ("validation", "Validation Error", 400, "validation"),
            Self::Runtime => ("runtime", "Runtime Error", 500, "runtime"),
            Self::Communication => ("communication", "Communication Error", 500, "communication"),
            Self::Authentication => (
                "authentication",
                "Authentication Error",
                401,
                "authentication",
            ),
            Self::Configuration => ("configuration", "Configuration Error", 400, "configuration"),
            Self::Timeout | Self::TimeUsedUp => ("timeout", "Timeout", 408, "timeout"),
            Self::StepLimit => ("runtime", "Too Many Steps", 500, "step-limit"),
            Self::NonDeterministic => ("runtime", "Not Deterministic", 500, "non-deterministic"),
        }
    }

    /// Whether no `catch` can catch it: plan limits apply to the whole run, and a mismatching
    /// journal ends it.
    fn is_final(self) -> bool {
        matches!(
            self,
            Self::StepLimit | Self::TimeUsedUp | Self::NonDeterministic
        )
    }
}

/// The URIs of the standard error types (DSL reference, "Standard Error Types").
const STANDARD: &str = "https://serverlessworkflow.io/spec/1.0.0/errors/";

/// Their other spelling, in the DSL's conformance kit.
const ALSO_STANDARD: &str = "https://serverlessworkflow.io/dsl/errors/types/";

/// The canonical URI of a standard type.
pub(crate) fn standard(kind: &str) -> String {
    match kind.strip_prefix(ALSO_STANDARD) {
        Some(name) => format!("{STANDARD}{name}"),
        None => kind.to_owned(),
    }
}

/// An error of a run.
#[derive(Debug, Clone, PartialEq)]
pub struct Error {
    pub(crate) code: &'static str,
    pub(crate) is_final: bool,
    pub(crate) kind: String,
    pub(crate) title: Option<String>,
    pub(crate) status: i64,
    pub(crate) detail: Option<String>,
    pub(crate) instance: String,
}

impl Error {
    pub(crate) fn new(kind: Kind, instance: &str, detail: impl Into<String>) -> Self {
        let (name, title, status, code) = kind.parts();
        Self {
            code,
            is_final: kind.is_final(),
            kind: format!("{STANDARD}{name}"),
            title: Some(title.to_owned()),
            status: i64::from(status),
            detail: Some(bounded(&detail.into())),
            instance: instance.to_owned(),
        }
    }

    /// Replaces the status by that of a response.
    pub(crate) fn with_status(mut self, status: u16) -> Self {
        self.status = i64::from(status);
        self
    }

    /// The error of a failed effect.
    pub(crate) fn failed(failure: &Failure, instance: &str) -> Self {
        let named = [
            Kind::Communication,
            Kind::Authentication,
            Kind::Configuration,
            Kind::Runtime,
            Kind::Timeout,
        ]
        .into_iter()
        .find(|kind| kind.parts().0 == failure.kind);
        let kind = named.unwrap_or(Kind::Runtime);
        let error = Self::new(kind, instance, failure.detail.clone());
        Self {
            title: Some(failure.title.clone()),
            status: i64::from(failure.status),
            kind: match named {
                Some(_) => error.kind,
                None => failure.kind.clone(),
            },
            code: if named.is_some() {
                error.code
            } else {
                "raised"
            },
            ..error
        }
    }

    /// The value of `$error`.
    pub(crate) fn to_val(&self) -> Val {
        let text = |t: &Option<String>| t.as_deref().map_or(Val::Null, value::text);
        value::object([
            ("type", value::text(&self.kind)),
            ("title", text(&self.title)),
            (
                "status",
                Val::from(isize::try_from(self.status).unwrap_or_default()),
            ),
            ("detail", text(&self.detail)),
            ("instance", value::text(&self.instance)),
        ])
    }
}

/// The longest detail of an error, in characters.
const MAX_DETAIL: usize = 1_000;

/// Truncates a detail to its maximum length.
pub(crate) fn bounded(text: &str) -> String {
    cut(text, MAX_DETAIL)
}

/// At most `max` characters of a string.
pub(crate) fn cut(text: &str, max: usize) -> String {
    match text.char_indices().nth(max) {
        None => text.to_owned(),
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
    }
}

impl From<Error> for RunError {
    fn from(error: Error) -> Self {
        Self {
            code: error.code.to_owned(),
            kind: error.kind,
            title: error.title.unwrap_or_else(|| "Error".to_owned()),
            status: u16::try_from(error.status).unwrap_or(500),
            detail: error.detail,
            instance: Some(error.instance),
        }
    }
}
