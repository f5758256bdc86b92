//! A run's log: at least one entry per step, numbered without gaps, written while the run executes.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::run::RunError;

/// The severity of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = LogLevel)]
pub enum Level {
    /// A message of `debug` in an expression.
    Debug,
    Info,
    /// Something failed and was handled.
    Warn,
    /// A task or the run failed.
    Error,
}

/// One entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// The entry's number in the run, from 0.
    pub seq: u32,
    pub time: Timestamp,
    pub level: Level,
    /// The task reference (a JSON pointer); none for the run itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<String>,
    /// For example `task.completed`.
    pub event: String,
    /// The same as a sentence.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// The attempt of a `try` task, from 1.
    pub attempt: u32,
    /// Duration of the task.
    pub duration_ms: u64,
    /// `sha256:<hex>` of the input, if the entry is about data.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input_digest: Option<String>,
    /// `sha256:<hex>` of the output, if the entry is about data.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output_digest: Option<String>,
    /// The error that faulted the task or the run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<RunError>,
}
