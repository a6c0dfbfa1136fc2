//! One table of ids: cache-line buckets of four, in the order of the ids.
//!
//! A bucket is one cache line. An id's home bucket is its high word scaled to the number of buckets, so the order of
//! homes is the order of ids whatever the size: a table is moved into a larger one by reading and writing
//! both from front to back. An id that finds its home full lies in the next bucket that was not, at most
//! [`PROBE_MAX`] buckets from home. Slots fill from the left and are never emptied, so a bucket with a free slot
//! ends every search.
//!
//! The six bits that are the same in every id (UUID version and variant) hold the number of the epoch in which the
//! id was first seen, in a slot; see [`Key::tagged`].

use crate::dedup::memory::{Lines, Pages, prefetch};
use crate::dedup::simd::scan;
use crate::dedup::verdict::Sighting;
use bytemuck::{Pod, Zeroable};
use std::io;

/// Slots of a bucket.
pub(super) use crate::dedup::simd::SLOTS;
/// Buckets from its home in which an id may lie. At the greatest load the longest run of full buckets among 100 M
/// hashed ids is shorter than this, all but certainly; among crafted ids it is not.
pub(super) const PROBE_MAX: usize = 256;
/// Epochs that slots can tell apart.
pub(super) const TAGS: u64 = 48;

const LOW_FIXED: u64 = 0xc000_0000_0000_0000;
const HIGH_FIXED: u64 = 0xf000;

/// An id as the table sees it: 122 bits in two words, zero where a slot has its epoch.
#[derive(Clone, Copy, Default)]
pub(super) struct Key {
    pub(super) low: u64,
    pub(super) high: u64,
}

impl Key {
    #[inline(always)]
    pub(super) fn new(id: u128) -> Key {
        Key { low: id as u64 & !LOW_FIXED, high: (id >> 64) as u64 & !HIGH_FIXED }
    }

    /// Returns in which of 64 equal parts of a table the key's home is.
    #[inline(always)]
    pub(super) fn part(self) -> u32 {
        (self.high >> 58) as u32
    }

    /// Returns the two words of a slot that holds this key, first seen in epoch `tag` (below [`TAGS`]). The low word
    /// is never zero.
    #[inline(always)]
    pub(super) fn tagged(self, tag: u64) -> (u64, u64) {
        (self.low | ((tag / 16 + 1) << 62), self.high | ((tag % 16) << 12))
    }

    /// Returns the key and the epoch's tag that a slot's words hold.
    #[inline(always)]
    pub(super) fn untag(low: u64, high: u64) -> (Key, u64) {
        let tag = (low >> 62).wrapping_sub(1).wrapping_mul(16) | (high & HIGH_FIXED) >> 12;
        (Key { low: low & !LOW_FIXED, high: high & !HIGH_FIXED }, tag % 64)
    }
}

/// Four slots; a slot with a low word of zero is free, and so are all after it.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C, align(64))]
pub(super) struct Bucket {
    pub(super) low: [u64; SLOTS],
    pub(super) high: [u64; SLOTS],
}

/// What a bucket says about a key.
pub(super) enum Found {
    /// The key is in this slot.
    Here(usize),
    /// It is neither here nor further on; this slot is free.
    Free(usize),
    /// It is not here, and the bucket is full.
    Full,
}

impl Bucket {
    #[inline(always)]
    pub(super) fn find(&self, key: Key) -> Found {
        self.find_among(key, scan(&self.low, key.low as u32))
    }

    /// Looks for a key as [`Key::tagged`] gives its `words`, `Ok` where they are, and else for the key in any epoch.
    #[inline(always)]
    pub(super) fn find_words(&self, key: Key, words: (u64, u64)) -> Result<usize, Found> {
        let (alike, used) = scan(&self.low, key.low as u32);
        let slot = alike.trailing_zeros() as usize % SLOTS;
        // No free slot holds such words.
        if alike != 0 && (self.low[slot], self.high[slot]) == words {
            return Ok(slot);
        }
        Err(self.find_among(key, (alike, used)))
    }

    #[inline(always)]
    fn find_among(&self, key: Key, (mut alike, used): (u32, usize)) -> Found {
        while alike != 0 {
            let slot = alike.trailing_zeros() as usize % SLOTS;
            let differ = (self.low[slot] ^ key.low) << 2 | (self.high[slot] ^ key.high) & !HIGH_FIXED;
            // A free slot looks like the key whose bits are all zero.
            if differ == 0 && slot < used {
                return Found::Here(slot);
            }
            alike &= alike - 1;
        }
        if used < SLOTS { Found::Free(used) } else { Found::Full }
    }

    #[inline(always)]
    pub(super) fn set(&mut self, slot: usize, (low, high): (u64, u64)) {
        self.low[slot % SLOTS] = low;
        self.high[slot % SLOTS] = high;
    }

    #[inline(always)]
    pub(super) fn tag(&self, slot: usize) -> u64 {
        Key::untag(self.low[slot % SLOTS], self.high[slot % SLOTS]).1
    }

    #[inline(always)]
    fn used(&self) -> usize {
        scan(&self.low, 0).1
    }
}

/// The first sightings of the ids in the bucket before it.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C, align(64))]
pub(super) struct SeenLine {
    slots: [Seen; SLOTS],
}

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Seen {
    time_ns: u64,
    source: u64,
}

/// The memory of a table, borrowed for one batch.
pub(super) struct TableMut<'a> {
    lines: &'a mut [Bucket],
    /// 1 where each bucket has its first sightings in the line behind it, else 0.
    shift: u32,
    /// Buckets that are homes.
    pub(super) homes: u64,
}

/// A table and how many of its slots are used.
///
/// First sightings lie in the line behind their bucket: one page, so one translation of an address for both.
pub(super) struct Table {
    lines: Lines<Bucket>,
    shift: u32,
    homes: u64,
    pub(super) used: usize,
}

/// Says that an id found all buckets full in which it may lie.
pub(super) struct BucketFull;

impl Table {
    /// Makes a table with at least `slots` slots that are homes.
    pub(super) fn new(slots: usize, with_sightings: bool, pages: Pages) -> io::Result<Table> {
        let homes = slots.div_ceil(SLOTS).max(1);
        let shift = u32::from(with_sightings);
        let lines = (homes + PROBE_MAX).checked_mul(1 << shift).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Table { lines: Lines::zeroed(lines, pages)?, shift, homes: homes as u64, used: 0 })
    }

    /// Returns how many slots a table of at most `bytes` bytes may have.
    pub(super) fn slots_in(bytes: usize, with_sightings: bool) -> usize {
        let bucket = size_of::<Bucket>() << u32::from(with_sightings);
        (bytes / bucket).saturating_sub(PROBE_MAX) * SLOTS
    }

    pub(super) fn empty() -> Table {
        Table { lines: Lines::empty(), shift: 0, homes: 0, used: 0 }
    }

    pub(super) fn touch(&mut self) {
        self.lines.touch();
    }

    pub(super) fn merge_pages(&self) {
        self.lines.merge_pages();
    }

    /// Returns how many slots the load is reckoned by.
    pub(super) fn slots(&self) -> usize {
        self.homes as usize * SLOTS
    }

    /// Returns how many buckets there are.
    pub(super) fn len(&self) -> usize {
        self.lines.as_slice().len() >> self.shift
    }

    #[inline]
    pub(super) fn bucket(&self, at: usize) -> Option<&Bucket> {
        self.lines.as_slice().get(at << self.shift)
    }

    /// Returns the buckets in which a key may lie whose home is `home`, in order.
    pub(super) fn reach(&self, home: usize) -> impl Iterator<Item = (usize, &Bucket)> {
        (home..home + PROBE_MAX).map_while(|at| Some((at, self.bucket(at)?)))
    }

    pub(super) fn home(&self, key: Key) -> usize {
        home(key, self.homes)
    }

    #[inline]
    pub(super) fn prefetch(&self, bucket: usize) {
        let lines = self.lines.as_slice();
        prefetch(lines, bucket << self.shift);
        if self.shift > 0 {
            prefetch(lines, (bucket << self.shift) + 1);
        }
    }

    pub(super) fn seen(&self, bucket: usize, slot: usize) -> Sighting {
        sighting(self.lines.as_slice(), self.shift, bucket, slot)
    }

    pub(super) fn borrow_mut(&mut self) -> TableMut<'_> {
        TableMut { lines: self.lines.as_mut_slice(), shift: self.shift, homes: self.homes }
    }

    pub(super) fn release_front(&mut self, buckets: usize) {
        self.lines.release_front(buckets << self.shift);
    }

    pub(super) fn bytes(&self) -> usize {
        self.lines.bytes()
    }

    pub(super) fn mapped_range(&self) -> Option<std::ops::Range<usize>> {
        self.lines.mapped_range()
    }
}

impl TableMut<'_> {
    /// Returns the number of the bucket in which the search for `key` begins; grows with the key.
    #[inline(always)]
    pub(super) fn home(&self, key: Key) -> usize {
        home(key, self.homes)
    }

    /// Returns how many buckets there are.
    pub(super) fn len(&self) -> usize {
        self.lines.len() >> self.shift
    }

    #[inline(always)]
    pub(super) fn bucket(&self, at: usize) -> Option<&Bucket> {
        self.lines.get(at << self.shift)
    }

    #[inline(always)]
    pub(super) fn bucket_mut(&mut self, at: usize) -> Option<&mut Bucket> {
        self.lines.get_mut(at << self.shift)
    }

    /// As [`TableMut::bucket_mut`], where it is known whether there are sightings.
    #[inline(always)]
    pub(super) fn bucket_at<const SEEN: bool>(&mut self, at: usize) -> Option<&mut Bucket> {
        self.lines.get_mut(at << u32::from(SEEN))
    }

    #[inline(always)]
    pub(super) fn prefetch<const SEEN: bool>(&self, bucket: usize) {
        prefetch(self.lines, bucket << u32::from(SEEN));
        if SEEN {
            prefetch(self.lines, (bucket << 1) + 1);
        }
    }

    #[inline(always)]
    pub(super) fn seen(&self, bucket: usize, slot: usize) -> Sighting {
        sighting(self.lines, self.shift, bucket, slot)
    }

    /// Keeps a first sighting, where they are kept.
    #[inline(always)]
    pub(super) fn set_seen(&mut self, bucket: usize, slot: usize, sighting: Sighting) {
        if self.shift == 0 {
            return;
        }
        if let Some(line) = self.lines.get_mut((bucket << 1) + 1) {
            let line: &mut SeenLine = bytemuck::must_cast_mut(line);
            line.slots[slot % SLOTS] = Seen { time_ns: sighting.time_ns, source: u64::from(sighting.source) };
        }
    }

    /// Puts a key that is not in the table into the first free slot from bucket `home` on.
    ///
    /// # Errors
    ///
    /// `BucketFull` when the buckets in which it may lie are full.
    #[inline(always)]
    pub(super) fn append(
        &mut self,
        home: usize,
        words: (u64, u64),
        sighting: Sighting,
    ) -> Result<(), BucketFull> {
        for at in home..home + PROBE_MAX {
            let Some(bucket) = self.bucket_mut(at) else { break };
            let used = bucket.used();
            if used < SLOTS {
                bucket.set(used, words);
                self.set_seen(at, used, sighting);
                return Ok(());
            }
        }
        Err(BucketFull)
    }
}

#[inline(always)]
fn home(key: Key, homes: u64) -> usize {
    ((u128::from(key.high) * u128::from(homes)) >> 64) as usize
}

#[inline(always)]
fn sighting(lines: &[Bucket], shift: u32, bucket: usize, slot: usize) -> Sighting {
    let line = lines.get((bucket << 1) + 1).filter(|_| shift > 0);
    line.map_or(Sighting::default(), |line| {
        let line: &SeenLine = bytemuck::must_cast_ref(line);
        let seen = line.slots[slot % SLOTS];
        Sighting { time_ns: seen.time_ns, source: seen.source as u16 }
    })
}
