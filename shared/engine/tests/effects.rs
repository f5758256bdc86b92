//! Tasks that reach out of a workflow or let time pass: what they ask for, and what they make of the
//! answers.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test")]

use aias_domain::run::RunError;
use aias_engine::{
    Control, Event, Host, Outcome, Program, Record, Start,
    definition::{Format, read},
    journal::{
        Answer, Asked, Authentication, Body, Effect, Entry, Failure, HttpRequest, HttpResponse,
        Request, What, retried,
    },
};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

type Answers = Box<dyn FnMut(&Effect) -> Option<Answer>>;

/// Answers by the path that is called; time passes only when nothing else is left.
struct World {
    answers: Answers,
    /// How long an answer takes, in milliseconds.
    takes: i64,
    journal: Vec<Entry>,
    effects: Vec<Effect>,
    asked: Vec<Asked>,
    steps: Vec<(String, Event)>,
    emitted: Vec<Value>,
    now: Timestamp,
    /// Entries that it still gives.
    left: usize,
}

fn began() -> Timestamp {
    "2026-11-21T00:00:00Z".parse().unwrap()
}

fn later(ms: i64) -> Timestamp {
    began()
        .checked_add(SignedDuration::from_millis(ms))
        .unwrap()
}

fn world(answers: impl FnMut(&Effect) -> Option<Answer> + 'static) -> World {
    World {
        answers: Box::new(answers),
        takes: 10,
        journal: vec![],
        effects: vec![],
        asked: vec![],
        steps: vec![],
        emitted: vec![],
        now: began(),
        left: usize::MAX,
    }
}

impl Host for World {
    fn step(&mut self, record: Record) -> Control {
        self.steps.push((record.task, record.event));
        Control::Continue
    }

    fn emit(&mut self, _: u32, event: Value) {
        self.emitted.push(event);
    }

    fn next(&mut self, asked: &Asked) -> Option<Entry> {
        self.left = self.left.checked_sub(1)?;
        self.asked.push(asked.clone());
        let answered = asked.effects.iter().find_map(|effect| {
            let answer = (self.answers)(effect)?;
            Some((effect, answer))
        });
        let entry = match answered {
            Some((effect, answer)) => {
                let end = self
                    .now
                    .checked_add(SignedDuration::from_millis(self.takes))
                    .unwrap();
                match asked.until {
                    Some(until) if until < end => {
                        self.now = until;
                        Entry {
                            at: until,
                            what: What::Time,
                        }
                    }
                    _ => {
                        self.now = end;
                        self.effects.push(Effect::clone(effect));
                        Entry {
                            at: end,
                            what: What::Answered {
                                key: effect.key.clone(),
                                digest: effect.digest(),
                                answer,
                            },
                        }
                    }
                }
            }
            None => {
                self.now = self.now.max(asked.until?);
                Entry {
                    at: self.now,
                    what: What::Time,
                }
            }
        };
        self.journal.push(entry.clone());
        Some(entry)
    }
}

fn program(yaml: &str) -> Program {
    let head = "document: {dsl: '1.0.3', namespace: test, name: test, version: '1.0.0'}\n";
    let definition = read(format!("{head}{yaml}").as_bytes(), Format::Yaml).unwrap();
    Program::compile(&definition).unwrap_or_else(|faults| panic!("{faults:#?}"))
}

fn faults(yaml: &str) -> Vec<String> {
    let head = "document: {dsl: '1.0.3', namespace: test, name: test, version: '1.0.0'}\n";
    let definition = read(format!("{head}{yaml}").as_bytes(), Format::Yaml).unwrap();
    let told = Program::compile(&definition).err().unwrap_or_default();
    told.iter()
        .map(|f| format!("{} {}", f.pointer, f.detail))
        .collect()
}

fn run_on(program: &Program, input: &Value, journal: &[Entry], world: &mut World) -> Outcome {
    let start = Start {
        id: "run_1",
        input,
        started_at: began(),
        max_steps: 10_000,
        journal,
    };
    program.run(&start, world)
}

#[expect(clippy::needless_pass_by_value, reason = "it reads better")]
fn run(yaml: &str, input: Value, world: &mut World) -> Result<Value, RunError> {
    match run_on(&program(yaml), &input, &[], world) {
        Outcome::Completed(output) => Ok(output),
        Outcome::Faulted(error) => Err(error.into()),
        Outcome::Waiting(asked) => panic!("{asked:?}"),
    }
}

fn http(effect: &Effect) -> &HttpRequest {
    match &effect.request {
        Request::Http(request) => request,
        Request::Workflow(_) => panic!("not HTTP"),
    }
}

#[expect(clippy::needless_pass_by_value, reason = "it reads better")]
fn json_of(status: u16, body: Value) -> Option<Answer> {
    Some(Answer::Http(HttpResponse {
        status,
        headers: vec![("content-type".into(), "application/json".into())],
        body: Body::Text(body.to_string()),
    }))
}

#[test]
fn an_http_call_is_asked_for_as_it_is_written() {
    let yaml = "
do:
  - a:
      call: http
      with:
        method: put
        endpoint: {uri: 'https://e.example/pets/{id}?x=1', authentication: {bearer: {token: '${ .token }'}}}
        headers: {X-Name: '${ .name }', X-Scheme: '${ $authorization.scheme }'}
        query: {q: a b}
        body: {name: '${ .name }'}
      output: {as: .n}
";
    let mut world = world(|_| json_of(200, json!({"n": 7})));
    let input = json!({"id": "a/b", "name": "Rex", "token": "t0p"});
    assert_eq!(run(yaml, input, &mut world), Ok(json!(7)));
    let asked = http(&world.effects[0]);
    assert_eq!(asked.method, "PUT");
    assert_eq!(asked.uri, "https://e.example/pets/a%2Fb?x=1&q=a+b");
    assert_eq!(asked.body.as_deref(), Some(r#"{"name":"Rex"}"#));
    let headers = [
        ("x-name", "Rex"),
        ("x-scheme", "Bearer"),
        ("content-type", "application/json"),
    ];
    assert_eq!(
        asked.headers,
        headers.map(|(n, v)| (n.to_owned(), v.to_owned()))
    );
    assert_eq!(
        asked.authentication,
        Some(Authentication::Bearer {
            token: "t0p".into()
        })
    );
    assert_eq!(
        world.steps,
        [
            ("/do/0/a".to_owned(), Event::Started),
            ("/do/0/a".to_owned(), Event::Completed)
        ]
    );
}

#[test]
fn another_status_than_success_is_a_communication_error() {
    let call = |redirect: bool| {
        format!("
do:
  - a: {{call: http, with: {{method: get, endpoint: 'https://e.example/secret?key=1', redirect: {redirect}, output: response}}}}
")
    };
    let error = run(
        &call(false),
        json!({}),
        &mut world(|_| json_of(404, json!({}))),
    )
    .unwrap_err();
    assert_eq!(
        (
            error.kind.as_str(),
            error.status,
            error.instance.as_deref(),
            error.detail.as_deref()
        ),
        (
            "https://serverlessworkflow.io/spec/1.0.0/errors/communication",
            404,
            Some("/do/0/a"),
            Some("GET https://e.example/secret answered 404"),
        )
    );
    assert_eq!(
        run(
            &call(false),
            json!({}),
            &mut world(|_| json_of(302, json!({})))
        )
        .unwrap_err()
        .status,
        302
    );
    let output = run(
        &call(true),
        json!({}),
        &mut world(|_| json_of(302, json!({}))),
    );
    assert_eq!(output.unwrap()["statusCode"], 302);
}

#[test]
fn what_cannot_be_sent_is_an_error_of_the_task() {
    for (with, input, code) in [
        (
            "{method: get, endpoint: 'https://e.example/{id}'}",
            json!({}),
            "expression",
        ),
        (
            "{method: get, endpoint: '${ .uri }'}",
            json!({"uri": "file:///etc"}),
            "configuration",
        ),
        (
            "{method: get, endpoint: 'https://e.example/', headers: '${ .h }'}",
            json!({"h": {"host": "x"}}),
            "configuration",
        ),
        (
            "{method: '${ .m }', endpoint: 'https://e.example/'}",
            json!({"m": "a b"}),
            "configuration",
        ),
    ] {
        let yaml = format!("do: [{{a: {{call: http, with: {with}}}}}]");
        let mut world = world(|_| None);
        assert_eq!(
            run(&yaml, input, &mut world).unwrap_err().code,
            code,
            "{with}"
        );
    }
}

#[test]
fn a_failure_is_caught_by_its_type_in_both_spellings() {
    for home in ["spec/1.0.0/errors", "dsl/errors/types"] {
        let yaml = format!("
do:
  - a:
      try: [{{b: {{call: http, with: {{method: get, endpoint: 'https://e.example/'}}}}}}]
      catch: {{errors: {{with: {{type: 'https://serverlessworkflow.io/{home}/communication', status: 504, details: late}}}}, do: [{{c: {{set: {{at: '${{ $error.instance }}'}}}}}}]}}
");
        let failed = |_: &Effect| {
            Some(Answer::Failed(Failure {
                kind: "communication".into(),
                status: 504,
                title: "Gateway Timeout".into(),
                detail: "late".into(),
            }))
        };
        assert_eq!(
            run(&yaml, json!({}), &mut world(failed)),
            Ok(json!({"at": "/do/0/a/try/0/b"}))
        );
    }
}

#[test]
fn a_retry_waits_as_its_policy_says_and_asks_for_the_same_thing_again() {
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
fn the_limits_of_a_retry_hold() {
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
fn jitter_stays_in_its_range() {
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
fn a_wait_passes_time_and_keeps_the_data() {
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
fn a_run_that_begins_late_has_its_whole_time() {
    let yaml = "
timeout: {after: PT1M}
do:
  - a: {wait: PT10S}
  - b: {set: {at: '${ now }'}}
";
    let mut world = world(|_| None);
    let late = Entry {
        at: later(3_600_000),
        what: What::Began,
    };
    let outcome = run_on(&program(yaml), &json!({}), &[late], &mut world);
    assert_eq!(world.now, later(3_610_000));
    let at = later(3_610_000).as_second() as f64;
    assert_eq!(outcome, Outcome::Completed(json!({"at": at})));
}

#[test]
fn timeouts_fire_while_nothing_runs_and_can_be_caught() {
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
fn branches_are_asked_for_together_and_keep_their_order() {
    let yaml = "
do:
  - a:
      fork:
        branches:
          - x: {call: http, with: {method: get, endpoint: 'https://e.example/slow'}}
          - y: {do: [{y1: {call: http, with: {method: get, endpoint: 'https://e.example/fast'}}}, {y2: {wait: PT1S}}]}
          - z: {set: {z: '${ .n }'}}
";
    // The second branch's call is answered first.
    let mut world = world(|effect| match http(effect).uri.as_str() {
        "https://e.example/fast" => json_of(200, json!("fast")),
        _ => None,
    });
    world.left = 2;
    let outcome = run_on(&program(yaml), &json!({"n": 1}), &[], &mut world);
    let Outcome::Waiting(asked) = outcome else {
        panic!("{outcome:?}")
    };
    assert_eq!(asked.effects.len(), 1);
    world.left = 9;
    world.answers = Box::new(|_| json_of(200, json!("slow")));
    let journal = world.journal.clone();
    let outcome = run_on(&program(yaml), &json!({"n": 1}), &journal, &mut world);
    assert_eq!(
        outcome,
        Outcome::Completed(json!(["slow", "fast", {"z": 1}]))
    );
}

#[test]
fn the_first_branch_wins_and_the_others_are_left() {
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
    // From then on, nobody asks for what the other asked for.
    let effects: Vec<_> = world
        .asked
        .iter()
        .map(|asked| asked.effects.len())
        .collect();
    assert_eq!(effects, [1, 0]);
}

#[test]
fn a_branch_that_faults_faults_the_fork() {
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
fn the_context_is_one_for_all_branches() {
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

#[test]
fn a_function_is_called_with_its_arguments_and_errs_where_it_is_called() {
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
fn functions_are_bounded_in_depth_and_number() {
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
            .any(|f| f.contains("deeper than 32 levels"))
    );
    // Each calls the next one twice: a few lines that come to a million tasks.
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
    // A large one, called often.
    let calls: Vec<_> = (0..50).map(|n| format!("{{a{n}: {{call: f}}}}")).collect();
    let yaml = format!(
        "use: {{functions: {{f: {{set: {{x: {}}}}}}}}}\ndo: [{}]",
        "x".repeat(50_000),
        calls.join(", ")
    );
    assert!(
        faults(&yaml)
            .iter()
            .any(|f| f.contains("functions come to more than"))
    );
}

#[test]
fn a_workflow_is_run_and_waited_for_or_not() {
    let yaml = |wait: bool| {
        format!("
do:
  - a: {{run: {{workflow: {{namespace: n, name: w, version: latest, input: {{x: '${{ .n }}'}}}}, await: {wait}}}}}
")
    };
    let answer = |_: &Effect| Some(Answer::Output(json!("done")));
    let mut waited = world(answer);
    assert_eq!(
        run(&yaml(true), json!({"n": 3}), &mut waited),
        Ok(json!("done"))
    );
    let Request::Workflow(subflow) = &waited.effects[0].request else {
        panic!()
    };
    assert_eq!((&subflow.input, subflow.wait), (&json!({"x": 3}), true));
    assert_eq!(
        run(&yaml(false), json!({"n": 3}), &mut world(answer)),
        Ok(json!({"n": 3}))
    );
}

#[test]
fn an_emitted_event_is_whole_and_the_same_each_time() {
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
    // What is no event has no number.
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
        "/do/0/a/emit/event/with/Bad an attribute's name",
        "/do/0/a/emit/event/with/time must be a time",
        "/do/0/a/emit/event/with/specversion is always 1.0",
    ] {
        assert!(
            bad.iter().any(|f| f.starts_with(expected)),
            "{expected} in {bad:#?}"
        );
    }
}

#[test]
fn extensions_go_before_and_after_and_may_stand_in() {
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
fn an_openapi_call_reads_the_document_first() {
    let yaml = "
do:
  - a:
      call: openapi
      with: {document: {endpoint: 'https://e.example/openapi.yaml'}, operationId: getPet, parameters: {id: '${ .id }'}, authentication: {basic: {username: u, password: p}}}
";
    let document = "openapi: 3.1.0\nservers: [{url: /v1}]\npaths: {/pets/{id}: {get: {operationId: getPet, parameters: [{name: id, in: path, required: true}]}}}";
    let document = document.replace("/pets/{id}:", "'/pets/{id}':");
    let mut world = world(move |effect| match http(effect).uri.as_str() {
        "https://e.example/openapi.yaml" => Some(Answer::Http(HttpResponse {
            status: 200,
            headers: vec![],
            body: Body::Text(document.clone()),
        })),
        uri => json_of(200, json!({"uri": uri})),
    });
    assert_eq!(
        run(yaml, json!({"id": 5}), &mut world),
        Ok(json!({"uri": "https://e.example/v1/pets/5"}))
    );
    assert!(http(&world.effects[0]).authentication.is_none());
    assert!(http(&world.effects[1]).authentication.is_some());
    assert_eq!(world.effects[0].key.task, "/do/0/a/with/document");
    assert_eq!(world.effects[1].key.task, "/do/0/a");
}

#[test]
fn a_retried_run_asks_again_only_for_what_failed() {
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

    // A day later: the limits of time begin anew, and nothing that was told is told again.
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

#[test]
fn a_digest_or_oauth_policy_is_handed_on_filled() {
    let yaml = "
use:
  secrets: [mine]
  authentications:
    o: {oauth2: {authority: 'https://{tenant}.example', grant: client_credentials, client: {id: '${ .id }', secret: s, authentication: client_secret_basic}, scopes: [a, b], endpoints: {token: /t}}}
    d: {digest: {username: u, password: '${ .id }'}}
    s: {basic: {use: mine}}
do:
  - a: {call: http, with: {method: get, endpoint: {uri: 'https://e.example/', authentication: {use: o}}}, output: {as: $input}}
  - b: {call: http, with: {method: get, endpoint: {uri: 'https://e.example/', authentication: {use: d}}}, output: {as: $input}}
  - c: {call: http, with: {method: get, endpoint: {uri: 'https://e.example/', authentication: {use: s}}}}
";
    let mut world = world(|_| json_of(200, json!({})));
    run(yaml, json!({"id": "me"}), &mut world).unwrap();
    let of = |i: usize| http(&world.effects[i]).authentication.clone().unwrap();
    let Authentication::OAuth2(request) = of(0) else {
        panic!()
    };
    assert_eq!(request.client, (Some("me".into()), Some("s".into())));
    assert!(request.basic);
    assert_eq!(request.token_path.as_deref(), Some("/t"));
    let form = [("grant_type", "client_credentials"), ("scope", "a b")];
    assert_eq!(
        request.form,
        form.map(|(n, v)| (n.to_owned(), v.to_owned()))
    );
    assert_eq!(
        of(1),
        Authentication::Digest {
            username: "u".into(),
            password: "me".into()
        }
    );
    assert_eq!(of(2), Authentication::Secret("mine".into()));
}

#[test]
fn a_flow_that_never_ends_is_refused_and_one_with_an_exit_is_not() {
    let endless = faults("do: [{a: {set: {x: 1}}}, {b: {set: {x: 1}, then: a}}]");
    assert_eq!(endless.len(), 2, "{endless:?}");
    assert!(endless[0].starts_with("/do/0/a `then` leads round and round"));
    let lonely = faults(
        "do: [{a: {set: {x: 1}, then: end}}, {b: {set: {x: 1}, then: c}}, {c: {set: {x: 1}, then: b}}]",
    );
    assert!(lonely[0].contains("nothing leads here"), "{lonely:?}");
    for good in [
        "do: [{a: {set: {x: 1}}}, {b: {if: .x < 3, set: {x: 1}, then: a}}]",
        "do: [{a: {switch: [{go: {when: .x, then: b}}]}}, {b: {set: {x: 1}, then: c}}, {c: {switch: [{on: {when: .y, then: a}}, {off: {then: exit}}]}}]",
        "do: [{a: {set: {x: 1}, then: end}}, {b: {set: {x: 1}}}]",
    ] {
        assert_eq!(faults(good), Vec::<String>::new(), "{good}");
    }
}

#[test]
fn what_is_not_run_here_is_refused_where_it_stands() {
    let told = faults("
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
        "/do/3/d/call not supported: gRPC",
        "/do/4/e/call not supported: AsyncAPI",
        "/do/5/f/listen not supported",
        "/do/6/g/call not supported: functions of a catalog",
        "/do/7/h/call no function of this name",
        "/do/8/i/with/authentication unknown member",
        "/do/9/j/timeout no timeout of this name",
        "/do/10/k/with/endpoint/authentication/use no authentication of this name",
        "/do/11/l/with/endpoint/uri must begin with http",
        "/do/11/l/with/endpoint/authentication/basic/use no secret of this name",
        "/do/11/l/with/query/n must be a string",
    ] {
        assert!(
            told.iter().any(|f| f.starts_with(expected)),
            "{expected} in {told:#?}"
        );
    }
}
