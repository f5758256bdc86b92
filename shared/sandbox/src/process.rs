//! A child process, as seen by the function.

use std::{
    fs, io, os::unix::process::ExitStatusExt as _, path::Path, process::Stdio, time::Duration,
};

use aias_domain::plan::Computing;
use rustix::{io::Errno, process::Signal};
use serde::Serialize;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::unix::pipe::{Receiver, Sender},
    process::{Child, ChildStderr, Command},
    time::{Instant, sleep_until, timeout},
};

use crate::{
    ChildFailure, Definition, POLL_FOR,
    child::ARGUMENT,
    frame::{self, ChildLimits, ChildReport, HEAD, MAX_ORDER, MAX_REPORT},
};

/// A child process. Dropping it kills it.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    orders: Sender,
    reports: Receiver,
    last: ChildStderr,
    /// The read buffer, and its content.
    read_buffer: Box<[u8]>,
    received: Vec<u8>,
    /// How much of the content has been parsed.
    parsed: usize,
    pub(crate) computing: Computing,
    /// The programs that it has, and the size of their definitions.
    pub(crate) programs: Vec<u64>,
    program_bytes: usize,
    uses: u32,
    started: Instant,
    report_timer: Option<ReportTimer>,
    /// Its limits, once it has reported them.
    pub(crate) child_limits: Option<ChildLimits>,
}

/// The time since the last report.
#[derive(Debug, Clone, Copy)]
struct ReportTimer {
    check_at: Instant,
    /// The CPU time at the first check.
    computed: Option<Duration>,
}

/// How long after the last report the CPU time is checked first.
const FIRST_CHECK: Duration = Duration::from_millis(50);

/// The most programs that a child keeps, and their total size.
const MAX_PROGRAMS: usize = 32;
const MAX_PROGRAM_BYTES: usize = 256 * 1024;

/// The CPU time after which a child is replaced, and how often that is checked. A run can use
/// twenty seconds, so the limit of 600 is never reached.
const LIFE: Duration = Duration::from_secs(60);
const USES_PER_CHECK: u32 = 16;

/// The first file descriptor after those of the pipes.
const FIRST_OTHER: i32 = 3;

const READ_BYTES: usize = 64 * 1024;

/// How long a child may take to exit after closing its pipes.
const EXIT_TIMEOUT: Duration = Duration::from_millis(500);

/// How much of a dead child's standard error is read, in bytes.
const MAX_STDERR: usize = 1024;

impl Process {
    pub(crate) fn start(binary: &Path, computing: Computing) -> io::Result<Self> {
        // Inherited descriptors of this process must not be passed on to the child.
        close_fds::set_fds_cloexec_threadsafe(FIRST_OTHER, &[]);
        let mut child = Command::new(binary)
            .arg(ARGUMENT)
            .arg(computing.memory_bytes.to_string())
            .env_clear()
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let pipes = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let (Some(orders), Some(reports), Some(last)) = pipes else {
            return Err(io::Error::other("a child without pipes"));
        };
        Ok(Self {
            child,
            orders: Sender::from_owned_fd(orders.into_owned_fd()?)?,
            reports: Receiver::from_owned_fd(reports.into_owned_fd()?)?,
            last,
            read_buffer: vec![0; READ_BYTES].into_boxed_slice(),
            received: Vec::new(),
            parsed: 0,
            computing,
            programs: Vec::new(),
            program_bytes: 0,
            uses: 0,
            started: Instant::now(),
            report_timer: None,
            child_limits: None,
        })
    }

    /// Selects a program: returns the definition unless the child has it, and whether the child
    /// must drop its other programs first.
    pub(crate) fn select_program<'a>(
        &mut self,
        definition: &'a Definition,
    ) -> (Option<&'a str>, bool) {
        if self.programs.contains(&definition.id) {
            return (None, false);
        }
        let bytes = self.program_bytes + definition.text.len();
        let forget = self.programs.len() >= MAX_PROGRAMS || bytes > MAX_PROGRAM_BYTES;
        if forget {
            self.programs.clear();
            self.program_bytes = 0;
        }
        self.programs.push(definition.id);
        self.program_bytes += definition.text.len();
        (Some(&definition.text), forget)
    }

    /// Whether it was started for its current run.
    pub(crate) fn is_new(&self) -> bool {
        self.uses == 0
    }

    /// Whether it can be reused: all of its reports were read, and it has CPU time left.
    pub(crate) fn is_reusable(&mut self) -> bool {
        self.uses += 1;
        let checks_age = self.uses.is_multiple_of(USES_PER_CHECK);
        let is_old = || self.computed() > LIFE;
        self.received.is_empty() && !(checks_age && is_old())
    }

    /// Sends an order.
    pub(crate) async fn send(&mut self, order: &impl Serialize) -> Result<(), ChildFailure> {
        let mut bytes = Vec::new();
        frame::write(&mut bytes, order, MAX_ORDER).map_err(|_| ChildFailure::TooLarge)?;
        match self.orders.write_all(&bytes).await {
            Ok(()) => Ok(()),
            Err(_) => Err(self.end(false).await),
        }
    }

    /// Reads the next report, which must arrive before the child has used the CPU time of a
    /// segment. The future may be dropped and the method called again.
    pub(crate) async fn next_report<T>(
        &mut self,
        read: impl FnOnce(ChildReport<'_>) -> Result<T, frame::MalformedFrame>,
    ) -> Result<T, ChildFailure> {
        loop {
            let bytes = self.received.get(self.parsed..).unwrap_or_default();
            let Ok(found) = frame::first(bytes, MAX_REPORT) else {
                return Err(self.malformed().await);
            };
            if let Some(frame) = found {
                let length = HEAD + frame.len();
                let report = frame::read(frame).and_then(read);
                self.parsed += length;
                if self.parsed >= self.received.len() {
                    self.received.clear();
                    self.parsed = 0;
                }
                return match report {
                    Ok(report) => Ok(report),
                    Err(frame::MalformedFrame) => Err(self.malformed().await),
                };
            }
            self.wait_readable().await?;
        }
    }

    /// Waits for more bytes.
    async fn wait_readable(&mut self) -> Result<(), ChildFailure> {
        if self.parsed > 0 {
            self.received.drain(..self.parsed);
            self.parsed = 0;
        }
        if self.poll_readable().await? {
            return Ok(());
        }
        loop {
            let first = ReportTimer {
                check_at: Instant::now() + FIRST_CHECK,
                computed: None,
            };
            let report_timer = *self.report_timer.get_or_insert(first);
            tokio::select! {
                // After a short read the pipe is empty.
                count = self.reports.read(&mut self.read_buffer) => match count {
                    Ok(0) | Err(_) => return Err(self.end(false).await),
                    Ok(count) => {
                        self.append_received(count);
                        return Ok(());
                    }
                },
                () = sleep_until(report_timer.check_at) => {
                    let computed = self.computed();
                    let since = report_timer.computed.unwrap_or(computed);
                    let segment = Duration::from_millis(self.computing.segment_ms.into());
                    let left = segment.saturating_sub(computed.saturating_sub(since));
                    if left.is_zero() {
                        return Err(self.end(true).await);
                    }
                    self.report_timer = Some(ReportTimer {
                        check_at: Instant::now() + left.max(FIRST_CHECK / 5),
                        computed: Some(since),
                    });
                }
            }
        }
    }

    /// Polls the pipe for as long as a short run takes, since waking up a sleeping core costs more
    /// than such a run. Other tasks can run in the meantime.
    async fn poll_readable(&mut self) -> Result<bool, ChildFailure> {
        let started = Instant::now();
        while started.elapsed() < POLL_FOR {
            tokio::task::yield_now().await;
            match rustix::io::read(&self.reports, &mut *self.read_buffer) {
                Ok(0) => return Err(self.end(false).await),
                Ok(count) => {
                    self.append_received(count);
                    return Ok(true);
                }
                Err(Errno::AGAIN | Errno::INTR) => std::thread::yield_now(),
                Err(_) => return Err(self.end(false).await),
            }
        }
        Ok(false)
    }

    fn append_received(&mut self, count: usize) {
        let read = self.read_buffer.get(..count).unwrap_or_default();
        self.received.extend_from_slice(read);
        self.report_timer = None;
    }

    /// Its CPU time; if that cannot be read, its age.
    fn computed(&self) -> Duration {
        self.cpu_time().unwrap_or_else(|| self.started.elapsed())
    }

    /// `proc_pid_stat(5)`: `utime` and `stime`.
    fn cpu_time(&self) -> Option<Duration> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id()?)).ok()?;
        let after_name = stat.rsplit_once(')')?.1;
        let mut fields = after_name.split_whitespace().skip(11);
        let ticks: u64 =
            fields.next()?.parse::<u64>().ok()? + fields.next()?.parse::<u64>().ok()?;
        let per_second = rustix::param::clock_ticks_per_second().max(1);
        Some(Duration::from_millis(ticks * 1_000 / per_second))
    }

    async fn malformed(&mut self) -> ChildFailure {
        let _ = self.end(false).await;
        ChildFailure::Malformed
    }

    /// Waits for its exit, or kills it, and returns why it was lost.
    async fn end(&mut self, out_of_time: bool) -> ChildFailure {
        if out_of_time {
            // This fails only if the child has already exited.
            let _ = self.child.kill().await;
            return ChildFailure::CpuLimit;
        }
        // The child has closed its pipes, so it is about to exit, unless it hangs.
        let status = match timeout(EXIT_TIMEOUT, self.child.wait()).await {
            Ok(exited) => exited.ok(),
            Err(_) => {
                let _ = self.child.kill().await;
                self.child.wait().await.ok()
            }
        };
        let mut last = [0_u8; MAX_STDERR];
        // The other end of the pipe is closed, so reading ends.
        let count = self.last.read(&mut last).await.unwrap_or_default();
        let last = String::from_utf8_lossy(last.get(..count).unwrap_or_default()).into_owned();
        let signal = status
            .and_then(|status| status.signal())
            .and_then(Signal::from_named_raw);
        match signal {
            Some(Signal::ABORT) if last.contains("memory allocation of") => {
                ChildFailure::MemoryLimit
            }
            Some(Signal::ABORT) if last.contains("overflowed its stack") => {
                ChildFailure::DepthLimit
            }
            // A stack overflow beyond the guard page; nothing else in the child could cause it.
            Some(Signal::SEGV) => ChildFailure::DepthLimit,
            Some(Signal::XCPU) => ChildFailure::CpuLimit,
            Some(Signal::KILL) => ChildFailure::Killed,
            _ => {
                let place = last.lines().next().unwrap_or_default();
                tracing::error!(event = "sandbox_child_failed", status = ?status, place);
                ChildFailure::Failed
            }
        }
    }
}
