//! Who runs a program: is told of its steps, and gives it what it asks for.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::journal::{Asked, Entry};

/// What happened in one step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Event {
    /// The task waits for what it asked for.
    Started,
    /// The task's `if` was false.
    Skipped,
    /// The task has its output.
    Completed,
    /// The task raised an error, or let one through.
    Faulted,
    /// The task is tried again.
    Retried,
    /// The task caught an error.
    Caught,
}

impl Event {
    /// The name in a log entry.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Started => "task.started",
            Self::Skipped => "task.skipped",
            Self::Completed => "task.completed",
            Self::Faulted => "task.faulted",
            Self::Retried => "task.retried",
            Self::Caught => "task.caught",
        }
    }
}

/// One step, told when it is over, or when it begins to wait.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// The task's reference: its JSON pointer in the definition.
    pub task: String,
    /// What happened.
    pub event: Event,
    /// The same in words.
    pub message: String,
    /// Which attempt of a `try`, from 1.
    pub attempt: u32,
    /// How long the run has run by then, by its journal, in milliseconds.
    pub elapsed_ms: u64,
}

/// Whether the run goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Control {
    /// It does.
    Continue,
    /// Its time is used up.
    Stop,
}

/// Who runs a program.
pub trait Host {
    /// A step is over; says whether the run goes on.
    fn step(&mut self, record: Record) -> Control;

    /// The run emits its `number`-th `CloudEvent`, from 1 (JSON format of version 1.0).
    fn emit(&mut self, number: u32, event: Value) {
        let _ = (number, event);
    }

    /// The run cannot go on without one of these, and its journal has ended. The next entry; none
    /// leaves the run here.
    fn next(&mut self, asked: &Asked) -> Option<Entry> {
        let _ = asked;
        None
    }
}
