//! A program, run on a thread of its own: it may panic, and it may not come back. What it asks for
//! goes out by one channel, what it is given comes in by another.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
        mpsc,
    },
    thread,
    time::Duration,
};

use aias_engine::{
    Control, Host, Outcome, Program, Record, Start,
    journal::{Asked, Entry},
};
use jiff::Timestamp;
use serde_json::Value;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::clock::Clock;

/// The stack of a computation: jq recurses on it.
const STACK_BYTES: usize = 64 * 1024 * 1024;

/// How long a computation that was asked to stop may take to the end of its step.
const GRACE: Duration = Duration::from_secs(1);

static STUCK: AtomicUsize = AtomicUsize::new(0);

/// Ends the process in a moment if a computation did not come back: its thread cannot be ended. The
/// answer that is under way goes out first; the next event has a process of its own.
pub fn end_if_stuck() {
    if STUCK.load(Ordering::Relaxed) == 0 {
        return;
    }
    thread::spawn(|| {
        thread::sleep(Duration::from_millis(250));
        tracing::error!("the process ends, because a computation does not");
        std::process::exit(1);
    });
}

/// What a computation says.
#[derive(Debug)]
pub enum Told {
    /// A step is over, or waits.
    Step(Record, Timestamp),
    /// The run emitted an event, its number among them.
    Emitted(u32, Value),
    /// It cannot go on without one of these; it waits for [`Computation::give`].
    Asked(Asked),
    /// It is over.
    Ended(Box<Outcome>),
}

/// A computation under way. Once it is dropped, it ends where it waits or after its step.
#[derive(Debug)]
pub struct Computation {
    told: UnboundedReceiver<Told>,
    entries: mpsc::Sender<Entry>,
    stop: Arc<AtomicBool>,
}

/// What a computation is given.
#[derive(Debug)]
pub struct Given {
    /// The workflow's version.
    pub program: Arc<Program>,
    /// The run's id.
    pub run_id: String,
    /// Its input.
    pub input: Value,
    /// When it was accepted.
    pub started_at: Timestamp,
    /// Steps that it may execute.
    pub max_steps: u32,
    /// What happened so far.
    pub journal: Vec<Entry>,
    /// For the times of its steps.
    pub clock: Clock,
}

struct Teller {
    told: UnboundedSender<Told>,
    entries: mpsc::Receiver<Entry>,
    stop: Arc<AtomicBool>,
    clock: Clock,
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

    fn emit(&mut self, number: u32, event: Value) {
        // Nobody listens any more when it came too late.
        let _ = self.told.send(Told::Emitted(number, event));
    }

    fn next(&mut self, asked: &Asked) -> Option<Entry> {
        self.told.send(Told::Asked(asked.clone())).ok()?;
        self.entries.recv().ok()
    }
}

impl Computation {
    /// Begins it.
    ///
    /// # Errors
    /// When no thread can be had.
    pub fn begin(given: Given) -> std::io::Result<Self> {
        let (sender, told) = unbounded_channel();
        let (entries, given_entries) = mpsc::channel();
        let stop = Arc::new(AtomicBool::new(false));
        let mut teller = Teller {
            told: sender,
            entries: given_entries,
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
                    journal: &given.journal,
                };
                let outcome = given.program.run(&start, &mut teller);
                // Nobody listens any more when it came too late.
                let _ = teller.told.send(Told::Ended(Box::new(outcome)));
            })?;
        Ok(Self {
            told,
            entries,
            stop,
        })
    }

    /// What it says next; `None` when it ended without a word: it panicked.
    pub async fn next(&mut self) -> Option<Told> {
        self.told.recv().await
    }

    /// Gives it what it asked for.
    pub fn give(&self, entry: Entry) {
        // One that has ended needs it no more.
        let _ = self.entries.send(entry);
    }

    /// Asks it to stop at the end of its step, and listens a little longer: what it still said, the
    /// outcome last. `None` when it does not come back.
    pub async fn stop(mut self) -> Option<Vec<Told>> {
        self.stop.store(true, Ordering::Relaxed);
        let mut said = Vec::new();
        let listening = async {
            while let Some(told) = self.told.recv().await {
                let over = matches!(told, Told::Ended(_) | Told::Asked(_));
                said.push(told);
                if over {
                    break;
                }
            }
        };
        match tokio::time::timeout(GRACE, listening).await {
            Ok(()) => Some(said),
            Err(_) => {
                STUCK.fetch_add(1, Ordering::Relaxed);
                None
            }
        }
    }
}
