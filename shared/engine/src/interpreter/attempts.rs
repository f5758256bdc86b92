//! `try`, `catch` and `retry`.

use aias_domain::canonical;
use jaq_json::Val;

use super::{CONTEXT, Flow, Run, Scope, Stop, tasks::truthy};
use crate::{
    compile::policy::Retry,
    duration::after,
    error::Error,
    expression::Expression,
    host::Event,
    program::{Task, Try},
};

impl Run<'_> {
    pub(super) async fn attempt(
        &self,
        attempt: &Try,
        task: &Task,
        input: &Val,
        scope: &mut Scope,
    ) -> Flow {
        let outer = std::mem::replace(&mut scope.attempt, 1);
        let result = self.attempts(attempt, task, input, scope).await;
        scope.attempt = outer;
        result
    }

    async fn attempts(&self, attempt: &Try, task: &Task, input: &Val, scope: &mut Scope) -> Flow {
        let reference = task.reference.as_str();
        let started_at = self.world.borrow().now;
        let context = self.world.borrow().context.clone();
        let occurrences = attempt.retry.as_ref().map(|_| self.occurrences(reference));
        loop {
            let error = match self.body(attempt, task, input, scope).await {
                Err(Stop::Error(error)) if !error.is_final => error,
                other => return other,
            };
            self.refresh(scope);
            let depth = scope.locals.len();
            scope.locals.push(error.to_val());
            let decided = self.decide(attempt, &error, input, reference, scope, started_at);
            let (caught, delay) = match decided {
                Ok(decided) => decided,
                Err(stop) => {
                    scope.locals.truncate(depth);
                    return Err(stop);
                }
            };
            if let Some(delay) = delay {
                scope.locals.truncate(depth);
                scope.attempt += 1;
                let message = format!("retrying in {delay} ms");
                let message = if delay > 0 { message.as_str() } else { "" };
                self.record(reference, Event::Retried, message, scope.attempt)?;
                self.count(reference)?;
                if delay > 0 {
                    self.pause(delay).await;
                }
                self.world.borrow_mut().export(context.clone());
                scope.arguments.values[CONTEXT] = context.clone();
                if let Some(occurrences) = &occurrences {
                    self.restore(reference, occurrences);
                }
                continue;
            }
            let result = match (&attempt.handler, &attempt.retry) {
                _ if !caught => Err(Stop::Error(error)),
                (None, Some(_)) => Err(Stop::Error(error)),
                (handler, _) => match self.record(reference, Event::Caught, "", scope.attempt) {
                    Err(stop) => Err(stop),
                    Ok(()) => match handler {
                        None => Ok(input.clone()),
                        Some(handler) => {
                            let handled = self.list(handler, input.clone(), scope).await;
                            handled.map(|(output, _)| output)
                        }
                    },
                },
            };
            scope.locals.truncate(depth);
            return result;
        }
    }

    /// One attempt, within its timeout if there is one.
    async fn body(&self, attempt: &Try, task: &Task, input: &Val, scope: &mut Scope) -> Flow {
        let limit = attempt.retry.as_ref().and_then(|retry| retry.attempt);
        let reference = task.reference.as_str();
        let done = match limit {
            None => self.list(&attempt.body, input.clone(), scope).await,
            Some(limit) => {
                let ms = self.milliseconds(limit, input, reference, scope)?;
                let mut own = scope.clone();
                let body = Box::pin(self.list(&attempt.body, input.clone(), &mut own));
                self.with_timeout(reference, ms, body).await
            }
        };
        done.map(|(output, _)| output)
    }

    /// Whether an error is caught, and the delay before the next attempt if there is one.
    fn decide(
        &self,
        attempt: &Try,
        error: &Error,
        dot: &Val,
        at: &str,
        scope: &Scope,
        started_at: jiff::Timestamp,
    ) -> Flow<(bool, Option<i64>)> {
        let caught = attempt.errors.takes(error)
            && self.applies(attempt.when, attempt.except_when, dot, at, scope)?;
        let delay = match &attempt.retry {
            Some(retry) if caught => self.retries(retry, dot, at, scope, started_at)?,
            _ => None,
        };
        Ok((caught, delay))
    }

    /// The delay before the next attempt; none if there is no next one.
    fn retries(
        &self,
        retry: &Retry,
        dot: &Val,
        at: &str,
        scope: &Scope,
        started_at: jiff::Timestamp,
    ) -> Flow<Option<i64>> {
        let left = retry
            .count
            .is_none_or(|count| u64::from(scope.attempt) <= count);
        if !left || !self.applies(retry.when, retry.except_when, dot, at, scope)? {
            return Ok(None);
        }
        let ms = |duration| self.milliseconds(duration, dot, at, scope);
        let delay = retry.delay.map_or(Ok(0), ms)?;
        let mut delay = retry.backoff.delay(delay, scope.attempt);
        if let Some((from, to)) = retry.jitter {
            let (from, to) = (ms(from)?, ms(to)?);
            let part = fraction(&[self.id, at, &scope.attempt.to_string()]);
            delay += from + ((to - from).max(0) as f64 * part) as i64;
        }
        if let Some(all) = retry.all {
            let world = self.world.borrow();
            let end = after(world.start_of(started_at).max(world.restarted_at), ms(all)?);
            if after(world.now, delay) > end {
                return Ok(None);
            }
        }
        Ok(Some(delay))
    }

    fn applies(
        &self,
        when: Option<Expression>,
        except_when: Option<Expression>,
        dot: &Val,
        at: &str,
        scope: &Scope,
    ) -> Flow<bool> {
        if let Some(when) = when
            && !truthy(&self.evaluate(when, dot, at, scope)?)
        {
            return Ok(false);
        }
        match except_when {
            None => Ok(true),
            Some(except) => Ok(!truthy(&self.evaluate(except, dot, at, scope)?)),
        }
    }

    /// How many effects the tasks in a `try` have requested.
    fn occurrences(&self, reference: &str) -> Vec<(String, u32)> {
        let world = self.world.borrow();
        let inside = |(task, _): &(&String, _)| task.starts_with(reference);
        let visits = world.visits.iter().filter(inside);
        visits
            .map(|(task, visits)| (task.clone(), visits.occurrences))
            .collect()
    }

    /// Resets the counts: a retry requests the same effects again, not further ones.
    fn restore(&self, reference: &str, before: &[(String, u32)]) {
        let mut world = self.world.borrow_mut();
        for (task, visits) in &mut world.visits {
            if task.starts_with(reference) {
                let known = before.iter().find(|(name, _)| name == task);
                visits.occurrences = known.map_or(0, |(_, occurrences)| *occurrences);
            }
        }
    }
}

/// A pseudo-random number from 0 to 1, determined by `words`.
fn fraction(words: &[&str]) -> f64 {
    let digest = canonical::digest(words.join("\n").as_bytes());
    let digits = digest.get(7..20).unwrap_or_default();
    let number = u64::from_str_radix(digits, 16).unwrap_or_default();
    number as f64 / (1_u64 << 52) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jitter_is_spread_and_deterministic() {
        let of = |n: u32| fraction(&["run_1", "/do/0/a", &n.to_string()]);
        let all: Vec<f64> = (0..100).map(of).collect();
        assert!(all.iter().all(|part| (0.0..1.0).contains(part)));
        let mean = all.iter().sum::<f64>() / 100.0;
        assert!((0.4..0.6).contains(&mean), "{mean}");
        assert!((of(7) - all[7]).abs() < f64::EPSILON);
    }
}
