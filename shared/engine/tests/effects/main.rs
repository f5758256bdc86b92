//! Tasks that reach out of a workflow or let time pass: what they ask for, and what they make of the
//! answers.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test")]

mod branches;
mod calls;
mod components;
mod time;
mod world;
