//! The error filters of `catch`, and retry policies.

use jaq_json::Val;

use crate::{
    compile::Compiler,
    duration::{Duration, MAX_MS},
    error::{Error, standard},
    expression::Expression,
    reader::Node,
    value,
};

/// The members that an error must have to be caught.
#[derive(Debug, Default)]
pub(crate) struct ErrorFilter(Vec<(&'static str, Val)>);

/// The members of a filter and the corresponding members of an error. The schema says `details`
/// where an error has `detail`.
const FILTERED: [(&str, &str); 6] = [
    ("type", "type"),
    ("status", "status"),
    ("instance", "instance"),
    ("title", "title"),
    ("detail", "detail"),
    ("details", "detail"),
];

impl ErrorFilter {
    pub(crate) fn compile(compiler: &mut Compiler<'_>, errors: &Node<'_>) -> Self {
        let Some(errors) = errors.object(&mut compiler.faults, &["with"], &[]) else {
            return Self::default();
        };
        let Some(with) = errors.get("with") else {
            return Self::default();
        };
        let allowed = FILTERED.map(|(name, _)| name);
        let Some(members) = with.object(&mut compiler.faults, &allowed, &[]) else {
            return Self::default();
        };
        if members.iter().next().is_none() {
            with.fault(
                &mut compiler.faults,
                "an error filter needs at least one member",
            );
        }
        let mut wanted = Vec::new();
        for (name, of_error) in FILTERED {
            let Some(node) = members.get(name) else {
                continue;
            };
            if name == "status" && !node.value.is_i64() && !node.value.is_u64() {
                node.fault(&mut compiler.faults, "must be an integer");
            } else if name != "status" && !node.value.is_string() {
                node.fault(&mut compiler.faults, "must be a string");
            }
            wanted.push((
                of_error,
                match node.value.as_str() {
                    Some(kind) if name == "type" => value::text(&standard(kind)),
                    _ => value::from_json(node.value),
                },
            ));
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

#[derive(Debug)]
pub(crate) struct Retry {
    pub(crate) when: Option<Expression>,
    pub(crate) except_when: Option<Expression>,
    pub(crate) delay: Option<Duration>,
    pub(crate) backoff: Backoff,
    /// From and to.
    pub(crate) jitter: Option<(Duration, Duration)>,
    /// Attempts after the first. Without a limit, the limits of the run apply.
    pub(crate) count: Option<u64>,
    /// The timeout of each attempt.
    pub(crate) attempt: Option<Duration>,
    /// The timeout of all attempts together.
    pub(crate) all: Option<Duration>,
}

/// How the delay increases.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Backoff {
    #[default]
    Constant,
    /// By the initial delay each time.
    Linear,
    /// Doubles each time.
    Exponential,
}

impl Backoff {
    /// The delay before the `n`-th attempt after the first, in milliseconds.
    pub(crate) fn delay(self, delay: i64, n: u32) -> i64 {
        let n = i64::from(n.max(1));
        let factor = match self {
            Self::Constant => 1,
            Self::Linear => n,
            Self::Exponential => 1_i64 << (n - 1).min(40),
        };
        delay.saturating_mul(factor).min(MAX_MS)
    }
}

impl Retry {
    pub(crate) fn compile<'a>(
        compiler: &mut Compiler<'a>,
        locals: &[String],
        node: &Node<'a>,
    ) -> Option<Self> {
        const ALLOWED: [&str; 6] = ["when", "exceptWhen", "delay", "backoff", "limit", "jitter"];
        let members = node.object(&mut compiler.faults, &ALLOWED, &[])?;
        let limit = members
            .get("limit")
            .and_then(|limit| limit.object(&mut compiler.faults, &["attempt", "duration"], &[]));
        let attempt = limit
            .as_ref()
            .and_then(|limit| limit.get("attempt"))
            .and_then(|attempt| attempt.object(&mut compiler.faults, &["count", "duration"], &[]));
        let count = attempt.as_ref().and_then(|attempt| attempt.get("count"));
        if let Some(count) = &count
            && count.value.as_u64().is_none()
        {
            let detail = "must be an integer that is not negative";
            count.fault(&mut compiler.faults, detail);
        }
        Some(Self {
            when: compiler.condition(locals, members.get("when")),
            except_when: compiler.condition(locals, members.get("exceptWhen")),
            delay: compiler.duration(locals, members.get("delay")),
            backoff: backoff(compiler, members.get("backoff")),
            jitter: jitter(compiler, locals, members.get("jitter")),
            count: count.and_then(|count| count.value.as_u64()),
            attempt: compiler.duration(locals, attempt.and_then(|attempt| attempt.get("duration"))),
            all: compiler.duration(locals, limit.and_then(|limit| limit.get("duration"))),
        })
    }
}

fn backoff<'a>(compiler: &mut Compiler<'a>, node: Option<Node<'a>>) -> Backoff {
    const KINDS: [(&str, Backoff); 3] = [
        ("constant", Backoff::Constant),
        ("linear", Backoff::Linear),
        ("exponential", Backoff::Exponential),
    ];
    let Some(node) = node else {
        return Backoff::default();
    };
    let allowed = KINDS.map(|(name, _)| name);
    let Some(members) = node.object(&mut compiler.faults, &allowed, &[]) else {
        return Backoff::default();
    };
    let found: Vec<_> = KINDS
        .into_iter()
        .filter_map(|(name, kind)| Some((members.get(name)?, kind)))
        .collect();
    for (kind, _) in &found {
        kind.any_object(&mut compiler.faults);
    }
    match found.as_slice() {
        [(_, kind)] => *kind,
        _ => {
            node.fault(&mut compiler.faults, "must have one member");
            Backoff::default()
        }
    }
}

fn jitter<'a>(
    compiler: &mut Compiler<'a>,
    locals: &[String],
    node: Option<Node<'a>>,
) -> Option<(Duration, Duration)> {
    let node = node?;
    let members = node.object(&mut compiler.faults, &["from", "to"], &["from", "to"])?;
    let from = compiler.duration(locals, members.get("from"))?;
    let to = compiler.duration(locals, members.get("to"))?;
    if let (Duration::Fixed(least), Duration::Fixed(most)) = (from, to)
        && least > most
    {
        node.fault(&mut compiler.faults, "`from` is longer than `to`");
    }
    Some((from, to))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_delays_follow_policy() {
        let delays = |backoff: Backoff| [1, 2, 3, 4].map(|n| backoff.delay(3, n));
        assert_eq!(delays(Backoff::Constant), [3, 3, 3, 3]);
        assert_eq!(delays(Backoff::Linear), [3, 6, 9, 12]);
        assert_eq!(delays(Backoff::Exponential), [3, 6, 12, 24]);
        assert_eq!(Backoff::Exponential.delay(1_000, u32::MAX), MAX_MS);
        assert_eq!(Backoff::Exponential.delay(0, u32::MAX), 0);
    }
}
