//! What all branches of a run share: the journal, its time, the context, and what was asked for.

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
    host::{Control, Host, Record},
    journal::{Answer, Asked, Effect, Entry, Key, Request, What},
};

pub(super) struct World<'a> {
    pub(super) host: &'a mut dyn Host,
    journal: slice::Iter<'a, Entry>,
    /// Entries up to the newest retry: what they led to was told before.
    silent: usize,
    /// When the newest entry was.
    pub(super) now: Timestamp,
    /// When the run was accepted, and when it began.
    accepted: Timestamp,
    began: Timestamp,
    /// Limits of time begin at the newest retry, if they began before.
    pub(super) anew: Timestamp,
    pub(super) context: Val,
    /// Changed with whatever a scope shows.
    pub(super) version: u64,
    pub(super) steps_left: u32,
    pub(super) visits: HashMap<String, Visits>,
    pub(super) emitted: u32,
    asked: Asked,
    /// Whether something was dropped that had asked.
    stale: bool,
    answers: HashMap<Key, Answer>,
}

/// How often a task has asked for something.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Visits {
    all: u32,
    /// Without those that a retry made again.
    pub(super) occurrences: u32,
}

impl<'a> World<'a> {
    pub(super) fn new(start: &Start<'a>, host: &'a mut dyn Host, context: Val) -> Self {
        let retried = |entry: &Entry| entry.what == What::Retried;
        let silent = start.journal.iter().rposition(retried);
        Self {
            host,
            journal: start.journal.iter(),
            silent: silent.map_or(0, |place| place + 1),
            now: start.started_at,
            accepted: start.started_at,
            began: start.started_at,
            anew: start.started_at,
            context,
            version: 1,
            steps_left: start.max_steps,
            visits: HashMap::new(),
            emitted: 0,
            asked: Asked::default(),
            stale: false,
            answers: HashMap::new(),
        }
    }

    /// Forgets what was asked for: whoever still waits asks again.
    pub(super) fn ask_anew(&mut self) {
        self.asked = Asked::default();
        self.stale = false;
    }

    pub(super) fn is_stale(&self) -> bool {
        self.stale
    }

    pub(super) fn tell(&mut self, record: impl FnOnce(u64) -> Record) -> Control {
        if self.silent > 0 {
            return Control::Continue;
        }
        let elapsed = self.now.duration_since(self.began).as_millis();
        let record = record(u64::try_from(elapsed).unwrap_or_default());
        self.host.step(record)
    }

    pub(super) fn emit(&mut self, event: serde_json::Value) {
        if self.silent == 0 {
            self.host.emit(self.emitted, event);
        }
    }

    pub(super) fn export(&mut self, context: Val) {
        self.context = context;
        self.version += 1;
    }

    /// Takes the next entry, of the journal or of the host.
    ///
    /// # Errors
    /// Where the run is, when there is none.
    pub(super) fn go_on(&mut self) -> Result<(), Outcome> {
        let known = self.journal.next();
        let new = match known {
            Some(_) => None,
            None => self.host.next(&self.asked),
        };
        let Some(entry) = known.or(new.as_ref()) else {
            return Err(Outcome::Waiting(std::mem::take(&mut self.asked)));
        };
        self.silent = self.silent.saturating_sub(1);
        self.now = self.now.max(entry.at);
        self.version += 1;
        match &entry.what {
            What::Time => {}
            What::Began => self.began = self.now,
            What::Retried => self.anew = self.now,
            What::Answered {
                key,
                digest,
                answer,
            } => {
                let asked = self.asked.effects.iter().find(|effect| effect.key == *key);
                let Some(effect) = asked else {
                    return Err(foreign(key, "the run does not ask for it"));
                };
                if known.is_some() && effect.digest() != *digest {
                    return Err(foreign(key, "the run asks for something else there"));
                }
                self.answers.insert(key.clone(), answer.clone());
            }
        }
        Ok(())
    }

    /// An outcome that fits its journal, or a fault.
    pub(super) fn checked(&self, outcome: Outcome) -> Outcome {
        let stopped = matches!(&outcome, Outcome::Faulted(error) if error.is_final);
        let mut left = self.journal.as_slice().iter();
        match left.find_map(|entry| match &entry.what {
            What::Answered { key, .. } => Some(key),
            What::Began | What::Time | What::Retried => None,
        }) {
            Some(key) if !stopped => foreign(key, "the run ends before it asks for it"),
            _ => outcome,
        }
    }

    /// When something began that began at `at` by the journal: what began with the run did so when
    /// the run did.
    pub(super) fn began(&self, at: Timestamp) -> Timestamp {
        if at == self.accepted { self.began } else { at }
    }

    /// Notes when something goes on by itself.
    pub(super) fn until(&mut self, due: Timestamp) {
        let sooner = self.asked.until.map_or(due, |until| until.min(due));
        self.asked.until = Some(sooner);
    }
}

fn foreign(key: &Key, why: &str) -> Outcome {
    let detail = format!(
        "the journal has an answer, the {}. of its task, but {why}",
        key.visit
    );
    Outcome::Faulted(Error::new(ErrorKind::NonDeterministic, &key.task, detail))
}

impl<'a> Run<'a> {
    /// Asks for an effect and waits for its answer.
    pub(super) fn ask<'r>(&'r self, task: &str, request: Request) -> Asking<'r, 'a> {
        let mut world = self.world.borrow_mut();
        let visits = world.visits.entry(task.to_owned()).or_default();
        visits.all += 1;
        visits.occurrences += 1;
        let Visits { all, occurrences } = *visits;
        Asking {
            run: self,
            pending: false,
            effect: Arc::new(Effect {
                key: Key {
                    task: task.to_owned(),
                    visit: all,
                },
                occurrence: occurrences,
                asked_at: world.now,
                request,
            }),
        }
    }

    /// Waits so many milliseconds.
    pub(super) fn pause<'r>(&'r self, ms: i64) -> Pause<'r, 'a> {
        Pause {
            run: self,
            pending: false,
            since: self.world.borrow().now,
            ms,
        }
    }

    /// Notes that something was dropped that had asked.
    fn forget(&self) {
        if let Ok(mut world) = self.world.try_borrow_mut() {
            world.stale = true;
        }
    }
}

pub(super) struct Asking<'r, 'a> {
    run: &'r Run<'a>,
    pending: bool,
    effect: Arc<Effect>,
}

impl Future for Asking<'_, '_> {
    type Output = Answer;

    fn poll(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Answer> {
        let mut world = self.run.world.borrow_mut();
        let answer = world.answers.remove(&self.effect.key);
        if answer.is_none() {
            world.asked.effects.push(Arc::clone(&self.effect));
        }
        drop(world);
        self.pending = answer.is_none();
        answer.map_or(Poll::Pending, Poll::Ready)
    }
}

impl Drop for Asking<'_, '_> {
    fn drop(&mut self) {
        if self.pending {
            self.run.forget();
        }
    }
}

pub(super) struct Pause<'r, 'a> {
    run: &'r Run<'a>,
    pending: bool,
    since: Timestamp,
    ms: i64,
}

impl Future for Pause<'_, '_> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        let mut world = self.run.world.borrow_mut();
        let due = after(world.began(self.since), self.ms);
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

impl Drop for Pause<'_, '_> {
    fn drop(&mut self) {
        if self.pending {
            self.run.forget();
        }
    }
}
