//! Two ways to test AIAS as a whole: [`mod@bench`] calls the functions in this process, on a wire that
//! counts and breaks; [`mod@client`] calls the deployed stack as anybody would. And one to measure:
//! [`mod@lambda`] runs a function's binary, in a world that is [`mod@measured`].

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
pub mod figures;
pub mod hosts;
pub mod lambda;
pub mod measured;
pub mod zips;
