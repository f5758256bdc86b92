//! The workflow language: CNCF Serverless Workflow DSL 1.0 with jq expressions.
//!
//! ```text
//! text ──definition::read──▶ Value ──Program::compile──▶ Program ──Program::run──▶ Outcome
//!                                        │ all faults               │ a Record per step
//! ```
//! | file | holds |
//! |---|---|
//! | `definition` | a document's text to a value; the documents' own limits |
//! | `reader` | walking a document while noting every fault with its pointer |
//! | `program` | what a document compiles to |
//! | `compile` | compiling it |
//! | `policy` | catch filters and retry policies |
//! | `expression` | jq: checked, compiled once per version, evaluated |
//! | `prelude` | jq's own definitions |
//! | `plain` | expressions that need no interpreter |
//! | `template` | values with expressions in them |
//! | `schema` | JSON Schema at the points that the DSL names |
//! | `interpreter` | running a program |
//! | `error` | the DSL's errors |
//! | `value` | JSON values and jq values |
//!
//! It is sans-IO and deterministic: no clock, no randomness, no environment. Time is an argument
//! ([`Start::started_at`]); what happened is told to an [`Observer`]. A run that is cut off is run
//! again from the start and tells the same records in the same order.
//!
//! # Choices where the DSL leaves room
//! * An expression with no output is `null`, with more than one an array of them.
//! * `if` sees the task's raw input. A skipped task's output is its raw input, and its `then` does
//!   not apply.
//! * Where the DSL wants an expression (`if`, `when`, `in`, `while`, and the text of `from` and
//!   `as`), `${ }` around it may be left out. Elsewhere a text is an expression only with it.
//! * `for` wants an array. Each iteration's input is the output of the one before; `exit` ends the
//!   iteration.
//! * When the attempts of `retry` are used up, `catch.do` runs if there is one, else the error is
//!   raised again.
//! * `$task.startedAt` is the run's own start, because nothing here takes time.

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
mod openapi;
mod plain;
mod policy;
mod prelude;
mod program;
mod reader;
mod schema;
mod template;
mod value;

pub use error::{Error, Kind as ErrorKind};
pub use host::{Control, Event, Host, Record};
pub use interpreter::{Outcome, Start};
pub use program::Program;
pub use reader::Fault;
