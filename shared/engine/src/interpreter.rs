//! Running a program: re-run from the start it asks for and tells the same, in the same order.

use aias_domain::event::text_of;
use jaq_json::Val;
use jiff::Timestamp;
use serde_json::Value;

use crate::{
    error::{Error, Kind as ErrorKind, bounded},
    expression::{Arguments, Expression},
    program::{Input, Kind, List, Output, Program, Raised, Task, Then, Try},
    template::Template,
    value,
};

/// What a run begins with. The same start gives the same run.
#[derive(Debug, Clone)]
pub struct Start<'a> {
    /// `$workflow.id`.
    pub id: &'a str,
    /// The input, as it was stored.
    pub input: &'a Value,
    /// `$workflow.startedAt`, `$task.startedAt` and `now`.
    pub started_at: Timestamp,
    /// Steps that may be executed.
    pub max_steps: u32,
}

/// What happened in one step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// The task's `if` was false.
    Skipped,
    /// The task has its output.
    Completed,
    /// The task raised an error, or let one through.
    Faulted,
    /// The task is tried again.
    Retried,
    /// The task caught an error.
    Caught,
}

impl Event {
    /// The name in a log entry.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Skipped => "task.skipped",
            Self::Completed => "task.completed",
            Self::Faulted => "task.faulted",
            Self::Retried => "task.retried",
            Self::Caught => "task.caught",
        }
    }
}

/// One step, told when it is over.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// The task's reference: its JSON pointer in the definition.
    pub task: String,
    /// What happened.
    pub event: Event,
    /// The same in words.
    pub message: String,
    /// Which attempt of a `try`, from 1.
    pub attempt: u32,
}

/// Whether the run goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Control {
    /// It does.
    Continue,
    /// Its time is used up.
    Stop,
}

/// Who is told of the steps, and may stop the run between two of them.
pub trait Observer {
    /// A step is over.
    fn step(&mut self, record: Record) -> Control;
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// With an output.
    Completed(Value),
    /// With an error that nothing caught.
    Faulted(Error),
}

/// Why a list of tasks ends before its end.
enum Stop {
    Error(Box<Error>),
    /// `then: end`, with the workflow's output so far.
    End(Val),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Error(Box::new(error))
    }
}

type Flow<T = Val> = Result<T, Stop>;

impl Program {
    /// Runs the program to its end.
    pub fn run(&self, start: &Start<'_>, observer: &mut dyn Observer) -> Outcome {
        let input = value::from_json(start.input);
        let mut run = Run {
            program: self,
            observer,
            arguments: arguments(self, start, &input),
            locals: Vec::new(),
            started_at: if self.filters.wants.task {
                date_time(start.started_at)
            } else {
                Val::Null
            },
            steps_left: start.max_steps,
            attempt: 1,
        };
        match run.workflow(input) {
            Ok(output) => Outcome::Completed(output),
            Err(Stop::Error(error)) => Outcome::Faulted(*error),
            // `workflow` turns it into an output.
            Err(Stop::End(_)) => Outcome::Completed(Value::Null),
        }
    }
}

const CONTEXT: usize = 0;
const INPUT: usize = 1;
const OUTPUT: usize = 2;
const TASK: usize = 5;

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
    Arguments {
        // In the order of `expression::ARGUMENTS`.
        values: [
            empty(),
            Val::Null,
            Val::Null,
            empty(),
            Val::Null,
            Val::Null,
            wants.workflow.then(workflow).unwrap_or_default(),
            wants.runtime.then(runtime).unwrap_or_default(),
        ],
        now: start.started_at.as_millisecond() as f64 / 1000.0,
    }
}

/// The DSL's date-time descriptor.
fn date_time(at: Timestamp) -> Val {
    let number = |n: i64| Val::from(isize::try_from(n).unwrap_or_default());
    value::object([
        ("iso8601", value::text(&text_of(at))),
        (
            "epoch",
            value::object([
                ("seconds", number(at.as_second())),
                ("milliseconds", number(at.as_millisecond())),
            ]),
        ),
    ])
}

struct Run<'a> {
    program: &'a Program,
    observer: &'a mut dyn Observer,
    arguments: Arguments,
    locals: Vec<Val>,
    started_at: Val,
    steps_left: u32,
    attempt: u32,
}

impl Run<'_> {
    fn workflow(&mut self, raw: Val) -> Flow<Value> {
        let program = self.program;
        let input = self.shape_input(&program.input, raw, "/input")?;
        let output = match self.list(&program.tasks, input) {
            Err(Stop::End(output)) => output,
            other => other?,
        };
        self.arguments.values[INPUT] = Val::Null;
        let output = self.shape_output(&program.output, output, "/output")?;
        let json = value::to_json(&output)
            .map_err(|e| Error::new(ErrorKind::Runtime, "/output", e.to_string()))?;
        Ok(json)
    }

    fn list(&mut self, list: &List, input: Val) -> Flow {
        let mut data = input;
        let mut index = 0;
        while let Some(task) = list.0.get(index) {
            let (output, then) = self.task(task, data)?;
            data = output;
            match then {
                Then::Continue => index += 1,
                Then::Task(next) => index = next,
                Then::Exit => break,
                Then::End => return Err(Stop::End(data)),
            }
        }
        Ok(data)
    }

    /// One step: its output and where the flow goes.
    fn task(&mut self, task: &Task, raw: Val) -> Flow<(Val, Then)> {
        let Some(left) = self.steps_left.checked_sub(1) else {
            let detail = "the run has executed as many steps as its plan allows";
            return Err(Error::new(ErrorKind::StepLimit, &task.reference, detail).into());
        };
        self.steps_left = left;
        let outer = [INPUT, OUTPUT, TASK].map(|i| std::mem::take(&mut self.arguments.values[i]));
        if self.program.filters.wants.task {
            self.arguments.values[TASK] = self.describe(task, &raw);
        }
        let result = self.guarded(task, raw);
        for (place, value) in [INPUT, OUTPUT, TASK].into_iter().zip(outer) {
            self.arguments.values[place] = value;
        }
        match result {
            Ok((output, then, event)) => {
                self.tell(task, event, String::new())?;
                Ok((output, then))
            }
            Err(Stop::Error(error)) => {
                let title = error.title.clone().unwrap_or_default();
                let detail = error.detail.clone().unwrap_or_default();
                self.tell(task, Event::Faulted, format!("{title}: {detail}"))?;
                Err(Stop::Error(error))
            }
            Err(Stop::End(output)) => {
                self.tell(task, Event::Completed, String::new())?;
                Err(Stop::End(output))
            }
        }
    }

    fn guarded(&mut self, task: &Task, raw: Val) -> Flow<(Val, Then, Event)> {
        let reference = task.reference.as_str();
        if let Some(condition) = task.condition
            && !truthy(&self.evaluate(condition, &raw, reference)?)
        {
            return Ok((raw, Then::Continue, Event::Skipped));
        }
        let input = self.shape_input(&task.input, raw, reference)?;
        self.arguments.values[INPUT] = input.clone();
        let (raw_output, chosen) = self.execute(task, input)?;
        let output = self.shape_output(&task.output, raw_output, reference)?;
        if let Some(shape) = &task.export.shape {
            self.arguments.values[OUTPUT] = output.clone();
            let context = self.fill(shape, &output, reference)?;
            check(task.export.schema.as_ref(), &context, reference)?;
            self.arguments.values[CONTEXT] = context;
        }
        Ok((output, chosen.unwrap_or(task.then), Event::Completed))
    }

    fn execute(&mut self, task: &Task, input: Val) -> Flow<(Val, Option<Then>)> {
        let reference = task.reference.as_str();
        match &task.kind {
            Kind::Do(list) => Ok((self.list(list, input)?, None)),
            Kind::Set(template) => Ok((self.fill(template, &input, reference)?, None)),
            Kind::Switch(cases) => {
                for case in cases {
                    let taken = match case.when {
                        None => true,
                        Some(when) => truthy(&self.evaluate(when, &input, reference)?),
                    };
                    if taken {
                        return Ok((input, Some(case.then)));
                    }
                }
                Ok((input, None))
            }
            Kind::For(iteration) => {
                let items = match iteration.items {
                    None => Val::Null,
                    Some(items) => self.evaluate(items, &input, reference)?,
                };
                let Val::Arr(items) = items else {
                    let detail = "`for.in` is not an array";
                    return Err(Error::new(ErrorKind::Expression, reference, detail).into());
                };
                let mut data = input;
                for (index, item) in items.iter().enumerate() {
                    let depth = self.locals.len();
                    self.locals.extend([item.clone(), Val::from(index)]);
                    let result =
                        self.iterate(iteration.condition, &iteration.body, data, reference);
                    self.locals.truncate(depth);
                    match result? {
                        (output, true) => data = output,
                        (output, false) => return Ok((output, None)),
                    }
                }
                Ok((data, None))
            }
            Kind::Raise(raised) => Err(self.raise(raised, &input, reference)?.into()),
            Kind::Try(attempt) => Ok((self.attempt(attempt, task, &input)?, None)),
        }
    }

    /// One iteration: the data after it, and whether there is another.
    fn iterate(
        &mut self,
        condition: Option<Expression>,
        body: &List,
        data: Val,
        reference: &str,
    ) -> Flow<(Val, bool)> {
        if let Some(condition) = condition
            && !truthy(&self.evaluate(condition, &data, reference)?)
        {
            return Ok((data, false));
        }
        Ok((self.list(body, data)?, true))
    }

    fn attempt(&mut self, attempt: &Try, task: &Task, input: &Val) -> Flow {
        let outer = std::mem::replace(&mut self.attempt, 1);
        let result = self.attempts(attempt, task, input);
        self.attempt = outer;
        result
    }

    fn attempts(&mut self, attempt: &Try, task: &Task, input: &Val) -> Flow {
        let reference = task.reference.as_str();
        loop {
            let context = self.arguments.values[CONTEXT].clone();
            let error = match self.list(&attempt.body, input.clone()) {
                Err(Stop::Error(error)) if is_catchable(&error) => error,
                other => return other,
            };
            let depth = self.locals.len();
            self.locals.push(error.to_val());
            let caught = self.catches(attempt, &error, input, reference);
            let again = match caught {
                Ok(true) => self.tries_again(attempt, input, reference),
                _ => Ok(false),
            };
            let result = match (caught, again) {
                (Err(stop), _) | (_, Err(stop)) => Some(Err(stop)),
                (Ok(false), _) => Some(Err(Stop::Error(error))),
                (Ok(true), Ok(true)) => None,
                (Ok(true), Ok(false)) => Some(match (&attempt.handler, &attempt.retry) {
                    (Some(handler), _) => self
                        .tell(task, Event::Caught, String::new())
                        .and_then(|()| self.list(handler, input.clone())),
                    (None, Some(_)) => Err(Stop::Error(error)),
                    (None, None) => self
                        .tell(task, Event::Caught, String::new())
                        .map(|()| input.clone()),
                }),
            };
            self.locals.truncate(depth);
            if let Some(result) = result {
                return result;
            }
            self.arguments.values[CONTEXT] = context;
            self.attempt += 1;
            self.tell(task, Event::Retried, String::new())?;
            let Some(left) = self.steps_left.checked_sub(1) else {
                let detail = "the run has executed as many steps as its plan allows";
                return Err(Error::new(ErrorKind::StepLimit, reference, detail).into());
            };
            self.steps_left = left;
        }
    }

    fn catches(&mut self, attempt: &Try, error: &Error, dot: &Val, at: &str) -> Flow<bool> {
        Ok(attempt.errors.takes(error)
            && self.applies(attempt.when, attempt.except_when, dot, at)?)
    }

    fn tries_again(&mut self, attempt: &Try, dot: &Val, at: &str) -> Flow<bool> {
        let Some(retry) = &attempt.retry else {
            return Ok(false);
        };
        let left = retry
            .count
            .is_none_or(|count| u64::from(self.attempt) <= count);
        Ok(left && self.applies(retry.when, retry.except_when, dot, at)?)
    }

    fn applies(
        &mut self,
        when: Option<Expression>,
        except_when: Option<Expression>,
        dot: &Val,
        at: &str,
    ) -> Flow<bool> {
        if let Some(when) = when
            && !truthy(&self.evaluate(when, dot, at)?)
        {
            return Ok(false);
        }
        match except_when {
            None => Ok(true),
            Some(except) => Ok(!truthy(&self.evaluate(except, dot, at)?)),
        }
    }

    fn raise(&mut self, raised: &Raised, dot: &Val, reference: &str) -> Flow<Error> {
        let text = |template: Option<&Template>| -> Flow<Option<String>> {
            let Some(template) = template else {
                return Ok(None);
            };
            let filled = self.fill(template, dot, reference)?;
            Ok(match &filled {
                Val::Null => None,
                Val::TStr(bytes) => Some(bounded(String::from_utf8_lossy(bytes).into_owned())),
                Val::Bool(_) | Val::Num(_) | Val::BStr(_) | Val::Arr(_) | Val::Obj(_) => {
                    Some(bounded(filled.to_string()))
                }
            })
        };
        Ok(Error {
            code: "raised",
            kind: text(Some(&raised.kind))?.unwrap_or_default(),
            title: text(raised.title.as_ref())?,
            detail: text(raised.detail.as_ref())?,
            instance: text(raised.instance.as_ref())?.unwrap_or_else(|| reference.to_owned()),
            status: raised.status,
        })
    }

    fn shape_input(&mut self, input: &Input, raw: Val, at: &str) -> Flow {
        check(input.schema.as_ref(), &raw, at)?;
        match &input.from {
            None => Ok(raw),
            Some(from) => self.fill(from, &raw, at),
        }
    }

    fn shape_output(&mut self, output: &Output, raw: Val, at: &str) -> Flow {
        let shaped = match &output.shape {
            None => raw,
            Some(shape) => {
                self.arguments.values[OUTPUT] = raw.clone();
                self.fill(shape, &raw, at)?
            }
        };
        check(output.schema.as_ref(), &shaped, at)?;
        Ok(shaped)
    }

    fn fill(&self, template: &Template, dot: &Val, at: &str) -> Flow {
        template.fill(&mut |expression| self.evaluate(expression, dot, at))
    }

    fn evaluate(&self, expression: Expression, dot: &Val, at: &str) -> Flow {
        self.program
            .filters
            .evaluate(expression, dot, &self.arguments, &self.locals)
            .map_err(|detail| Error::new(ErrorKind::Expression, at, detail).into())
    }

    /// `$task`. It costs little, because its parts are shared and not copied.
    fn describe(&self, task: &Task, raw: &Val) -> Val {
        value::object([
            ("name", value::text(&task.name)),
            ("reference", value::text(&task.reference)),
            ("definition", task.definition.clone()),
            ("input", raw.clone()),
            ("startedAt", self.started_at.clone()),
        ])
    }

    fn tell(&mut self, task: &Task, event: Event, message: String) -> Flow<()> {
        let record = Record {
            task: task.reference.clone(),
            event,
            message: bounded(message),
            attempt: self.attempt,
        };
        match self.observer.step(record) {
            Control::Continue => Ok(()),
            Control::Stop => {
                let detail = "the run has computed as long as its plan allows";
                Err(Error::new(ErrorKind::Timeout, &task.reference, detail).into())
            }
        }
    }
}

/// The plan's limits hold for the whole run: no `catch` gets around them.
fn is_catchable(error: &Error) -> bool {
    !matches!(error.code, "step-limit" | "timeout")
}

fn check(schema: Option<&crate::schema::Schema>, data: &Val, at: &str) -> Flow<()> {
    let Some(schema) = schema else { return Ok(()) };
    let json =
        value::to_json(data).map_err(|e| Error::new(ErrorKind::Validation, at, e.to_string()))?;
    match schema.faults(&json) {
        None => Ok(()),
        Some(faults) => Err(Error::new(ErrorKind::Validation, at, faults).into()),
    }
}

/// As in jq: all but `null` and `false`.
fn truthy(value: &Val) -> bool {
    !matches!(value, Val::Null | Val::Bool(false))
}
