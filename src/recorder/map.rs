//! A file mapped as words that several threads, and other processes, may look at.
//!
//! One of the two files of the recorder with `unsafe`: words in a mapping that lives as long as they do, and slots that are
//! found without a check.
#![allow(unsafe_code, reason = "a mapping is a pointer and a length")]

use crate::recorder::format::RECORD_WORDS;
use memmap2::{MmapOptions, MmapRaw};
use std::fs::File;
use std::io;
use std::ops::Deref;
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

/// A file in memory, for reading and writing, shared with the page cache.
pub(super) struct Map(MmapRaw);

/// Some words of a [`Map`], which they keep mapped.
pub(super) struct Part {
    words: NonNull<AtomicU64>,
    len: usize,
    _map: Arc<Map>,
}

// SAFETY: a part is a shared reference to atomics, in memory that no thread owns, and an `Arc`.
unsafe impl Send for Part {}
// SAFETY: as above; all that it gives out are references to atomics.
unsafe impl Sync for Part {}

impl Map {
    /// Maps the first `words` words of `file`, which must be that long.
    pub(super) fn new(file: &File, words: u64) -> io::Result<Arc<Map>> {
        let bytes = usize::try_from(words.saturating_mul(8)).map_err(|_| io::ErrorKind::OutOfMemory)?;
        if file.metadata()?.len() < bytes as u64 {
            // Beyond the end of its file, a mapping is a signal.
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let mut options = MmapOptions::new();
        options.len(bytes).populate();
        Ok(Arc::new(Map(options.map_raw(file)?)))
    }

    /// Returns `len` words from word `from` on; `None` beyond the end.
    pub(super) fn part(self: &Arc<Map>, from: usize, len: usize) -> Option<Part> {
        let end = from.checked_add(len)?.checked_mul(8)?;
        if end > self.0.len() {
            return None;
        }
        let begin = NonNull::new(self.0.as_mut_ptr().cast::<AtomicU64>())?;
        // SAFETY: `from * 8` is at most `end`, which is within the one mapping.
        let words = unsafe { begin.add(from) };
        Some(Part { words, len, _map: Arc::clone(self) })
    }
}

impl Deref for Part {
    type Target = [AtomicU64];

    #[inline]
    fn deref(&self) -> &[AtomicU64] {
        // SAFETY: `part` has checked that the words are within the mapping, which `_map` keeps; a mapping begins at a
        // page, so they are aligned; every bit pattern is an `AtomicU64`; and this process reaches them in no other
        // way than as atomics. What another process writes there it writes to memory that is atomic for us.
        unsafe { std::slice::from_raw_parts(self.words.as_ptr(), self.len) }
    }
}

/// The slots of a track, which its events go around: records, and as many checks.
pub(super) struct SlotRing {
    records: Part,
    checks: Part,
    /// What is below the number of slots, a power of two.
    mask: usize,
}

impl SlotRing {
    /// Returns `None` unless there are as many records as checks, and a power of two of them.
    pub(super) fn new(records: Part, checks: Part) -> Option<SlotRing> {
        let slots = checks.len();
        let fits = slots.is_power_of_two() && records.len() == slots * RECORD_WORDS;
        fits.then(|| SlotRing { records, checks, mask: slots - 1 })
    }

    /// Returns where event `number` and its check go.
    #[inline(always)]
    pub(super) fn of(&self, number: u64) -> (&[AtomicU64; RECORD_WORDS], &AtomicU64) {
        let slot = number as usize & self.mask;
        // Checked, the two places are a tenth of what recording an event costs.
        // SAFETY: `new` has found `mask + 1` records (eight words each, which `Map::part` has found within the mapping), and
        // `slot` is at most `mask`.
        let record = unsafe { self.records.as_chunks().0.get_unchecked(slot) };
        // SAFETY: and as many checks.
        let check = unsafe { self.checks.get_unchecked(slot) };
        (record, check)
    }

    /// Returns where events from `number` on go, and their checks, up to the last slot.
    pub(super) fn rest(&self, number: u64) -> (&[[AtomicU64; RECORD_WORDS]], &[AtomicU64]) {
        let slot = number as usize & self.mask;
        let records = self.records.as_chunks().0.get(slot..).unwrap_or_default();
        (records, self.checks.get(slot..).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recorder::stores::store;
    use std::sync::atomic::Ordering;

    #[test]
    fn parts_are_within_the_file_and_reach_it() {
        let mut file = tempfile::tempfile().unwrap();
        file.set_len(4096).unwrap();
        assert!(Map::new(&file, 513).is_err(), "longer than the file");
        let map = Map::new(&file, 512).unwrap();
        for (from, len) in [(0, 513), (512, 1), (usize::MAX, 1), (1, usize::MAX), (usize::MAX / 8, 8)] {
            assert!(map.part(from, len).is_none(), "{from} {len}");
        }
        assert_eq!(map.part(512, 0).unwrap().len(), 0);
        let eight = map.part(501, 8).unwrap();
        store(eight.first_chunk().unwrap(), [1, 2, 3, 4, 5, 6, 7, 8]);
        let stored: Vec<u64> = eight.iter().map(|word| word.load(Ordering::Relaxed)).collect();
        assert_eq!(stored, [1, 2, 3, 4, 5, 6, 7, 8]);
        store(eight.first_chunk().unwrap(), [0; 8]);
        let part = map.part(510, 2).unwrap();
        drop(map);
        part[1].store(7, Ordering::Relaxed);
        let mut bytes = Vec::new();
        std::io::Read::read_to_end(&mut file, &mut bytes).unwrap();
        assert_eq!(bytes[4088..], 7_u64.to_ne_bytes());
        assert!(bytes[..4088].iter().all(|byte| *byte == 0));
    }

    #[test]
    fn slots_go_around() {
        let file = tempfile::tempfile().unwrap();
        file.set_len(4096).unwrap();
        let map = Map::new(&file, 512).unwrap();
        let ring =
            |records, checks| SlotRing::new(map.part(8, records).unwrap(), map.part(400, checks).unwrap());
        for (records, checks) in [(0, 0), (24, 3), (31, 4), (40, 4), (16, 4), (32, 3)] {
            assert!(ring(records, checks).is_none(), "{records} {checks}");
        }
        for slots in [1, 2, 32] {
            let ring = ring(slots * 8, slots).unwrap();
            for number in (0..100).chain([u64::MAX - 1, u64::MAX]) {
                let at = (number % slots as u64) as usize;
                let (records, checks) = ring.rest(number);
                assert_eq!((records.len(), checks.len()), (slots - at, slots - at));
                let (record, check) = ring.of(number);
                assert!(std::ptr::eq(record, &records[0]) && std::ptr::eq(check, &checks[0]));
                assert!(std::ptr::eq(&record[0], &map.part(8, slots * 8).unwrap()[at * 8]));
                assert!(std::ptr::eq(check, &map.part(400, slots).unwrap()[at]));
            }
        }
    }
}
