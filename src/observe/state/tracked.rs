//! The machines of one worker's entities, with the log of their last transitions.

use super::entity::EntityState;
use super::key::Key;
use super::machine::Machine;
use super::machines::Machines;
use super::options::StateOptions;
use super::plan::Plan;
use super::scoped::Scoped;
use super::transition_log::{History, TransitionLog};
use crate::event::Context;

/// Machines and log.
pub(super) struct Tracked {
    pub(super) machines: Machines,
    pub(super) log: TransitionLog,
}

impl Tracked {
    pub(super) fn new(options: &StateOptions) -> Tracked {
        Tracked {
            machines: Machines::new(options.entities_max, options.entities_expected),
            log: TransitionLog::new(options.transitions_max),
        }
    }

    pub(super) fn machine(&self, number: u32) -> Option<&Machine> {
        self.machines.get(number)
    }

    /// Returns the machines of a name within `within`, whose parts are levels that enclose the domain.
    pub(super) fn named(&self, key: Key, within: &Context) -> Vec<u32> {
        self.machines.named(key, within)
    }

    pub(super) fn scoped(&self) -> &Scoped {
        &self.machines.scoped
    }

    pub(super) fn history(&self, number: u32, machine: &Machine) -> History {
        self.log.of(number, machine)
    }

    pub(super) fn transitions_total(&self) -> u64 {
        self.log.total()
    }

    pub(super) fn has_all_after(&self, transition: u64) -> bool {
        self.log.has_all_after(transition)
    }

    pub(super) fn describe(&self, plan: &Plan, machine: &Machine) -> Option<EntityState> {
        let (entity, context) = self.machines.owner(machine)?;
        Some(EntityState::of(plan, machine, entity, context))
    }

    /// The machine of the entity within `within` that changed last.
    pub(super) fn last_changed(&self, plan: &Plan, key: Key, within: &Context) -> Option<u32> {
        let changed = |number: &u32| {
            let entry = self.machine(*number).and_then(|machine| self.scoped().of(machine));
            entry.map(|entry| (entry.changed, entry.machine))
        };
        match plan.level {
            None => self.machines.number(key),
            Some(level) => self.named(key, &within.around(level)).into_iter().max_by_key(changed),
        }
    }
}
