//! Points: what a shard knew of an entity at a moment, so that what came after it can be told from what was before.
//!
//! A shard numbers its transitions, of all entities together. A point holds the number of the last one, which does for
//! all machines of a name, those to come included: what has a greater number came after it. A machine that is one per
//! name has no place for that number and is told by its own count of transitions.

use super::base::Base;
use super::key::Key;
use super::shard::Shard;
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

impl Point {
    /// Makes the point at which all shards are now; `shards` are those of `generation`.
    pub(super) fn of(key: Key, within: Context, generation: u64, shards: &[Arc<Shard>]) -> Point {
        let known = shards
            .iter()
            .enumerate()
            .find_map(|(at, shard)| Some((at, Base::of(key, &shard.lock().tracked)?)));
        let (shard, base) = known.map_or((None, Base::default()), |(at, base)| (Some(at), base));
        Point { key, within, generation, shard, base }
    }

    /// Returns what shard number `at` knew. All that a shard knows which was not there came after the point.
    pub(super) fn base(&self, generation: u64, at: usize) -> Base {
        if self.generation == generation && self.shard == Some(at) { self.base } else { Base::default() }
    }
}
