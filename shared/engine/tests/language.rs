//! The language, task by task: results of definitions, and why others are refused.

#![expect(clippy::unwrap_used, reason = "a test")]

use aias_domain::run::RunError;
use aias_engine::{
    Control, Event, Host, Input, Outcome, Program, Record, Start,
    definition::{Format, read},
};
use serde_json::{Value, json};

struct Steps(Vec<(String, Event, u32)>);

impl Host for Steps {
    fn step(&mut self, record: Record) -> Control {
        self.0.push((record.task, record.event, record.attempt));
        Control::Continue
    }
}

fn program(yaml: &str) -> Result<Program, Vec<String>> {
    let head = "document: {dsl: '1.0.3', namespace: test, name: test, version: '1.0.0'}\n";
    let definition = read(format!("{head}{yaml}").as_bytes(), Format::Yaml).unwrap();
    Program::compile(&definition).map_err(|faults| {
        faults
            .iter()
            .map(|f| format!("{} {}", f.pointer, f.detail))
            .collect()
    })
}

fn run_in(program: &Program, input: &Value, max_steps: u32) -> (Result<Value, RunError>, Steps) {
    let mut steps = Steps(Vec::new());
    let start = Start {
        id: "run_1",
        input: Input::Value(input),
        started_at: "2026-11-21T00:00:00.5Z".parse().unwrap(),
        max_steps,
        journal: &[],
        secret_nonce: "",
    };
    let outcome = match program.run(&start, &mut steps) {
        Outcome::Completed(output) => Ok(output),
        Outcome::Faulted(error) => Err(error.into()),
        Outcome::Waiting(requested) => unreachable!("{requested:?}"),
    };
    (outcome, steps)
}

#[expect(clippy::needless_pass_by_value, reason = "it reads better")]
fn run(yaml: &str, input: Value) -> Value {
    run_in(&program(yaml).unwrap(), &input, 10_000).0.unwrap()
}

#[expect(clippy::needless_pass_by_value, reason = "it reads better")]
fn fault(yaml: &str, input: Value) -> RunError {
    run_in(&program(yaml).unwrap(), &input, 10_000)
        .0
        .unwrap_err()
}

#[test]
fn data_flows_through_input_output_and_context() {
    let yaml = "
input: {from: .in}
do:
  - a:
      input: {from: '{x: .n}'}
      set: {y: '${ .x + $input.x }'}
      output: {as: '.y'}
      export: {as: '$context + {kept: ., before: $output}'}
  - b:
      set: {sum: '${ . }', kept: '${ $context.kept }', before: '${ $context.before }', task: '${ $task.name }', at: '${ $task.reference }'}
output: {as: {result: '${ . }', plain: 1}}
";
    assert_eq!(
        run(yaml, json!({"in": {"n": 2}})),
        json!({"result": {"sum": 4, "kept": 4, "before": 4, "task": "b", "at": "/do/1/b"}, "plain": 1})
    );
}

#[test]
fn runtime_arguments_are_deterministic() {
    let yaml = "
do:
  - a:
      set:
        id: ${ $workflow.id }
        name: ${ $workflow.definition.document.name }
        raw: ${ $workflow.input }
        at: ${ $workflow.startedAt.epoch.milliseconds }
        iso: ${ $task.startedAt.iso8601 }
        now: ${ now }
        runtime: ${ $runtime.name }
        who: ${ $authorization }
        took: ${ $task.input }
";
    assert_eq!(
        run(yaml, json!(7)),
        json!({
            "id": "run_1", "name": "test", "raw": 7, "at": 1_795_219_200_500_i64,
            "iso": "2026-11-21T00:00:00.500Z", "now": 1_795_219_200.5, "runtime": "aias",
            "who": null, "took": 7,
        })
    );
}

#[test]
fn secret_evaluates_to_placeholder() {
    let yaml = "
use: {secrets: [b, 'a.key']}
do:
  - a:
      input: {from: '${ {all: $secrets, text: (\"Bearer \" + $secrets.b), none: ($secrets | .c)} }'}
      set: ${ . }
";
    // By the nonce of the run, which is empty here.
    let b = aias_domain::secret::placeholder("", "b");
    assert_eq!(
        run(yaml, json!({})),
        json!({
            "all": {"a.key": aias_domain::secret::placeholder("", "a.key"), "b": b},
            "text": format!("Bearer {b}"), "none": null,
        })
    );
    for (place, pointer) in [
        ("set: {x: $secrets}", None),
        (
            "set: {x: '${ . as $secrets_of_us | $secrets_of_us }'}",
            None,
        ),
        ("set: {x: '${ $secrets.b }'}", Some("/do/0/a/set/x")),
        ("set: {x: 1}, if: '$secrets.b == 1'", Some("/do/0/a/if")),
        (
            "set: {x: 1}, output: {as: '${ $secrets }'}",
            Some("/do/0/a/output/as"),
        ),
        (
            "set: {x: 1}, export: {as: '${ $secrets }'}",
            Some("/do/0/a/export/as"),
        ),
    ] {
        let faults = program(&format!("use: {{secrets: [b]}}\ndo: [{{a: {{{place}}}}}]")).err();
        let reported = faults.map(|faults| faults.concat());
        let expected = pointer.map(|p| format!("{p} `$secrets` can only be used in `input.from`"));
        assert_eq!(reported, expected, "{place}");
    }
}

#[test]
fn false_condition_skips_task_and_then() {
    let yaml = "
do:
  - a: {if: .n > 1, set: {x: 1}, then: end}
  - b: {set: {y: '${ .n }'}}
";
    assert_eq!(run(yaml, json!({"n": 1})), json!({"y": 1}));
    assert_eq!(run(yaml, json!({"n": 2})), json!({"x": 1}));
}

#[test]
fn switch_takes_first_matching_case() {
    let yaml = "
do:
  - s:
      switch:
        - one: {when: .n == 1, then: c}
        - two: {when: '${ .n == 2 }', then: end}
      then: b
  - a: {set: {at: a}}
  - b: {set: {at: b}, then: end}
  - c: {set: {at: c}, then: exit}
";
    assert_eq!(run(yaml, json!({"n": 1})), json!({"at": "c"}));
    assert_eq!(run(yaml, json!({"n": 2})), json!({"n": 2}));
    assert_eq!(run(yaml, json!({"n": 3})), json!({"at": "b"}));
}

#[test]
fn for_iterates_while_condition_holds() {
    let yaml = "
do:
  - l:
      for: {each: x, in: .xs, at: i}
      while: '(.sum // 0) < 3'
      do:
        - add: {set: {xs: '${ .xs }', sum: '${ (.sum // 0) + $x }', last: '${ $i }'}}
";
    assert_eq!(
        run(yaml, json!({"xs": [1, 2, 3]})),
        json!({"xs": [1, 2, 3], "sum": 3, "last": 1})
    );
    assert_eq!(run(yaml, json!({"xs": []})), json!({"xs": []}));
    let error = fault(yaml, json!({"xs": 1}));
    assert_eq!(
        (error.code.as_str(), error.instance.as_deref()),
        ("expression", Some("/do/0/l"))
    );
}

#[test]
fn nested_loops_have_both_variables() {
    let yaml = "
do:
  - rows:
      for: {each: row, in: $workflow.input.rows, at: r}
      do:
        - cells:
            for: {each: cell, in: $row, at: c}
            do:
              - put: {set: {all: '${ (.all // []) + [[$r, $c, $cell]] }'}}
";
    assert_eq!(
        run(yaml, json!({"rows": [[1, 2], [3]]})),
        json!({"all": [[0, 0, 1], [0, 1, 2], [1, 0, 3]]})
    );
}

#[test]
fn error_is_caught_only_by_matching_filter() {
    let yaml = "
use:
  errors:
    gone: {type: 'https://example.com/gone', status: 410, title: Gone, detail: '${ \"no \" + .what }'}
do:
  - t:
      try:
        - r: {raise: {error: gone}}
      catch:
        errors: {with: {status: 410}}
        as: err
        when: $err.title == \"Gone\"
        exceptWhen: .what == \"let me through\"
        do:
          - h: {set: {caught: '${ $err }'}}
";
    assert_eq!(
        run(yaml, json!({"what": "milk"})),
        json!({"caught": {
            "type": "https://example.com/gone", "status": 410, "title": "Gone",
            "detail": "no milk", "instance": "/do/0/t/try/0/r",
        }})
    );
    let error = fault(yaml, json!({"what": "let me through"}));
    assert_eq!((error.status, error.code.as_str()), (410, "raised"));
    assert_eq!(error.kind, "https://example.com/gone");
}

#[test]
fn failed_expression_is_expression_error() {
    let yaml = "
do:
  - t:
      try:
        - a: {set: {x: '${ .a + 1 | error(\"broken\") }'}}
      catch:
        errors: {with: {type: 'https://serverlessworkflow.io/spec/1.0.0/errors/expression'}}
        do:
          - h: {set: {at: '${ $error.instance }', status: '${ $error.status }'}}
";
    assert_eq!(
        run(yaml, json!({"a": 1})),
        json!({"at": "/do/0/t/try/0/a", "status": 400})
    );
}

#[test]
fn retry_without_delay_stops_at_limit() {
    let yaml = "
use:
  retries:
    thrice: {limit: {attempt: {count: 3}}, when: $error.status == 503}
do:
  - t:
      try:
        - r: {raise: {error: {type: 'https://example.com/busy', status: 503}}}
      catch:
        retry: thrice
        do:
          - h: {set: {gave: up}}
";
    let program = program(yaml).unwrap();
    let (outcome, steps) = run_in(&program, &json!({}), 100);
    assert_eq!(outcome, Ok(json!({"gave": "up"})));
    let retried = steps
        .0
        .iter()
        .filter(|(_, event, _)| *event == Event::Retried)
        .count();
    assert_eq!(retried, 3);
    assert_eq!(
        steps
            .0
            .iter()
            .filter(|(task, ..)| task == "/do/0/t/try/0/r")
            .map(|s| s.2)
            .max(),
        Some(4)
    );
}

#[test]
fn exhausted_retry_raises_last_error() {
    let yaml = "
do:
  - t:
      try:
        - r: {raise: {error: {type: 'https://example.com/busy', status: 503}}}
      catch: {retry: {limit: {attempt: {count: 1}}}}
";
    assert_eq!(fault(yaml, json!({})).status, 503);
    let swallow = "
do:
  - t:
      try:
        - r: {raise: {error: {type: 'https://example.com/busy', status: 503}}}
      catch: {}
";
    assert_eq!(
        run(swallow, json!({"as": "it was"})),
        json!({"as": "it was"})
    );
}

#[test]
fn schemas_are_validated() {
    let schema = "{document: {type: object, required: [n], properties: {n: {type: integer}}}}";
    let bad = json!({"n": "x"});
    for (place, at) in [
        (
            format!("input: {{schema: {schema}}}\ndo: [{{a: {{set: {{n: 1}}}}}}]"),
            "/input",
        ),
        (
            format!("output: {{schema: {schema}}}\ndo: [{{a: {{set: '${{ . }}'}}}}]"),
            "/output",
        ),
        (
            format!("do: [{{a: {{input: {{schema: {schema}}}, set: {{n: 1}}}}}}]"),
            "/do/0/a",
        ),
        (
            format!("do: [{{a: {{output: {{schema: {schema}}}, set: '${{ . }}'}}}}]"),
            "/do/0/a",
        ),
        (
            format!("do: [{{a: {{export: {{as: ., schema: {schema}}}, set: '${{ . }}'}}}}]"),
            "/do/0/a",
        ),
    ] {
        let error = fault(&place, bad.clone());
        assert_eq!(
            (error.code.as_str(), error.instance.as_deref()),
            ("validation", Some(at)),
            "{place}"
        );
        assert_eq!(error.status, 400);
        run(&place, json!({"n": 1}));
    }
}

#[test]
fn step_limit_is_exact() {
    let yaml = "
do:
  - a: {set: '${ . }'}
  - b: {switch: [{more: {when: .n > 0, then: c}}], then: end}
  - c: {set: {n: '${ .n - 1 }'}, then: b}
";
    let program = program(yaml).unwrap();
    // a, b, (c, b) × n
    let input = json!({"n": 4_999});
    assert_eq!(run_in(&program, &input, 10_000).0, Ok(json!({"n": 0})));
    assert_eq!(
        run_in(&program, &input, 9_999).0.unwrap_err().code,
        "step-limit"
    );
    let caught = "
do:
  - t:
      try: [{l: {for: {in: '[range(100)]'}, do: [{a: {set: {x: 1}}}]}}]
      catch: {do: [{h: {set: {x: 2}}}]}
";
    let program = self::program(caught).unwrap();
    assert_eq!(
        run_in(&program, &json!({}), 50).0.unwrap_err().code,
        "step-limit"
    );
}

#[test]
fn host_can_stop_run() {
    struct Impatient(u32);
    impl Host for Impatient {
        fn step(&mut self, _: Record) -> Control {
            self.0 = self.0.saturating_sub(1);
            if self.0 == 0 {
                Control::Stop
            } else {
                Control::Continue
            }
        }
    }
    let program =
        program("do: [{l: {for: {in: '[range(100)]'}, do: [{a: {set: {x: 1}}}]}}]").unwrap();
    let start = Start {
        id: "r",
        input: Input::Value(&json!({})),
        started_at: jiff::Timestamp::UNIX_EPOCH,
        max_steps: 1_000,
        journal: &[],
        secret_nonce: "",
    };
    let Outcome::Faulted(error) = program.run(&start, &mut Impatient(3)) else {
        panic!("the run continued")
    };
    assert_eq!(RunError::from(error).code, "timeout");
}

#[test]
fn failed_catch_condition_restores_variables() {
    let yaml = "
do:
  - outer:
      try:
        - inner:
            try: [{a: {raise: {error: {type: 'https://example.com/e', status: 500, title: first}}}}]
            catch: {as: x, when: 'error(\"second\")'}
      catch:
        as: y
        do: [{b: {set: {type: '${ $y.type | split(\"/\") | last }'}}}]
";
    assert_eq!(run(yaml, json!({})), json!({"type": "expression"}));
}

#[test]
fn non_json_output_is_error() {
    let error = fault("do: [{a: {set: '${ {(null): 1} }'}}]", json!(1));
    assert_eq!(error.code, "runtime");
}
