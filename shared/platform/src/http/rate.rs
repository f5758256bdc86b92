//! How many requests a tenant makes, counted in this execution environment: a bound on what one
//! tenant can ask of it, told in `RateLimit` headers. It costs no call; the plan's exact rate is
//! counted where events are admitted.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use aias_domain::plan::Limits;
use jiff::Timestamp;

use super::{problem::Problem, response::Response};

/// How many callers are counted at once; beyond that the window begins anew.
const MAX_CALLERS: usize = 10_000;

/// The counters of one window.
#[derive(Debug, Default)]
pub(super) struct Rate(Mutex<Window>);

#[derive(Debug, Default)]
struct Window {
    number: i64,
    counts: HashMap<String, u32>,
}

/// What is left of a tenant's window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct RateState {
    quota: u32,
    remaining: u32,
    resets_in: i64,
}

/// How many credentials that are no good one address may try in a window.
pub(super) const MAX_FAILURES: u32 = 100;

/// The failed attempts of each address, counted in this execution environment. To guess a key of 256
/// bits is hopeless anyway; this bounds what trying costs.
#[derive(Debug, Default)]
pub(super) struct Attempts(Mutex<Window>);

impl Attempts {
    /// Refuses an address that has failed too often, whatever it brings now.
    pub(super) fn check(&self, who: &str, now: Timestamp) -> Result<(), Problem> {
        let (number, resets_in) = window_of(now);
        let window = self.window();
        let failed = window.counts.get(who).copied().unwrap_or_default();
        if window.number == number && failed >= MAX_FAILURES {
            let title = "Too many bad credentials";
            return Err(Problem::too_many("too-many-attempts", title, resets_in));
        }
        Ok(())
    }

    /// Counts a failed attempt.
    pub(super) fn failed(&self, who: &str, now: Timestamp) {
        let (number, _) = window_of(now);
        *self.window().count(number, who) += 1;
    }

    fn window(&self) -> MutexGuard<'_, Window> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The window's number, and in how many seconds it ends.
fn window_of(now: Timestamp) -> (i64, i64) {
    let length = i64::from(Limits::RATE_WINDOW_SECONDS);
    let second = now.as_second();
    (
        second.div_euclid(length),
        length - second.rem_euclid(length),
    )
}

impl Window {
    fn count(&mut self, number: i64, who: &str) -> &mut u32 {
        if self.number != number || self.counts.len() >= MAX_CALLERS {
            self.number = number;
            self.counts.clear();
        }
        self.counts.entry(who.to_owned()).or_default()
    }
}

impl Rate {
    /// Counts a request of a tenant, or of a person who has not named one.
    pub(super) fn count(
        &self,
        who: &str,
        limits: &Limits,
        now: Timestamp,
    ) -> Result<RateState, Problem> {
        let (number, resets_in) = window_of(now);
        let quota = limits.api_requests;
        let mut window = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = window.count(number, who);
        if *count >= quota {
            let problem = Problem::too_many("rate-limited", "Too many requests", resets_in);
            let state = RateState {
                quota,
                remaining: 0,
                resets_in,
            };
            return Err(state
                .headers()
                .into_iter()
                .fold(problem, |p, (name, value)| p.with_header(name, value)));
        }
        *count += 1;
        Ok(RateState {
            quota,
            remaining: quota - *count,
            resets_in,
        })
    }
}

impl RateState {
    /// `RateLimit` and `RateLimit-Policy` (IETF httpapi draft, "`RateLimit` header fields for HTTP").
    fn headers(self) -> [(&'static str, String); 2] {
        let Self {
            quota,
            remaining,
            resets_in,
        } = self;
        [
            (
                "ratelimit",
                format!("\"tenant\";r={remaining};t={resets_in}"),
            ),
            (
                "ratelimit-policy",
                format!("\"tenant\";q={quota};w={}", Limits::RATE_WINDOW_SECONDS),
            ),
        ]
    }

    /// Puts them onto an answer.
    pub(super) fn onto(self, response: Response) -> Response {
        self.headers()
            .into_iter()
            .fold(response, |r, (name, value)| r.header(name, value))
    }

    /// Puts them onto a problem.
    pub(super) fn onto_problem(self, problem: Problem) -> Problem {
        self.headers()
            .into_iter()
            .fold(problem, |p, (name, value)| p.with_header(name, value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_request_and_the_first_too_many() {
        let rate = Rate::default();
        let limits = Limits {
            api_requests: 3,
            ..aias_domain::plan::ceiling()
        };
        let now = Timestamp::from_second(125).unwrap();
        let tenant = "ten_1";
        let left: Vec<u32> = (0..3)
            .map(|_| rate.count(tenant, &limits, now).unwrap().remaining)
            .collect();
        assert_eq!(left, [2, 1, 0]);
        let refused = rate.count(tenant, &limits, now).unwrap_err();
        assert_eq!((refused.status(), refused.code()), (429, "rate-limited"));
        assert!(rate.count("ten_2", &limits, now).is_ok());
        assert!(
            rate.count(tenant, &limits, Timestamp::from_second(180).unwrap())
                .is_ok()
        );
    }
}
