//! Request rates of tenants in this execution environment, reported in `RateLimit` headers. They
//! bound the work that one tenant can cause here and need no AWS call. The exact event rate of a
//! plan is enforced by admission.

use std::{
    convert::Infallible,
    sync::{Arc, Mutex, PoisonError},
};

use aias_domain::plan::Limits;
use axum::http::{HeaderName, HeaderValue};
use jiff::Timestamp;

use super::problem::{Problem, kinds};
use crate::cache::{self, Cache};

/// `RateLimit` (IETF httpapi draft, "`RateLimit` header fields for HTTP").
pub const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");

/// `RateLimit-Policy` of the same draft.
pub const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

/// The most callers that are counted.
const MAX_CALLERS: usize = 10_000;

/// The most invalid credentials from one address in a window.
pub(super) const MAX_FAILURES: u32 = 100;

/// Counts per caller in the current window.
#[derive(Debug)]
struct Counts(Cache<String, Arc<Mutex<Count>>>);

#[derive(Debug, Default)]
struct Count {
    window: i64,
    times: u32,
}

impl Default for Counts {
    fn default() -> Self {
        Self(cache::bounded(MAX_CALLERS))
    }
}

impl Counts {
    /// Calls `change` with the caller's count in this window.
    fn with<T>(&self, caller: &str, window: i64, change: impl FnOnce(&mut u32) -> T) -> T {
        let Ok(own) = self
            .0
            .get_or_insert_with(caller, || Ok::<_, Infallible>(Arc::default()));
        let mut own = own.lock().unwrap_or_else(PoisonError::into_inner);
        if own.window != window {
            *own = Count { window, times: 0 };
        }
        change(&mut own.times)
    }
}

/// Requests per caller.
#[derive(Debug, Default)]
pub(super) struct RequestCounts(Counts);

/// Failed attempts per address. Guessing a 256-bit key is hopeless; this bounds the cost of trying.
#[derive(Debug, Default)]
pub(super) struct FailedAttempts(Counts);

/// The remaining requests of a caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateState {
    pub quota: u32,
    pub remaining: u32,
    /// Seconds until all of the quota is available again.
    pub resets_in: i64,
}

/// The number of the current window, and the seconds until it ends.
fn window_at(now: Timestamp) -> (i64, i64) {
    let length = i64::from(Limits::RATE_WINDOW_SECONDS);
    let second = now.as_second();
    (
        second.div_euclid(length),
        length - second.rem_euclid(length),
    )
}

impl FailedAttempts {
    /// Refuses an address with too many failed attempts, whatever its credential.
    pub(super) fn check(&self, address: &str, now: Timestamp) -> Result<(), Problem> {
        let (window, resets_in) = window_at(now);
        if self.0.with(address, window, |failed| *failed) >= MAX_FAILURES {
            return Err(Problem::new(&kinds::TOO_MANY_ATTEMPTS).retry_after(resets_in));
        }
        Ok(())
    }

    pub(super) fn add(&self, address: &str, now: Timestamp) {
        let (window, _) = window_at(now);
        self.0.with(address, window, |failed| *failed += 1);
    }
}

impl RequestCounts {
    /// Counts a request of a tenant, or of a user without a tenant.
    pub(super) fn add(
        &self,
        caller: &str,
        limits: &Limits,
        now: Timestamp,
    ) -> Result<RateState, Problem> {
        let (window, resets_in) = window_at(now);
        let quota = limits.api_requests;
        let remaining = self.0.with(caller, window, |count| {
            let remaining = quota.checked_sub(*count)?.checked_sub(1);
            *count += u32::from(remaining.is_some());
            remaining
        });
        let state = RateState {
            quota,
            remaining: remaining.unwrap_or_default(),
            resets_in,
        };
        if remaining.is_none() {
            let problem = Problem::new(&kinds::RATE_LIMITED)
                .detail(format!(
                    "the plan allows {quota} requests per {} seconds",
                    Limits::RATE_WINDOW_SECONDS
                ))
                .retry_after(resets_in);
            return Err(problem.with_headers(state.headers()));
        }
        Ok(state)
    }
}

impl RateState {
    pub(super) fn headers(self) -> impl Iterator<Item = (HeaderName, HeaderValue)> {
        let Self {
            quota,
            remaining,
            resets_in,
        } = self;
        let window = Limits::RATE_WINDOW_SECONDS;
        let texts = [
            (
                RATE_LIMIT,
                format!("\"tenant\";r={remaining};t={resets_in}"),
            ),
            (
                RATE_LIMIT_POLICY,
                format!("\"tenant\";q={quota};w={window}"),
            ),
        ];
        let header = |(name, text): (_, String)| Some((name, text.try_into().ok()?));
        texts.into_iter().filter_map(header)
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::Barrier, thread};

    use super::*;

    #[test]
    fn request_beyond_the_quota_is_refused_until_the_window_ends() {
        let counts = RequestCounts::default();
        let limits = Limits {
            api_requests: 3,
            ..aias_domain::plan::ceiling()
        };
        let now = Timestamp::from_second(125).unwrap();
        let tenant = "ten_1";
        let left: Vec<u32> = (0..3)
            .map(|_| counts.add(tenant, &limits, now).unwrap().remaining)
            .collect();
        assert_eq!(left, [2, 1, 0]);
        let refused = counts.add(tenant, &limits, now).unwrap_err();
        assert_eq!(refused.kind(), &kinds::RATE_LIMITED);
        assert!(counts.add("ten_2", &limits, now).is_ok());
        assert!(
            counts
                .add(tenant, &limits, Timestamp::from_second(180).unwrap())
                .is_ok()
        );
    }

    #[test]
    fn concurrent_first_requests_are_all_counted() {
        const THREADS: usize = 2;
        let (counts, start) = (Counts::default(), Barrier::new(THREADS));
        thread::scope(|scope| {
            for _ in 0..THREADS {
                scope.spawn(|| {
                    for caller in 0..2_000 {
                        start.wait();
                        counts.with(&caller.to_string(), 1, |times| *times += 1);
                    }
                });
            }
        });
        let lost =
            (0..2_000).find(|caller| counts.with(&caller.to_string(), 1, |times| *times != 2));
        assert_eq!(lost, None);
    }
}
