//! Retries changes that conflict with concurrent ones.

use std::time::Duration;

use backon::{ExponentialBuilder, Retryable as _};

use super::{
    problem::{Problem, kinds},
    response::Result,
};

/// How often an attempt is retried. The first pause is a few milliseconds, each further one twice
/// as long.
const RETRIES: usize = 5;
const FIRST_PAUSE: Duration = Duration::from_millis(4);

/// Runs an attempt that reads, decides and writes, and retries it while its write conflicts with
/// another.
///
/// # Errors
///
/// The error of the last attempt.
pub async fn retry_on_conflict<T, F: Future<Output = Result<T>>>(
    attempt: impl FnMut() -> F,
) -> Result<T> {
    let pauses = ExponentialBuilder::new()
        .with_min_delay(FIRST_PAUSE)
        .with_jitter()
        .with_max_times(RETRIES);
    let conflicts = |problem: &Problem| problem.kind() == &kinds::CONFLICT;
    attempt.retry(pauses).when(conflicts).await
}
