//! Reading all entities, block by block, while workers go on.

use super::entity::EntityState;
use super::shard::Shard;
use std::fmt;
use std::sync::Arc;

/// Iterates over all entities, each worker's in the order of their first events.
///
/// Each entity is as it is when its block of 1,024 is read; the worker waits for no longer than that. After
/// shutdown this is how they ended.
pub struct Entities {
    shards: Vec<Arc<Shard>>,
    /// Entities of the last shard that have been read.
    read: usize,
    block: Vec<EntityState>,
    at: usize,
}

impl Entities {
    pub(super) fn of(shards: Vec<Arc<Shard>>) -> Entities {
        Entities { shards, read: 0, block: Vec::new(), at: 0 }
    }
}

impl Iterator for Entities {
    type Item = EntityState;

    fn next(&mut self) -> Option<EntityState> {
        loop {
            if let Some(entity) = self.block.get(self.at) {
                self.at += 1;
                return Some(entity.clone());
            }
            (self.at, self.read) = (0, self.read + self.block.len());
            self.block.clear();
            self.shards.last()?.read_block(self.read, &mut self.block);
            if self.block.is_empty() {
                self.shards.pop();
                self.read = 0;
            }
        }
    }
}

impl fmt::Debug for Entities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entities").field("read", &(self.read + self.at)).finish_non_exhaustive()
    }
}
