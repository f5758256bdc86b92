//! Programs are foreign code: they are run by a child process that has nothing.
//!
//! ```text
//! function ─┬─ orders ─▶ the same binary, as `<binary> engine <bytes>`: no environment, no descriptor
//!           ◀─ words ──┘ but its pipes, limits on memory, computing and descriptors, seccomp
//! ```
//! | it | then |
//! |---|---|
//! | computes longer between two words than the plan allows | it is killed, the run faulted: `cpu-limit` |
//! | takes more memory than the plan allows | it aborts, the run is faulted: `memory-limit` |
//! | goes deeper than its stack | it aborts, the run is faulted: `depth-limit` |
//! | is killed by somebody else | the run is faulted: `engine-killed` |
//! | says what nobody can read, or panics | the run is faulted: `engine-failed` |
//! | outlives its function | the kernel kills it with its parent |
//!
//! A child that has ended a run is kept for the next, with the programs that it has compiled; one
//! that did not end it is never used again. Memory that others left behind in a child is not held
//! against a run: it is begun again in a new one, and only what happens there counts.

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
use aias_engine::Fault;

pub use child::serve;
pub use computation::{Computation, Given, Told};
pub use definition::Definition;
use frame::{Garbage, Held, Order, Word};
use process::Process;

/// How long either side polls before it waits for the other.
const SHORT: Duration = Duration::from_micros(100);

/// The most idle children.
const MAX_IDLE: usize = 4;

/// The largest memory limit of a child that is kept, in bytes.
const MAX_KEPT_BYTES: u64 = 128 * 1024 * 1024;

/// Memory per byte of the input and the journal.
const BYTES_PER_BYTE: u64 = 48;

/// Inputs and journals up to this size fit into any child.
const SMALL: u64 = 512 * 1024;

/// The largest memory limit of a run, in bytes.
const MAX_MEMORY: u64 = 1024 * 1024 * 1024;

/// Why a child did not complete a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Lost {
    /// It computed too long without a report.
    #[error("a step used more CPU time than the plan allows")]
    Computing,
    /// It exceeded its memory limit.
    #[error("the run took more memory than its plan allows")]
    Memory,
    /// It exceeded its stack.
    #[error("an expression or a value is too deep")]
    Depth,
    /// It was killed by another process.
    #[error("the process of the engine was killed")]
    Killed,
    /// It sent a malformed frame.
    #[error("the report of the engine is malformed")]
    Garbage,
    /// It panicked, or made a system call that is not allowed.
    #[error("the engine failed in a step")]
    Failed,
    /// The input and the journal do not fit into a frame.
    #[error("the input and the journal are too large for the engine")]
    TooLarge,
    /// It cannot be started.
    #[error("the engine cannot be started")]
    NotBegun,
}

impl From<Lost> for RunError {
    fn from(lost: Lost) -> Self {
        let (code, title, status) = match lost {
            Lost::Computing => ("cpu-limit", "The CPU limit is exceeded", 408),
            Lost::Memory => ("memory-limit", "The memory limit is exceeded", 500),
            Lost::Depth => ("depth-limit", "The depth limit is exceeded", 500),
            Lost::Killed => ("engine-killed", "The engine was killed", 500),
            Lost::Garbage | Lost::Failed => ("engine-failed", "The engine failed", 500),
            Lost::TooLarge => ("journal-too-large", "The journal is too large", 500),
            Lost::NotBegun => ("engine-missing", "The engine cannot be started", 500),
        };
        Self {
            status,
            ..Self::platform(code, title, lost.to_string())
        }
    }
}

/// The limits of a run with an input and a journal of this size.
pub(crate) fn for_input(computing: Computing, given_bytes: usize) -> Computing {
    let given = u64::try_from(given_bytes).unwrap_or(u64::MAX);
    if given <= SMALL {
        return computing;
    }
    let more = given.saturating_mul(BYTES_PER_BYTE);
    Computing {
        memory_bytes: computing.memory_bytes.saturating_add(more).min(MAX_MEMORY),
        ..computing
    }
}

/// A pool of children.
#[derive(Debug)]
pub struct Sandbox {
    binary: PathBuf,
    idle: Mutex<Vec<Process>>,
    told: AtomicBool,
}

impl Sandbox {
    /// `binary` must have a `main` that starts with [`serve`].
    #[must_use]
    pub fn new(binary: PathBuf) -> Self {
        Self {
            binary,
            idle: Mutex::default(),
            told: AtomicBool::new(false),
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
    pub async fn warm(&self, computing: Computing) -> Result<Held, Lost> {
        let process = self.take(computing).await?;
        let held = process.held.ok_or(Lost::Failed)?;
        self.give_back(process);
        Ok(held)
    }

    /// Compiles a definition and returns its faults; none if it compiles.
    ///
    /// # Errors
    ///
    /// When a limit is exceeded.
    pub async fn compile(
        &self,
        definition: &str,
        computing: Computing,
    ) -> Result<Result<(), Vec<Fault>>, Lost> {
        let process = self.take(computing).await?;
        let is_new = process.is_new();
        let faults = match self.compile_in(process, definition).await {
            // Earlier runs may have left memory in this child.
            Err(Lost::Memory | Lost::Killed) if !is_new => {
                let process = self.begin(computing).await?;
                self.compile_in(process, definition).await?
            }
            faults => faults?,
        };
        Ok(if faults.is_empty() {
            Ok(())
        } else {
            Err(faults)
        })
    }

    async fn compile_in(&self, mut process: Process, definition: &str) -> Result<Vec<Fault>, Lost> {
        process.tell(&Order::Compile(definition.into())).await?;
        let faults = process.hear(|word| {
            let Word::Compiled(faults) = word else {
                return Err(Garbage);
            };
            Ok(faults)
        });
        let faults = faults.await?;
        self.give_back(process);
        Ok(faults)
    }

    /// An idle child, or a new one.
    pub(crate) async fn take(&self, computing: Computing) -> Result<Process, Lost> {
        let kept = {
            let mut idle = self.idle();
            let fitting = idle.iter().rposition(|p| p.computing == computing);
            fitting.map(|index| idle.remove(index))
        };
        match kept {
            Some(process) => Ok(process),
            None => self.begin(computing).await,
        }
    }

    /// A new child.
    pub(crate) async fn begin(&self, computing: Computing) -> Result<Process, Lost> {
        let begun = Process::begin(&self.binary, computing);
        let mut process = begun.map_err(|error| {
            tracing::error!(%error, "the engine cannot be started");
            Lost::NotBegun
        })?;
        let held = process.hear(|word| {
            let Word::Ready(held) = word else {
                return Err(Garbage);
            };
            Ok(held)
        });
        let held = held.await?;
        process.held = Some(held);
        if !self.told.swap(true, Ordering::Relaxed) {
            tracing::info!(
                memory_bytes = held.memory_bytes,
                cpu_seconds = held.cpu_seconds,
                descriptors = held.descriptors,
                seccomp = held.seccomp,
                "the engine runs with these limits"
            );
        }
        Ok(process)
    }

    /// Keeps a child for the next run.
    pub(crate) fn give_back(&self, mut process: Process) {
        if process.computing.memory_bytes > MAX_KEPT_BYTES || !process.may_stay() {
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
