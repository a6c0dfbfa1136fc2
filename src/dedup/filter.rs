//! Split-block Bloom filter, as in the specification of Apache Parquet.
//!
//! A block is 32 bytes, eight words; an id sets one bit in each word of one block. A lookup costs one cache line and never
//! says no for a member.

use crate::dedup::memory::{Lines, prefetch};
use crate::dedup::table::Key;
use bytemuck::{Pod, Zeroable};
use std::io;

/// Bits for each id a filter is made for: one in some 200 strangers is let pass.
const BITS_PER_ID: usize = 12;

const SALT: [u32; 8] =
    [0x47b6_137b, 0x4497_4d91, 0x8824_ad5b, 0xa2b7_289d, 0x7054_95c7, 0x2df1_424b, 0x9efc_4947, 0x5c6b_fb31];

/// A cache line: two blocks.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C, align(64))]
struct Pair([[u32; 8]; 2]);

/// Says of an id that it is certainly not a member, or that it may be.
pub(super) struct BloomFilter {
    lines: Lines<Pair>,
    blocks: u64,
}

impl BloomFilter {
    /// Makes an empty filter for up to `ids` members.
    pub(super) fn new(ids: usize) -> io::Result<BloomFilter> {
        let lines = BloomFilter::bytes_for(ids) / 64;
        Ok(BloomFilter { lines: Lines::zeroed(lines)?, blocks: lines as u64 * 2 })
    }

    /// Returns the bytes that a filter for `ids` members takes.
    pub(super) fn bytes_for(ids: usize) -> usize {
        ids.saturating_mul(BITS_PER_ID).div_ceil(512).max(1).saturating_mul(64)
    }

    pub(super) fn bytes(&self) -> usize {
        self.lines.bytes()
    }

    #[inline(always)]
    pub(super) fn prefetch(&self, key: Key) {
        prefetch(self.lines.as_slice(), (self.block(key) / 2) as usize);
    }

    #[inline]
    pub(super) fn insert(&mut self, key: Key) {
        let block = self.block(key);
        if let Some(pair) = self.lines.as_mut_slice().get_mut((block / 2) as usize) {
            let words = &mut pair.0[(block % 2) as usize];
            for (word, bit) in words.iter_mut().zip(bits(key)) {
                *word |= bit;
            }
        }
    }

    /// Returns `false` when the id was certainly never inserted.
    #[inline]
    pub(super) fn may_contain(&self, key: Key) -> bool {
        let block = self.block(key);
        self.lines.as_slice().get((block / 2) as usize).is_none_or(|pair| {
            let words = &pair.0[(block % 2) as usize];
            words.iter().zip(bits(key)).fold(0, |missing, (word, bit)| missing | (!word & bit)) == 0
        })
    }

    #[inline(always)]
    fn block(&self, key: Key) -> u64 {
        // The two highest bits of a key's low word are zero.
        ((key.low >> 30) * self.blocks) >> 32
    }
}

#[inline(always)]
fn bits(key: Key) -> [u32; 8] {
    SALT.map(|salt| 1 << ((key.low as u32).wrapping_mul(salt) >> 27))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_is_never_refused_and_strangers_seldom_pass() {
        let key = |i: u64| Key::new(crate::event::EventId::digest(&i.to_le_bytes()).bits());
        let mut filter = BloomFilter::new(50_000).unwrap();
        assert!((0..1000).all(|i| !filter.may_contain(key(i))));
        (0..50_000).for_each(|i| filter.insert(key(i)));
        assert!((0..50_000).all(|i| filter.may_contain(key(i))));
        let passed = (50_000..150_000).filter(|&i| filter.may_contain(key(i))).count();
        assert!(passed < 1_000, "{passed} of 100 000 strangers pass");
    }
}
