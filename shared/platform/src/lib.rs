//! All AWS and Lambda glue: what a function needs to be a few lines of decisions.
//!
//! | module | holds |
//! |---|---|
//! | [`aws`] | the SDK's configuration, one HTTP client for all |
//! | [`client`] | HTTP, for all that a function calls |
//! | [`config`] | the environment, read once, all faults together |
//! | [`telemetry`] | JSON logs, an error once with its chain |
//! | [`clock`] | the time and random bytes |
//! | [`secrets`] | the keyring: keyed hashes, sealed texts |
//! | [`signing`] | signing secrets, sealed for their endpoint |
//! | [`tenant_credentials`] | credentials scoped to one tenant |
//! | [`tenant_secrets`] | secrets of workflows, sealed for their tenant |
//! | [`store`] | the table |
//! | [`cache`] | bounded caches in memory |
//! | [`blobs`] | the bucket |
//! | [`queue`] | the runs queue and its messages |
//! | [`runs`] | accepting a run: admission, input, item, message |
//! | [`journal`] | what happened in a run, entry by entry |
//! | [`definitions`] | definitions of versions, kept |
//! | [`entries`] | the log of a run, numbered |
//! | [`outbound`] | calls to hosts that a tenant names |
//! | [`batch`] | a batch of messages, each handled by itself |
//! | [`http`] | routers, authentication, problems, the server behind API Gateway |

pub mod aws;
pub mod batch;
pub mod blobs;
pub mod cache;
pub mod client;
pub mod clock;
pub mod config;
pub mod definitions;
pub mod entries;
pub mod http;
pub mod journal;
pub mod outbound;
pub mod queue;
pub mod runs;
pub mod secrets;
pub mod settle;
pub mod signing;
pub mod store;
pub mod telemetry;
pub mod tenant_credentials;
pub mod tenant_secrets;
