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

use super::fact::{Fact, Tellers, Told, Ways, in_time};
use super::part::Part;
use super::retries::mark;
use super::sweep::{Law, Runs, Sweep, ended};
use super::verdict::Outcome;
use std::cmp::Reverse;

/// Ways in which an end can be told.
const WAYS: u8 = 3;

/// What became of a part.
#[derive(Clone, Debug, Default)]
pub(super) struct Judged {
    pub(super) part: Part,
    /// Runs that have not come to their end.
    pub(super) open: u64,
    /// Its runs, in the order of time.
    pub(super) runs: Vec<Runs>,
    /// Beginnings and ends that count for runs: when, and in which ways. Failures that were undone are none.
    pub(super) begun: Vec<(u64, u8)>,
    pub(super) ended: Vec<(u64, Ways)>,
}

/// Judges a part.
pub(super) fn judge<'a>(facts: impl Iterator<Item = &'a Fact>, tellers: &Tellers, law: Law<'_>) -> Judged {
    judge_in_order(&in_time(facts, tellers), law)
}

/// As [`judge`], of facts that are in the order of time.
pub(super) fn judge_in_order(all: &[Told<'_>], law: Law<'_>) -> Judged {
    let mut all = all.to_vec();
    // What is of one origin stays in the order of time.
    all.sort_by_key(|told| told.teller.origin());
    let of_origins = || all.chunk_by(|one, other| one.teller.origin() == other.teller.origin());
    // One that tells neither of a beginning nor of an end tells of nothing that is going on, if others do.
    let is_silent = |of_origin: &[Told<'_>]| !of_origin.iter().any(Told::tells_of_runs);
    let all_are_silent = is_silent(&all);
    let tell = of_origins().filter(|of_origin| all_are_silent || !is_silent(of_origin));
    let add = of_origins().filter(|of_origin| !all_are_silent && is_silent(of_origin));
    let judged = tell.map(|of_origin| judge_of_origin(of_origin, law, Part::default()));
    let passed = Part { outcome: Outcome::Passed, ..Part::default() };
    let added = add.map(|of_origin| judge_of_origin(of_origin, law, passed.clone()));
    let judged = judged.chain(added).reduce(|mut all, one| {
        let runs = all.part.runs.saturating_add(one.part.runs);
        all.part = Part { runs, ..all.part.and(one.part) };
        all.open += one.open;
        all.runs.extend(one.runs);
        all.begun.extend(one.begun);
        all.ended.extend(one.ended);
        all
    });
    let mut judged = judged.unwrap_or_default();
    judged.part.runs = judged.part.runs.max(1);
    judged.runs.sort_by_key(|runs| runs.began_ns);
    judged
}

/// `silent` is what becomes of it where it tells neither of a beginning nor of an end.
fn judge_of_origin(all: &[Told<'_>], law: Law<'_>, silent: Part) -> Judged {
    let mut all = all.to_vec();
    mark(&mut all, law.retries);
    let started_ns = all.first().map_or(0, |told| told.fact.time_ns);
    let begun: Vec<_> = all.iter().filter_map(|told| Some((told.fact.time_ns, told.fact.begins?))).collect();
    let told_in = |way: u8| begun.iter().filter(|(_, begins)| *begins == way).count();
    let times_begun = told_in(0).max(told_in(1));
    let ends = all.iter().filter(|told| told.ends != 0 && !told.is_undone);
    let mut judged = Judged {
        ended: ends.map(|told| (told.fact.time_ns, told.ends)).collect(),
        begun,
        ..Judged::default()
    };
    let mut part = None;
    // Nothing goes on from one run of the test to the next.
    let run_at = |told: &Told<'_>| law.test.map_or(0, |test| test.at(told.fact.time_ns));
    for of_run in all.chunk_by(|one, other| run_at(one) == run_at(other)) {
        if !of_run.iter().any(Told::tells_of_runs) {
            continue;
        }
        let ways = of_run.iter().fold(0, |ways, told| ways | told.ends);
        let swept = (0..WAYS).filter(|way| ways >> way & 1 != 0 || ways == 0 && *way == 0);
        let swept = swept.map(|way| Sweep::of(of_run, way, law));
        let (ended, open): (Vec<_>, Vec<_>) = swept.partition(Sweep::has_ended);
        // Each way in which ends are told is looked at for itself. One has to have all of them; what it then says counts.
        let swept = if ended.is_empty() { open } else { ended };
        let swept = swept.into_iter().map(|sweep| (sweep.part(of_run), sweep));
        let best = swept.max_by_key(|(part, sweep)| (part.outcome.weight(), sweep.ends, Reverse(sweep.way)));
        let Some((of_run, sweep)) = best else { continue };
        judged.open += sweep.open();
        judged.runs.extend(sweep.runs);
        part = Some(match part.take() {
            Some(known) => of_run.or_worse(known),
            None => of_run,
        });
    }
    judged.part = part.unwrap_or(silent);
    judged.part.started_ns = started_ns;
    judged.part.runs = u32::try_from(times_begun).unwrap_or(u32::MAX);
    let mut last_began_ns = [started_ns; 2];
    for told in &all {
        let Some(began_ns) = last_began_ns.get_mut(usize::from(told.fact.by_other)) else { continue };
        if told.fact.begins.is_some() {
            *began_ns = told.fact.time_ns;
        }
        if let Some(outcome) = told.outcome.filter(|_| !told.is_undone) {
            judged.part = judged.part.or_worse(ended(told.fact, outcome, *began_ns));
        }
    }
    judged
}
