//! What is known of tests, steps and assertions.

use super::evidence::Evidence;
use super::fact::{Fact, More, Teller, Tellers, extend};
use super::verdict::Tally;
use crate::domain::{Schema, StateTable};
use crate::event::{Domain, HeldNames, Record, Shared, Symbol, Symbols};
use crate::observe::Report;
use std::collections::HashMap;
use std::sync::{Arc, Mutex};

/// What is known of tests, steps and assertions; [`ResultsReport::tree`] puts it in order and judges it. The names
/// of the parts stay in the table as long as the report lives.
#[derive(Clone, Debug, Default)]
pub struct ResultsReport {
    /// By these, tests and experiments live.
    pub(super) test_table: Option<Shared<StateTable>>,
    pub(super) experiment_table: Option<Shared<StateTable>>,
    pub(super) tests: HashMap<TestKey, Test>,
    /// By test and name: what steps tell of themselves, and what their tests tell of them.
    pub(super) steps: HashMap<(TestKey, Symbol), Vec<Fact>>,
    /// By test and step, or [`Symbol::NONE`], and name.
    pub(super) assertions: HashMap<(TestKey, Symbol, Symbol), Assertion>,
    pub(super) experiments: HashMap<Symbol, Vec<Fact>>,
    pub(super) log: Log,
    pub(super) untracked: u64,
    /// What said worse than another teller of its key had.
    pub(super) contrary: u64,
    /// Of the observers.
    pub(super) names: Vec<Arc<Mutex<HeldNames>>>,
}

/// A test and the experiment in whose context it is, each [`Symbol::NONE`] where it is not known.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(super) struct TestKey {
    pub(super) experiment: Symbol,
    pub(super) test: Symbol,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Test {
    pub(super) facts: Vec<Fact>,
    /// When it began to check assertions, and came to the end of it.
    pub(super) checking: Vec<Fact>,
    pub(super) checks: Tally,
}

/// What an assertion's own events say, and what services of its name found.
#[derive(Clone, Debug, Default)]
pub(super) struct Assertion {
    pub(super) own: Vec<Fact>,
    pub(super) found: Vec<Fact>,
}

/// Who told what is known, and how much that is: facts, with what is long in them counted as several.
#[derive(Clone, Debug, Default)]
pub(super) struct Log {
    pub(super) tellers: Tellers,
    pub(super) facts: usize,
}

impl Log {
    /// Keeps a fact. Of several in a row that say nothing the first is enough.
    pub(super) fn keep(&mut self, facts: &mut Vec<Fact>, teller: Teller, mut fact: Fact) {
        match facts.last_mut().filter(|last| last.is_silent() && fact.is_silent()) {
            Some(last) => last.time_ns = last.time_ns.min(fact.time_ns),
            None => {
                let size = |more: &More| {
                    let message = more.message.as_ref().map_or(0, |message| message.len());
                    more.step_names.len() + more.test_names.len() + message / size_of::<Fact>()
                };
                self.facts += 1 + fact.more.as_deref().map_or(0, size);
                fact.teller = self.tellers.number(teller);
                facts.push(fact);
            }
        }
    }
}

/// Makes a fact of what a record says; who tells it is known when it is kept.
pub(super) fn fact(record: &Record, names_test: bool, evidence: Evidence) -> Fact {
    Fact {
        time_ns: record.time_ns(),
        duration_ns: evidence.duration_ns,
        more: (evidence.more != More::default()).then(|| Box::new(evidence.more)),
        seq: record.seq(),
        teller: 0,
        begins: evidence.begins,
        ends: evidence.ends,
        outcome: evidence.outcome,
        is_of_step: record.kind().domain() == Domain::STEP,
        by_other: false,
        names_test,
        executing: evidence.executing,
        code: record.kind().code(),
    }
}

impl ResultsReport {
    /// Returns how many events were beyond the limits.
    #[must_use]
    pub fn untracked(&self) -> u64 {
        self.untracked
    }

    /// Returns how many events said worse than the first teller of their key did. The worst counts.
    #[must_use]
    pub fn contrary(&self) -> u64 {
        self.contrary
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
        let numbers = self.log.tellers.merge(&other.log.tellers);
        for (key, test) in other.tests {
            let known = self.tests.entry(key).or_default();
            extend(&mut known.facts, test.facts, &numbers);
            extend(&mut known.checking, test.checking, &numbers);
            known.checks.merge(test.checks);
        }
        for (key, facts) in other.steps {
            extend(self.steps.entry(key).or_default(), facts, &numbers);
        }
        for (key, assertion) in other.assertions {
            let known = self.assertions.entry(key).or_default();
            extend(&mut known.own, assertion.own, &numbers);
            extend(&mut known.found, assertion.found, &numbers);
        }
        for (name, facts) in other.experiments {
            extend(self.experiments.entry(name).or_default(), facts, &numbers);
        }
        self.test_table = self.test_table.take().or(other.test_table);
        self.experiment_table = self.experiment_table.take().or(other.experiment_table);
        self.log.facts += other.log.facts;
        self.untracked += other.untracked;
        self.contrary += other.contrary;
        self.names.extend(other.names);
    }

    fn warnings(&self, _: &Schema, _: &Symbols) -> Vec<String> {
        let says = |contrary: u64| {
            format!(
                "{contrary} events say worse of a test, a step or an assertion than the first teller of their key did; \
                 the worst of these counts"
            )
        };
        Some(self.contrary).filter(|contrary| *contrary > 0).map(says).into_iter().collect()
    }
}
