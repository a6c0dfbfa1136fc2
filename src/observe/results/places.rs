//! Which test a step or an assertion belongs to.
//!
//! A part goes to the test that its context or document names. What names none goes to the only test that has a step of
//! its name; where there are several, it stands beside the tests, and can make none of them pass.

use super::part::{Part, View};
use super::report::{Known, ResultsReport, TestKey};
use crate::event::Symbol;
use std::collections::HashMap;
use std::ops::RangeInclusive;

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
    tests: HashMap<Symbol, Vec<Symbol>>,
    /// By name of a step: the only test that has it; `None` where several do.
    steps: HashMap<Symbol, Option<TestKey>>,
    /// With one test, nothing can be another's.
    only_one: bool,
}

impl Places {
    pub(super) fn of(found: &ResultsReport) -> Places {
        let mut tests: HashMap<Symbol, Vec<Symbol>> = HashMap::new();
        for key in found.tests.keys() {
            tests.entry(key.test).or_default().push(key.experiment);
        }
        let mut places = Places { tests, steps: HashMap::new(), only_one: found.tests.len() <= 1 };
        for (named, step) in found.steps.keys().filter(|(named, _)| named.test != Symbol::NONE) {
            // A test that is not known keeps the name from being another's.
            let (Home::Test(key) | Home::Beside(key)) = places.of_named(*named);
            let only = places.steps.entry(*step).or_insert(Some(key));
            *only = only.filter(|only| *only == key);
        }
        places
    }

    /// Returns all steps with where they are.
    pub(super) fn steps(&self, found: &ResultsReport) -> Vec<(Home, Symbol, Part)> {
        // What tests tell of their steps goes to these where there is one of that name.
        let mut by_home: HashMap<(Home, Symbol), Vec<(TestKey, &Known)>> = HashMap::new();
        for ((named, step), known) in &found.steps {
            by_home.entry((self.of_step(*named, *step), *step)).or_default().push((*named, known));
        }
        let mut steps = Vec::new();
        for ((home, step), mut entries) in by_home {
            entries.sort_by_key(|(named, _)| *named);
            let mut told = entries
                .iter()
                .find_map(|(_, known)| known.told.as_ref())
                .map(|told| (in_time(found, home, told, told.part(self.retries(found, home, true))), told));
            // That of the test's own context first.
            entries.sort_by_key(|(named, _)| Home::Test(*named) != home);
            for (named, known) in entries {
                let Some(own) = &known.own else { continue };
                let certain = named.test != Symbol::NONE || self.only_one;
                let part = own.part(self.retries(found, home, certain));
                let part = in_time(found, home, own, part);
                let part = match told.take() {
                    Some((told, view)) => {
                        part.and_told(own.since_ns(), &told, view.since_ns()).or_kept(own).or_kept(view)
                    }
                    None => part,
                };
                steps.push((home, step, part));
            }
            steps.extend(told.map(|(told, _)| (home, step, told)));
        }
        steps
    }

    /// Returns where an assertion of this test and step stands; either may be unknown.
    pub(super) fn of_assertion(&self, named: TestKey, step: Symbol) -> Home {
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
        let experiments = self.tests.get(&named.test).map_or(&[][..], Vec::as_slice);
        let experiment = match experiments {
            _ if experiments.contains(&named.experiment) => Some(named.experiment),
            [only] if named.experiment == Symbol::NONE => Some(*only),
            _ if experiments.contains(&Symbol::NONE) => Some(Symbol::NONE),
            _ => None,
        };
        match experiment {
            Some(experiment) => Home::Test(TestKey { experiment, ..named }),
            None => Home::Beside(named),
        }
    }

    fn is_known(&self, key: TestKey) -> bool {
        self.tests.get(&key.test).is_some_and(|experiments| experiments.contains(&key.experiment))
    }

    /// Returns when a step may fail and be retried there, so that the failure is undone; `None` for never.
    fn retries(&self, found: &ResultsReport, home: Home, certain: bool) -> Option<RangeInclusive<u64>> {
        match home {
            _ if !certain => None,
            Home::Test(key) => found.tests.get(&key)?.view.retries(),
            Home::Beside(named) if named.test != Symbol::NONE && self.tests.contains_key(&named.test) => None,
            // It can only be of the only test, if there is one.
            Home::Beside(_) => match found.tests.values().next() {
                Some(test) => test.view.retries(),
                None => Some(0..=u64::MAX),
            },
        }
    }
}

impl Known {
    /// As [`View::part`], for what is never retried.
    pub(super) fn part(&self, found: &ResultsReport, home: Home) -> Part {
        let part = |view: &View| in_time(found, home, view, view.part(None));
        match (&self.own, &self.told) {
            // What a service found is not the result of an assertion that has its name.
            (Some(own), Some(told)) => part(own).and_found(&part(told)),
            (Some(view), None) | (None, Some(view)) => part(view),
            (None, None) => Part::default(),
        }
    }
}

/// Returns what `view` shows of a part that stands there, which has not passed if it was running when its test ended.
pub(super) fn in_time(found: &ResultsReport, home: Home, view: &View, part: Part) -> Part {
    let Home::Test(key) = home else { return part };
    match found.tests.get(&key) {
        Some(test) => part.or_outlasting(view.passed(), test.view.passed()),
        None => part,
    }
}
