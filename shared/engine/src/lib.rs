//! The workflow language: CNCF Serverless Workflow DSL 1.0 with jq expressions.
//!
//! ```text
//! text ──definition::read──▶ Value ──Program::compile──▶ Program ──Program::run──▶ Outcome
//!                                        │ all faults      ▲ journal    │ steps, events, wishes
//! ```
//! | file | holds |
//! |---|---|
//! | `definition` | a document's text to a value; the documents' own limits |
//! | `reader` | walking a document while noting every fault with its pointer |
//! | `program` | what a document compiles to |
//! | `compile` | compiling it |
//! | `policy` | catch filters and retry policies |
//! | `authentication`, `duration`, `endpoint`, `emit` | these parts of a definition |
//! | `expression` | jq: checked, compiled once per version, evaluated |
//! | `prelude`, `natives` | jq's own definitions and functions |
//! | `plain` | expressions that need no interpreter |
//! | `template` | values with expressions in them |
//! | `interpreter` | running a program |
//! | `journal` | what a run asks for, and what happened |
//! | `host` | who runs it: is told of steps, gives entries |
//! | `http`, `openapi` | requests and responses, as values |
//! | `error` | the DSL's errors |
//! | `value` | JSON values and jq values |
//!
//! It is sans-IO and deterministic: no clock, no randomness, no environment. What it needs of the world
//! it asks for ([`journal::Effect`]); what happened, time included, it is given ([`journal::Entry`]). The
//! same program, input and journal give the same steps, wishes and bytes.
//!
//! The choices where the DSL leaves room, what differs from jq, and all bounds are in
//! `docs/engine.md`.

mod authentication;
mod compile;
pub mod definition;
mod duration;
mod emit;
mod endpoint;
mod error;
mod expression;
mod host;
mod http;
mod interpreter;
pub mod journal;
mod natives;
mod openapi;
mod plain;
mod policy;
mod prelude;
mod program;
mod reader;
mod template;
mod value;

pub use authentication::of_secret;
pub use error::{Error, Kind as ErrorKind};
pub use host::{Control, Event, Host, Record};
pub use interpreter::{Input, Outcome, Start};
pub use program::Program;
pub use reader::Fault;
