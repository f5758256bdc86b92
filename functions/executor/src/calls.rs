//! Effects of a run that are in progress.

use std::{future::poll_fn, pin::Pin, sync::Arc, task::Poll};

use aias_domain::id::RunId;
use aias_engine::journal::{Effect, EffectResult, Key};

use crate::error::Error;

/// The most concurrent effects of a run; further ones are queued.
const MAX_AT_ONCE: usize = 16;

/// The result of starting an effect.
pub(crate) struct StartedEffect {
    /// The child run that it started.
    pub(crate) child: Option<RunId>,
    /// Its result; none if the effect is another run, which completes later.
    pub(crate) result: Option<EffectResult>,
}

/// An effect in progress.
pub(crate) type Call<'a> = Pin<Box<dyn Future<Output = Result<StartedEffect, Error>> + Send + 'a>>;

/// The requested effects of a run that have no result yet.
pub(crate) struct EffectCalls<'a> {
    waiting: Vec<Arc<Effect>>,
    under_way: Vec<(Arc<Effect>, Call<'a>)>,
    /// Effects that are other runs.
    child_runs: Vec<(Arc<Effect>, Option<RunId>)>,
}

impl<'a> EffectCalls<'a> {
    pub(crate) fn new() -> Self {
        Self {
            waiting: Vec::new(),
            under_way: Vec::new(),
            child_runs: Vec::new(),
        }
    }

    /// Sets the requested effects. Effects that are no longer requested are dropped.
    pub(crate) fn set_requested(&mut self, effects: &[Arc<Effect>]) {
        let wanted = |key: &Key| effects.iter().any(|effect| effect.key == *key);
        self.under_way.retain(|(effect, _)| wanted(&effect.key));
        self.child_runs.retain(|(effect, _)| wanted(&effect.key));
        let known = |effect: &&Arc<Effect>| {
            let same = |other: &Arc<Effect>| other.key == effect.key;
            self.under_way.iter().any(|(other, _)| same(other))
                || self.child_runs.iter().any(|(other, _)| same(other))
        };
        self.waiting = effects.iter().filter(|e| !known(e)).cloned().collect();
    }

    /// Starts queued effects, up to [`MAX_AT_ONCE`].
    pub(crate) fn start_queued(&mut self, call: impl Fn(Arc<Effect>) -> Call<'a>) {
        while self.under_way.len() < MAX_AT_ONCE && !self.waiting.is_empty() {
            let effect = self.waiting.remove(0);
            let begun = call(Arc::clone(&effect));
            self.under_way.push((effect, begun));
        }
    }

    /// The result of the next effect to complete; pending forever if none is in progress.
    pub(crate) async fn next(&mut self) -> Result<(Arc<Effect>, StartedEffect), Error> {
        poll_fn(|context| {
            let mut place = 0;
            while let Some((_, call)) = self.under_way.get_mut(place) {
                let Poll::Ready(result) = call.as_mut().poll(context) else {
                    place += 1;
                    continue;
                };
                let (effect, _) = self.under_way.remove(place);
                return Poll::Ready(result.map(|called| {
                    if called.result.is_none() {
                        self.child_runs.push((Arc::clone(&effect), called.child));
                    }
                    (effect, called)
                }));
            }
            Poll::Pending
        })
        .await
    }

    pub(crate) fn is_any_in_progress(&self) -> bool {
        !self.under_way.is_empty()
    }

    pub(crate) fn is_any_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// The runs that effects wait for.
    pub(crate) fn awaited(&self) -> Vec<RunId> {
        let children = self.child_runs.iter();
        children.filter_map(|(_, child)| *child).collect()
    }
}
