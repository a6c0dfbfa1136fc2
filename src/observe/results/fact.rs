//! What is kept of an event: a fact, with its time and who told it. Facts are put in order and judged at the report, so that it
//! does not matter in which order they came.

use super::verdict::Outcome;
use crate::event::{Context, Symbol};
use std::collections::{HashMap, HashSet};

/// Ways in which an end can be told, as a set of bits.
pub(super) type Ways = u8;

/// All ways.
pub(super) const ALL_WAYS: Ways = 0b111;

/// One event of a part.
#[derive(Clone, Debug, Default)]
pub(super) struct Fact {
    pub(super) time_ns: u64,
    pub(super) duration_ns: Option<u64>,
    /// What only few facts have.
    pub(super) more: Option<Box<More>>,
    /// Its number among the events of its emitter, which are in that order.
    pub(super) seq: u32,
    /// Who told it: see [`Tellers`].
    pub(super) teller: u32,
    /// That a run begins, and in which of the ways it is told.
    pub(super) begins: Option<u8>,
    /// That a run ends, told in these ways. Whether a test or an experiment ends so, its table says.
    pub(super) ends: Ways,
    /// What it says that is no pass.
    pub(super) outcome: Option<Outcome>,
    /// Of a step, of which its own events and those of its test tell.
    pub(super) is_of_step: bool,
    /// Told by another than the part: by a step's test, or by a service. That needs no beginning.
    pub(super) by_other: bool,
    /// Whether its context or document names the test.
    pub(super) names_test: bool,
    /// That a test prepares to run its steps, begins that, or has come to the end of it.
    pub(super) executing: Option<Stage>,
    /// The code of its kind.
    pub(super) code: u8,
}

/// Where a test is in what it does in between: it prepares to run its steps, it runs them, or checks its assertions.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Stage {
    Prepares,
    Begins,
    Ends,
}

/// What only few facts have.
#[derive(Clone, PartialEq, Debug, Default)]
pub(super) struct More {
    /// Why it is so.
    pub(super) message: Option<Box<str>>,
    /// How many assertions a run begins to look at, and has looked at.
    pub(super) has: Option<u64>,
    pub(super) validated: Option<u64>,
    /// How many steps a test begins to run, their names, and how many it has completed. Of a step, another name that it tells.
    pub(super) steps: Option<u64>,
    pub(super) step_names: Vec<Symbol>,
    pub(super) steps_completed: Option<u64>,
    /// How many tests an experiment has, and names, with the beginnings of these.
    pub(super) tests: Option<u64>,
    pub(super) test_names: Vec<(Symbol, Box<str>)>,
    /// The event's payload, where the table of its domain forks by it.
    pub(super) payload: Option<[u8; 24]>,
}

impl Fact {
    /// Whether it only says that the part is there.
    pub(super) fn is_silent(&self) -> bool {
        self.begins.is_none()
            && self.ends == 0
            && self.outcome.is_none()
            && self.executing.is_none()
            && self.more.is_none()
    }

    pub(super) fn message(&self) -> Option<&str> {
        self.more.as_ref()?.message.as_deref()
    }
}

/// By which numbers sources are known, and whether they are PANTHER's.
pub(super) type Origin = (u64, bool);

/// An emitter, by its origin and its source.
pub(super) type EmitterKey = (Origin, u16);

/// An emitter, and where it was when it told something.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) struct Teller {
    /// By which origin's numbers its source is known.
    pub(super) numbering: u64,
    pub(super) source: u16,
    /// Of PANTHER's, whose lines come from several threads: their order at one time is nobody's.
    pub(super) is_panthers: bool,
    /// The step, the service and the environment around it, within a test.
    pub(super) place: Context,
}

impl Teller {
    /// Which process tells: what one began, another does not end.
    pub(super) fn origin(&self) -> Origin {
        (self.numbering, self.is_panthers)
    }

    /// Who tells, wherever it is.
    pub(super) fn emitter(&self) -> EmitterKey {
        (self.origin(), self.source)
    }
}

/// All that told something, by number.
#[derive(Clone, Debug, Default)]
pub(super) struct Tellers {
    known: Vec<Teller>,
    numbers: HashMap<Teller, u32>,
}

impl Tellers {
    pub(super) fn number(&mut self, teller: Teller) -> u32 {
        *self.numbers.entry(teller).or_insert_with(|| {
            self.known.push(teller);
            // There are no more than facts that are kept.
            u32::try_from(self.known.len() - 1).unwrap_or(u32::MAX)
        })
    }

    pub(super) fn of(&self, fact: &Fact) -> Teller {
        const NOBODY: Teller =
            Teller { numbering: u64::MAX, source: u16::MAX, is_panthers: false, place: Context::NONE };
        self.known.get(fact.teller as usize).copied().unwrap_or(NOBODY)
    }

    /// Takes in the other's, and returns their numbers here, by their numbers there.
    pub(super) fn merge(&mut self, other: &Tellers) -> Vec<u32> {
        other.known.iter().map(|teller| self.number(*teller)).collect()
    }
}

/// Adds facts whose tellers are known by other numbers.
pub(super) fn extend(facts: &mut Vec<Fact>, others: Vec<Fact>, numbers: &[u32]) {
    let renumbered = others.into_iter().map(|mut fact| {
        fact.teller = numbers.get(fact.teller as usize).copied().unwrap_or(u32::MAX);
        fact
    });
    facts.extend(renumbered);
}

/// A fact in its place among the others of its part.
#[derive(Clone, Copy, Debug)]
pub(super) struct Told<'a> {
    pub(super) fact: &'a Fact,
    pub(super) teller: Teller,
    /// As the fact has it, or as the table says.
    pub(super) ends: Ways,
    pub(super) outcome: Option<Outcome>,
    /// The table does not allow it.
    pub(super) is_invalid: bool,
    /// A failure that a retry has undone.
    pub(super) is_undone: bool,
    /// The end of what its own emitter began.
    pub(super) ends_own: bool,
}

impl<'a> Told<'a> {
    pub(super) fn of(fact: &'a Fact, teller: Teller) -> Told<'a> {
        let Fact { ends, outcome, .. } = *fact;
        Told { fact, teller, ends, outcome, is_invalid: false, is_undone: false, ends_own: false }
    }

    /// Whether it tells that something began or ended.
    pub(super) fn tells_of_runs(&self) -> bool {
        self.fact.begins.is_some() || self.ends != 0
    }

    /// Whether it tells that the part was left out, rather than the end of what began.
    pub(super) fn leaves_out(&self) -> bool {
        match self.outcome {
            Some(Outcome::Skipped) => true,
            Some(Outcome::Unsupported) => !self.ends_own,
            _ => false,
        }
    }
}

/// Puts facts in the order of their times. Those of one emitter at one time are in the order in which it told them; of those of
/// several at one time nobody knows it: who tells that something began comes first.
pub(super) fn in_time<'a>(facts: impl Iterator<Item = &'a Fact>, tellers: &Tellers) -> Vec<Told<'a>> {
    let told = |fact: &'a Fact| Told::of(fact, tellers.of(fact));
    let mut all: Vec<Told<'a>> = facts.map(told).collect();
    all.sort_by_key(|told| told.fact.time_ns);
    for tie in all.chunk_by_mut(|one, other| one.fact.time_ns == other.fact.time_ns) {
        if tie.len() == 1 {
            continue;
        }
        let begin: HashSet<_> =
            tie.iter().filter(|told| told.fact.begins.is_some()).map(|told| told.teller.emitter()).collect();
        tie.sort_by_key(|told| {
            let emitter = told.teller.emitter();
            (!begin.contains(&emitter), emitter, told.fact.seq)
        });
    }
    all
}
