//! A run's log entries, numbered as they come.

use aias_domain::{
    log::{Entry, Level},
    run::RunError,
};
use aias_engine::{Event, Record};
use jiff::Timestamp;

/// Entries that are not written yet, and the next number.
#[derive(Debug)]
pub(crate) struct Entries {
    next: u32,
    /// Entries below this number were written by an earlier delivery.
    written: u32,
    waiting: Vec<Entry>,
    last: Timestamp,
    began: Timestamp,
}

impl Entries {
    /// The entries of an execution whose first one is number `base`.
    pub(crate) fn new(base: u32, written: u32, now: Timestamp) -> Self {
        Self {
            next: base,
            written,
            waiting: Vec::new(),
            last: now,
            began: now,
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

    /// The run has begun.
    pub(crate) fn started(&mut self, input_digest: &str, attempt: u32, now: Timestamp) {
        let entry = self.entry(Level::Info, "run.started", now, now);
        self.push(Entry {
            attempt,
            input_digest: Some(input_digest.to_owned()),
            ..entry
        });
    }

    /// A step is over.
    pub(crate) fn step(&mut self, record: Record, at: Timestamp) {
        let level = match record.event {
            Event::Started | Event::Completed | Event::Skipped => Level::Info,
            Event::Retried | Event::Caught | Event::Faulted => Level::Warn,
        };
        let entry = self.entry(level, record.event.as_str(), at, self.last);
        self.push(Entry {
            task: Some(record.task),
            message: record.message,
            attempt: record.attempt,
            ..entry
        });
    }

    /// The run has its output.
    pub(crate) fn completed(&mut self, output_digest: &str, now: Timestamp) {
        let entry = self.entry(Level::Info, "run.completed", now, self.began);
        self.push(Entry {
            output_digest: Some(output_digest.to_owned()),
            ..entry
        });
    }

    /// The run has faulted.
    pub(crate) fn faulted(&mut self, error: &RunError, now: Timestamp) {
        let entry = self.entry(Level::Error, "run.faulted", now, self.began);
        self.push(Entry {
            error: Some(error.clone()),
            ..entry
        });
    }

    /// Takes what is not written yet.
    pub(crate) fn take(&mut self) -> Vec<Entry> {
        std::mem::take(&mut self.waiting)
    }
}
