//! The same definition and the same input give the same bytes and the same steps, however often a
//! run is cut off and begun again.

#![expect(clippy::unwrap_used, reason = "a test")]

use aias_domain::canonical;
use aias_engine::{Control, Observer, Outcome, Program, Record, Start};
use proptest::prelude::*;
use serde_json::{Value, json};

/// Stops after a number of steps.
struct Cut {
    after: usize,
    seen: Vec<Record>,
}

impl Observer for Cut {
    fn step(&mut self, record: Record) -> Control {
        self.seen.push(record);
        if self.seen.len() >= self.after {
            Control::Stop
        } else {
            Control::Continue
        }
    }
}

fn run(program: &Program, input: &Value, after: usize) -> (Outcome, Vec<Record>) {
    let mut cut = Cut {
        after,
        seen: Vec::new(),
    };
    let started_at = jiff::Timestamp::from_second(1_800_000_000).unwrap();
    let start = Start {
        id: "run_1",
        input,
        started_at,
        max_steps: 300,
    };
    let outcome = program.run(&start, &mut cut);
    (outcome, cut.seen)
}

fn bytes(outcome: &Outcome) -> Vec<u8> {
    match outcome {
        Outcome::Completed(output) => canonical::to_vec(output),
        Outcome::Faulted(error) => format!("{error:?}").into_bytes(),
    }
}

fn expression() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("${ . }".to_owned()),
        Just("${ .n + 1 }".to_owned()),
        Just("${ [.n, now, $workflow.id] }".to_owned()),
        Just("${ (.list // []) + [.n] }".to_owned()),
        Just("${ {a: $context, b: $task.reference} }".to_owned()),
        Just("${ keys }".to_owned()),
        Just("${ to_entries | map(.key) | unique }".to_owned()),
        Just("${ $workflow.input | tojson }".to_owned()),
        Just("${ error(\"no\") }".to_owned()),
        "[a-z]{0,5}",
    ]
}

fn task() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        (expression(), expression()).prop_map(|(n, list)| json!({"set": {"n": n, "list": list}})),
        expression().prop_map(|e| json!({"set": {"n": 1, "x": e}, "export": {"as": {"kept": e}}})),
        Just(
            json!({"raise": {"error": {"type": "https://example.com/e", "status": 500, "detail": "${ .n | tostring }"}}})
        ),
        Just(json!({"if": ".n == 1", "set": {"n": 2}})),
        Just(
            json!({"switch": [{"a": {"when": ".n == 1", "then": "exit"}}, {"b": {"then": "continue"}}]})
        ),
        Just(json!({"set": {"done": true}, "then": "end"})),
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        let list = prop::collection::vec(inner, 1..4).prop_map(named);
        prop_oneof![
            list.clone().prop_map(|list| json!({"do": list})),
            list.clone()
                .prop_map(|list| json!({"for": {"in": "[1, 2, 3]"}, "do": list})),
            (list.clone(), list).prop_map(|(body, handler)| json!({
                "try": body,
                "catch": {"retry": {"limit": {"attempt": {"count": 2}}}, "do": handler},
            })),
        ]
    })
}

fn named(tasks: Vec<Value>) -> Value {
    tasks
        .into_iter()
        .enumerate()
        .map(|(index, task)| json!({format!("t{index}"): task}))
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_run_that_is_begun_again_says_the_same(
        tasks in prop::collection::vec(task(), 1..4),
        n in 0..3_i64,
        text in ".{0,8}",
    ) {
        let definition = json!({
            "document": {"dsl": "1.0.3", "namespace": "t", "name": "t", "version": "1.0.0"},
            "do": named(tasks),
        });
        let input = json!({"n": n, "text": text});
        let program = Program::compile(&definition).unwrap();
        let (outcome, steps) = run(&program, &input, usize::MAX);

        // From scratch, by another compilation of the same definition.
        let other = Program::compile(&definition).unwrap();
        let (again, same) = run(&other, &input, usize::MAX);
        prop_assert_eq!(bytes(&again), bytes(&outcome));
        prop_assert_eq!(&same, &steps);

        // Cut off after each step, then begun again from the start.
        for after in 1..steps.len().min(40) {
            let (_, before) = run(&program, &input, after);
            prop_assert_eq!(&before[..after], &steps[..after]);
            let (resumed, all) = run(&program, &input, usize::MAX);
            prop_assert_eq!(bytes(&resumed), bytes(&outcome));
            prop_assert_eq!(&all, &steps);
        }
    }
}
