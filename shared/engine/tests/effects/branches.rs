//! `fork`.

use aias_engine::Outcome;
use serde_json::json;

use crate::world::{http, json_of, later, program, run, run_on, world};

#[test]
fn branch_effects_are_concurrent_and_outputs_ordered() {
    let yaml = "
do:
  - a:
      fork:
        branches:
          - x: {call: http, with: {method: get, endpoint: 'https://e.example/slow'}}
          - y: {do: [{y1: {call: http, with: {method: get, endpoint: 'https://e.example/fast'}}}, {y2: {wait: PT1S}}]}
          - z: {set: {z: '${ .n }'}}
";
    // The call of the second branch completes first.
    let mut world = world(|effect| match http(effect).uri.as_str() {
        "https://e.example/fast" => json_of(200, json!("fast")),
        _ => None,
    });
    world.left = 2;
    let outcome = run_on(&program(yaml), &json!({"n": 1}), &[], &mut world);
    let Outcome::Waiting(requested) = outcome else {
        panic!("{outcome:?}")
    };
    assert_eq!(requested.effects.len(), 1);
    world.left = 9;
    world.responses = Box::new(|_| json_of(200, json!("slow")));
    let journal = world.journal.clone();
    let outcome = run_on(&program(yaml), &json!({"n": 1}), &journal, &mut world);
    assert_eq!(
        outcome,
        Outcome::Completed(json!(["slow", "fast", {"z": 1}]))
    );
}

#[test]
fn competing_fork_returns_first_branch() {
    let yaml = "
do:
  - a:
      fork:
        compete: true
        branches:
          - slow: {call: http, with: {method: get, endpoint: 'https://e.example/never'}}
          - fast: {do: [{w: {wait: PT2S}}, {s: {set: {won: true}}}]}
  - b: {wait: PT3S}
";
    let mut world = world(|_| None);
    assert_eq!(run(yaml, json!({}), &mut world), Ok(json!({"won": true})));
    assert_eq!(world.now, later(5_000));
    // The effects of the other branches are not requested any more.
    let effects: Vec<_> = world
        .requested
        .iter()
        .map(|requested| requested.effects.len())
        .collect();
    assert_eq!(effects, [1, 0]);
}

#[test]
fn faulted_branch_faults_fork() {
    let yaml = "
do:
  - a:
      try:
        - f:
            fork:
              branches:
                - x: {call: http, with: {method: get, endpoint: 'https://e.example/never'}}
                - y: {raise: {error: {type: 'https://e.example/e', status: 500, title: y}}}
      catch: {do: [{c: {set: {caught: '${ $error.title }'}}}]}
  - b: {wait: PT1S}
";
    let mut world = world(|_| None);
    assert_eq!(run(yaml, json!({}), &mut world), Ok(json!({"caught": "y"})));
}

#[test]
fn branches_share_context() {
    let yaml = "
do:
  - a:
      fork:
        branches:
          - x: {do: [{x1: {wait: PT1S}}, {x2: {set: {n: 1}, export: {as: '$context + {x: 1}'}}}]}
          - y: {do: [{y1: {wait: PT2S}}, {y2: {set: {n: 2}, export: {as: '$context + {y: 2}'}}}]}
  - b: {set: '${ $context }'}
";
    assert_eq!(
        run(yaml, json!({}), &mut world(|_| None)),
        Ok(json!({"x": 1, "y": 2}))
    );
}
