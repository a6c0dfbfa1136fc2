//! Waiting for a state.
//!
//! Whoever waits leaves a note in every shard, and looks at the machine while it holds the same lock. So an event is
//! either seen by that look, or finds the note: no wake-up is lost, and while nobody waits a transition costs one
//! look at an empty list.

use super::Key;
use super::machines::Machine;
use super::plan::{Plan, bit};
use super::query::{EntityState, Shared};
use crate::event::Domain;
use std::fmt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Duration;

/// Why a wait did not end in a state that was waited for.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say what the fields are")]
pub enum WaitError {
    /// It took too long.
    #[error("none of the states within {timeout:?}; the entity {}", Place(last.as_ref()))]
    Timeout { timeout: Duration, last: Option<EntityState> },
    /// None of the states can be had any more.
    #[error("none of the states can be had any more; the entity {}", Place(Some(last)))]
    Unreachable { last: EntityState },
    /// The pipeline has ended.
    #[error("no more events will come; the entity {}", Place(last.as_ref()))]
    Ended { last: Option<EntityState> },
    /// No observer is there yet.
    #[error("the pipeline has not started; start it before waiting for a state")]
    NotStarted,
    /// The domain has no states.
    #[error("domain {0:?} has no states; give its definition a state table")]
    NoStates(Domain),
    /// The domain has no such state.
    #[error("{domain} has no state {state:?}; it has {}", known.join(", "))]
    UnknownState { domain: &'static str, state: String, known: &'static [&'static str] },
}

/// A note that somebody waits.
#[derive(Clone)]
pub(super) struct Waiter {
    pub(super) key: Key,
    wanted: u32,
    signal: Arc<Signal>,
}

#[derive(Default)]
struct Signal {
    outcome: Mutex<Option<Outcome>>,
    told: Condvar,
}

#[derive(Clone, Copy)]
enum Outcome {
    Reached(EntityState),
    Unreachable(EntityState),
    Ended,
}

impl Waiter {
    /// Tells whoever waits, if one of the states that the entity has just `passed` is wanted, or none can be had from
    /// where it is now.
    pub(super) fn look(&self, plan: &Plan, machine: &Machine, passed: u32) {
        if passed & self.wanted != 0 {
            self.tell(Outcome::Reached(EntityState::of(plan, machine)));
        } else if !plan.can_reach(machine.state, self.wanted) {
            self.tell(Outcome::Unreachable(EntityState::of(plan, machine)));
        }
    }

    pub(super) fn pipeline_ended(&self) {
        self.tell(Outcome::Ended);
    }

    /// The first outcome stands.
    fn tell(&self, outcome: Outcome) {
        self.signal.lock().get_or_insert(outcome);
        self.signal.told.notify_all();
    }

    fn is(&self, other: &Waiter) -> bool {
        Arc::ptr_eq(&self.signal, &other.signal)
    }
}

impl Signal {
    fn lock(&self) -> MutexGuard<'_, Option<Outcome>> {
        self.outcome.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn wait(&self, timeout: Duration) -> Option<Outcome> {
        let waited = self.told.wait_timeout_while(self.lock(), timeout, |outcome| outcome.is_none());
        *waited.unwrap_or_else(|poisoned| poisoned.into_inner()).0
    }
}

pub(super) fn until(
    shared: &Shared,
    key: Key,
    states: &[&str],
    timeout: Duration,
) -> Result<EntityState, WaitError> {
    let waiter = enter(shared, key, states)?;
    let outcome = waiter.signal.wait(timeout);
    leave(shared, &waiter);
    let last = || shared.shards().iter().find_map(|shard| shard.state(key));
    match outcome {
        Some(Outcome::Reached(state)) => Ok(state),
        Some(Outcome::Unreachable(last)) => Err(WaitError::Unreachable { last }),
        Some(Outcome::Ended) => Err(WaitError::Ended { last: last() }),
        None => Err(WaitError::Timeout { timeout, last: last() }),
    }
}

/// Leaves notes everywhere, after which every event that matters is told of.
fn enter(shared: &Shared, key: Key, states: &[&str]) -> Result<Waiter, WaitError> {
    let mut roster = shared.roster();
    let shard = roster.shards.first().ok_or(WaitError::NotStarted)?;
    let (_, plan) = shard.plans.of(key.domain).ok_or(WaitError::NoStates(key.domain))?;
    let mut wanted = 0;
    for state in states {
        let number = plan.table.state(state).ok_or_else(|| WaitError::UnknownState {
            domain: plan.name,
            state: (*state).to_owned(),
            known: plan.table.states,
        })?;
        wanted |= bit(number);
    }
    let waiter = Waiter { key, wanted, signal: Arc::default() };
    for shard in &roster.shards {
        let mut inner = shard.lock();
        inner.waiting.push(waiter.clone());
        if let Some(machine) = inner.machine(key)
            && let Some((_, plan)) = shard.plans.of(key.domain)
        {
            waiter.look(plan, machine, bit(machine.state));
        }
    }
    if roster.open == 0 {
        waiter.pipeline_ended();
    }
    roster.waiting.push(waiter.clone());
    Ok(waiter)
}

fn leave(shared: &Shared, waiter: &Waiter) {
    let mut roster = shared.roster();
    roster.waiting.retain(|other| !other.is(waiter));
    for shard in &roster.shards {
        shard.lock().waiting.retain(|other| !other.is(waiter));
    }
}

/// Says where an entity is, in an error message.
struct Place<'a>(Option<&'a EntityState>);

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(state) => write!(f, "is {} since {} ns", state.state, state.since_ns),
            None => f.write_str("has had no event"),
        }
    }
}
