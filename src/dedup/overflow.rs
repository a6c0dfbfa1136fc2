//! Ids that found no room near their home in the table.
//!
//! Among hashed ids there are none, all but certainly. Crafted digests can be made to overflow together; here they stay exact,
//! at the cost of a hash map, which no budget bounds: it stays in memory.

use crate::dedup::table::Key;
use crate::dedup::verdict::Sighting;
use std::collections::HashMap;

/// A map beside the table, keyed by the system's random hash.
#[derive(Default)]
pub(super) struct Overflow {
    ids: HashMap<(u64, u64), (u64, Sighting)>,
    /// One bit for each of the 64 parts of the table in which there are such ids.
    parts: u64,
}

impl Overflow {
    /// Returns the mask of the parts of the table ([`Key::part`]) that have ids here.
    #[inline(always)]
    pub(super) fn parts(&self) -> u64 {
        self.parts
    }

    pub(super) fn len(&self) -> u64 {
        self.ids.len() as u64
    }

    pub(super) fn bytes(&self) -> usize {
        self.ids.capacity() * (size_of::<((u64, u64), (u64, Sighting))>() + 1)
    }

    pub(super) fn insert(&mut self, key: Key, tag: u64, sighting: Sighting) {
        self.parts |= 1 << key.part();
        self.ids.insert((key.low, key.high), (tag, sighting));
    }

    pub(super) fn get(&self, key: Key) -> Option<Sighting> {
        if self.parts >> key.part() & 1 == 0 {
            return None;
        }
        self.ids.get(&(key.low, key.high)).map(|(_, first)| *first)
    }

    /// Forgets the ids of epochs that are not among `live_tags`.
    pub(super) fn retain(&mut self, live_tags: u64) {
        if self.parts == 0 {
            return;
        }
        self.ids.retain(|_, (tag, _)| live_tags >> *tag & 1 != 0);
        self.ids.shrink_to(2 * self.ids.len());
        self.parts = self.ids.keys().fold(0, |parts, &(low, high)| parts | 1 << Key { low, high }.part());
    }
}
