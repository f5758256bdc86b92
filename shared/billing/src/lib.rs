//! Everything about Stripe; no other crate depends on it.
//!
//! * [`Stripe`]: the API. Requests are those of the `async-stripe` crates. Only the members of a
//!   response that are used are parsed, so that an account may use another API version.
//! * [`event`]: webhooks, verified by `async-stripe-webhook`, parsed as facts of
//!   `aias_domain::subscription`.

mod client;
pub mod event;
mod object;

pub use client::{Error, InvoiceView, MeterReport, NewCheckout, Stripe, StripeSubscription};
