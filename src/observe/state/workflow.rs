//! The workflow: the experiment as a whole.

use super::counts::{DomainStates, merge_domains};
use super::entity::EntityState;
use super::shard::Shard;
use crate::event::Domain;
use std::fmt;
use std::sync::Arc;

/// Where an experiment is, as a whole.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Workflow {
    /// The entities of the domain `experiment`: most often one; the first 64 of each worker.
    pub experiments: Vec<EntityState>,
    /// The counts of every domain that has states, in order of the domains' numbers.
    pub domains: Vec<DomainStates>,
    /// When the first event was and when the last, in nanoseconds since the Unix epoch; `None` before the first.
    pub span_ns: Option<(u64, u64)>,
}

/// How far an experiment has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Phase {
    /// Nothing has happened yet.
    Waiting,
    /// Something is going on.
    Running,
    /// Every experiment is in a state in which it may end, and there is one.
    Ended,
}

impl Workflow {
    pub(super) fn of(shards: &[Arc<Shard>]) -> Workflow {
        let mut workflow = Workflow { experiments: Vec::new(), domains: Vec::new(), span_ns: None };
        for shard in shards {
            workflow.experiments.extend(shard.experiments());
            merge_domains(&mut workflow.domains, shard.domains());
            workflow.span_ns = match (workflow.span_ns, shard.span()) {
                (Some((first, last)), Some((other_first, other_last))) => {
                    Some((first.min(other_first), last.max(other_last)))
                }
                (one, other) => one.or(other),
            };
        }
        workflow.experiments.sort_by_key(|experiment| experiment.since_ns);
        workflow
    }

    /// Returns how far the experiment has come.
    #[must_use]
    pub fn phase(&self) -> Phase {
        match &*self.experiments {
            [] if self.span_ns.is_none() => Phase::Waiting,
            [] => Phase::Running,
            // Not all of them are listed, and all are counted.
            all if all.iter().all(|experiment| experiment.ended) && self.experiments_open() == 0 => {
                Phase::Ended
            }
            _ => Phase::Running,
        }
    }

    fn experiments_open(&self) -> u64 {
        let experiments = self.domains.iter().filter(|domain| domain.domain == Domain::EXPERIMENT);
        experiments.map(DomainStates::open).sum()
    }

    /// Returns how many entities, of those domains whose lives have an end, have not come to one. When the experiment
    /// has ended, these are what it left behind.
    #[must_use]
    pub fn open(&self) -> u64 {
        self.domains.iter().map(DomainStates::open).sum()
    }

    /// Returns how many invalid transitions there were.
    #[must_use]
    pub fn invalid_total(&self) -> u64 {
        self.domains.iter().map(|domain| domain.invalid).sum()
    }
}

/// One line for the whole, and one for each domain that has an entity.
impl fmt::Display for Workflow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let phase = match self.phase() {
            Phase::Waiting => "waiting",
            Phase::Running => "running",
            Phase::Ended => "ended",
        };
        write!(f, "{phase}: {} open, {} invalid transitions", self.open(), self.invalid_total())?;
        for domain in self.domains.iter().filter(|domain| domain.entities() > 0) {
            write!(f, "\n{} {}:", domain.entities(), domain.name)?;
            for (at, (state, count)) in domain.occupied().enumerate() {
                write!(f, "{} {count} {state}", if at == 0 { "" } else { "," })?;
            }
        }
        Ok(())
    }
}
