//! Counts of entities by state, and invalid transitions, of one worker or of all.

use crate::domain::StateTable;
use crate::event::{Context, Domain, EventKind, Shared, Symbol};

/// How many entities of a domain are in which state, and what became of its events.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DomainStates {
    /// The domain.
    pub domain: Domain,
    /// Its name.
    pub name: Shared<str>,
    /// Its table.
    pub table: Shared<StateTable>,
    /// By state: how many entities are there.
    pub by_state: Vec<u64>,
    /// Events that moved their entity.
    pub moved: u64,
    /// Events that left their entity where it was.
    pub unchanged: u64,
    /// Events whose path was not allowed: invalid transitions, which were not applied.
    pub invalid: u64,
}

/// An event whose path was not allowed from where its entity was.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct InvalidTransition {
    /// The entity's domain.
    pub domain: Domain,
    /// The entity.
    pub entity: Symbol,
    /// The experiment, test and step that it belongs to, as in [`EntityState`](super::EntityState).
    pub context: Context,
    /// The state that it was in, and stayed in.
    pub state: Shared<str>,
    /// The state on the path from which there was no way on; often the one that it was in.
    pub at: Shared<str>,
    /// The state on the path that may not follow that one.
    pub wanted: Shared<str>,
    /// The event's kind.
    pub kind: EventKind,
    /// The event's time, in nanoseconds since the Unix epoch.
    pub time_ns: u64,
}

impl DomainStates {
    /// Returns how many entities there are.
    #[must_use]
    pub fn entities(&self) -> u64 {
        self.by_state.iter().sum()
    }

    /// Returns how many entities are in the state of that name; 0 for a name that no state has.
    #[must_use]
    pub fn count(&self, state: &str) -> u64 {
        let number = self.table.state(state);
        number.and_then(|number| self.by_state.get(usize::from(number))).copied().unwrap_or(0)
    }

    /// Iterates over the states that some entity is in.
    pub fn occupied(&self) -> impl Iterator<Item = (&str, u64)> {
        let counts = self.table.states.iter().zip(&self.by_state);
        counts.filter(|(_, count)| **count > 0).map(|(state, count)| (&**state, *count))
    }

    /// Returns how many entities are in a state in which a life may end.
    #[must_use]
    pub fn ended(&self) -> u64 {
        let ended = |(state, _): &(u8, &u64)| self.table.is_terminal(*state);
        (0..).zip(&self.by_state).filter(ended).map(|(_, count)| count).sum()
    }

    /// Returns how many entities are in a state in which no life may end, where the domain has such ends.
    #[must_use]
    pub fn open(&self) -> u64 {
        if self.table.terminal == 0 { 0 } else { self.entities() - self.ended() }
    }
}

/// Adds up counts by domain; all instances know the same domains in the same order.
pub(super) fn merge_domains(total: &mut Vec<DomainStates>, more: Vec<DomainStates>) {
    if total.is_empty() {
        *total = more;
        return;
    }
    for other in more {
        let Some(known) = total.iter_mut().find(|known| known.domain == other.domain) else {
            total.push(other);
            continue;
        };
        for (count, more) in known.by_state.iter_mut().zip(other.by_state) {
            *count += more;
        }
        known.moved += other.moved;
        known.unchanged += other.unchanged;
        known.invalid += other.invalid;
    }
}

/// Keeps the earliest `max` of both.
pub(super) fn merge_invalid(all: &mut Vec<InvalidTransition>, more: Vec<InvalidTransition>, max: usize) {
    all.extend(more);
    all.sort_by_key(|invalid| invalid.time_ns);
    all.truncate(max);
}
