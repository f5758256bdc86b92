//! A run computed in the sandbox: reports come out, journal entries go in.

use std::sync::Arc;

use aias_domain::{plan::Computing, run::RunError};
use aias_engine::{
    Record, StepData,
    journal::{Entry, PendingEffects},
};
use jiff::Timestamp;
use serde_json::Value;

use crate::{
    ChildFailure, Definition, Sandbox,
    frame::{self, ChildReport, MalformedFrame, Order, StartRun},
    limits_for,
    process::Process,
};

/// A report of a computation.
#[derive(Debug)]
pub enum Report {
    /// A task ended, or waits.
    Step(Record),
    /// The data of a step; only if it was requested.
    StepData(Box<StepData>),
    /// The run emitted an event with this number.
    Emitted(u32, Value),
    /// The run needs one of these effects; it waits for [`Computation::give`].
    PendingEffects(PendingEffects),
    /// The run ended with an output or an error.
    Ended(Box<Result<Value, RunError>>),
}

impl Report {
    fn is_of_a_step(&self) -> bool {
        match self {
            Self::Step(_) | Self::StepData(_) | Self::Emitted(..) => true,
            Self::PendingEffects(_) | Self::Ended(_) => false,
        }
    }
}

/// The input of a computation.
#[derive(Debug)]
pub struct ComputationInput {
    pub definition: Arc<Definition>,
    pub run_id: String,
    pub input: Value,
    /// When the run was accepted.
    pub started_at: Timestamp,
    /// The step limit.
    pub max_steps: u32,
    pub computing: Computing,
    /// The entries so far.
    pub journal: Vec<Entry>,
    /// The nonce in the placeholders of secrets; empty if the run uses none.
    pub secret_nonce: String,
    /// Whether the data of each step is reported.
    pub with_data: bool,
}

/// A computation. Dropping it ends it.
#[derive(Debug)]
pub struct Computation<'a> {
    sandbox: &'a Sandbox,
    given: ComputationInput,
    process: Option<Process>,
    /// Whether the child was started for this computation.
    is_new: bool,
    /// The size of the input and the journal, and the resulting limits of the child.
    input_bytes: usize,
    memory_bytes: u64,
    /// Whether the child does not have the program of the definition, although it should.
    is_broken: bool,
    /// The number of reports so far, and how many of them a restarted child will repeat.
    report_count: u64,
    repeated_reports: u64,
}

/// The most reports per step. No workflow has that many.
const REPORTS_PER_STEP: u64 = 8;

/// The most debug messages of a run, and some more.
const MAX_DEBUG_MESSAGES: u64 = 2_000;

/// The longest string in a record, in bytes.
const MAX_TEXT: usize = 16 * 1024;

impl<'a> Computation<'a> {
    /// The computation starts with the first call of [`Computation::next`].
    #[must_use]
    pub fn new(sandbox: &'a Sandbox, given: ComputationInput) -> Self {
        Self {
            sandbox,
            given,
            process: None,
            is_new: false,
            input_bytes: 0,
            memory_bytes: 0,
            is_broken: false,
            report_count: 0,
            repeated_reports: 0,
        }
    }

    /// The next report. A future that is dropped while it starts a child leaves nothing: the next call
    /// starts another child.
    pub async fn next(&mut self) -> Report {
        loop {
            match self.next_report().await {
                // A restarted child repeats the earlier reports.
                Ok(Report::Step(_) | Report::StepData(_) | Report::Emitted(..))
                    if self.repeated_reports > 0 =>
                {
                    self.repeated_reports -= 1;
                }
                Ok(report) => {
                    self.report_count += u64::from(report.is_of_a_step());
                    self.release_child(&report);
                    return report;
                }
                // The child was started for a smaller journal.
                Err(ChildFailure::MemoryLimit) if self.has_grown() => {
                    self.process = None;
                    self.repeated_reports = self.report_count;
                }
                // Earlier runs may have left memory in this child.
                Err(ChildFailure::MemoryLimit | ChildFailure::Killed) if !self.is_new => {
                    self.process = None;
                    self.is_new = true;
                    self.repeated_reports = self.report_count;
                }
                Err(failure) => {
                    self.process = None;
                    return Report::Ended(Box::new(Err(failure.into())));
                }
            }
        }
    }

    /// Whether a new child would have a larger memory limit, because the journal has grown.
    fn has_grown(&self) -> bool {
        let now = limits_for(self.given.computing, self.input_bytes);
        now.memory_bytes > self.memory_bytes
    }

    /// Releases the child, if it is not needed after this report.
    fn release_child(&mut self, report: &Report) {
        match report {
            Report::Step(_) | Report::StepData(_) | Report::Emitted(..) => {}
            Report::Ended(_) => {
                let process = self.process.take();
                if let Some(process) = process.filter(|_| !self.is_broken) {
                    self.sandbox.release(process);
                }
            }
            // A child with a high memory limit is not kept waiting; another one continues from the
            // journal.
            Report::PendingEffects(_) => {
                let plan = self.given.computing.memory_bytes;
                if self
                    .process
                    .as_ref()
                    .is_some_and(|p| p.computing.memory_bytes > plan)
                {
                    self.process = None;
                    self.repeated_reports = self.report_count;
                }
            }
        }
    }

    /// Passes a journal entry to the child.
    pub async fn give(&mut self, entry: Entry) {
        let json = serde_json::to_vec(&entry).unwrap_or_default();
        self.input_bytes += json.len();
        if let Some(process) = &mut self.process
            // A failed write shows in the next read.
            && process.send(&Order::Entry(json.into())).await.is_err()
        {
            tracing::info!(event = "sandbox_child_ended");
        }
        self.given.journal.push(entry);
    }

    async fn next_report(&mut self) -> Result<Report, ChildFailure> {
        if self.process.is_none() {
            self.process = Some(self.start().await?);
        }
        let Some(process) = &mut self.process else {
            return Err(ChildFailure::NotStarted);
        };
        let steps = u64::from(self.given.max_steps) + 1;
        let most = REPORTS_PER_STEP * steps + MAX_DEBUG_MESSAGES;
        if self.report_count > most {
            return Err(ChildFailure::Malformed);
        }
        let is_broken = &mut self.is_broken;
        let next = process.next_report(|report| {
            *is_broken = matches!(report, ChildReport::Broken);
            read(report)
        });
        next.await
    }

    async fn start(&mut self) -> Result<Process, ChildFailure> {
        let given = &self.given;
        let input = serde_json::to_vec(&given.input).unwrap_or_default();
        let journal = serde_json::to_vec(&given.journal).unwrap_or_default();
        self.input_bytes = input.len() + journal.len();
        let computing = limits_for(given.computing, self.input_bytes);
        self.memory_bytes = computing.memory_bytes;
        let mut process = if self.is_new {
            self.sandbox.start(computing).await?
        } else {
            self.sandbox.acquire(computing).await?
        };
        self.is_new = process.is_new();
        let (definition, forget) = process.select_program(&given.definition);
        let order = Order::Start(StartRun {
            program: given.definition.id,
            definition: definition.map(Into::into),
            forget,
            run_id: given.run_id.as_str().into(),
            input: input.into(),
            started_at: given.started_at,
            max_steps: given.max_steps,
            journal: journal.into(),
            secret_nonce: given.secret_nonce.as_str().into(),
            with_data: given.with_data,
        });
        process.send(&order).await?;
        Ok(process)
    }
}

fn read(report: ChildReport<'_>) -> Result<Report, MalformedFrame> {
    Ok(match report {
        ChildReport::Step(record) => {
            if record.task.len() > MAX_TEXT || record.message.len() > MAX_TEXT {
                return Err(MalformedFrame);
            }
            Report::Step(record)
        }
        ChildReport::StepData(json) => Report::StepData(Box::new(frame::step_data_of(&json)?)),
        ChildReport::Emitted(number, json) => Report::Emitted(number, frame::value_of(&json)?),
        ChildReport::PendingEffects(json) => Report::PendingEffects(frame::pending_of(&json)?),
        ChildReport::Completed(json) => Report::Ended(Box::new(Ok(frame::value_of(&json)?))),
        ChildReport::Faulted(json) => Report::Ended(Box::new(Err(frame::error_of(&json)?))),
        ChildReport::Broken => {
            let detail = "the version does not compile with this release";
            let error = RunError::platform(
                "version-broken",
                "The workflow version does not compile",
                detail,
            );
            Report::Ended(Box::new(Err(error)))
        }
        ChildReport::Ready(_) | ChildReport::Compiled(_) => return Err(MalformedFrame),
    })
}
