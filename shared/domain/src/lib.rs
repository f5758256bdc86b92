//! The rules of AIAS as values and pure functions, without I/O, clock or randomness.
//!
//! Time and random bytes are arguments, so a rule always gives the same result for the same
//! arguments.

pub mod admission;
pub mod artifact;
pub mod audit;
pub mod canonical;
pub mod counted;
pub mod delivery;
pub mod endpoint;
pub mod event;
pub mod id;
pub mod json;
pub mod log;
pub mod name;
pub mod plan;
pub mod run;
pub mod sample;
pub mod secret;
pub mod subscription;
pub mod tenant;
pub mod timestamp;
pub mod verification;
pub mod workflow;
