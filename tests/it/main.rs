//! AIAS as a whole: the functions in this process, and the deployed stack.

#![expect(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "tests"
)]

mod api;
mod auth;
mod budget;
mod crash;
mod events;
mod isolation;
mod run;
mod signature;
mod store;
mod webhook;
