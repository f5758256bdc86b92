//! What became of the events.

use std::{
    collections::HashMap,
    thread,
    time::{Duration, Instant},
};

use aias_domain::canonical;
use serde_json::{Value, json};

use crate::{posted::id_of, server::Tenant};

/// How long the last runs may take.
const ENDED_WITHIN: Duration = Duration::from_secs(1_200);

/// How many events are not as they should be.
#[derive(Debug, Default)]
pub(crate) struct Checked {
    /// Runs that were executing at three kills, and were retried.
    pub(crate) retried: u64,
    pub(crate) lost: u64,
    pub(crate) doubled: u64,
    pub(crate) wrong: u64,
}

/// Waits until all runs have ended, and checks that each event has one run with the right artifact. A
/// run whose executor was killed three times is faulted, since it could be the cause: it is retried, as
/// an operator would do.
pub(crate) fn check(url: &str, tenant: &Tenant, events: u64) -> Checked {
    let until = Instant::now() + ENDED_WITHIN;
    let mut checked = Checked::default();
    let runs = loop {
        let is_open = |status: &&&str| has_run(url, tenant, status);
        let open = ["pending", "running", "waiting"].iter().find(is_open);
        if open.is_none() {
            checked.retried += retry_killed(url, tenant);
            let runs = all_runs(url, tenant, "");
            if runs.iter().all(|run| !run["ended_at"].is_null()) {
                break runs;
            }
        }
        println!("runs are {}", open.unwrap_or(&"retried"));
        assert!(Instant::now() < until, "the runs do not end");
        thread::sleep(Duration::from_secs(10));
    };
    let mut by_event: HashMap<&str, Vec<&Value>> = HashMap::new();
    for run in &runs {
        let id = run["trigger"]["event_id"].as_str().unwrap_or_default();
        by_event.entry(id).or_default().push(run);
    }
    for order in 0..events {
        match by_event.get(id_of(order).as_str()).map(Vec::as_slice) {
            None => checked.lost += 1,
            Some([run]) => checked.wrong += u64::from(!is_right(run, order)),
            Some(_) => checked.doubled += 1,
        }
    }
    checked
}

/// Whether a run completed with the artifact of its event.
fn is_right(run: &Value, order: u64) -> bool {
    let output = json!({"order": order}).to_string();
    let artifacts = run["artifacts"].as_array().map(Vec::as_slice);
    let right = run["status"] == "completed"
        && matches!(artifacts, Some([artifact]) if artifact["digest"] == canonical::digest(output.as_bytes()));
    if !right {
        println!("event {order}: {run}");
    }
    right
}

/// Whether a run has this status.
fn has_run(url: &str, tenant: &Tenant, status: &str) -> bool {
    let mut cursor = String::new();
    loop {
        let page = get(
            &format!("{url}/api/runs?limit=1&status={status}{cursor}"),
            tenant,
        );
        if page["data"] != json!([]) {
            return true;
        }
        let Some(next) = page["next_cursor"].as_str() else {
            return false;
        };
        cursor = format!("&cursor={next}");
    }
}

/// Retries the runs whose executor was killed three times. Returns how many.
fn retry_killed(url: &str, tenant: &Tenant) -> u64 {
    let mut retried = 0;
    for run in all_runs(url, tenant, "&status=faulted") {
        if run["error"]["code"] == "executor-ended" {
            let id = run["id"].as_str().unwrap_or_default();
            let request = ureq::post(format!("{url}/api/runs/{id}/retry"))
                .header("authorization", format!("Bearer {}", tenant.key));
            request.send_empty().expect("the run can be retried");
            retried += 1;
        }
    }
    retried
}

fn get(url: &str, tenant: &Tenant) -> Value {
    let request = ureq::get(url).header("authorization", format!("Bearer {}", tenant.key));
    let mut response = request.call().expect("the API responds");
    response.body_mut().read_json().expect("a JSON response")
}

fn all_runs(url: &str, tenant: &Tenant, filter: &str) -> Vec<Value> {
    let (mut runs, mut cursor) = (Vec::new(), String::new());
    loop {
        let mut page = get(&format!("{url}/api/runs?limit=100{filter}{cursor}"), tenant);
        if let Value::Array(data) = page["data"].take() {
            runs.extend(data);
        }
        let Some(next) = page["next_cursor"].as_str() else {
            return runs;
        };
        cursor = format!("&cursor={next}");
    }
}
