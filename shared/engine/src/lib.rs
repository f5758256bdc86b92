//! The workflow language: CNCF Serverless Workflow DSL 1.0 with jq expressions.
//!
//! ```text
//! text ──definition::read──▶ Value ──Program::compile──▶ Program ──Program::run──▶ Outcome
//!                                      │ faults            ▲ journal    │ steps, events, effects
//! ```
//!
//! | file | content |
//! |---|---|
//! | `definition` | parsing a document |
//! | `reader` | walking a document and collecting faults with pointers |
//! | `compile` | compiling a document, with `compile::authentication` and `compile::policy` |
//! | `program` | the compiled form of a document |
//! | `duration`, `endpoint`, `emit` | these parts of a definition |
//! | `expression` | jq: checked, compiled once per version, evaluated |
//! | `prelude`, `natives` | jq's standard definitions and native functions |
//! | `plain` | expressions that need no interpreter |
//! | `step_data` | the data of a step, for hosts that show it |
//! | `suggest` | suggestions for misspelt names |
//! | `template` | values that contain expressions |
//! | `interpreter` | executing a program |
//! | `journal` | requested effects and their results |
//! | `host` | the interface to the host of a run |
//! | `http`, `openapi` | requests and responses as values |
//! | `error` | the DSL's errors |
//! | `value` | JSON values and jq values |
//!
//! The engine does no I/O and is deterministic: it has no clock, no randomness and no environment.
//! It requests effects ([`journal::Effect`]); their results, including the time, are passed in
//! ([`journal::Entry`]). The same program, input and journal give the same steps, effects and bytes.
//!
//! `docs/engine.md` lists the choices where the DSL leaves room, the differences from jq, and all
//! limits.

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
mod prelude;
mod program;
mod reader;
mod step_data;
mod suggest;
mod template;
mod value;

pub use compile::authentication::of_secret;
pub use error::{Error, Kind as ErrorKind};
pub use host::{Control, Event, Host, Record};
pub use interpreter::{Input, Outcome, Start};
pub use program::{Compiled, Program};
pub use reader::Fault;
pub use step_data::{Call, CallRequest, CallResult, Evaluation, Excerpt, StepData, StepValue};
pub use suggest::did_you_mean;
