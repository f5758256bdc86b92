//! AIAS as a whole: the functions in this process, and the deployed stack.

#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod admission;
mod api;
mod audit;
mod auth;
mod billing;
mod budget;
mod conformance;
mod crash;
mod effects;
mod engine;
mod events;
mod fuzz;
mod iam;
mod isolation;
mod outbound;
mod plan;
mod run;
mod sandbox;
mod signature;
mod store;
mod stripe;
mod suspended;
mod webhook;
