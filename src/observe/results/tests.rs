//! What became of a test: when its runs were, and whether the steps and checks that it has came.

use super::executions;
use super::fact::{Origin, Tellers, Told, in_time};
use super::judge::{Judged, judge, judge_in_order};
use super::lifecycle::follow;
use super::plans::Plans;
use super::report::Test;
use super::sweep::{ALONE, Law, Run};
use super::test_runs::{TestRun, TestRuns};
use super::verdict::{Outcome, Tally};
use crate::domain::StateTable;
use crate::event::Symbol;
use std::collections::BTreeMap;

/// A test, judged by what it says of itself.
pub(super) struct JudgedTest {
    pub(super) judged: Judged,
    pub(super) runs: TestRuns,
    /// The assertions that it has checked, and one for each time that it has not come to the end of that.
    pub(super) checks: Tally,
    plans: Plans,
    /// Why it is not known what became of its checks.
    unknown_checks: Option<String>,
}

impl JudgedTest {
    pub(super) fn of(tests: &[&Test], table: Option<&StateTable>, tellers: &Tellers) -> JudgedTest {
        let mut all = in_time(tests.iter().flat_map(|test| &test.facts), tellers);
        if let Some(table) = table {
            follow(table, &mut all);
        }
        let mut judged = judge_in_order(all.clone(), ALONE);
        let mut runs = runs(&all, &judged);
        let (plans, executions) = Plans::of(&all, &runs);
        runs.set_executions(executions);
        judged.part = judged.part.or_incomplete(executions::unfinished(&all, table, tellers, &runs));
        let mut checks = Tally::default();
        tests.iter().for_each(|test| checks.merge(test.checks));
        let mut unknown_checks = None;
        let checking = || tests.iter().flat_map(|test| &test.checking);
        if checking().next().is_some() {
            let checking = judge(checking(), tellers, Law { test: Some(&runs), ..ALONE });
            checks.running = checking.open;
            match checking.part.outcome {
                Outcome::Incomplete if checking.open == 0 => checks.incomplete += 1,
                Outcome::Unknown => {
                    checks.running = 0;
                    unknown_checks = checking.part.message.map(Into::into);
                }
                _ => {}
            }
        }
        JudgedTest { judged, runs, checks, plans, unknown_checks }
    }

    /// Says what is not known of the test's checks and of these steps of it.
    pub(super) fn lacks<'j>(&self, steps: impl Iterator<Item = (Symbol, &'j Judged)>) -> Option<String> {
        self.unknown_checks.clone().or_else(|| self.plans.lacks(steps))
    }
}

/// Returns when the test's runs were, in each process that ran it. Of a test that never says that it began there is one.
fn runs(all: &[Told<'_>], judged: &Judged) -> TestRuns {
    let mut by_origin: BTreeMap<Origin, (Vec<&Run>, Vec<&Told<'_>>)> = BTreeMap::new();
    for (origin, run) in &judged.runs {
        by_origin.entry(*origin).or_default().0.push(run);
    }
    if let Some(first) = all.first().filter(|_| by_origin.is_empty()) {
        by_origin.entry(first.teller.origin()).or_default();
    }
    let only = by_origin.keys().next().copied().filter(|_| by_origin.len() == 1);
    for told in all {
        if let Some((_, facts)) = by_origin.get_mut(&only.unwrap_or(told.teller.origin())) {
            facts.push(told);
        }
    }
    // What was told before any of them is of the first of all.
    let first_ns = judged.runs.iter().map(|(_, run)| run.began_ns).min();
    let of_origin = |(origin, (runs, facts)): (Origin, (Vec<&Run>, Vec<&Told<'_>>))| {
        let has_first = runs.first().map(|run| run.began_ns) == first_ns;
        (origin, runs_of(&facts, &runs, has_first))
    };
    TestRuns::of_origins(by_origin.into_iter().map(of_origin).collect())
}

/// Puts together runs that overlap, and what is told of them. The first of all began when anything was told of it.
fn runs_of(all: &[&Told<'_>], runs: &[&Run], has_first: bool) -> TestRuns {
    let mut known: Vec<TestRun> = Vec::new();
    let mut last_end_ns = 0;
    for run in runs {
        let has_ended =
            |last: &TestRun| last.ends_ns.len() as u64 == last.runs && last_end_ns <= run.began_ns;
        if known.last().is_none_or(has_ended) {
            let (began_ns, began_by) = (run.began_ns, Some(run.began_by));
            known.push(TestRun { began_ns, began_by, ..TestRun::default() });
            last_end_ns = 0;
        }
        if let Some(last) = known.last_mut() {
            last.runs += 1;
            last.ends_ns.extend(run.ended_ns);
            last_end_ns = last_end_ns.max(run.ended_ns.unwrap_or(0));
        }
    }
    if known.is_empty() {
        known.push(TestRun { runs: 1, ..TestRun::default() });
    }
    if let Some((first, told)) = known.first_mut().zip(all.first()).filter(|_| has_first) {
        first.began_ns = told.fact.time_ns;
    }
    known.iter_mut().for_each(|run| run.ends_ns.sort_unstable());
    TestRuns::new(known)
}
