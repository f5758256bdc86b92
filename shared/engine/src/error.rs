//! The DSL's errors: Problem Details (RFC 9457) whose `instance` points at the task.

use aias_domain::run::RunError;
use jaq_json::Val;

use crate::value;

/// The DSL's standard error types, with the stable codes that the API shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// An expression failed.
    Expression,
    /// Data does not fit a schema.
    Validation,
    /// The run cannot go on.
    Runtime,
    /// More steps than the plan allows.
    StepLimit,
    /// The observer stopped it: its time is used up.
    Timeout,
}

impl Kind {
    fn parts(self) -> (&'static str, &'static str, u16, &'static str) {
        match self {
            Self::Expression => ("expression", "Expression Error", 400, "expression"),
            Self::Validation => ("validation", "Validation Error", 400, "validation"),
            Self::Runtime => ("runtime", "Runtime Error", 500, "runtime"),
            Self::StepLimit => ("runtime", "Too Many Steps", 500, "step-limit"),
            Self::Timeout => ("timeout", "Timeout", 408, "timeout"),
        }
    }
}

/// Where the standard error types live (DSL reference, "Standard Error Types").
const STANDARD: &str = "https://serverlessworkflow.io/spec/1.0.0/errors/";

/// An error inside a run.
#[derive(Debug, Clone, PartialEq)]
pub struct Error {
    pub(crate) code: &'static str,
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
            kind: format!("{STANDARD}{name}"),
            title: Some(title.to_owned()),
            status: i64::from(status),
            detail: Some(bounded(detail.into())),
            instance: instance.to_owned(),
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
