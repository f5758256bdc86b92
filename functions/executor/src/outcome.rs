//! How the handling of a message ended.

pub(crate) enum MessageOutcome {
    Ended(&'static str),
    Waits,
    NotYet,
    AlreadyEnded,
    AlreadyStarted,
    NoRun,
    PassedOn,
    Suspended,
    AtCapacity,
}

impl MessageOutcome {
    /// The value of the log field `outcome`.
    pub(crate) fn as_str(&self) -> &'static str {
        match self {
            Self::Ended(status) => status,
            Self::Waits => "waits",
            Self::NotYet => "not yet",
            Self::AlreadyEnded => "already ended",
            Self::AlreadyStarted => "already started",
            Self::NoRun => "no run",
            Self::PassedOn => "passed on",
            Self::Suspended => "suspended",
            Self::AtCapacity => "at capacity",
        }
    }
}
