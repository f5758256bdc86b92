//! A run and its status transitions.
//!
//! ```text
//! suspended ──▶ pending ──▶ running ──▶ completed
//!     │            │  ╲      │ ▲  ╲
//!     │            │   ╲     ▼ │   ╲──▶ faulted ──(retry)──▶ pending
//!     │            │    ╲─▶ waiting ─╯
//!     ╰────────────┴────────────┴─────▶ cancelled
//! ```
//! A run that ends within a second goes from `pending` to its end in one write. `running` is
//! written for a run that takes longer, makes a call, or is redelivered. A `waiting` run is not
//! being computed: it waits for a time, for another run, or for another invocation to continue it.
//! A `suspended` run exceeded the monthly run quota when it was accepted.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    artifact::Artifact,
    id::{EndpointId, RunId, WorkflowId},
};

/// The path of the console's pages that describe errors: one for each code.
pub const ERROR_PAGES: &str = "/dashboard/errors";

/// How often a run is started before it is considered the cause of its executors' deaths.
pub const MAX_ATTEMPTS: u32 = 3;

/// A status phase of the DSL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = RunStatus)]
pub enum Status {
    /// Accepted, not started.
    Pending,
    Running,
    /// Waiting for a time, for another run, or for capacity.
    Waiting,
    /// Suspended until the plan or the next month allows more runs.
    Suspended,
    Cancelled,
    Faulted,
    Completed,
}

impl Status {
    pub const ALL: [Self; 7] = [
        Self::Pending,
        Self::Running,
        Self::Waiting,
        Self::Suspended,
        Self::Cancelled,
        Self::Faulted,
        Self::Completed,
    ];

    /// Whether the run has ended. Only a caller can change it then.
    #[must_use]
    pub fn is_terminal(self) -> bool {
        matches!(self, Self::Cancelled | Self::Faulted | Self::Completed)
    }

    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Running => "running",
            Self::Waiting => "waiting",
            Self::Suspended => "suspended",
            Self::Cancelled => "cancelled",
            Self::Faulted => "faulted",
            Self::Completed => "completed",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Trigger {
    /// An event of a provider.
    Webhook {
        endpoint_id: EndpointId,
        /// The provider's event id, if the request had one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[schema(nullable = false)]
        event_id: Option<String>,
        /// The type of the event, if the endpoint's source has types.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[schema(nullable = false)]
        event_type: Option<String>,
        /// The address that the request came from.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[schema(nullable = false)]
        source_ip: Option<String>,
    },
    /// An `execute` request.
    Api,
    /// A `replay` of the input of another run.
    Replay { replay_of: RunId },
    /// A task of another run.
    Workflow {
        parent_run_id: RunId,
        parent_workflow_id: WorkflowId,
        /// The task reference.
        task: String,
        /// Whether the task waits for the output.
        #[serde(rename = "await")]
        awaited: bool,
        /// Number of ancestors.
        depth: u32,
    },
}

/// How deep runs may start other runs.
pub const MAX_DEPTH: u32 = 8;

/// How many runs one run may start: all of them are part of its representation, also in lists.
pub const MAX_CHILDREN: usize = 250;

impl Trigger {
    /// Number of ancestors of a run with this trigger.
    #[must_use]
    pub fn depth(&self) -> u32 {
        match self {
            Self::Workflow { depth, .. } => *depth,
            Self::Webhook { .. } | Self::Api | Self::Replay { .. } => 0,
        }
    }

    /// The provider's event id.
    #[must_use]
    pub fn event_id(&self) -> Option<&str> {
        match self {
            Self::Webhook { event_id, .. } => event_id.as_deref(),
            Self::Api | Self::Replay { .. } | Self::Workflow { .. } => None,
        }
    }

    /// The provider's event type.
    #[must_use]
    pub fn event_type(&self) -> Option<&str> {
        match self {
            Self::Webhook { event_type, .. } => event_type.as_deref(),
            Self::Api | Self::Replay { .. } | Self::Workflow { .. } => None,
        }
    }

    /// The run and the workflow that wait for a run with this trigger.
    #[must_use]
    pub fn waiting_parent(&self) -> Option<(RunId, WorkflowId)> {
        match self {
            Self::Workflow {
                parent_run_id,
                parent_workflow_id,
                awaited: true,
                ..
            } => Some((*parent_run_id, *parent_workflow_id)),
            Self::Workflow { .. } | Self::Webhook { .. } | Self::Api | Self::Replay { .. } => None,
        }
    }
}

/// A run started by a task of another run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = ChildRun)]
pub struct Child {
    pub run_id: RunId,
    /// The task reference.
    pub task: String,
}

/// Why a run faulted: Problem Details (RFC 9457) as in the DSL, and a stable code.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RunError {
    /// Stable, in kebab-case. `docs/errors.md` lists all of them.
    pub code: String,
    /// A URI that identifies the error type. That of an error of AIAS itself is relative to the URL of
    /// the API and leads to its description.
    #[serde(rename = "type")]
    pub kind: String,
    /// A short summary of the error type.
    pub title: String,
    /// The closest HTTP status.
    pub status: u16,
    /// An explanation of this occurrence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub detail: Option<String>,
    /// A JSON pointer to the task in the definition.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub instance: Option<String>,
}

impl RunError {
    /// An error of AIAS itself, not of the workflow.
    #[must_use]
    pub fn platform(code: &str, title: &str, detail: impl Into<String>) -> Self {
        Self {
            code: code.to_owned(),
            kind: format!("{ERROR_PAGES}/{code}"),
            title: title.to_owned(),
            status: 500,
            detail: Some(detail.into()),
            instance: None,
        }
    }
}

/// One execution of a workflow on one input.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// Not stored: it is the item's key.
    #[serde(skip, default = "nil_id")]
    pub id: RunId,
    pub status: Status,
    pub workflow_id: WorkflowId,
    /// Chosen at the start of the run, unless the caller chose it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workflow_version: Option<u32>,
    pub trigger: Trigger,
    /// `sha256:<hex>` of the RFC 8785 form of the input.
    pub input_digest: String,
    /// `sha256:<hex>` of the RFC 8785 form of the output.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output_digest: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<RunError>,
    /// Number of starts since the run was accepted or retried.
    #[serde(default)]
    pub attempts: u32,
    /// Number of retries requested by callers.
    #[serde(default)]
    pub retries: u32,
    /// Number of log entries before the latest retry.
    #[serde(default)]
    pub log_base: u32,
    /// When the run continues by itself, if it waits for a time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wakes_at: Option<Timestamp>,
    /// Whether the run waits for another run.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub awaits_run: bool,
    /// Runs started by tasks of this run, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub children: Vec<Child>,
    /// Number of events emitted.
    #[serde(default)]
    pub events: u32,
    /// The nonce in the placeholders of workflow secrets; none if the run uses no secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_nonce: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub artifacts: Vec<Artifact>,
    /// When the run was accepted; equals the time in its id.
    #[serde(skip, default = "epoch")]
    pub created_at: Timestamp,
    /// The first start since the run was accepted or retried.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Timestamp>,
}

fn nil_id() -> RunId {
    RunId::new(Timestamp::UNIX_EPOCH, 0)
}

fn epoch() -> Timestamp {
    Timestamp::UNIX_EPOCH
}

/// Why a change of status is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TransitionError {
    #[error("the run has already ended: it is {}", .0.as_str())]
    Ended(Status),
    #[error("only a faulted run can be retried: it is {}", .0.as_str())]
    NotFaulted(Status),
    #[error("the run is not suspended: it is {}", .0.as_str())]
    NotSuspended(Status),
    /// The run was started [`MAX_ATTEMPTS`] times and never ended.
    #[error("the run was started {MAX_ATTEMPTS} times, and its executor died each time")]
    Exhausted,
}

impl Run {
    /// A run that was accepted and not started.
    #[must_use]
    pub fn pending(
        id: RunId,
        workflow_id: WorkflowId,
        workflow_version: Option<u32>,
        trigger: Trigger,
        input_digest: String,
    ) -> Self {
        Self {
            id,
            status: Status::Pending,
            workflow_id,
            workflow_version,
            trigger,
            input_digest,
            output_digest: None,
            error: None,
            attempts: 0,
            retries: 0,
            log_base: 0,
            wakes_at: None,
            awaits_run: false,
            children: Vec::new(),
            events: 0,
            secret_nonce: None,
            artifacts: Vec::new(),
            created_at: id.created_at(),
            started_at: None,
            ended_at: None,
        }
    }

    /// A run that exceeds the monthly quota.
    #[must_use]
    pub fn suspend(self) -> Self {
        Self {
            status: Status::Suspended,
            ..self
        }
    }

    /// Resumes a suspended run.
    ///
    /// # Errors
    ///
    /// When it is not suspended.
    pub fn resume(mut self) -> Result<Self, TransitionError> {
        if self.status != Status::Suspended {
            return Err(TransitionError::NotSuspended(self.status));
        }
        self.status = Status::Pending;
        Ok(self)
    }

    fn ensure_not_ended(&self) -> Result<(), TransitionError> {
        if self.status.is_terminal() {
            return Err(TransitionError::Ended(self.status));
        }
        Ok(())
    }

    /// Starts the run, or starts it again, on `version`.
    ///
    /// # Errors
    ///
    /// When it has ended, or was started too often.
    pub fn start(mut self, version: u32, now: Timestamp) -> Result<Self, TransitionError> {
        self.ensure_not_ended()?;
        if self.attempts >= MAX_ATTEMPTS {
            return Err(TransitionError::Exhausted);
        }
        self.status = Status::Running;
        self.attempts += 1;
        self.workflow_version = Some(version);
        self.started_at.get_or_insert(now);
        self.wakes_at = None;
        self.awaits_run = false;
        Ok(self)
    }

    /// Takes the latest start back, since the run is left to another executor before it computes: it
    /// is not what ends an executor.
    #[must_use]
    pub fn take_back_start(mut self) -> Self {
        self.attempts = self.attempts.saturating_sub(1);
        self
    }

    /// Lets the run wait until `wakes_at`, or until another run has ended. Resets the number of
    /// starts, since the run has made progress.
    ///
    /// # Errors
    ///
    /// When it has ended.
    pub fn wait(
        mut self,
        version: u32,
        wakes_at: Option<Timestamp>,
        awaits_run: bool,
        now: Timestamp,
    ) -> Result<Self, TransitionError> {
        self.ensure_not_ended()?;
        self.status = Status::Waiting;
        self.attempts = 0;
        self.workflow_version = Some(version);
        self.started_at.get_or_insert(now);
        self.wakes_at = wakes_at;
        self.awaits_run = awaits_run;
        Ok(self)
    }

    /// Whether a journal may exist: the run was started before.
    #[must_use]
    pub fn has_journal(&self) -> bool {
        self.started_at.is_some() || self.retries > 0
    }

    fn end(&mut self, now: Timestamp) {
        self.ended_at = Some(now);
        self.wakes_at = None;
        self.awaits_run = false;
    }

    /// Ends the run with an output.
    ///
    /// # Errors
    ///
    /// When it has ended.
    pub fn complete(
        mut self,
        output_digest: String,
        artifacts: Vec<Artifact>,
        now: Timestamp,
    ) -> Result<Self, TransitionError> {
        self.ensure_not_ended()?;
        self.status = Status::Completed;
        self.output_digest = Some(output_digest);
        self.artifacts = artifacts;
        self.end(now);
        Ok(self)
    }

    /// Ends the run with an error.
    ///
    /// # Errors
    ///
    /// When it has ended.
    pub fn fault(mut self, error: RunError, now: Timestamp) -> Result<Self, TransitionError> {
        self.ensure_not_ended()?;
        self.status = Status::Faulted;
        self.error = Some(error);
        self.end(now);
        Ok(self)
    }

    /// Ends the run at a caller's request.
    ///
    /// # Errors
    ///
    /// When it has ended.
    pub fn cancel(mut self, now: Timestamp) -> Result<Self, TransitionError> {
        self.ensure_not_ended()?;
        self.status = Status::Cancelled;
        self.end(now);
        Ok(self)
    }

    /// Makes a faulted run pending again; its log continues at `log_base`.
    ///
    /// # Errors
    ///
    /// When it is not faulted.
    pub fn retry(mut self, log_base: u32) -> Result<Self, TransitionError> {
        if self.status != Status::Faulted {
            return Err(TransitionError::NotFaulted(self.status));
        }
        self.status = Status::Pending;
        self.error = None;
        self.started_at = None;
        self.ended_at = None;
        self.attempts = 0;
        self.retries += 1;
        self.log_base = log_base;
        Ok(self)
    }
}

#[cfg(test)]
mod tests;
