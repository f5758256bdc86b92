//! Faults, warnings and errors that say what is wrong, where, and what would be right.

#![expect(clippy::unwrap_used, reason = "a test")]

use aias_engine::{
    Program,
    definition::{self, Format},
};
use serde_json::{Value, json};

const HEAD: &str = "document: {dsl: '1.0.3', namespace: a, name: b, version: '1.0.0'}\n";

fn parse(tasks: &str) -> Value {
    definition::read(format!("{HEAD}{tasks}").as_bytes(), Format::Yaml).unwrap()
}

/// The faults of a definition; empty if it compiles.
fn faults(tasks: &str) -> Vec<String> {
    let faults = Program::compile(&parse(tasks)).err().unwrap_or_default();
    let shown = faults.into_iter();
    shown
        .map(|f| format!("{} {}", f.pointer, f.detail))
        .collect()
}

fn warnings(tasks: &str) -> Vec<String> {
    let program = Program::compile(&parse(tasks)).unwrap();
    let warnings = program.compiled().warnings.into_iter();
    warnings
        .map(|w| format!("{} {}", w.pointer, w.detail))
        .collect()
}

#[test]
fn near_misses_are_suggested() {
    for (tasks, expected) in [
        ("do: [{a: {sett: {x: 1}}}]", "did you mean `set`?"),
        ("do: [{a: {set: {x: 1}, thn: end}}]", "did you mean `then`?"),
        (
            "do: [{sendMail: {set: {x: 1}}}, {b: {set: {x: 1}, then: snedMail}}]",
            "did you mean `sendMail`?",
        ),
        (
            "use: {functions: {charge: {set: {x: 1}}}}\ndo: [{a: {call: chrage}}]",
            "did you mean `charge`?",
        ),
        (
            "use: {retries: {slowly: {}}}\ndo: [{a: {try: [{b: {set: {x: 1}}}], catch: {retry: slowy}}}]",
            "did you mean `slowly`?",
        ),
        (
            "do: [{a: {set: '${ .x | tostrin }'}}]",
            "did you mean `tostring`?",
        ),
        (
            "do: [{a: {set: '${ $contxt.x }'}}]",
            "did you mean `$context`?",
        ),
        (
            "use: {secrets: [crm]}\ninput: {from: '${ {t: $secrets.crn} }'}\ndo: [{a: {set: {x: 1}}}]",
            "`use.secrets` does not declare `crn`; did you mean `crm`?",
        ),
    ] {
        let faults = faults(tasks);
        assert!(
            faults.iter().any(|f| f.contains(expected)),
            "{expected} in {faults:#?}"
        );
    }
}

#[test]
fn undeclared_secret_is_a_fault() {
    for code in [
        "$secrets.token",
        "$secrets[\"token\"]",
        "$secrets.\"token\"",
    ] {
        let tasks = format!(
            "use: {{secrets: [other.name]}}\ninput: {{from: '${{ {code} }}'}}\ndo: [{{a: {{set: {{x: 1}}}}}}]"
        );
        assert_eq!(
            faults(&tasks),
            ["/input/from `use.secrets` does not declare `token`"]
        );
    }
    let declared = "use: {secrets: [other.name]}\ninput: {from: '${ $secrets.\"other.name\" }'}\ndo: [{a: {set: {x: 1}}}]";
    assert!(warnings(declared).is_empty());
}

#[test]
fn refused_members_are_not_listed_as_allowed() {
    let faults = faults("foo: 1\ndo: [{a: {what: 1}}]").join("\n");
    for refused in ["schedule", "listen", "catalogs"] {
        assert!(!faults.contains(refused), "{refused} in {faults}");
    }
}

#[test]
fn fault_of_an_expression_shows_it_and_its_member() {
    assert_eq!(
        faults("do: [{report: {set: {total: '${ .a + }', other: 1}}}]"),
        ["/do/0/report/set/total jq: expected term at line 1, column 5 of `.a +`"]
    );
    let quoted = faults("do: [{a: {set: {x: \"${ .a == 'b' }\"}}}]");
    assert!(
        quoted[0].ends_with("; jq strings have double quotes"),
        "{quoted:?}"
    );
    let open = faults("do: [{a: {set: {x: '${ .a '}}}]");
    assert_eq!(
        open,
        ["/do/0/a/set/x `${` is not closed: an expression ends with `}`"]
    );
    let two = faults("do: [{a: {set: {x: '${ .a } and ${ .b }'}}}]");
    assert!(
        two[0].contains("evaluated only as a whole string"),
        "{two:?}"
    );
}

#[test]
fn probable_mistakes_are_warnings() {
    assert_eq!(
        warnings("do: [{a: {set: {x: .body.total, y: [$context.z]}}}]"),
        [
            "/do/0/a/set/x this is a string, not an expression; to evaluate it, write `${ .body.total }`",
            "/do/0/a/set/y/0 this is a string, not an expression; to evaluate it, write `${ $context.z }`",
        ]
    );
    let inserted = warnings("do: [{a: {set: {x: 'Hello ${ .name }'}}}]");
    assert!(
        inserted[0].contains("to insert a value into text"),
        "{inserted:?}"
    );
    let plain =
        "do: [{a: {set: {x: .env, y: '1.5', z: ./a/b, price: '$5', v: '...', w: 'a.b.c'}}}]";
    assert!(warnings(plain).is_empty(), "{:?}", warnings(plain));
}

#[test]
fn calls_are_listed() {
    let tasks = "
use: {functions: {f: {call: http, with: {method: GET, endpoint: 'https://a.example'}}}}
do:
  - a: {call: f}
  - b: {try: [{c: {call: openapi, with: {document: {endpoint: 'https://a.example'}, operationId: x}}}], catch: {do: [{d: {run: {workflow: {namespace: a, name: b, version: latest}}}}]}}
  - e: {set: {x: 1}}
";
    let program = Program::compile(&parse(tasks)).unwrap();
    assert_eq!(
        program.compiled().calls.unwrap(),
        [
            "/do/0/a",
            "/do/1/b/catch/do/0/d",
            "/do/1/b/try/0/c",
            "/do/1/b/try/0/c/with/document"
        ]
    );
}

#[test]
fn all_faults_are_reported_with_pointers() {
    let yaml = "
timeout: {after: {weeks: 1}}
foo: 1
use: {secrets: [1]}
do:
  - a: {set: {}, then: nowhere}
  - a: {set: {x: '${ .a + }'}, colour: red}
  - b: {call: http, with: {}}
  - c: {what: 1}
  - d: {for: {each: 'bad name'}, do: []}
  - e: {try: [], catch: {retry: unknown, errors: {with: {status: x}}}}
  - f: {raise: {error: missing}}
  - g: {raise: {error: {type: plain, status: many}}}
  - h: {switch: []}
  - i: {switch: [{x: {when: 1}}]}
  - j: {try: []}
  - k: {for: {in: .}}
  - l: {input: {from: 1, schema: {format: avro}}, set: 1}
  - {m: {set: {a: 1}}, n: {set: {a: 1}}}
  - o: {output: {schema: {document: {type: 7}}}, set: {a: 1}}
  - p: {try: [], catch: {retry: {delay: {seconds: soon}}}}
  - q: {for: {in: ., each: input}, do: []}
  - r: {wait: 5m, then: nowhere, if: '. | nope'}
";
    let faults = faults(yaml);
    for expected in [
        "/foo unknown member",
        "/timeout/after must have integers",
        "/use/secrets/0 must be a string",
        "/do/0/a/set must be a string or an object with members",
        "/do/0/a/then no task in this list is named `nowhere`",
        "/do/1/a another task in this list has the same name",
        "/do/1/a/colour unknown member",
        "/do/1/a/set/x jq: expected term",
        "/do/2/b/with `method` is missing",
        "/do/3/c this is not a task; a task has one of: do, set",
        "/do/4/d/for `in` is missing",
        "/do/4/d/for/each must be a variable name",
        "/do/5/e/catch/retry `use.retries` has no `unknown`",
        "/do/5/e/catch/errors/with/status must be an integer",
        "/do/6/f/raise/error `use.errors` has no `missing`",
        "/do/7/g/raise/error/type must be a URI",
        "/do/7/g/raise/error/status must be an integer",
        "/do/8/h/switch must have a case",
        "/do/9/i/switch/0/x `then` is missing",
        "/do/9/i/switch/0/x/when must be a string",
        "/do/10/j `catch` is missing",
        "/do/11/k `do` is missing",
        "/do/12/l/input/from must be an expression or an object",
        "/do/12/l/input/schema/format not supported",
        "/do/12/l/set must be a string or an object with members",
        "/do/13 must have exactly one member",
        "/do/14/o/output/schema/document not a valid JSON Schema",
        "/do/15/p/catch/retry/delay must have integers",
        "/do/16/q/for/each this is the name of a variable of the DSL",
        "/do/17/r/wait must be an ISO 8601 duration",
        "/do/17/r/then no task in this list is named `nowhere`",
        "/do/17/r/if jq: undefined filter nope at line 1, column 5",
    ] {
        assert!(
            faults.iter().any(|f| f.starts_with(expected)),
            "{expected}\nin {faults:#?}"
        );
    }
}

#[test]
fn non_workflow_document_is_refused() {
    for (document, pointer) in [
        (json!([]), ""),
        (json!({}), ""),
        (
            json!({"document": {"dsl": "2.0.0", "namespace": "a", "name": "b", "version": "1.0.0"}, "do": []}),
            "/document/dsl",
        ),
        (
            json!({"document": {"dsl": "1.0.0", "namespace": "-a", "name": "b", "version": "1.0.0"}, "do": []}),
            "/document/namespace",
        ),
        (
            json!({"document": {"dsl": "1.0.0", "namespace": "a", "name": "b", "version": "01.0.0"}, "do": []}),
            "/document/version",
        ),
        (
            json!({"document": {"dsl": "1.0.0", "namespace": "a", "name": "b", "version": "1.0.0"}, "do": {}}),
            "/do",
        ),
    ] {
        let faults = Program::compile(&document).unwrap_err();
        assert!(
            faults.iter().any(|f| f.pointer == pointer),
            "{document}: {faults:?}"
        );
    }
}

#[test]
fn names_are_limited() {
    let named = |n: usize| format!("do: [{{{}: {{set: {{x: 1}}}}}}]", "a".repeat(n));
    assert!(faults(&named(128)).is_empty());
    let reported = faults(&named(129));
    assert!(reported[0].contains("at most 128 bytes"), "{reported:?}");
}

#[test]
fn nesting_is_limited() {
    let nested = |n: usize| {
        let open = "do: [{a: {".repeat(n);
        format!("{open}set: {{x: 1}}{}", "}}]".repeat(n))
    };
    assert!(faults(&nested(32)).is_empty());
    assert!(
        faults(&nested(33))
            .iter()
            .any(|f| f.contains("more than 32 levels deep"))
    );
}
