//! The rules by which a part is judged, from the facts that are known of it, in the order of their times.
//!
//! 1. A failure counts, but for one that was [retried](super::retries).
//! 2. Each beginning needs an end behind it. An end can be told in several ways, and a beginning too; one of the ways of ends has
//!    to have as many as the most that any way of beginnings has. What was skipped never began; what is unsupported ends only what
//!    its own emitter began in that context.
//! 3. What one emitter began in one context, another does not end that began something itself, nor is it ended in a context that
//!    differs.
//! 4. Nothing may be going on when a run of the test ends, and nothing pass after that of which no beginning is known.
//! 5. A run has looked at as many assertions as it said that it has.
//! 6. What is told by a part itself passes only if it began. What its test or a service tells of it needs no beginning.
//! 7. What one process began, another does not end: each is judged for itself, and the worst of all counts.

use super::fact::{EmitterKey, Fact, Origin, Tellers, Told, in_time};
use super::part::Part;
use super::retries::mark;
use super::sweep::{Law, Run, Sweep, ended};
use super::test_runs::{RunKey, TestRuns};
use super::verdict::Outcome;
use crate::event::Symbol;
use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};

/// Ways in which an end can be told.
const WAYS: u8 = 3;

/// What became of a part.
#[derive(Clone, Debug, Default)]
pub(super) struct Judged {
    pub(super) part: Part,
    /// Runs that have not come to their end.
    pub(super) open: u64,
    /// Its runs, in the order of time, and which process tells of each.
    pub(super) runs: Vec<(Origin, Run)>,
    /// Other names that it tells of itself.
    pub(super) names: Vec<Symbol>,
    /// By run of its test, and by execution in it: how often it was run.
    pub(super) came: Vec<((RunKey, usize), Came)>,
}

/// How often a part was told to begin and to end, by way. Failures that were undone are no ends.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Came {
    begun: [u64; 2],
    ended: [u64; 2],
    /// Failures that were undone, with which what began again had begun.
    undone: u64,
}

impl Came {
    /// How often it ended by what is told in one way. What is told again ended once.
    pub(super) fn in_way(&self, way: usize) -> u64 {
        let begun = self.begun.into_iter().max().unwrap_or(0).saturating_sub(self.undone).max(1);
        self.ended.get(way).copied().unwrap_or(0).min(begun)
    }

    fn take(&mut self, told: &Told<'_>) {
        let begins = told.fact.begins.and_then(|way| self.begun.get_mut(usize::from(way)));
        begins.into_iter().for_each(|begun| *begun += 1);
        self.undone += u64::from(told.is_undone);
        for (way, ended) in self.ended.iter_mut().enumerate() {
            *ended += u64::from(told.ends >> way & 1 != 0 && !told.is_undone);
        }
    }
}

/// Judges a part.
pub(super) fn judge<'a>(facts: impl Iterator<Item = &'a Fact>, tellers: &Tellers, law: Law<'_>) -> Judged {
    judge_in_order(in_time(facts, tellers), law)
}

/// As [`judge`], of facts that are in the order of time.
pub(super) fn judge_in_order(mut all: Vec<Told<'_>>, law: Law<'_>) -> Judged {
    let names = all.iter().flat_map(|told| told.fact.more.iter().flat_map(|more| &more.step_names));
    let mut names: Vec<Symbol> = names.copied().collect();
    names.sort_unstable();
    names.dedup();
    let is_silent = |of_origin: &[Told<'_>]| !of_origin.iter().any(Told::tells_of_runs);
    let all_are_silent = is_silent(&all);
    // What is of one origin stays in the order of time.
    all.sort_by_key(|told| told.teller.origin());
    let mut judged: Option<Judged> = None;
    for of_origin in all.chunk_by_mut(|one, other| one.teller.origin() == other.teller.origin()) {
        // One that tells neither of a beginning nor of an end tells of nothing that is going on, if others do.
        let silent = if !all_are_silent && is_silent(of_origin) { Outcome::Passed } else { Outcome::Running };
        let one = judge_of_origin(of_origin, law, silent);
        judged = Some(match judged {
            None => one,
            Some(mut known) => {
                let runs = known.part.runs.saturating_add(one.part.runs);
                known.part = Part { runs, ..known.part.and(one.part) };
                known.open += one.open;
                known.runs.extend(one.runs);
                known.came.extend(one.came);
                known
            }
        });
    }
    let mut judged = judged.unwrap_or_default();
    judged.names = names;
    judged.part.runs = judged.part.runs.max(1);
    judged.runs.sort_by_key(|(_, run)| run.began_ns);
    judged
}

/// `silent` is what becomes of it where it tells neither of a beginning nor of an end.
fn judge_of_origin(all: &mut [Told<'_>], law: Law<'_>, silent: Outcome) -> Judged {
    let Some(first) = all.first() else { return Judged::default() };
    let (origin, started_ns) = (first.teller.origin(), first.fact.time_ns);
    mark(all, law.retries.of_origin(origin));
    let test = law.test.map(|test| test.of_origin(origin));
    let law = Law { test, ..law };
    let mut judged = Judged::default();
    let mut part: Option<Part> = None;
    // Nothing goes on from one run of the test to the next.
    for (run, of_run) in by_run_of_test(all, test) {
        let mut came: BTreeMap<usize, Came> = BTreeMap::new();
        for told in &of_run {
            came.entry(test.map_or(0, |test| test.execution(run, told))).or_default().take(told);
        }
        let key = test.map_or((None, run), |test| test.key(run));
        judged.came.extend(came.into_iter().map(|(execution, came)| ((key, execution), came)));
        if !of_run.iter().any(Told::tells_of_runs) {
            continue;
        }
        let test_ends = test.map_or(&[][..], |test| test.ends_of(run));
        let ways = of_run.iter().fold(0, |ways, told| ways | told.ends);
        let swept = (0..WAYS).filter(|way| ways >> way & 1 != 0 || ways == 0 && *way == 0);
        let swept = swept.map(|way| Sweep::of(&of_run, way, law, test_ends));
        let (ended, open): (Vec<_>, Vec<_>) = swept.partition(Sweep::has_ended);
        // Each way in which ends are told is looked at for itself. One has to have all of them; what it then says counts.
        let ends = |sweep: &Sweep| if ended.is_empty() { sweep.ends } else { 0 };
        let swept = ended.iter().chain(open.iter().filter(|_| ended.is_empty()));
        let swept = swept.map(|sweep| (sweep.part(&of_run), sweep));
        let best = swept.max_by_key(|(part, sweep)| (part.outcome.weight(), ends(sweep), Reverse(sweep.way)));
        let Some((of_run, sweep)) = best else { continue };
        judged.open += sweep.open();
        judged.runs.extend(sweep.runs.iter().map(|run| (origin, run.clone())));
        part = Some(match part.take() {
            Some(known) => of_run.or_worse(known),
            None => of_run,
        });
    }
    let begun =
        |way: usize| judged.came.iter().map(|(_, came)| came.begun.get(way).copied().unwrap_or(0)).sum();
    let times: u64 = u64::max(begun(0), begun(1));
    judged.part = part.unwrap_or(Part { outcome: silent, ..Part::default() });
    judged.part.started_ns = started_ns;
    judged.part.runs = u32::try_from(times).unwrap_or(u32::MAX);
    // Who tells of an end has begun that himself; if not, it is that of the last that began.
    let mut last_began_ns: HashMap<(Option<u32>, bool), u64> = HashMap::new();
    for told in all {
        let Fact { time_ns, teller, by_other, .. } = *told.fact;
        if told.fact.begins.is_some() {
            last_began_ns.extend([((Some(teller), by_other), time_ns), ((None, by_other), time_ns)]);
        }
        if let Some(outcome) = told.outcome.filter(|_| !told.is_undone) {
            let own = last_began_ns.get(&(Some(teller), by_other));
            let began_ns =
                own.or_else(|| last_began_ns.get(&(None, by_other))).copied().unwrap_or(started_ns);
            judged.part = judged.part.or_worse(ended(told.fact, outcome, began_ns));
        }
    }
    judged
}

/// Divides what is told of a part among the runs of its test.
fn by_run_of_test<'a>(all: &[Told<'a>], test: Option<&TestRuns>) -> BTreeMap<usize, Vec<Told<'a>>> {
    let mut by_run: BTreeMap<usize, Vec<Told<'_>>> = BTreeMap::new();
    // What each emitter has begun and not ended, by run.
    let mut open: HashMap<(usize, EmitterKey), i64> = HashMap::new();
    for told in all {
        let emitter = told.teller.emitter();
        let is_open = |run: usize| open.get(&(run, emitter)).is_some_and(|open| *open > 0);
        let run = test.map_or(0, |test| {
            test.at(told, |run| told.fact.begins.is_none() && is_open(run) && !is_open(run + 1))
        });
        let ends = told.ends != 0 && !told.leaves_out();
        let change = i64::from(told.fact.begins.is_some()) - i64::from(ends);
        let open = open.entry((run, emitter)).or_default();
        *open = (*open + change).max(0);
        by_run.entry(run).or_default().push(*told);
    }
    by_run
}
