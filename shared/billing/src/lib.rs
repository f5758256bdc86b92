//! The only crate that has heard of Stripe.
//!
//! * [`Stripe`]: its API. Requests are those of `async-stripe`'s crates; of an answer only the
//!   members that are used are read, so that an account on another API version is read all the same.
//! * [`event`]: its webhooks, verified by `async-stripe-webhook`, read as facts of
//!   `aias_domain::subscription`.

mod client;
pub mod event;
mod object;

pub use client::{Error, Found, InvoiceView, Metered, NewCheckout, Stripe};
