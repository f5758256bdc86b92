//! Tasks with effects or timers: what they request, and how they use the results.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test")]

mod branches;
mod calls;
mod components;
mod time;
mod world;
