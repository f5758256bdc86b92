//! The protocol between the executor and its child: a length, then that many bytes of postcard.
//! Data of a workflow, whose depth and size the workflow determines, is nested as JSON.
//!
//! The child is not trusted: its messages are limited in size and number, and are parsed as
//! strictly as a webhook.

use std::{borrow::Cow, sync::Arc};

use aias_domain::{
    json::{self, MAX_STORED_DEPTH},
    run::RunError,
};
use aias_engine::{
    Compiled, Record, StepData,
    journal::{Authentication, Effect, Key, PendingEffects, Request},
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;

/// The largest frame of a child, in bytes: an output, or all effects requested at once.
pub const MAX_REPORT: usize = 16 * 1024 * 1024;

/// The largest frame to a child, in bytes: an input with its journal.
pub const MAX_ORDER: usize = 128 * 1024 * 1024;

/// The size of a frame's header: the length of the rest, little-endian.
pub const HEAD: usize = 4;

/// A malformed frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("malformed frame")]
pub struct MalformedFrame;

/// An order to a child.
#[derive(Debug, Serialize, Deserialize)]
pub enum Order<'a> {
    /// Check whether a definition compiles.
    Compile(Cow<'a, str>),
    /// Run a program.
    Start(StartRun<'a>),
    /// Continue with a journal entry, as JSON.
    Entry(Cow<'a, [u8]>),
}

/// A run to start.
#[derive(Debug, Serialize, Deserialize)]
pub struct StartRun<'a> {
    /// The number of the program, under which the child keeps it.
    pub program: u64,
    /// The definition as JSON, unless the child has the program.
    pub definition: Option<Cow<'a, str>>,
    /// Whether the child first drops the programs that it has.
    pub forget: bool,
    /// `$workflow.id`.
    pub run_id: Cow<'a, str>,
    /// As JSON.
    pub input: Cow<'a, [u8]>,
    /// When the run was accepted.
    pub started_at: Timestamp,
    /// The step limit.
    pub max_steps: u32,
    /// The journal so far, as a JSON array.
    pub journal: Cow<'a, [u8]>,
    /// The nonce in the placeholders of secrets.
    pub secret_nonce: Cow<'a, str>,
    /// Whether the child reports the data of each step.
    pub with_data: bool,
}

/// A report of a child.
#[derive(Debug, Serialize, Deserialize)]
pub enum ChildReport<'a> {
    /// The first report: the child's limits.
    Ready(ChildLimits),
    Compiled(Compiled),
    /// A task ended, or waits.
    Step(Record),
    /// The data of a step, as JSON.
    StepData(Cow<'a, [u8]>),
    /// The run emitted its `n`-th event, as JSON.
    Emitted(u32, Cow<'a, [u8]>),
    /// The run needs one of these effects, as JSON.
    PendingEffects(Cow<'a, [u8]>),
    /// The output, as JSON.
    Completed(Cow<'a, [u8]>),
    /// The error, as JSON.
    Faulted(Cow<'a, [u8]>),
    /// The definition does not compile.
    Broken,
}

/// The limits of a child.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChildLimits {
    /// Bytes that it may allocate beyond what it started with.
    pub memory_bytes: u64,
    /// CPU seconds in its lifetime.
    pub cpu_seconds: u64,
    pub descriptors: u64,
    /// Whether seccomp refuses all system calls that it does not need.
    pub seccomp: bool,
}

/// Appends a frame.
///
/// # Errors
///
/// When it is larger than `max`.
pub fn write<T: Serialize>(
    frames: &mut Vec<u8>,
    message: &T,
    max: usize,
) -> Result<(), MalformedFrame> {
    let start = frames.len();
    frames.extend_from_slice(&[0; HEAD]);
    let length = postcard::to_io(message, &mut *frames)
        .map(|frames| frames.len())
        .unwrap_or(usize::MAX)
        .saturating_sub(start + HEAD);
    let head = u32::try_from(length).map_err(|_| MalformedFrame)?;
    match frames.get_mut(start..start + HEAD) {
        Some(place) if length <= max => place.copy_from_slice(&head.to_le_bytes()),
        _ => {
            frames.truncate(start);
            return Err(MalformedFrame);
        }
    }
    Ok(())
}

/// The first frame without its header; none if it is incomplete.
///
/// # Errors
///
/// When its length is more than `max`.
pub fn first(bytes: &[u8], max: usize) -> Result<Option<&[u8]>, MalformedFrame> {
    let Some((head, rest)) = bytes.split_first_chunk::<HEAD>() else {
        return Ok(None);
    };
    let length = usize::try_from(u32::from_le_bytes(*head)).map_err(|_| MalformedFrame)?;
    if length > max {
        return Err(MalformedFrame);
    }
    Ok(rest.get(..length))
}

/// Parses a frame.
///
/// # Errors
///
/// When it is malformed, or bytes follow the message.
pub fn read<'a, T: Deserialize<'a>>(frame: &'a [u8]) -> Result<T, MalformedFrame> {
    match postcard::take_from_bytes(frame) {
        Ok((message, [])) => Ok(message),
        Ok(_) | Err(_) => Err(MalformedFrame),
    }
}

/// An [`Effect`] with its credentials, which a journal does not contain.
#[derive(Debug, Serialize, Deserialize)]
struct EffectWithCredentials {
    key: Key,
    occurrence: u32,
    requested_at: Timestamp,
    request: Request,
    authentication: Option<Authentication>,
}

#[derive(Debug, Serialize, Deserialize)]
struct PendingWithCredentials {
    effects: Vec<EffectWithCredentials>,
    until: Option<Timestamp>,
}

/// Serializes requested effects.
#[must_use]
pub fn pending_json(pending: &PendingEffects) -> Vec<u8> {
    let whole = |effect: &Effect| EffectWithCredentials {
        key: effect.key.clone(),
        occurrence: effect.occurrence,
        requested_at: effect.requested_at,
        authentication: match &effect.request {
            Request::Http(request) => request.authentication.clone(),
            Request::Workflow(_) => None,
        },
        request: effect.request.clone(),
    };
    let pending = PendingWithCredentials {
        effects: pending.effects.iter().map(|effect| whole(effect)).collect(),
        until: pending.until,
    };
    serde_json::to_vec(&pending).unwrap_or_default()
}

/// Parses requested effects.
///
/// # Errors
///
/// When they are malformed.
pub fn pending_of(bytes: &[u8]) -> Result<PendingEffects, MalformedFrame> {
    let pending: PendingWithCredentials = of(bytes)?;
    let effect = |whole: EffectWithCredentials| Effect {
        key: whole.key,
        occurrence: whole.occurrence,
        requested_at: whole.requested_at,
        request: match whole.request {
            Request::Http(mut request) => {
                request.authentication = whole.authentication;
                Request::Http(request)
            }
            request @ Request::Workflow(_) => request,
        },
    };
    Ok(PendingEffects {
        effects: pending
            .effects
            .into_iter()
            .map(|whole| Arc::new(effect(whole)))
            .collect(),
        until: pending.until,
    })
}

/// How much deeper than its value a report is nested.
const REPORT_NESTING: usize = 8;

/// Parses a JSON value in a child's frame, up to the depth of stored values.
///
/// # Errors
///
/// When it is malformed.
pub fn value_of(bytes: &[u8]) -> Result<Value, MalformedFrame> {
    bounded(bytes, MAX_STORED_DEPTH)
}

/// Parses JSON up to a depth, since parsing is recursive.
fn bounded<T: DeserializeOwned>(bytes: &[u8], depth: usize) -> Result<T, MalformedFrame> {
    if json::is_deeper(bytes, depth) {
        return Err(MalformedFrame);
    }
    trusted(bytes)
}

/// Parses JSON in a frame to a child, which the function parsed before, so its depth is not
/// limited.
///
/// # Errors
///
/// When it is malformed.
pub fn trusted<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, MalformedFrame> {
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    deserializer.disable_recursion_limit();
    let value = T::deserialize(&mut deserializer).map_err(|_| MalformedFrame)?;
    deserializer
        .end()
        .map(|()| value)
        .map_err(|_| MalformedFrame)
}

/// Parses the data of a step.
///
/// # Errors
///
/// When it is malformed.
pub fn step_data_of(bytes: &[u8]) -> Result<StepData, MalformedFrame> {
    of(bytes)
}

/// Parses an error.
///
/// # Errors
///
/// When it is malformed.
pub fn error_of(bytes: &[u8]) -> Result<RunError, MalformedFrame> {
    of(bytes)
}

fn of<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, MalformedFrame> {
    bounded(bytes, MAX_STORED_DEPTH + REPORT_NESTING)
}
