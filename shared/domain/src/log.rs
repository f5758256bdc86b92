//! A run's log: one entry or more per step, numbered without a gap, written while the run goes on.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::run::RunError;

/// How grave an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = LogLevel)]
pub enum Level {
    /// As expected.
    Info,
    /// Not as hoped, and handled.
    Warn,
    /// The end of the run, or of a step.
    Error,
}

/// One entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Its number in the run, from 0.
    pub seq: u32,
    /// When it was written.
    pub time: Timestamp,
    /// How grave it is.
    pub level: Level,
    /// The task's reference; none for the run itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<String>,
    /// What happened, such as `task.completed`.
    pub event: String,
    /// The same in words.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// Which attempt of a `try`, from 1.
    pub attempt: u32,
    /// How long it took.
    pub duration_ms: u64,
    /// `sha256:<hex>` of what went in, where the entry is about data.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input_digest: Option<String>,
    /// The same of what came out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output_digest: Option<String>,
    /// Why the run faulted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<RunError>,
}
