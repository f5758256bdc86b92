//! Checks `then`: every list can be left, and every loop can be reached.

use super::Compiler;
use crate::{
    program::{Kind, List, Task, Then},
    reader::Node,
};

impl<'a> Compiler<'a> {
    /// The branches of a fork: concurrent tasks, so none can jump to another.
    pub(super) fn branches(&mut self, locals: &[String], node: &Node<'a>) -> List {
        let items = node.array(&mut self.faults).unwrap_or_default();
        let mut branches = Vec::new();
        let mut names: Vec<&str> = Vec::new();
        for item in items {
            let Some((name, task)) = item.named(&mut self.faults) else {
                continue;
            };
            if names.contains(&name) {
                task.fault(
                    &mut self.faults,
                    "another branch of this fork has the same name",
                );
            }
            names.push(name);
            branches.extend(self.task(locals, &[], name, &task));
        }
        List(branches)
    }

    /// Reports each reachable task from which the end of its list is unreachable, and each loop
    /// that is itself unreachable.
    pub(super) fn check_flow(&mut self, tasks: &[Task], named: &[(&str, Node<'a>)]) {
        let leads: Vec<Vec<usize>> = tasks
            .iter()
            .enumerate()
            .map(|(index, task)| leads_to(index, task, tasks.len()))
            .collect();
        let from = |start: usize| {
            let mut seen = vec![false; tasks.len() + 1];
            let mut left = vec![start];
            while let Some(index) = left.pop() {
                if !std::mem::replace(&mut seen[index], true)
                    && let Some(next) = leads.get(index)
                {
                    left.extend(next);
                }
            }
            seen
        };
        // A loop needs a backward jump.
        let loops = leads
            .iter()
            .enumerate()
            .any(|(i, next)| next.iter().any(|n| *n <= i));
        if !loops {
            return;
        }
        let reached = from(0);
        for (index, (_, node)) in named.iter().enumerate() {
            if reached[index] && !from(index)[tasks.len()] {
                node.fault(
                    &mut self.faults,
                    "the workflow can never leave the loop that starts here; change a `then`",
                );
            } else if !reached[index] && leads[index].iter().any(|next| from(*next)[index]) {
                node.fault(&mut self.faults, "no task leads to this loop");
            }
        }
    }
}

/// The tasks that may follow a task; `end` is the end of its list.
fn leads_to(index: usize, task: &Task, end: usize) -> Vec<usize> {
    let place = |then: Then| match then {
        Then::Continue => index + 1,
        Then::Task(next) => next,
        Then::Exit | Then::End => end,
    };
    let mut next = Vec::new();
    if task.condition.is_some() {
        next.push(index + 1);
    }
    match &task.kind {
        Kind::Raise(_) => next.push(end),
        Kind::Switch(cases) => {
            next.extend(cases.iter().map(|case| place(case.then)));
            if cases.iter().all(|case| case.when.is_some()) {
                next.push(place(task.then));
            }
        }
        Kind::Do(_)
        | Kind::Set(_)
        | Kind::For(_)
        | Kind::Fork(_)
        | Kind::Try(_)
        | Kind::Wait(_)
        | Kind::Emit(_)
        | Kind::Http(_)
        | Kind::OpenApi(_)
        | Kind::Function(_)
        | Kind::Workflow(_) => next.push(place(task.then)),
    }
    next
}
