//! `docs/soak.md`.

use std::fmt::Write as _;

use serde::Serialize;

/// What was measured.
#[derive(Debug, Serialize)]
pub(crate) struct Figures {
    pub(crate) events: u64,
    pub(crate) clients: u64,
    /// Requests, with those that were repeated since there was no response, or it was `429` or `503`.
    pub(crate) requests: u64,
    /// Repeated requests whose event had been accepted.
    pub(crate) duplicates: u64,
    pub(crate) fault_percent: u64,
    pub(crate) kills: u64,
    /// From the first request to the last accepted one, and until no run was open.
    pub(crate) accepted_seconds: f64,
    pub(crate) ended_seconds: f64,
    /// Runs whose executor was killed three times, and which completed after a retry.
    pub(crate) retried: u64,
    pub(crate) lost: u64,
    pub(crate) doubled: u64,
    /// Runs that did not complete, or whose artifact is not the right one.
    pub(crate) wrong: u64,
}

impl Figures {
    pub(crate) fn page(&self) -> String {
        let mut page = String::from(
            "# Soak

For operators and contributors. `make soak` writes this page: it posts events to AIAS in one process, each until it is accepted, while calls
to the table, the queue and the objects fail at random and the process is killed with SIGKILL every few seconds. Every tenth run waits a
second. Runs that are open at the end are executed without faults. A run whose executor was killed three times is faulted (`executor-ended`), since
it could be the cause, and is retried at the end. Then each event must have exactly one run, which completed, and one artifact with the
digest that its content must have. `durability::failing_calls_and_kills_lose_and_double_nothing` is the same test with
600 events.

| | |
|---|---|
",
        );
        let rows = [
            ("events", self.events.to_string()),
            ("clients", self.clients.to_string()),
            (
                "requests, with repeated ones (no response, `429` or `503`)",
                self.requests.to_string(),
            ),
            (
                "of them for an event that had been accepted",
                self.duplicates.to_string(),
            ),
            (
                "calls that are throttled",
                format!("{} %", self.fault_percent),
            ),
            (
                "calls that fail with `5xx`",
                format!("{} %", self.fault_percent),
            ),
            (
                "calls that take effect and whose answer is lost",
                format!("{} %", self.fault_percent),
            ),
            ("kills", self.kills.to_string()),
            (
                "until the last event was accepted",
                format!("{:.0} s", self.accepted_seconds),
            ),
            (
                "until no run was open",
                format!("{:.0} s", self.ended_seconds),
            ),
            (
                "runs that were executing at three kills, and completed after a retry",
                self.retried.to_string(),
            ),
            ("**lost events**", self.lost.to_string()),
            ("**events with several runs**", self.doubled.to_string()),
            (
                "**runs that did not complete, or with a wrong artifact**",
                self.wrong.to_string(),
            ),
        ];
        for (name, figure) in rows {
            // Writing to a string does not fail.
            let _ = writeln!(page, "| {name} | {figure} |");
        }
        page
    }
}
