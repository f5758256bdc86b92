//! What the executor and its child say to each other: a length, then so many bytes of postcard. What
//! has the form of the data itself, whose depth and size only its author knows, is JSON within.
//!
//! The child is not trusted: what it says is bounded in size and number, and read as strictly as a
//! webhook is.

use std::{borrow::Cow, sync::Arc};

use aias_domain::{
    json::{self, MAX_STORED_DEPTH},
    run::RunError,
};
use aias_engine::{
    Fault, Record,
    journal::{Asked, Authentication, Effect, Key, Request},
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;

/// The largest frame of a child, in bytes: an output, or all that a run asks for at once.
pub const MAX_WORD: usize = 16 * 1024 * 1024;

/// The largest frame to a child, in bytes: an input with its journal.
pub const MAX_ORDER: usize = 128 * 1024 * 1024;

/// What begins a frame: the length of the rest, little end first.
pub const HEAD: usize = 4;

/// Not a frame, or not one of these.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a frame that cannot be read")]
pub struct Garbage;

/// What a child is told to do.
#[derive(Debug, Serialize, Deserialize)]
pub enum Order<'a> {
    /// See whether a definition compiles.
    Compile(Cow<'a, str>),
    /// Run a program.
    Begin(Begin<'a>),
    /// Go on: an entry of the journal as JSON.
    Entry(Cow<'a, [u8]>),
}

/// A run to begin.
#[derive(Debug, Serialize, Deserialize)]
pub struct Begin<'a> {
    /// Names the program; the child keeps it.
    pub program: u64,
    /// Its definition as JSON, unless the child has the program. With it the child forgets those
    /// that it has, if `forget` says so.
    pub definition: Option<Cow<'a, str>>,
    /// See there.
    pub forget: bool,
    /// `$workflow.id`.
    pub run_id: Cow<'a, str>,
    /// The input as JSON.
    pub input: Cow<'a, [u8]>,
    /// When it was accepted.
    pub started_at: Timestamp,
    /// Steps that it may execute.
    pub max_steps: u32,
    /// What happened so far: entries as a JSON array.
    pub journal: Cow<'a, [u8]>,
    /// What stands for secrets is known by it.
    pub mark: Cow<'a, str>,
}

/// What a child says.
#[derive(Debug, Serialize, Deserialize)]
pub enum Word<'a> {
    /// First of all: what holds it.
    Ready(Held),
    /// What is wrong with a definition; nothing, when it compiles.
    Compiled(Vec<Fault>),
    /// A step is over, or waits.
    Step(Record),
    /// The run emitted its `n`-th event, as JSON.
    Emitted(u32, Cow<'a, [u8]>),
    /// It cannot go on without one of these, as JSON.
    Asked(Cow<'a, [u8]>),
    /// It has its output, as JSON.
    Completed(Cow<'a, [u8]>),
    /// It has an error, as JSON.
    Faulted(Cow<'a, [u8]>),
    /// The definition does not compile any more.
    Broken,
}

/// What holds a child.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    /// Bytes that it may take beyond what it began with.
    pub memory_bytes: u64,
    /// Seconds that it may compute in its life.
    pub cpu_seconds: u64,
    /// Descriptors that it may have.
    pub descriptors: u64,
    /// Whether the kernel refuses it every system call that it does not need.
    pub seccomp: bool,
}

/// Appends a frame.
///
/// # Errors
/// [`Garbage`] for one beyond `max`.
pub fn write<T: Serialize>(frames: &mut Vec<u8>, message: &T, max: usize) -> Result<(), Garbage> {
    let start = frames.len();
    frames.extend_from_slice(&[0; HEAD]);
    let length = postcard::to_io(message, &mut *frames)
        .map(|frames| frames.len())
        .unwrap_or(usize::MAX)
        .saturating_sub(start + HEAD);
    let head = u32::try_from(length).map_err(|_| Garbage)?;
    match frames.get_mut(start..start + HEAD) {
        Some(place) if length <= max => place.copy_from_slice(&head.to_le_bytes()),
        _ => {
            frames.truncate(start);
            return Err(Garbage);
        }
    }
    Ok(())
}

/// The first frame of these bytes, without its head; none before all of it is there.
///
/// # Errors
/// [`Garbage`] when it says that it is longer than `max`.
pub fn first(bytes: &[u8], max: usize) -> Result<Option<&[u8]>, Garbage> {
    let Some((head, rest)) = bytes.split_first_chunk::<HEAD>() else {
        return Ok(None);
    };
    let length = usize::try_from(u32::from_le_bytes(*head)).map_err(|_| Garbage)?;
    if length > max {
        return Err(Garbage);
    }
    Ok(rest.get(..length))
}

/// A frame's message.
///
/// # Errors
/// [`Garbage`] when it is none, or when something follows it.
pub fn read<'a, T: Deserialize<'a>>(frame: &'a [u8]) -> Result<T, Garbage> {
    match postcard::take_from_bytes(frame) {
        Ok((message, [])) => Ok(message),
        Ok(_) | Err(_) => Err(Garbage),
    }
}

/// An [`Effect`] with its credentials, which its journal never has.
#[derive(Debug, Serialize, Deserialize)]
struct Whole {
    key: Key,
    occurrence: u32,
    asked_at: Timestamp,
    request: Request,
    authentication: Option<Authentication>,
}

#[derive(Debug, Serialize, Deserialize)]
struct WholeAsked {
    effects: Vec<Whole>,
    until: Option<Timestamp>,
}

/// What a run asks for, as JSON.
#[must_use]
pub fn asked_json(asked: &Asked) -> Vec<u8> {
    let whole = |effect: &Effect| Whole {
        key: effect.key.clone(),
        occurrence: effect.occurrence,
        asked_at: effect.asked_at,
        authentication: match &effect.request {
            Request::Http(request) => request.authentication.clone(),
            Request::Workflow(_) => None,
        },
        request: effect.request.clone(),
    };
    let asked = WholeAsked {
        effects: asked.effects.iter().map(|effect| whole(effect)).collect(),
        until: asked.until,
    };
    serde_json::to_vec(&asked).unwrap_or_default()
}

/// The same, read.
///
/// # Errors
/// [`Garbage`].
pub fn asked_of(bytes: &[u8]) -> Result<Asked, Garbage> {
    let asked: WholeAsked = of(bytes)?;
    let effect = |whole: Whole| Effect {
        key: whole.key,
        occurrence: whole.occurrence,
        asked_at: whole.asked_at,
        request: match whole.request {
            Request::Http(mut request) => {
                request.authentication = whole.authentication;
                Request::Http(request)
            }
            request @ Request::Workflow(_) => request,
        },
    };
    Ok(Asked {
        effects: asked
            .effects
            .into_iter()
            .map(|whole| Arc::new(effect(whole)))
            .collect(),
        until: asked.until,
    })
}

/// How much deeper than a value what is told of it may be.
const WRAPPED: usize = 8;

/// A JSON value of a child's frame, no deeper than what is stored.
///
/// # Errors
/// [`Garbage`].
pub fn value_of(bytes: &[u8]) -> Result<Value, Garbage> {
    bounded(bytes, MAX_STORED_DEPTH)
}

/// What is in a frame, if it is no deeper than that: reading it recurses.
fn bounded<T: DeserializeOwned>(bytes: &[u8], depth: usize) -> Result<T, Garbage> {
    if json::is_deeper(bytes, depth) {
        return Err(Garbage);
    }
    trusted(bytes)
}

/// What is in a frame to a child, which has read all of it before, whatever its depth.
///
/// # Errors
/// [`Garbage`].
pub fn trusted<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Garbage> {
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    deserializer.disable_recursion_limit();
    let value = T::deserialize(&mut deserializer).map_err(|_| Garbage)?;
    deserializer.end().map(|()| value).map_err(|_| Garbage)
}

/// An error of a frame.
///
/// # Errors
/// [`Garbage`].
pub fn error_of(bytes: &[u8]) -> Result<RunError, Garbage> {
    of(bytes)
}

fn of<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Garbage> {
    bounded(bytes, MAX_STORED_DEPTH + WRAPPED)
}
