//! The DSL's own data, where it lies beside the checkout: its scenarios run on the engine, its
//! examples and its schema agree with the compiler about what a definition is.

#![expect(clippy::unwrap_used, clippy::print_stderr, reason = "a test")]

use std::{fs, path::PathBuf};

use aias_domain::{canonical, run::RunError};
use aias_engine::{
    Control, Host, Outcome, Program, Record, Start,
    definition::{Format, read},
};
use serde_json::{Value, json};

/// The kit's folder, or a printed reason.
fn kit() -> Option<PathBuf> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/ctk");
    if folder.is_dir() {
        return Some(folder);
    }
    eprintln!("skipped: {} is not there", folder.display());
    None
}

fn yaml(text: &str) -> Value {
    read(text.as_bytes(), Format::Yaml).unwrap()
}

#[derive(Default)]
struct Order(Vec<String>);

impl Host for Order {
    fn step(&mut self, record: Record) -> Control {
        let name = record
            .task
            .rsplit('/')
            .next()
            .unwrap_or_default()
            .to_owned();
        self.0.push(name);
        Control::Continue
    }
}

/// The steps of a scenario: the sentence, and the document under it.
fn steps(scenario: &str) -> Vec<(String, String)> {
    let mut steps: Vec<(String, String)> = Vec::new();
    let mut document: Option<(usize, String)> = None;
    for line in scenario.lines() {
        let trimmed = line.trim();
        match &mut document {
            None if trimmed.starts_with("\"\"\"") => {
                document = Some((line.len() - line.trim_start().len(), String::new()));
            }
            None if ["Given", "When", "Then", "And"]
                .iter()
                .any(|w| trimmed.starts_with(w)) =>
            {
                steps.push((trimmed.to_owned(), String::new()));
            }
            None => {}
            Some((_, text)) if trimmed.starts_with("\"\"\"") => {
                steps.last_mut().unwrap().1 = std::mem::take(text);
                document = None;
            }
            Some((indent, text)) => {
                text.push_str(line.get(*indent..).unwrap_or(trimmed));
                text.push('\n');
            }
        }
    }
    steps
}

fn check(name: &str, scenario: &str) -> bool {
    let (mut program, mut input) = (None, json!({}));
    let (mut outcome, mut order) = (None, Order::default());
    for (sentence, document) in steps(scenario) {
        let words = sentence
            .split_once(' ')
            .unwrap()
            .1
            .trim_start_matches("given ");
        match words {
            "a workflow with definition:" => match Program::compile(&yaml(&document)) {
                Ok(compiled) => program = Some(compiled),
                Err(faults) => {
                    let unsupported = faults.iter().all(|f| f.detail.starts_with("not supported"));
                    assert!(unsupported, "{name}: {faults:?}");
                    eprintln!("skipped: {name}: {}", faults[0].detail);
                    return false;
                }
            },
            "the workflow input is:" => input = yaml(&document),
            "the workflow is executed" => {
                let started_at = jiff::Timestamp::UNIX_EPOCH;
                let start = Start {
                    id: "r",
                    input: &input,
                    started_at,
                    max_steps: 1_000,
                    journal: &[],
                };
                outcome = Some(program.as_ref().unwrap().run(&start, &mut order));
            }
            "the workflow should complete with output:" => {
                let expected = canonical::to_vec(&yaml(&document));
                let Some(Outcome::Completed(output)) = &outcome else {
                    unreachable_outcome(name, &outcome)
                };
                assert_eq!(canonical::to_vec(output), expected, "{name}");
            }
            "the workflow should fault with error:" => {
                let Some(Outcome::Faulted(error)) = outcome.clone() else {
                    unreachable_outcome(name, &outcome)
                };
                let error = serde_json::to_value(RunError::from(error)).unwrap();
                for (member, value) in yaml(&document).as_object().unwrap() {
                    assert_eq!(error.get(member), Some(value), "{name}");
                }
            }
            other => {
                let mut words = other.split(" should run ");
                let (task, when) = (words.next().unwrap(), words.next().unwrap());
                let place = |task: &str| order.0.iter().position(|t| t == task).unwrap();
                match when {
                    "first" => assert_eq!(place(task), 0, "{name}"),
                    "last" => assert_eq!(place(task), order.0.len() - 1, "{name}"),
                    after => assert!(
                        place(task) > place(after.strip_prefix("after ").unwrap()),
                        "{name}"
                    ),
                }
            }
        }
    }
    true
}

#[expect(clippy::panic, reason = "a test")]
fn unreachable_outcome(name: &str, outcome: &Option<Outcome>) -> ! {
    panic!("{name}: {outcome:?}")
}

#[test]
fn the_kits_scenarios_give_what_they_say() {
    let Some(kit) = kit() else { return };
    let mut passed = Vec::new();
    for file in fs::read_dir(kit.join("features")).unwrap() {
        let path = file.unwrap().path();
        let text = fs::read_to_string(&path).unwrap();
        for scenario in text.split("Scenario:").skip(1) {
            let name = scenario.lines().next().unwrap().trim();
            if check(name, scenario) {
                passed.push(name.to_owned());
            }
        }
    }
    passed.sort();
    assert_eq!(
        passed,
        [
            "Explicit Sequence Flow",
            "For Task",
            "Implicit Sequence Flow",
            "Input Filtering",
            "Raise task with inline error",
            "Set Task",
            "Switch task with explicit default case",
            "Switch task with implicit default case",
            "Switch task with matching case",
            "Task With Sequential Sub Tasks",
        ]
    );
}

#[test]
fn every_example_compiles_or_is_refused_for_what_is_not_supported() {
    let Some(kit) = kit() else { return };
    for file in fs::read_dir(kit.join("examples")).unwrap() {
        let path = file.unwrap().path();
        if let Err(faults) = Program::compile(&yaml(&fs::read_to_string(&path).unwrap())) {
            let others: Vec<_> = faults
                .iter()
                .filter(|f| !f.detail.starts_with("not supported"))
                .collect();
            assert!(others.is_empty(), "{}: {others:?}", path.display());
        }
    }
    for file in fs::read_dir(kit.join("invalid")).unwrap() {
        let text = fs::read_to_string(file.unwrap().path()).unwrap();
        let refused = read(text.as_bytes(), Format::Yaml)
            .map_err(|_| ())
            .and_then(|v| Program::compile(&v).map_err(|_| ()));
        assert!(refused.is_err(), "{text}");
    }
}

/// A definition with every member that is supported.
const WHOLE: &str = r#"
document: {dsl: '1.0.3', namespace: test, name: whole, version: '1.0.0', title: t, summary: s, tags: {a: b}, metadata: {c: d}}
input: {schema: {format: json, document: {type: object}}, from: .}
use:
  errors:
    e: {type: 'https://example.com/e', status: 400, title: t, detail: d, instance: /do}
  retries:
    r: {when: '${ true }', exceptWhen: '${ false }', limit: {attempt: {count: 2}}}
do:
  - a: {if: '${ true }', set: {x: 1}, then: continue, metadata: {m: 1}, input: {from: {y: 1}}, output: {as: ., schema: {document: {}}}, export: {as: .}}
  - b: {do: [{c: {set: '${ . }', then: exit}}], then: d}
  - d: {switch: [{one: {when: .x == 1, then: e}}, {two: {then: end}}]}
  - e: {for: {each: i, in: '${ [1] }', at: n}, while: '${ true }', do: [{f: {set: {x: 1}}}]}
  - g:
      try: [{h: {raise: {error: e}}}]
      catch: {errors: {with: {type: t, status: 400, instance: i, title: t, detail: d}}, as: err, when: '${ true }', exceptWhen: '${ false }', retry: r, do: [{i: {set: {x: 1}}}]}
  - j: {raise: {error: {type: 'https://example.com/e', status: 400}}, if: '${ false }'}
output: {as: {x: 1}, schema: {document: {}}}
"#;

/// Every document that comes of `value` by one change somewhere in it.
fn changed(value: &Value) -> Vec<Value> {
    let mut all = vec![
        Value::Null,
        json!(7),
        json!("text"),
        json!([]),
        json!({}),
        json!(true),
    ];
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                let mut without = members.clone();
                without.remove(name);
                all.push(Value::Object(without));
                for other in changed(member) {
                    let mut with = members.clone();
                    with.insert(name.clone(), other);
                    all.push(Value::Object(with));
                }
            }
            let mut more = members.clone();
            more.insert("surplus".into(), json!(1));
            all.push(Value::Object(more));
        }
        Value::Array(items) => {
            for index in 0..items.len() {
                let mut without = items.clone();
                without.remove(index);
                all.push(Value::Array(without));
                for other in changed(&items[index]) {
                    let mut with = items.clone();
                    with[index] = other;
                    all.push(Value::Array(with));
                }
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
    all
}

#[test]
fn what_the_dsls_schema_refuses_is_refused() {
    let Some(kit) = kit() else { return };
    let text = fs::read_to_string(kit.join("schema/workflow.yaml")).unwrap();
    let schema = jsonschema::validator_for(&yaml(&text)).unwrap();
    let whole = yaml(WHOLE);
    assert!(schema.is_valid(&whole));
    Program::compile(&whole).unwrap();

    let (mut refused, mut taken, mut stricter) = (0, 0, 0);
    for document in changed(&whole) {
        match (schema.is_valid(&document), Program::compile(&document)) {
            (true, Ok(_)) => taken += 1,
            // Names that lead nowhere, and what is not supported, are more than a schema sees.
            (true, Err(_)) => stricter += 1,
            (false, Err(_)) => refused += 1,
            (false, Ok(_)) => {
                let why: Vec<_> = schema
                    .iter_errors(&document)
                    .map(|e| format!("{}: {e}", e.instance_path()))
                    .collect();
                assert!(why.is_empty(), "taken against the schema: {why:.300?}");
            }
        }
    }
    eprintln!("{refused} refused by both, {taken} taken by both, {stricter} refused here alone");
    assert!(refused > 500 && taken > 100);
}
