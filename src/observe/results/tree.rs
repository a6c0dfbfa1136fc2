//! The tree of results.

use super::experiments;
use super::fact::in_time;
use super::judge::{Judged, judge, judge_in_order};
use super::part::Part;
use super::places::{Home, Places};
use super::report::{ResultsReport, TestKey};
use super::retries::Retries;
use super::sweep::Law;
use super::tests::JudgedTest;
use super::verdict::{Outcome, Tally};
use crate::event::Symbol;
use std::collections::HashMap;

/// Tests with what belongs to them.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ResultTree {
    /// The tests, by their beginnings.
    pub tests: Vec<TestResult>,
    /// Steps of no known test.
    pub steps: Vec<StepResult>,
    /// Assertions of no known test.
    pub assertions: Vec<AssertionResult>,
    /// The experiments, by their beginnings.
    pub experiments: Vec<ExperimentResult>,
    /// Events were of more tests, steps and assertions than are followed: it may be that something is not here, and the
    /// whole has not passed.
    pub parts_missing: bool,
}

/// A test with its steps and assertions.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TestResult {
    /// The test.
    pub test: Symbol,
    /// The experiment in whose context its events were. Tests of one name in two experiments are two.
    pub experiment: Option<Symbol>,
    /// What the test's events say of it.
    pub part: Part,
    /// Its steps, by their beginnings.
    pub steps: Vec<StepResult>,
    /// Its assertions that are of no known step.
    pub assertions: Vec<AssertionResult>,
    /// Assertions that the test says it has checked. They have no names; those of `assertions` may be among them. Running is
    /// one for each time that it began to check and did not say that it ended.
    pub checks: Tally,
    /// Events were of more tests, steps and assertions than are followed: it may be that a part of this test is not
    /// here, and it has not passed.
    pub parts_missing: bool,
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

/// An assertion, or what a service found that tests others, under the service's name.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AssertionResult {
    /// The assertion.
    pub assertion: Symbol,
    /// What became of it.
    pub part: Part,
}

/// An experiment.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ExperimentResult {
    /// The experiment.
    pub experiment: Symbol,
    /// What its events say of it.
    pub part: Part,
}

impl TestResult {
    /// Returns the verdict: what the test says of itself and what became of its parts, by the table of
    /// [the module](super).
    #[must_use]
    pub fn outcome(&self) -> Outcome {
        let steps = self.steps.iter().map(StepResult::outcome);
        let mut parts: Tally = steps.chain(self.assertions.iter().map(|one| one.part.outcome)).collect();
        parts.merge(self.checks);
        if self.parts_missing {
            parts.add(Outcome::Unknown);
        }
        self.part.outcome.with_parts(&parts)
    }

    /// Iterates over the assertions of the test and of its steps.
    pub fn all_assertions(&self) -> impl Iterator<Item = &AssertionResult> {
        self.steps.iter().flat_map(|step| &step.assertions).chain(&self.assertions)
    }
}

impl StepResult {
    /// Returns the verdict: what is said of the step and what became of its assertions, by the table of
    /// [the module](super).
    #[must_use]
    pub fn outcome(&self) -> Outcome {
        self.part.outcome.with_parts(&self.assertions.iter().map(|one| one.part.outcome).collect())
    }
}

impl ResultTree {
    /// Returns the verdict on everything: passed only where there is a test and everything passed, but for what was left
    /// out.
    #[must_use]
    pub fn outcome(&self) -> Outcome {
        let experiments = self.experiments.iter().map(|experiment| experiment.part.outcome);
        let beside = self.steps.iter().map(StepResult::outcome);
        let beside = beside.chain(self.assertions.iter().map(|one| one.part.outcome));
        let all = self.tests.iter().map(TestResult::outcome).chain(experiments).chain(beside);
        let is_known = !self.tests.is_empty() && !self.parts_missing;
        let own = if is_known { Outcome::Passed } else { Outcome::Unknown };
        own.with_parts(&all.collect())
    }

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

    /// Counts all steps by verdict.
    #[must_use]
    pub fn steps_tally(&self) -> Tally {
        self.all_steps().map(StepResult::outcome).collect()
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

impl ResultsReport {
    /// Puts what is known in order: tests by their beginnings, and in them their steps and assertions.
    #[must_use]
    pub fn tree(&self) -> ResultTree {
        build(self)
    }
}

fn build(found: &ResultsReport) -> ResultTree {
    let tellers = &found.log.tellers;
    let places = Places::of(found);
    let tests = places.tests(found).into_iter();
    let tests: HashMap<TestKey, JudgedTest> = tests
        .map(|(key, tests)| (key, JudgedTest::of(&tests, found.test_table.as_deref(), tellers)))
        .collect();
    let runs = tests.iter().map(|(key, test)| (*key, test.runs.clone())).collect();
    let mut steps: HashMap<Home, Vec<(StepResult, Judged)>> = HashMap::new();
    for ((home, step), facts) in places.steps(found) {
        let judged = judge(facts.into_iter(), tellers, places.law(home, &runs));
        // Of the runs nothing is shown.
        let judged = Judged { runs: Vec::new(), ..judged };
        let part = judged.part.clone();
        steps.entry(home).or_default().push((StepResult { step, part, assertions: Vec::new() }, judged));
    }
    steps.values_mut().for_each(|steps| steps.sort_by_key(|(step, _)| (step.part.started_ns, step.step)));
    let numbered = steps
        .iter()
        .flat_map(|(home, steps)| steps.iter().enumerate().map(|(at, (step, _))| ((*home, step.step), at)));
    let step_at: HashMap<(Home, Symbol), usize> = numbered.collect();
    let mut assertions: HashMap<Home, Vec<AssertionResult>> = HashMap::new();
    for ((home, step, name), known) in places.assertions(found) {
        let law = Law { retries: Retries::Never, ..places.law(home, &runs) };
        let own = known.iter().flat_map(|known| &known.own);
        let services = known.iter().flat_map(|known| &known.found);
        // What a service found is not the result of an assertion that has its name.
        let sides = [in_time(own, tellers), in_time(services, tellers)];
        let sides = sides.into_iter().filter(|facts| !facts.is_empty());
        let part = sides.map(|facts| judge_in_order(facts, law).part).reduce(Part::and).unwrap_or_default();
        let assertion = AssertionResult { assertion: name, part };
        let at = step_at.get(&(home, step)).copied();
        let of_step = at.and_then(|at| steps.get_mut(&home)?.get_mut(at));
        match of_step {
            Some((step, _)) => step.assertions.push(assertion),
            None => assertions.entry(home).or_default().push(assertion),
        }
    }
    assertions.values_mut().for_each(|assertions| sort_assertions(assertions));
    for (step, _) in steps.values_mut().flatten() {
        sort_assertions(&mut step.assertions);
    }
    let mut tree = ResultTree { parts_missing: found.untracked > 0, ..ResultTree::default() };
    for (key, test) in &tests {
        let steps = steps.remove(&Home::Test(*key)).unwrap_or_default();
        let lacks = test.lacks(steps.iter().map(|(step, judged)| (step.step, judged)));
        tree.tests.push(TestResult {
            test: key.test,
            experiment: (key.experiment != Symbol::NONE).then_some(key.experiment),
            part: test.judged.part.clone().or_unknown(lacks),
            steps: steps.into_iter().map(|(step, _)| step).collect(),
            assertions: assertions.remove(&Home::Test(*key)).unwrap_or_default(),
            checks: test.checks,
            parts_missing: found.untracked > 0,
        });
    }
    tree.tests.sort_by_key(|test| (test.part.started_ns, test.test, test.experiment));
    tree.steps = steps.into_values().flatten().map(|(step, _)| step).collect();
    tree.steps.sort_by_key(|step| (step.part.started_ns, step.step));
    tree.assertions = assertions.into_values().flatten().collect();
    sort_assertions(&mut tree.assertions);
    let ends = tests.iter().map(|(key, test)| (key.experiment, key.test, &test.runs));
    let parts =
        experiments::parts(&found.experiments, found.experiment_table.as_deref(), tellers, ends).into_iter();
    tree.experiments = parts.map(|(experiment, part)| ExperimentResult { experiment, part }).collect();
    tree.experiments.sort_by_key(|experiment| (experiment.part.started_ns, experiment.experiment));
    tree
}

fn sort_assertions(assertions: &mut [AssertionResult]) {
    assertions.sort_by_key(|assertion| (assertion.part.started_ns, assertion.assertion));
}
