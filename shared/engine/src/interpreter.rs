//! Executes a program until it needs an effect, then continues with the next entry of its journal,
//! and so on.
//!
//! A run is a future that is polled once per entry. The only pending operations are effects and
//! timers; there are no wakers and no async runtime. The branches of a `fork` are polled in order,
//! so the journal alone determines the order of events.

mod attempts;
mod calls;
mod concurrency;
mod tasks;
mod world;

use std::{
    cell::RefCell,
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll, Waker},
};

use aias_domain::{
    secret::{self, SecretName},
    timestamp,
};
use jaq_json::Val;
use jiff::Timestamp;
use serde_json::Value;

use crate::{
    error::{Error, Kind as ErrorKind},
    expression::Arguments,
    host::{Control, Event, Host, Record},
    journal::{Entry, PendingEffects},
    natives,
    program::{List, Program, Task, Then},
    step_data::StepData,
    value,
};
use world::World;

#[derive(Debug, Clone, Copy)]
pub enum Input<'a> {
    Value(&'a Value),
    /// As JSON. The result is the same.
    Json(&'a [u8]),
}

/// The initial state of a run. The same start gives the same run.
#[derive(Debug, Clone)]
pub struct Start<'a> {
    /// `$workflow.id`.
    pub id: &'a str,
    pub input: Input<'a>,
    /// `$workflow.startedAt`, and the current time until the first journal entry.
    pub started_at: Timestamp,
    /// The step limit.
    pub max_steps: u32,
    /// The entries so far.
    pub journal: &'a [Entry],
    /// The nonce in the placeholders of this run's secrets (`aias_domain::secret`).
    pub secret_nonce: &'a str,
}

/// The state of a run after an execution.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    Completed(Value),
    /// Nothing caught the error.
    Faulted(Error),
    /// The run needs one of these effects.
    Waiting(PendingEffects),
}

/// Why a list of tasks ends early.
#[derive(Debug)]
enum Stop {
    Error(Box<Error>),
    /// `then: end`, with the current output of the workflow.
    End(Val),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Error(Box::new(error))
    }
}

type Flow<T = Val> = Result<T, Stop>;

const CONTEXT: usize = 0;
const INPUT: usize = 1;
const OUTPUT: usize = 2;
const AUTHORIZATION: usize = 4;
const TASK: usize = 5;

impl Program {
    /// Executes the program as far as the journal and the host allow.
    pub fn run(&self, start: &Start<'_>, host: &mut dyn Host) -> Outcome {
        let input = match start.input {
            Input::Value(value) => value::from_json(value),
            Input::Json(text) => match value::parse(text) {
                Ok(value) => value,
                Err(why) => {
                    let why = format!("the input is not JSON: {why}");
                    return Outcome::Faulted(Error::new(ErrorKind::Runtime, "/input", why));
                }
            },
        };
        let arguments = arguments(self, start, &input);
        let context = arguments.values[CONTEXT].clone();
        let run = Run {
            program: self,
            id: start.id,
            secret_nonce: start.secret_nonce,
            with_data: host.wants_data(),
            world: RefCell::new(World::new(start, host, context)),
        };
        let mut scope = Scope {
            arguments,
            locals: Vec::new(),
            started_at: Val::Null,
            attempt: 1,
            version: 0,
        };
        let mut whole = Box::pin(run.workflow(input, &mut scope));
        match run.drive(whole.as_mut()) {
            Err(outcome) => outcome,
            Ok(result) => run.world.borrow().checked(match result {
                Ok(output) => Outcome::Completed(output),
                Err(Stop::Error(error)) => Outcome::Faulted(*error),
                // `workflow` has already turned it into an output.
                Err(Stop::End(_)) => Outcome::Completed(Value::Null),
            }),
        }
    }
}

fn arguments(program: &Program, start: &Start<'_>, input: &Val) -> Arguments {
    let wants = program.filters.wants;
    let workflow = || {
        value::object([
            ("id", value::text(start.id)),
            ("definition", program.definition.clone()),
            ("input", input.clone()),
            ("startedAt", date_time(start.started_at)),
        ])
    };
    let runtime = || {
        value::object([
            ("name", value::text("aias")),
            ("version", value::text(env!("CARGO_PKG_VERSION"))),
            ("metadata", Val::obj(jaq_json::Map::default())),
        ])
    };
    let empty = || Val::obj(jaq_json::Map::default());
    let secrets = || {
        let names = program.secrets.iter();
        let stand_ins = names.map(|name| {
            let placeholder = secret::placeholder(start.secret_nonce, name);
            (value::text(name), value::text(&placeholder))
        });
        Val::obj(stand_ins.collect())
    };
    Arguments {
        // In the order of `expression::ARGUMENTS`.
        values: [
            empty(),
            Val::Null,
            Val::Null,
            wants.secrets.then(secrets).unwrap_or_default(),
            Val::Null,
            Val::Null,
            wants.workflow.then(workflow).unwrap_or_default(),
            wants.runtime.then(runtime).unwrap_or_default(),
        ],
        now: 0.0,
    }
}

/// The DSL's date-time descriptor.
fn date_time(at: Timestamp) -> Val {
    let number = |n: i64| Val::from(isize::try_from(n).unwrap_or_default());
    value::object([
        ("iso8601", value::text(&timestamp::format(at))),
        (
            "epoch",
            value::object([
                ("seconds", number(at.as_second())),
                ("milliseconds", number(at.as_millisecond())),
            ]),
        ),
    ])
}

/// The state that all branches of a run share.
struct Run<'a> {
    program: &'a Program,
    id: &'a str,
    secret_nonce: &'a str,
    /// Whether the host wants the data of each step.
    with_data: bool,
    world: RefCell<World<'a>>,
}

/// The variables of a branch, with a copy of those that all branches share.
#[derive(Clone)]
struct Scope {
    arguments: Arguments,
    locals: Vec<Val>,
    /// `$task.startedAt`.
    started_at: Val,
    attempt: u32,
    /// The version of the shared state that `arguments` contains.
    version: u64,
}

impl Run<'_> {
    /// Polls a future until it completes, with one journal entry before each poll.
    fn drive<T>(&self, mut future: Pin<&mut impl Future<Output = T>>) -> Result<T, Outcome> {
        let mut nobody = Context::from_waker(Waker::noop());
        loop {
            self.world.borrow_mut().clear_requests();
            if let Poll::Ready(done) = future.as_mut().poll(&mut nobody) {
                return Ok(done);
            }
            let mut world = self.world.borrow_mut();
            // A future dropped while pending may have requested an effect just before.
            if !world.is_stale() {
                world.advance()?;
            }
        }
    }

    async fn workflow(&self, raw: Val, scope: &mut Scope) -> Flow<Value> {
        let program = self.program;
        self.refresh(scope);
        let input = self.shape_input(&program.input, raw, "/input", scope)?;
        let tasks = &program.tasks;
        let ended = match program.timeout {
            None => self.list(tasks, input, scope).await,
            Some(timeout) => {
                let ms = self.milliseconds(timeout, &input, "/timeout", scope)?;
                let mut own = scope.clone();
                let tasks = Box::pin(self.list(tasks, input, &mut own));
                self.with_timeout("/timeout", ms, tasks).await
            }
        };
        let output = match ended {
            Ok((output, _)) | Err(Stop::End(output)) => output,
            Err(stop) => return Err(stop),
        };
        self.refresh(scope);
        scope.arguments.values[INPUT] = Val::Null;
        let output = self.shape_output(&program.output, output, "/output", scope)?;
        let json = value::to_json(&output)
            .map_err(|e| Error::new(ErrorKind::Runtime, "/output", e.to_string()))?;
        Ok(json)
    }

    /// The data after a list, and whether `exit` ended it.
    async fn list(&self, list: &List, input: Val, scope: &mut Scope) -> Flow<(Val, bool)> {
        let mut data = input;
        let mut index = 0;
        while let Some(task) = list.0.get(index) {
            // A task that neither waits nor contains tasks needs no future.
            let (output, then) = if task.is_plain() {
                self.plain(task, data, scope)?
            } else {
                Box::pin(self.nested(task, data, scope)).await?
            };
            data = output;
            match then {
                Then::Continue => index += 1,
                Then::Task(next) => index = next,
                Then::Exit => return Ok((data, true)),
                Then::End => return Err(Stop::End(data)),
            }
        }
        Ok((data, false))
    }

    /// Counts a step against the limit.
    fn count(&self, reference: &str) -> Flow<()> {
        let mut world = self.world.borrow_mut();
        let Some(left) = world.steps_left.checked_sub(1) else {
            let detail = "the run has executed all steps that its plan allows";
            return Err(Error::new(ErrorKind::StepLimit, reference, detail).into());
        };
        world.steps_left = left;
        Ok(())
    }

    /// Updates a scope to the shared state.
    fn refresh(&self, scope: &mut Scope) {
        let world = self.world.borrow();
        if scope.version == world.version {
            return;
        }
        scope.version = world.version;
        scope.arguments.values[CONTEXT] = world.context.clone();
        scope.arguments.now = world.now.as_millisecond() as f64 / 1000.0;
        if self.program.filters.wants.task {
            scope.started_at = date_time(world.now);
        }
    }

    fn record(&self, reference: &str, event: Event, message: &str, attempt: u32) -> Flow<()> {
        let control = self.world.borrow_mut().record(|elapsed_ms| Record {
            task: reference.to_owned(),
            event,
            message: crate::error::bounded(message),
            attempt,
            elapsed_ms,
        });
        match control {
            Control::Continue => Ok(()),
            Control::Stop => {
                let detail = "the run has used all CPU time that its plan allows";
                Err(Error::new(ErrorKind::TimeUsedUp, reference, detail).into())
            }
        }
    }

    /// Changes the data of the current execution of a task, if the host wants it.
    fn note(&self, reference: &str, change: impl FnOnce(&mut StepData)) {
        if self.with_data {
            self.world.borrow_mut().note(reference, change);
        }
    }

    /// Passes the data of a step that has ended to the host.
    fn note_end(&self, reference: &str, result: &Flow<(Val, Then, Event)>, attempt: u32) {
        if !self.with_data {
            return;
        }
        let (event, output, error) = match result {
            Ok((output, _, event)) => (*event, Some(output), None),
            Err(Stop::Error(error)) => (Event::Faulted, None, Some(&**error)),
            Err(Stop::End(output)) => (Event::Completed, Some(output), None),
        };
        let mut world = self.world.borrow_mut();
        let context = world.context.clone();
        world.note(reference, |data| {
            data.attempt = attempt;
            data.end(event, output, error, &context);
        });
        world.end_data(reference);
    }

    /// Records the messages of `debug` in the last evaluation.
    fn record_debug(&self, reference: &str, attempt: u32) -> Flow<()> {
        for message in natives::take_messages() {
            let named = |name: &SecretName| Ok::<_, Infallible>(format!("$secrets.{name}"));
            let message = secret::fill_placeholders(&message, self.secret_nonce, named);
            let Ok(message) = message;
            self.record(reference, Event::Debug, &message, attempt)?;
        }
        Ok(())
    }

    /// Records the end of a step.
    fn record_end(
        &self,
        task: &Task,
        result: Flow<(Val, Then, Event)>,
        attempt: u32,
    ) -> Flow<(Val, Then)> {
        let reference = task.reference.as_str();
        self.note_end(reference, &result, attempt);
        match result {
            Ok((output, then, event)) => {
                self.record(reference, event, "", attempt)?;
                Ok((output, then))
            }
            Err(Stop::Error(error)) => {
                let title = error.title.as_deref().unwrap_or_default();
                let detail = error.detail.as_deref().unwrap_or_default();
                self.record(
                    reference,
                    Event::Faulted,
                    &format!("{title}: {detail}"),
                    attempt,
                )?;
                Err(Stop::Error(error))
            }
            Err(Stop::End(output)) => {
                self.record(reference, Event::Completed, "", attempt)?;
                Err(Stop::End(output))
            }
        }
    }
}
