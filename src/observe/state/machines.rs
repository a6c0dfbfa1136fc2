//! Machines: the state of every entity, found by domain and entity.
//!
//! Machines lie in blocks in the order of their first events and never move, so they can be read block by block
//! while more are added. The index is an open-addressing table of words: the upper half of an entity's hash, and
//! the number of its machine. Places follow the upper bits of the hash, so that growing is a walk from front to
//! back through the old table and the new one, and reads no machine.

use super::Key;
use crate::dedup::BATCH;
use crate::event::{Domain, Symbol};

/// One entity's state: two to a cache line.
#[derive(Clone, Copy, Debug)]
#[repr(align(32))]
pub(super) struct Machine {
    pub(super) entity: Symbol,
    /// When it came into its state.
    pub(super) since_ns: u64,
    /// Transitions so far.
    pub(super) moves: u32,
    /// Where in the trail the last transition is, if it is still there.
    pub(super) last: u32,
    /// Invalid transitions so far.
    pub(super) invalid: u32,
    pub(super) domain: Domain,
    pub(super) state: u8,
}

const _: () = assert!(size_of::<Machine>() == 32);

/// Machines in a block: 32 KiB.
pub(super) const BLOCK: usize = 1024;
const BLOCK_BITS: u32 = BLOCK.trailing_zeros();
const SLOTS_MIN_BITS: u32 = 6;
/// Machines from which on batches are touched: those before are in a cache.
const TOUCH_FROM: usize = 1 << 14;
/// A word of the index without a machine.
const FREE: u64 = 0;

pub(super) struct Machines {
    blocks: Vec<Vec<Machine>>,
    len: usize,
    limit: usize,
    /// Upper half of the hash in the upper half, number of the machine and one more in the lower half.
    index: Vec<u64>,
    bits: u32,
}

impl Machines {
    /// At most `limit` machines, with an index for `expected` of them.
    pub(super) fn new(limit: usize, expected: usize) -> Machines {
        // Numbers and one more fit half a word.
        let limit = limit.min(u32::MAX as usize - 1);
        let slots = (expected.min(limit) * 2).next_power_of_two();
        let bits = slots.trailing_zeros().max(SLOTS_MIN_BITS);
        Machines { blocks: Vec::new(), len: 0, limit, index: vec![FREE; 1 << bits], bits }
    }

    /// Bytes held, but for the list of blocks.
    pub(super) fn memory_bytes(&self) -> usize {
        self.index.capacity() * size_of::<u64>()
            + self.blocks.iter().map(|block| block.capacity() * size_of::<Machine>()).sum::<usize>()
    }

    pub(super) fn find(&self, key: Key) -> Option<&Machine> {
        self.number(key).and_then(|number| self.get(number))
    }

    pub(super) fn number(&self, key: Key) -> Option<u32> {
        self.probe(key, hash(key)).ok()
    }

    pub(super) fn get(&self, number: u32) -> Option<&Machine> {
        let number = number as usize;
        self.blocks.get(number >> BLOCK_BITS)?.get(number & (BLOCK - 1))
    }

    #[inline]
    pub(super) fn get_mut(&mut self, number: u32) -> Option<&mut Machine> {
        let number = number as usize;
        self.blocks.get_mut(number >> BLOCK_BITS)?.get_mut(number & (BLOCK - 1))
    }

    /// Returns the number of the machine of `key`, and whether it was added, in state `initial` since `time_ns`. `None`
    /// when it is not there and the limit is reached.
    #[inline]
    pub(super) fn find_or_add(&mut self, key: Key, initial: u8, time_ns: u64) -> Option<(u32, bool)> {
        let hash = hash(key);
        match self.probe(key, hash) {
            Ok(number) => Some((number, false)),
            Err(slot) => self.add(key, hash, slot, initial, time_ns).map(|number| (number, true)),
        }
    }

    /// Block `number` of the machines, [`BLOCK`] in each but the last.
    pub(super) fn block(&self, number: usize) -> &[Machine] {
        self.blocks.get(number).map_or(&[], Vec::as_slice)
    }

    /// The number of the key's machine, or the free slot where the search ended.
    #[inline]
    fn probe(&self, key: Key, hash: u64) -> Result<u32, usize> {
        let mask = self.index.len() - 1;
        let mut slot = (hash >> (64 - self.bits)) as usize;
        loop {
            let word = self.index.get(slot).copied().unwrap_or(FREE);
            if word == FREE {
                return Err(slot);
            }
            if word >> 32 == hash >> 32 {
                let number = word as u32 - 1;
                let same = |machine: &Machine| machine.entity == key.entity && machine.domain == key.domain;
                if self.get(number).is_some_and(same) {
                    return Ok(number);
                }
            }
            // Half of the slots are free, so the walk ends.
            slot = (slot + 1) & mask;
        }
    }

    /// Tells whether there are so many machines that most lie in memory rather than in a cache.
    #[inline]
    pub(super) fn are_many(&self) -> bool {
        self.len >= TOUCH_FROM
    }

    /// Loads what [`Machines::find_or_add`] will look at for a batch of keys, so that the loads of all keys overlap.
    #[inline(never)]
    pub(super) fn touch(&self, keys: impl Iterator<Item = Key>) {
        let mut words = [FREE; BATCH];
        for (word, key) in words.iter_mut().zip(keys) {
            *word = self.index.get((hash(key) >> (64 - self.bits)) as usize).copied().unwrap_or(FREE);
        }
        let machines = words.iter().filter_map(|word| self.get((*word as u32).wrapping_sub(1)));
        // Loaded for the sake of loading, which the compiler must not take away.
        std::hint::black_box(machines.fold(0, |sum, machine| sum ^ machine.since_ns));
    }

    #[cold]
    fn add(&mut self, key: Key, hash: u64, mut slot: usize, initial: u8, time_ns: u64) -> Option<u32> {
        if self.len >= self.limit {
            return None;
        }
        if (self.len + 1) * 2 > self.index.len() {
            self.grow();
            slot = free_slot(&self.index, (hash >> (64 - self.bits)) as usize);
        }
        if self.len & (BLOCK - 1) == 0 {
            self.blocks.push(Vec::with_capacity(BLOCK));
        }
        let number = self.len as u32;
        self.blocks.last_mut()?.push(Machine {
            entity: key.entity,
            since_ns: time_ns,
            moves: 0,
            last: 0,
            invalid: 0,
            domain: key.domain,
            state: initial,
        });
        self.len += 1;
        *self.index.get_mut(slot)? = hash >> 32 << 32 | u64::from(number + 1);
        Some(number)
    }

    fn grow(&mut self) {
        self.bits += 1;
        let old = std::mem::replace(&mut self.index, vec![FREE; 1 << self.bits]);
        for word in old.into_iter().filter(|word| *word != FREE) {
            let slot = free_slot(&self.index, (word >> (64 - self.bits)) as usize);
            if let Some(free) = self.index.get_mut(slot) {
                *free = word;
            }
        }
    }
}

/// The first free slot at or after `slot`.
fn free_slot(index: &[u64], mut slot: usize) -> usize {
    while index.get(slot).is_some_and(|word| *word != FREE) {
        slot = (slot + 1) & (index.len() - 1);
    }
    slot
}

/// Symbols are hashes, or numbers that a user chose: one multiplication spreads either over the upper bits. It is
/// another one than that by which entities are shared out among workers.
#[inline]
fn hash(key: Key) -> u64 {
    let mixed = key.entity.bits() ^ u64::from(key.domain.number()) << 56;
    (mixed ^ mixed >> 32).wrapping_mul(0xd6e8_feb8_6659_fd93)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    fn key(domain: u8, entity: u64) -> Key {
        Key { domain: Domain::new(domain).unwrap(), entity: Symbol::from_bits(entity) }
    }

    #[test]
    fn machines_are_found_like_in_a_map() {
        // Numbers close together, spread out, and equal in all bits that choose the first slot.
        let entities = (0..3_000_u64).chain((0..3_000).map(|n| n << 40)).chain((0..300).map(|n| n << 56));
        let mut machines = Machines::new(usize::MAX, 0);
        let mut oracle = HashMap::new();
        for (time, entity) in (0..).zip(entities.cycle().take(20_000)) {
            let domain = (time % 3) as u8;
            let (number, added) = machines.find_or_add(key(domain, entity), 7, time).unwrap();
            let known = oracle.len() as u32;
            assert_eq!(*oracle.entry((domain, entity)).or_insert(known), number);
            assert_eq!(added, oracle.len() as u32 > known);
            assert_eq!(machines.len, oracle.len());
        }
        for ((domain, entity), number) in oracle {
            let machine = machines.find(key(domain, entity)).unwrap();
            assert_eq!((machine.domain.number(), machine.entity.bits(), machine.state), (domain, entity, 7));
            assert_eq!(machines.get(number).unwrap().entity.bits(), entity);
        }
        assert!(machines.find(key(4, 1)).is_none());
    }

    #[test]
    fn at_the_limit_known_entities_are_still_found() {
        let mut machines = Machines::new(100, 1_000_000);
        for entity in 0..100 {
            assert!(machines.find_or_add(key(1, entity), 0, 0).is_some_and(|(_, added)| added));
        }
        assert_eq!(machines.find_or_add(key(1, 100), 0, 0), None);
        assert_eq!(machines.find_or_add(key(1, 99), 0, 0), Some((99, false)));
    }

    #[test]
    fn an_entity_takes_at_most_64_bytes() {
        let mut machines = Machines::new(usize::MAX, 0);
        for entity in 0..200_000 {
            machines.find_or_add(key(1, entity), 0, 0).unwrap();
            let slack = BLOCK * size_of::<Machine>() + (8 << SLOTS_MIN_BITS);
            let bytes = machines.memory_bytes();
            assert!(bytes <= machines.len * 64 + slack, "{bytes} bytes for {}", machines.len);
        }
    }
}
