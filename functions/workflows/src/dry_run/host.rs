//! Follows a computation with recorded results: nothing is stored or called, and waits end
//! immediately.

use std::{sync::Arc, time::Duration};

use aias_domain::{artifact::ArtifactContent, canonical, log, plan::Limits, run::RunError};
use aias_engine::{
    Excerpt,
    journal::{Entry, EntryEvent, PendingEffects},
};
use aias_platform::{clock::Clock, recording::Recording, run_log::RunLog, step_view::StepView};
use aias_sandbox::{Computation, ComputationInput, Definition, Report, Sandbox};
use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;
use tokio::time::timeout;

use super::responses::Responses;

/// The most steps and events that are kept.
const MAX_STEPS: usize = 100;
const MAX_EVENTS: usize = 100;

/// The most JSON of steps, of events, and of the output in a response, in bytes each. A Lambda
/// response has at most 6 MB with the body as an escaped string.
const MAX_PART_BYTES: usize = 1024 * 1024;

/// The end of a computation.
pub(crate) struct Followed {
    /// The output and the digest of its canonical JSON.
    pub(crate) ended: Result<(Value, String), RunError>,
    pub(crate) log: Vec<log::Entry>,
    pub(crate) steps: Vec<StepView>,
    pub(crate) events: Vec<Value>,
}

pub(crate) struct DryRunHost<'a> {
    clock: &'a Clock,
    with_data: bool,
    run_log: RunLog,
    steps: Vec<StepView>,
    /// The steps that wait for an effect.
    waiting_steps: Vec<StepView>,
    step_bytes: usize,
    events: Vec<Value>,
    event_bytes: usize,
}

/// Adds the size of an item to that of its part of the response. Returns whether the part may still
/// have it.
fn fits(bytes: &mut usize, item: &impl Serialize) -> bool {
    *bytes += serde_json::to_string(item).map_or(MAX_PART_BYTES, |json| json.len());
    *bytes <= MAX_PART_BYTES
}

/// A value of a response: its JSON's start as a string if it is large, which `truncated` then says.
pub(crate) fn bounded(
    value: Value,
    pointer: &'static str,
    truncated: &mut Vec<&'static str>,
) -> Value {
    match Excerpt::of(value, MAX_PART_BYTES) {
        Excerpt::Whole(value) => value,
        Excerpt::Start { text, .. } => {
            truncated.push(pointer);
            text.into()
        }
    }
}

impl<'a> DryRunHost<'a> {
    /// `with_data`: whether the data of the steps is kept.
    pub(crate) fn new(clock: &'a Clock, now: Timestamp, with_data: bool) -> Self {
        Self {
            clock,
            with_data,
            run_log: RunLog::new(0, 0, now, now),
            steps: Vec::new(),
            waiting_steps: Vec::new(),
            step_bytes: 0,
            events: Vec::new(),
            event_bytes: 0,
        }
    }

    /// Computes a definition, for at most `time`.
    pub(crate) async fn follow(
        mut self,
        sandbox: &Sandbox,
        limits: &Limits,
        definition: Arc<Definition>,
        recording: Recording,
        time: Duration,
    ) -> Followed {
        let input_digest = canonical::digest(&canonical::to_vec(&recording.input));
        self.run_log.started(&input_digest, 1, self.clock.now());
        let mut now = recording.started_at;
        let mut responses = Responses::new(recording.responses, recording.journal);
        let computation = Computation::new(
            sandbox,
            ComputationInput {
                definition,
                run_id: recording.run_id.to_string(),
                input: recording.input,
                started_at: recording.started_at,
                max_steps: limits.steps_per_run,
                computing: limits.computing,
                journal: Vec::new(),
                secret_nonce: recording.secret_nonce,
                with_data: self.with_data,
            },
        );
        let ended = timeout(time, self.listen(computation, &mut now, &mut responses)).await;
        let ended = ended.unwrap_or_else(|_| Err(took_too_long()));
        let ended = ended.and_then(|output| {
            let content = ArtifactContent::of(&output, limits)?;
            Ok((output, content.output_digest))
        });
        let end = self.clock.now();
        match &ended {
            Ok((_, digest)) => self.run_log.completed(digest, end),
            Err(error) => self.run_log.faulted(error, end),
        }
        for step in self.waiting_steps {
            if fits(&mut self.step_bytes, &step) {
                self.steps.push(step);
            }
        }
        Followed {
            ended,
            log: self.run_log.take(),
            steps: self.steps,
            events: self.events,
        }
    }

    async fn listen(
        &mut self,
        mut computation: Computation<'_>,
        now: &mut Timestamp,
        responses: &mut Responses,
    ) -> Result<Value, RunError> {
        loop {
            match computation.next().await {
                Report::Step(record) => self.run_log.step(record, self.clock.now()),
                Report::StepData(data) => {
                    let step = StepView::from(*data);
                    if step.is_waiting() {
                        self.waiting_steps.push(step);
                    } else if self.steps.len() < MAX_STEPS && fits(&mut self.step_bytes, &step) {
                        self.steps.push(step);
                    }
                }
                Report::Emitted(_, event) => {
                    if self.events.len() < MAX_EVENTS && fits(&mut self.event_bytes, &event) {
                        self.events.push(event);
                    }
                }
                Report::PendingEffects(pending) => {
                    let entry = next_entry(&pending, now, responses)?;
                    computation.give(entry).await;
                    self.waiting_steps.clear();
                }
                Report::Ended(outcome) => return *outcome,
            }
        }
    }
}

/// The next entry: the first requested effect that has a response, else the next timer.
fn next_entry(
    pending: &PendingEffects,
    now: &mut Timestamp,
    responses: &mut Responses,
) -> Result<Entry, RunError> {
    let answered = pending.effects.iter().find_map(|effect| {
        let (result, at) = responses.take(effect)?;
        Some((effect, result, at))
    });
    let event = match (answered, pending.until, pending.effects.first()) {
        (Some((effect, result, at)), ..) => {
            *now = (*now).max(at.unwrap_or(*now));
            EntryEvent::EffectCompleted {
                key: effect.key.clone(),
                digest: effect.digest(),
                result,
            }
        }
        (None, Some(until), _) => {
            *now = (*now).max(until);
            EntryEvent::TimerExpired
        }
        (None, None, effect) => {
            let task = effect.map(|effect| effect.key.task.clone());
            let detail = "`responses` has no entry for this task, and a dry run makes no calls";
            let error = RunError::platform("no-response", "No response", detail);
            return Err(RunError {
                instance: task,
                ..error
            });
        }
    };
    Ok(Entry { at: *now, event })
}

fn took_too_long() -> RunError {
    let detail = "the dry run takes longer than a request may take";
    RunError {
        status: 408,
        ..RunError::platform("timeout", "Timeout", detail)
    }
}
