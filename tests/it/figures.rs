//! The cost of each function's main path, compared to a snapshot: a change shows as a diff.

use std::path::Path;

use aias_testkit::stack;
use aias_tests::{
    figures::count,
    measured::{CASES, Event, World, body_of},
};

/// The queries of the schedule depend on the hour, and a list of runs also reads the next day in
/// the last hour of a day.
fn depends_on_time(event: Event) -> bool {
    matches!(
        event,
        Event::Schedule
            | Event::Sweep(_)
            | Event::Get("/api/runs" | "/api/artifacts")
            | Event::Page("/dashboard" | "/dashboard/runs" | "/dashboard/diagnostics")
    )
}

/// Calls, sequential rounds, units and log bytes of one event of a warm function.
#[tokio::test(flavor = "multi_thread")]
async fn event_cost_matches_snapshot() {
    let stack = stack::get();
    assert_eq!(body_of(1).len(), 1024);
    let mut table = String::from(
        "| one event of | rounds | read units | write units | log bytes | calls |\n|---|---|---|---|---|---|\n",
    );
    for case in CASES.iter().filter(|case| !depends_on_time(case.event)) {
        // A new one, so that existing items do not count.
        let mut world = World::new().await;
        let binary = Path::new(stack.output("bin")).join(case.function);
        let counts = count(&mut world, case, &binary).await;
        let counts = counts.unwrap_or_else(|error| panic!("{}: {error}", case.name));
        let calls: Vec<String> = counts
            .calls
            .iter()
            .map(|(name, times)| match times {
                1 => name.clone(),
                times => format!("{times} {name}"),
            })
            .collect();
        table += &format!(
            "| {} | {} | {} | {} | {} | {} |\n",
            case.name,
            counts
                .rounds
                .map_or_else(|| "–".to_owned(), |rounds| rounds.to_string()),
            counts.read_units,
            counts.write_units,
            counts.log_bytes,
            calls.join(", ")
        );
    }
    insta::assert_snapshot!(table);
}
