//! What a child puts on itself before it reads a byte. None of it can be taken off again.

use std::{collections::BTreeMap, fs, io};

use rustix::process::{Resource, Rlimit, Signal, getrlimit, setrlimit};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch,
};

use crate::frame::Held;

/// Why a child does not begin.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("a limit cannot be set: {0}")]
    Limit(#[from] rustix::io::Errno),
    #[error("the process cannot look at itself: {0}")]
    Look(#[from] io::Error),
    #[error("a descriptor was inherited: {0}")]
    Inherited(String),
    #[error("the environment is not empty")]
    Environment,
}

/// Its pipes: orders, words, and what is left of it should it die.
const DESCRIPTORS: u64 = 3;

/// Seconds that a child may compute in its life. It is replaced long before.
const CPU_SECONDS: u64 = 600;

/// What programs, inputs and the allocator itself take, beside what a run may.
const HEADROOM: u64 = 32 * 1024 * 1024;

/// The stack that a computation may grow to: jq recurses on it.
const STACK_BYTES: u64 = 64 * 1024 * 1024;

/// Limits this process.
pub(crate) fn hold(memory_bytes: u64) -> Result<Held, Error> {
    // It ends with whoever began it, also when that one is killed.
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
    if std::env::vars_os().next().is_some() {
        return Err(Error::Environment);
    }
    // Where more than the default is not to be had, less deep is deep enough.
    let hard = getrlimit(Resource::Stack).maximum;
    let stack = Rlimit {
        current: Some(hard.map_or(STACK_BYTES, |hard| hard.min(STACK_BYTES))),
        maximum: hard,
    };
    setrlimit(Resource::Stack, stack)?;
    rustix::io::ioctl_fionbio(io::stdin(), true)?;
    let (total, data) = size()?;
    nothing_inherited()?;
    let limit = |resource, n| {
        let limit = Rlimit {
            current: Some(n),
            maximum: Some(n),
        };
        setrlimit(resource, limit)
    };
    let memory = memory_bytes + HEADROOM;
    // What can be written to is what a computation takes; the address space, in which the allocator
    // reserves more than it uses, is bounded too.
    limit(Resource::Data, data + memory)?;
    limit(Resource::As, total + STACK_BYTES + 2 * memory + RESERVED)?;
    limit(Resource::Cpu, CPU_SECONDS)?;
    limit(Resource::Nofile, DESCRIPTORS)?;
    limit(Resource::Nproc, 0)?;
    limit(Resource::Fsize, 0)?;
    limit(Resource::Core, 0)?;
    Ok(Held {
        memory_bytes,
        cpu_seconds: CPU_SECONDS,
        descriptors: DESCRIPTORS,
        seccomp: filter().is_some_and(|f| seccompiler::apply_filter(&f).is_ok()),
    })
}

/// Address space that the allocator may reserve without using it.
const RESERVED: u64 = 512 * 1024 * 1024;

/// This process's address space and its writable part, in bytes (`proc_pid_statm(5)`).
fn size() -> Result<(u64, u64), Error> {
    let statm = fs::read_to_string("/proc/self/statm")?;
    let pages: Vec<u64> = statm
        .split_whitespace()
        .filter_map(|n| n.parse().ok())
        .collect();
    let page = rustix::param::page_size() as u64;
    let bytes = |index: usize| pages.get(index).map(|n| n * page);
    match (bytes(0), bytes(5)) {
        (Some(total), Some(data)) => Ok((total, data)),
        _ => Err(io::Error::other("statm").into()),
    }
}

fn nothing_inherited() -> Result<(), Error> {
    for entry in fs::read_dir("/proc/self/fd")? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let target = fs::read_link(entry.path())?;
        let target = target.to_string_lossy();
        let own = name.parse().is_ok_and(|n: u64| n < DESCRIPTORS) && target.starts_with("pipe:");
        // The folder itself is open while it is read.
        if !own && !target.ends_with("/fd") {
            return Err(Error::Inherited(format!("{name}: {target}")));
        }
    }
    Ok(())
}

/// The system calls that computing takes: reading orders, writing words, memory, and an end. Any
/// other is refused.
fn filter() -> Option<BpfProgram> {
    let allowed = [
        libc::SYS_ppoll,
        libc::SYS_brk,
        libc::SYS_mmap,
        libc::SYS_munmap,
        libc::SYS_mremap,
        libc::SYS_mprotect,
        libc::SYS_madvise,
        libc::SYS_futex,
        libc::SYS_sched_yield,
        libc::SYS_clock_gettime,
        libc::SYS_getrandom,
        libc::SYS_sigaltstack,
        libc::SYS_rt_sigaction,
        libc::SYS_rt_sigprocmask,
        libc::SYS_rt_sigreturn,
        libc::SYS_restart_syscall,
        libc::SYS_getpid,
        libc::SYS_gettid,
        libc::SYS_tgkill,
        libc::SYS_exit,
        libc::SYS_exit_group,
    ];
    #[cfg(target_arch = "x86_64")]
    let allowed = allowed.into_iter().chain([libc::SYS_poll]);
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> =
        allowed.into_iter().map(|call| (call, vec![])).collect();
    let of = |descriptors: &[u64]| {
        let rules = descriptors.iter().map(|n| {
            let is = SeccompCondition::new(0, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, *n)?;
            SeccompRule::new(vec![is])
        });
        rules.collect::<Result<Vec<_>, _>>().ok()
    };
    rules.insert(libc::SYS_read, of(&[0])?);
    rules.insert(libc::SYS_write, of(&[1, 2])?);
    rules.insert(libc::SYS_writev, of(&[1, 2])?);
    let arch = TargetArch::try_from(std::env::consts::ARCH).ok()?;
    let filter = SeccompFilter::new(
        rules,
        // Not an end: the allocator asks for more than it needs, and does without.
        SeccompAction::Errno(libc::EPERM.unsigned_abs()),
        SeccompAction::Allow,
        arch,
    );
    filter.ok()?.try_into().ok()
}
