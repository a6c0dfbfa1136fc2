//! Outcomes, and verdicts: what follows for the whole from what became of its parts.

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
    /// It ended, and something in it did not: a part, or an earlier run.
    Incomplete,
}

impl Outcome {
    /// All outcomes.
    pub const ALL: [Outcome; 7] = [
        Outcome::Running,
        Outcome::Passed,
        Outcome::Failed,
        Outcome::Skipped,
        Outcome::Unsupported,
        Outcome::Unknown,
        Outcome::Incomplete,
    ];

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
            Outcome::Incomplete => "incomplete",
        }
    }

    /// Returns what it means that a part is in the state of that name.
    pub(super) fn of_state(state: &str) -> Outcome {
        match state {
            "completed" | "passed" => Outcome::Passed,
            "failed" | "error" => Outcome::Failed,
            "skipped" => Outcome::Skipped,
            "unsupported" => Outcome::Unsupported,
            "unknown" => Outcome::Unknown,
            "finished_early" => Outcome::Incomplete,
            _ => Outcome::Running,
        }
    }

    /// Of two things that are said of one part, the one that weighs more counts.
    pub(super) fn weight(self) -> u8 {
        match self {
            Outcome::Passed => 0,
            Outcome::Skipped => 1,
            Outcome::Unsupported => 2,
            Outcome::Unknown => 3,
            Outcome::Running | Outcome::Incomplete => 4,
            Outcome::Failed => 5,
        }
    }
}

/// How many parts have which outcome.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[allow(missing_docs, reason = "the names are those of `Outcome`")]
pub struct Tally {
    pub running: u64,
    pub passed: u64,
    pub failed: u64,
    pub skipped: u64,
    pub unsupported: u64,
    pub unknown: u64,
    pub incomplete: u64,
}

impl Tally {
    /// Counts one more.
    pub fn add(&mut self, outcome: Outcome) {
        *match outcome {
            Outcome::Running => &mut self.running,
            Outcome::Passed => &mut self.passed,
            Outcome::Failed => &mut self.failed,
            Outcome::Skipped => &mut self.skipped,
            Outcome::Unsupported => &mut self.unsupported,
            Outcome::Unknown => &mut self.unknown,
            Outcome::Incomplete => &mut self.incomplete,
        } += 1;
    }

    pub(super) fn merge(&mut self, other: Tally) {
        self.running += other.running;
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
        self.unsupported += other.unsupported;
        self.unknown += other.unknown;
        self.incomplete += other.incomplete;
    }

    /// Returns how many there are.
    #[must_use]
    pub fn total(&self) -> u64 {
        let Tally { running, passed, failed, skipped, unsupported, unknown, incomplete } = self;
        running + passed + failed + skipped + unsupported + unknown + incomplete
    }

    /// Returns how many are neither passed nor skipped.
    #[must_use]
    pub fn bad(&self) -> u64 {
        self.total() - self.passed - self.skipped
    }
}

impl FromIterator<Outcome> for Tally {
    fn from_iter<I: IntoIterator<Item = Outcome>>(outcomes: I) -> Tally {
        let mut tally = Tally::default();
        outcomes.into_iter().for_each(|outcome| tally.add(outcome));
        tally
    }
}

impl Outcome {
    /// Returns the verdict on what says this of itself and has these parts, by the table of [the module](super).
    #[must_use]
    pub fn with_parts(self, parts: &Tally) -> Outcome {
        if self == Outcome::Failed || parts.failed > 0 {
            Outcome::Failed
        } else if self == Outcome::Running {
            Outcome::Running
        } else if self == Outcome::Incomplete || parts.running + parts.incomplete > 0 {
            Outcome::Incomplete
        } else if self == Outcome::Unknown || parts.unknown > 0 {
            Outcome::Unknown
        } else if self == Outcome::Unsupported || parts.unsupported > 0 {
            Outcome::Unsupported
        } else if self == Outcome::Skipped || (parts.skipped > 0 && parts.passed == 0) {
            Outcome::Skipped
        } else {
            Outcome::Passed
        }
    }
}
