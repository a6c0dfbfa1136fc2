//! Questions to the state machines, from any thread, while they run.

use super::counts::{DomainStates, InvalidTransition, merge_domains, merge_invalid};
use super::entities::Entities;
use super::entity::{EntityState, Transitions};
use super::key::Key;
use super::observer::States;
use super::options::StateOptions;
use super::point::Point;
use super::registry::Shared;
use super::shard::Shard;
use super::wait::{self, Wanted};
use super::wait_error::{Reached, WaitError};
use super::workflow::Workflow;
use crate::domain::{Schema, StateTable};
use crate::event::{Context, Contexts, Domain, Symbol, Symbols};
use crate::observe::presence::Left;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// Answers questions about states; clones ask the same machines. In a process that was forked since the query was made, it knows of
/// nothing, and a wait is refused.
///
/// An answer holds at the moment at which it is given and has what the pipeline's threads have handed to the observer by
/// then: an event that is still in a ring has not moved anything, however long ago it was emitted. For an answer that has
/// everything that was accepted before the question, ask what `Pipeline::settled` gives. What spans several workers is
/// read from one after the other.
///
/// **Which machine.** Steps, assertions and tests are one in each context: a step in each test, an assertion in each step
/// of a test, a test in each experiment. Where a question names such an entity without a context, the answer is of the
/// machine that changed last; [`StateQuery::state_within`] and its like ask for that of one context.
#[derive(Clone)]
pub struct StateQuery(Arc<Shared>);

/// Whether a query has what a pipeline's events do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Standing {
    Filled,
    NeverAdded,
    Elsewhere,
    Removed,
    Panicked,
    /// It has not taken so many events: too many entities.
    Untracked(u64),
}

impl StateQuery {
    /// Begins with no machine; [`StateQuery::observer`] makes what fills it.
    #[must_use]
    pub fn new(options: StateOptions) -> StateQuery {
        StateQuery(Arc::new(Shared::new(options)))
    }

    /// Makes the observer of one worker, for all domains of `schema` that have states; `contexts` are the pipeline's,
    /// which tell steps of one name apart, and `symbols` those in which the names of entities are kept. All stand in the setup
    /// that the pipeline gives.
    ///
    /// All observers of one pipeline belong to one query, and those of another pipeline to another. When all have ended
    /// and one is made again (added once more to a running pipeline, say), the query begins anew, without what was before.
    #[must_use]
    pub fn observer(&self, schema: &Schema, symbols: &Arc<Symbols>, contexts: &Arc<Contexts>) -> States {
        States::begin(&self.0, schema, symbols, contexts)
    }

    /// Returns the state of an entity; `None` before its first event. Of several machines of that name, that of the one
    /// that changed last.
    #[must_use]
    pub fn state(&self, domain: Domain, entity: Symbol) -> Option<EntityState> {
        self.state_within(domain, entity, &Context::NONE)
    }

    /// Returns the state of an entity within a context: of the machines whose context has all those parts of `context`
    /// that can enclose the entity, that of the one that changed last. An entity that is shared between contexts is
    /// found in all.
    ///
    /// ```
    /// # use panther_events::event::{Context, Domain, Level, Symbol};
    /// # use panther_events::observe::state::{StateOptions, StateQuery};
    /// # let states = StateQuery::new(StateOptions::default());
    /// let test = Context::of(Level::Test, "handshake");
    /// let connect = states.state_within(Domain::STEP, Symbol::of("connect"), &test);
    /// # assert_eq!(connect, None);
    /// ```
    #[must_use]
    pub fn state_within(&self, domain: Domain, entity: Symbol, context: &Context) -> Option<EntityState> {
        self.0.state(Key { domain, entity }, context)
    }

    /// Returns the state of the machine that events emitted in `context` drive.
    pub(crate) fn state_exactly(
        &self,
        domain: Domain,
        entity: Symbol,
        context: &Context,
    ) -> Option<EntityState> {
        self.0.state_exactly(Key { domain, entity }, context)
    }

    /// Returns the table of a domain that has states; `None` before the pipeline starts too.
    #[must_use]
    pub fn table(&self, domain: Domain) -> Option<crate::event::Shared<StateTable>> {
        self.shards().first().and_then(|shard| Some(shard.plans.of(domain)?.1.table.clone()))
    }

    /// Returns the last transitions of an entity; `None` before its first event. Of several machines of that name, those
    /// of the one that changed last.
    #[must_use]
    pub fn transitions(&self, domain: Domain, entity: Symbol) -> Option<Transitions> {
        self.transitions_within(domain, entity, &Context::NONE)
    }

    /// Returns the last transitions of an entity within a context; see [`StateQuery::state_within`].
    #[must_use]
    pub fn transitions_within(
        &self,
        domain: Domain,
        entity: Symbol,
        context: &Context,
    ) -> Option<Transitions> {
        let key = Key { domain, entity };
        self.shards().iter().find_map(|shard| shard.transitions(key, context))
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
    /// are left out, and of those that are one in each context only what is within `outer` is there. `contexts` are those
    /// of the pipeline.
    #[must_use]
    pub fn within(&self, contexts: &Contexts, outer: &Context) -> Vec<EntityState> {
        let (shards, mut states) = (self.shards(), Vec::new());
        for (domain, entity) in contexts.entities(outer) {
            shards.iter().for_each(|shard| shard.add_states(Key { domain, entity }, outer, &mut states));
        }
        states
    }

    /// Looks at the experiment as a whole.
    #[must_use]
    pub fn workflow(&self) -> Workflow {
        Workflow::of(&self.shards())
    }

    /// Takes the point at which an entity is now, which may have had no event yet: [`StateQuery::wait_until_after`] waits
    /// for what comes after it.
    ///
    /// After the point is what the observer takes after this call. That may have been emitted before it: to wait for
    /// what is emitted from here on, bring the rest through first, with `Pipeline::settled`.
    #[must_use]
    pub fn point(&self, domain: Domain, entity: Symbol) -> Point {
        self.point_within(domain, entity, &Context::NONE)
    }

    /// Takes the point at which an entity is now within a context; see [`StateQuery::state_within`].
    #[must_use]
    pub fn point_within(&self, domain: Domain, entity: Symbol, context: &Context) -> Point {
        let key = Key { domain, entity };
        if self.0.is_forked() {
            return Point::of(key, *context, 0, &[]);
        }
        let registry = self.0.registry();
        Point::of(key, *context, registry.generation, &registry.shards)
    }

    /// Waits until the entity is in one of `states`, and returns which, and where it is by then.
    ///
    /// A state that it is in already does at once, however long ago it came there; for the next time, take a
    /// [`StateQuery::point`]. A state that it only passes through counts from this call on: one that it was in before and
    /// has left does not. An entity need not exist yet. Where several machines have its name, any of them will do.
    ///
    /// A `timeout` of zero looks and does not wait. Any number of threads may wait for the same.
    ///
    /// # Errors
    /// When `timeout` passes; when none of the states can be had any more, by the table (never where another machine of
    /// that name may still come); when the pipeline ends; and at once when it has not started, there is no such state, or
    /// the caller is one of the pipeline's own threads and would wait for itself.
    pub fn wait_until(
        &self,
        domain: Domain,
        entity: Symbol,
        states: &[&str],
        timeout: Duration,
    ) -> Result<Reached, WaitError> {
        self.wait_until_within(domain, entity, &Context::NONE, states, timeout)
    }

    /// Waits until the entity is in one of `states` within a context; see [`StateQuery::state_within`] and
    /// [`StateQuery::wait_until`].
    ///
    /// # Errors
    /// As for [`StateQuery::wait_until`]. That no state can be had any more is told when the machine of that very context
    /// cannot come into one, and no other within it can.
    pub fn wait_until_within(
        &self,
        domain: Domain,
        entity: Symbol,
        context: &Context,
        states: &[&str],
        timeout: Duration,
    ) -> Result<Reached, WaitError> {
        let wanted = Wanted::From { key: Key { domain, entity }, within: context };
        wait::until(&self.0, &wanted, states, timeout)
    }

    /// Waits until the entity of the point has come into one of `states`, or through it, after the point, and returns
    /// the first time, and where the entity is by then.
    ///
    /// A state that it was in at the point counts when it is come into again. What came between point and call counts;
    /// it is found in the log of transitions (`transitions_max`).
    ///
    /// ```no_run
    /// # use panther_events::event::{Domain, Symbol};
    /// # use panther_events::observe::state::{StateOptions, StateQuery};
    /// # use std::time::Duration;
    /// # let states = StateQuery::new(StateOptions::default());
    /// # let restart = || ();
    /// let server = states.point(Domain::SERVICE, Symbol::of("server"));
    /// restart(); // on whatever thread
    /// let ready = states.wait_until_after(&server, &["ready"], Duration::from_secs(10))?;
    /// println!("ready by transition {}, now {}", ready.transition, ready.now.state);
    /// # Ok::<(), panther_events::observe::state::WaitError>(())
    /// ```
    ///
    /// # Errors
    /// As for [`StateQuery::wait_until`]; and when the log has lost what came after the point, unless the state that the
    /// entity is in does, or one that the log still has: [`Reached::unknown`].
    pub fn wait_until_after(
        &self,
        point: &Point,
        states: &[&str],
        timeout: Duration,
    ) -> Result<Reached, WaitError> {
        wait::until(&self.0, &Wanted::After(point), states, timeout)
    }

    /// Says whether the query is filled by the pipeline of `contexts`, all of whose threads have ended where it `has_ended`.
    pub(crate) fn standing(&self, contexts: &Arc<Contexts>, has_ended: bool) -> Standing {
        let registry = self.0.registry();
        let left = |why| registry.shards.iter().any(|shard| shard.presence.left() == Some(why));
        if registry.shards.is_empty() {
            Standing::NeverAdded
        } else if registry.shards.iter().any(|shard| !Arc::ptr_eq(&shard.contexts, contexts)) {
            Standing::Elsewhere
        } else if left(Left::Panicked) {
            Standing::Panicked
        } else if left(Left::Removed) || (!has_ended && registry.open < registry.shards.len()) {
            Standing::Removed
        } else {
            match registry.shards.iter().map(|shard| shard.untracked()).sum() {
                0 => Standing::Filled,
                events => Standing::Untracked(events),
            }
        }
    }

    fn shards(&self) -> Vec<Arc<Shard>> {
        self.0.shards()
    }
}

impl States {
    /// Follows the entities of all domains of `schema` that have states, where nobody asks before the report.
    #[must_use]
    pub fn new(
        schema: &Schema,
        symbols: &Arc<Symbols>,
        contexts: &Arc<Contexts>,
        options: StateOptions,
    ) -> States {
        StateQuery::new(options).observer(schema, symbols, contexts)
    }

    /// Returns what answers questions while the observer works.
    #[must_use]
    pub fn query(&self) -> StateQuery {
        StateQuery(Arc::clone(&self.shared))
    }
}

impl fmt::Debug for StateQuery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("StateQuery").field(&self.0.options).finish()
    }
}
