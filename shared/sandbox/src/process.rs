//! A child, from outside.

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
    Definition, Lost, SHORT,
    child::ARGUMENT,
    frame::{self, HEAD, Held, MAX_ORDER, MAX_WORD, Word},
};

/// A child process. It is killed when this is dropped.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    orders: Sender,
    words: Receiver,
    last: ChildStderr,
    /// Where it is read to, and what was.
    room: Box<[u8]>,
    heard: Vec<u8>,
    /// How much of it was understood.
    done: usize,
    /// What it may take.
    pub(crate) computing: Computing,
    /// The programs that it keeps, and how large their definitions are.
    pub(crate) programs: Vec<u64>,
    program_bytes: usize,
    uses: u32,
    begun: Instant,
    silence: Option<Silence>,
    /// What holds it, once it has said so.
    pub(crate) held: Option<Held>,
}

/// Since its last word.
#[derive(Debug, Clone, Copy)]
struct Silence {
    look_at: Instant,
    /// What it had computed at the first look.
    computed: Option<Duration>,
}

/// How long after its last word a look is taken at what it has computed since.
const FIRST_LOOK: Duration = Duration::from_millis(50);

/// What programs a child keeps at most, and of how many bytes of definitions.
const MAX_PROGRAMS: usize = 32;
const MAX_PROGRAM_BYTES: usize = 256 * 1024;

/// How long a child may have computed before it is replaced, and how often that is looked at. A run
/// may take twenty seconds, so that its limit of 600 is never met.
const LIFE: Duration = Duration::from_secs(60);
const USES_PER_LOOK: u32 = 16;

/// The first descriptor that is none of a child's pipes.
const FIRST_OTHER: i32 = 3;

/// How many bytes are read at once.
const READ_BYTES: usize = 64 * 1024;

/// How long a child that has closed its pipes may take to exit.
const EXIT_TIMEOUT: Duration = Duration::from_millis(500);

/// How much of a dead child's last words is read, in bytes.
const LAST_WORDS: usize = 1024;

impl Process {
    pub(crate) fn begin(binary: &Path, computing: Computing) -> io::Result<Self> {
        // What this process inherited itself is not to go on to the child.
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
        let (Some(orders), Some(words), Some(last)) = pipes else {
            return Err(io::Error::other("a child without pipes"));
        };
        Ok(Self {
            child,
            orders: Sender::from_owned_fd(orders.into_owned_fd()?)?,
            words: Receiver::from_owned_fd(words.into_owned_fd()?)?,
            last,
            room: vec![0; READ_BYTES].into_boxed_slice(),
            heard: Vec::new(),
            done: 0,
            computing,
            programs: Vec::new(),
            program_bytes: 0,
            uses: 0,
            begun: Instant::now(),
            silence: None,
            held: None,
        })
    }

    /// Has it keep a definition's program: the text, unless it has it, and whether it is to forget
    /// the others first.
    pub(crate) fn learn<'a>(&mut self, definition: &'a Definition) -> (Option<&'a str>, bool) {
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

    /// Whether it was begun for what it runs.
    pub(crate) fn is_new(&self) -> bool {
        self.uses == 0
    }

    /// Whether it may run something else: it has said all, and is not old.
    pub(crate) fn may_stay(&mut self) -> bool {
        self.uses += 1;
        let looks = self.uses.is_multiple_of(USES_PER_LOOK);
        let is_old = || self.computed() > LIFE;
        self.heard.is_empty() && !(looks && is_old())
    }

    /// Tells it something.
    pub(crate) async fn tell(&mut self, order: &impl Serialize) -> Result<(), Lost> {
        let mut bytes = Vec::new();
        frame::write(&mut bytes, order, MAX_ORDER).map_err(|_| Lost::TooLarge)?;
        match self.orders.write_all(&bytes).await {
            Ok(()) => Ok(()),
            Err(_) => Err(self.end(false).await),
        }
    }

    /// Reads its next word, which must come before it has computed for a whole segment. May be
    /// dropped and called again.
    pub(crate) async fn hear<T>(
        &mut self,
        read: impl FnOnce(Word<'_>) -> Result<T, frame::Garbage>,
    ) -> Result<T, Lost> {
        loop {
            let bytes = self.heard.get(self.done..).unwrap_or_default();
            let Ok(found) = frame::first(bytes, MAX_WORD) else {
                return Err(self.garbage().await);
            };
            if let Some(frame) = found {
                let length = HEAD + frame.len();
                let word = frame::read(frame).and_then(read);
                self.done += length;
                if self.done >= self.heard.len() {
                    self.heard.clear();
                    self.done = 0;
                }
                return match word {
                    Ok(word) => Ok(word),
                    Err(frame::Garbage) => Err(self.garbage().await),
                };
            }
            self.listen().await?;
        }
    }

    /// Waits until there is more to read.
    async fn listen(&mut self) -> Result<(), Lost> {
        if self.done > 0 {
            self.heard.drain(..self.done);
            self.done = 0;
        }
        if self.look().await? {
            return Ok(());
        }
        loop {
            let first = Silence {
                look_at: Instant::now() + FIRST_LOOK,
                computed: None,
            };
            let silence = *self.silence.get_or_insert(first);
            tokio::select! {
                // It knows of a read that was short that there is no more.
                count = self.words.read(&mut self.room) => match count {
                    Ok(0) | Err(_) => return Err(self.end(false).await),
                    Ok(count) => {
                        self.take_in(count);
                        return Ok(());
                    }
                },
                () = sleep_until(silence.look_at) => {
                    let computed = self.computed();
                    let since = silence.computed.unwrap_or(computed);
                    let segment = Duration::from_millis(self.computing.segment_ms.into());
                    let left = segment.saturating_sub(computed.saturating_sub(since));
                    if left.is_zero() {
                        return Err(self.end(true).await);
                    }
                    self.silence = Some(Silence {
                        look_at: Instant::now() + left.max(FIRST_LOOK / 5),
                        computed: Some(since),
                    });
                }
            }
        }
    }

    /// Looks whether there is more to read for as long as a short run takes: to wake a core that has
    /// gone to sleep costs more than such a run. Whoever else wants this core gets it meanwhile.
    async fn look(&mut self) -> Result<bool, Lost> {
        let begun = Instant::now();
        while begun.elapsed() < SHORT {
            tokio::task::yield_now().await;
            match rustix::io::read(&self.words, &mut *self.room) {
                Ok(0) => return Err(self.end(false).await),
                Ok(count) => {
                    self.take_in(count);
                    return Ok(true);
                }
                Err(Errno::AGAIN | Errno::INTR) => std::thread::yield_now(),
                Err(_) => return Err(self.end(false).await),
            }
        }
        Ok(false)
    }

    fn take_in(&mut self, count: usize) {
        let read = self.room.get(..count).unwrap_or_default();
        self.heard.extend_from_slice(read);
        self.silence = None;
    }

    /// How long it has computed in its life; where that cannot be seen, how long it has lived.
    fn computed(&self) -> Duration {
        self.told_by_kernel()
            .unwrap_or_else(|| self.begun.elapsed())
    }

    /// `proc_pid_stat(5)`: `utime` and `stime`.
    fn told_by_kernel(&self) -> Option<Duration> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id()?)).ok()?;
        let after_name = stat.rsplit_once(')')?.1;
        let mut fields = after_name.split_whitespace().skip(11);
        let ticks: u64 =
            fields.next()?.parse::<u64>().ok()? + fields.next()?.parse::<u64>().ok()?;
        let per_second = rustix::param::clock_ticks_per_second().max(1);
        Some(Duration::from_millis(ticks * 1_000 / per_second))
    }

    async fn garbage(&mut self) -> Lost {
        let _ = self.end(false).await;
        Lost::Garbage
    }

    /// Waits for its exit, or kills it, and reports why it was lost.
    async fn end(&mut self, out_of_time: bool) -> Lost {
        if out_of_time {
            // It fails only when the child has exited.
            let _ = self.child.kill().await;
            return Lost::Computing;
        }
        // The child has closed its pipes: it is about to exit, unless its program is broken.
        let status = match timeout(EXIT_TIMEOUT, self.child.wait()).await {
            Ok(exited) => exited.ok(),
            Err(_) => {
                let _ = self.child.kill().await;
                self.child.wait().await.ok()
            }
        };
        let mut last = [0_u8; LAST_WORDS];
        // The pipe's other end is closed, so that reading ends too.
        let count = self.last.read(&mut last).await.unwrap_or_default();
        let last = String::from_utf8_lossy(last.get(..count).unwrap_or_default()).into_owned();
        let signal = status
            .and_then(|status| status.signal())
            .and_then(Signal::from_named_raw);
        match signal {
            Some(Signal::ABORT) if last.contains("memory allocation of") => Lost::Memory,
            Some(Signal::ABORT) if last.contains("overflowed its stack") => Lost::Depth,
            // Beyond a stack that has grown since it began; nothing else here could.
            Some(Signal::SEGV) => Lost::Depth,
            Some(Signal::XCPU) => Lost::Computing,
            Some(Signal::KILL) => Lost::Killed,
            _ => {
                let place = last.lines().next().unwrap_or_default();
                tracing::error!(status = ?status, place, "the engine's child failed");
                Lost::Failed
            }
        }
    }
}
