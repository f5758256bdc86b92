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
    Compiled, Control, Fault, Host, Input, Outcome, Program, Record, Start, StepData,
    journal::{Entry, PendingEffects},
};
use rustix::{
    event::{PollFd, PollFlags},
    io::Errno,
};
use serde_json::Value;

use crate::{
    POLL_FOR,
    frame::{self, ChildReport, HEAD, MAX_ORDER, MAX_REPORT, MalformedFrame, Order, StartRun},
    limits,
};

/// The argument that makes a function's binary a child. The memory limit in bytes follows it.
pub(crate) const ARGUMENT: &str = "engine";

/// Reports are written when they reach this size, or this long after the first of them.
const FLUSH_BYTES: usize = 32 * 1024;
const FLUSH_AFTER: Duration = Duration::from_millis(50);

/// Whether this process is started as a child, with its memory limit in bytes.
fn child_memory_limit() -> Option<u64> {
    let mut arguments = std::env::args().skip(1);
    (arguments.next()? == ARGUMENT)
        .then(|| arguments.next()?.parse().ok())
        .flatten()
}

/// Runs the child, if this process is started as one. A function's `main` calls it first.
#[must_use]
pub fn serve() -> Option<ExitCode> {
    let memory_bytes = child_memory_limit()?;
    // Only the location of a panic, no data.
    std::panic::set_hook(Box::new(|info| {
        let place = info.location().map(ToString::to_string);
        let _ = writeln!(io::stderr(), "panicked at {}", place.unwrap_or_default());
    }));
    // On the first and only thread: the allocator of a single-threaded process takes no locks.
    let held = match limits::apply(memory_bytes) {
        Ok(held) => held,
        Err(error) => {
            let _ = writeln!(io::stderr(), "{error}");
            return Some(ExitCode::FAILURE);
        }
    };
    let mut pipes = Pipes {
        read_buffer: vec![0; READ_BYTES].into_boxed_slice(),
        received: Vec::new(),
        processed: 0,
        buffered: Vec::new(),
        programs: HashMap::new(),
    };
    pipes.report_now(&ChildReport::Ready(held));
    Some(match pipes.work() {
        Ok(()) => ExitCode::SUCCESS,
        Err(MalformedFrame) => ExitCode::FAILURE,
    })
}

/// The child's ends of the pipes.
struct Pipes {
    /// The read buffer, and its content.
    read_buffer: Box<[u8]>,
    received: Vec<u8>,
    /// How much of the content has been processed.
    processed: usize,
    buffered: Vec<u8>,
    programs: HashMap<u64, Program>,
}

impl Pipes {
    fn work(&mut self) -> Result<(), MalformedFrame> {
        while let Some(frame) = self.next_order()? {
            match frame::read::<Order<'_>>(&frame)? {
                Order::Compile(text) => {
                    let compiled = match compile(&text) {
                        Ok(program) => program.compiled(),
                        Err(faults) => Compiled {
                            faults,
                            ..Compiled::default()
                        },
                    };
                    self.report_now(&ChildReport::Compiled(compiled));
                }
                Order::Start(start) => self.run(&start)?,
                Order::Entry(_) => return Err(MalformedFrame),
            }
        }
        Ok(())
    }

    fn run(&mut self, start: &StartRun<'_>) -> Result<(), MalformedFrame> {
        if start.forget {
            self.programs.clear();
        }
        if let Some(text) = &start.definition {
            let Ok(program) = compile(text) else {
                self.report_now(&ChildReport::Broken);
                return Ok(());
            };
            self.programs.insert(start.program, program);
        }
        let program = self.programs.remove(&start.program).ok_or(MalformedFrame)?;
        let journal: Vec<Entry> = frame::trusted(&start.journal)?;
        let run_start = Start {
            id: &start.run_id,
            // The function parsed the input before.
            input: Input::Json(&start.input),
            started_at: start.started_at,
            max_steps: start.max_steps,
            journal: &journal,
            secret_nonce: &start.secret_nonce,
        };
        let mut host = ChildHost {
            pipes: self,
            flushed_at: Instant::now(),
            interruption: None,
            with_data: start.with_data,
        };
        let outcome = program.run(&run_start, &mut host);
        match (host.interruption.take(), outcome) {
            (Some(Interruption::ReportTooLarge(error)), _) => self.fault(&error),
            (Some(Interruption::MalformedOrder), _) | (None, Outcome::Waiting(_)) => {
                return Err(MalformedFrame);
            }
            (None, Outcome::Completed(output)) => {
                let json = serde_json::to_vec(&output).unwrap_or_default();
                match bounded(&json, "the output") {
                    Ok(()) => self.report_now(&ChildReport::Completed(json.into())),
                    Err(error) => self.fault(&error),
                }
            }
            (None, Outcome::Faulted(error)) => self.fault(&error.into()),
        }
        self.programs.insert(start.program, program);
        Ok(())
    }

    fn fault(&mut self, error: &RunError) {
        let json = serde_json::to_vec(error).unwrap_or_default();
        self.report_now(&ChildReport::Faulted(json.into()));
    }

    /// Writes a report immediately.
    fn report_now(&mut self, report: &ChildReport<'_>) {
        self.buffer_report(report);
        self.flush();
    }

    /// Buffers a report.
    fn buffer_report(&mut self, report: &ChildReport<'_>) {
        if frame::write(&mut self.buffered, report, MAX_REPORT).is_err() {
            // Reports that are too large were refused before.
            std::process::exit(2);
        }
    }

    fn flush(&mut self) {
        // Not through the buffer of the standard library, which would first write up to the last
        // newline.
        let mut left = self.buffered.as_slice();
        while !left.is_empty() {
            match rustix::io::write(io::stdout().as_fd(), left) {
                Ok(count) => left = left.get(count..).unwrap_or_default(),
                Err(Errno::INTR) => {}
                // The function has closed the pipe.
                Err(_) => std::process::exit(0),
            }
        }
        self.buffered.clear();
    }

    /// Reads available bytes, or waits for them. It polls at first, as the function does.
    fn read_bytes(&mut self) -> usize {
        let started = Instant::now();
        loop {
            match rustix::io::read(io::stdin().as_fd(), &mut *self.read_buffer) {
                Ok(count) => return count,
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) if started.elapsed() < POLL_FOR => std::thread::yield_now(),
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
    fn next_order(&mut self) -> Result<Option<Vec<u8>>, MalformedFrame> {
        loop {
            let bytes = self.received.get(self.processed..).unwrap_or_default();
            if let Some(frame) = frame::first(bytes, MAX_ORDER)? {
                let frame = frame.to_vec();
                self.processed += HEAD + frame.len();
                if self.processed == self.received.len() {
                    self.received.clear();
                    self.processed = 0;
                }
                return Ok(Some(frame));
            }
            let count = self.read_bytes();
            if count == 0 {
                return Ok(None);
            }
            let read = self.read_buffer.get(..count).unwrap_or_default();
            self.received.extend_from_slice(read);
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
    if json.len() < MAX_REPORT - READ_BYTES {
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
enum Interruption {
    /// A report is too large.
    ReportTooLarge(RunError),
    /// An order cannot be parsed.
    MalformedOrder,
}

struct ChildHost<'a> {
    pipes: &'a mut Pipes,
    flushed_at: Instant,
    interruption: Option<Interruption>,
    with_data: bool,
}

impl Host for ChildHost<'_> {
    fn wants_data(&self) -> bool {
        self.with_data
    }

    fn data(&mut self, data: StepData) {
        let json = serde_json::to_vec(&data).unwrap_or_default();
        self.pipes
            .buffer_report(&ChildReport::StepData(json.into()));
    }

    fn step(&mut self, record: Record) -> Control {
        self.pipes.buffer_report(&ChildReport::Step(record));
        if self.pipes.buffered.len() >= FLUSH_BYTES || self.flushed_at.elapsed() >= FLUSH_AFTER {
            self.pipes.flush();
            self.flushed_at = Instant::now();
        }
        Control::Continue
    }

    fn emit(&mut self, number: u32, event: Value) {
        let json = serde_json::to_vec(&event).unwrap_or_default();
        self.pipes
            .buffer_report(&ChildReport::Emitted(number, json.into()));
    }

    fn next(&mut self, pending: &PendingEffects) -> Option<Entry> {
        let json = frame::pending_json(pending);
        if let Err(error) = bounded(&json, "the requested effects") {
            self.interruption = Some(Interruption::ReportTooLarge(error));
            return None;
        }
        self.pipes
            .report_now(&ChildReport::PendingEffects(json.into()));
        self.flushed_at = Instant::now();
        let frame = match self.pipes.next_order() {
            Ok(Some(frame)) => frame,
            // The run was cancelled.
            Ok(None) => std::process::exit(0),
            Err(MalformedFrame) => Vec::new(),
        };
        let entry = match frame::read::<Order<'_>>(&frame) {
            Ok(Order::Entry(json)) => frame::trusted(&json).ok(),
            Ok(Order::Compile(_) | Order::Start(_)) | Err(MalformedFrame) => None,
        };
        if entry.is_none() {
            self.interruption = Some(Interruption::MalformedOrder);
        }
        entry
    }
}
