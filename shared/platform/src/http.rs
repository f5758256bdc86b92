//! HTTP: the building blocks of the functions' routers, and the adapter that serves them behind API
//! Gateway.
//!
//! ```text
//! event ─▶ gateway ─▶ layers (log, headers, version) ─▶ authentication ─▶ handler ─▶ response
//!                                  ╰─────── Problem ───────╯
//! ```
//! A function's library exports its routes and state without anything of Lambda: [`service`] makes
//! a router from them, [`run`] serves it.

mod api;
mod audit;
mod auth;
mod conflict;
mod context;
mod extract;
mod gateway;
mod idempotency;
mod layers;
mod oidc;
pub mod openapi;
pub mod problem;
mod query;
mod rate_limit;
mod request;
pub mod response;
pub mod routes;
mod time;
mod tokens;

pub use api::{Api, HasApi};
pub use audit::{Change, shown};
pub use auth::{
    Actor, Auth, Authenticated, Caller, Identity, Issuer, SECRET_LENGTH, TOKEN_PREFIX,
    is_secret_form, parts_of_key,
};
pub use conflict::retry_on_conflict;
pub use context::{Admin, Authorized, Context, DeletingOwner, Editor, Identified, Owner, Viewer};
pub use extract::{JsonBody, Path, RawBody, RequestBody, parse, present};
pub use gateway::{Gateway, run};
pub use idempotency::{Once, is_replayed};
pub use layers::service;
pub use oidc::SignIn;
pub use problem::{Fault, Problem, kinds};
pub use query::{List, NoFilter, NoQuery, PageParams, Parameters, Query, whole_list};
pub use rate_limit::{RATE_LIMIT, RATE_LIMIT_POLICY, RateState};
pub use request::{Head, Origin};
pub use response::{Response, Result, WithHeader};
pub use routes::Routes;
pub use time::QueryTime;

/// The version of the API.
pub const API_VERSION: &str = "2026-11-01";
