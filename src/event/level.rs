//! Levels of an experiment: what a context names a part of.

use crate::event::Domain;

/// A level of an experiment.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Level {
    /// The experiment as a whole.
    Experiment,
    /// A test of the experiment.
    Test,
    /// A step of the test.
    Step,
    /// An assertion, of the step or of the test.
    Assertion,
    /// A service of the test.
    Service,
    /// An environment of the test.
    Environment,
}

impl Level {
    /// All levels, in the order in which a context shows them.
    pub const ALL: [Level; 6] =
        [Level::Experiment, Level::Test, Level::Step, Level::Assertion, Level::Service, Level::Environment];

    /// Returns the domain whose entities these are.
    #[must_use]
    pub const fn domain(self) -> Domain {
        match self {
            Level::Experiment => Domain::EXPERIMENT,
            Level::Test => Domain::TEST,
            Level::Step => Domain::STEP,
            Level::Assertion => Domain::ASSERTION,
            Level::Service => Domain::SERVICE,
            Level::Environment => Domain::ENVIRONMENT,
        }
    }

    /// Returns the level's name, as documents and files have it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Level::Experiment => "experiment",
            Level::Test => "test",
            Level::Step => "step",
            Level::Assertion => "assertion",
            Level::Service => "service",
            Level::Environment => "environment",
        }
    }

    /// Returns the level of those domains whose entities belong to what encloses them. All others' entities are shared
    /// between tests and threads: one per name.
    pub(crate) fn enclosed(domain: Domain) -> Option<Level> {
        [Level::Test, Level::Step, Level::Assertion].into_iter().find(|level| level.domain() == domain)
    }

    /// Tells whether parts of level `inner` belong to a part of this level.
    pub(crate) const fn holds(self, inner: Level) -> bool {
        match self {
            Level::Experiment => !matches!(inner, Level::Experiment),
            Level::Test => !matches!(inner, Level::Experiment | Level::Test),
            Level::Step => matches!(inner, Level::Assertion),
            Level::Assertion | Level::Service | Level::Environment => false,
        }
    }
}
