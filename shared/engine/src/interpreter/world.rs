//! State shared by all branches of a run: journal, time, context, requested effects.

use std::{
    collections::HashMap,
    pin::Pin,
    slice,
    sync::Arc,
    task::{Context, Poll},
};

use jaq_json::Val;
use jiff::Timestamp;

use super::{Outcome, Run, Start};
use crate::{
    duration::after,
    error::{Error, Kind as ErrorKind},
    host::{Control, Event, Host, Record},
    journal::{Effect, EffectResult, Entry, EntryEvent, Key, PendingEffects, Request},
    program::DOCUMENT_SUFFIX,
    step_data::StepData,
};

pub(super) struct World<'a> {
    pub(super) host: &'a mut dyn Host,
    journal: slice::Iter<'a, Entry>,
    /// Entries up to the latest retry: the steps that they lead to have been recorded before.
    recorded_entries: usize,
    /// The time of the latest entry.
    pub(super) now: Timestamp,
    /// When the run was accepted, and when it was started.
    accepted: Timestamp,
    began: Timestamp,
    /// The time of the latest retry: timeouts that started earlier restart there.
    pub(super) restarted_at: Timestamp,
    pub(super) context: Val,
    /// Incremented with every change that a scope shows.
    pub(super) version: u64,
    pub(super) steps_left: u32,
    pub(super) visits: HashMap<String, Visits>,
    pub(super) emitted: u32,
    pending: PendingEffects,
    /// Whether a future that had requested an effect was dropped.
    stale: bool,
    responses: HashMap<Key, EffectResult>,
    /// The data of the task executions that have not ended, by task reference, the innermost last:
    /// the task of a function has the reference of its call.
    data: HashMap<String, Vec<StepData>>,
    debug_left: u32,
}

/// The most debug messages of a run.
const MAX_DEBUG_MESSAGES: u32 = 1_000;

#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Visits {
    all: u32,
    /// Without the repetitions by a retry.
    pub(super) occurrences: u32,
}

impl<'a> World<'a> {
    pub(super) fn new(start: &Start<'a>, host: &'a mut dyn Host, context: Val) -> Self {
        let retried = |entry: &Entry| entry.event == EntryEvent::Retried;
        let recorded_entries = start.journal.iter().rposition(retried);
        Self {
            host,
            journal: start.journal.iter(),
            recorded_entries: recorded_entries.map_or(0, |place| place + 1),
            now: start.started_at,
            accepted: start.started_at,
            began: start.started_at,
            restarted_at: start.started_at,
            context,
            version: 1,
            steps_left: start.max_steps,
            visits: HashMap::new(),
            emitted: 0,
            pending: PendingEffects::default(),
            stale: false,
            responses: HashMap::new(),
            data: HashMap::new(),
            debug_left: MAX_DEBUG_MESSAGES,
        }
    }

    /// Starts to collect the data of a task execution.
    pub(super) fn start_data(&mut self, reference: &str) {
        let executions = self.data.entry(reference.to_owned()).or_default();
        executions.push(StepData::new(reference));
    }

    /// Changes the data of the current execution of a task.
    pub(super) fn note(&mut self, reference: &str, change: impl FnOnce(&mut StepData)) {
        let executions = self.data.get_mut(reference);
        if let Some(data) = executions.and_then(|executions| executions.last_mut()) {
            change(data);
        }
    }

    /// Passes the data of a task execution that has ended to the host.
    pub(super) fn end_data(&mut self, reference: &str) {
        let elapsed_ms = self.elapsed_ms();
        let executions = self.data.get_mut(reference);
        if let Some(data) = executions.and_then(Vec::pop) {
            self.host.data(StepData { elapsed_ms, ..data });
        }
    }

    fn elapsed_ms(&self) -> u64 {
        let elapsed = self.now.duration_since(self.began).as_millis();
        u64::try_from(elapsed).unwrap_or_default()
    }

    /// Clears the requested effects; futures that still wait request them again.
    pub(super) fn clear_requests(&mut self) {
        self.pending = PendingEffects::default();
        self.stale = false;
    }

    pub(super) fn is_stale(&self) -> bool {
        self.stale
    }

    pub(super) fn record(&mut self, record: impl FnOnce(u64) -> Record) -> Control {
        if self.recorded_entries > 0 {
            return Control::Continue;
        }
        let record = record(self.elapsed_ms());
        if record.event == Event::Debug {
            let Some(left) = self.debug_left.checked_sub(1) else {
                return Control::Continue;
            };
            self.debug_left = left;
        }
        self.host.step(record)
    }

    pub(super) fn emit(&mut self, event: serde_json::Value) {
        if self.recorded_entries == 0 {
            self.host.emit(self.emitted, event);
        }
    }

    pub(super) fn export(&mut self, context: Val) {
        self.context = context;
        self.version += 1;
    }

    /// Takes the next entry from the journal or from the host.
    ///
    /// # Errors
    ///
    /// The outcome of the execution, if there is no entry.
    pub(super) fn advance(&mut self) -> Result<(), Outcome> {
        let known = self.journal.next();
        let new = match known {
            Some(_) => None,
            None => {
                self.pass_waiting_data();
                self.host.next(&self.pending)
            }
        };
        let Some(entry) = known.or(new.as_ref()) else {
            return Err(Outcome::Waiting(std::mem::take(&mut self.pending)));
        };
        self.recorded_entries = self.recorded_entries.saturating_sub(1);
        self.now = self.now.max(entry.at);
        self.version += 1;
        match &entry.event {
            EntryEvent::TimerExpired => {}
            EntryEvent::Started => self.began = self.now,
            EntryEvent::Retried => self.restarted_at = self.now,
            EntryEvent::EffectCompleted {
                key,
                digest,
                result: response,
            } => {
                let mut effects = self.pending.effects.iter();
                let Some(effect) = effects.find(|effect| effect.key == *key) else {
                    return Err(mismatch(key, "the run does not request it"));
                };
                if known.is_some() && effect.digest() != *digest {
                    return Err(mismatch(key, "the run sends a different request there"));
                }
                self.responses.insert(key.clone(), response.clone());
            }
        }
        Ok(())
    }

    /// Passes the data of the tasks that wait for an effect to the host.
    fn pass_waiting_data(&mut self) {
        for effect in &self.pending.effects {
            let task = effect.key.task.as_str();
            let task = task.strip_suffix(DOCUMENT_SUFFIX).unwrap_or(task);
            if let Some(data) = self.data.get(task).and_then(|all| all.last()) {
                let elapsed_ms = self.elapsed_ms();
                let data = data.clone();
                self.host.data(StepData { elapsed_ms, ..data });
            }
        }
    }

    /// The outcome, or a fault if the journal has entries that the run did not use.
    pub(super) fn checked(&self, outcome: Outcome) -> Outcome {
        let stopped = matches!(&outcome, Outcome::Faulted(error) if error.is_final);
        let mut left = self.journal.as_slice().iter();
        match left.find_map(|entry| match &entry.event {
            EntryEvent::EffectCompleted { key, .. } => Some(key),
            EntryEvent::Started | EntryEvent::TimerExpired | EntryEvent::Retried => None,
        }) {
            Some(key) if !stopped => mismatch(key, "the run ends before it requests it"),
            _ => outcome,
        }
    }

    /// The start time for limits of something that started at `at` by the journal. The start of the
    /// run itself counts from when it was started, not from when it was accepted.
    pub(super) fn start_of(&self, at: Timestamp) -> Timestamp {
        if at == self.accepted { self.began } else { at }
    }

    /// Records when the run can continue by itself.
    pub(super) fn until(&mut self, due: Timestamp) {
        let sooner = self.pending.until.map_or(due, |until| until.min(due));
        self.pending.until = Some(sooner);
    }
}

fn mismatch(key: &Key, why: &str) -> Outcome {
    let detail = format!(
        "the journal has a result for the task's effect number {}, but {why}",
        key.visit
    );
    Outcome::Faulted(Error::new(ErrorKind::NonDeterministic, &key.task, detail))
}

impl<'a> Run<'a> {
    /// Requests an effect and waits for its result.
    pub(super) fn ask<'r>(&'r self, task: &str, request: Request) -> EffectFuture<'r, 'a> {
        let mut world = self.world.borrow_mut();
        let visits = world.visits.entry(task.to_owned()).or_default();
        visits.all += 1;
        visits.occurrences += 1;
        let Visits { all, occurrences } = *visits;
        EffectFuture {
            run: self,
            pending: false,
            effect: Arc::new(Effect {
                key: Key {
                    task: task.to_owned(),
                    visit: all,
                },
                occurrence: occurrences,
                requested_at: world.now,
                request,
            }),
        }
    }

    /// Waits for `ms` milliseconds.
    pub(super) fn pause<'r>(&'r self, ms: i64) -> TimerFuture<'r, 'a> {
        TimerFuture {
            run: self,
            pending: false,
            since: self.world.borrow().now,
            ms,
        }
    }

    /// Records that a future that had requested an effect was dropped.
    fn forget(&self) {
        if let Ok(mut world) = self.world.try_borrow_mut() {
            world.stale = true;
        }
    }
}

pub(super) struct EffectFuture<'r, 'a> {
    run: &'r Run<'a>,
    pending: bool,
    effect: Arc<Effect>,
}

impl EffectFuture<'_, '_> {
    pub(super) fn request(&self) -> &Request {
        &self.effect.request
    }
}

impl Future for EffectFuture<'_, '_> {
    type Output = EffectResult;

    fn poll(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<EffectResult> {
        let mut world = self.run.world.borrow_mut();
        let response = world.responses.remove(&self.effect.key);
        if response.is_none() {
            world.pending.effects.push(Arc::clone(&self.effect));
        }
        drop(world);
        self.pending = response.is_none();
        response.map_or(Poll::Pending, Poll::Ready)
    }
}

impl Drop for EffectFuture<'_, '_> {
    fn drop(&mut self) {
        if self.pending {
            self.run.forget();
        }
    }
}

pub(super) struct TimerFuture<'r, 'a> {
    run: &'r Run<'a>,
    pending: bool,
    since: Timestamp,
    ms: i64,
}

impl Future for TimerFuture<'_, '_> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        let mut world = self.run.world.borrow_mut();
        let due = after(world.start_of(self.since), self.ms);
        let reached = world.now >= due;
        if !reached {
            world.until(due);
        }
        drop(world);
        self.pending = !reached;
        if reached {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    }
}

impl Drop for TimerFuture<'_, '_> {
    fn drop(&mut self) {
        if self.pending {
            self.run.forget();
        }
    }
}
