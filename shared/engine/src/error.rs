//! The DSL's errors: Problem Details (RFC 9457) whose `instance` points at the task.

use aias_domain::run::RunError;
use jaq_json::Val;

use crate::{journal::Failure, value};

/// The DSL's standard error types, with the stable codes that the API shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// An expression failed.
    Expression,
    /// Data does not fit a schema.
    Validation,
    /// The run cannot go on.
    Runtime,
    /// A call did not come to be, or was answered with another status than success.
    Communication,
    /// A caller could not show who it is.
    Authentication,
    /// The definition asks for what is not there.
    Configuration,
    /// A `timeout` of the definition has passed.
    Timeout,
    /// More steps than the plan allows.
    StepLimit,
    /// The host stopped it: its time is used up.
    TimeUsedUp,
    /// The journal is not this run's.
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

    /// The plan's limits hold for the whole run, and a foreign journal ends it: no `catch` gets
    /// around them.
    fn is_final(self) -> bool {
        matches!(
            self,
            Self::StepLimit | Self::TimeUsedUp | Self::NonDeterministic
        )
    }
}

/// Where the standard error types live (DSL reference, "Standard Error Types").
const STANDARD: &str = "https://serverlessworkflow.io/spec/1.0.0/errors/";

/// Another place where they live, in the conformance kit.
const ALSO_STANDARD: &str = "https://serverlessworkflow.io/dsl/errors/types/";

/// A standard type's URI, wherever a definition believes it to live.
pub(crate) fn standard(kind: &str) -> String {
    match kind.strip_prefix(ALSO_STANDARD) {
        Some(name) => format!("{STANDARD}{name}"),
        None => kind.to_owned(),
    }
}

/// An error inside a run.
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
            detail: Some(bounded(detail.into())),
            instance: instance.to_owned(),
        }
    }

    /// The same with the status that the world gave.
    pub(crate) fn with_status(mut self, status: u16) -> Self {
        self.status = i64::from(status);
        self
    }

    /// What the world said of an effect that did not come to be.
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

    /// As the value of `$error`.
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

/// The longest text that an error repeats, in characters.
const MAX_DETAIL: usize = 1_000;

/// A text cut to what an error may hold.
pub(crate) fn bounded(text: String) -> String {
    match text.char_indices().nth(MAX_DETAIL) {
        None => text,
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
