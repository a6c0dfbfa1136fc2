//! Which test a step or an assertion belongs to.
//!
//! A part goes to the test that its context or document names. What names none goes to the only test that has a step of
//! its name; where there are several, it stands beside the tests, and can make none of them pass.

use super::fact::Fact;
use super::report::{Assertion, ResultsReport, Test, TestKey};
use super::retries::Retries;
use super::sweep::Law;
use super::test_runs::TestRuns;
use crate::event::Symbol;
use std::collections::{HashMap, HashSet};

/// Where a part stands in the tree.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Home {
    /// In this test, which is known.
    Test(TestKey),
    /// Beside the tests; it names this one, if any.
    Beside(TestKey),
}

pub(super) struct Places {
    /// By name: the experiments that have a test of that name.
    tests: HashMap<Symbol, HashSet<Symbol>>,
    /// By name of a step: the only test that has it; `None` where several do.
    steps: HashMap<Symbol, Option<TestKey>>,
    /// With one test, nothing can be another's.
    only_one: bool,
}

impl Places {
    pub(super) fn of(found: &ResultsReport) -> Places {
        let mut tests: HashMap<Symbol, HashSet<Symbol>> = HashMap::new();
        for key in found.tests.keys() {
            tests.entry(key.test).or_default().insert(key.experiment);
        }
        // Who names a test without its experiment can only mean the only one of that name.
        for experiments in tests.values_mut().filter(|experiments| experiments.len() == 2) {
            experiments.remove(&Symbol::NONE);
        }
        let only_one = tests.values().map(HashSet::len).sum::<usize>() <= 1;
        let mut places = Places { tests, steps: HashMap::new(), only_one };
        for (named, step) in found.steps.keys().filter(|(named, _)| named.test != Symbol::NONE) {
            // A test that is not known keeps the name from being another's.
            let (Home::Test(key) | Home::Beside(key)) = places.of_named(*named);
            let only = places.steps.entry(*step).or_insert(Some(key));
            *only = only.filter(|only| *only == key);
        }
        places
    }

    /// Returns all that is known of each test.
    pub(super) fn tests<'a>(&self, found: &'a ResultsReport) -> HashMap<TestKey, Vec<&'a Test>> {
        let mut tests: HashMap<TestKey, Vec<&Test>> = HashMap::new();
        for (key, test) in &found.tests {
            let (Home::Test(key) | Home::Beside(key)) = self.of_named(*key);
            tests.entry(key).or_default().push(test);
        }
        tests
    }

    /// Returns all that is told of each step, with where that is.
    pub(super) fn steps<'a>(&self, found: &'a ResultsReport) -> HashMap<(Home, Symbol), Vec<&'a Fact>> {
        let mut steps: HashMap<(Home, Symbol), Vec<&Fact>> = HashMap::new();
        for ((named, step), facts) in &found.steps {
            steps.entry((self.of_step(*named, *step), *step)).or_default().extend(facts);
        }
        steps
    }

    /// Returns all that is told of each assertion of a step, or [`Symbol::NONE`], with where that is.
    pub(super) fn assertions<'a>(
        &self,
        found: &'a ResultsReport,
    ) -> HashMap<(Home, Symbol, Symbol), Vec<&'a Assertion>> {
        let mut assertions: HashMap<(Home, Symbol, Symbol), Vec<&Assertion>> = HashMap::new();
        for ((named, step, assertion), known) in &found.assertions {
            let home = self.of_assertion(*named, *step);
            assertions.entry((home, *step, *assertion)).or_default().push(known);
        }
        assertions
    }

    /// Returns what a part is judged by that stands there.
    pub(super) fn law<'a>(&self, home: Home, tests: &'a HashMap<TestKey, TestRuns>) -> Law<'a> {
        let (retries, test) = match home {
            Home::Test(key) => {
                let runs = tests.get(&key);
                let all = if self.only_one { Retries::Within } else { Retries::OfNamed };
                (runs.map_or(Retries::Never, all), runs)
            }
            // It may be of one of these.
            Home::Beside(named) if self.tests.contains_key(&named.test) => (Retries::Never, None),
            // It names another test, of which nothing else is known.
            Home::Beside(named) if named.test != Symbol::NONE => (Retries::Always, None),
            Home::Beside(_) => match tests.values().next() {
                // It can only be of the only test.
                Some(runs) if self.only_one => (Retries::Within(runs), Some(runs)),
                Some(_) => (Retries::Never, None),
                None => (Retries::Always, None),
            },
        };
        Law { retries, test }
    }

    /// Returns where an assertion of this test and step stands; either may be unknown.
    fn of_assertion(&self, named: TestKey, step: Symbol) -> Home {
        if step == Symbol::NONE { self.of_named(named) } else { self.of_step(named, step) }
    }

    fn of_step(&self, named: TestKey, step: Symbol) -> Home {
        if named.test != Symbol::NONE {
            return self.of_named(named);
        }
        let fits = |key: &TestKey| {
            [Symbol::NONE, key.experiment].contains(&named.experiment) || key.experiment == Symbol::NONE
        };
        match self.steps.get(&step).copied().flatten().filter(fits) {
            Some(key) if self.is_known(key) => Home::Test(key),
            _ => Home::Beside(named),
        }
    }

    /// Where the name of the experiment is missing on one side, the only test of that name will do.
    fn of_named(&self, named: TestKey) -> Home {
        let experiments = self.tests.get(&named.test);
        let only = experiments.filter(|experiments| experiments.len() == 1);
        let experiment = match experiments {
            None => None,
            Some(experiments) if experiments.contains(&named.experiment) => Some(named.experiment),
            Some(_) if named.experiment == Symbol::NONE && only.is_some() => {
                only.and_then(|only| only.iter().next().copied())
            }
            Some(experiments) => experiments.contains(&Symbol::NONE).then_some(Symbol::NONE),
        };
        match experiment {
            Some(experiment) => Home::Test(TestKey { experiment, ..named }),
            None => Home::Beside(named),
        }
    }

    fn is_known(&self, key: TestKey) -> bool {
        self.tests.get(&key.test).is_some_and(|experiments| experiments.contains(&key.experiment))
    }
}
