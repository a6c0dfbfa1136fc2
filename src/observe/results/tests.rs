//! What became of a test: when its runs were, and whether the steps and checks that it has came.

use super::fact::{Tellers, Told, in_time};
use super::judge::{Judged, judge, judge_in_order};
use super::lifecycle::follow;
use super::report::Test;
use super::sweep::{ALONE, Law, Runs};
use super::test_runs::{TestRun, TestRuns};
use super::verdict::{Outcome, Tally};
use crate::domain::StateTable;
use crate::event::Symbol;
use std::collections::HashMap;

/// A test, judged by what it says of itself.
pub(super) struct JudgedTest<'a> {
    pub(super) judged: Judged,
    pub(super) runs: TestRuns,
    /// The assertions that it has checked, and one for each time that it has not come to the end of that.
    pub(super) checks: Tally,
    all: Vec<Told<'a>>,
    /// Why it is not known what became of its checks.
    unknown_checks: Option<String>,
}

/// The steps that one run of a test says that it has.
#[derive(Default)]
struct Listed {
    count: u64,
    completed: u64,
    names: HashMap<Symbol, u64>,
}

impl<'a> JudgedTest<'a> {
    pub(super) fn of(test: &'a Test, table: Option<&StateTable>, tellers: &Tellers) -> JudgedTest<'a> {
        let mut all = in_time(test.facts.iter(), tellers);
        if let Some(table) = table {
            follow(table, &mut all);
        }
        let judged = judge_in_order(&all, ALONE);
        let runs = runs(&all, &judged);
        let mut checks = test.checks;
        let mut unknown_checks = None;
        if !test.checking.is_empty() {
            let checking =
                judge(test.checking.iter(), tellers, Law { test: Some(&runs), by_teller: true, ..ALONE });
            checks.running = checking.open;
            match checking.part.outcome {
                Outcome::Incomplete if checking.open == 0 => checks.incomplete += 1,
                Outcome::Unknown => unknown_checks = checking.part.message.map(Into::into),
                _ => {}
            }
        }
        JudgedTest { judged, runs, checks, all, unknown_checks }
    }

    /// Says what is not known of the test's checks and of these steps of it.
    pub(super) fn lacks<'j>(&self, steps: impl Iterator<Item = (Symbol, &'j Judged)>) -> Option<String> {
        if self.unknown_checks.is_some() {
            return self.unknown_checks.clone();
        }
        // By run of the test, way and step: how often that was run.
        let mut came: HashMap<(usize, u8), HashMap<Symbol, u64>> = HashMap::new();
        let mut known: HashMap<Symbol, ()> = HashMap::new();
        for (step, judged) in steps {
            known.insert(step, ());
            let mut begun: HashMap<usize, [u64; 2]> = HashMap::new();
            for (time_ns, way) in &judged.begun {
                let begun = begun.entry(self.runs.at(*time_ns)).or_default();
                if let Some(begun) = begun.get_mut(usize::from(*way)) {
                    *begun += 1;
                }
            }
            for (time_ns, ways) in &judged.ended {
                let run = self.runs.at(*time_ns);
                let begun = begun.get(&run).map_or(0, |begun| begun.iter().max().copied().unwrap_or(0));
                for way in (0..2).filter(|way| ways >> way & 1 != 0) {
                    let runs = came.entry((run, way)).or_default().entry(step).or_default();
                    // What is told again ended once.
                    *runs = (*runs + 1).min(begun.max(1));
                }
            }
        }
        let none = HashMap::new();
        let of = |run: usize, way: u8| came.get(&(run, way)).unwrap_or(&none);
        self.listed().into_iter().enumerate().find_map(|(run, listed)| {
            let needs = listed.count.max(listed.completed);
            let once = |(step, runs): (&Symbol, &u64)| match listed.names.get(step) {
                Some(times) => *times.min(runs),
                None if listed.names.is_empty() => *runs,
                None => 1,
            };
            let has = (0..2).map(|way| of(run, way).iter().map(once).sum::<u64>()).max().unwrap_or(0);
            if has < needs {
                return Some(format!("it has {needs} steps, and {has} are known to have been run"));
            }
            // Where it names its steps as they name themselves, these have to be those.
            let times =
                |step: &Symbol| (0..2).filter_map(|way| of(run, way).get(step)).max().copied().unwrap_or(0);
            let knows_some = listed.names.keys().any(|step| known.contains_key(step));
            let missing =
                listed.names.iter().filter(|(step, listed)| knows_some && times(step) < **listed).count();
            (missing > 0)
                .then(|| format!("{missing} of the steps that it names are not known to have been run"))
        })
    }

    /// Returns the steps that it says it has, by run.
    fn listed(&self) -> Vec<Listed> {
        let mut all: Vec<Listed> = Vec::new();
        all.resize_with(self.runs.len().max(1), Listed::default);
        for told in &self.all {
            let Some(more) = told.fact.more.as_ref() else { continue };
            let Some(listed) = all.get_mut(self.runs.at(told.fact.time_ns)) else { continue };
            let (count, completed) = (more.steps.unwrap_or(0), more.steps_completed.unwrap_or(0));
            if told.is_invalid {
                // It may say again what it has said.
                listed.count = listed.count.max(count);
                listed.completed = listed.completed.max(completed);
            } else {
                listed.count = listed.count.saturating_add(count);
                listed.completed = listed.completed.saturating_add(completed);
            }
            let mut names: HashMap<Symbol, u64> = HashMap::new();
            more.step_names.iter().for_each(|name| *names.entry(*name).or_default() += 1);
            for (name, times) in names {
                let known = listed.names.entry(name).or_default();
                *known = if told.is_invalid { times.max(*known) } else { times.saturating_add(*known) };
            }
        }
        all
    }
}

/// Returns when the test's runs were. Of a test that never says that it began there is one.
fn runs(all: &[Told<'_>], judged: &Judged) -> TestRuns {
    let run = |runs: &Runs| TestRun {
        began_ns: runs.began_ns,
        ends_ns: runs.ends_ns.clone(),
        runs: runs.len(),
        executes_ns: Vec::new(),
    };
    let mut runs: Vec<TestRun> = judged.runs.iter().map(run).collect();
    if runs.is_empty() {
        runs.push(TestRun { runs: 1, ..TestRun::default() });
    }
    if let Some(first) = runs.first_mut() {
        first.began_ns = judged.part.started_ns;
    }
    for told in all.iter().filter(|told| told.fact.executes) {
        let at = runs.partition_point(|run| run.began_ns <= told.fact.time_ns).saturating_sub(1);
        if let Some(run) = runs.get_mut(at) {
            run.executes_ns.push(told.fact.time_ns);
        }
    }
    TestRuns::new(runs)
}
