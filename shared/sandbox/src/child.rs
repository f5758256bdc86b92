//! The child process: reads orders, runs programs, and writes reports. It has access to nothing but
//! its pipes.

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

/// The argument that makes a function's binary a child. The memory limit in bytes follows it.
pub(crate) const ARGUMENT: &str = "engine";

/// Reports are written when they reach this size, or this long after the first of them.
const FLUSH_BYTES: usize = 32 * 1024;
const FLUSH_AFTER: Duration = Duration::from_millis(50);

/// Whether this process is started as a child, with its memory limit in bytes.
fn wanted() -> Option<u64> {
    let mut arguments = std::env::args().skip(1);
    (arguments.next()? == ARGUMENT)
        .then(|| arguments.next()?.parse().ok())
        .flatten()
}

/// Runs the child, if this process is started as one. A function's `main` calls it first.
#[must_use]
pub fn serve() -> Option<ExitCode> {
    let memory_bytes = wanted()?;
    // Only the location of a panic, no data.
    std::panic::set_hook(Box::new(|info| {
        let place = info.location().map(ToString::to_string);
        let _ = writeln!(io::stderr(), "panicked at {}", place.unwrap_or_default());
    }));
    // On the first and only thread: the allocator of a single-threaded process takes no locks.
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

/// The child's ends of the pipes.
struct Pipes {
    /// The read buffer, and its content.
    room: Box<[u8]>,
    heard: Vec<u8>,
    /// How much of the content has been processed.
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
            // The function parsed the input before.
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

    /// Writes a report immediately.
    fn say(&mut self, word: &Word<'_>) {
        self.keep(word);
        self.flush();
    }

    /// Buffers a report.
    fn keep(&mut self, word: &Word<'_>) {
        if frame::write(&mut self.said, word, MAX_WORD).is_err() {
            // Reports that are too large were refused before.
            std::process::exit(2);
        }
    }

    fn flush(&mut self) {
        // Not through the buffer of the standard library, which would first write up to the last
        // newline.
        let mut left = self.said.as_slice();
        while !left.is_empty() {
            match rustix::io::write(io::stdout().as_fd(), left) {
                Ok(count) => left = left.get(count..).unwrap_or_default(),
                Err(Errno::INTR) => {}
                // The function has closed the pipe.
                Err(_) => std::process::exit(0),
            }
        }
        self.said.clear();
    }

    /// Reads available bytes, or waits for them. It polls at first, as the function does.
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
                    // Whatever the result is, the next read reports it.
                    let _ = rustix::event::poll(&mut [stdin], None);
                }
                Err(_) => return 0,
            }
        }
    }

    /// The next order; none when the function has closed the pipe.
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
        "The value is too large",
        detail,
    ))
}

/// Why a run cannot continue here.
enum Lost {
    /// A report is too large.
    Unsaid(RunError),
    /// An order cannot be parsed.
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
        if let Err(error) = bounded(&json, "the requested effects") {
            self.lost = Some(Lost::Unsaid(error));
            return None;
        }
        self.pipes.say(&Word::Asked(json.into()));
        self.flushed_at = Instant::now();
        let frame = match self.pipes.hear() {
            Ok(Some(frame)) => frame,
            // The run was cancelled.
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
