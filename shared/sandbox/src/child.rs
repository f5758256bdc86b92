//! The child: reads orders, runs programs, says what comes of them. It has nothing but this.

use std::{
    collections::HashMap,
    io::{self, Write as _},
    os::fd::AsFd as _,
    process::ExitCode,
    time::{Duration, Instant},
};

use aias_domain::run::RunError;
use aias_engine::{
    Control, Fault, Host, Input, Outcome, Program, Record, Start,
    journal::{Asked, Entry},
};
use rustix::{
    event::{PollFd, PollFlags},
    io::Errno,
};
use serde_json::Value;

use crate::{
    SHORT,
    frame::{self, Begin, Garbage, HEAD, MAX_ORDER, MAX_WORD, Order, Word},
    limits,
};

/// The word that makes a function's binary a child; the bytes that a run may take follow it.
pub(crate) const ARGUMENT: &str = "engine";

/// How much is said at once, and how long it may be kept back while a step follows the other.
const FLUSH_BYTES: usize = 32 * 1024;
const FLUSH_AFTER: Duration = Duration::from_millis(50);

/// Whether this process is to be a child, and how many bytes a run may take.
fn wanted() -> Option<u64> {
    let mut arguments = std::env::args().skip(1);
    (arguments.next()? == ARGUMENT)
        .then(|| arguments.next()?.parse().ok())
        .flatten()
}

/// The whole life of a child, if this process is to be one. A function's `main` asks first of all.
#[must_use]
pub fn serve() -> Option<ExitCode> {
    let memory_bytes = wanted()?;
    // Where it panicked, and nothing of what it had.
    std::panic::set_hook(Box::new(|info| {
        let place = info.location().map(ToString::to_string);
        let _ = writeln!(io::stderr(), "panicked at {}", place.unwrap_or_default());
    }));
    // On the first thread, and no other: an allocator that is alone takes no locks.
    let held = match limits::hold(memory_bytes) {
        Ok(held) => held,
        Err(error) => {
            let _ = writeln!(io::stderr(), "{error}");
            return Some(ExitCode::FAILURE);
        }
    };
    let mut pipes = Pipes {
        room: vec![0; READ_BYTES].into_boxed_slice(),
        heard: Vec::new(),
        done: 0,
        said: Vec::new(),
        programs: HashMap::new(),
    };
    pipes.say(&Word::Ready(held));
    Some(match pipes.work() {
        Ok(()) => ExitCode::SUCCESS,
        Err(Garbage) => ExitCode::FAILURE,
    })
}

/// Its end of the pipes.
struct Pipes {
    /// Where orders are read to, and what was read.
    room: Box<[u8]>,
    heard: Vec<u8>,
    /// How much of it was done.
    done: usize,
    said: Vec<u8>,
    programs: HashMap<u64, Program>,
}

impl Pipes {
    fn work(&mut self) -> Result<(), Garbage> {
        while let Some(frame) = self.hear()? {
            match frame::read::<Order<'_>>(&frame)? {
                Order::Compile(text) => {
                    let faults = compile(&text).err().unwrap_or_default();
                    self.say(&Word::Compiled(faults));
                }
                Order::Begin(begin) => self.run(&begin)?,
                Order::Entry(_) => return Err(Garbage),
            }
        }
        Ok(())
    }

    fn run(&mut self, begin: &Begin<'_>) -> Result<(), Garbage> {
        if begin.forget {
            self.programs.clear();
        }
        if let Some(text) = &begin.definition {
            let Ok(program) = compile(text) else {
                self.say(&Word::Broken);
                return Ok(());
            };
            self.programs.insert(begin.program, program);
        }
        let program = self.programs.remove(&begin.program).ok_or(Garbage)?;
        let journal: Vec<Entry> = frame::trusted(&begin.journal)?;
        let start = Start {
            id: &begin.run_id,
            // Whoever gives it has read it before.
            input: Input::Json(&begin.input),
            started_at: begin.started_at,
            max_steps: begin.max_steps,
            journal: &journal,
            mark: &begin.mark,
        };
        let mut teller = Teller {
            pipes: self,
            flushed_at: Instant::now(),
            lost: None,
        };
        let outcome = program.run(&start, &mut teller);
        match (teller.lost.take(), outcome) {
            (Some(Lost::Unsaid(error)), _) => self.fault(&error),
            (Some(Lost::Garbage), _) | (None, Outcome::Waiting(_)) => return Err(Garbage),
            (None, Outcome::Completed(output)) => {
                let json = serde_json::to_vec(&output).unwrap_or_default();
                match bounded(&json, "the output") {
                    Ok(()) => self.say(&Word::Completed(json.into())),
                    Err(error) => self.fault(&error),
                }
            }
            (None, Outcome::Faulted(error)) => self.fault(&error.into()),
        }
        self.programs.insert(begin.program, program);
        Ok(())
    }

    fn fault(&mut self, error: &RunError) {
        let json = serde_json::to_vec(error).unwrap_or_default();
        self.say(&Word::Faulted(json.into()));
    }

    /// Says something at once.
    fn say(&mut self, word: &Word<'_>) {
        self.keep(word);
        self.flush();
    }

    /// Says something soon.
    fn keep(&mut self, word: &Word<'_>) {
        if frame::write(&mut self.said, word, MAX_WORD).is_err() {
            // What is too large was seen before.
            std::process::exit(2);
        }
    }

    fn flush(&mut self) {
        // Not by the library's own buffer, which would write up to the last line's end first.
        let mut left = self.said.as_slice();
        while !left.is_empty() {
            match rustix::io::write(io::stdout().as_fd(), left) {
                Ok(count) => left = left.get(count..).unwrap_or_default(),
                Err(Errno::INTR) => {}
                // Nobody listens any more.
                Err(_) => std::process::exit(0),
            }
        }
        self.said.clear();
    }

    /// Reads what there is, and waits for it: awake at first, as its other side does.
    fn listen(&mut self) -> usize {
        let begun = Instant::now();
        loop {
            match rustix::io::read(io::stdin().as_fd(), &mut *self.room) {
                Ok(count) => return count,
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) if begun.elapsed() < SHORT => std::thread::yield_now(),
                Err(Errno::AGAIN) => {
                    let stdin = io::stdin();
                    let stdin = PollFd::new(&stdin, PollFlags::IN);
                    // Whatever it says, the next read says more.
                    let _ = rustix::event::poll(&mut [stdin], None);
                }
                Err(_) => return 0,
            }
        }
    }

    /// The next order; none when there will be no more.
    fn hear(&mut self) -> Result<Option<Vec<u8>>, Garbage> {
        loop {
            let bytes = self.heard.get(self.done..).unwrap_or_default();
            if let Some(frame) = frame::first(bytes, MAX_ORDER)? {
                let frame = frame.to_vec();
                self.done += HEAD + frame.len();
                if self.done == self.heard.len() {
                    self.heard.clear();
                    self.done = 0;
                }
                return Ok(Some(frame));
            }
            let count = self.listen();
            if count == 0 {
                return Ok(None);
            }
            let read = self.room.get(..count).unwrap_or_default();
            self.heard.extend_from_slice(read);
        }
    }
}

const READ_BYTES: usize = 64 * 1024;

fn compile(text: &str) -> Result<Program, Vec<Fault>> {
    let definition: Value = serde_json::from_str(text).map_err(|error| {
        vec![Fault {
            pointer: String::new(),
            detail: error.to_string(),
        }]
    })?;
    Program::compile(&definition)
}

fn bounded(json: &[u8], what: &str) -> Result<(), RunError> {
    if json.len() < MAX_WORD - READ_BYTES {
        return Ok(());
    }
    let detail = format!("{what} has {} bytes of JSON", json.len());
    Err(RunError::platform(
        "value-too-large",
        "A value is too large",
        detail,
    ))
}

/// Why a run does not go on here.
enum Lost {
    /// What it says is too large.
    Unsaid(RunError),
    /// What it heard cannot be read.
    Garbage,
}

struct Teller<'a> {
    pipes: &'a mut Pipes,
    flushed_at: Instant,
    lost: Option<Lost>,
}

impl Host for Teller<'_> {
    fn step(&mut self, record: Record) -> Control {
        self.pipes.keep(&Word::Step(record));
        if self.pipes.said.len() >= FLUSH_BYTES || self.flushed_at.elapsed() >= FLUSH_AFTER {
            self.pipes.flush();
            self.flushed_at = Instant::now();
        }
        Control::Continue
    }

    fn emit(&mut self, number: u32, event: Value) {
        let json = serde_json::to_vec(&event).unwrap_or_default();
        self.pipes.keep(&Word::Emitted(number, json.into()));
    }

    fn next(&mut self, asked: &Asked) -> Option<Entry> {
        let json = frame::asked_json(asked);
        if let Err(error) = bounded(&json, "what the run asks for") {
            self.lost = Some(Lost::Unsaid(error));
            return None;
        }
        self.pipes.say(&Word::Asked(json.into()));
        self.flushed_at = Instant::now();
        let frame = match self.pipes.hear() {
            Ok(Some(frame)) => frame,
            // The run is not wanted any more.
            Ok(None) => std::process::exit(0),
            Err(Garbage) => Vec::new(),
        };
        let entry = match frame::read::<Order<'_>>(&frame) {
            Ok(Order::Entry(json)) => frame::trusted(&json).ok(),
            Ok(Order::Compile(_) | Order::Begin(_)) | Err(Garbage) => None,
        };
        if entry.is_none() {
            self.lost = Some(Lost::Garbage);
        }
        entry
    }
}
