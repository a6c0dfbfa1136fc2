//! Points: what a shard knew of an entity at a moment, so that what came after it can be told from what was before.
//!
//! A shard numbers its transitions, of all entities together. A point holds the number of the last one, which does for
//! all machines of a name, those to come included: what has a greater number came after it. A machine that is one per
//! name has no place for that number and is told by its own count of transitions.

use super::Key;
use super::machines::Machine;
use super::plan::{Plan, bit};
use super::scoped::Moment;
use super::shard::{Inner, Shard};
use crate::event::Context;
use std::sync::Arc;

/// A point in the life of an entity, which may have had no event yet; made by
/// [`StateQuery::point`](super::StateQuery::point).
///
/// What is after it are the events that the observer takes after it was made. Events that were accepted before and still
/// lie in rings are among those: bring them through first where that matters
/// (`Pipeline::settled`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Point {
    pub(super) key: Key,
    pub(super) within: Context,
    generation: u64,
    /// The shard in which the entity was; `None` where it was in none.
    shard: Option<usize>,
    base: Base,
}

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
    /// That cannot be known.
    Unknown,
    /// None has.
    Nothing,
}

impl Point {
    /// Makes the point at which all shards are now; `shards` are those of `generation`.
    pub(super) fn of(key: Key, within: Context, generation: u64, shards: &[Arc<Shard>]) -> Point {
        let known =
            shards.iter().enumerate().find_map(|(at, shard)| Some((at, Base::of(key, &shard.lock())?)));
        let (shard, base) = known.map_or((None, Base::default()), |(at, base)| (Some(at), base));
        Point { key, within, generation, shard, base }
    }

    /// Returns what shard number `at` knew. All that a shard knows which was not there came after the point.
    pub(super) fn base(&self, generation: u64, at: usize) -> Base {
        if self.generation == generation && self.shard == Some(at) { self.base } else { Base::default() }
    }
}

impl Base {
    /// `None` when the shard does not know the entity.
    fn of(key: Key, inner: &Inner) -> Option<Base> {
        let first = inner.named(key, &Context::NONE).first().copied()?;
        let moves = inner.machine(first)?.moves;
        Some(Base { total: inner.transitions_total(), entries: inner.scoped().len(), moves: Some(moves) })
    }

    /// Looks whether a machine has come into one of `wanted` since.
    pub(super) fn look(
        &self,
        plan: &Plan,
        inner: &Inner,
        number: u32,
        machine: &Machine,
        wanted: u32,
    ) -> Look {
        let history = inner.history(number, machine);
        let entry = plan.level.and_then(|_| inner.scoped().of(machine));
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
                Some(_) if inner.has_all_after(self.total) => 0,
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
        Look::Unknown
    }
}

impl Look {
    /// Looks whether a machine is in one of `wanted`.
    pub(super) fn at(plan: &Plan, inner: &Inner, machine: &Machine, wanted: u32) -> Look {
        if wanted & bit(machine.state) == 0 {
            return Look::Nothing;
        }
        let entry = plan.level.and_then(|_| inner.scoped().of(machine));
        let moment = entry.map_or(Moment::after(0), |entry| entry.changed);
        let (state, transition) = (machine.state, machine.moves);
        Look::Reached { state, transition, time_ns: Some(machine.since_ns), unknown: 0, moment }
    }
}
