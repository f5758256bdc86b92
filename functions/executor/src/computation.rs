//! A program, run on a thread of its own: it may panic, and it may not come back.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use aias_engine::{Control, Host, Outcome, Program, Record, Start};
use jiff::Timestamp;
use serde_json::Value;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

/// The stack of a computation: jq recurses on it.
const STACK_BYTES: usize = 64 * 1024 * 1024;

/// How long a computation that was asked to stop may take to the end of its step.
const GRACE: Duration = Duration::from_secs(1);

static STUCK: AtomicUsize = AtomicUsize::new(0);

/// Whether a computation of this process did not come back.
pub(crate) fn any_stuck() -> bool {
    STUCK.load(Ordering::Relaxed) > 0
}

/// What a computation says.
pub(crate) enum Told {
    /// A step is over.
    Step(Record, Timestamp),
    /// It is over.
    Ended(Box<Outcome>),
}

/// A computation under way.
pub(crate) struct Computation {
    told: UnboundedReceiver<Told>,
    stop: Arc<AtomicBool>,
}

/// What a computation is given.
pub(crate) struct Given {
    pub(crate) program: Arc<Program>,
    pub(crate) run_id: String,
    pub(crate) input: Value,
    pub(crate) started_at: Timestamp,
    pub(crate) max_steps: u32,
    pub(crate) clock: aias_platform::clock::Clock,
}

struct Teller {
    told: UnboundedSender<Told>,
    stop: Arc<AtomicBool>,
    clock: aias_platform::clock::Clock,
}

impl Host for Teller {
    fn step(&mut self, record: Record) -> Control {
        let heard = self.told.send(Told::Step(record, self.clock.now())).is_ok();
        if heard && !self.stop.load(Ordering::Relaxed) {
            Control::Continue
        } else {
            Control::Stop
        }
    }
}

impl Computation {
    /// Begins it.
    pub(crate) fn begin(given: Given) -> std::io::Result<Self> {
        let (sender, told) = unbounded_channel();
        let stop = Arc::new(AtomicBool::new(false));
        let mut teller = Teller {
            told: sender,
            stop: Arc::clone(&stop),
            clock: given.clock,
        };
        thread::Builder::new()
            .stack_size(STACK_BYTES)
            .spawn(move || {
                let start = Start {
                    id: &given.run_id,
                    input: &given.input,
                    started_at: given.started_at,
                    max_steps: given.max_steps,
                    journal: &[],
                };
                let outcome = given.program.run(&start, &mut teller);
                // Nobody listens any more when it came too late.
                let _ = teller.told.send(Told::Ended(Box::new(outcome)));
            })?;
        Ok(Self { told, stop })
    }

    /// What it says next; `None` when it ended without a word: it panicked.
    pub(crate) async fn next(&mut self) -> Option<Told> {
        self.told.recv().await
    }

    /// Asks it to stop at the end of its step, and listens a little longer. `None` when it does
    /// not come back.
    pub(crate) async fn stop(mut self) -> Option<(Vec<(Record, Timestamp)>, Outcome)> {
        self.stop.store(true, Ordering::Relaxed);
        let mut steps = Vec::new();
        let listening = async {
            while let Some(told) = self.told.recv().await {
                match told {
                    Told::Step(record, at) => steps.push((record, at)),
                    Told::Ended(outcome) => return Some(*outcome),
                }
            }
            None
        };
        match tokio::time::timeout(GRACE, listening).await {
            Ok(outcome) => outcome.map(|outcome| (steps, outcome)),
            Err(_) => {
                STUCK.fetch_add(1, Ordering::Relaxed);
                None
            }
        }
    }
}
