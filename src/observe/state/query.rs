//! Questions to the state machines, from any thread, while they run.

use super::entities::Entities;
use super::machines::Machine;
use super::plan::{Plan, Plans};
use super::report::{DomainStates, InvalidTransition, merge_domains, merge_invalid};
use super::shard::Shard;
use super::wait::{self, WaitError, Waiter};
use super::workflow::Workflow;
use super::{Key, StateOptions, States};
use crate::domain::{Catalogue, StateTable};
use crate::event::{Context, Contexts, Domain, EventKind, Symbol};
use crate::sync::{Mutex, lock};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// Answers questions about states; clones ask the same machines.
///
/// An answer holds at the moment at which it is given: an event that is still in a ring has not moved anything.
/// What spans several workers is read from one after the other.
#[derive(Clone)]
pub struct StateQuery(Arc<Shared>);

pub(super) struct Shared {
    options: StateOptions,
    roster: Mutex<Roster>,
}

/// Who is there. Locked before the shards, where both are.
#[derive(Default)]
pub(super) struct Roster {
    pub(super) shards: Vec<Arc<Shard>>,
    /// Shards of which the observers are at work.
    pub(super) open: usize,
    pub(super) waiting: Vec<Waiter>,
}

/// The state of one entity.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct EntityState {
    /// The domain; the same name in another domain is another entity.
    pub domain: Domain,
    /// The entity.
    pub entity: Symbol,
    /// The state's name.
    pub state: &'static str,
    /// Whether a life may end in this state.
    pub ended: bool,
    /// When it came into the state, in nanoseconds since the Unix epoch; at first, when its first event was.
    pub since_ns: u64,
    /// Transitions so far. An event that leads through several states is one.
    pub transitions: u32,
    /// Invalid transitions so far.
    pub invalid: u32,
}

/// An event that moved an entity from one state to another.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Transition {
    /// The state before the event.
    pub from: &'static str,
    /// The state after it; the table says through which others its path led.
    pub to: &'static str,
    /// The event's kind.
    pub kind: EventKind,
    /// The event's time, in nanoseconds since the Unix epoch.
    pub time_ns: u64,
}

/// The transitions of one entity.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Transitions {
    /// The last ones, earliest first.
    pub kept: Vec<Transition>,
    /// How many there were before those.
    pub earlier: u64,
}

impl StateQuery {
    /// Begins with no machine; [`StateQuery::observer`] makes what fills it.
    #[must_use]
    pub fn new(options: StateOptions) -> StateQuery {
        StateQuery(Arc::new(Shared { options, roster: Mutex::default() }))
    }

    /// Makes the observer of one worker, for all domains of `catalogue` that have states.
    ///
    /// All observers of one pipeline belong to one query, and those of another pipeline to another.
    #[must_use]
    pub fn observer(&self, catalogue: &Catalogue) -> States {
        let plans = Plans::new(catalogue);
        let interest = plans.kinds();
        let mut roster = lock(&self.0.roster);
        let shard = Arc::new(Shard::new(plans, self.0.options, roster.waiting.clone()));
        roster.shards.push(Arc::clone(&shard));
        roster.open += 1;
        drop(roster);
        States { shard, query: self.clone(), interest, ended: false }
    }

    /// Returns the state of an entity; `None` before its first event.
    #[must_use]
    pub fn state(&self, domain: Domain, entity: Symbol) -> Option<EntityState> {
        let key = Key { domain, entity };
        self.shards().iter().find_map(|shard| shard.state(key))
    }

    /// Returns the table of a domain that has states; `None` before the pipeline starts too.
    #[must_use]
    pub fn table(&self, domain: Domain) -> Option<&'static StateTable> {
        self.shards().first().and_then(|shard| Some(shard.plans.of(domain)?.1.table))
    }

    /// Returns the last transitions of an entity; `None` before its first event.
    #[must_use]
    pub fn transitions(&self, domain: Domain, entity: Symbol) -> Option<Transitions> {
        let key = Key { domain, entity };
        self.shards().iter().find_map(|shard| shard.transitions(key))
    }

    /// Counts the entities of a domain by state; `None` when the domain has no states.
    #[must_use]
    pub fn domain(&self, domain: Domain) -> Option<DomainStates> {
        self.domains().into_iter().find(|counts| counts.domain == domain)
    }

    /// Counts the entities of every domain that has states, in order of the domains' numbers.
    #[must_use]
    pub fn domains(&self) -> Vec<DomainStates> {
        let mut total = Vec::new();
        for shard in self.shards() {
            merge_domains(&mut total, shard.domains());
        }
        total
    }

    /// Returns the first invalid transitions, earliest first.
    #[must_use]
    pub fn invalid(&self) -> Vec<InvalidTransition> {
        let mut all = Vec::new();
        for shard in self.shards() {
            merge_invalid(&mut all, shard.invalid(), self.0.options.invalid_max);
        }
        all
    }

    /// Iterates over all entities; filter it for those of a domain or in a state.
    #[must_use]
    pub fn entities(&self) -> Entities {
        Entities::of(self.shards())
    }

    /// Returns the states of the entities that belong to a context within `outer`, by domain; those without an event yet
    /// are left out. `contexts` are those of the pipeline.
    #[must_use]
    pub fn within(&self, contexts: &Contexts, outer: &Context) -> Vec<EntityState> {
        let members = contexts.entities(outer);
        members.into_iter().filter_map(|(domain, entity)| self.state(domain, entity)).collect()
    }

    /// Looks at the experiment as a whole.
    #[must_use]
    pub fn workflow(&self) -> Workflow {
        Workflow::of(&self.shards())
    }

    /// Waits until the entity is in one of `states`, and returns its state then.
    ///
    /// A state that the entity only passes through counts from this call on: what is returned then is the state
    /// after the event that led through it. An entity need not exist yet.
    ///
    /// # Errors
    /// When `timeout` passes; when none of the states can be had any more, by the table; when the pipeline ends; and
    /// at once when it has not started, or there is no such state.
    pub fn wait_until(
        &self,
        domain: Domain,
        entity: Symbol,
        states: &[&str],
        timeout: Duration,
    ) -> Result<EntityState, WaitError> {
        wait::until(&self.0, Key { domain, entity }, states, timeout)
    }

    pub(super) fn instance_ended(&self) {
        let mut roster = self.0.roster();
        roster.open = roster.open.saturating_sub(1);
        if roster.open == 0 {
            for waiter in &roster.waiting {
                waiter.pipeline_ended();
            }
        }
    }

    fn shards(&self) -> Vec<Arc<Shard>> {
        self.0.shards()
    }
}

impl fmt::Debug for StateQuery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("StateQuery").field(&self.0.options).finish()
    }
}

impl Shared {
    pub(super) fn roster(&self) -> impl std::ops::DerefMut<Target = Roster> + '_ {
        lock(&self.roster)
    }

    pub(super) fn shards(&self) -> Vec<Arc<Shard>> {
        lock(&self.roster).shards.clone()
    }
}

impl EntityState {
    pub(super) fn of(plan: &Plan, machine: &Machine) -> EntityState {
        EntityState {
            domain: plan.domain,
            entity: machine.entity,
            state: plan.state_name(machine.state),
            ended: plan.table.is_terminal(machine.state),
            since_ns: machine.since_ns,
            transitions: machine.moves,
            invalid: machine.invalid,
        }
    }

    /// Returns how long the entity has been in its state, in nanoseconds; 0 when it came there after `now_ns`.
    #[must_use]
    pub fn in_state_ns(&self, now_ns: u64) -> u64 {
        now_ns.saturating_sub(self.since_ns)
    }
}
