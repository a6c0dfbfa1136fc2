//! The state of one entity, and how it came there.

use super::machine::Machine;
use super::plan::Plan;
use crate::event::{Context, Domain, EventKind, Shared, Symbol};

/// The state of one entity, in one context where it is one in each.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct EntityState {
    /// The domain; the same name in another domain is another entity.
    pub domain: Domain,
    /// The entity.
    pub entity: Symbol,
    /// What it belongs to: of a step the experiment and the test, of an assertion the step too, of a test the experiment,
    /// as far as its emitter had entered them. Always [`Context::NONE`] in other domains, whose entities are shared.
    pub context: Context,
    /// The state's name.
    pub state: Shared<str>,
    /// Whether a life may end in this state.
    pub ended: bool,
    /// When it came into the state, in nanoseconds since the Unix epoch; at first, when its first event was.
    pub since_ns: u64,
    /// Transitions so far, which is the number of the last one. An event that leads through several states is one.
    pub transitions: u32,
    /// Invalid transitions so far.
    pub invalid: u32,
}

/// An event that moved an entity from one state to another.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Transition {
    /// The state before the event.
    pub from: Shared<str>,
    /// The state after it; the table says through which others its path led.
    pub to: Shared<str>,
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

impl EntityState {
    pub(super) fn of(plan: &Plan, machine: &Machine, entity: Symbol, context: Context) -> EntityState {
        EntityState {
            domain: plan.domain,
            entity,
            context,
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
