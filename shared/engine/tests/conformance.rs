//! The DSL's own examples and schema, if they are next to the checkout: the compiler accepts what
//! they accept. Its scenarios are in `tests/it/conformance.rs`.

#![expect(clippy::unwrap_used, clippy::print_stderr, reason = "a test")]

use std::{fs, path::PathBuf};

use aias_engine::{
    Program,
    definition::{Format, read},
};
use serde_json::{Value, json};

/// The folder of the conformance kit; prints a reason if it does not exist.
fn kit() -> Option<PathBuf> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/ctk");
    if folder.is_dir() {
        return Some(folder);
    }
    eprintln!("skipped: {} does not exist", folder.display());
    None
}

fn yaml(text: &str) -> Value {
    read(text.as_bytes(), Format::Yaml).unwrap()
}

/// Examples that are refused because they use something that is not supported.
const REFUSED: &[&str] = &[
    "accumulate-room-readings: /do/0/consumeReading/listen",
    "call-asyncapi-publish: /do/0/findPet/call",
    "call-asyncapi-subscribe-consume-amount: /do/0/getNotifications/call",
    "call-asyncapi-subscribe-consume-forever-foreach: /do/0/getNotifications/call",
    "call-asyncapi-subscribe-consume-until: /do/0/getNotifications/call",
    "call-asyncapi-subscribe-consume-while: /do/0/getNotifications/call",
    "call-custom-function-cataloged: /do/0/log/call",
    "call-grpc: /do/0/greet/call",
    "call-mcp: /do/0/publishMessageToSlack/call",
    "for: /do/0/checkup/do/0/waitForCheckup/listen",
    "listen-to-all-read-envelope: /do/0/callDoctor/listen",
    "listen-to-all: /do/0/callDoctor/listen",
    "listen-to-any-filter: /do/0/callDoctor/listen",
    "listen-to-any-forever-foreach: /do/0/listenToGossips/listen",
    "listen-to-any-until-condition: /do/0/callDoctor/listen",
    "listen-to-any-until-consumed: /do/0/callDoctor/listen",
    "listen-to-any: /do/0/callDoctor/listen",
    "listen-to-one: /do/0/waitForStartup/listen",
    "run-container-cleanup-always: /do/0/runContainer/run/container",
    "run-container-cleanup-eventually: /do/0/runContainer/run/container",
    "run-container-stdin-and-arguments: /do/1/runContainer/run/container",
    "run-container-with-name: /do/0/runContainer/run/container",
    "run-container-with-pull-policy: /do/0/runContainer/run/container",
    "run-container: /do/0/runContainer/run/container",
    "run-return-all: /do/0/runContainer/run/container",
    "run-return-code: /do/0/runContainer/run/container",
    "run-return-none: /do/0/runContainer/run/container",
    "run-return-stderr: /do/0/runContainer/run/container",
    "run-script-with-stdin-and-arguments: /do/0/runScript/run/script",
    "run-shell-stdin-and-arguments: /do/1/runShell/run/shell",
    "schedule-cron: /schedule",
    "schedule-event-driven: /schedule",
    "set-expression: /schedule",
    "set: /schedule",
];

#[test]
fn examples_compile_unless_unsupported() {
    let Some(kit) = kit() else { return };
    let (mut compiled, mut refused) = (0, Vec::new());
    for file in fs::read_dir(kit.join("examples")).unwrap() {
        let path = file.unwrap().path();
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        let Err(faults) = Program::compile(&yaml(&fs::read_to_string(&path).unwrap())) else {
            compiled += 1;
            continue;
        };
        for fault in faults {
            assert!(
                fault.detail.starts_with("not supported"),
                "{name}: {fault:?}"
            );
            refused.push(format!("{name}: {}", fault.pointer));
        }
    }
    refused.sort();
    eprintln!("{compiled} examples compile, {} are refused", refused.len());
    assert_eq!(refused, REFUSED);
}

#[test]
fn invalid_documents_are_refused_with_pointer() {
    let Some(kit) = kit() else { return };
    for (name, pointer) in [
        ("extra-property-in-call", "/do/0/getPet/foo"),
        ("two-tasks-in-one-item", "/do/0"),
    ] {
        let text = fs::read_to_string(kit.join(format!("invalid/{name}.yaml"))).unwrap();
        let faults = Program::compile(&yaml(&text)).unwrap_err();
        assert!(
            faults.iter().any(|f| f.pointer == pointer),
            "{name}: {faults:?}"
        );
    }
    for file in fs::read_dir(kit.join("invalid")).unwrap() {
        let text = fs::read_to_string(file.unwrap().path()).unwrap();
        let refused = read(text.as_bytes(), Format::Yaml)
            .map_err(|_| ())
            .and_then(|v| Program::compile(&v).map_err(|_| ()));
        assert!(refused.is_err(), "{text}");
    }
}

/// A definition with every supported member.
const WHOLE: &str = r#"
document: {dsl: '1.0.3', namespace: test, name: whole, version: '1.0.0', title: t, summary: s, tags: {a: b}, metadata: {c: d}}
input: {schema: {format: json, document: {type: object}}, from: .}
timeout: {after: {days: 1, hours: 1, minutes: 1, seconds: 1, milliseconds: 1}}
use:
  errors:
    e: {type: 'https://example.com/e', status: 400, title: t, detail: d, instance: /do}
  retries:
    r: {when: '${ true }', exceptWhen: '${ false }', delay: PT1S, backoff: {linear: {}}, jitter: {from: {seconds: 1}, to: {seconds: 2}}, limit: {attempt: {count: 2, duration: PT1M}, duration: PT1H}}
  timeouts:
    t: {after: PT1M}
  secrets: [s]
  authentications:
    a: {basic: {username: u, password: p}}
    b: {bearer: {use: s}}
    c: {oauth2: {authority: 'https://example.com', grant: client_credentials, client: {id: i, secret: s, authentication: client_secret_basic}, request: {encoding: application/json}, issuers: [i], scopes: [s], audiences: [a], username: u, password: p, subject: {token: t, type: y}, actor: {token: t, type: y}, endpoints: {token: /t, revocation: /r, introspection: /i}}}
    d: {oidc: {authority: 'https://example.com', grant: password}}
  functions:
    f: {call: http, with: {method: get, endpoint: 'https://example.com/{x}'}}
  extensions:
    - x: {extend: set, when: '${ false }', before: [{y: {wait: PT1S}}], after: []}
do:
  - a: {if: '${ true }', set: {x: 1}, then: continue, metadata: {m: 1}, input: {from: {y: 1}}, output: {as: ., schema: {document: {}}}, export: {as: .}, timeout: t}
  - b: {do: [{c: {set: '${ . }', then: exit}}], then: d, timeout: {after: PT1S}}
  - d: {switch: [{one: {when: .x == 1, then: e}}, {two: {then: end}}]}
  - e: {for: {each: i, in: '${ [1] }', at: n}, while: '${ true }', do: [{f: {set: {x: 1}}}]}
  - g:
      try: [{h: {raise: {error: e}}}]
      catch: {errors: {with: {type: t, status: 400, instance: i, title: t, details: d}}, as: err, when: '${ true }', exceptWhen: '${ false }', retry: r, do: [{i: {set: {x: 1}}}]}
  - j: {raise: {error: {type: 'https://example.com/e', status: 400}}, if: '${ false }'}
  - k: {fork: {compete: true, branches: [{l: {wait: '${ .x }'}}]}}
  - m: {emit: {event: {with: {id: i, source: 'https://example.com', type: t, time: '2026-11-21T00:00:00Z', subject: s, datacontenttype: c, dataschema: 'https://example.com/s', data: {x: 1}, extra: e}}}}
  - n: {call: http, with: {method: post, endpoint: {uri: 'https://example.com/', authentication: {use: a}}, headers: {h: v}, query: {q: v}, body: [1], output: response, redirect: true}}
  - o: {call: openapi, with: {document: {name: n, endpoint: {uri: 'https://example.com/', authentication: {digest: {username: u, password: p}}}}, operationId: o, parameters: {p: 1}, authentication: {use: d}, output: raw, redirect: false}}
  - p: {call: f, with: {x: 1}}
  - q: {run: {workflow: {namespace: n, name: w, version: latest, input: {x: 1}}, await: false, return: none}}
output: {as: {x: 1}, schema: {document: {}}}
"#;

/// Every document that differs from `value` by one change.
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
fn documents_refused_by_schema_are_refused() {
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
            // The schema does not check references and unsupported features.
            (true, Err(_)) => stricter += 1,
            (false, Err(_)) => refused += 1,
            (false, Ok(_)) => {
                let why: Vec<_> = schema
                    .iter_errors(&document)
                    .map(|e| format!("{}: {e}", e.instance_path()))
                    .collect();
                assert!(why.is_empty(), "accepted against the schema: {why:.300?}");
            }
        }
    }
    eprintln!("{refused} refused by both, {taken} taken by both, {stricter} refused here alone");
    assert!(refused > 500 && taken > 100);
}
