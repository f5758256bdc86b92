//! What `catch` looks at: error filters and retry policies.

use jaq_json::Val;

use crate::{compile::Compiling, error::Error, expression::Expression, reader::Node, value};

/// Which errors a `catch` takes: those whose members are all equal to these.
#[derive(Debug, Default)]
pub(crate) struct ErrorFilter(Vec<(&'static str, Val)>);

const FILTERED: [&str; 5] = ["type", "status", "instance", "title", "detail"];

impl ErrorFilter {
    pub(crate) fn compile(compiling: &mut Compiling<'_>, errors: &Node<'_>) -> Self {
        let Some(errors) = errors.object(&mut compiling.faults, &["with"], &[]) else {
            return Self::default();
        };
        let Some(with) = errors.get("with") else {
            return Self::default();
        };
        let Some(members) = with.object(&mut compiling.faults, &FILTERED, &[]) else {
            return Self::default();
        };
        if members.iter().next().is_none() {
            with.fault(
                &mut compiling.faults,
                "an error filter names at least one member",
            );
        }
        let mut wanted = Vec::new();
        for name in FILTERED {
            let Some(node) = members.get(name) else {
                continue;
            };
            if name == "status" && !node.value.is_i64() && !node.value.is_u64() {
                node.fault(&mut compiling.faults, "must be an integer");
            } else if name != "status" && !node.value.is_string() {
                node.fault(&mut compiling.faults, "must be a string");
            }
            wanted.push((name, value::from_json(node.value)));
        }
        Self(wanted)
    }

    pub(crate) fn takes(&self, error: &Error) -> bool {
        let error = error.to_val();
        self.0
            .iter()
            .all(|(name, wanted)| value::member(&error, name) == Some(wanted))
    }
}

/// When an attempt is made again, and how often.
#[derive(Debug)]
pub(crate) struct Retry {
    pub(crate) when: Option<Expression>,
    pub(crate) except_when: Option<Expression>,
    /// Attempts after the first; without a limit the run's own limits end them.
    pub(crate) count: Option<u64>,
}

impl Retry {
    pub(crate) fn compile<'a>(
        compiling: &mut Compiling<'a>,
        locals: &[String],
        node: &Node<'a>,
    ) -> Option<Self> {
        const ALLOWED: [&str; 6] = ["when", "exceptWhen", "delay", "backoff", "limit", "jitter"];
        let members = node.object(&mut compiling.faults, &ALLOWED, &[])?;
        for name in ["delay", "backoff", "jitter"] {
            if let Some(member) = members.get(name) {
                member.fault(&mut compiling.faults, NO_WAITS);
            }
        }
        let count = members
            .get("limit")
            .and_then(|limit| limit_count(compiling, &limit));
        Some(Self {
            when: compiling.condition(locals, members.get("when")),
            except_when: compiling.condition(locals, members.get("exceptWhen")),
            count,
        })
    }
}

/// What is refused because it lets time pass.
pub(crate) const NO_WAITS: &str = "not supported: a workflow cannot wait";

fn limit_count(compiling: &mut Compiling<'_>, limit: &Node<'_>) -> Option<u64> {
    let members = limit.object(&mut compiling.faults, &["attempt", "duration"], &[])?;
    let attempt = members.get("attempt")?;
    let attempts = attempt.object(&mut compiling.faults, &["count", "duration"], &[])?;
    for duration in [members.get("duration"), attempts.get("duration")]
        .into_iter()
        .flatten()
    {
        duration.fault(&mut compiling.faults, NO_WAITS);
    }
    let count = attempts.get("count")?;
    let number = count.value.as_u64();
    if number.is_none() {
        count.fault(
            &mut compiling.faults,
            "must be an integer that is not negative",
        );
    }
    number
}
