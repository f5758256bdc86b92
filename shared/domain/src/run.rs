//! A run and how it may change.
//!
//! ```text
//! suspended ──▶ pending ──▶ running ──▶ completed
//!     │            │  ╲      │ ▲  ╲
//!     │            │   ╲     ▼ │   ╲──▶ faulted ──(retry)──▶ pending
//!     │            │    ╲─▶ waiting ─╯
//!     ╰────────────┴────────────┴─────▶ cancelled
//! ```
//! A short run goes from `pending` to its end in one write; `running` is written for one that
//! lasts, asks for something or is delivered again. `waiting` is one that nothing computes: for a
//! time, for another run, or for another environment to go on with it. `suspended` is one that the
//! plan had no room for when it came.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    artifact::Artifact,
    id::{EndpointId, RunId, WorkflowId},
};

/// How often a run is begun before it is taken to be what ends its executor.
pub const MAX_ATTEMPTS: u32 = 3;

/// A phase of the DSL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = RunStatus)]
pub enum Status {
    /// Accepted, not started.
    Pending,
    /// Started.
    Running,
    /// Waiting for a time, another run or another execution environment.
    Waiting,
    /// Suspended until the plan or the next month has room for it.
    Suspended,
    /// Ended by a caller.
    Cancelled,
    /// Ended by an error.
    Faulted,
    /// Ended with an output.
    Completed,
}

impl Status {
    /// Whether nothing happens any more unless a caller asks.
    #[must_use]
    pub fn is_terminal(self) -> bool {
        matches!(self, Self::Cancelled | Self::Faulted | Self::Completed)
    }

    /// The name, as in the API and the store.
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

/// What started a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Trigger {
    /// A provider's event.
    Webhook {
        /// The endpoint that received it.
        endpoint_id: EndpointId,
        /// The provider's id, where the request had one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[schema(nullable = false)]
        event_id: Option<String>,
    },
    /// An `execute` call.
    Api,
    /// A `replay` of another run's input.
    Replay {
        /// The run whose input it is.
        replay_of: RunId,
    },
    /// A task of another run.
    Workflow {
        /// That run.
        parent_run_id: RunId,
        /// Its workflow.
        parent_workflow_id: WorkflowId,
        /// The task's reference.
        task: String,
        /// Whether the task waits for its output.
        #[serde(rename = "await")]
        awaited: bool,
        /// How many runs are above it.
        depth: u32,
    },
}

/// How deep runs may run other workflows.
pub const MAX_DEPTH: u32 = 8;

/// How many runs one run may begin: they are shown with it, also in a list.
pub const MAX_CHILDREN: usize = 250;

impl Trigger {
    /// How many runs are above one with this trigger.
    #[must_use]
    pub fn depth(&self) -> u32 {
        match self {
            Self::Workflow { depth, .. } => *depth,
            Self::Webhook { .. } | Self::Api | Self::Replay { .. } => 0,
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

/// A run that a task of another run started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = ChildRun)]
pub struct Child {
    /// Its id.
    pub run_id: RunId,
    /// The task's reference.
    pub task: String,
}

/// Why a run faulted: Problem Details (RFC 9457), as the DSL has them, and a stable code.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RunError {
    /// Stable, kebab-case.
    pub code: String,
    /// A URI that names the kind.
    #[serde(rename = "type")]
    pub kind: String,
    /// The kind in words.
    pub title: String,
    /// An HTTP status that fits.
    pub status: u16,
    /// This occurrence in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub detail: Option<String>,
    /// A JSON pointer to the task in the definition.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub instance: Option<String>,
}

impl RunError {
    /// An error of AIAS's own, not of the workflow.
    #[must_use]
    pub fn platform(code: &str, title: &str, detail: impl Into<String>) -> Self {
        Self {
            code: code.to_owned(),
            kind: format!("https://aias.dev/errors/{code}"),
            title: title.to_owned(),
            status: 500,
            detail: Some(detail.into()),
            instance: None,
        }
    }
}

/// One run of a workflow on one input.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// Its id; only in the key of its item.
    #[serde(skip, default = "no_run")]
    pub id: RunId,
    /// Its phase.
    pub status: Status,
    /// The workflow.
    pub workflow_id: WorkflowId,
    /// The version that it runs; chosen when it begins, unless the caller chose.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workflow_version: Option<u32>,
    /// What began it.
    pub trigger: Trigger,
    /// `sha256:<hex>` of the input's RFC 8785 form.
    pub input_digest: String,
    /// The same of the output.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output_digest: Option<String>,
    /// Why it faulted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<RunError>,
    /// How often it was begun since it was accepted or retried.
    #[serde(default)]
    pub attempts: u32,
    /// How often it was retried by a caller.
    #[serde(default)]
    pub retries: u32,
    /// The number of its log entries before the newest retry.
    #[serde(default)]
    pub log_base: u32,
    /// When it goes on by itself, while it waits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wakes_at: Option<Timestamp>,
    /// Whether it waits for another run, too.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub awaits_run: bool,
    /// The runs that its tasks began, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub children: Vec<Child>,
    /// How many events it has emitted.
    #[serde(default)]
    pub events: u32,
    /// What stands for secrets in it is known by this; none when it uses none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mark: Option<String>,
    /// What it made.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub artifacts: Vec<Artifact>,
    /// When it was accepted, by its id.
    #[serde(skip, default = "no_time")]
    pub created_at: Timestamp,
    /// When it was first begun since it was accepted or retried.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Timestamp>,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Timestamp>,
}

fn no_run() -> RunId {
    RunId::new(Timestamp::UNIX_EPOCH, 0)
}

fn no_time() -> Timestamp {
    Timestamp::UNIX_EPOCH
}

/// Why a run cannot change as asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TransitionError {
    /// It has ended.
    #[error("the run has already ended: it is {}", .0.as_str())]
    Ended(Status),
    /// Only a faulted run is retried.
    #[error("only a faulted run can be retried: it is {}", .0.as_str())]
    NotFaulted(Status),
    /// Only a run that is held back goes on.
    #[error("the run is not held back: it is {}", .0.as_str())]
    NotSuspended(Status),
    /// It was begun [`MAX_ATTEMPTS`] times and never ended.
    #[error("the run was begun {MAX_ATTEMPTS} times and ended its executor each time")]
    Exhausted,
}

impl Run {
    /// A run that was accepted and not begun.
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
            mark: None,
            artifacts: Vec::new(),
            created_at: id.created_at(),
            started_at: None,
            ended_at: None,
        }
    }

    /// The same, held back until the plan allows it.
    #[must_use]
    pub fn suspend(self) -> Self {
        Self {
            status: Status::Suspended,
            ..self
        }
    }

    /// Lets it go on.
    ///
    /// # Errors
    /// When it is not held back.
    pub fn resume(mut self) -> Result<Self, TransitionError> {
        if self.status != Status::Suspended {
            return Err(TransitionError::NotSuspended(self.status));
        }
        self.status = Status::Pending;
        Ok(self)
    }

    fn going_on(&self) -> Result<(), TransitionError> {
        if self.status.is_terminal() {
            return Err(TransitionError::Ended(self.status));
        }
        Ok(())
    }

    /// Begins it once more, on `version`.
    ///
    /// # Errors
    /// When it has ended, or was begun too often.
    pub fn begin(mut self, version: u32, now: Timestamp) -> Result<Self, TransitionError> {
        self.going_on()?;
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

    /// Leaves it until `wakes_at`, or until another run has ended. It got this far, so what began it
    /// did not end its executor.
    ///
    /// # Errors
    /// When it has ended.
    pub fn wait(
        mut self,
        version: u32,
        wakes_at: Option<Timestamp>,
        awaits_run: bool,
        now: Timestamp,
    ) -> Result<Self, TransitionError> {
        self.going_on()?;
        self.status = Status::Waiting;
        self.attempts = 0;
        self.workflow_version = Some(version);
        self.started_at.get_or_insert(now);
        self.wakes_at = wakes_at;
        self.awaits_run = awaits_run;
        Ok(self)
    }

    /// Whether it may have a journal: it was begun before.
    #[must_use]
    pub fn has_journal(&self) -> bool {
        self.started_at.is_some() || self.retries > 0
    }

    fn end(&mut self, now: Timestamp) {
        self.ended_at = Some(now);
        self.wakes_at = None;
        self.awaits_run = false;
    }

    /// Ends it with an output.
    ///
    /// # Errors
    /// When it has ended.
    pub fn complete(
        mut self,
        output_digest: String,
        artifacts: Vec<Artifact>,
        now: Timestamp,
    ) -> Result<Self, TransitionError> {
        self.going_on()?;
        self.status = Status::Completed;
        self.output_digest = Some(output_digest);
        self.artifacts = artifacts;
        self.end(now);
        Ok(self)
    }

    /// Ends it with an error.
    ///
    /// # Errors
    /// When it has ended.
    pub fn fault(mut self, error: RunError, now: Timestamp) -> Result<Self, TransitionError> {
        self.going_on()?;
        self.status = Status::Faulted;
        self.error = Some(error);
        self.end(now);
        Ok(self)
    }

    /// Ends it because a caller said so.
    ///
    /// # Errors
    /// When it has ended.
    pub fn cancel(mut self, now: Timestamp) -> Result<Self, TransitionError> {
        self.going_on()?;
        self.status = Status::Cancelled;
        self.end(now);
        Ok(self)
    }

    /// Makes a faulted run pending again; its log goes on at `log_base`.
    ///
    /// # Errors
    /// When it has not faulted.
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
mod tests {
    use super::*;

    fn run() -> Run {
        let at = Timestamp::from_second(1_700_000_000).unwrap();
        Run::pending(
            RunId::new(at, 1),
            WorkflowId::new(at, 2),
            None,
            Trigger::Api,
            "sha256:00".into(),
        )
    }

    fn now() -> Timestamp {
        Timestamp::from_second(1_700_000_001).unwrap()
    }

    #[test]
    fn an_ended_run_stays_ended() {
        let fault = || RunError::platform("x", "X", "x");
        let ended = [
            run().complete("sha256:01".into(), vec![], now()).unwrap(),
            run().fault(fault(), now()).unwrap(),
            run().cancel(now()).unwrap(),
        ];
        for run in ended {
            let status = run.status;
            assert_eq!(
                run.clone().begin(1, now()),
                Err(TransitionError::Ended(status))
            );
            assert_eq!(
                run.clone().cancel(now()),
                Err(TransitionError::Ended(status))
            );
            assert_eq!(
                run.clone().fault(fault(), now()),
                Err(TransitionError::Ended(status))
            );
            assert!(run.complete(String::new(), vec![], now()).is_err());
        }
    }

    #[test]
    fn only_a_faulted_run_is_retried() {
        assert_eq!(
            run().retry(0),
            Err(TransitionError::NotFaulted(Status::Pending))
        );
        let faulted = run()
            .begin(3, now())
            .unwrap()
            .fault(RunError::platform("x", "X", "x"), now());
        let again = faulted.unwrap().retry(7).unwrap();
        assert_eq!(
            (again.status, again.attempts, again.retries, again.log_base),
            (Status::Pending, 0, 1, 7)
        );
        assert_eq!(again.workflow_version, Some(3));
        assert_eq!(again.error, None);
    }

    #[test]
    fn only_a_run_that_is_held_back_goes_on() {
        let held = run().suspend();
        assert_eq!(held.status, Status::Suspended);
        assert_eq!(held.clone().resume().unwrap(), run());
        assert_eq!(
            run().resume(),
            Err(TransitionError::NotSuspended(Status::Pending))
        );
        assert_eq!(held.cancel(now()).unwrap().status, Status::Cancelled);
    }

    #[test]
    fn a_run_that_waits_is_begun_as_often_as_it_takes() {
        let mut run = run();
        for _ in 0..2 * MAX_ATTEMPTS {
            let begun = run.begin(1, now()).unwrap();
            assert_eq!((begun.status, begun.attempts), (Status::Running, 1));
            run = begun.wait(1, Some(now()), true, now()).unwrap();
            assert_eq!(run.status, Status::Waiting);
            assert!(run.has_journal());
        }
        let ended = run.cancel(now()).unwrap();
        assert_eq!((ended.wakes_at, ended.awaits_run), (None, false));
        assert!(ended.wait(1, None, false, now()).is_err());
    }

    #[test]
    fn a_run_that_ends_its_executor_is_given_up() {
        let mut run = run();
        for _ in 0..MAX_ATTEMPTS {
            run = run.begin(1, now()).unwrap();
        }
        assert_eq!(run.begin(1, now()), Err(TransitionError::Exhausted));
    }
}
