//! What the state machines have found.

use super::counts::{DomainStates, InvalidTransition, merge_domains, merge_invalid};
use super::entities::Entities;
use super::shard::Shard;
use super::warnings;
use super::workflow::Workflow;
use crate::domain::Schema;
use crate::event::{Domain, Symbols};
use crate::observe::Report;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// What the observer `state` has found.
///
/// Counts are those of the moment of the snapshot. Entities are not copied: [`StateReport::entities`] reads them
/// where they are, and their names stay in the table as long as the report lives.
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
            let name = &domain.name;
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

impl Report for StateReport {
    fn merge(&mut self, other: StateReport) {
        merge_domains(&mut self.domains, other.domains);
        self.invalid_max = self.invalid_max.max(other.invalid_max);
        merge_invalid(&mut self.invalid, other.invalid, self.invalid_max);
        self.untracked += other.untracked;
        self.shards.extend(other.shards);
    }

    fn warnings(&self, schema: &Schema, symbols: &Symbols) -> Vec<String> {
        warnings::of(&self.domains, &self.invalid, schema, symbols)
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
