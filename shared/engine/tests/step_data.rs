//! What a host sees of a run: the data of its steps, messages of `debug`, and errors.

#![expect(clippy::unwrap_used, reason = "a test")]

use aias_engine::{
    Control, Event, Excerpt, Host, Input, Outcome, Program, Record, Start, StepData,
    definition::{self, Format},
};
use jiff::Timestamp;
use serde_json::{Value, json};

const HEAD: &str = "document: {dsl: '1.0.3', namespace: a, name: b, version: '1.0.0'}\n";

fn parse(tasks: &str) -> Value {
    definition::read(format!("{HEAD}{tasks}").as_bytes(), Format::Yaml).unwrap()
}

#[derive(Default)]
struct Recorder {
    records: Vec<Record>,
    data: Vec<StepData>,
}

impl Host for Recorder {
    fn step(&mut self, record: Record) -> Control {
        self.records.push(record);
        Control::Continue
    }

    fn wants_data(&self) -> bool {
        true
    }

    fn data(&mut self, data: StepData) {
        self.data.push(data);
    }
}

fn run(tasks: &str, input: &Value) -> (Outcome, Recorder) {
    run_document(&parse(tasks), input)
}

fn run_document(document: &Value, input: &Value) -> (Outcome, Recorder) {
    let program = Program::compile(document).unwrap();
    let mut host = Recorder::default();
    let start = Start {
        id: "run_1",
        input: Input::Value(input),
        started_at: Timestamp::UNIX_EPOCH,
        max_steps: 1_000,
        journal: &[],
        secret_nonce: "n1",
    };
    let outcome = program.run(&start, &mut host);
    (outcome, host)
}

#[test]
fn expression_error_names_the_member_and_the_type() {
    let tasks = "do: [{report: {set: {total: '${ .items + 1 }'}}}]";
    let (outcome, _) = run(tasks, &json!({"items": "a"}));
    let Outcome::Faulted(error) = outcome else {
        panic!("{outcome:?}")
    };
    let error: aias_domain::run::RunError = error.into();
    assert_eq!(error.instance.as_deref(), Some("/do/0/report"));
    let detail = error.detail.unwrap();
    assert!(
        detail.ends_with("in `.items + 1` at /do/0/report/set/total, whose input is an object"),
        "{detail}"
    );
}

#[test]
fn debug_writes_to_the_log() {
    let tasks = "do: [{a: {set: {x: '${ .n | debug | . + 1 | debug(\"is \\(.)\") }'}}}]";
    let (outcome, host) = run(tasks, &json!({"n": 1}));
    assert_eq!(outcome, Outcome::Completed(json!({"x": 2})));
    let debug = host.records.iter().filter(|r| r.event == Event::Debug);
    let messages: Vec<_> = debug
        .map(|r| (r.task.as_str(), r.message.as_str()))
        .collect();
    assert_eq!(messages, [("/do/0/a", "1"), ("/do/0/a", "\"is 2\"")]);
}

#[test]
fn debug_messages_are_bounded() {
    let tasks = "do: [{a: {for: {in: '${ [range(50)] }'}, do: [{b: {set: '${ [range(1000) | debug] | {x: length} }'}}]}}, {c: {set: '${ {x: (\"y\" * 100000 | debug | length)} }'}}]";
    let (outcome, host) = run(tasks, &json!({}));
    assert_eq!(outcome, Outcome::Completed(json!({"x": 100_000})));
    let debug: Vec<_> = host
        .records
        .iter()
        .filter(|r| r.event == Event::Debug)
        .collect();
    assert_eq!(debug.len(), 1_000);
    let (_, host) = run(
        "do: [{c: {set: '${ {x: (\"y\" * 100000 | debug | length)} }'}}]",
        &json!({}),
    );
    assert!(host.records[0].message.len() < 1_100);
}

#[test]
fn debug_of_a_secret_shows_its_name() {
    let tasks = "use: {secrets: [token]}\ninput: {from: '${ {t: $secrets.token} | debug }'}\ndo: [{a: {set: '${ {x: 1} }'}}]";
    let (_, host) = run(tasks, &json!({}));
    let message = &host
        .records
        .iter()
        .find(|r| r.event == Event::Debug)
        .unwrap()
        .message;
    assert_eq!(message, "{\"t\":\"$secrets.token\"}");
}

#[test]
fn data_of_each_step_is_reported() {
    let tasks = "
do:
  - list: {for: {each: n, in: .ns}, do: [{add: {set: {sum: '${ .sum + $n }'}, export: {as: {last: '${ $n }'}}}}]}
  - skip: {if: 'false', set: {x: 1}}
  - bad: {set: {x: '${ error(\"no\") }'}}
";
    let (_, host) = run(tasks, &json!({"ns": [2, 3], "sum": 1}));
    let tasks: Vec<_> = host
        .data
        .iter()
        .map(|d| (d.task.as_str(), d.event))
        .collect();
    assert_eq!(
        tasks,
        [
            ("/do/0/list/do/0/add", Event::Completed),
            ("/do/0/list/do/0/add", Event::Completed),
            ("/do/0/list", Event::Completed),
            ("/do/1/skip", Event::Skipped),
            ("/do/2/bad", Event::Faulted),
        ]
    );
    let second = &host.data[1];
    let output = second.output.as_ref().unwrap();
    assert_eq!(output.value, Excerpt::Whole(json!({"sum": 6})));
    assert_eq!(
        output.digest,
        aias_domain::canonical::digest(br#"{"sum":6}"#)
    );
    assert_eq!(second.context, Some(Excerpt::Whole(json!({"last": 3}))));
    let pointers: Vec<_> = second
        .expressions
        .iter()
        .map(|e| e.pointer.as_str())
        .collect();
    assert_eq!(
        pointers,
        [
            "/do/0/list/do/0/add/set/sum",
            "/do/0/list/do/0/add/export/as/last"
        ]
    );
    assert_eq!(second.expressions[1].result, Ok(Excerpt::Whole(json!(3))));
    let bad = &host.data[4];
    assert!(bad.expressions[0].result.is_err() && bad.error.is_some() && bad.output.is_none());
}

#[test]
fn waiting_step_reports_its_request() {
    let tasks = "do: [{a: {call: http, with: {method: POST, endpoint: 'https://a.example/{id}', headers: {authorization: x}, body: {n: 1}}}}]";
    let (outcome, host) = run(tasks, &json!({"id": 7}));
    assert!(matches!(outcome, Outcome::Waiting(_)));
    let [step] = host.data.as_slice() else {
        panic!("{:?}", host.data)
    };
    assert_eq!(
        (step.task.as_str(), step.event),
        ("/do/0/a", Event::Started)
    );
    let shown = serde_json::to_string(&step.calls).unwrap();
    assert!(
        shown.contains("https://a.example/7") && shown.contains("[redacted]"),
        "{shown}"
    );
}

#[test]
fn large_value_is_cut() {
    let (_, host) = run("do: [{a: {set: {x: '${ \"y\" * 100000 }'}}}]", &json!({}));
    let Excerpt::Start { text, size_bytes } = &host.data[0].output.as_ref().unwrap().value else {
        panic!("{:?}", host.data[0].output)
    };
    assert_eq!(*size_bytes, 100_008);
    assert!(text.starts_with("{\"x\":\"yyy") && text.len() <= 4 * 1024);
}

/// The host reads the data of a step in one frame of limited size.
#[test]
fn data_of_a_step_is_bounded() {
    let long = "y".repeat(50_000);
    let code = format!("error(\"z\" * 1000000) # {long}");
    let document = json!({
        "document": {"dsl": "1.0.3", "namespace": "a", "name": "b", "version": "1.0.0"},
        "do": [{"a": {"for": {"in": "${ [range(200)] }"}, "while": format!("true # {long}"),
                      "do": [{"b": {"set": {"n": 1}}}]}},
               {"c": {"set": {"x": format!("${{ {code}\n}}")}}}],
    });
    let (outcome, host) = run_document(&document, &json!({}));
    assert!(matches!(outcome, Outcome::Faulted(_)), "{outcome:?}");
    for data in &host.data {
        let bytes = serde_json::to_vec(data).unwrap().len();
        assert!(bytes < 1024 * 1024, "{}: {bytes}", data.task);
    }
    let last = host.data.last().unwrap();
    assert!(last.expressions[0].result.is_err(), "{last:?}");
}

#[test]
fn headers_of_a_call_are_bounded() {
    let header = "h".repeat(8_000);
    let headers: serde_json::Map<String, Value> = (0..100)
        .map(|n| (format!("x-{n}"), json!(header)))
        .collect();
    let call = json!({"call": "http", "with": {"method": "get", "endpoint": "https://a.example", "headers": headers}});
    let document = json!({
        "document": {"dsl": "1.0.3", "namespace": "a", "name": "b", "version": "1.0.0"},
        "do": [{"a": call}],
    });
    let (_, host) = run_document(&document, &json!({}));
    assert!(serde_json::to_vec(&host.data[0]).unwrap().len() < 64 * 1024);
}

/// The task of a function has the reference of its call.
#[test]
fn function_and_its_call_have_data_of_their_own() {
    let tasks = "
use: {functions: {double: {set: {n: '${ .n * 2 }'}}}}
do: [{a: {call: double, with: {n: '${ .m }'}, output: {as: '${ {n: (.n + 1)} }'}}}]
";
    let (_, host) = run(tasks, &json!({"m": 4}));
    let [inner, outer] = host.data.as_slice() else {
        panic!("{:?}", host.data)
    };
    let value = |data: &Option<aias_engine::StepValue>| data.as_ref().unwrap().value.clone();
    assert_eq!(value(&inner.input), Excerpt::Whole(json!({"n": 4})));
    assert_eq!(value(&inner.output), Excerpt::Whole(json!({"n": 8})));
    assert_eq!(value(&outer.input), Excerpt::Whole(json!({"m": 4})));
    assert_eq!(value(&outer.output), Excerpt::Whole(json!({"n": 9})));
}
