//! Machines: the state of every entity, found by domain and entity.
//!
//! Machines lie in blocks in the order of their first events and never move, so they can be read block by block
//! while more are added. The index is an open-addressing table of words: the upper half of an entity's hash, and
//! the number of its machine. Places follow the upper bits of the hash, so that growing is a walk from front to
//! back through the old table and the new one, and reads no machine.

use super::key::Key;
use super::machine::Machine;
use super::scoped::{Moment, Scoped};
use crate::dedup::BATCH;
use crate::event::{Context, Domain, Level, Symbol};
use crate::hash::HashKey;

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
    hash_key: HashKey,
    pub(super) scoped: Scoped,
}

impl Machines {
    /// At most `limit` machines, with an index for `expected` of them.
    pub(super) fn new(limit: usize, expected: usize) -> Machines {
        // Numbers and one more fit half a word.
        let limit = limit.min(u32::MAX as usize - 1);
        let slots = (expected.min(limit) * 2).next_power_of_two();
        let bits = slots.trailing_zeros().max(SLOTS_MIN_BITS);
        Machines {
            blocks: Vec::new(),
            len: 0,
            limit,
            index: vec![FREE; 1 << bits],
            bits,
            hash_key: HashKey::of_process(),
            scoped: Scoped::default(),
        }
    }

    /// Bytes held, but for the list of blocks.
    pub(super) fn memory_bytes(&self) -> usize {
        self.index.capacity() * size_of::<u64>()
            + self.blocks.iter().map(|block| block.capacity() * size_of::<Machine>()).sum::<usize>()
    }

    /// Returns the number of the machine of an entity that is one per name.
    pub(super) fn number(&self, key: Key) -> Option<u32> {
        self.probe(self.hash(key), |machine| is_of(machine, key)).ok()
    }

    /// Returns the number of the machine of that name and context, of those domains where one name is several.
    pub(super) fn number_within(&self, key: Key, context: &Context) -> Option<u32> {
        self.probe(self.hash_within(key, context), |machine| self.is_within(machine, key, context)).ok()
    }

    /// Returns the machines of a name within `outer`, whose parts are levels that enclose the domain, by their numbers.
    pub(super) fn named(&self, key: Key, outer: &Context) -> Vec<u32> {
        match Level::enclosed(key.domain) {
            None => self.number(key).into_iter().collect(),
            Some(_) => {
                let within = self.scoped.named(key).filter(|(_, entry)| entry.context.is_within(outer));
                within.map(|(_, entry)| entry.machine).collect()
            }
        }
    }

    /// Returns whose machine it is, and what that belongs to.
    pub(super) fn owner(&self, machine: &Machine) -> Option<(Symbol, Context)> {
        if Level::enclosed(machine.domain).is_none() {
            return Some((machine.entity, Context::NONE));
        }
        self.scoped.of(machine).map(|entry| (entry.entity, entry.context))
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
        let hash = self.hash(key);
        match self.probe(hash, |machine| is_of(machine, key)) {
            Ok(number) => Some((number, false)),
            Err(slot) => {
                let added = self.add(key.domain, key.entity, hash, slot, initial, time_ns);
                added.map(|number| (number, true))
            }
        }
    }

    /// The same for an entity that is one in each context.
    pub(super) fn find_or_add_within(
        &mut self,
        key: Key,
        context: &Context,
        initial: u8,
        time_ns: u64,
        moment: Moment,
    ) -> Option<(u32, bool)> {
        let hash = self.hash_within(key, context);
        let slot = match self.probe(hash, |machine| self.is_within(machine, key, context)) {
            Ok(number) => return Some((number, false)),
            Err(slot) => slot,
        };
        let place = Symbol::from_bits(u64::from(self.scoped.len()));
        let number = self.add(key.domain, place, hash, slot, initial, time_ns)?;
        self.scoped.add(key, context, number, moment);
        Some((number, true))
    }

    /// Notes when the machine of an entity that is one in each context has changed.
    pub(super) fn changed(&mut self, number: u32, moment: Moment) {
        if let Some(machine) = self.get(number).copied()
            && let Some(entry) = self.scoped.of_mut(&machine)
        {
            entry.changed = moment;
        }
    }

    /// Symbols are hashes that others may have chosen, or numbers of a user's: one multiplication with a random key spreads either
    /// over the upper bits.
    #[inline]
    fn hash(&self, key: Key) -> u64 {
        self.hash_key.hash(key.entity.bits() ^ u64::from(key.domain.number()) << 56)
    }

    /// That of an entity which is one in each context.
    fn hash_within(&self, key: Key, context: &Context) -> u64 {
        context.parts().fold(self.hash(key), |hash, (level, name)| {
            self.hash_key.hash(hash.rotate_left(29) ^ name.bits() ^ level as u64)
        })
    }

    #[inline]
    fn is_within(&self, machine: &Machine, key: Key, context: &Context) -> bool {
        machine.domain == key.domain
            && self
                .scoped
                .of(machine)
                .is_some_and(|entry| entry.entity == key.entity && entry.context == *context)
    }

    /// Block `number` of the machines, [`BLOCK`] in each but the last.
    pub(super) fn block(&self, number: usize) -> &[Machine] {
        self.blocks.get(number).map_or(&[], Vec::as_slice)
    }

    /// The number of the machine that `is_it`, or the free slot where the search ended.
    #[inline]
    fn probe(&self, hash: u64, is_it: impl Fn(&Machine) -> bool) -> Result<u32, usize> {
        let mask = self.index.len() - 1;
        let mut slot = (hash >> (64 - self.bits)) as usize;
        loop {
            let word = self.index.get(slot).copied().unwrap_or(FREE);
            if word == FREE {
                return Err(slot);
            }
            if word >> 32 == hash >> 32 {
                let number = word as u32 - 1;
                if self.get(number).is_some_and(&is_it) {
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
            *word = self.index.get((self.hash(key) >> (64 - self.bits)) as usize).copied().unwrap_or(FREE);
        }
        let machines = words.iter().filter_map(|word| self.get((*word as u32).wrapping_sub(1)));
        // Loaded for the sake of loading, which the compiler must not take away.
        std::hint::black_box(machines.fold(0, |sum, machine| sum ^ machine.since_ns));
    }

    #[cold]
    fn add(
        &mut self,
        domain: Domain,
        entity: Symbol,
        hash: u64,
        mut slot: usize,
        initial: u8,
        time_ns: u64,
    ) -> Option<u32> {
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
            entity,
            since_ns: time_ns,
            moves: 0,
            last: 0,
            invalid: 0,
            domain,
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

/// Tells whether a machine is that of an entity which is one per name.
#[inline]
fn is_of(machine: &Machine, key: Key) -> bool {
    machine.entity == key.entity && machine.domain == key.domain
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Level;
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
            let machine = machines.get(machines.number(key(domain, entity)).unwrap()).unwrap();
            assert_eq!((machine.domain.number(), machine.entity.bits(), machine.state), (domain, entity, 7));
            assert_eq!(machines.get(number).unwrap().entity.bits(), entity);
        }
        assert!(machines.number(key(4, 1)).is_none());
    }

    #[test]
    fn machines_of_one_name_are_one_in_each_context() {
        let mut machines = Machines::new(usize::MAX, 0);
        let mut oracle = HashMap::new();
        let name = |n: u64| if n == 0 { Symbol::NONE } else { Symbol::from_bits(n) };
        for n in 0..20_000_u64 {
            let (entity, test, step) = (n % 7, n / 7 % 11, n / 77 % 13);
            let context = Context::NONE.entered(Level::Test, name(test)).entered(Level::Step, name(step));
            let key = Key { domain: Domain::ASSERTION, entity: Symbol::from_bits(entity) };
            let moment = Moment::after(n);
            let (number, added) = machines.find_or_add_within(key, &context, 3, n, moment).unwrap();
            let known = oracle.len() as u32;
            assert_eq!(*oracle.entry((entity, context)).or_insert(known), number);
            assert_eq!(added, oracle.len() as u32 > known);
            assert_eq!(machines.number_within(key, &context), Some(number));
            assert_eq!(machines.owner(machines.get(number).unwrap()), Some((key.entity, context)));
        }
        for test in 0..11 {
            let outer = Context::NONE.entered(Level::Test, name(test));
            let key = Key { domain: Domain::ASSERTION, entity: Symbol::from_bits(1) };
            let mut found = machines.named(key, &outer);
            let mut expected: Vec<_> = oracle
                .iter()
                .filter(|((entity, context), _)| *entity == 1 && context.is_within(&outer))
                .map(|(_, number)| *number)
                .collect();
            found.sort_unstable();
            expected.sort_unstable();
            assert_eq!(found, expected);
        }
        let elsewhere = Context::of(Level::Test, "elsewhere");
        let key = Key { domain: Domain::ASSERTION, entity: Symbol::from_bits(1) };
        assert_eq!(machines.number_within(key, &elsewhere), None);
    }

    /// Some of so many agree in the bits of their hashes that the index holds.
    #[test]
    fn contexts_are_told_apart_when_their_hashes_agree() {
        let mut machines = Machines::new(usize::MAX, 0);
        let key = Key { domain: Domain::STEP, entity: Symbol::from_bits(7) };
        let (mut words, mut agree) = (std::collections::HashSet::new(), 0);
        for n in 0..500_000_u32 {
            let context = Context::NONE.entered(Level::Test, Symbol::of(&n.to_string()));
            agree += u32::from(!words.insert(machines.hash_within(key, &context) >> 32));
            let found = machines.find_or_add_within(key, &context, 0, 0, Moment::after(0));
            assert_eq!(found, Some((n, true)));
        }
        assert!(agree > 0);
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
