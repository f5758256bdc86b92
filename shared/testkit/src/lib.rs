//! What tests share: DynamoDB in the process, a wire that counts and fails, the deployed stack.
//! Never a dependency of a function.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::missing_panics_doc,
    reason = "a test that cannot be set up has failed"
)]

pub mod aws;
pub mod dynamodb;
pub mod hosts;
pub mod issuer;
pub mod stack;
pub mod wire;
