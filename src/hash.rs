//! Hashers for maps whose keys come from outside, or are hashes already.
//!
//! Names, packets and ids are known by content hashes that anybody can compute, and invert: whoever chooses the bytes can choose
//! the hashes. So maps do not take them as they are, but multiply them with a random key of the process, which nobody outside
//! knows; keys that collide in one process do not in another. (The multiplication of two words to two, folded to one, is the core
//! of wyhash, <https://github.com/wangyi-fudan/wyhash>.)

use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::OnceLock;
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// The random key of the process.
#[derive(Clone, Copy)]
pub(crate) struct HashKey {
    add: u64,
    multiply: u64,
}

impl HashKey {
    pub(crate) fn of_process() -> HashKey {
        static KEY: OnceLock<HashKey> = OnceLock::new();
        *KEY.get_or_init(HashKey::random)
    }

    fn random() -> HashKey {
        // What the standard library's maps are keyed with, twice.
        let random = || RandomState::new().hash_one(0);
        HashKey { add: random(), multiply: random() | 1 }
    }

    /// Hashes a word.
    #[inline]
    pub(crate) fn hash(self, word: u64) -> u64 {
        self.finish(fold(word ^ self.add, self.multiply))
    }

    /// Once more: the products of a row of words with one number, as of addresses that follow each other, may lie in a few places.
    #[inline]
    fn finish(self, state: u64) -> u64 {
        fold(state, self.add | 1)
    }
}

/// Multiplies two words, and adds both halves of the product without carry.
#[inline]
fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    (product >> 64) as u64 ^ product as u64
}

/// Builds [`KeyedHasher`]s of the process's key.
#[derive(Clone, Copy)]
pub(crate) struct Keyed(HashKey);

impl Default for Keyed {
    fn default() -> Keyed {
        Keyed(HashKey::of_process())
    }
}

impl BuildHasher for Keyed {
    type Hasher = KeyedHasher;

    #[inline]
    fn build_hasher(&self) -> KeyedHasher {
        KeyedHasher { key: self.0, state: self.0.add }
    }
}

/// Hashes words, and what is given in one piece of bytes.
pub(crate) struct KeyedHasher {
    key: HashKey,
    state: u64,
}

impl Hasher for KeyedHasher {
    #[inline]
    fn finish(&self) -> u64 {
        self.key.finish(self.state)
    }

    fn write(&mut self, bytes: &[u8]) {
        self.write_u64(xxh3_64_with_seed(bytes, self.key.multiply));
    }

    #[inline]
    fn write_u8(&mut self, word: u8) {
        self.write_u64(word.into());
    }

    #[inline]
    fn write_u16(&mut self, word: u16) {
        self.write_u64(word.into());
    }

    #[inline]
    fn write_u32(&mut self, word: u32) {
        self.write_u64(word.into());
    }

    #[inline]
    fn write_usize(&mut self, word: usize) {
        self.write_u64(word as u64);
    }

    #[inline]
    fn write_u64(&mut self, word: u64) {
        self.state = fold(self.state ^ word, self.key.multiply);
    }

    #[inline]
    fn write_u128(&mut self, id: u128) {
        self.state = fold(self.state ^ (id >> 64) as u64, self.key.multiply ^ id as u64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn bytes_that_collide_without_a_key_spread_out_with_it() {
        // Of 32 bytes, the hash multiplies the first eight, combined with a word of its secret, with the next eight, combined with
        // another: where one factor is made zero, the other one is of no account.
        let secret = 0xbe4b_a423_396c_feb8_u64;
        let crafted = |n: u64| {
            let mut bytes = [0; 32];
            bytes[..8].copy_from_slice(&secret.to_le_bytes());
            bytes[8..16].copy_from_slice(&n.to_le_bytes());
            bytes
        };
        let count = |hash: &dyn Fn(&[u8; 32]) -> u64| {
            (0..10_000).map(|n| hash(&crafted(n))).collect::<HashSet<u64>>().len()
        };
        assert_eq!(count(&|bytes| xxh3_64_with_seed(bytes, 0)), 1);
        let keyed = Keyed::default();
        let hash = |bytes: &[u8; 32]| {
            let mut hasher = keyed.build_hasher();
            hasher.write(bytes);
            hasher.finish()
        };
        assert_eq!(count(&hash), 10_000);
    }

    #[test]
    fn keys_that_differ_in_any_way_spread_out() {
        for _ in 0..20 {
            check_spread(Keyed(HashKey::random()));
        }
    }

    fn check_spread(keyed: Keyed) {
        let spread = |hashes: &mut dyn Iterator<Item = u64>| {
            let (mut all, mut high, mut low) = (HashSet::new(), HashSet::new(), HashSet::new());
            for hash in hashes {
                all.insert(hash);
                high.insert(hash >> 52);
                low.insert(hash & 0xfff);
            }
            // Of 4,096 places, 100,000 at random leave none free, all but certainly.
            assert!(
                all.len() >= 99_990 && high.len() > 4_000 && low.len() > 4_000,
                "{} {} {}",
                all.len(),
                high.len(),
                low.len()
            );
        };
        spread(&mut (0..100_000_u64).map(|n| keyed.hash_one(n)));
        spread(&mut (0..100_000_u64).map(|n| keyed.hash_one(n << 40)));
        spread(&mut (0..100_000_u64).map(|n| keyed.hash_one((7_u8, n << 20))));
        // What the halves of an id add up to, without carry, is the same for all of these.
        spread(&mut (0..100_000_u128).map(|n| keyed.hash_one((n << 64) | n)));
        spread(&mut (0..100_000_u128).map(|n| keyed.hash_one(n << 100)));
        spread(&mut (0..100_000_u64).map(|n| keyed.hash_one(n.to_le_bytes())));
    }
}
