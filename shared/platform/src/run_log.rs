//! Writes the log of a run.

use aias_domain::{
    log::{Entry, Level},
    run::RunError,
    timestamp,
};
use aias_engine::{Event, Record};
use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

/// Collects log entries that are not written yet, and numbers them.
#[derive(Debug)]
pub struct RunLog {
    next: u32,
    /// Entries below this number were written by a previous delivery.
    written: u32,
    waiting: Vec<Entry>,
    last: Timestamp,
    /// Milliseconds from the start of the run to the previous step, by its journal. The difference
    /// to the next step is the duration of the task.
    elapsed_ms: u64,
    started_at: Timestamp,
}

impl RunLog {
    /// The log of a run that was started at `started_at`; `base` is the number of its first entry.
    #[must_use]
    pub fn new(base: u32, written: u32, started_at: Timestamp, now: Timestamp) -> Self {
        Self {
            next: base,
            written,
            waiting: Vec::new(),
            last: now,
            elapsed_ms: 0,
            started_at,
        }
    }

    fn push(&mut self, entry: Entry) {
        self.last = entry.time;
        if self.next >= self.written {
            self.waiting.push(Entry {
                seq: self.next,
                ..entry
            });
        }
        self.next = self.next.saturating_add(1);
    }

    fn entry(&self, level: Level, event: &str, time: Timestamp, since: Timestamp) -> Entry {
        let duration = time.duration_since(since).as_millis();
        Entry {
            seq: 0,
            time,
            level,
            task: None,
            event: event.to_owned(),
            message: String::new(),
            attempt: 1,
            duration_ms: u64::try_from(duration).unwrap_or_default(),
            input_digest: None,
            output_digest: None,
            error: None,
        }
    }

    /// Adds the start of the run.
    pub fn started(&mut self, input_digest: &str, attempt: u32, now: Timestamp) {
        let entry = self.entry(Level::Info, "run.started", now, now);
        self.push(Entry {
            attempt,
            input_digest: Some(input_digest.to_owned()),
            ..entry
        });
    }

    /// Adds a step.
    pub fn step(&mut self, record: Record, at: Timestamp) {
        let level = match record.event {
            Event::Started | Event::Completed | Event::Skipped => Level::Info,
            Event::Debug => Level::Debug,
            Event::Retried | Event::Caught | Event::Faulted => Level::Warn,
        };
        let entry = self.entry(level, record.event.as_str(), at, self.last);
        let before = std::mem::replace(&mut self.elapsed_ms, record.elapsed_ms);
        let waited_ms = record.elapsed_ms.saturating_sub(before);
        self.push(Entry {
            duration_ms: entry.duration_ms.max(waited_ms),
            task: Some(record.task),
            message: record.message,
            attempt: record.attempt,
            ..entry
        });
    }

    /// Adds the output of the run.
    pub fn completed(&mut self, output_digest: &str, now: Timestamp) {
        let entry = self.entry(Level::Info, "run.completed", now, self.started_at);
        self.push(Entry {
            output_digest: Some(output_digest.to_owned()),
            ..entry
        });
    }

    /// Adds the error of the run.
    pub fn faulted(&mut self, error: &RunError, now: Timestamp) {
        let entry = self.entry(Level::Error, "run.faulted", now, self.started_at);
        self.push(Entry {
            error: Some(error.clone()),
            ..entry
        });
    }

    /// Removes and returns the entries that are not written yet.
    #[must_use]
    pub fn take(&mut self) -> Vec<Entry> {
        std::mem::take(&mut self.waiting)
    }
}

/// A log entry in the API.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = LogEntry)]
pub struct LogEntryView {
    /// Numbered from 0 without gaps.
    seq: u32,
    #[schema(format = DateTime)]
    time: String,
    level: Level,
    /// A JSON pointer into the definition.
    #[schema(example = "/do/0/report")]
    task: Option<String>,
    #[schema(example = "task.completed")]
    event: String,
    message: String,
    attempt: u32,
    duration_ms: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    input_digest: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    output_digest: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    error: Option<RunError>,
}

impl From<Entry> for LogEntryView {
    fn from(entry: Entry) -> Self {
        Self {
            seq: entry.seq,
            time: timestamp::format(entry.time),
            level: entry.level,
            task: entry.task,
            event: entry.event,
            message: entry.message,
            attempt: entry.attempt,
            duration_ms: entry.duration_ms,
            input_digest: entry.input_digest,
            output_digest: entry.output_digest,
            error: entry.error,
        }
    }
}
