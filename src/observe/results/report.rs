//! What is known of tests, steps and assertions.

use super::evidence::Checking;
use super::experiments::Experiment;
use super::part::View;
use super::runs::{Outlasts, Runs};
use super::verdict::Tally;
use crate::domain::StateTable;
use crate::event::Symbol;
use crate::observe::Report;
use std::collections::HashMap;
use std::collections::hash_map::Entry;

/// What is known of tests, steps and assertions; [`ResultsReport::tree`] puts it in order.
#[derive(Clone, Debug, Default)]
pub struct ResultsReport {
    pub(super) tests: HashMap<TestKey, Test>,
    /// By test and name.
    pub(super) steps: HashMap<(TestKey, Symbol), Known>,
    /// By test and step, or [`Symbol::NONE`], and name.
    pub(super) assertions: HashMap<(TestKey, Symbol, Symbol), Known>,
    pub(super) experiments: HashMap<Symbol, Experiment>,
    pub(super) untracked: u64,
}

/// A test and the experiment in whose context it is, each [`Symbol::NONE`] where it is not known.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(super) struct TestKey {
    pub(super) experiment: Symbol,
    pub(super) test: Symbol,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Test {
    pub(super) view: View,
    pub(super) checks: Tally,
    /// How often it began to check assertions, less the ends of that.
    checks_open: u64,
    /// Ends of which the beginning has not come.
    ends_spare: u64,
    /// When the last of these was.
    end_spare_ns: u64,
    /// When the last checking began, and when those were that came to their end.
    check_began_ns: u64,
    checked: Runs,
}

impl Test {
    pub(super) fn new(table: &StateTable) -> Test {
        Test { view: View::new(table), ..Test::default() }
    }

    /// The assertions that it has checked, and one that runs for each time that it has not come to the end.
    pub(super) fn checks(&self) -> Tally {
        let late = match self.checked.outlasts(self.view.passed()) {
            Outlasts::No => (0, 0),
            Outlasts::By(_) => (1, 0),
            Outlasts::Unknown => (0, 1),
        };
        let Tally { incomplete, unknown, .. } = self.checks;
        Tally {
            running: self.checks_open,
            incomplete: incomplete + late.0,
            unknown: unknown + late.1,
            ..self.checks
        }
    }

    /// Takes in that it begins to check assertions, or has come to the end of it. A check is ended by what comes after its
    /// beginning, or was told early: its time is later.
    pub(super) fn take_checking(&mut self, checking: Checking, time_ns: u64) {
        match checking {
            Checking::Begins if self.ends_spare > 0 && time_ns < self.end_spare_ns => self.ends_spare -= 1,
            Checking::Begins => {
                self.checks_open += 1;
                self.check_began_ns = time_ns;
            }
            Checking::Ends if self.checks_open > 0 => {
                self.checks_open -= 1;
                self.checked.push(self.check_began_ns, time_ns);
            }
            Checking::Ends => {
                self.ends_spare += 1;
                self.end_spare_ns = self.end_spare_ns.max(time_ns);
            }
        }
    }

    fn merge(&mut self, other: Test) {
        self.view.merge(other.view);
        self.checks.merge(other.checks);
        self.checks_open += other.checks_open;
        self.ends_spare += other.ends_spare;
        self.end_spare_ns = self.end_spare_ns.max(other.end_spare_ns);
        self.checked.merge(other.checked);
    }
}

/// What a part's own events say, and what others say of it.
#[derive(Clone, Debug, Default)]
pub(super) struct Known {
    pub(super) own: Option<View>,
    pub(super) told: Option<View>,
}

impl ResultsReport {
    /// Returns how many events were of parts beyond the limit.
    #[must_use]
    pub fn untracked(&self) -> u64 {
        self.untracked
    }

    /// Tells whether no test, step or assertion is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(super) fn len(&self) -> usize {
        self.tests.len() + self.steps.len() + self.assertions.len() + self.experiments.len()
    }
}

impl Report for ResultsReport {
    fn merge(&mut self, other: ResultsReport) {
        for (key, test) in other.tests {
            match self.tests.entry(key) {
                Entry::Vacant(place) => drop(place.insert(test)),
                Entry::Occupied(mut known) => known.get_mut().merge(test),
            }
        }
        for (key, step) in other.steps {
            self.steps.entry(key).or_default().merge(step);
        }
        for (key, assertion) in other.assertions {
            self.assertions.entry(key).or_default().merge(assertion);
        }
        for (name, experiment) in other.experiments {
            match self.experiments.entry(name) {
                Entry::Vacant(place) => drop(place.insert(experiment)),
                Entry::Occupied(mut known) => known.get_mut().merge(experiment),
            }
        }
        self.untracked += other.untracked;
    }
}

impl Known {
    fn merge(&mut self, other: Known) {
        for (known, other) in [(&mut self.own, other.own), (&mut self.told, other.told)] {
            match (known.as_mut(), other) {
                (Some(known), Some(other)) => known.merge(other),
                (None, other) => *known = other,
                (Some(_), None) => {}
            }
        }
    }
}
