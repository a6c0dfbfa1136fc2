//! What became of experiments: of which tests they are, and whether all of these came.
//!
//! An experiment says how many tests it has, or names them, for each of its runs. A run of a test belongs to that of an experiment
//! within which it ended: of the experiment that its context names or, if it names none, of the only one that it can be of.
//! So a test that was run again in one experiment, or in a later run, does not stand for one that never came in another.

use super::evidence::NO_COUNT;
use super::part::{Part, View};
use super::runs::Run;
use crate::domain::StateTable;
use crate::event::Symbol;
use crate::event::json::beginning;
use std::borrow::Cow;
use std::collections::HashMap;

/// Runs of one experiment that are followed; of one that has more, it is not known whether all tests came.
const RUNS_MAX: usize = 1024;

/// Runs of experiments at one time that are looked at; a test among more may be of any.
const AT_ONE_TIME_MAX: usize = 64;

/// Bytes of a test's name that are kept, to be shown.
const NAME_LEN_MAX: usize = 256;

#[derive(Clone, Debug, Default)]
pub(super) struct Experiment {
    pub(super) view: View,
    runs: Vec<ExperimentRun>,
    /// It had more runs than are followed.
    too_many: bool,
}

/// One run of an experiment.
#[derive(Clone, Debug)]
struct ExperimentRun {
    /// From its first event to its last.
    time: Run,
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

impl Experiment {
    pub(super) fn new(table: &StateTable) -> Experiment {
        Experiment { view: View::new(table), ..Experiment::default() }
    }

    /// Takes an event's time: whether it begins another run, how many tests this has, and the names of these.
    pub(super) fn take<'a>(
        &mut self,
        begins: bool,
        time_ns: u64,
        tests: u64,
        names: impl Iterator<Item = Cow<'a, str>>,
    ) {
        if begins && self.runs.len() == RUNS_MAX {
            self.too_many = true;
            return;
        }
        if begins || self.runs.is_empty() {
            self.runs.push(ExperimentRun { time: Run::at(time_ns), tests: 0, names: HashMap::new() });
        }
        let Some(run) = self.runs.last_mut() else { return };
        run.time = run.time.and(Run::at(time_ns));
        run.tests = run.tests.max(tests);
        let mut named: HashMap<Symbol, Named> = HashMap::new();
        for name in names {
            let new = || Named { times: 0, name: beginning(&name, NAME_LEN_MAX).into() };
            named.entry(Symbol::of(&name)).or_insert_with(new).times += 1;
        }
        for (symbol, named) in named {
            let times = named.times;
            let known = run.names.entry(symbol).or_insert(named);
            known.times = known.times.max(times);
        }
    }

    fn runs(&self, name: Symbol) -> impl Iterator<Item = (At, &ExperimentRun)> {
        self.runs.iter().enumerate().map(move |(at, run)| ((name, at), run))
    }

    pub(super) fn merge(&mut self, other: Experiment) {
        self.view.merge(other.view);
        self.runs.extend(other.runs);
        self.too_many |= other.too_many || self.runs.len() > RUNS_MAX;
        self.runs.truncate(RUNS_MAX);
    }
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
        runs.sort_by_key(|(at, run)| (run.time.started_ns, *at));
        let last_end_ns = |end_ns: &mut u64, run: &(At, &ExperimentRun)| {
            *end_ns = run.1.time.ended_ns.max(*end_ns);
            Some(*end_ns)
        };
        let ends_ns = runs.iter().scan(0, last_end_ns).collect();
        Timeline { runs, ends_ns }
    }

    /// Returns the only run in which a test of this name can have come to its end at that time.
    fn only(&self, name: Symbol, ended_ns: u64) -> Result<At, Elsewhere> {
        let begun = self.runs.partition_point(|(_, run)| run.time.started_ns <= ended_ns);
        let first = self.ends_ns.partition_point(|end_ns| *end_ns < ended_ns);
        let candidates = self.runs.get(first..begun).unwrap_or_default().iter();
        let mut candidates: Vec<_> =
            candidates.filter(|(_, run)| run.time.ended_ns >= ended_ns).take(AT_ONE_TIME_MAX + 1).collect();
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

/// Returns what became of `experiments`, given the tests: each with the experiment that its context names or
/// [`Symbol::NONE`], and its name.
pub(super) fn parts<'a>(
    experiments: &HashMap<Symbol, Experiment>,
    tests: impl Iterator<Item = (Symbol, Symbol, &'a View)>,
) -> Vec<(Symbol, Part)> {
    let known = || experiments.iter().map(|(name, known)| (*name, known));
    let all = Timeline::of(known().flat_map(|(name, known)| known.runs(name)));
    let own: HashMap<Symbol, Timeline<'_>> =
        known().map(|(name, known)| (name, Timeline::of(known.runs(name)))).collect();
    let mut found: HashMap<At, HashMap<Symbol, u64>> = HashMap::new();
    let mut several = 0;
    for (experiment, test, view) in tests {
        let timeline = if experiment == Symbol::NONE { Some(&all) } else { own.get(&experiment) };
        let Some(timeline) = timeline else { continue };
        let mut is_several = false;
        for run in view.all_ended() {
            match timeline.only(test, run.ended_ns) {
                Ok(at) => *found.entry(at).or_default().entry(test).or_default() += 1,
                Err(elsewhere) => is_several |= elsewhere == Elsewhere::Several,
            }
        }
        several += u64::from(is_several);
    }
    let none = HashMap::new();
    let part = |(name, known): (Symbol, &Experiment)| {
        let mut runs = known.runs(name);
        let lacks = runs.find_map(|(at, run)| run.lacks(found.get(&at).unwrap_or(&none), several));
        let too_many = || {
            known.too_many.then(|| "it had too many runs to tell whether all of its tests came".to_owned())
        };
        (name, known.view.part(None).or_unknown(lacks.or_else(too_many)))
    };
    known().map(part).collect()
}
