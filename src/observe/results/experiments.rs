//! What became of experiments: of which tests they are, and whether all of these came.
//!
//! An experiment says how many tests it has, or names them, for each of its runs. A run of a test belongs to that of an experiment
//! within which it ended: of the experiment that its context names or, if it names none, of the only one that it can be of.
//! So a test that was run again in one experiment, or in a later run, does not stand for one that never came in another.

use super::evidence::NO_COUNT;
use super::fact::{Fact, Origin, Tellers, Told, in_time};
use super::judge::judge_in_order;
use super::lifecycle::follow;
use super::part::Part;
use super::sweep::ALONE;
use super::test_runs::TestRuns;
use crate::domain::StateTable;
use crate::event::Symbol;
use std::collections::{BTreeMap, HashMap, HashSet};

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
    /// How many it names.
    named: u64,
    /// Which process tells of it.
    origin: Origin,
}

/// How often a run of an experiment names a test, and the beginning of that name.
#[derive(Clone, Debug)]
struct Named {
    times: u64,
    name: Box<str>,
}

impl ExperimentRun {
    fn begun(time_ns: u64, origin: Origin) -> ExperimentRun {
        ExperimentRun {
            started_ns: time_ns,
            ended_ns: time_ns,
            tests: 0,
            names: HashMap::new(),
            named: 0,
            origin,
        }
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
            let known = self.names.entry(symbol).or_insert_with(|| Named { times: 0, name: named.name });
            self.named = self.named.saturating_add(named.times.saturating_sub(known.times));
            known.times = known.times.max(named.times);
        }
    }
}

/// Splits what an experiment says, in each process that leads it, at its beginnings. Who tells neither of a beginning nor of tests
/// tells of what another one leads, if there is one.
fn runs(all: &[Told<'_>]) -> Vec<ExperimentRun> {
    let leads = |told: &&Told<'_>| {
        let has_tests =
            told.fact.more.as_ref().is_some_and(|more| more.tests.is_some() || !more.test_names.is_empty());
        told.fact.begins.is_some() || has_tests
    };
    let leaders: HashSet<Origin> = all.iter().filter(leads).map(|told| told.teller.origin()).collect();
    let mut runs: Vec<ExperimentRun> = Vec::new();
    let mut last: HashMap<Origin, usize> = HashMap::new();
    for Told { fact, teller, .. } in all {
        let origin = teller.origin();
        if !leaders.is_empty() && !leaders.contains(&origin) {
            continue;
        }
        if fact.begins.is_some() || !last.contains_key(&origin) {
            last.insert(origin, runs.len());
            runs.push(ExperimentRun::begun(fact.time_ns, origin));
        }
        if let Some(run) = last.get(&origin).and_then(|at| runs.get_mut(*at)) {
            run.take(fact);
        }
    }
    runs
}

/// Which run of which experiment.
type At = (Symbol, usize);

/// Among which runs one is looked for: those of an experiment or [`Symbol::NONE`] for all, in one process or in all.
type Among = (Symbol, Option<Origin>);

/// The end of a run of a test.
struct TestEnd {
    ended_ns: u64,
    test: Symbol,
}

/// Returns for each end of a test the only run in which it can have come to that, with the ends in the order of time.
fn places<'a>(
    mut runs: Vec<(At, &'a ExperimentRun)>,
    mut ends: Vec<TestEnd>,
) -> impl Iterator<Item = (TestEnd, Result<At, Elsewhere>)> + 'a {
    runs.sort_by_key(|(at, run)| (run.started_ns, *at));
    ends.sort_by_key(|end| (end.ended_ns, end.test));
    let mut next = 0;
    // Those that have begun and not ended, by their ends.
    let mut going_on: BTreeMap<(u64, At), &'a ExperimentRun> = BTreeMap::new();
    ends.into_iter().map(move |end| {
        while let Some((at, run)) = runs.get(next).filter(|(_, run)| run.started_ns <= end.ended_ns) {
            going_on.insert((run.ended_ns, *at), run);
            next += 1;
        }
        while going_on.first_key_value().is_some_and(|((ended_ns, _), _)| *ended_ns < end.ended_ns) {
            going_on.pop_first();
        }
        let is_one_of_several = going_on.len() > 1 && going_on.len() <= AT_ONE_TIME_MAX;
        // Which names its tests does not have others, unless it has more tests than it names.
        let may_have = |run: &ExperimentRun| {
            !is_one_of_several || run.names.contains_key(&end.test) || run.tests > run.named
        };
        let mut candidates = going_on.iter().filter(|(_, run)| may_have(run)).map(|((_, at), _)| *at);
        let place = match (candidates.next(), candidates.next()) {
            (Some(at), None) => Ok(at),
            (None, _) => Err(Elsewhere::None),
            (Some(_), Some(_)) => Err(Elsewhere::Several),
        };
        (end, place)
    })
}

/// Why a run of a test is of no known run of an experiment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Elsewhere {
    None,
    Several,
}

impl ExperimentRun {
    /// Returns what is not known of the run's tests, given how often each was run in it.
    fn lacks(&self, found: &HashMap<Symbol, u64>, several: u64) -> Option<String> {
        let tests = self.tests.max(self.named);
        if tests == NO_COUNT {
            return Some("the number of its tests cannot be read".into());
        }
        let of = match several {
            0 => String::new(),
            _ => format!("; {several} may be of it or of another run"),
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

/// Returns what became of `experiments`, given the tests: each with the experiment that its context names or
/// [`Symbol::NONE`], its name, and when its runs were.
pub(super) fn parts<'a>(
    experiments: &HashMap<Symbol, Vec<Fact>>,
    table: Option<&StateTable>,
    tellers: &Tellers,
    tests: impl Iterator<Item = (Symbol, Symbol, &'a TestRuns)>,
) -> Vec<(Symbol, Part)> {
    let judge = |(name, facts): (&Symbol, &Vec<Fact>)| {
        let mut all = in_time(facts.iter(), tellers);
        if let Some(table) = table {
            follow(table, &mut all);
        }
        let runs = runs(&all);
        (*name, (judge_in_order(all, ALONE).part, runs))
    };
    let known: HashMap<Symbol, (Part, Vec<ExperimentRun>)> = experiments.iter().map(judge).collect();
    let mut among: HashMap<Among, Vec<(At, &ExperimentRun)>> = HashMap::new();
    for (name, (_, runs)) in &known {
        for (at, run) in runs.iter().enumerate() {
            for key in
                [*name, Symbol::NONE].into_iter().flat_map(|name| [(name, Some(run.origin)), (name, None)])
            {
                among.entry(key).or_default().push(((*name, at), run));
            }
        }
    }
    among.values_mut().for_each(|runs| runs.sort_by_key(|(at, run)| (run.started_ns, *at)));
    let mut ends: HashMap<Among, Vec<TestEnd>> = HashMap::new();
    for (experiment, test, runs) in tests {
        for (origin, ended_ns) in runs.ends() {
            // What one process tells of a test is of the run of which the same one tells, if that was then.
            let own = (experiment, Some(origin));
            let was_then = |runs: &Vec<(At, &ExperimentRun)>| {
                let begun = runs.partition_point(|(_, run)| run.started_ns <= ended_ns);
                begun
                    .checked_sub(1)
                    .and_then(|last| runs.get(last))
                    .is_some_and(|(_, run)| run.ended_ns >= ended_ns)
            };
            let key = if among.get(&own).is_some_and(was_then) { own } else { (experiment, None) };
            ends.entry(key).or_default().push(TestEnd { ended_ns, test });
        }
    }
    let mut found: HashMap<At, HashMap<Symbol, u64>> = HashMap::new();
    let mut several = HashSet::new();
    for (key, ends) in ends {
        let Some(runs) = among.remove(&key) else { continue };
        for (end, place) in places(runs, ends) {
            match place {
                Ok(at) => *found.entry(at).or_default().entry(end.test).or_default() += 1,
                Err(Elsewhere::Several) => drop(several.insert((key.0, end.test))),
                Err(Elsewhere::None) => {}
            }
        }
    }
    let mut of_several: HashMap<Symbol, u64> = HashMap::new();
    several.iter().for_each(|(experiment, _)| *of_several.entry(*experiment).or_default() += 1);
    let none = HashMap::new();
    let part = |(name, (part, runs)): (&Symbol, &(Part, Vec<ExperimentRun>))| {
        let several = [*name, Symbol::NONE].iter().filter_map(|name| of_several.get(name)).sum();
        let mut lacks = runs
            .iter()
            .enumerate()
            .filter_map(|(at, run)| run.lacks(found.get(&(*name, at)).unwrap_or(&none), several));
        (*name, part.clone().or_unknown(lacks.next()))
    };
    known.iter().map(part).collect()
}
