//! The access of all functions to AWS and Lambda.
//!
//! | module | content |
//! |---|---|
//! | [`aws`] | the SDK configuration with one HTTP client |
//! | [`client`] | the HTTP client for all outgoing requests |
//! | [`config`] | environment variables |
//! | [`telemetry`] | JSON logs |
//! | [`clock`] | the current time and random bytes |
//! | [`secrets`] | the keyring: keyed hashes, sealed strings |
//! | [`signing`] | signing secrets, sealed for their endpoint |
//! | [`tenant_credentials`] | credentials scoped to one tenant |
//! | [`tenant_secrets`] | workflow secrets, sealed for their tenant |
//! | [`store`] | the DynamoDB table |
//! | [`cache`] | bounded in-memory caches |
//! | [`blobs`] | the S3 bucket |
//! | [`queue`] | the runs queue and its messages |
//! | [`runs`] | accepting a run: admission, input, item, message |
//! | [`journal`] | reading and writing journals |
//! | [`definitions`] | a cache of definitions |
//! | [`run_log`] | the log of a run |
//! | [`outbound`] | requests to hosts that a tenant names |
//! | [`sqs`] | batches of SQS messages |
//! | [`apply_plan`] | applying a change of plan |
//! | [`http`] | routers, authentication, problems, the adapter to API Gateway |

pub mod apply_plan;
pub mod aws;
pub mod blobs;
pub mod cache;
pub mod client;
pub mod clock;
pub mod config;
pub mod definitions;
pub mod http;
pub mod journal;
pub mod outbound;
pub mod published_keys;
pub mod queue;
pub mod recording;
pub mod run_log;
pub mod runs;
pub mod secrets;
pub mod signing;
pub mod sqs;
pub mod step_view;
pub mod store;
pub mod telemetry;
pub mod tenant_credentials;
pub mod tenant_secrets;
