//! Retention: what the table's time to live and the bucket's lifecycle rule do on AWS.

use std::{sync::Arc, time::Duration};

use aias_platform::clock::Clock;
use jiff::Timestamp;
use tokio::{
    task::spawn_blocking,
    time::{Instant, sleep},
};

use crate::services::Services;

/// How often expired items and objects are deleted.
const EXPIRE_EVERY: Duration = Duration::from_secs(600);
/// How far the clock may be from the time that has passed.
const MAX_DEVIATION: Duration = Duration::from_secs(60);

/// Finds jumps of the clock. A clock that is a year ahead for a moment would delete a year of data.
#[derive(Debug)]
struct JumpDetector {
    clock: Clock,
    last: (Instant, Timestamp),
}

impl JumpDetector {
    fn new(clock: Clock) -> Self {
        let last = (Instant::now(), clock.now());
        Self { clock, last }
    }

    /// Whether the clock was set since the last call, or the machine slept.
    fn has_jumped(&mut self) -> bool {
        let now = (Instant::now(), self.clock.now());
        let passed = i64::try_from((now.0 - self.last.0).as_millis()).unwrap_or(i64::MAX);
        let shown = now.1.as_millisecond() - self.last.1.as_millisecond();
        self.last = now;
        Duration::from_millis(shown.abs_diff(passed)) > MAX_DEVIATION
    }
}

/// Deletes expired items and objects every ten minutes, unless the clock was set meanwhile: then the
/// next time, if it has not been set back.
pub(crate) async fn expire(services: Arc<Services>, retention_days: u32) {
    let age = Duration::from_secs(u64::from(retention_days) * 86_400);
    let mut detector = JumpDetector::new(Clock::system());
    loop {
        sleep(EXPIRE_EVERY).await;
        if detector.has_jumped() {
            tracing::warn!(event = "clock_jumped");
            continue;
        }
        let (table, objects) = (services.table.clone(), services.objects.clone());
        let deleted =
            spawn_blocking(move || (table.delete_expired(), objects.delete_older(age))).await;
        match deleted {
            Ok((Ok(items), Ok(objects))) => {
                tracing::info!(event = "expired_deleted", items, objects);
            }
            Ok((items, objects)) => {
                let error = items.err().map(|error| error.to_string());
                let error = error.or_else(|| objects.err().map(|error| error.to_string()));
                tracing::error!(event = "expired_not_deleted", error);
            }
            Err(error) => tracing::error!(event = "expired_not_deleted", %error),
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn clock_that_was_set_is_noticed_once() {
        let clock = Clock::set_to("2026-11-28T00:00:00Z".parse().unwrap());
        let mut detector = JumpDetector::new(clock.clone());
        let mut after = async |passed: Duration, shown: Duration| {
            advance(passed).await;
            clock.advance(shown);
            detector.has_jumped()
        };
        let year = Duration::from_secs(365 * 86_400);
        assert!(!after(EXPIRE_EVERY, EXPIRE_EVERY).await);
        assert!(after(EXPIRE_EVERY, EXPIRE_EVERY + year).await);
        assert!(!after(EXPIRE_EVERY, EXPIRE_EVERY).await);
        // Set back, or stopped.
        assert!(after(EXPIRE_EVERY, Duration::ZERO).await);
    }
}
