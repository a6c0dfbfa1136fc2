//! One test, step or assertion: where it is in its life.

use crate::domain::{StateTable, Step};
use crate::event::Record;
use crate::event::json::beginning;
use crate::event::members::Members;

/// What became of a test, a step or an assertion.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Outcome {
    /// It has not come to an end.
    #[default]
    Running,
    /// It is what it should be.
    Passed,
    /// It is not, or could not be found out because of an error.
    Failed,
    /// It was left out.
    Skipped,
    /// What it needs is not there.
    Unsupported,
    /// It ended, and nobody knows how.
    Unknown,
}

impl Outcome {
    /// Returns the outcome's name, as files have it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Outcome::Running => "running",
            Outcome::Passed => "passed",
            Outcome::Failed => "failed",
            Outcome::Skipped => "skipped",
            Outcome::Unsupported => "unsupported",
            Outcome::Unknown => "unknown",
        }
    }

    /// Returns what it means that a part is in the state of that name.
    fn of_state(state: &str) -> Outcome {
        match state {
            "completed" | "passed" => Outcome::Passed,
            "failed" | "error" => Outcome::Failed,
            "skipped" => Outcome::Skipped,
            "unsupported" => Outcome::Unsupported,
            "unknown" => Outcome::Unknown,
            _ => Outcome::Running,
        }
    }
}

/// What is known of a test, a step or an assertion.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Part {
    /// What became of it.
    pub outcome: Outcome,
    /// When its first event was, in nanoseconds since the Unix epoch.
    pub started_ns: u64,
    /// When the event was that ended it.
    pub ended_ns: Option<u64>,
    /// How long it took: what that event says, or else the time between the first event and that one.
    pub duration_ns: Option<u64>,
    /// Why it failed, or was left out.
    pub message: Option<Box<str>>,
}

impl Part {
    /// Returns this one, or `told` where only that one failed, or where only that one has come to an end: with the
    /// earlier beginning of both, and the other's message where both failed and one does not say why.
    pub(super) fn or_worse(self, told: Part) -> Part {
        let weight = |part: &Part| match part.outcome {
            Outcome::Failed => 2,
            Outcome::Running => 0,
            _ => 1,
        };
        let started_ns = self.started_ns.min(told.started_ns);
        let (mut part, other) = if weight(&told) > weight(&self) { (told, self) } else { (self, told) };
        if part.outcome == other.outcome {
            part.message = part.message.or(other.message);
        }
        Part { started_ns, ..part }
    }
}

/// Bytes of a message that are kept.
const MESSAGE_LEN_MAX: usize = 1024;

/// A part as events show it.
#[derive(Clone, Debug, Default)]
pub(super) struct View {
    state: u8,
    started_ns: Option<u64>,
    part: Part,
}

impl View {
    pub(super) fn new(table: &StateTable) -> View {
        View { state: table.initial, ..View::default() }
    }

    /// Takes an event of the part's own.
    pub(super) fn take(
        &mut self,
        table: &StateTable,
        record: &Record,
        duration_ns: Option<u64>,
        document: Members<'_>,
    ) {
        self.begin(record.time_ns());
        if let Step::Moved(state) = table.step(self.state, record.kind().code(), record.payload_bytes()) {
            self.state = state;
            let outcome = Outcome::of_state(table.name(state).unwrap_or_default());
            self.set(outcome, record.time_ns(), duration_ns, document);
        }
    }

    /// Takes what somebody else says of the part.
    pub(super) fn told(
        &mut self,
        outcome: Outcome,
        time_ns: u64,
        duration_ns: Option<u64>,
        document: Members<'_>,
    ) {
        self.begin(time_ns);
        self.set(outcome, time_ns, duration_ns, document);
    }

    /// Returns the one that ended later, with the earlier beginning.
    pub(super) fn later(self, other: View) -> View {
        let started_ns = self.started_ns.min(other.started_ns).or(self.started_ns).or(other.started_ns);
        let later = if other.part.ended_ns > self.part.ended_ns { other } else { self };
        View { started_ns, ..later }
    }

    pub(super) fn part(&self) -> Part {
        Part { started_ns: self.started_ns.unwrap_or(0), ..self.part.clone() }
    }

    fn begin(&mut self, time_ns: u64) {
        self.started_ns = Some(self.started_ns.map_or(time_ns, |known| known.min(time_ns)));
    }

    fn set(&mut self, outcome: Outcome, time_ns: u64, duration_ns: Option<u64>, document: Members<'_>) {
        self.part.outcome = outcome;
        if outcome == Outcome::Running {
            (self.part.ended_ns, self.part.duration_ns, self.part.message) = (None, None, None);
            return;
        }
        self.part.ended_ns = Some(time_ns);
        let since = || self.started_ns.map(|started| time_ns.saturating_sub(started));
        self.part.duration_ns = duration_ns.or_else(since);
        self.part.message = if outcome == Outcome::Passed { None } else { message(document) };
    }
}

/// The first of the members in which events say why.
fn message(document: Members<'_>) -> Option<Box<str>> {
    const MEMBERS: [&str; 4] = ["error_message", "assertion_message", "reason", "skip_reason"];
    let text = MEMBERS.iter().find_map(|member| document.text(member))?;
    Some(beginning(&text, MESSAGE_LEN_MAX)).filter(|text| !text.is_empty()).map(Into::into)
}
