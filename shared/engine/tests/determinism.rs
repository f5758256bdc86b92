//! The same definition, input and journal give the same bytes, steps and effects, wherever an
//! execution is interrupted and started again.

#![expect(clippy::unwrap_used, reason = "a test")]

use aias_domain::canonical;
use aias_engine::{
    Control, Host, Input, Outcome, Program, Record, Start,
    journal::{Body, EffectResult, Entry, EntryEvent, Failure, HttpResponse, PendingEffects},
};
use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;
use serde_json::{Value, json};

/// A host that chooses the order of results: each choice completes one of the requested effects, or
/// lets a timer expire.
struct World<'a> {
    choices: std::slice::Iter<'a, u8>,
    /// Entries to replay before it makes its own choices.
    given: std::vec::IntoIter<Entry>,
    written: Vec<Entry>,
    pending: Vec<PendingEffects>,
    seen: Vec<Record>,
    emitted: Vec<Value>,
    now: Timestamp,
}

impl<'a> World<'a> {
    fn new(choices: &'a [u8], given: Vec<Entry>) -> Self {
        Self {
            choices: choices.iter(),
            given: given.into_iter(),
            written: Vec::new(),
            pending: Vec::new(),
            seen: Vec::new(),
            emitted: Vec::new(),
            now: began(),
        }
    }
}

fn began() -> Timestamp {
    Timestamp::from_second(1_800_000_000).unwrap()
}

fn response(choice: u8) -> EffectResult {
    match choice % 4 {
        0 => EffectResult::Failed(Failure {
            kind: "communication".into(),
            status: 502,
            title: "Bad Gateway".into(),
            detail: "no connection".into(),
        }),
        status => EffectResult::Http(HttpResponse {
            status: if status == 1 { 503 } else { 200 },
            headers: vec![("content-type".into(), "application/json".into())],
            body: Body::Text(format!("{{\"n\": {choice}}}")),
        }),
    }
}

impl Host for World<'_> {
    fn step(&mut self, record: Record) -> Control {
        self.seen.push(record);
        Control::Continue
    }

    fn emit(&mut self, _: u32, event: Value) {
        self.emitted.push(event);
    }

    fn next(&mut self, pending: &PendingEffects) -> Option<Entry> {
        self.pending.push(pending.clone());
        let entry = match self.given.next() {
            Some(entry) => entry,
            None => {
                let choice = *self.choices.next()?;
                let place = usize::from(choice) % (pending.effects.len() + 1);
                self.now = self
                    .now
                    .checked_add(SignedDuration::from_millis(i64::from(choice)))
                    .unwrap();
                match (pending.effects.get(place), pending.until) {
                    (Some(effect), _) => Entry {
                        at: self.now,
                        event: EntryEvent::EffectCompleted {
                            key: effect.key.clone(),
                            digest: effect.digest(),
                            result: response(choice),
                        },
                    },
                    (None, until) => {
                        self.now = self.now.max(until.unwrap_or(self.now));
                        Entry {
                            at: self.now,
                            event: EntryEvent::TimerExpired,
                        }
                    }
                }
            }
        };
        self.written.push(entry.clone());
        Some(entry)
    }
}

fn run(program: &Program, input: &Value, journal: &[Entry], world: &mut World<'_>) -> Outcome {
    let start = Start {
        id: "run_1",
        input: Input::Value(input),
        started_at: began(),
        max_steps: 300,
        journal,
        secret_nonce: "",
    };
    program.run(&start, world)
}

fn bytes(outcome: &Outcome) -> Vec<u8> {
    match outcome {
        Outcome::Completed(output) => canonical::to_vec(output),
        other @ (Outcome::Faulted(_) | Outcome::Waiting(_)) => format!("{other:?}").into_bytes(),
    }
}

fn expression() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("${ . }".to_owned()),
        Just("${ .n + 1 }".to_owned()),
        Just("${ [.n, now, $workflow.id] }".to_owned()),
        Just("${ (.list // []) + [.n] }".to_owned()),
        Just("${ {a: $context, b: $task.reference, c: $task.startedAt} }".to_owned()),
        Just("${ keys }".to_owned()),
        Just("${ to_entries | map(.key) | unique }".to_owned()),
        Just("${ $workflow.input | tojson }".to_owned()),
        Just("${ error(\"no\") }".to_owned()),
        "[a-z]{0,5}",
    ]
}

fn task() -> impl Strategy<Value = Value> {
    let call = || json!({"call": "http", "with": {"method": "post", "endpoint": "https://e.example/", "body": "${ . }"}});
    let leaf = prop_oneof![
        2 => (expression(), expression()).prop_map(|(n, list)| json!({"set": {"n": n, "list": list}})),
        1 => expression().prop_map(|e| json!({"set": {"n": 1, "x": e}, "export": {"as": {"kept": e}}})),
        1 => Just(
            json!({"raise": {"error": {"type": "https://example.com/e", "status": 500, "detail": "${ .n | tostring }"}}})
        ),
        1 => Just(json!({"if": ".n == 1", "set": {"n": 2}})),
        1 => Just(
            json!({"switch": [{"a": {"when": ".n == 1", "then": "exit"}}, {"b": {"then": "continue"}}]})
        ),
        1 => Just(json!({"set": {"done": true}, "then": "end"})),
        1 => Just(json!({"emit": {"event": {"with": {"source": "https://e.example", "type": "t", "data": "${ . }"}}}})),
        1 => (0..200_i64).prop_map(|ms| json!({"wait": {"milliseconds": ms}})),
        3 => Just(call()),
        1 => Just(json!({"call": "f", "with": {"n": "${ .n }"}, "timeout": {"after": {"milliseconds": 90}}})),
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        let list = prop::collection::vec(inner, 1..4).prop_map(named);
        prop_oneof![
            list.clone().prop_map(|list| json!({"do": list})),
            list.clone()
                .prop_map(|list| json!({"for": {"in": "[1, 2, 3]"}, "do": list})),
            (list.clone(), any::<bool>())
                .prop_map(|(list, compete)| json!({"fork": {"compete": compete, "branches": list}})),
            (list.clone(), 1..300_i64)
                .prop_map(|(list, ms)| json!({"do": list, "timeout": {"after": {"milliseconds": ms}}})),
            (list.clone(), list, 0..50_i64).prop_map(|(body, handler, ms)| json!({
                "try": body,
                "catch": {
                    "retry": {"delay": {"milliseconds": ms}, "backoff": {"linear": {}}, "limit": {"attempt": {"count": 2}}},
                    "do": handler,
                },
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
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn interrupted_run_gives_same_result(
        tasks in prop::collection::vec(task(), 1..4),
        n in 0..3_i64,
        text in ".{0,8}",
        choices in prop::collection::vec(any::<u8>(), 0..24),
    ) {
        let definition = json!({
            "document": {"dsl": "1.0.3", "namespace": "t", "name": "t", "version": "1.0.0"},
            "use": {"functions": {"f": {"do": [
                {"a": {"wait": {"milliseconds": 40}}},
                {"b": {"call": "http", "with": {"method": "get", "endpoint": "https://e.example/{n}"}}},
            ]}}},
            "do": named(tasks),
        });
        let input = json!({"n": n, "text": text});
        let program = Program::compile(&definition).unwrap();
        let mut whole = World::new(&choices, vec![]);
        let outcome = run(&program, &input, &[], &mut whole);
        let journal = whole.written;

        // From the start, with another compilation of the same definition and the whole journal.
        let other = Program::compile(&definition).unwrap();
        let mut again = World::new(&[], vec![]);
        prop_assert_eq!(bytes(&run(&other, &input, &journal, &mut again)), bytes(&outcome));
        prop_assert_eq!(&again.seen, &whole.seen);
        prop_assert_eq!(&again.emitted, &whole.emitted);

        for cut in 0..=journal.len() {
            // Interrupted after each entry: it requests the same effects.
            let (before, after) = journal.split_at(cut);
            let mut halfway = World::new(&[], vec![]);
            let left = run(&program, &input, before, &mut halfway);
            prop_assert!(whole.seen.starts_with(&halfway.seen));
            if let Some(pending) = whole.pending.get(cut) {
                prop_assert_eq!(&left, &Outcome::Waiting(pending.clone()));
                prop_assert_eq!(halfway.pending.last(), Some(pending));
            }
            // Continued there with the remaining entries.
            let mut resumed = World::new(&[], after.to_vec());
            prop_assert_eq!(bytes(&run(&program, &input, before, &mut resumed)), bytes(&outcome));
            prop_assert_eq!(&resumed.seen, &whole.seen);
        }
    }

    #[test]
    fn mismatching_journal_faults_run(
        tasks in prop::collection::vec(task(), 1..4),
        choices in prop::collection::vec(any::<u8>(), 4..16),
        place in any::<prop::sample::Index>(),
    ) {
        let definition = json!({
            "document": {"dsl": "1.0.3", "namespace": "t", "name": "t", "version": "1.0.0"},
            "use": {"functions": {"f": {"set": {"n": 1}}}},
            "do": named(tasks),
        });
        let program = Program::compile(&definition).unwrap();
        let input = json!({"n": 1});
        let mut whole = World::new(&choices, vec![]);
        run(&program, &input, &[], &mut whole);
        let answered: Vec<usize> = (0..whole.written.len())
            .filter(|i| matches!(whole.written[*i].event, EntryEvent::EffectCompleted { .. }))
            .collect();
        if answered.is_empty() {
            return Ok(());
        }
        let mut journal = whole.written;
        let place = answered[place.index(answered.len())];
        if let EntryEvent::EffectCompleted { digest, .. } = &mut journal[place].event {
            digest.push('0');
        }
        let outcome = run(&program, &input, &journal, &mut World::new(&[], vec![]));
        let Outcome::Faulted(error) = outcome else {
            return Err(TestCaseError::fail(format!("{outcome:?}")));
        };
        prop_assert_eq!(aias_domain::run::RunError::from(error).code, "non-deterministic");
    }
}
