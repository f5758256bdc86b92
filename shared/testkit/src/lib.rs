//! Shared test fixtures: an in-process DynamoDB, a connection that counts and fails calls, the
//! deployed stack. Only a dev-dependency.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::missing_panics_doc,
    reason = "a test that cannot be set up has failed"
)]

pub mod aws;
pub mod dynamodb;
pub mod hosts;
pub mod issuer;
pub mod stack;
pub mod wire;
