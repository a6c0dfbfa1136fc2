//! Plans: the tables of the schema, laid out for one look-up an event.

use crate::domain::machine::is_zero;
use crate::domain::{DomainDef, Schema, StateTable, StepOutcome, TransitionPath};
use crate::event::kind::{CODES_PER_DOMAIN, DOMAIN_COUNT};
use crate::event::{Domain, KindSet, Level, Record, Shared};

/// All domains that have states.
pub(super) struct Plans {
    plans: Vec<Plan>,
    /// By domain: the place in `plans`.
    places: [u8; DOMAIN_COUNT],
}

/// One domain's table.
pub(super) struct Plan {
    pub(super) domain: Domain,
    pub(super) name: Shared<str>,
    pub(super) table: Shared<StateTable>,
    /// By state and code: the next state, or one of the two marks below.
    steps: Vec<u8>,
    /// The codes of kinds whose paths fork.
    forks: u64,
    /// By state: the states that can be come into from there; itself only where there is a way back.
    reach: Vec<u32>,
    /// What the domain's entities are within, where they are one in each context.
    pub(super) level: Option<Level>,
}

const NONE: u8 = u8::MAX;
const UNCHANGED: u8 = u8::MAX;
/// The name of what has none.
pub(super) const UNKNOWN: Shared<str> = Shared::Static("?");
/// The table is to be asked: it depends on the payload, or is invalid.
const ASK: u8 = u8::MAX - 1;

impl Plans {
    pub(super) fn new(schema: &Schema) -> Plans {
        let mut plans = Plans { plans: Vec::new(), places: [NONE; DOMAIN_COUNT] };
        for (number, place) in (0..).zip(&mut plans.places) {
            let Some(def) = Domain::new(number).and_then(|domain| schema.domain(domain)) else { continue };
            if let Some(table) = &def.states {
                *place = plans.plans.len() as u8;
                plans.plans.push(Plan::new(def, table));
            }
        }
        plans
    }

    /// Returns the place of a domain among the plans, and its plan.
    #[inline]
    pub(super) fn of(&self, domain: Domain) -> Option<(usize, &Plan)> {
        let place = usize::from(*self.places.get(usize::from(domain.number()))?);
        Some((place, self.plans.get(place)?))
    }

    pub(super) fn iter(&self) -> impl ExactSizeIterator<Item = &Plan> {
        self.plans.iter()
    }

    /// All kinds of the domains that have states.
    pub(super) fn kinds(&self) -> KindSet {
        self.plans.iter().fold(KindSet::EMPTY, |set, plan| set.union(&KindSet::domain(plan.domain)))
    }
}

impl Plan {
    fn new(def: &DomainDef, table: &Shared<StateTable>) -> Plan {
        let mut steps = Vec::with_capacity(table.states.len() * CODES_PER_DOMAIN);
        for state in 0..table.states.len() as u8 {
            for code in 0..CODES_PER_DOMAIN as u8 {
                steps.push(match table.paths.get(usize::from(code)) {
                    Some(TransitionPath::By { .. }) => ASK,
                    _ => match table.step(state, code, &[0; Record::PAYLOAD_LEN]) {
                        StepOutcome::Moved(to) => to,
                        StepOutcome::Unchanged => UNCHANGED,
                        StepOutcome::Invalid { .. } => ASK,
                    },
                });
            }
        }
        let forks = |path: &&TransitionPath| matches!(path, TransitionPath::By { .. });
        let codes = (0..).zip(&table.paths).filter(|(_, path)| forks(path));
        let reach = reach(table);
        let forks = codes.fold(0, |set, (code, _): (u32, _)| set | 1_u64.wrapping_shl(code));
        let (domain, name, table) = (def.domain, def.name.clone(), table.clone());
        Plan { domain, name, table, steps, forks, reach, level: Level::enclosed(domain) }
    }

    /// As [`StateTable::step`].
    #[inline]
    pub(super) fn step(&self, state: u8, record: &Record) -> StepOutcome {
        let code = record.kind().code();
        match self.steps.get(usize::from(state) * CODES_PER_DOMAIN + usize::from(code)) {
            Some(&UNCHANGED) => StepOutcome::Unchanged,
            Some(&to) if to != ASK => StepOutcome::Moved(to),
            _ => self.table.step(state, code, record.payload_bytes()),
        }
    }

    /// Tells whether a record's path forks and it takes the second way.
    #[inline]
    pub(super) fn takes_other_way(&self, record: &Record) -> bool {
        let code = record.kind().code();
        if self.forks.wrapping_shr(u32::from(code)) & 1 == 0 {
            return false;
        }
        match self.table.paths.get(usize::from(code)) {
            Some(TransitionPath::By { field, .. }) => {
                field.read(record.payload_bytes()).is_some_and(|value| !is_zero(value))
            }
            _ => false,
        }
    }

    /// Returns the first of `wanted` states that a valid step from `from` comes into, with an event of kind `code` that
    /// takes the `other` way, if there are two. A state that it is in already is not come into.
    pub(super) fn first_entered(&self, from: u8, code: u8, other: bool, wanted: u32) -> Option<u8> {
        let way: &[u8] = match self.table.paths.get(usize::from(code)) {
            None | Some(TransitionPath::Stay) => &[],
            Some(TransitionPath::To(way)) => way,
            Some(TransitionPath::By { zero, other: second, .. }) => {
                if other {
                    second
                } else {
                    zero
                }
            }
            Some(TransitionPath::From { state, way, other }) => {
                if *state == from {
                    way
                } else {
                    other
                }
            }
        };
        let mut at = from;
        way.iter()
            .copied()
            .find(|state| std::mem::replace(&mut at, *state) != *state && wanted & bit(*state) != 0)
    }

    /// Tells whether one of `wanted` can be come into from `state`.
    pub(super) fn can_reach(&self, state: u8, wanted: u32) -> bool {
        self.reach.get(usize::from(state)).is_some_and(|reach| reach & wanted != 0)
    }

    pub(super) fn state_name(&self, state: u8) -> Shared<str> {
        self.table.name(state).cloned().unwrap_or(UNKNOWN)
    }
}

const _: () = assert!(CODES_PER_DOMAIN <= 64);

/// The set of `state` alone. A table has at most 32 states.
pub(super) const fn bit(state: u8) -> u32 {
    1_u32.wrapping_shl(state as u32)
}

/// By state: the states that one or more transitions lead into. An event that leads to the current state is none, so a
/// way from a state to itself does not count.
fn reach(table: &StateTable) -> Vec<u32> {
    let next = |state: u8, set: &u32| set & !bit(state);
    let mut reach: Vec<u32> = (0..).zip(&table.next).map(|(state, set)| next(state, set)).collect();
    // Each round adds at least one state to one set, or is the last.
    loop {
        let mut grown = false;
        for at in 0..reach.len() {
            let Some(set) = reach.get(at).copied() else { continue };
            let members = (0..).zip(&reach).filter(|(state, _)| set & bit(*state) != 0);
            let wider = members.fold(set, |wider, (_, reached)| wider | reached);
            if let Some(slot) = reach.get_mut(at) {
                grown |= *slot != wider;
                *slot = wider;
            }
        }
        if !grown {
            return reach;
        }
    }
}
