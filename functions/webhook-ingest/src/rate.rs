//! What a sender is told of the limits: `RateLimit` and `RateLimit-Policy` (IETF httpapi draft,
//! "`RateLimit` header fields for HTTP"), from the very write that counted the event.

use aias_domain::{
    admission::Window,
    plan::{self, Limits, RATE_SECONDS},
};
use aias_platform::{
    http::{Problem, Response},
    store::{Admission, Left},
};
use jiff::Timestamp;

fn headers(limits: &Limits, left: Left, now: Timestamp) -> [(&'static str, String); 2] {
    let (begin, end) = (plan::month_start(now), plan::month_end(now));
    let month = end.as_second() - begin.as_second();
    let turn = end.as_second() - now.as_second();
    let window = Window::of(now).left_seconds;
    let (burst, runs) = (limits.burst(), limits.runs_per_month);
    [
        (
            "ratelimit",
            format!(
                "\"events\";r={};t={window}, \"runs\";r={};t={turn}",
                left.events, left.runs
            ),
        ),
        (
            "ratelimit-policy",
            format!("\"events\";q={burst};w={RATE_SECONDS}, \"runs\";q={runs};w={month}"),
        ),
    ]
}

/// Tells what is left.
pub(crate) fn onto(response: Response, limits: &Limits, left: Left, now: Timestamp) -> Response {
    headers(limits, left, now)
        .into_iter()
        .fold(response, |r, (name, value)| r.header(name, value))
}

/// Why an event is not taken.
pub(crate) fn refuse(limits: &Limits, admission: Admission, now: Timestamp) -> Problem {
    let (problem, left) = match admission {
        Admission::MonthFull(left) => {
            let seconds = plan::month_end(now).as_second() - now.as_second();
            let title = "The month's runs and its grace are used up";
            (Problem::too_many("runs-exhausted", title, seconds), left)
        }
        Admission::RateFull(left) | Admission::Admitted(_, left) => {
            let seconds = Window::of(now).left_seconds;
            (
                Problem::too_many("rate-limited", "Too many events", seconds),
                left,
            )
        }
    };
    headers(limits, left, now)
        .into_iter()
        .fold(problem, |p, (name, value)| p.with_header(name, value))
}
