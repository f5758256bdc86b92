//! Limits that a child sets for itself before it reads anything. None of them can be removed.

use std::{collections::BTreeMap, fs, io};

use rustix::process::{Resource, Rlimit, Signal, getrlimit, setrlimit};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch,
};

use crate::frame::ChildLimits;

/// Why a child does not start.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("a limit cannot be set: {0}")]
    Limit(#[from] rustix::io::Errno),
    #[error("the state of the process cannot be read: {0}")]
    Look(#[from] io::Error),
    #[error("a descriptor was inherited: {0}")]
    Inherited(String),
    #[error("the environment is not empty")]
    Environment,
}

/// Its three pipes: orders, reports, and standard error.
const DESCRIPTORS: u64 = 3;

/// CPU seconds of a child. It is replaced long before.
const CPU_SECONDS: u64 = 600;

/// Memory for programs, inputs and the allocator, in addition to the limit of a run.
const HEADROOM: u64 = 32 * 1024 * 1024;

/// The stack limit; jq recurses on the stack.
const STACK_BYTES: u64 = 64 * 1024 * 1024;

/// Sets the limits.
pub(crate) fn apply(memory_bytes: u64) -> Result<ChildLimits, Error> {
    // The child must not outlive the function, even if that is killed.
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
    if std::env::vars_os().next().is_some() {
        return Err(Error::Environment);
    }
    // If the hard limit is lower, the stack is limited to it.
    let hard = getrlimit(Resource::Stack).maximum;
    let stack = Rlimit {
        current: Some(hard.map_or(STACK_BYTES, |hard| hard.min(STACK_BYTES))),
        maximum: hard,
    };
    setrlimit(Resource::Stack, stack)?;
    rustix::io::ioctl_fionbio(io::stdin(), true)?;
    let (total, data) = size()?;
    check_inherited()?;
    let limit = |resource, n| {
        let limit = Rlimit {
            current: Some(n),
            maximum: Some(n),
        };
        setrlimit(resource, limit)
    };
    let memory = memory_bytes + HEADROOM;
    // The data segment is what a computation uses. The address space, of which the allocator
    // reserves more than it uses, is also limited.
    limit(Resource::Data, data + memory)?;
    limit(Resource::As, total + STACK_BYTES + 2 * memory + RESERVED)?;
    limit(Resource::Cpu, CPU_SECONDS)?;
    limit(Resource::Nofile, DESCRIPTORS)?;
    limit(Resource::Nproc, 0)?;
    limit(Resource::Fsize, 0)?;
    limit(Resource::Core, 0)?;
    Ok(ChildLimits {
        memory_bytes,
        cpu_seconds: CPU_SECONDS,
        descriptors: DESCRIPTORS,
        seccomp: filter().is_some_and(|f| seccompiler::apply_filter(&f).is_ok()),
    })
}

/// Address space that the allocator may reserve without using it.
const RESERVED: u64 = 512 * 1024 * 1024;

/// The address space and the writable memory of this process, in bytes (`proc_pid_statm(5)`).
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

fn check_inherited() -> Result<(), Error> {
    for entry in fs::read_dir("/proc/self/fd")? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let target = fs::read_link(entry.path())?;
        let target = target.to_string_lossy();
        let own = name.parse().is_ok_and(|n: u64| n < DESCRIPTORS) && target.starts_with("pipe:");
        // Reading the directory opens it.
        if !own && !target.ends_with("/fd") {
            return Err(Error::Inherited(format!("{name}: {target}")));
        }
    }
    Ok(())
}

/// The system calls that computing needs: reading orders, writing reports, memory, exit. All others
/// are refused.
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
    // A panic that aborts signals its own thread.
    let own_process = u64::from(std::process::id());
    rules.insert(libc::SYS_tgkill, of(&[own_process])?);
    let arch = TargetArch::try_from(std::env::consts::ARCH).ok()?;
    let filter = SeccompFilter::new(
        rules,
        // Not fatal, since the allocator tries more than it needs.
        SeccompAction::Errno(libc::EPERM.unsigned_abs()),
        SeccompAction::Allow,
        arch,
    );
    filter.ok()?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a program of classic BPF returns for a system call (seccomp(2), `struct seccomp_data`).
    fn verdict(program: &BpfProgram, call: i64, first_argument: u64) -> u32 {
        let arch: u32 = if cfg!(target_arch = "aarch64") {
            0xc000_00b7
        } else {
            0xc000_003e
        };
        let mut data = u32::try_from(call).unwrap().to_ne_bytes().to_vec();
        data.extend(arch.to_ne_bytes());
        data.extend(0_u64.to_ne_bytes());
        data.extend(first_argument.to_ne_bytes());
        data.resize(64, 0);
        let (mut at, mut value) = (0, 0_u32);
        loop {
            let step = &program[at];
            at += 1;
            let jump = |holds: bool| usize::from(if holds { step.jt } else { step.jf });
            match step.code {
                0x20 => {
                    let from = usize::try_from(step.k).unwrap();
                    value = u32::from_ne_bytes(data[from..from + 4].try_into().unwrap());
                }
                0x54 => value &= step.k,
                0x05 => at += usize::try_from(step.k).unwrap(),
                0x15 => at += jump(value == step.k),
                0x25 => at += jump(value > step.k),
                0x35 => at += jump(value >= step.k),
                0x06 => return step.k,
                code => panic!("unknown instruction {code:#x}"),
            }
        }
    }

    #[test]
    fn child_signals_and_writes_only_what_is_its_own() {
        let program = filter().unwrap();
        let own = u64::from(std::process::id());
        let allowed = |call: i64, first: u64| verdict(&program, call, first) == 0x7fff_0000;
        assert!(allowed(libc::SYS_tgkill, own));
        assert!(!allowed(libc::SYS_tgkill, own + 1));
        assert!(!allowed(libc::SYS_tgkill, 1));
        assert!(allowed(libc::SYS_read, 0));
        assert!(!allowed(libc::SYS_read, 3));
        assert!(allowed(libc::SYS_write, 1));
        assert!(!allowed(libc::SYS_write, 0));
        for call in [
            libc::SYS_kill,
            libc::SYS_socket,
            libc::SYS_execve,
            libc::SYS_openat,
        ] {
            assert!(!allowed(call, 0), "{call}");
        }
    }
}
