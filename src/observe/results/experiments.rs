//! What became of experiments: of which tests they are, and whether all of these came.
//!
//! An experiment says how many tests it has, or names them, for each of its runs. A run of a test belongs to that of an experiment
//! within which it ended: of the experiment that its context names or, if it names none, of the only one that it can be of.
//! So a test that was run again in one experiment, or in a later run, does not stand for one that never came in another.

use super::evidence::NO_COUNT;
use super::fact::{Fact, Tellers, Told, in_time};
use super::judge::judge_in_order;
use super::lifecycle::follow;
use super::part::Part;
use super::sweep::ALONE;
use crate::domain::StateTable;
use crate::event::Symbol;
use std::collections::HashMap;

/// Runs of experiments at one time that are looked at; a test among more may be of any.
const AT_ONE_TIME_MAX: usize = 64;

/// One run of an experiment.
#[derive(Clone, Debug)]
struct ExperimentRun {
    /// When its first event was, and its last.
    started_ns: u64,
    ended_ns: u64,
    /// How many tests it says that it has.
    tests: u64,
    /// Names that it gives of these. One that it gives twice is run twice.
    names: HashMap<Symbol, Named>,
}

/// How often a run of an experiment names a test, and the beginning of that name.
#[derive(Clone, Debug)]
struct Named {
    times: u64,
    name: Box<str>,
}

impl ExperimentRun {
    fn begun(time_ns: u64) -> ExperimentRun {
        ExperimentRun { started_ns: time_ns, ended_ns: time_ns, tests: 0, names: HashMap::new() }
    }

    /// Takes an event of the run: how many tests it has, and the names of these.
    fn take(&mut self, fact: &Fact) {
        self.ended_ns = self.ended_ns.max(fact.time_ns);
        let Some(more) = fact.more.as_ref() else { return };
        self.tests = self.tests.max(more.tests.unwrap_or(0));
        let mut named: HashMap<Symbol, Named> = HashMap::new();
        for (symbol, name) in &more.test_names {
            named.entry(*symbol).or_insert_with(|| Named { times: 0, name: name.clone() }).times += 1;
        }
        for (symbol, named) in named {
            let times = named.times;
            let known = self.names.entry(symbol).or_insert(named);
            known.times = known.times.max(times);
        }
    }
}

/// Splits what an experiment says at its beginnings.
fn runs(all: &[Told<'_>]) -> Vec<ExperimentRun> {
    let mut runs: Vec<ExperimentRun> = Vec::new();
    for Told { fact, .. } in all {
        if fact.begins.is_some() || runs.is_empty() {
            runs.push(ExperimentRun::begun(fact.time_ns));
        }
        if let Some(run) = runs.last_mut() {
            run.take(fact);
        }
    }
    runs
}

/// Which run of which experiment.
type At = (Symbol, usize);

/// Runs of experiments, by time.
struct Timeline<'a> {
    /// By their beginnings.
    runs: Vec<(At, &'a ExperimentRun)>,
    /// By place: the last end of the runs up to there.
    ends_ns: Vec<u64>,
}

impl<'a> Timeline<'a> {
    fn of(runs: impl Iterator<Item = (At, &'a ExperimentRun)>) -> Timeline<'a> {
        let mut runs: Vec<_> = runs.collect();
        runs.sort_by_key(|(at, run)| (run.started_ns, *at));
        let last_end_ns = |end_ns: &mut u64, run: &(At, &ExperimentRun)| {
            *end_ns = run.1.ended_ns.max(*end_ns);
            Some(*end_ns)
        };
        let ends_ns = runs.iter().scan(0, last_end_ns).collect();
        Timeline { runs, ends_ns }
    }

    /// Returns the only run in which a test of this name can have come to its end at that time.
    fn only(&self, name: Symbol, ended_ns: u64) -> Result<At, Elsewhere> {
        let begun = self.runs.partition_point(|(_, run)| run.started_ns <= ended_ns);
        let first = self.ends_ns.partition_point(|end_ns| *end_ns < ended_ns);
        let candidates = self.runs.get(first..begun).unwrap_or_default().iter();
        let mut candidates: Vec<_> =
            candidates.filter(|(_, run)| run.ended_ns >= ended_ns).take(AT_ONE_TIME_MAX + 1).collect();
        if candidates.len() > 1 && candidates.len() <= AT_ONE_TIME_MAX {
            // Which names its tests does not have others, unless it has more tests than it names.
            candidates.retain(|(_, run)| run.names.contains_key(&name) || run.tests > run.named());
        }
        match candidates.as_slice() {
            [(at, _)] => Ok(*at),
            [] => Err(Elsewhere::None),
            _ => Err(Elsewhere::Several),
        }
    }
}

/// Why a run of a test is of no known run of an experiment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Elsewhere {
    None,
    Several,
}

impl ExperimentRun {
    /// How many tests it names.
    fn named(&self) -> u64 {
        self.names.values().fold(0, |sum, named| sum.saturating_add(named.times))
    }

    /// Returns what is not known of the run's tests, given how often each was run in it.
    fn lacks(&self, found: &HashMap<Symbol, u64>, several: u64) -> Option<String> {
        let tests = self.tests.max(self.named());
        if tests == NO_COUNT {
            return Some("the number of its tests cannot be read".into());
        }
        let of = match several {
            0 => String::new(),
            _ => format!("; {several} may be of it or of another experiment"),
        };
        // A test that is run again is one test, but where it is named more often.
        let once =
            |(name, runs): (&Symbol, &u64)| self.names.get(name).map_or(1, |named| named.times).min(*runs);
        let came = found.iter().map(once).fold(0, u64::saturating_add);
        if came < tests {
            return Some(format!(
                "it has {tests} tests, and the ends of {came} came between its beginning and its end{of}"
            ));
        }
        let is_lacking =
            |(name, named): &(&Symbol, &Named)| found.get(name).copied().unwrap_or(0) < named.times;
        let lacking = self.names.iter().filter(is_lacking).map(|(_, named)| &named.name).min()?;
        Some(format!(
            "it names a test {lacking:?}, of which no end came between its beginning and its end{of}"
        ))
    }
}

fn numbered(name: Symbol, runs: &[ExperimentRun]) -> impl Iterator<Item = (At, &ExperimentRun)> {
    runs.iter().enumerate().map(move |(at, run)| ((name, at), run))
}

/// Returns what became of `experiments`, given the tests: each with the experiment that its context names or
/// [`Symbol::NONE`], its name, and when its runs ended.
pub(super) fn parts<'a>(
    experiments: &HashMap<Symbol, Vec<Fact>>,
    table: Option<&StateTable>,
    tellers: &Tellers,
    tests: impl Iterator<Item = (Symbol, Symbol, &'a [u64])>,
) -> Vec<(Symbol, Part)> {
    let judge = |(name, facts): (&Symbol, &Vec<Fact>)| {
        let mut all = in_time(facts.iter(), tellers);
        if let Some(table) = table {
            follow(table, &mut all);
        }
        (*name, (judge_in_order(&all, ALONE).part, runs(&all)))
    };
    let known: HashMap<Symbol, (Part, Vec<ExperimentRun>)> = experiments.iter().map(judge).collect();
    let all = Timeline::of(known.iter().flat_map(|(name, (_, runs))| numbered(*name, runs)));
    let own = known.iter().map(|(name, (_, runs))| (*name, Timeline::of(numbered(*name, runs))));
    let own: HashMap<Symbol, Timeline<'_>> = own.collect();
    let mut found: HashMap<At, HashMap<Symbol, u64>> = HashMap::new();
    let mut several = 0;
    for (experiment, test, ends_ns) in tests {
        let timeline = if experiment == Symbol::NONE { Some(&all) } else { own.get(&experiment) };
        let Some(timeline) = timeline else { continue };
        let mut is_several = false;
        for ended_ns in ends_ns {
            match timeline.only(test, *ended_ns) {
                Ok(at) => *found.entry(at).or_default().entry(test).or_default() += 1,
                Err(elsewhere) => is_several |= elsewhere == Elsewhere::Several,
            }
        }
        several += u64::from(is_several);
    }
    let none = HashMap::new();
    let part = |(name, (part, runs)): (&Symbol, &(Part, Vec<ExperimentRun>))| {
        let mut lacks = runs
            .iter()
            .enumerate()
            .filter_map(|(at, run)| run.lacks(found.get(&(*name, at)).unwrap_or(&none), several));
        (*name, part.clone().or_unknown(lacks.next()))
    };
    known.iter().map(part).collect()
}
