//! All of AIAS in one process, durable on one disk.
//!
//! The functions' libraries run unchanged: all routers in one server, the executor, the reconciler.
//! Where the SDK would open a connection to AWS, `services` answers in this process.
//!
//! ```text
//! request ─▶ front ─▶ routers of all functions ─▶ SDK ─▶ services ┬ table (SQLite) ─▶ disk_sync
//!                                                                 ├ queue ─▶ executor, reconciler
//!                                                                 ├ objects (files)
//!                                                                 └ secrets (file)
//! ```
//!
//! `docs/embedded.md` describes how to operate it.

mod backup;
mod data_folder;
mod disk_sync;
mod downloads;
mod expiry;
mod front;
mod installation;
mod metrics;
mod objects;
mod operate;
mod queue;
mod secrets;
mod serve;
mod services;
mod settings;
mod table;
mod work;

pub use backup::{CopyError, CopyOptions, copy};
pub use operate::{
    CreateKeyOptions, CreateTenantOptions, OperateError, SetEnterpriseOptions, create_key,
    create_tenant, set_enterprise,
};
pub use serve::{ServeError, ServeOptions, serve, serve_through};
pub use table::definition;
