//! Logs: JSON lines (`docs/logging.md`).

use std::{error::Error, fmt};

use tracing::level_filters::LevelFilter;
use tracing_subscriber::{filter::Targets, prelude::*, registry};

use crate::config::Env;

/// Writes JSON lines to standard output, each with the name of the function and the fields of its
/// spans. `LOG_LEVEL` is a filter such as `info`.
pub fn init(function: &'static str) {
    init_with(function, &Env::of_process());
}

/// As [`init`], with other variables.
pub fn init_with(function: &'static str, env: &Env) {
    let info = Targets::new().with_default(LevelFilter::INFO);
    let filter = quiet(env.parsed("LOG_LEVEL", info));
    let lines = json_subscriber::layer()
        .flatten_event(true)
        .with_current_span(false)
        .with_span_list(false)
        .flatten_span_list_on_top_level(true)
        .with_target(false);
    // A second call, as in tests, has no effect.
    let _ = registry().with(lines).with(filter).try_init();
    // The span stays entered until the process ends.
    std::mem::forget(tracing::error_span!("lambda", function).entered());
}

/// Disables the span of the Lambda runtime, unless the level is below `info`: its ids would be a
/// quarter of each line.
fn quiet(filter: Targets) -> Targets {
    match filter.default_level() {
        Some(level) if level > LevelFilter::INFO => filter,
        _ => filter.with_target("lambda_runtime", LevelFilter::WARN),
    }
}

/// An error and its causes as one string.
#[derive(Debug)]
pub struct ErrorChain<'a>(pub &'a (dyn Error + 'static));

impl fmt::Display for ErrorChain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let mut source = self.0.source();
        // Bounded, in case the chain of causes is cyclic.
        for _ in 0..16 {
            let Some(cause) = source else { break };
            write!(f, ": {cause}")?;
            source = cause.source();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use tracing::Level;

    use super::*;

    #[test]
    fn runtime_span_is_logged_below_info() {
        for (filter, shown) in [("info", false), ("warn", false), ("debug", true)] {
            let filter = quiet(filter.parse().unwrap());
            let enabled = filter.would_enable("lambda_runtime::runtime", &Level::INFO);
            assert_eq!(enabled, shown, "{filter}");
        }
    }
}
