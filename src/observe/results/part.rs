//! One test, step, assertion or experiment, as it is shown.

use super::verdict::Outcome;

/// What is known of a test, a step or an assertion.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Part {
    /// What became of it: the worst that is known of it.
    pub outcome: Outcome,
    /// When its first event was, in nanoseconds since the Unix epoch.
    pub started_ns: u64,
    /// When the event was that told of this outcome.
    pub ended_ns: Option<u64>,
    /// How long it took: what that event says, or else the time between the beginning of the run and that event.
    pub duration_ns: Option<u64>,
    /// How often it was run: it began again after it had ended, or without having ended.
    pub runs: u32,
    /// Why it failed, or was left out.
    pub message: Option<Box<str>>,
}

impl Part {
    /// Returns this one, or `other` where that one weighs more; with the other's message where both say the same and
    /// one does not say why.
    pub(super) fn or_worse(self, other: Part) -> Part {
        if other.outcome.weight() > self.outcome.weight() {
            return Part { started_ns: self.started_ns, runs: self.runs, ..other };
        }
        let also = other.message.filter(|_| self.outcome == other.outcome);
        Part { message: self.message.or(also), ..self }
    }

    /// Puts together what is known of one part from two sides: the worse of both.
    pub(super) fn and(self, other: Part) -> Part {
        let (started_ns, runs) = (self.started_ns.min(other.started_ns), self.runs.max(other.runs));
        Part { started_ns, runs, ..self.or_worse(other) }
    }

    /// Returns this one, which has not passed where something of it is not known.
    pub(super) fn or_unknown(self, why: Option<String>) -> Part {
        self.unless(why, Outcome::Unknown)
    }

    /// Returns this one, which has not passed where something of it did not end.
    pub(super) fn or_incomplete(self, why: Option<String>) -> Part {
        self.unless(why, Outcome::Incomplete)
    }

    fn unless(self, why: Option<String>, outcome: Outcome) -> Part {
        match why {
            Some(why) if self.outcome == Outcome::Passed => {
                Part { outcome, message: Some(why.into()), ..self }
            }
            _ => self,
        }
    }
}
