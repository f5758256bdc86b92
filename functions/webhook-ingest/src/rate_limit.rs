//! `RateLimit` and `RateLimit-Policy` headers, from the write that counted the event.

use aias_domain::{
    admission::Window,
    plan::{self, Limits, RATE_SECONDS},
};
use aias_platform::{
    http::{Problem, RATE_LIMIT, RATE_LIMIT_POLICY, kinds},
    store::{Admission, RemainingQuota},
};
use axum::http::{HeaderName, HeaderValue};
use jiff::Timestamp;

pub(crate) fn headers(
    limits: &Limits,
    left: RemainingQuota,
    now: Timestamp,
) -> impl Iterator<Item = (HeaderName, HeaderValue)> {
    let (begin, end) = (plan::month_start(now), plan::month_end(now));
    let month = end.as_second() - begin.as_second();
    let month_ends_in = end.as_second() - now.as_second();
    let window_ends_in = Window::of(now).left_seconds;
    let (burst, runs) = (limits.burst(), limits.runs_per_month);
    let limit = format!(
        "\"events\";r={};t={window_ends_in}, \"runs\";r={};t={month_ends_in}",
        left.events, left.runs
    );
    let policy = format!("\"events\";q={burst};w={RATE_SECONDS}, \"runs\";q={runs};w={month}");
    let header = |(name, text): (_, String)| Some((name, text.try_into().ok()?));
    [(RATE_LIMIT, limit), (RATE_LIMIT_POLICY, policy)]
        .into_iter()
        .filter_map(header)
}

/// The problem of an event that was not admitted.
pub(crate) fn refuse(limits: &Limits, admission: Admission, now: Timestamp) -> Problem {
    let (problem, left) = match admission {
        Admission::QuotaExceeded(left) => {
            let seconds = plan::month_end(now).as_second() - now.as_second();
            let problem = Problem::new(&kinds::RUNS_EXHAUSTED).detail(format!(
                "the plan {} allows {} runs a month and {} suspended runs",
                limits.plan, limits.runs_per_month, limits.suspended_runs
            ));
            (problem.retry_after(seconds), left)
        }
        Admission::RateExceeded(left) | Admission::Admitted(_, left) => {
            let seconds = Window::of(now).left_seconds;
            (Problem::event_rate(limits).retry_after(seconds), left)
        }
    };
    problem.with_headers(headers(limits, left, now))
}
