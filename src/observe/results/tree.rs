//! The tree of results.

use super::part::{Outcome, Part};
use super::{Known, ResultsReport};
use crate::event::Symbol;
use std::collections::HashMap;

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
}

/// Tests with what belongs to them.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ResultTree {
    /// The tests, by their beginnings.
    pub tests: Vec<TestResult>,
    /// Steps of no known test.
    pub steps: Vec<StepResult>,
    /// Assertions of no known test.
    pub assertions: Vec<AssertionResult>,
}

/// A test with its steps and assertions.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TestResult {
    /// The test.
    pub test: Symbol,
    /// The experiment in whose context its events were.
    pub experiment: Option<Symbol>,
    /// What the test's events say of it.
    pub part: Part,
    /// Its steps, by their beginnings.
    pub steps: Vec<StepResult>,
    /// Its assertions that are of no known step.
    pub assertions: Vec<AssertionResult>,
    /// Assertions that the test says it has checked. They have no names; those of `assertions` may be among them.
    pub checks: Tally,
}

/// A step with its assertions.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StepResult {
    /// The step.
    pub step: Symbol,
    /// What became of it.
    pub part: Part,
    /// Its assertions, by their beginnings.
    pub assertions: Vec<AssertionResult>,
}

/// An assertion.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AssertionResult {
    /// The assertion.
    pub assertion: Symbol,
    /// What became of it.
    pub part: Part,
}

impl Tally {
    /// Counts one more.
    pub(super) fn add(&mut self, outcome: Outcome) {
        *match outcome {
            Outcome::Running => &mut self.running,
            Outcome::Passed => &mut self.passed,
            Outcome::Failed => &mut self.failed,
            Outcome::Skipped => &mut self.skipped,
            Outcome::Unsupported => &mut self.unsupported,
            Outcome::Unknown => &mut self.unknown,
        } += 1;
    }

    pub(super) fn merge(&mut self, other: Tally) {
        self.running += other.running;
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
        self.unsupported += other.unsupported;
        self.unknown += other.unknown;
    }

    /// Returns how many there are.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.running + self.passed + self.failed + self.skipped + self.unsupported + self.unknown
    }
}

impl FromIterator<Outcome> for Tally {
    fn from_iter<I: IntoIterator<Item = Outcome>>(outcomes: I) -> Tally {
        let mut tally = Tally::default();
        outcomes.into_iter().for_each(|outcome| tally.add(outcome));
        tally
    }
}

impl TestResult {
    /// Returns the verdict: what the test says of itself, but failed where a part of it failed at last.
    #[must_use]
    pub fn outcome(&self) -> Outcome {
        let failed = self.part.outcome == Outcome::Failed
            || self.checks.failed > 0
            || self.steps.iter().any(|step| step.part.outcome == Outcome::Failed)
            || self.all_assertions().any(|assertion| assertion.part.outcome == Outcome::Failed);
        if failed { Outcome::Failed } else { self.part.outcome }
    }

    /// Iterates over the assertions of the test and of its steps.
    pub fn all_assertions(&self) -> impl Iterator<Item = &AssertionResult> {
        self.steps.iter().flat_map(|step| &step.assertions).chain(&self.assertions)
    }
}

impl ResultTree {
    /// Counts the tests by verdict.
    #[must_use]
    pub fn tests_tally(&self) -> Tally {
        self.tests.iter().map(TestResult::outcome).collect()
    }

    /// Iterates over all steps.
    pub fn all_steps(&self) -> impl Iterator<Item = &StepResult> {
        self.tests.iter().flat_map(|test| &test.steps).chain(&self.steps)
    }

    /// Iterates over all assertions.
    pub fn all_assertions(&self) -> impl Iterator<Item = &AssertionResult> {
        let in_tests = self.tests.iter().flat_map(TestResult::all_assertions);
        in_tests.chain(self.steps.iter().flat_map(|step| &step.assertions)).chain(&self.assertions)
    }

    /// Counts all steps by outcome.
    #[must_use]
    pub fn steps_tally(&self) -> Tally {
        self.all_steps().map(|step| step.part.outcome).collect()
    }

    /// Counts all assertions by outcome.
    #[must_use]
    pub fn assertions_tally(&self) -> Tally {
        self.all_assertions().map(|assertion| assertion.part.outcome).collect()
    }

    /// Counts what tests say that they have checked.
    #[must_use]
    pub fn checks_tally(&self) -> Tally {
        let mut tally = Tally::default();
        self.tests.iter().for_each(|test| tally.merge(test.checks));
        tally
    }
}

pub(super) fn build(found: &ResultsReport) -> ResultTree {
    let steps = placed_steps(found);
    // Where a step is known to be, for assertions that name it without its test.
    let mut homes: HashMap<Symbol, Option<Symbol>> = HashMap::new();
    for (test, step) in steps.keys() {
        homes.entry(*step).and_modify(|home| *home = None).or_insert(Some(*test));
    }
    let mut of_steps: HashMap<(Symbol, Symbol), Vec<AssertionResult>> = HashMap::new();
    let mut of_tests: HashMap<Symbol, Vec<AssertionResult>> = HashMap::new();
    for ((test, step, name), known) in &found.assertions {
        let assertion = AssertionResult { assertion: *name, part: known.part() };
        let home = if *test == Symbol::NONE { homes.get(step).copied().flatten() } else { Some(*test) };
        let test = home.unwrap_or(Symbol::NONE);
        if steps.contains_key(&(test, *step)) {
            of_steps.entry((test, *step)).or_default().push(assertion);
        } else {
            of_tests.entry(test).or_default().push(assertion);
        }
    }
    let mut by_test: HashMap<Symbol, Vec<StepResult>> = HashMap::new();
    for ((test, step), part) in steps {
        let mut assertions = of_steps.remove(&(test, step)).unwrap_or_default();
        sort_assertions(&mut assertions);
        by_test.entry(test).or_default().push(StepResult { step, part, assertions });
    }
    let mut tree = ResultTree::default();
    for (name, test) in &found.tests {
        let mut steps = by_test.remove(name).unwrap_or_default();
        sort_steps(&mut steps);
        let mut assertions = of_tests.remove(name).unwrap_or_default();
        sort_assertions(&mut assertions);
        let (part, checks) = (test.known.part(), test.checks);
        tree.tests.push(TestResult {
            test: *name,
            experiment: test.experiment,
            part,
            steps,
            assertions,
            checks,
        });
    }
    tree.tests.sort_by_key(|test| (test.part.started_ns, test.test));
    tree.steps = by_test.into_values().flatten().collect();
    sort_steps(&mut tree.steps);
    tree.assertions = of_tests.into_values().flatten().collect();
    sort_assertions(&mut tree.assertions);
    tree
}

/// Finds the test of each step; a step that names none goes to the only test that names it.
fn placed_steps(found: &ResultsReport) -> HashMap<(Symbol, Symbol), Part> {
    let mut by_name: HashMap<Symbol, Vec<Symbol>> = HashMap::new();
    for (test, step) in found.steps.keys().filter(|(test, _)| *test != Symbol::NONE) {
        by_name.entry(*step).or_default().push(*test);
    }
    let mut placed: HashMap<(Symbol, Symbol), Known> = HashMap::new();
    for ((test, step), known) in &found.steps {
        let home = match by_name.get(step).map(Vec::as_slice) {
            Some([only]) if *test == Symbol::NONE => *only,
            _ => *test,
        };
        placed.entry((home, *step)).or_default().merge(known.clone());
    }
    placed.into_iter().map(|(key, known)| (key, known.part())).collect()
}

fn sort_steps(steps: &mut [StepResult]) {
    steps.sort_by_key(|step| (step.part.started_ns, step.step));
}

fn sort_assertions(assertions: &mut [AssertionResult]) {
    assertions.sort_by_key(|assertion| (assertion.part.started_ns, assertion.assertion));
}
