//! How far the beginnings of a part have come to their ends, by the ends that are told in one way.

use super::fact::{Fact, Told};
use super::part::Part;
use super::retries::Retries;
use super::test_runs::TestRuns;
use super::verdict::Outcome;
use crate::event::Context;
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

/// Emitters and contexts with runs that are open, among which one is looked for that an end may belong to.
const LOOKED_AT_MAX: usize = 256;

/// What a part is judged by, beside its own facts.
#[derive(Clone, Copy, Debug)]
pub(super) struct Law<'a> {
    /// When a failure can be undone.
    pub(super) retries: Retries<'a>,
    /// The test within which it has to end.
    pub(super) test: Option<&'a TestRuns>,
    /// Whether several may have its name, each with an emitter or in a context of its own.
    pub(super) by_teller: bool,
}

/// What a part that stands for itself is judged by: a test, or an experiment.
pub(super) const ALONE: Law<'static> = Law { retries: Retries::Never, test: None, by_teller: false };

/// A run of a part, or several that overlap.
#[derive(Clone, Debug, Default)]
pub(super) struct Runs {
    pub(super) began_ns: u64,
    /// How often it was told to begin and when that was first, by way.
    begun: [u64; 2],
    begun_ns: [Option<u64>; 2],
    /// When runs ended.
    pub(super) ends_ns: Vec<u64>,
    /// How often it was told to have passed, and how often that has to be.
    passes: u64,
    needs: u64,
    /// The most assertions that a run has, and the fewest that one has looked at.
    has: u64,
    validated: Option<u64>,
}

impl Runs {
    fn begin(&mut self, way: u8, time_ns: u64, has: Option<u64>) {
        let at = usize::from(way);
        if let (Some(begun), Some(begun_ns)) = (self.begun.get_mut(at), self.begun_ns.get_mut(at)) {
            *begun += 1;
            begun_ns.get_or_insert(time_ns);
        }
        self.needs = self.needs.saturating_add(has.unwrap_or(1).max(1));
        self.has = self.has.max(has.unwrap_or(0));
    }

    /// When a run began, by the way in which its end is told where that tells of beginnings too.
    fn begun_in(&self, way: u8) -> u64 {
        self.begun_ns.get(usize::from(way)).copied().flatten().unwrap_or(self.began_ns)
    }

    /// How many began: one may be told in each way.
    pub(super) fn len(&self) -> u64 {
        self.begun.into_iter().max().unwrap_or(0)
    }

    fn open(&self) -> u64 {
        self.len().saturating_sub(self.ends_ns.len() as u64)
    }

    /// Says how many assertions were looked at, if these are not all.
    fn lacks(&self) -> Option<String> {
        let Runs { has, needs, passes, .. } = self;
        match self.validated {
            Some(validated) => {
                (validated < *has).then(|| format!("{validated} of {has} assertions were looked at"))
            }
            None => (*has > 1 && passes < needs)
                .then(|| format!("{passes} of {needs} assertions are told to have passed")),
        }
    }
}

/// What is told of a part that ended so.
pub(super) fn ended(fact: &Fact, outcome: Outcome, began_ns: u64) -> Part {
    let taken_ns = fact.time_ns.saturating_sub(began_ns);
    Part {
        outcome,
        ended_ns: Some(fact.time_ns),
        duration_ns: fact.duration_ns.or(Some(taken_ns)),
        message: fact.message().map(Into::into),
        ..Part::default()
    }
}

/// How far the beginnings of a part have come to their ends, by the ends that are told in one way.
#[derive(Debug, Default)]
pub(super) struct Sweep {
    pub(super) way: u8,
    pub(super) runs: Vec<Runs>,
    pub(super) ends: u64,
    /// The last fact that told of a pass: where it stands, and when that run began.
    passed: Option<(usize, u64)>,
    /// It passed without having begun, by its own word.
    never_began: bool,
    /// A beginning came last.
    begins_last: bool,
    outlasts: Option<Outlasts>,
    /// Runs of which no end is told by who began them, or where they began.
    unmatched: u64,
}

/// A part was going on when its test ended.
#[derive(Clone, Copy, Debug)]
struct Outlasts {
    test_ended_ns: u64,
    /// It had not come to its end, rather than not looked at all assertions.
    is_open: bool,
    until_ns: Option<u64>,
}

impl Sweep {
    pub(super) fn of(all: &[Told<'_>], way: u8, law: Law<'_>) -> Sweep {
        let test = law.test;
        let mut sweep = Sweep { way, ..Sweep::default() };
        let run = all.first().map(|told| told.fact.time_ns);
        let test_ends = test.zip(run).map_or(&[][..], |(test, time_ns)| test.ends_of(test.at(time_ns)));
        let mut test_ends = test_ends.iter().copied().peekable();
        for (at, told) in all.iter().enumerate() {
            while let Some(test_ended_ns) = test_ends.next_if(|end_ns| *end_ns < told.fact.time_ns) {
                sweep.test_ends(test_ended_ns);
            }
            if let Some(begins) = told.fact.begins {
                sweep.begins(begins, told.fact);
            }
            match told.outcome {
                _ if told.ends >> way & 1 == 0 => {}
                // It was left out, and not what is going on elsewhere.
                _ if told.leaves_out() && sweep.began_itself() => {
                    sweep.ends += 1;
                }
                _ => sweep.ends(at, told, test),
            }
            let validated = told.fact.more.as_ref().and_then(|more| more.validated);
            if let (Some(runs), Some(validated)) = (sweep.runs.last_mut(), validated) {
                runs.validated = Some(runs.validated.map_or(validated, |known| known.min(validated)));
            }
        }
        test_ends.for_each(|test_ended_ns| sweep.test_ends(test_ended_ns));
        if law.by_teller {
            sweep.unmatched = unmatched(all, way, false) + unmatched(all, way, true);
        }
        sweep
    }

    fn test_ends(&mut self, test_ended_ns: u64) {
        let Some(runs) = self.runs.last() else { return };
        let is_open = runs.open() > 0;
        if is_open || runs.validated.is_none() && runs.lacks().is_some() {
            self.outlasts.get_or_insert(Outlasts { test_ended_ns, is_open, until_ns: None });
        }
    }

    fn begins(&mut self, way: u8, fact: &Fact) {
        if self.runs.last().is_none_or(|runs| runs.open() == 0) {
            self.runs.push(Runs { began_ns: fact.time_ns, ..Runs::default() });
        }
        let has = fact.more.as_ref().and_then(|more| more.has);
        if let Some(runs) = self.runs.last_mut() {
            runs.begin(way, fact.time_ns, has);
        }
        self.begins_last = true;
    }

    /// Whether what is going on tells of itself that it began.
    fn began_itself(&self) -> bool {
        self.runs.last().is_none_or(|runs| runs.begun.first().is_some_and(|begun| *begun > 0))
    }

    fn ends(&mut self, at: usize, told: &Told<'_>, test: Option<&TestRuns>) {
        let Fact { time_ns, by_other, .. } = *told.fact;
        let is_pass = told.outcome.is_none();
        let Some(runs) = self.runs.last_mut() else {
            if is_pass && !by_other {
                self.never_began = true;
                return;
            }
            self.ends += 1;
            if is_pass {
                self.passed = Some((at, time_ns));
                let after = test.and_then(|test| test.ended_before(time_ns));
                let outlasts =
                    |test_ended_ns| Outlasts { test_ended_ns, is_open: true, until_ns: Some(time_ns) };
                self.outlasts = self.outlasts.or(after.map(outlasts));
            }
            return;
        };
        if runs.open() > 0 {
            runs.ends_ns.push(time_ns);
        }
        if is_pass {
            runs.passes += 1;
            self.passed = Some((at, runs.begun_in(self.way)));
        }
        if let Some(outlasts) = self.outlasts.as_mut().filter(|_| runs.open() == 0) {
            outlasts.until_ns.get_or_insert(time_ns);
        }
        self.ends += 1;
        self.begins_last = false;
    }

    /// How many runs have not come to an end.
    pub(super) fn open(&self) -> u64 {
        self.runs.iter().map(Runs::open).sum()
    }

    /// Whether each beginning has its end.
    pub(super) fn has_ended(&self) -> bool {
        self.ends > 0 && self.open() == 0 && self.unmatched == 0
    }

    /// Returns what follows: passed, running, incomplete or unknown.
    pub(super) fn part(&self, all: &[Told<'_>]) -> Part {
        let open = self.open();
        let passed = self.passed.and_then(|(at, began_ns)| Some((all.get(at)?.fact, began_ns)));
        let end = |outcome| match passed {
            Some((fact, began_ns)) => Part { outcome, message: None, ..ended(fact, outcome, began_ns) },
            None => Part { outcome, ..Part::default() },
        };
        let says = |outcome, message: String| Part { message: Some(message.into()), ..end(outcome) };
        if open > 0 && self.begins_last || self.ends == 0 && !self.never_began {
            return Part::default();
        }
        if open > 0 || self.unmatched > 0 {
            let (begun, ended) = self.runs.last().map_or((0, 0), |runs| (runs.len(), runs.ends_ns.len()));
            let message = if open > 0 {
                format!("began {begun} times, and ended {ended} times")
            } else {
                format!("{} runs were not told to end by who began them, or where they began", self.unmatched)
            };
            return says(Outcome::Incomplete, message);
        }
        if self.ends == 0 {
            return says(Outcome::Incomplete, "passed without having begun".to_owned());
        }
        let outlasts = self.outlasts.filter(|outlasts| outlasts.is_open || outlasts.until_ns.is_some());
        if let Some(Outlasts { test_ended_ns, until_ns, .. }) = outlasts {
            let until = until_ns.map(|until_ns| Duration::from_nanos(until_ns.saturating_sub(test_ended_ns)));
            let later = until.map_or(String::new(), |by| format!(", and ended {by:?} later"));
            return says(Outcome::Incomplete, format!("was still running when its test ended{later}"));
        }
        match self.runs.iter().find_map(Runs::lacks) {
            Some(lacks) => says(Outcome::Unknown, lacks),
            None => end(Outcome::Passed),
        }
    }
}

/// Counts the runs to which no end belongs, among those that are told by the part itself, or by others. An end belongs to what its
/// emitter began in the same context, or in one that agrees; only who began nothing ends what others did. So what is told twice of
/// one run hides no other that has not ended.
fn unmatched(all: &[Told<'_>], way: u8, by_other: bool) -> u64 {
    let of_side = || all.iter().filter(|told| told.fact.by_other == by_other);
    let is_end = |told: &Told<'_>| told.ends >> way & 1 != 0;
    let first = all.first().map(|told| told.teller);
    if of_side().all(|told| Some(told.teller) == first) || !of_side().any(is_end) {
        return 0;
    }
    let begin: HashSet<_> =
        of_side().filter(|told| told.fact.begins.is_some()).map(|told| told.teller.emitter()).collect();
    // By emitter and where it was.
    let mut open = BTreeMap::new();
    for told in of_side() {
        let (teller, emitter) = (told.teller, told.teller.emitter());
        let key = (emitter, told.fact.teller);
        if told.fact.begins.is_some() {
            open.entry(key).or_insert((teller.place, 0_u64)).1 += 1;
        } else if is_end(told) && !told.leaves_out() {
            let agrees = |(_, (place, _)): &(_, &(Context, u64))| teller.place.agrees_with(place);
            let ends = if open.contains_key(&key) {
                Some(key)
            } else if begin.contains(&emitter) {
                let mut own = open.range((emitter, 0)..=(emitter, u32::MAX)).take(LOOKED_AT_MAX);
                own.find(agrees).map(|(key, _)| *key)
            } else {
                open.iter().take(LOOKED_AT_MAX).find(agrees).map(|(key, _)| *key)
            };
            if let Some(Entry::Occupied(mut known)) = ends.map(|key| open.entry(key)) {
                known.get_mut().1 -= 1;
                if known.get().1 == 0 {
                    known.remove();
                }
            }
        }
    }
    open.values().map(|(_, open)| open).sum()
}
