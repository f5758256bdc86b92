//! Two ways to test AIAS: [`mod@bench`] calls the functions in this process, over a connection that
//! counts and fails calls; [`mod@client`] calls the deployed stack. For measurements,
//! [`mod@lambda`] runs a function's binary in the environment of [`mod@measured`].

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::missing_panics_doc,
    reason = "a test that cannot be set up has failed"
)]

pub mod api;
pub mod bench;
pub mod client;
pub mod cloud;
pub mod contract;
pub mod embedded;
pub mod errors;
pub mod figures;
pub mod hosts;
pub mod lambda;
pub mod measured;
pub mod sources;
pub mod zips;
