//! The rules of AIAS, as values and pure functions: no I/O, no clock, no randomness.
//!
//! Time and random bytes are arguments, so that every rule has one answer.

pub mod admission;
pub mod artifact;
pub mod audit;
pub mod canonical;
pub mod endpoint;
pub mod event;
pub mod id;
pub mod json;
pub mod log;
pub mod plan;
pub mod run;
pub mod secret;
pub mod subscription;
pub mod tenant;
pub mod text;
pub mod verification;
pub mod workflow;
