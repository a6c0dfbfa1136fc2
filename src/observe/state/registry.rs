//! The shards of a query's observers, and who waits for them.

use super::entity::EntityState;
use super::key::Key;
use super::options::StateOptions;
use super::shard::Shard;
use super::waiter::Waiter;
use crate::event::Context;
use crate::fork::Birthplace;
use crate::sync::{Mutex, lock};
use std::sync::Arc;

/// What queries and observers share.
pub(super) struct Shared {
    pub(super) options: StateOptions,
    registry: Mutex<ShardRegistry>,
    birthplace: Birthplace,
}

/// Who is there. Locked before the shards, where both are.
#[derive(Default)]
pub(super) struct ShardRegistry {
    pub(super) shards: Vec<Arc<Shard>>,
    /// How often the observer was taken out and put in again.
    pub(super) generation: u64,
    /// Shards of which the observers are at work.
    pub(super) open: usize,
    pub(super) waiting: Vec<Waiter>,
}

impl Shared {
    pub(super) fn new(options: StateOptions) -> Shared {
        Shared { options, registry: Mutex::default(), birthplace: Birthplace::here() }
    }

    pub(super) fn registry(&self) -> impl std::ops::DerefMut<Target = ShardRegistry> + '_ {
        lock(&self.registry)
    }

    /// Returns the shards; none in a child of the process, where their locks may be held for ever.
    pub(super) fn shards(&self) -> Vec<Arc<Shard>> {
        if self.is_forked() { Vec::new() } else { lock(&self.registry).shards.clone() }
    }

    /// Tells whether this is a child of the process in which the query was made.
    pub(super) fn is_forked(&self) -> bool {
        !self.birthplace.is_here()
    }

    pub(super) fn state(&self, key: Key, within: &Context) -> Option<EntityState> {
        self.shards().iter().find_map(|shard| shard.state(key, within))
    }

    pub(super) fn state_exactly(&self, key: Key, context: &Context) -> Option<EntityState> {
        self.shards().iter().find_map(|shard| shard.state_exactly(key, context))
    }

    /// One of the observers has ended.
    pub(super) fn instance_ended(&self) {
        let mut registry = self.registry();
        registry.open = registry.open.saturating_sub(1);
        if registry.open == 0 {
            for waiter in &registry.waiting {
                waiter.pipeline_ended();
            }
        }
    }
}
