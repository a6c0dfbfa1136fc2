//! What has become of a machine since a moment that a shard noted.

use super::key::Key;
use super::machine::Machine;
use super::plan::{Plan, bit};
use super::scoped::Moment;
use super::tracked::Tracked;
use crate::event::Context;

/// What one shard knew.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Base {
    /// Transitions of the shard.
    total: u64,
    /// Entries of machines that are one in each context.
    entries: u32,
    /// Transitions of the machine that is one per name; `None` where it was not there.
    moves: Option<u32>,
}

/// What has become of a machine.
pub(super) enum Look {
    /// One of the states has come about.
    Reached { state: u8, transition: u32, time_ns: Option<u64>, unknown: u32, moment: Moment },
    /// That cannot be known: so many transitions are no longer told.
    Unknown(u32),
    /// None has.
    Nothing,
}

impl Base {
    /// `None` when the shard does not know the entity.
    pub(super) fn of(key: Key, tracked: &Tracked) -> Option<Base> {
        let first = tracked.named(key, &Context::NONE).first().copied()?;
        let moves = tracked.machine(first)?.moves;
        Some(Base { total: tracked.transitions_total(), entries: tracked.scoped().len(), moves: Some(moves) })
    }

    /// Looks whether a machine has come into one of `wanted` since.
    pub(super) fn look(
        &self,
        plan: &Plan,
        tracked: &Tracked,
        number: u32,
        machine: &Machine,
        wanted: u32,
    ) -> Look {
        let history = tracked.history(number, machine);
        let entry = plan.level.and_then(|_| tracked.scoped().of(machine));
        let is_new = match entry {
            Some(_) => machine.entity.bits() >= u64::from(self.entries),
            None => self.moves.is_none(),
        };
        // Before the point are those up to its number: of the shard, or of the machine.
        let is_after = |at: u64, own: u32| match entry {
            _ if is_new => true,
            Some(_) => at > self.total,
            None => self.moves.is_some_and(|moves| own > moves),
        };
        let after = history.marks.partition_point(|(at, mark)| is_after(*at, mark.number()));
        let marks = history.marks.get(..after).unwrap_or_default();
        let lost = if after < history.marks.len() {
            0
        } else {
            match entry {
                _ if is_new => history.earlier,
                Some(entry) if entry.changed <= Moment::after(self.total) => 0,
                Some(_) if tracked.has_all_after(self.total) => 0,
                Some(_) => history.earlier,
                None => history.earlier.saturating_sub(self.moves.unwrap_or(0)),
            }
        };
        let initial = plan.table.initial;
        if is_new && wanted & bit(initial) != 0 {
            let moment = entry.map_or(Moment::after(0), |entry| entry.born);
            let time_ns = (machine.moves == 0).then_some(machine.since_ns);
            return Look::Reached { state: initial, transition: 0, time_ns, unknown: 0, moment };
        }
        let entered = marks.iter().rev().find_map(|(at, mark)| {
            Some((plan.first_entered(mark.from, mark.code, mark.other, wanted)?, *at, mark))
        });
        if let Some((state, at, mark)) = entered {
            let (transition, time_ns) = (mark.number(), Some(mark.time_ns));
            return Look::Reached { state, transition, time_ns, unknown: lost, moment: Moment::of(at) };
        }
        if lost == 0 {
            return Look::Nothing;
        }
        // Nothing is left of what came after, but that the last of it led to where the machine is.
        if marks.is_empty() && wanted & bit(machine.state) != 0 {
            let moment = entry.map_or(Moment::after(0), |entry| entry.changed);
            let (state, transition) = (machine.state, machine.moves);
            let time_ns = Some(machine.since_ns);
            // That one included: it may have passed another one of the states on its way.
            return Look::Reached { state, transition, time_ns, unknown: lost, moment };
        }
        Look::Unknown(lost)
    }
}

impl Look {
    /// Looks whether a machine is in one of `wanted`.
    pub(super) fn at(plan: &Plan, tracked: &Tracked, machine: &Machine, wanted: u32) -> Look {
        if wanted & bit(machine.state) == 0 {
            return Look::Nothing;
        }
        let entry = plan.level.and_then(|_| tracked.scoped().of(machine));
        let moment = entry.map_or(Moment::after(0), |entry| entry.changed);
        let (state, transition) = (machine.state, machine.moves);
        Look::Reached { state, transition, time_ns: Some(machine.since_ns), unknown: 0, moment }
    }
}
