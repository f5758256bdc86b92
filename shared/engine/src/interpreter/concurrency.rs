//! Concurrent branches and timeouts.

use std::{future::poll_fn, pin::Pin, task::Poll};

use jaq_json::Val;

use super::{Flow, Run, Scope, Stop};
use crate::{
    duration::after,
    error::{Error, Kind as ErrorKind},
    program::{Fork, Task, Then},
};

type Branch<'b> = Pin<Box<dyn Future<Output = Flow<(Val, Then)>> + 'b>>;

enum State<'b> {
    Running(Branch<'b>),
    Done(Val),
}

impl Run<'_> {
    /// The outputs of the branches in their order, or that of the first one to complete with
    /// `compete`. The first branch that faults faults the fork; the others are dropped.
    pub(super) async fn fork(&self, fork: &Fork, input: &Val, scope: &Scope) -> Flow {
        let branch =
            |task| State::Running(Box::pin(self.branch(task, input.clone(), scope.clone())));
        let mut branches: Vec<State<'_>> = fork.branches.0.iter().map(branch).collect();
        if fork.compete && branches.is_empty() {
            return Ok(input.clone());
        }
        let all = poll_fn(move |context| {
            let mut going = false;
            for branch in &mut branches {
                let State::Running(future) = branch else {
                    continue;
                };
                match future.as_mut().poll(context) {
                    Poll::Pending => going = true,
                    Poll::Ready(Err(stop)) => return Poll::Ready(Err(stop)),
                    Poll::Ready(Ok((output, Then::End))) => {
                        return Poll::Ready(Err(Stop::End(output)));
                    }
                    Poll::Ready(Ok((output, _))) if fork.compete => {
                        return Poll::Ready(Ok(output));
                    }
                    Poll::Ready(Ok((output, _))) => *branch = State::Done(output),
                }
            }
            if going {
                return Poll::Pending;
            }
            let outputs = std::mem::take(&mut branches).into_iter();
            Poll::Ready(Ok(outputs
                .filter_map(|branch| match branch {
                    State::Done(output) => Some(output),
                    State::Running(_) => None,
                })
                .collect()))
        });
        all.await
    }

    async fn branch(&self, task: &Task, input: Val, mut scope: Scope) -> Flow<(Val, Then)> {
        if task.is_plain() {
            return self.plain(task, input, &mut scope);
        }
        self.nested(task, input, &mut scope).await
    }

    /// Limits a future to `ms` milliseconds, from now or from the latest retry.
    pub(super) async fn with_timeout<T>(
        &self,
        reference: &str,
        ms: i64,
        mut future: Pin<Box<impl Future<Output = Flow<T>>>>,
    ) -> Flow<T> {
        let started_at = self.world.borrow().now;
        let done = poll_fn(|context| {
            let (now, since) = {
                let world = self.world.borrow();
                (
                    world.now,
                    world.start_of(started_at).max(world.restarted_at),
                )
            };
            let due = after(since, ms);
            if now >= due {
                let detail = format!("timed out after {ms} ms");
                let error = Error::new(ErrorKind::Timeout, reference, detail);
                return Poll::Ready(Err(error.into()));
            }
            let polled = future.as_mut().poll(context);
            if polled.is_pending() {
                self.world.borrow_mut().until(due);
            }
            polled
        });
        done.await
    }
}
