//! Which run on disk may hold an id: 16 bits for each id that is there.
//!
//! A table of buckets of eight slots. A slot holds some bits of an id, ten to fifteen, and the number of the run in which it
//! lies, so one cache line tells for all runs at once which of them to read, and lets one stranger in some hundred pass, to
//! one block of one run. The home bucket of an id is its high word scaled to the number of buckets, as in a table in memory
//! and in a run: a run is added by one walk from front to back. An id that finds its home full lies in the next
//! bucket that was not.
//!
//! The idea is that of filters that map ids to the runs of a log-structured merge tree: Dayan and Twitto, "Chucky: A
//! Succinct Cuckoo Filter for LSM-Tree", SIGMOD 2021. Ids come in order here, so that no cuckoo is needed.
//!
//! It took the place of a split-block Bloom filter for each run. Those need 12 bits an id, but each run's must be asked and
//! each lets some strangers pass: 20 M ids within a tenth of their memory, in 28 runs or so, came in at 2.4 M/s with 4.9 reads in
//! vain for 100 ids. Here it is 8.4 M/s and 0.8 reads.

use crate::dedup::memory::{Lines, Pages, prefetch};
use crate::dedup::simd::{BUCKET_SLOTS, scan_slots};
use crate::dedup::table::Key;
use bytemuck::{Pod, Zeroable};
use std::io;

/// Runs that one index can tell apart.
pub(super) const RUNS_MAX: usize = 63;

/// Buckets from its home in which an id may lie. Among hashed ids the longest run of full buckets is shorter.
const REACH: usize = 512;
/// Buckets of a cache line.
const BUCKETS: usize = 4;
/// Slots of a line that are filled, on average, when an index holds the ids it was made for. With more, searches for
/// strangers, which end at a bucket that is not full, become long: 25 slots at 27, 35 at 28, 60 at 29.
const FILL: usize = 27;

type Bucket = [u16; BUCKET_SLOTS];

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C, align(64))]
struct Line([Bucket; BUCKETS]);

/// Says of an id in which runs it may be; in all others it certainly is not.
///
/// Not shared between threads: one owner, `&mut` to insert.
pub(super) struct RunIndex {
    lines: Lines<Line>,
    homes: u64,
    /// Bits of a slot that hold the number of a run, plus one.
    run_mask: u16,
    /// Runs with ids that found no place here: any id may be in them.
    blind: u64,
}

impl RunIndex {
    /// Makes an empty index for `ids` ids in `runs` runs, of which there are at most [`RUNS_MAX`].
    ///
    /// # Errors
    ///
    /// What the system says when the memory cannot be had.
    pub(super) fn new(ids: usize, runs: usize) -> io::Result<RunIndex> {
        let lines = ids.div_ceil(FILL).max(1);
        let homes = (lines * BUCKETS) as u64;
        let run_mask = ((runs.clamp(1, RUNS_MAX) + 1).next_power_of_two() - 1) as u16;
        let lines = Lines::zeroed(lines + REACH / BUCKETS, Pages::Huge)?;
        Ok(RunIndex { lines, homes, run_mask, blind: 0 })
    }

    /// Returns for how many ids an index of so many bytes is made.
    pub(super) fn ids_for(bytes: usize) -> usize {
        (bytes / 64).saturating_sub(REACH / BUCKETS) * FILL
    }

    pub(super) fn bytes(&self) -> usize {
        self.lines.bytes()
    }

    /// Returns how many runs it can tell apart.
    pub(super) fn runs_max(&self) -> usize {
        usize::from(self.run_mask)
    }

    #[inline(always)]
    pub(super) fn prefetch(&self, key: Key) {
        prefetch(self.lines.as_slice(), self.home(key) / BUCKETS);
    }

    /// Says that `key` lies in run `run`, which is below [`RunIndex::runs_max`].
    #[inline]
    pub(super) fn insert(&mut self, key: Key, run: usize) {
        let (home, wanted) = (self.home(key), self.fingerprint(key));
        let number = (run as u16 + 1) & self.run_mask;
        let buckets: &mut [Bucket] = bytemuck::must_cast_slice_mut(self.lines.as_mut_slice());
        for bucket in buckets.get_mut(home..home + REACH).unwrap_or_default() {
            let (_, used) = scan_slots(bucket, 0, 0);
            if let Some(slot) = bucket.get_mut(used) {
                *slot = wanted | number;
                return;
            }
        }
        // Crafted ids can be made to overflow together; they stay exact at the cost of reading the disk.
        self.blind |= 1 << run;
    }

    /// Returns the mask of the runs in which `key` may be.
    #[inline(always)]
    pub(super) fn runs(&self, key: Key) -> u64 {
        let buckets: &[Bucket] = bytemuck::must_cast_slice(self.lines.as_slice());
        let (home, wanted) = (self.home(key), self.fingerprint(key));
        let mut runs = self.blind;
        for bucket in buckets.get(home..home + REACH).unwrap_or_default() {
            let (mut alike, used) = scan_slots(bucket, wanted, !self.run_mask);
            while alike != 0 {
                let slot = bucket[alike.trailing_zeros() as usize % BUCKET_SLOTS];
                // A free slot gives no bit: its number is that of run 0 less one.
                runs |= (1u64 << (slot & self.run_mask)) >> 1;
                alike &= alike - 1;
            }
            if used < BUCKET_SLOTS {
                break;
            }
        }
        runs
    }

    #[inline(always)]
    fn home(&self, key: Key) -> usize {
        ((u128::from(key.high) * u128::from(self.homes)) >> 64) as usize
    }

    /// Returns the bits of a key that a slot holds; they have no part in its home.
    #[inline(always)]
    fn fingerprint(&self, key: Key) -> u16 {
        key.low as u16 & !self.run_mask
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(i: u64) -> Key {
        Key::new(crate::event::EventId::digest(&i.to_le_bytes()).bits())
    }

    #[test]
    fn every_member_is_found_in_its_run_and_few_strangers_in_any() {
        const IDS: u64 = 189_000;
        for runs in [1, 3, 15, 16, RUNS_MAX as u64] {
            let mut index = RunIndex::new(IDS as usize, runs as usize).unwrap();
            assert!((IDS..2 * IDS).all(|i| index.runs(key(i)) == 0));
            let run_of = |i: u64| i * runs / IDS;
            (0..IDS).for_each(|i| index.insert(key(i), run_of(i) as usize));
            assert_eq!(index.blind, 0);
            assert!((0..IDS).all(|i| index.runs(key(i)) >> run_of(i) & 1 != 0));
            let reads: u64 = (IDS..2 * IDS).map(|i| u64::from(index.runs(key(i)).count_ones())).sum();
            let expected = IDS * 26 * (u64::from(index.run_mask) + 1) / 65_536;
            assert!(reads < expected * 5 / 4, "{runs} runs: {reads} blocks read for {IDS} strangers");
            assert!(index.bytes() * 8 <= IDS as usize * 19 + REACH * 128);
            assert!(RunIndex::ids_for(index.bytes()) >= IDS as usize);
            assert!(index.runs_max() >= runs as usize);
        }
    }

    #[test]
    fn crafted_ids_that_find_no_place_make_their_run_one_to_read_always() {
        let mut index = RunIndex::new(100_000, 15).unwrap();
        for low in 0..(REACH * BUCKET_SLOTS) as u64 {
            index.insert(Key { low: low << 4, high: 7 << 20 }, 3);
        }
        assert_eq!(index.runs(key(1)), 0);
        index.insert(Key { low: 1, high: 7 << 20 }, 5);
        assert_eq!(index.runs(key(1)), 1 << 5);
        // An id whose home is behind the others is found as well.
        let last = Key { low: 0x10, high: !0xf000 };
        index.insert(last, 2);
        assert_ne!(index.runs(last) >> 2 & 1, 0);
    }
}
