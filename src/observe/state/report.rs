//! What the state machines have found.

use super::entities::Entities;
use super::shard::Shard;
use super::warnings;
use super::workflow::Workflow;
use crate::domain::{Catalogue, StateTable};
use crate::event::{Context, Domain, EventKind, Symbol, Symbols};
use crate::observe::Report;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// How many entities of a domain are in which state, and what became of its events.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DomainStates {
    /// The domain.
    pub domain: Domain,
    /// Its name.
    pub name: &'static str,
    /// Its table.
    pub table: &'static StateTable,
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
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct InvalidTransition {
    /// The entity's domain.
    pub domain: Domain,
    /// The entity.
    pub entity: Symbol,
    /// The experiment, test and step that it belongs to, as in [`EntityState`](super::EntityState).
    pub context: Context,
    /// The state that it was in, and stayed in.
    pub state: &'static str,
    /// The state on the path from which there was no way on; often the one that it was in.
    pub at: &'static str,
    /// The state on the path that may not follow that one.
    pub wanted: &'static str,
    /// The event's kind.
    pub kind: EventKind,
    /// The event's time, in nanoseconds since the Unix epoch.
    pub time_ns: u64,
}

/// What the observer `state` has found.
///
/// Counts are those of the moment of the snapshot. Entities are not copied: [`StateReport::entities`] reads them
/// where they are.
pub struct StateReport {
    domains: Vec<DomainStates>,
    invalid: Vec<InvalidTransition>,
    invalid_max: usize,
    untracked: u64,
    shards: Vec<Arc<Shard>>,
}

impl StateReport {
    pub(super) fn of(shard: &Arc<Shard>) -> StateReport {
        StateReport {
            domains: shard.domains(),
            invalid: shard.invalid(),
            invalid_max: shard.options.invalid_max,
            untracked: shard.untracked(),
            shards: vec![Arc::clone(shard)],
        }
    }

    /// Returns the counts of every domain that has states, in order of the domains' numbers.
    #[must_use]
    pub fn domains(&self) -> &[DomainStates] {
        &self.domains
    }

    /// Returns the counts of one domain; `None` when it has no states.
    #[must_use]
    pub fn domain(&self, domain: Domain) -> Option<&DomainStates> {
        self.domains.iter().find(|counts| counts.domain == domain)
    }

    /// Returns how many entities there are.
    #[must_use]
    pub fn entities_total(&self) -> u64 {
        self.domains.iter().map(DomainStates::entities).sum()
    }

    /// Returns how many entities are in which state, under `domain.state`, without the states that none is in.
    #[must_use]
    pub fn by_state(&self) -> BTreeMap<String, u64> {
        let occupied = |domain: &'_ DomainStates| {
            let name = domain.name;
            domain
                .occupied()
                .map(move |(state, count)| (format!("{name}.{state}"), count))
                .collect::<Vec<_>>()
        };
        self.domains.iter().flat_map(occupied).collect()
    }

    /// Returns the first invalid transitions, earliest first; [`StateReport::invalid_total`] counts all.
    #[must_use]
    pub fn invalid(&self) -> &[InvalidTransition] {
        &self.invalid
    }

    /// Returns how many invalid transitions there were.
    #[must_use]
    pub fn invalid_total(&self) -> u64 {
        self.domains.iter().map(|domain| domain.invalid).sum()
    }

    /// Returns how many events found the limit of tracked entities reached; they moved nothing.
    #[must_use]
    pub fn untracked(&self) -> u64 {
        self.untracked
    }

    /// Iterates over all entities.
    #[must_use]
    pub fn entities(&self) -> Entities {
        Entities::of(self.shards.clone())
    }

    /// Looks at the experiment as a whole, as it is now.
    #[must_use]
    pub fn workflow(&self) -> Workflow {
        Workflow::of(&self.shards)
    }

    /// Returns the bytes that machines and their index take now, names not counted.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        self.shards.iter().map(|shard| shard.memory_bytes()).sum()
    }
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
    pub fn occupied(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let counts = self.table.states.iter().zip(&self.by_state);
        counts.filter(|(_, count)| **count > 0).map(|(state, count)| (*state, *count))
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

impl Report for StateReport {
    fn merge(&mut self, other: StateReport) {
        merge_domains(&mut self.domains, other.domains);
        self.invalid_max = self.invalid_max.max(other.invalid_max);
        merge_invalid(&mut self.invalid, other.invalid, self.invalid_max);
        self.untracked += other.untracked;
        self.shards.extend(other.shards);
    }

    fn warnings(&self, catalogue: &Catalogue, symbols: &Symbols) -> Vec<String> {
        warnings::of(self, catalogue, symbols)
    }
}

impl fmt::Debug for StateReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StateReport")
            .field("by_state", &self.by_state())
            .field("invalid_total", &self.invalid_total())
            .finish_non_exhaustive()
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
