//! Which ends belong to which beginnings of a part, by the ends that are told in one way.
//!
//! Of a step its own events and those of its test tell, each in its way: what both tell of one beginning is one. An end belongs to the
//! oldest run that its own emitter began in the same context, or in one that agrees with it. Who has begun something and has no run
//! that is open tells again what has ended; who has begun nothing tells the end of what another began. So what is told twice of
//! one run hides no other.

use super::evidence::{NO_COUNT, shown};
use super::fact::{EmitterKey, Fact, Told};
use super::part::Part;
use super::retries::Retries;
use super::test_runs::TestRuns;
use super::verdict::Outcome;
use crate::event::{Context, Level};
use std::collections::HashMap;
use std::time::Duration;

/// Runs of one part that may be open at one time; more are never told to have ended.
const OPEN_MAX: usize = 1024;

/// What a part is judged by, beside its own facts.
#[derive(Clone, Copy, Debug)]
pub(super) struct Law<'a> {
    /// When a failure can be undone.
    pub(super) retries: Retries<'a>,
    /// The test within which it has to end.
    pub(super) test: Option<&'a TestRuns>,
}

/// What a part that stands for itself is judged by: a test, or an experiment.
pub(super) const ALONE: Law<'static> = Law { retries: Retries::Never, test: None };

/// An emitter and its context: who began a run.
#[derive(Clone, Copy, PartialEq, Debug)]
struct Beginner {
    emitter: EmitterKey,
    place: Context,
}

/// A run of a part.
#[derive(Clone, Debug)]
pub(super) struct Run {
    /// By way: who told that it began, and when.
    begun: [Option<(Beginner, u64)>; 2],
    pub(super) began_ns: u64,
    /// Who told that, and in which of its events.
    pub(super) began_by: (EmitterKey, u32),
    pub(super) ended_ns: Option<u64>,
    /// How many assertions it has, and how often it was told to have passed.
    has: u64,
    passes: u64,
    /// Why it is not known that all assertions were looked at.
    lacks: Option<String>,
    /// When its test ended, before it did.
    test_ended_ns: Option<u64>,
}

impl Run {
    fn begun_ns(&self, way: u8) -> Option<u64> {
        self.begun.get(usize::from(way)).copied().flatten().map(|(_, time_ns)| time_ns)
    }

    fn few_passes(&self) -> String {
        format!("{} of {} assertions are told to have passed", self.passes, shown(self.has))
    }

    fn beginner(&self, way: usize) -> Option<Beginner> {
        self.begun.get(way).copied().flatten().map(|(beginner, _)| beginner)
    }
}

/// Notes a place, up to a limit.
fn note(places: &mut Vec<Context>, place: Context) {
    if places.len() < OPEN_MAX && !places.contains(&place) {
        places.push(place);
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
    /// In the order of their beginnings.
    pub(super) runs: Vec<Run>,
    /// Where those stand that have not ended.
    open: Vec<usize>,
    /// More began at one time than are followed.
    overflowed: u64,
    /// How many ends there are.
    pub(super) ends: u64,
    /// Who has begun something, by the way that this looks at, and where.
    began: HashMap<EmitterKey, Vec<Context>>,
    /// Where something began.
    places: Vec<Context>,
    /// Where something passed of which no beginning is known, by its own word.
    never_began_at: Vec<Context>,
    /// By teller: where the last run stands that it began.
    last: HashMap<u32, usize>,
    /// The last fact that told of a pass: where it stands, and when that run began.
    passed: Option<(usize, u64)>,
    /// A beginning came last.
    begins_last: bool,
    /// What was told to have passed after its test had ended, and of which no beginning is known: both times.
    late: Option<(u64, u64)>,
}

impl Sweep {
    pub(super) fn of(all: &[Told<'_>], way: u8, law: Law<'_>, test_ends: &[u64]) -> Sweep {
        let mut sweep = Sweep { way, ..Sweep::default() };
        let mut test_ends = test_ends.iter().copied().peekable();
        for (at, told) in all.iter().enumerate() {
            while let Some(test_ended_ns) = test_ends.next_if(|end_ns| *end_ns < told.fact.time_ns) {
                sweep.test_ends(test_ended_ns);
            }
            if let Some(begins) = told.fact.begins {
                sweep.begins(usize::from(begins.min(1)), told);
            }
            if told.ends >> way & 1 != 0 {
                sweep.ends(at, told, law.test);
            } else if let Some(validated) = told.fact.more.as_ref().and_then(|more| more.validated) {
                // It is told in another way, and how many were looked at counts in each.
                if let Some(run) = sweep.ending(told).or_else(|| sweep.last_of(told)) {
                    sweep.validate(run, validated, told.fact.time_ns);
                }
            }
        }
        test_ends.for_each(|test_ended_ns| sweep.test_ends(test_ended_ns));
        sweep
    }

    fn test_ends(&mut self, test_ended_ns: u64) {
        for at in &self.open {
            if let Some(run) = self.runs.get_mut(*at) {
                run.test_ended_ns.get_or_insert(test_ended_ns);
            }
        }
    }

    fn begins(&mut self, way: usize, told: &Told<'_>) {
        let beginner = Beginner { emitter: told.teller.emitter(), place: told.teller.place };
        let (time_ns, begun) = (told.fact.time_ns, Some((beginner, told.fact.time_ns)));
        self.begins_last = true;
        note(&mut self.places, beginner.place);
        if self.is_told_in(told) {
            note(self.began.entry(beginner.emitter).or_default(), beginner.place);
        }
        // What its emitter began before that and has told a result of is over.
        let is_over = |run: &Run| run.passes > 0 && run.beginner(way) == Some(beginner);
        let over = self.open.iter().copied().find(|at| self.runs.get(*at).is_some_and(is_over));
        if let Some(at) = over {
            self.closes(at, time_ns);
        }
        // The other way may have told of it.
        let lacks = |at: usize| {
            let run = self.runs.get(at)?;
            let other = run.beginner(1 - way).filter(|_| run.beginner(way).is_none())?;
            other.place.agrees_with(&beginner.place).then_some(other == beginner)
        };
        let known = self.open.iter().copied().filter_map(|at| Some((lacks(at)?, at)));
        // Of several the one of the same teller, and of these the first.
        let known = known.min_by_key(|(is_same, at)| (!is_same, *at)).map(|(_, at)| at);
        if let Some((at, run)) = known.and_then(|at| Some((at, self.runs.get_mut(at)?))) {
            if let Some(own) = run.begun.get_mut(way) {
                *own = begun;
            }
            self.last.insert(told.fact.teller, at);
            return;
        }
        if self.open.len() == OPEN_MAX {
            self.overflowed += 1;
            return;
        }
        let mut run = Run {
            begun: [None; 2],
            began_ns: time_ns,
            began_by: (beginner.emitter, told.fact.seq),
            ended_ns: None,
            has: told.fact.more.as_ref().and_then(|more| more.has).unwrap_or(0),
            passes: 0,
            lacks: None,
            test_ended_ns: None,
        };
        if let Some(own) = run.begun.get_mut(way) {
            *own = begun;
        }
        self.last.insert(told.fact.teller, self.runs.len());
        self.open.push(self.runs.len());
        self.runs.push(run);
    }

    /// Whether beginnings of this teller are of the way of ends that this looks at: of a step, what it tells of itself and what its
    /// test tells of it are two.
    fn is_told_in(&self, told: &Told<'_>) -> bool {
        !told.fact.is_of_step || told.fact.by_other == (self.way == 1)
    }

    /// Returns the open run that this is the end of.
    fn ending(&self, told: &Told<'_>) -> Option<usize> {
        let teller = Beginner { emitter: told.teller.emitter(), place: told.teller.place };
        let is_of_way = |way: usize| !told.fact.is_of_step || usize::from(told.fact.by_other) == way;
        // How near the run is to the teller; none where it cannot be its end.
        let rank = |at: usize| {
            let run = self.runs.get(at)?;
            let own = || (0..2).filter(|way| is_of_way(*way)).filter_map(|way| run.beginner(way));
            let agrees = |known: Beginner| known.place.agrees_with(&teller.place);
            if own().any(|known| known == teller) {
                return Some(0);
            }
            if own().any(|known| known.emitter == teller.emitter && agrees(known)) {
                return Some(1);
            }
            // What another began, or of which only the other way tells.
            let others = || (0..2).filter_map(|way| run.beginner(way));
            match own().next() {
                Some(known) if agrees(known) => return Some(2),
                None => return others().all(agrees).then_some(2),
                Some(_) => {}
            }
            // It goes on in the background, from one step to another.
            let goes_on = |known: Beginner| {
                known.emitter == teller.emitter && known.place.agrees_beside(&teller.place, Level::Step)
            };
            own().any(goes_on).then_some(3)
        };
        let began = self.began.get(&teller.emitter);
        let agrees = |place: &Context| place.agrees_with(&teller.place);
        let has_begun = began.is_some_and(|places| places.len() == OPEN_MAX || places.iter().any(agrees));
        let known = self.open.iter().copied().filter_map(|at| Some((rank(at)?, at)));
        known.filter(|(rank, _)| *rank < 2 || !has_begun).min().map(|(_, at)| at)
    }

    /// Returns the last run that this teller began.
    fn last_of(&self, told: &Told<'_>) -> Option<usize> {
        self.last.get(&told.fact.teller).copied()
    }

    fn ends(&mut self, at: usize, told: &Told<'_>, test: Option<&TestRuns>) {
        let Fact { time_ns, by_other, .. } = *told.fact;
        let is_pass = told.outcome.is_none();
        let validated = told.fact.more.as_ref().and_then(|more| more.validated);
        self.ends += 1;
        if told.leaves_out() {
            // What was left out never began by its own word, and hides nothing that did.
            let ending = self.ending(told).filter(|at| {
                self.runs.get(*at).is_some_and(|run| run.beginner(0).is_none() || !told.fact.is_of_step)
            });
            if let Some(at) = ending {
                // It is left out once.
                note(self.began.entry(told.teller.emitter()).or_default(), told.teller.place);
                self.closes(at, time_ns);
            }
            return;
        }
        let Some(run) = self.ending(told) else {
            if let Some((run, validated)) = self.last_of(told).zip(validated) {
                self.validate(run, validated, time_ns);
            }
            if self.runs.is_empty() && is_pass && !by_other {
                note(&mut self.never_began_at, told.teller.place);
                self.ends -= 1;
            } else if is_pass {
                let last = self.last_of(told).and_then(|at| self.runs.get_mut(at));
                match last {
                    Some(last) => last.passes += u64::from(last.ended_ns.is_some()),
                    None if by_other => {
                        let ended_ns = test.and_then(|test| test.ended_before(time_ns));
                        self.late = self.late.or(ended_ns.map(|ended_ns| (ended_ns, time_ns)));
                    }
                    None => note(&mut self.never_began_at, told.teller.place),
                }
                self.passed.get_or_insert((at, time_ns));
            }
            return;
        };
        self.begins_last = false;
        if let Some(validated) = validated {
            self.validate(run, validated, time_ns);
        }
        let Some(known) = self.runs.get_mut(run) else { return };
        if is_pass {
            known.passes += 1;
            self.passed = Some((at, known.begun_ns(self.way).unwrap_or(known.began_ns)));
        }
        if !is_pass || validated.is_some() || known.passes >= known.has {
            self.closes(run, time_ns);
        }
    }

    fn validate(&mut self, at: usize, validated: u64, time_ns: u64) {
        let Some(run) = self.runs.get_mut(at) else { return };
        if validated < run.has || [validated, run.has].contains(&NO_COUNT) {
            run.lacks = Some(format!("{} of {} assertions were looked at", shown(validated), shown(run.has)));
        } else {
            // All were looked at, however many results are told.
            run.has = run.has.min(1);
            let is_over = run.ended_ns.is_none() && run.passes >= run.has.max(1);
            if is_over {
                self.closes(at, time_ns);
            }
        }
    }

    fn closes(&mut self, run: usize, time_ns: u64) {
        self.open.retain(|open| *open != run);
        if let Some(run) = self.runs.get_mut(run) {
            run.ended_ns = Some(time_ns);
            if run.passes > 0 && run.passes < run.has && run.lacks.is_none() {
                run.lacks = Some(run.few_passes());
            }
        }
    }

    /// How many runs have not come to an end.
    pub(super) fn open(&self) -> u64 {
        self.open.len() as u64 + self.overflowed
    }

    /// Whether each beginning has its end, or some result of it.
    pub(super) fn has_ended(&self) -> bool {
        let has_result = |at: &usize| self.runs.get(*at).is_some_and(|run| run.passes > 0);
        self.ends > 0 && self.overflowed == 0 && self.open.iter().all(has_result)
    }

    /// Returns what follows: passed, running, incomplete or unknown.
    pub(super) fn part(&self, all: &[Told<'_>]) -> Part {
        let passed = self.passed.and_then(|(at, began_ns)| Some((all.get(at)?.fact, began_ns)));
        let end = |outcome| match passed {
            Some((fact, began_ns)) => Part { outcome, message: None, ..ended(fact, outcome, began_ns) },
            None => Part { outcome, ..Part::default() },
        };
        let says = |outcome, message: String| Part { message: Some(message.into()), ..end(outcome) };
        if !self.has_ended() {
            let open = self.open();
            return match (self.ends, !self.never_began_at.is_empty()) {
                _ if open > 0 && self.begins_last => Part::default(),
                (0, false) => Part::default(),
                (0, true) if open == 0 => says(Outcome::Incomplete, "passed without having begun".to_owned()),
                _ => {
                    let runs = self.runs.len() as u64 + self.overflowed;
                    says(Outcome::Incomplete, format!("began {runs} times, of which {open} did not end"))
                }
            };
        }
        let began_at = |place: &Context| self.places.iter().any(|known| known.agrees_with(place));
        if !self.places.is_empty() && !self.never_began_at.iter().all(began_at) {
            return says(Outcome::Incomplete, "passed where it had not begun".to_owned());
        }
        let late = self.runs.iter().filter_map(|run| Some((run.test_ended_ns?, run.ended_ns?)));
        if let Some((test_ended_ns, ended_ns)) = late.chain(self.late).next() {
            let by = Duration::from_nanos(ended_ns.saturating_sub(test_ended_ns));
            let message = format!("was still running when its test ended, and ended {by:?} later");
            return says(Outcome::Incomplete, message);
        }
        let lacks = |run: &Run| match &run.lacks {
            None if run.ended_ns.is_none() => Some(run.few_passes()),
            lacks => lacks.clone(),
        };
        match self.runs.iter().find_map(lacks) {
            Some(lacks) => says(Outcome::Unknown, lacks),
            None => end(Outcome::Passed),
        }
    }
}
