//! A host that gives the results that a test defines.

use aias_domain::run::RunError;
use aias_engine::{
    Control, Event, Host, Input, Outcome, Program, Record, Start,
    definition::{Format, read},
    journal::{
        Body, Effect, EffectResult, Entry, EntryEvent, HttpRequest, HttpResponse, PendingEffects,
        Request,
    },
};
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

pub(crate) type Answers = Box<dyn FnMut(&Effect) -> Option<EffectResult>>;

/// Looks up results by the path of the request. Time passes only when there is nothing else to do.
pub(crate) struct World {
    pub(crate) responses: Answers,
    /// The duration of an effect, in milliseconds.
    pub(crate) takes: i64,
    pub(crate) journal: Vec<Entry>,
    pub(crate) effects: Vec<Effect>,
    pub(crate) requested: Vec<PendingEffects>,
    pub(crate) steps: Vec<(String, Event)>,
    pub(crate) emitted: Vec<Value>,
    pub(crate) now: Timestamp,
    /// Number of entries before it suspends the run.
    pub(crate) left: usize,
}

pub(crate) fn began() -> Timestamp {
    "2026-11-21T00:00:00Z".parse().unwrap()
}

pub(crate) fn later(ms: i64) -> Timestamp {
    began()
        .checked_add(SignedDuration::from_millis(ms))
        .unwrap()
}

pub(crate) fn world(responses: impl FnMut(&Effect) -> Option<EffectResult> + 'static) -> World {
    World {
        responses: Box::new(responses),
        takes: 10,
        journal: vec![],
        effects: vec![],
        requested: vec![],
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

    fn next(&mut self, requested: &PendingEffects) -> Option<Entry> {
        self.left = self.left.checked_sub(1)?;
        self.requested.push(requested.clone());
        let answered = requested.effects.iter().find_map(|effect| {
            let response = (self.responses)(effect)?;
            Some((effect, response))
        });
        let entry = match answered {
            Some((effect, response)) => {
                let end = self
                    .now
                    .checked_add(SignedDuration::from_millis(self.takes))
                    .unwrap();
                match requested.until {
                    Some(until) if until < end => {
                        self.now = until;
                        Entry {
                            at: until,
                            event: EntryEvent::TimerExpired,
                        }
                    }
                    _ => {
                        self.now = end;
                        self.effects.push(Effect::clone(effect));
                        Entry {
                            at: end,
                            event: EntryEvent::EffectCompleted {
                                key: effect.key.clone(),
                                digest: effect.digest(),
                                result: response,
                            },
                        }
                    }
                }
            }
            None => {
                self.now = self.now.max(requested.until?);
                Entry {
                    at: self.now,
                    event: EntryEvent::TimerExpired,
                }
            }
        };
        self.journal.push(entry.clone());
        Some(entry)
    }
}

pub(crate) fn program(yaml: &str) -> Program {
    let head = "document: {dsl: '1.0.3', namespace: test, name: test, version: '1.0.0'}\n";
    let definition = read(format!("{head}{yaml}").as_bytes(), Format::Yaml).unwrap();
    Program::compile(&definition).unwrap_or_else(|faults| panic!("{faults:#?}"))
}

pub(crate) fn faults(yaml: &str) -> Vec<String> {
    let head = "document: {dsl: '1.0.3', namespace: test, name: test, version: '1.0.0'}\n";
    let definition = read(format!("{head}{yaml}").as_bytes(), Format::Yaml).unwrap();
    let reported = Program::compile(&definition).err().unwrap_or_default();
    reported
        .iter()
        .map(|f| format!("{} {}", f.pointer, f.detail))
        .collect()
}

pub(crate) fn run_on(
    program: &Program,
    input: &Value,
    journal: &[Entry],
    world: &mut World,
) -> Outcome {
    let start = Start {
        id: "run_1",
        input: Input::Value(input),
        started_at: began(),
        max_steps: 10_000,
        journal,
        secret_nonce: "",
    };
    program.run(&start, world)
}

#[expect(clippy::needless_pass_by_value, reason = "it reads better")]
pub(crate) fn run(yaml: &str, input: Value, world: &mut World) -> Result<Value, RunError> {
    match run_on(&program(yaml), &input, &[], world) {
        Outcome::Completed(output) => Ok(output),
        Outcome::Faulted(error) => Err(error.into()),
        Outcome::Waiting(requested) => panic!("{requested:?}"),
    }
}

pub(crate) fn http(effect: &Effect) -> &HttpRequest {
    match &effect.request {
        Request::Http(request) => request,
        Request::Workflow(_) => panic!("not HTTP"),
    }
}

#[expect(clippy::needless_pass_by_value, reason = "it reads better")]
pub(crate) fn json_of(status: u16, body: Value) -> Option<EffectResult> {
    Some(EffectResult::Http(HttpResponse {
        status,
        headers: vec![("content-type".into(), "application/json".into())],
        body: Body::Text(body.to_string()),
    }))
}
