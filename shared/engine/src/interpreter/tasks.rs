//! One task: condition, input, execution, output.

use aias_formats::Schema;
use jaq_json::Val;
use serde_json::Value;

use super::{CONTEXT, Flow, INPUT, OUTPUT, Run, Scope, TASK};
use crate::{
    duration::{self, Duration},
    emit,
    error::{Error, Kind as ErrorKind, bounded, cut},
    expression::{Expression, shown},
    host::Event,
    program::{Case, For, Input, Kind, Output, Raised, Task, Then},
    step_data::StepValue,
    template::Template,
    value,
};

/// A task's raw input after `if` and `input`.
enum PreparedInput {
    Skipped(Val),
    Input(Val),
}

impl Run<'_> {
    /// A task that completes immediately.
    pub(super) fn plain(&self, task: &Task, raw: Val, scope: &mut Scope) -> Flow<(Val, Then)> {
        self.count(&task.reference)?;
        let outer = self.enter(task, &raw, scope);
        let result = self.execute_plain(task, raw, scope);
        leave(scope, outer);
        self.record_end(task, result, scope.attempt)
    }

    fn execute_plain(&self, task: &Task, raw: Val, scope: &mut Scope) -> Flow<(Val, Then, Event)> {
        let input = match self.begin(task, raw, scope)? {
            PreparedInput::Skipped(raw) => return Ok((raw, Then::Continue, Event::Skipped)),
            PreparedInput::Input(input) => input,
        };
        let (raw_output, chosen) = self.complete_immediately(task, input, scope)?;
        self.finish(task, raw_output, chosen, scope)
    }

    /// Executes a task that completes immediately.
    fn complete_immediately(
        &self,
        task: &Task,
        input: Val,
        scope: &Scope,
    ) -> Flow<(Val, Option<Then>)> {
        let reference = task.reference.as_str();
        match &task.kind {
            Kind::Set(template) => Ok((self.fill(template, &input, reference, scope)?, None)),
            Kind::Switch(cases) => {
                let chosen = self.switch(cases, &input, reference, scope)?;
                Ok((input, chosen))
            }
            Kind::Raise(raised) => Err(self.raise(raised, &input, reference, scope)?.into()),
            Kind::Emit(emit) => {
                let with = self.json(&emit.0, &input, reference, scope)?;
                let mut world = self.world.borrow_mut();
                // Numbers have no gaps: an invalid event gets none.
                let number = world.emitted + 1;
                let event = emit::event(with, &format!("{}-{number}", self.id), world.now)
                    .map_err(|why| Error::new(ErrorKind::Validation, reference, why))?;
                world.emitted = number;
                let output = value::from_json(&event);
                world.emit(event);
                Ok((output, None))
            }
            Kind::Do(_)
            | Kind::For(_)
            | Kind::Fork(_)
            | Kind::Try(_)
            | Kind::Wait(_)
            | Kind::Http(_)
            | Kind::OpenApi(_)
            | Kind::Function(_)
            | Kind::Workflow(_) => Ok((input, None)),
        }
    }

    /// A task that contains tasks or waits.
    pub(super) async fn nested(
        &self,
        task: &Task,
        raw: Val,
        scope: &mut Scope,
    ) -> Flow<(Val, Then)> {
        self.count(&task.reference)?;
        let outer = self.enter(task, &raw, scope);
        let result = self.guarded(task, raw, scope).await;
        leave(scope, outer);
        self.refresh(scope);
        self.record_end(task, result, scope.attempt)
    }

    async fn guarded(&self, task: &Task, raw: Val, scope: &mut Scope) -> Flow<(Val, Then, Event)> {
        let reference = task.reference.as_str();
        let input = match self.begin(task, raw, scope)? {
            PreparedInput::Skipped(raw) => return Ok((raw, Then::Continue, Event::Skipped)),
            PreparedInput::Input(input) => input,
        };
        let (raw_output, chosen) = match task.timeout {
            None => self.extended(task, input, scope).await?,
            Some(timeout) => {
                let ms = self.milliseconds(timeout, &input, reference, scope)?;
                // An abandoned attempt must not change the outer scope.
                let mut own = scope.clone();
                let all = Box::pin(self.extended(task, input, &mut own));
                self.with_timeout(reference, ms, all).await?
            }
        };
        self.refresh(scope);
        self.finish(task, raw_output, chosen, scope)
    }

    /// The task, surrounded by the extensions whose condition is true. Their output is dropped,
    /// unless they end with `exit`: then it is the task's output.
    async fn extended(
        &self,
        task: &Task,
        input: Val,
        scope: &mut Scope,
    ) -> Flow<(Val, Option<Then>)> {
        let reference = task.reference.as_str();
        let mut applied = Vec::new();
        for extension in &task.extensions {
            let holds = match extension.condition {
                None => true,
                Some(condition) => {
                    let merged = Self::merged(task, scope);
                    let outer = std::mem::replace(&mut scope.arguments.values[TASK], merged);
                    let holds = self.evaluate(condition, &input, reference, scope);
                    scope.arguments.values[TASK] = outer;
                    truthy(&holds?)
                }
            };
            if holds {
                applied.push(extension);
            }
        }
        for extension in &applied {
            let before = self.list(&extension.before, input.clone(), scope).await?;
            if let (output, true) = before {
                return Ok((output, None));
            }
        }
        let (output, chosen) = self.execute(task, input, scope).await?;
        for extension in applied.iter().rev() {
            let after = self.list(&extension.after, output.clone(), scope).await?;
            if let (output, true) = after {
                return Ok((output, chosen));
            }
        }
        Ok((output, chosen))
    }

    async fn execute(
        &self,
        task: &Task,
        input: Val,
        scope: &mut Scope,
    ) -> Flow<(Val, Option<Then>)> {
        let reference = task.reference.as_str();
        let output = match &task.kind {
            Kind::Do(list) => self.list(list, input, scope).await?.0,
            Kind::For(iteration) => self.iterate(iteration, input, reference, scope).await?,
            Kind::Fork(fork) => self.fork(fork, &input, scope).await?,
            Kind::Try(attempt) => self.attempt(attempt, task, &input, scope).await?,
            Kind::Wait(duration) => {
                let ms = self.milliseconds(*duration, &input, reference, scope)?;
                let message = format!("for {} s", ms as f64 / 1_000.0);
                self.record(reference, Event::Started, &message, scope.attempt)?;
                self.pause(ms).await;
                input
            }
            Kind::Http(call) => self.http(call, &input, reference, scope).await?,
            Kind::OpenApi(call) => self.openapi(call, &input, reference, scope).await?,
            Kind::Function(function) => {
                let given = match &function.arguments {
                    None => input,
                    Some(arguments) => self.fill(arguments, &input, reference, scope)?,
                };
                // A function has access to its input, not to the variables at its call.
                let locals = std::mem::take(&mut scope.locals);
                let result = Box::pin(self.execute_any(&function.task, given, scope)).await;
                scope.locals = locals;
                result?.0
            }
            Kind::Workflow(workflow) => self.subflow(workflow, input, reference, scope).await?,
            Kind::Set(_) | Kind::Switch(_) | Kind::Raise(_) | Kind::Emit(_) => {
                return self.complete_immediately(task, input, scope);
            }
        };
        Ok((output, None))
    }

    /// A task of any type.
    pub(super) async fn execute_any(
        &self,
        task: &Task,
        input: Val,
        scope: &mut Scope,
    ) -> Flow<(Val, Then)> {
        if task.is_plain() {
            return self.plain(task, input, scope);
        }
        self.nested(task, input, scope).await
    }

    /// Sets the variables of a task; those that it shadows are restored when the task is left.
    fn enter(&self, task: &Task, raw: &Val, scope: &mut Scope) -> [Val; 3] {
        self.refresh(scope);
        if self.with_data {
            self.world.borrow_mut().start_data(&task.reference);
        }
        let values = &mut scope.arguments.values;
        let outer = [INPUT, OUTPUT, TASK].map(|i| std::mem::take(&mut values[i]));
        if self.program.filters.wants.task {
            values[TASK] = value::object([
                ("name", value::text(&task.name)),
                ("reference", value::text(&task.reference)),
                ("definition", task.definition.clone()),
                ("input", raw.clone()),
                ("startedAt", scope.started_at.clone()),
            ]);
        }
        outer
    }

    /// `$task` in the condition of an extension, which includes the members of the task itself.
    fn merged(task: &Task, scope: &Scope) -> Val {
        let argument = &scope.arguments.values[TASK];
        let (Val::Obj(definition), Val::Obj(members)) = (&task.definition, argument) else {
            return argument.clone();
        };
        let all = definition.iter().chain(members.iter());
        Val::obj(
            all.map(|(name, value)| (name.clone(), value.clone()))
                .collect(),
        )
    }

    fn begin(&self, task: &Task, raw: Val, scope: &mut Scope) -> Flow<PreparedInput> {
        let reference = task.reference.as_str();
        if let Some(condition) = task.condition
            && !truthy(&self.evaluate(condition, &raw, reference, scope)?)
        {
            self.note(reference, |data| data.input = Some(StepValue::of(&raw)));
            return Ok(PreparedInput::Skipped(raw));
        }
        let input = self.shape_input(&task.input, raw, reference, scope)?;
        self.note(reference, |data| data.input = Some(StepValue::of(&input)));
        scope.arguments.values[INPUT] = input.clone();
        Ok(PreparedInput::Input(input))
    }

    fn finish(
        &self,
        task: &Task,
        raw_output: Val,
        chosen: Option<Then>,
        scope: &mut Scope,
    ) -> Flow<(Val, Then, Event)> {
        let reference = task.reference.as_str();
        let output = self.shape_output(&task.output, raw_output, reference, scope)?;
        if let Some(shape) = &task.export.shape {
            scope.arguments.values[OUTPUT] = output.clone();
            let context = self.fill(shape, &output, reference, scope)?;
            check(task.export.schema.as_ref(), &context, ("export", reference))?;
            self.world.borrow_mut().export(context.clone());
            scope.arguments.values[CONTEXT] = context;
        }
        Ok((output, chosen.unwrap_or(task.then), Event::Completed))
    }

    fn switch(&self, cases: &[Case], dot: &Val, at: &str, scope: &Scope) -> Flow<Option<Then>> {
        for case in cases {
            let taken = match case.when {
                None => true,
                Some(when) => truthy(&self.evaluate(when, dot, at, scope)?),
            };
            if taken {
                return Ok(Some(case.then));
            }
        }
        Ok(None)
    }

    async fn iterate(&self, iteration: &For, input: Val, at: &str, scope: &mut Scope) -> Flow {
        let items = match iteration.items {
            None => Val::Null,
            Some(items) => self.evaluate(items, &input, at, scope)?,
        };
        let Val::Arr(items) = items else {
            let kind = value::type_name(&items);
            let detail = format!("`for.in` must evaluate to an array, but it is {kind}");
            return Err(Error::new(ErrorKind::Expression, at, detail).into());
        };
        let depth = scope.locals.len();
        let mut data = input;
        for (index, item) in items.iter().enumerate() {
            scope.locals.truncate(depth);
            scope.locals.extend([item.clone(), Val::from(index)]);
            if let Some(condition) = iteration.condition {
                let goes_on = self.evaluate(condition, &data, at, scope);
                if !goes_on.as_ref().is_ok_and(truthy) {
                    scope.locals.truncate(depth);
                    goes_on?;
                    return Ok(data);
                }
            }
            match self.list(&iteration.body, data, scope).await {
                Ok((output, _)) => data = output,
                Err(stop) => {
                    scope.locals.truncate(depth);
                    return Err(stop);
                }
            }
        }
        scope.locals.truncate(depth);
        Ok(data)
    }

    fn raise(&self, raised: &Raised, dot: &Val, reference: &str, scope: &Scope) -> Flow<Error> {
        let text = |template: Option<&Template>| -> Flow<Option<String>> {
            let Some(template) = template else {
                return Ok(None);
            };
            let filled = self.fill(template, dot, reference, scope)?;
            Ok(match &filled {
                Val::Null => None,
                Val::TStr(bytes) => Some(bounded(&String::from_utf8_lossy(bytes))),
                Val::Bool(_) | Val::Num(_) | Val::BStr(_) | Val::Arr(_) | Val::Obj(_) => {
                    Some(bounded(&filled.to_string()))
                }
            })
        };
        Ok(Error {
            code: "raised",
            is_final: false,
            kind: text(Some(&raised.kind))?.unwrap_or_default(),
            title: text(raised.title.as_ref())?,
            detail: text(raised.detail.as_ref())?,
            instance: text(raised.instance.as_ref())?.unwrap_or_else(|| reference.to_owned()),
            status: raised.status,
        })
    }

    pub(super) fn shape_input(&self, input: &Input, raw: Val, at: &str, scope: &Scope) -> Flow {
        check(input.schema.as_ref(), &raw, ("input", at))?;
        match &input.from {
            None => Ok(raw),
            Some(from) => self.fill(from, &raw, at, scope),
        }
    }

    pub(super) fn shape_output(
        &self,
        output: &Output,
        raw: Val,
        at: &str,
        scope: &mut Scope,
    ) -> Flow {
        let shaped = match &output.shape {
            None => raw,
            Some(shape) => {
                scope.arguments.values[OUTPUT] = raw.clone();
                self.fill(shape, &raw, at, scope)?
            }
        };
        check(output.schema.as_ref(), &shaped, ("output", at))?;
        Ok(shaped)
    }

    pub(super) fn fill(&self, template: &Template, dot: &Val, at: &str, scope: &Scope) -> Flow {
        template.fill(&mut |expression| self.evaluate(expression, dot, at, scope))
    }

    /// The value of a template as JSON.
    pub(super) fn json(
        &self,
        template: &Template,
        dot: &Val,
        at: &str,
        scope: &Scope,
    ) -> Flow<Value> {
        let filled = self.fill(template, dot, at, scope)?;
        to_json(&filled, at)
    }

    pub(super) fn evaluate(
        &self,
        expression: Expression,
        dot: &Val,
        at: &str,
        scope: &Scope,
    ) -> Flow {
        let filters = &self.program.filters;
        let result = filters.evaluate(expression, dot, &scope.arguments, &scope.locals);
        if filters.wants.debug {
            self.record_debug(at, scope.attempt)?;
        }
        self.note(at, |data| {
            data.add_evaluation(filters.source(expression), &result);
        });
        result.map_err(|why| {
            let (code, pointer) = filters.source(expression);
            let (code, kind) = (shown(code), value::type_name(dot));
            let why = cut(&why, MAX_CAUSE);
            let detail = format!("{why}, in {code} at {pointer}, whose input is {kind}");
            Error::new(ErrorKind::Expression, at, detail).into()
        })
    }

    pub(super) fn milliseconds(
        &self,
        duration: Duration,
        dot: &Val,
        at: &str,
        scope: &Scope,
    ) -> Flow<i64> {
        let expression = match duration {
            Duration::Fixed(ms) => return Ok(ms),
            Duration::Expression(expression) => expression,
        };
        let value = to_json(&self.evaluate(expression, dot, at, scope)?, at)?;
        duration::milliseconds(&value).map_err(|why| {
            Error::new(ErrorKind::Expression, at, format!("the duration {why}")).into()
        })
    }
}

/// How much of an expression's error is in the run's error, in characters.
const MAX_CAUSE: usize = 500;

fn leave(scope: &mut Scope, outer: [Val; 3]) {
    for (place, value) in [INPUT, OUTPUT, TASK].into_iter().zip(outer) {
        scope.arguments.values[place] = value;
    }
}

pub(super) fn to_json(value: &Val, at: &str) -> Flow<Value> {
    let json = value::to_json(value);
    json.map_err(|e| Error::new(ErrorKind::Runtime, at, e.to_string()).into())
}

/// Checks the data of a member of a task against its schema.
fn check(schema: Option<&Schema>, data: &Val, (member, at): (&str, &str)) -> Flow<()> {
    let Some(schema) = schema else { return Ok(()) };
    let json =
        value::to_json(data).map_err(|e| Error::new(ErrorKind::Validation, at, e.to_string()))?;
    match schema.faults(&json) {
        None => Ok(()),
        Some(faults) => {
            let detail = format!("the {member} does not match its schema: {faults}");
            Err(Error::new(ErrorKind::Validation, at, detail).into())
        }
    }
}

/// As in jq: everything except `null` and `false`.
pub(super) fn truthy(value: &Val) -> bool {
    !matches!(value, Val::Null | Val::Bool(false))
}
