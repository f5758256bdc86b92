//! Named components, extensions, and definitions that are refused.

use aias_engine::journal::{Effect, EffectResult, Request};
use serde_json::json;

use crate::world::{faults, http, json_of, run, world};

#[test]
fn function_errors_point_to_call() {
    let yaml = "
use:
  functions:
    get:
      input: {schema: {document: {type: object, required: [id]}}}
      do:
        - one: {call: http, with: {method: get, endpoint: 'https://e.example/{id}'}}
        - two: {set: {id: '${ .id }', seen: '${ $task.reference }'}}
do:
  - l:
      for: {in: '[1, 2]', each: n}
      do: [{a: {call: get, with: {id: '${ $n }'}}}]
  - b: {call: get, with: {}}
";
    let mut world = world(|effect| json_of(200, json!({"id": http(effect).uri})));
    let error = run(yaml, json!({}), &mut world).unwrap_err();
    assert_eq!(
        (error.code.as_str(), error.instance.as_deref()),
        ("validation", Some("/do/1/b"))
    );
    let tasks: Vec<_> = world
        .effects
        .iter()
        .map(|e| (e.key.task.as_str(), e.key.visit))
        .collect();
    assert_eq!(
        tasks,
        [
            ("/do/0/l/do/0/a/do/0/one", 1),
            ("/do/0/l/do/0/a/do/0/one", 2)
        ]
    );
    let recursive = faults("use: {functions: {f: {do: [{g: {call: f}}]}}}\ndo: [{a: {call: f}}]");
    assert_eq!(
        recursive,
        ["/use/functions/f/do/0/g/call the function calls itself"]
    );
}

#[test]
fn functions_are_limited_in_depth_and_size() {
    let chain = |depth: usize| {
        let calls: Vec<_> = (0..depth)
            .map(|n| format!("f{n}: {{call: f{}}}", n + 1))
            .collect();
        let calls = calls.join(", ");
        format!(
            "use: {{functions: {{{calls}, f{depth}: {{set: {{x: 1}}}}}}}}\ndo: [{{a: {{call: f0}}}}]"
        )
    };
    assert_eq!(faults(&chain(31)), Vec::<String>::new());
    assert!(
        faults(&chain(2_000))
            .iter()
            .any(|f| f.contains("more than 32 levels deep"))
    );
    // Each calls the next one twice: a few lines expand to a million tasks.
    let twice: Vec<_> = (0..20)
        .map(|n| {
            format!(
                "f{n}: {{do: [{{a: {{call: f{0}}}}}, {{b: {{call: f{0}}}}}]}}",
                n + 1
            )
        })
        .collect();
    let yaml = format!(
        "use: {{functions: {{{}, f20: {{set: {{x: 1}}}}}}}}\ndo: [{{a: {{call: f0}}}}]",
        twice.join(", ")
    );
    assert!(
        faults(&yaml)
            .iter()
            .any(|f| f.contains("more than 5000 tasks"))
    );
    // A large function that is called often.
    let calls: Vec<_> = (0..50).map(|n| format!("{{a{n}: {{call: f}}}}")).collect();
    let yaml = format!(
        "use: {{functions: {{f: {{set: {{x: {}}}}}}}}}\ndo: [{}]",
        "x".repeat(50_000),
        calls.join(", ")
    );
    assert!(
        faults(&yaml)
            .iter()
            .any(|f| f.contains("functions have more than"))
    );
}

#[test]
fn subflow_is_awaited_or_detached() {
    let yaml = |wait: bool| {
        format!("
do:
  - a: {{run: {{workflow: {{namespace: n, name: w, version: latest, input: {{x: '${{ .n }}'}}}}, await: {wait}}}}}
")
    };
    let response = |_: &Effect| Some(EffectResult::Output(json!("done")));
    let mut waited = world(response);
    assert_eq!(
        run(&yaml(true), json!({"n": 3}), &mut waited),
        Ok(json!("done"))
    );
    let Request::Workflow(subflow) = &waited.effects[0].request else {
        panic!()
    };
    assert_eq!((&subflow.input, subflow.wait), (&json!({"x": 3}), true));
    assert_eq!(
        run(&yaml(false), json!({"n": 3}), &mut world(response)),
        Ok(json!({"n": 3}))
    );
}

#[test]
fn emitted_event_is_complete_and_deterministic() {
    let yaml = "
do:
  - l:
      for: {in: '[1, 2]'}
      do: [{a: {emit: {event: {with: {source: 'https://e.example', type: t, data: {n: '${ $item }'}}}}}}]
";
    let (mut one, mut two) = (world(|_| None), world(|_| None));
    let output = run(yaml, json!({}), &mut one).unwrap();
    run(yaml, json!({}), &mut two).unwrap();
    assert_eq!(one.emitted, two.emitted);
    assert_eq!(one.emitted[1], output);
    assert_eq!(
        output,
        json!({
            "specversion": "1.0", "id": "run_1-2", "time": "2026-11-21T00:00:00.000Z", "source": "https://e.example",
            "type": "t", "datacontenttype": "application/json", "data": {"n": 2},
        })
    );
    // An invalid event gets no number.
    let yaml = "
do:
  - t: {try: [{a: {emit: {event: {with: {source: 'https://e.example', type: '${ .none }'}}}}}], catch: {}}
  - b: {emit: {event: {with: {source: 'https://e.example', type: t}}}}
";
    let mut third = world(|_| None);
    assert_eq!(run(yaml, json!({}), &mut third).unwrap()["id"], "run_1-1");
    let bad = faults(
        "do: [{a: {emit: {event: {with: {type: t, Bad: x, time: noon, specversion: '2'}}}}}]",
    );
    for expected in [
        "/do/0/a/emit/event/with `source` is missing",
        "/do/0/a/emit/event/with/Bad an attribute name",
        "/do/0/a/emit/event/with/time must be an RFC 3339 timestamp",
        "/do/0/a/emit/event/with/specversion must be 1.0",
    ] {
        assert!(
            bad.iter().any(|f| f.starts_with(expected)),
            "{expected} in {bad:#?}"
        );
    }
}

#[test]
fn extensions_run_before_and_after_task() {
    let yaml = "
use:
  extensions:
    - mock:
        extend: call
        when: $task.with.endpoint | (.uri? // .) | startswith(\"https://mocked\")
        before: [{m: {set: {mocked: '${ $task.name }'}, then: exit}}]
    - log:
        extend: call
        before: [{b: {emit: {event: {with: {source: 'https://e.example', type: before}}}}}]
        after: [{a: {emit: {event: {with: {source: 'https://e.example', type: after, data: '${ . }'}}}}}]
do:
  - x: {call: http, with: {method: get, endpoint: 'https://mocked.example'}, output: {as: '{x: .mocked}'}}
  - y: {call: http, with: {method: get, endpoint: 'https://e.example/{x}'}}
";
    let mut world = world(|effect| json_of(200, json!({"called": http(effect).uri})));
    assert_eq!(
        run(yaml, json!({}), &mut world),
        Ok(json!({"called": "https://e.example/m"}))
    );
    let types: Vec<_> = world
        .emitted
        .iter()
        .map(|e| e["type"].as_str().unwrap())
        .collect();
    assert_eq!(types, ["before", "after"]);
    assert_eq!(
        world.emitted[1]["data"],
        json!({"called": "https://e.example/m"})
    );
    let bad = faults("use: {extensions: [{a: {extend: what, when: '1 +'}}]}\ndo: []");
    assert_eq!(bad.len(), 2, "{bad:?}");
}

#[test]
fn endless_loop_is_refused() {
    let endless = faults("do: [{a: {set: {x: 1}}}, {b: {set: {x: 1}, then: a}}]");
    assert_eq!(endless.len(), 2, "{endless:?}");
    assert!(endless[0].starts_with("/do/0/a the workflow can never leave"));
    let lonely = faults(
        "do: [{a: {set: {x: 1}, then: end}}, {b: {set: {x: 1}, then: c}}, {c: {set: {x: 1}, then: b}}]",
    );
    assert!(
        lonely[0].contains("no task leads to this loop"),
        "{lonely:?}"
    );
    for good in [
        "do: [{a: {set: {x: 1}}}, {b: {if: .x < 3, set: {x: 1}, then: a}}]",
        "do: [{a: {switch: [{go: {when: .x, then: b}}]}}, {b: {set: {x: 1}, then: c}}, {c: {switch: [{on: {when: .y, then: a}}, {off: {then: exit}}]}}]",
        "do: [{a: {set: {x: 1}, then: end}}, {b: {set: {x: 1}}}]",
    ] {
        assert_eq!(faults(good), Vec::<String>::new(), "{good}");
    }
}

#[test]
fn unsupported_tasks_are_refused_with_pointer() {
    let reported = faults("
use: {catalogs: {c: {endpoint: 'https://e.example'}}}
schedule: {cron: '* * * * *'}
do:
  - a: {run: {shell: {command: ls}}}
  - b: {run: {script: {language: js, code: '1'}}}
  - c: {run: {container: {image: i}}}
  - d: {call: grpc, with: {}}
  - e: {call: asyncapi, with: {}}
  - f: {listen: {to: {any: []}}}
  - g: {call: 'https://e.example/function.yaml'}
  - h: {call: nobody}
  - i: {call: http, with: {method: get, endpoint: 'https://e.example/', authentication: {}}}
  - j: {wait: PT1S, timeout: none}
  - k: {call: http, with: {method: get, endpoint: {uri: 'https://e.example/', authentication: {use: none}}}}
  - l: {call: http, with: {method: get, endpoint: {uri: 'ftp://e.example/', authentication: {basic: {use: none}}}, query: {n: 1}}}
");
    for expected in [
        "/use/catalogs not supported",
        "/schedule not supported",
        "/do/0/a/run/shell not supported",
        "/do/1/b/run/script not supported",
        "/do/2/c/run/container not supported",
        "/do/3/d/call not supported: use HTTP or OpenAPI instead of gRPC",
        "/do/4/e/call not supported: use HTTP or OpenAPI instead of AsyncAPI",
        "/do/5/f/listen not supported",
        "/do/6/g/call not supported: only functions of `use.functions`",
        "/do/7/h/call `",
        "/do/8/i/with/authentication unknown member",
        "/do/9/j/timeout `use.timeouts` has no `",
        "/do/10/k/with/endpoint/authentication/use `use.authentications` has no `",
        "/do/11/l/with/endpoint/uri must start with http",
        "/do/11/l/with/endpoint/authentication/basic/use `use.secrets` does not declare `none`",
        "/do/11/l/with/query/n must be a string",
    ] {
        assert!(
            reported.iter().any(|f| f.starts_with(expected)),
            "{expected} in {reported:#?}"
        );
    }
}
