//! Runs programs, which are untrusted code, in child processes without access to anything.
//!
//! ```text
//! function ─┬─ orders ──▶ the same binary, as `<binary> engine <bytes>`: no environment, no
//!           ◀─ reports ─┘ descriptors but its pipes, limits on memory, CPU and descriptors, seccomp
//! ```
//!
//! | the child | result |
//! |---|---|
//! | uses more CPU time between two reports than the plan allows | it is killed, the run is faulted: `cpu-limit` |
//! | uses more memory than the plan allows | it aborts, the run is faulted: `memory-limit` |
//! | exceeds its stack | it aborts, the run is faulted: `depth-limit` |
//! | is killed by another process | the run is faulted: `engine-killed` |
//! | sends a malformed report, or panics | the run is faulted: `engine-failed` |
//! | outlives its function | the kernel kills it with its parent |
//!
//! A child that has completed a run is kept for the next run, with the programs that it has
//! compiled. A child that failed is never used again. A run is not blamed for memory that earlier
//! runs left in a child: it is started again in a new child, and only the result there counts.

mod child;
mod computation;
mod definition;
pub mod frame;
mod limits;
mod process;

use std::{
    path::PathBuf,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use aias_domain::{plan::Computing, run::RunError};
use aias_engine::Compiled;

pub use child::serve;
pub use computation::{Computation, ComputationInput, Report};
pub use definition::Definition;
use frame::{ChildLimits, ChildReport, MalformedFrame, Order};
use process::Process;

/// How long either side polls before it waits for the other.
const POLL_FOR: Duration = Duration::from_micros(100);

/// The most idle children.
const MAX_IDLE: usize = 4;

/// The largest memory limit of a child that is kept, in bytes.
const MAX_KEPT_BYTES: u64 = 128 * 1024 * 1024;

/// Memory per byte of the input and the journal.
const BYTES_PER_BYTE: u64 = 48;

/// For how many bytes of the input and the journal, which are read before the first report, a child
/// gets a millisecond of CPU time.
const BYTES_PER_MS: u64 = 16 * 1024;

/// Inputs and journals up to this size fit into any child.
const SMALL: u64 = 512 * 1024;

/// The largest memory limit of a run, in bytes.
const MAX_MEMORY: u64 = 1024 * 1024 * 1024;

/// Why a child did not complete a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ChildFailure {
    /// It computed too long without a report.
    #[error("a step used more CPU time than the plan allows")]
    CpuLimit,
    /// It exceeded its memory limit.
    #[error("the run took more memory than its plan allows")]
    MemoryLimit,
    /// It exceeded its stack.
    #[error("an expression or a value is too deep")]
    DepthLimit,
    /// It was killed by another process.
    #[error("the process of the engine was killed")]
    Killed,
    /// It sent a malformed frame.
    #[error("the report of the engine is malformed")]
    Malformed,
    /// It panicked, or made a system call that is not allowed.
    #[error("the engine failed in a step")]
    Failed,
    /// The input and the journal do not fit into a frame.
    #[error("the input and the journal are too large for the engine")]
    TooLarge,
    /// It cannot be started.
    #[error("the engine cannot be started")]
    NotStarted,
}

/// The code of the error of a run whose child cannot be started.
const NOT_STARTED: &str = "engine-missing";

/// Whether a computation ended because its child cannot be started, for example without free
/// descriptors. The run is not the cause, and may succeed later.
#[must_use]
pub fn is_not_started(error: &RunError) -> bool {
    error.code == NOT_STARTED
}

impl From<ChildFailure> for RunError {
    fn from(lost: ChildFailure) -> Self {
        let (code, title, status) = match lost {
            ChildFailure::CpuLimit => ("cpu-limit", "The CPU limit is exceeded", 408),
            ChildFailure::MemoryLimit => ("memory-limit", "The memory limit is exceeded", 500),
            ChildFailure::DepthLimit => ("depth-limit", "The depth limit is exceeded", 500),
            ChildFailure::Killed => ("engine-killed", "The engine was killed", 500),
            ChildFailure::Malformed | ChildFailure::Failed => {
                ("engine-failed", "The engine failed", 500)
            }
            ChildFailure::TooLarge => ("journal-too-large", "The journal is too large", 500),
            ChildFailure::NotStarted => (NOT_STARTED, "The engine cannot be started", 500),
        };
        Self {
            status,
            ..Self::platform(code, title, lost.to_string())
        }
    }
}

/// The limits of a run with an input and a journal of this size.
pub(crate) fn limits_for(computing: Computing, input_bytes: usize) -> Computing {
    let given = u64::try_from(input_bytes).unwrap_or(u64::MAX);
    if given <= SMALL {
        return computing;
    }
    let more = given.saturating_mul(BYTES_PER_BYTE);
    Computing {
        memory_bytes: computing.memory_bytes.saturating_add(more).min(MAX_MEMORY),
        segment_ms: computing
            .segment_ms
            .saturating_add(u32::try_from(given / BYTES_PER_MS).unwrap_or(u32::MAX)),
    }
}

/// A pool of children.
#[derive(Debug)]
pub struct Sandbox {
    binary: PathBuf,
    idle: Mutex<Vec<Process>>,
    limits_logged: AtomicBool,
}

impl Sandbox {
    /// `binary` must have a `main` that starts with [`serve`].
    #[must_use]
    pub fn new(binary: PathBuf) -> Self {
        Self {
            binary,
            idle: Mutex::default(),
            limits_logged: AtomicBool::new(false),
        }
    }

    /// Children of this binary.
    #[must_use]
    pub fn of_this_binary() -> Self {
        // Not by its path, since the file may have been replaced.
        Self::new(PathBuf::from("/proc/self/exe"))
    }

    /// Starts a child in advance and returns its limits.
    ///
    /// # Errors
    ///
    /// When it cannot be started.
    pub async fn warm(&self, computing: Computing) -> Result<ChildLimits, ChildFailure> {
        let process = self.acquire(computing).await?;
        let child_limits = process.child_limits.ok_or(ChildFailure::Failed)?;
        self.release(process);
        Ok(child_limits)
    }

    /// Compiles a definition.
    ///
    /// # Errors
    ///
    /// When a limit is exceeded.
    pub async fn compile(
        &self,
        definition: &str,
        computing: Computing,
    ) -> Result<Compiled, ChildFailure> {
        let process = self.acquire(computing).await?;
        let is_new = process.is_new();
        match self.compile_in(process, definition).await {
            // Earlier runs may have left memory in this child.
            Err(ChildFailure::MemoryLimit | ChildFailure::Killed) if !is_new => {
                let process = self.start(computing).await?;
                self.compile_in(process, definition).await
            }
            compiled => compiled,
        }
    }

    async fn compile_in(
        &self,
        mut process: Process,
        definition: &str,
    ) -> Result<Compiled, ChildFailure> {
        process.send(&Order::Compile(definition.into())).await?;
        let compiled = process.next_report(|report| {
            let ChildReport::Compiled(compiled) = report else {
                return Err(MalformedFrame);
            };
            Ok(compiled)
        });
        let compiled = compiled.await?;
        self.release(process);
        Ok(compiled)
    }

    /// An idle child, or a new one.
    pub(crate) async fn acquire(&self, computing: Computing) -> Result<Process, ChildFailure> {
        let kept = {
            let mut idle = self.idle();
            let fitting = idle.iter().rposition(|p| p.computing == computing);
            fitting.map(|index| idle.remove(index))
        };
        match kept {
            Some(process) => Ok(process),
            None => self.start(computing).await,
        }
    }

    /// A new child.
    pub(crate) async fn start(&self, computing: Computing) -> Result<Process, ChildFailure> {
        let started = Process::start(&self.binary, computing);
        let mut process = started.map_err(|error| {
            tracing::error!(event = "engine_start_failed", %error);
            ChildFailure::NotStarted
        })?;
        let child_limits = process.next_report(|report| {
            let ChildReport::Ready(child_limits) = report else {
                return Err(MalformedFrame);
            };
            Ok(child_limits)
        });
        let child_limits = child_limits.await?;
        process.child_limits = Some(child_limits);
        if !self.limits_logged.swap(true, Ordering::Relaxed) {
            tracing::info!(
                event = "sandbox_limits",
                memory_bytes = child_limits.memory_bytes,
                cpu_seconds = child_limits.cpu_seconds,
                descriptors = child_limits.descriptors,
                seccomp = child_limits.seccomp
            );
        }
        Ok(process)
    }

    /// Keeps a child for the next run.
    pub(crate) fn release(&self, mut process: Process) {
        if process.computing.memory_bytes > MAX_KEPT_BYTES || !process.is_reusable() {
            return;
        }
        let mut idle = self.idle();
        if idle.len() >= MAX_IDLE {
            idle.remove(0);
        }
        idle.push(process);
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<Process>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
