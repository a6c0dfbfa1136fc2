//! The exact set: every id of every live epoch, in one table.
//!
//! A lookup costs one cache line whatever the number of epochs, because a slot says in which epoch its id was first seen:
//! forgetting an epoch is forgetting its number, and its slots are taken over by later ids. Growing, shrinking and
//! clearing out forgotten ids are one operation, the [`Rehash`]: a little of the old table moves at every
//! batch, from front to back.

use crate::dedup::memory;
use crate::dedup::memory::Pages;
use crate::dedup::options::DedupError;
use crate::dedup::overflow::Overflow;
use crate::dedup::probe::{Batch, EpochTags, Tables, probe};
use crate::dedup::table::{BucketFull, Found, Key, SLOTS, TAGS, Table};
use crate::dedup::verdict::{BATCH, Sighting};
use crate::event::identity::EventId;
use std::ops::Range;

/// A table may fill up to this many of 128 slots before its ids move to another.
const LOAD_MAX: usize = 100;
/// What a table made for an expected number of ids is filled to by those, of 128 slots: 27.7 bytes an id, and a fifth faster
/// than at the greatest load.
const LOAD_EXPECTED: usize = 74;
/// What a large table is filled to after its ids have moved, of 128 slots; a small one is filled less, to
/// move less often.
const LOAD_MIN: usize = 75;
const LOAD_MIN_SMALL: usize = 48;
/// Ids up to which a table counts as small.
const SMALL: usize = 1 << 19;
/// Buckets that move for every id asked about, and the least at every batch.
const SWEEP_PER_ID: usize = 3;
const SWEEP_MIN: usize = 96;
/// Forgotten epochs whose ids may stay in the table before they are cleared out.
const STALE_MAX: u64 = 8;

/// An exact set of ids with their first sightings, in epochs that can be forgotten.
///
/// Not shared between threads: one owner, `&mut`.
pub struct ExactSet {
    table: Table,
    rehash: Option<Rehash>,
    overflow: Overflow,
    epochs: Epochs,
    with_sightings: bool,
    slots_min: usize,
    load_limit: usize,
    /// Bytes of table from which the ids are to be put aside instead of growing.
    bytes_max: usize,
    is_full: bool,
    counts: SetCounts,
}

struct IdBatch<'a> {
    ids: &'a [EventId],
    seen: &'a [Sighting],
    firsts: &'a mut [Sighting],
}

impl Batch for IdBatch<'_> {
    #[inline(always)]
    fn len(&self) -> usize {
        self.ids.len()
    }

    #[inline(always)]
    fn compute(&mut self, _: Range<usize>) {}

    #[inline(always)]
    fn id(&mut self, i: usize) -> u128 {
        self.ids[i].bits()
    }

    #[inline(always)]
    fn sighting(&self, i: usize) -> Sighting {
        self.seen.get(i).copied().unwrap_or_default()
    }

    #[inline(always)]
    fn known(&mut self, i: usize, first: Sighting) {
        if let Some(place) = self.firsts.get_mut(i) {
            *place = first;
        }
    }
}

/// What a set has done so far.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct SetCounts {
    /// Times the ids began to move to another table.
    pub sweeps: u64,
    /// Times no memory could be had for another table; the set goes on in the old one.
    pub growth_failures: u64,
    /// Ids kept outside the table because all buckets near their home were full.
    pub overflowed: u64,
}

/// The move of all live ids from an old table to the current one.
struct Rehash {
    old: Table,
    /// Ids whose home lies below have moved.
    cursor: usize,
    /// Epochs below this one will have no slot left once the rehash is done.
    clears_below: u64,
}

/// The epochs by number: those from `oldest` to `hot` are live.
struct Epochs {
    oldest: u64,
    hot: u64,
    /// No slot is tagged with an epoch below this one.
    clear_below: u64,
    lens: [u64; TAGS as usize],
    live_tags: u64,
    len: u64,
}

impl ExactSet {
    /// Makes a set with room for `expected_ids` before it first grows; that memory is touched now.
    ///
    /// # Errors
    ///
    /// [`DedupError::Memory`] when the memory cannot be had.
    pub fn new(expected_ids: usize, with_sightings: bool) -> Result<ExactSet, DedupError> {
        let slots = slots_for(expected_ids.saturating_add(BATCH), LOAD_EXPECTED).max(256);
        let mut table = Table::new(slots, with_sightings, Pages::Huge)
            .map_err(|source| DedupError::Memory { expected_ids, source })?;
        table.touch();
        let (slots_min, load_limit) = (table.slots(), limit_of(&table));
        Ok(ExactSet {
            table,
            rehash: None,
            overflow: Overflow::default(),
            epochs: Epochs::new(),
            with_sightings,
            slots_min,
            load_limit,
            bytes_max: usize::MAX,
            is_full: false,
            counts: SetCounts::default(),
        })
    }

    /// Looks up each of `ids` and inserts those that are not there; returns the bit mask of the new ones.
    ///
    /// `seen[i]` is kept as the first sighting of `ids[i]` when it is new; when it is not, its first sighting is
    /// written to `firsts[i]`. Both may be empty, and are of no use in a set without sightings. An id that
    /// occurs twice among `ids` is new at most once.
    ///
    /// # Panics
    ///
    /// When there are more than [`BATCH`] ids.
    pub fn insert_batch(&mut self, ids: &[EventId], seen: &[Sighting], firsts: &mut [Sighting]) -> u64 {
        assert!(ids.len() <= BATCH, "a batch has at most {BATCH} ids, not {}", ids.len());
        self.insert_each(&mut IdBatch { ids, seen, firsts })
    }

    /// Looks up and inserts the ids of `batch`, of which there are at most [`BATCH`].
    #[inline(always)]
    pub(super) fn insert_each(&mut self, batch: &mut impl Batch) -> u64 {
        self.make_room(batch.len());
        match (self.rehash.is_some(), self.with_sightings) {
            (false, false) => self.insert_as::<false, false>(batch),
            (false, true) => self.insert_as::<false, true>(batch),
            (true, false) => self.insert_as::<true, false>(batch),
            (true, true) => self.insert_as::<true, true>(batch),
        }
    }

    #[inline(always)]
    fn insert_as<const MOVING: bool, const SEEN: bool>(&mut self, batch: &mut impl Batch) -> u64 {
        let mut none = Table::empty();
        let (cursor, old) = match &mut self.rehash {
            Some(rehash) if MOVING => (rehash.cursor, &mut rehash.old),
            _ => (0, &mut none),
        };
        let tables = Tables { current: self.table.borrow_mut(), old: old.borrow_mut(), cursor };
        let epochs = EpochTags { hot: self.epochs.hot % TAGS, live: self.epochs.live_tags };
        let overflowed_before = self.overflow.len();
        let probed = probe::<MOVING, SEEN>(tables, epochs, &mut self.overflow, batch);
        self.counts.overflowed += self.overflow.len() - overflowed_before;
        self.table.used += probed.used_in_current;
        if let Some(rehash) = &mut self.rehash {
            rehash.old.used += probed.used_in_old;
        }
        self.epochs.count(u64::from(probed.new.count_ones()));
        probed.new
    }

    /// Sends for the lines in which an id would be looked for.
    #[inline]
    pub(super) fn prefetch(&self, key: Key) {
        let table = match &self.rehash {
            Some(rehash) if rehash.old.home(key) >= rehash.cursor => &rehash.old,
            _ => &self.table,
        };
        table.prefetch(table.home(key));
    }

    /// Returns how many ids are remembered.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.epochs.len
    }

    /// Tells whether no id is remembered.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns how many ids were first seen in the hot epoch.
    #[must_use]
    pub fn hot_len(&self) -> u64 {
        self.epochs.lens[(self.epochs.hot % TAGS) as usize]
    }

    /// Returns how many ids the oldest epoch holds.
    #[must_use]
    pub fn oldest_len(&self) -> u64 {
        self.epochs.lens[(self.epochs.oldest % TAGS) as usize]
    }

    /// Returns the number of live epochs: the hot one and the cold ones before it.
    #[must_use]
    pub fn epochs(&self) -> u64 {
        self.epochs.hot - self.epochs.oldest + 1
    }

    /// Makes the hot epoch a cold one and opens a new one; `false` when ids of long forgotten epochs have
    /// still to be cleared out and the hot epoch must go on for some batches.
    pub fn open_epoch(&mut self) -> bool {
        self.epochs.open()
    }

    /// Forgets the oldest epoch, unless it is the hot one, and returns how many ids that were.
    pub fn forget_oldest(&mut self) -> u64 {
        let forgotten = self.epochs.forget();
        self.overflow.retain(self.epochs.live_tags);
        forgotten
    }

    /// Returns the bytes of memory held.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        let overflow = self.overflow.bytes();
        let current = self.table.bytes();
        let tables = match &self.rehash {
            None => current,
            // Only the front of the new table has been touched.
            Some(rehash) => {
                let done = rehash.cursor as f64 / rehash.old.len().max(1) as f64;
                rehash.old.bytes() + ((current as f64 * done) as usize + memory::HUGE_PAGE).min(current)
            }
        };
        tables + overflow
    }

    /// Returns how many bytes of the tables the kernel holds in huge pages. Reads `/proc/self/smaps`, which takes
    /// a while.
    #[must_use]
    pub fn huge_page_bytes(&self) -> usize {
        let old = self.rehash.as_ref().map(|rehash| &rehash.old);
        let ranges: Vec<_> =
            std::iter::once(&self.table).chain(old).filter_map(Table::mapped_range).collect();
        memory::huge_page_bytes(&ranges)
    }

    /// Returns what the set has done so far.
    #[must_use]
    pub fn counts(&self) -> SetCounts {
        self.counts
    }

    /// Sets how many bytes of table there may be before the ids are to be put aside.
    pub(super) fn limit_bytes(&mut self, bytes: usize) {
        self.bytes_max = bytes;
    }

    /// Tells whether the table should be taken; not while ids are moving.
    pub(super) fn is_full(&self) -> bool {
        self.is_full && self.rehash.is_none()
    }

    pub(super) fn with_sightings(&self) -> bool {
        self.with_sightings
    }

    /// Returns how many ids are in the table, forgotten ones included.
    pub(super) fn table_ids(&self) -> usize {
        self.table.used
    }

    /// Returns how many ids a table of `bytes` bytes takes before it counts as full.
    pub(super) fn ids_in(&self, bytes: usize) -> usize {
        Table::slots_in(bytes, self.with_sightings) / 128 * LOAD_MAX
    }

    /// Takes the table with all its ids out of the set, which goes on with an empty one of `bytes` bytes. The ids still
    /// count as remembered.
    pub(super) fn take_table(&mut self, bytes: usize) -> Option<Table> {
        let slots = Table::slots_in(bytes, self.with_sightings).max(self.slots_min);
        self.is_full = false;
        let Ok(table) = Table::new(slots, self.with_sightings, Pages::Huge) else {
            self.growth_failed();
            return None;
        };
        self.load_limit = limit_of(&table);
        self.epochs.clear_below = self.epochs.oldest;
        Some(std::mem::replace(&mut self.table, table))
    }

    /// Returns which epochs are live.
    pub(super) fn live_epochs(&self) -> LiveEpochs {
        LiveEpochs { oldest: self.epochs.oldest, hot: self.epochs.hot }
    }

    /// Returns the first sighting of an id that is in the table.
    pub(super) fn get(&self, key: Key) -> Option<Sighting> {
        let table = match &self.rehash {
            Some(rehash) if rehash.old.home(key) >= rehash.cursor => &rehash.old,
            _ => &self.table,
        };
        for (at, bucket) in table.reach(table.home(key)) {
            match bucket.find(key) {
                Found::Here(slot) if self.epochs.live_tags >> bucket.tag(slot) & 1 != 0 => {
                    return Some(table.seen(at, slot));
                }
                Found::Full => {}
                Found::Here(_) | Found::Free(_) => break,
            }
        }
        self.overflow.get(key)
    }

    /// Does a batch's share of moving ids and begins a move when one is due.
    fn make_room(&mut self, ids: usize) {
        if let Some(mut rehash) = self.rehash.take() {
            let buckets = (ids * SWEEP_PER_ID).max(SWEEP_MIN);
            if rehash.advance(buckets, &mut self.table, &self.epochs, &mut self.overflow, &mut self.counts) {
                self.epochs.clear_below = rehash.clears_below;
                self.table.merge_pages();
            } else {
                self.rehash = Some(rehash);
                return;
            }
        }
        let is_sparse = self.table.slots() > self.slots_min.max(SMALL)
            && (self.epochs.len as usize) < self.table.slots() / 5;
        if self.table.used + ids > self.load_limit || is_sparse || self.epochs.is_stale() {
            self.begin_sweep();
        }
    }

    #[cold]
    fn begin_sweep(&mut self) {
        // Of those remembered, some may lie on disk.
        let live = self.table.used.min(self.epochs.len as usize);
        // Ids that will come while the rehash lasts.
        let coming = self.table.slots() / (SWEEP_PER_ID * SLOTS) + BATCH;
        let load = if live < SMALL { LOAD_MIN_SMALL } else { LOAD_MIN };
        let mut slots = slots_for(live + coming, load).max(self.slots_min);
        let most = Table::slots_in(self.bytes_max, self.with_sightings);
        if slots > most {
            if most < self.table.slots() / 4 * 5 {
                self.is_full = true;
                self.load_limit += self.table.slots() / 64 + BATCH;
                return;
            }
            slots = most;
        }
        match Table::new(slots, self.with_sightings, Pages::Small) {
            Ok(table) => {
                let old = std::mem::replace(&mut self.table, table);
                self.load_limit = limit_of(&self.table);
                self.rehash = Some(Rehash { old, cursor: 0, clears_below: self.epochs.oldest });
                self.counts.sweeps += 1;
            }
            Err(_) => self.growth_failed(),
        }
    }

    /// Goes on in the table that is there, and tries again some ids later.
    fn growth_failed(&mut self) {
        self.counts.growth_failures += 1;
        self.load_limit += self.table.slots() / 64 + BATCH;
    }
}

/// Which epochs are live, for ids that lie outside the set.
#[derive(Clone, Copy)]
pub(super) struct LiveEpochs {
    oldest: u64,
    hot: u64,
}

impl LiveEpochs {
    pub(super) fn oldest(self) -> u64 {
        self.oldest
    }

    pub(super) fn hot(self) -> u64 {
        self.hot
    }

    /// Tells whether the epoch of a slot is live that was put aside when `newest` was the hot epoch.
    #[inline]
    pub(super) fn holds(self, (low, high): (u64, u64), newest: u64) -> bool {
        let (_, tag) = Key::untag(low, high);
        let back = (newest % TAGS + TAGS - tag) % TAGS;
        newest.checked_sub(back).is_some_and(|epoch| epoch >= self.oldest)
    }
}

impl Rehash {
    /// Moves at least `count` buckets; returns whether all have moved.
    fn advance(
        &mut self,
        count: usize,
        to: &mut Table,
        epochs: &Epochs,
        overflow: &mut Overflow,
        counts: &mut SetCounts,
    ) -> bool {
        let mut moved = 0;
        {
            let mut target = to.borrow_mut();
            let source = self.old.borrow_mut();
            let end = self.cursor.saturating_add(count);
            let mut was_full = false;
            for at in self.cursor..source.len() {
                let Some(bucket) = source.bucket(at) else { break };
                // Behind a bucket that is not full lies no id whose home is before it.
                if at >= end && !was_full {
                    break;
                }
                for slot in 0..SLOTS {
                    let (low, high) = (bucket.low[slot], bucket.high[slot]);
                    if low == 0 {
                        break;
                    }
                    let (key, tag) = Key::untag(low, high);
                    if epochs.live_tags >> tag & 1 == 0 {
                        continue;
                    }
                    let sighting = source.seen(at, slot);
                    match target.append(target.home(key), (low, high), sighting) {
                        Ok(()) => moved += 1,
                        Err(BucketFull) => {
                            counts.overflowed += 1;
                            overflow.insert(key, tag, sighting);
                        }
                    }
                }
                was_full = bucket.low[SLOTS - 1] != 0;
                self.cursor = at + 1;
            }
        }
        to.used += moved;
        if self.cursor >= self.old.len() {
            return true;
        }
        self.old.release_front(self.cursor);
        false
    }
}

impl Epochs {
    fn new() -> Epochs {
        Epochs { oldest: 0, hot: 0, clear_below: 0, lens: [0; TAGS as usize], live_tags: 1, len: 0 }
    }

    fn count(&mut self, new: u64) {
        self.lens[(self.hot % TAGS) as usize] += new;
        self.len += new;
    }

    fn open(&mut self) -> bool {
        let next = self.hot + 1;
        if next >= self.clear_below + TAGS {
            return false;
        }
        self.hot = next;
        self.lens[(next % TAGS) as usize] = 0;
        self.live_tags |= 1 << (next % TAGS);
        true
    }

    fn forget(&mut self) -> u64 {
        if self.oldest == self.hot {
            return 0;
        }
        let tag = self.oldest % TAGS;
        let forgotten = std::mem::take(&mut self.lens[tag as usize]);
        self.live_tags &= !(1 << tag);
        self.oldest += 1;
        self.len -= forgotten;
        forgotten
    }

    fn is_stale(&self) -> bool {
        self.oldest - self.clear_below > STALE_MAX
    }
}

fn slots_for(ids: usize, load: usize) -> usize {
    (ids / load).saturating_mul(128).saturating_add(ids % load * 128 / load + 1)
}

fn limit_of(table: &Table) -> usize {
    table.slots() * LOAD_MAX / 128
}
