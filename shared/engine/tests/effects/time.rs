//! Waits, timeouts and retries.

use aias_engine::{
    Event, Outcome,
    journal::{Entry, EntryEvent, retried},
};
use serde_json::json;

use crate::world::{http, json_of, later, program, run, run_on, world};

#[test]
fn retry_waits_and_repeats_request() {
    let yaml = "
use:
  retries:
    r: {delay: {seconds: 1}, backoff: {exponential: {}}, limit: {attempt: {count: 3}}}
do:
  - l:
      for: {in: '[1, 2]'}
      do:
        - a:
            try: [{b: {call: http, with: {method: get, endpoint: 'https://e.example/'}}}]
            catch: {retry: r}
";
    let mut n = 0;
    let mut world = world(move |_| {
        n += 1;
        json_of(if n % 3 == 0 { 200 } else { 503 }, json!({"n": n}))
    });
    assert_eq!(run(yaml, json!({}), &mut world), Ok(json!({"n": 6})));
    // Three calls of 10 ms with one and two seconds between them, twice.
    assert_eq!(world.now, later(2 * (30 + 3_000)));
    let keys: Vec<_> = world
        .effects
        .iter()
        .map(|e| (e.key.visit, e.occurrence))
        .collect();
    assert_eq!(keys, [(1, 1), (2, 1), (3, 1), (4, 2), (5, 2), (6, 2)]);
}

#[test]
fn retry_limits_apply() {
    let yaml = |limit: &str| {
        format!(
            "
do:
  - a:
      try: [{{b: {{call: http, with: {{method: get, endpoint: 'https://e.example/'}}}}}}]
      catch: {{retry: {{delay: PT1S, limit: {limit}}}}}
"
        )
    };
    let mut all = world(|_| json_of(503, json!({})));
    assert_eq!(
        run(
            &yaml("{duration: {milliseconds: 2500}}"),
            json!({}),
            &mut all
        )
        .unwrap_err()
        .status,
        503
    );
    assert_eq!(all.effects.len(), 3);
    let mut each = world(|_| json_of(200, json!({})));
    each.takes = 2_000;
    let error = run(
        &yaml("{attempt: {count: 1, duration: {seconds: 1}}}"),
        json!({}),
        &mut each,
    );
    assert_eq!(error.unwrap_err().code, "timeout");
    assert_eq!(each.now, later(3_000));
}

#[test]
fn jitter_stays_in_range() {
    let yaml = "
do:
  - a:
      try: [{b: {raise: {error: {type: 'https://e.example/e', status: 500}}}}]
      catch: {retry: {delay: PT1S, jitter: {from: {milliseconds: 100}, to: {milliseconds: 300}}, limit: {attempt: {count: 1}}}}
";
    let (mut one, mut two) = (world(|_| None), world(|_| None));
    run(yaml, json!({}), &mut one).unwrap_err();
    run(yaml, json!({}), &mut two).unwrap_err();
    assert_eq!(one.now, two.now);
    assert!(
        (later(1_100)..=later(1_300)).contains(&one.now),
        "{}",
        one.now
    );
}

#[test]
fn wait_advances_time_and_keeps_data() {
    let yaml = "
do:
  - a: {wait: PT1H}
  - b: {wait: {days: 30}}
  - c: {wait: '${ .after }'}
  - d: {set: {n: '${ .n }', now: '${ now }', at: '${ $task.startedAt.epoch.seconds }'}}
";
    let mut world = world(|_| None);
    let output = run(yaml, json!({"n": 1, "after": "PT5S"}), &mut world).unwrap();
    let end = later(1_000 * (3_600 + 30 * 86_400 + 5));
    assert_eq!(world.now, end);
    assert_eq!(
        output,
        json!({"n": 1, "now": end.as_second() as f64, "at": end.as_second()})
    );
    let error = run(
        "do: [{a: {wait: '${ .x }'}}]",
        json!({"x": "soon"}),
        &mut world,
    );
    assert_eq!(error.unwrap_err().code, "expression");
}

#[test]
fn timeouts_start_with_run() {
    let yaml = "
timeout: {after: PT1M}
do:
  - a: {wait: PT10S}
  - b: {set: {at: '${ now }'}}
";
    let mut world = world(|_| None);
    let late = Entry {
        at: later(3_600_000),
        event: EntryEvent::Started,
    };
    let outcome = run_on(&program(yaml), &json!({}), &[late], &mut world);
    assert_eq!(world.now, later(3_610_000));
    let at = later(3_610_000).as_second() as f64;
    assert_eq!(outcome, Outcome::Completed(json!({"at": at})));
}

#[test]
fn timeout_fires_while_waiting_and_can_be_caught() {
    let yaml = "
use: {timeouts: {short: {after: {seconds: 5}}}}
do:
  - a:
      try: [{b: {wait: PT1H, timeout: short}}]
      catch: {as: e, errors: {with: {type: 'https://serverlessworkflow.io/spec/1.0.0/errors/timeout', status: 408}}, do: [{c: {set: {at: '${ $e.instance }'}}}]}
";
    let mut waited = world(|_| None);
    assert_eq!(
        run(yaml, json!({}), &mut waited),
        Ok(json!({"at": "/do/0/a/try/0/b"}))
    );
    assert_eq!(waited.now, later(5_000));
    let whole =
        "timeout: {after: PT1M}\ndo: [{l: {for: {in: '[range(9)]'}, do: [{a: {wait: PT20S}}]}}]";
    let error = run(whole, json!({}), &mut world(|_| None)).unwrap_err();
    assert_eq!(
        (error.code.as_str(), error.instance.as_deref()),
        ("timeout", Some("/timeout"))
    );
}

#[test]
fn retried_run_repeats_only_failed_effect() {
    let yaml = "
do:
  - a: {call: http, with: {method: get, endpoint: 'https://e.example/a'}}
  - b: {wait: PT1S}
  - c: {call: http, with: {method: get, endpoint: 'https://e.example/c'}}
timeout: {after: PT1M}
";
    let program = program(yaml);
    let mut first = world(|effect| match http(effect).uri.as_str() {
        "https://e.example/a" => json_of(200, json!({"a": 1})),
        _ => json_of(500, json!({})),
    });
    let outcome = run_on(&program, &json!({}), &[], &mut first);
    assert!(matches!(outcome, Outcome::Faulted(_)));

    // A day later: timeouts restart, and recorded steps are not recorded again.
    let (kept, entry) = retried(&first.journal, later(86_400_000)).unwrap();
    let mut journal = first.journal.clone();
    journal.truncate(kept);
    journal.push(entry);
    let mut second = world(|effect| json_of(200, json!({"uri": http(effect).uri})));
    second.now = later(86_400_000);
    let outcome = run_on(&program, &json!({}), &journal, &mut second);
    assert_eq!(
        outcome,
        Outcome::Completed(json!({"uri": "https://e.example/c"}))
    );
    assert_eq!(second.effects.len(), 1);
    assert_eq!(second.effects[0].key, first.effects[1].key);
    assert_eq!(second.steps, [("/do/2/c".to_owned(), Event::Completed)]);
}
