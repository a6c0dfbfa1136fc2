//! Split-block Bloom filter, as in the specification of Apache Parquet.
//!
//! A block is 32 bytes, eight words; an id sets one bit in each word of one block. A lookup costs one cache line and never
//! says no for a member.
//!
//! Filters of several sets of about the same size can lie side by side, block by block: one lookup then tells in which of
//! the sets an id may be, for the cache lines of one place in memory.

use crate::dedup::BATCH;
use crate::dedup::memory::{Lines, Pages, prefetch};
use crate::dedup::table::Key;
use crate::event::identity::EventId;
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
///
/// Not shared between threads: one owner, `&mut` to insert.
pub struct BloomFilter {
    lines: Lines<Pair>,
    rows: u64,
    columns: u64,
}

impl BloomFilter {
    /// Makes an empty filter for up to `ids` members, at 12 bits each.
    ///
    /// # Errors
    ///
    /// What the system says when the memory cannot be had.
    pub fn new(ids: usize) -> io::Result<BloomFilter> {
        BloomFilter::side_by_side(ids, 1)
    }

    /// Makes `columns` empty filters, 1, 2 or 4, for up to `ids` members each.
    pub(super) fn side_by_side(ids: usize, columns: usize) -> io::Result<BloomFilter> {
        let lines = BloomFilter::bytes_for(ids, columns) / 64;
        let rows = (lines * 2 / columns) as u64;
        Ok(BloomFilter { lines: Lines::zeroed(lines, Pages::Huge)?, rows, columns: columns as u64 })
    }

    /// Inserts each of `ids`.
    pub fn insert_batch(&mut self, ids: &[EventId]) {
        ids.iter().for_each(|id| self.prefetch(Key::new(id.bits())));
        ids.iter().for_each(|id| self.insert(Key::new(id.bits()), 0));
    }

    /// Returns the mask of those of `ids`, the first [`BATCH`], that may be members; the others certainly are not.
    #[must_use]
    pub fn may_contain_batch(&self, ids: &[EventId]) -> u64 {
        ids.iter().take(BATCH).for_each(|id| self.prefetch(Key::new(id.bits())));
        let maybe = ids.iter().take(BATCH).map(|id| self.may_contain(Key::new(id.bits())) != 0);
        maybe.enumerate().fold(0, |mask, (i, maybe)| mask | u64::from(maybe) << i)
    }

    /// Returns the bytes that `columns` filters for `ids` members each take.
    pub(super) fn bytes_for(ids: usize, columns: usize) -> usize {
        ids.saturating_mul(BITS_PER_ID).div_ceil(512).max(1).saturating_mul(64 * columns)
    }

    pub(super) fn bytes(&self) -> usize {
        self.lines.bytes()
    }

    #[inline(always)]
    pub(super) fn prefetch(&self, key: Key) {
        let line = (self.row(key) * self.columns / 2) as usize;
        prefetch(self.lines.as_slice(), line);
        if self.columns > 2 {
            prefetch(self.lines.as_slice(), line + 1);
        }
    }

    /// Makes the id a member of the set in this column.
    #[inline(always)]
    pub(super) fn insert(&mut self, key: Key, column: usize) {
        let block = self.row(key) * self.columns + column as u64;
        if let Some(pair) = self.lines.as_mut_slice().get_mut((block / 2) as usize) {
            let words = &mut pair.0[(block % 2) as usize];
            let bits = bits(key);
            for i in 0..8 {
                words[i] |= bits[i];
            }
        }
    }

    /// Returns the mask of the columns in which the id may be; in the others it was certainly never inserted.
    #[inline(always)]
    pub(super) fn may_contain(&self, key: Key) -> u32 {
        let first = self.row(key) * self.columns;
        let bits = bits(key);
        let lines = self.lines.as_slice();
        let mut maybe = 0;
        for column in 0..self.columns {
            let block = first + column;
            let Some(pair) = lines.get((block / 2) as usize) else { return u32::MAX };
            let words = &pair.0[(block % 2) as usize];
            let mut missing = 0;
            for i in 0..8 {
                missing |= !words[i] & bits[i];
            }
            maybe |= u32::from(missing == 0) << column;
        }
        maybe
    }

    #[inline(always)]
    fn row(&self, key: Key) -> u64 {
        // The two highest bits of a key's low word are zero.
        ((key.low >> 30) * self.rows) >> 32
    }
}

#[inline(always)]
fn bits(key: Key) -> [u32; 8] {
    let mut bits = SALT;
    for bit in &mut bits {
        *bit = 1 << ((key.low as u32).wrapping_mul(*bit) >> 27);
    }
    bits
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_is_never_refused_and_strangers_seldom_pass() {
        let key = |i: u64| Key::new(crate::event::EventId::digest(&i.to_le_bytes()).bits());
        for columns in [1, 2, 4] {
            let mut filter = BloomFilter::side_by_side(50_000, columns).unwrap();
            assert!((0..1000).all(|i| filter.may_contain(key(i)) == 0));
            for column in 0..columns {
                let members = || (0..50_000).map(|i| key(i + (column as u64) * 1_000_000));
                members().for_each(|key| filter.insert(key, column));
                assert!(members().all(|key| filter.may_contain(key) >> column & 1 == 1));
            }
            for column in 0..columns {
                let strangers = (50_000..150_000).map(key);
                let passed = strangers.filter(|key| filter.may_contain(*key) >> column & 1 == 1).count();
                assert!(passed < 1_000, "{passed} of 100 000 strangers pass");
            }
        }
    }
}
