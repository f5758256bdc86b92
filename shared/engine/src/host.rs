//! The host of a run: records its steps and supplies journal entries.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    journal::{Entry, PendingEffects},
    step_data::StepData,
};

/// The result of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Event {
    /// The task waits for an effect.
    Started,
    /// The `if` of the task was false.
    Skipped,
    Completed,
    /// The task raised an error, or an error passed through it.
    Faulted,
    /// The `try` is attempted again.
    Retried,
    /// The `try` caught an error.
    Caught,
    /// An expression called `debug`.
    Debug,
}

impl Event {
    /// The name in log entries.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Started => "task.started",
            Self::Skipped => "task.skipped",
            Self::Completed => "task.completed",
            Self::Faulted => "task.faulted",
            Self::Retried => "task.retried",
            Self::Caught => "task.caught",
            Self::Debug => "task.debug",
        }
    }
}

/// A step, recorded when it ends, or when it starts to wait.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// The JSON pointer of the task in the definition.
    pub task: String,
    pub event: Event,
    /// The same as a sentence.
    pub message: String,
    /// The attempt of a `try`, from 1.
    pub attempt: u32,
    /// Milliseconds since the start of the run, by its journal.
    pub elapsed_ms: u64,
}

/// Whether the run continues.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Control {
    Continue,
    /// The CPU time is used up.
    Stop,
}

/// Executes a program.
pub trait Host {
    /// Records a step.
    fn step(&mut self, record: Record) -> Control;

    /// Receives the `number`-th `CloudEvent` of the run, from 1 (JSON format 1.0).
    fn emit(&mut self, number: u32, event: Value) {
        let _ = (number, event);
    }

    /// Whether the host wants the data of each step.
    fn wants_data(&self) -> bool {
        false
    }

    /// Receives the data of a step that has ended; before a call of [`Host::next`], that of each
    /// step that waits for an effect.
    fn data(&mut self, data: StepData) {
        let _ = data;
    }

    /// Called when the journal has ended and the run needs one of the effects in `requested`. Returns
    /// the next entry; `None` suspends the run here.
    fn next(&mut self, requested: &PendingEffects) -> Option<Entry> {
        let _ = requested;
        None
    }
}
