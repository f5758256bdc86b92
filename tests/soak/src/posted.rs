//! Events that are posted until they are accepted, as providers do.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    thread,
    time::{Duration, Instant},
};

use serde_json::json;
use ureq::Agent;

/// How long an event is posted before the test fails.
const ACCEPTED_WITHIN: Duration = Duration::from_mins(10);

/// How many requests there were.
#[derive(Debug, Default)]
pub(crate) struct Posted {
    pub(crate) requests: u64,
    pub(crate) duplicates: u64,
}

/// The id of an event.
pub(crate) fn id_of(order: u64) -> String {
    format!("order-{order}")
}

/// Posts all events, each until it is accepted.
///
/// # Panics
///
/// When a response is neither an acceptance nor a reason to try again, or an event is not accepted in
/// time.
pub(crate) fn post_all(url: &str, path: &str, events: u64, clients: u64) -> Posted {
    let next = AtomicU64::new(0);
    let (requests, duplicates) = (AtomicU64::new(0), AtomicU64::new(0));
    let url = format!("{url}{path}");
    thread::scope(|scope| {
        for _ in 0..clients {
            scope.spawn(|| {
                let agent = agent();
                loop {
                    let order = next.fetch_add(1, Ordering::Relaxed);
                    if order >= events {
                        break;
                    }
                    let until = Instant::now() + ACCEPTED_WITHIN;
                    let status = loop {
                        assert!(Instant::now() < until, "event {order} was not accepted");
                        requests.fetch_add(1, Ordering::Relaxed);
                        match post(&agent, &url, order) {
                            Some(status @ (200 | 202)) => break status,
                            // Killed, or refused for the moment.
                            None | Some(429 | 503) => thread::sleep(Duration::from_millis(50)),
                            Some(status) => panic!("the response to event {order} is {status}"),
                        }
                    };
                    duplicates.fetch_add(u64::from(status == 200), Ordering::Relaxed);
                    if order % 10_000 == 9_999 {
                        println!("{} events", order + 1);
                    }
                }
            });
        }
    });
    Posted {
        requests: requests.into_inner(),
        duplicates: duplicates.into_inner(),
    }
}

fn agent() -> Agent {
    let config = Agent::config_builder()
        .http_status_as_error(false)
        .timeout_global(Some(Duration::from_secs(30)))
        .build();
    Agent::new_with_config(config)
}

/// Posts an event, and returns the status; none if the process does not respond.
fn post(agent: &Agent, url: &str, order: u64) -> Option<u16> {
    let request = agent.post(url).header("idempotency-key", id_of(order));
    let mut response = request.send_json(json!({"order": order})).ok()?;
    let status = response.status().as_u16();
    response.body_mut().read_to_vec().ok()?;
    Some(status)
}
