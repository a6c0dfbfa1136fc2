//! One batch through the table: compute, fetch, look.
//!
//! The cost of a lookup is the wait for its cache line, and waits overlap. While the ids of one group of records are computed
//! and their lines sent for, the lines of the group before it arrive and are looked into. A group's prefetches go out
//! together: in a virtual machine an address costs two walks of page tables, a processor does not go far beyond a prefetch
//! whose address it cannot translate yet, but it translates several at a time. Measured beside a prefetch between every two
//! looks, and beside all prefetches of a batch at once: the fastest of the three from 1 M ids to 100 M, by a tenth to a
//! third.
//!
//! Ids whose line is full and that are not in it, or that need more thought, come last, their next line already on its way.

use crate::dedup::overflow::Overflow;
use crate::dedup::table::{Found, Key, PROBE_MAX, SLOTS, TableMut};
use crate::dedup::verdict::{BATCH, Sighting};
use std::ops::Range;

/// Lines that are sent for together; up to twice as many are on their way, and processors wait for 10 to 48. With first
/// sightings, an id has two.
const GROUP_LINES: usize = 16;

/// Where a batch's ids come from, and where what is found goes.
pub(super) trait Batch {
    /// Returns the number of ids, at most [`BATCH`].
    fn len(&self) -> usize;
    /// Computes these ids, before they are asked for.
    fn compute(&mut self, ids: Range<usize>);
    /// Returns the bits of an id; asked once for each.
    fn id(&mut self, i: usize) -> u128;
    fn sighting(&self, i: usize) -> Sighting;
    fn known(&mut self, i: usize, first: Sighting);
}

/// The current table and the one from which ids are moving to it: those whose old home is before `cursor` have moved.
pub(super) struct Tables<'a> {
    pub(super) current: TableMut<'a>,
    pub(super) old: TableMut<'a>,
    pub(super) cursor: usize,
}

/// The tag of new ids, and the mask of those tags whose ids are remembered.
#[derive(Clone, Copy)]
pub(super) struct EpochTags {
    pub(super) hot: u64,
    pub(super) live: u64,
}

/// What became of a batch.
pub(super) struct Probed {
    /// The mask of the new ids.
    pub(super) new: u64,
    /// Slots that were free before, in the current and in the old table.
    pub(super) used_in_current: usize,
    pub(super) used_in_old: usize,
}

/// Looks up each id of `batch` and inserts those that are not there. `MOVING` when there is an old table, `SEEN` when
/// sightings are kept.
#[inline(always)]
pub(super) fn probe<const MOVING: bool, const SEEN: bool>(
    tables: Tables<'_>,
    epochs: EpochTags,
    overflow: &mut Overflow,
    batch: &mut impl Batch,
) -> Probed {
    let count = batch.len().min(BATCH);
    let overflow_parts = overflow.parts();
    let mut pass = Pass::<_, MOVING, SEEN> {
        tables,
        epochs,
        overflow_parts,
        batch,
        keys: [Key::default(); BATCH],
        places: [0; BATCH],
        in_old: 0,
        new: 0,
        pending: 0,
        used: [0; 2],
    };
    let group = if SEEN { GROUP_LINES / 2 } else { GROUP_LINES };
    let (mut before, mut from) = (0, 0);
    while before < count {
        let to = (from + group).min(count);
        pass.batch.compute(from..to);
        (from..to).for_each(|i| pass.place(i));
        (from..to).for_each(|i| pass.fetch(i));
        (before..from).for_each(|i| pass.look(i));
        (before, from) = (from, to);
    }
    if !MOVING {
        pass.used[0] = pass.new.count_ones() as usize;
    }
    pass.finish(overflow);
    Probed { new: pass.new, used_in_current: pass.used[0], used_in_old: pass.used[1] }
}

struct Pass<'a, B, const MOVING: bool, const SEEN: bool> {
    tables: Tables<'a>,
    epochs: EpochTags,
    overflow_parts: u64,
    batch: &'a mut B,
    keys: [Key; BATCH],
    places: [usize; BATCH],
    in_old: u64,
    new: u64,
    pending: u64,
    used: [usize; 2],
}

impl<B: Batch, const MOVING: bool, const SEEN: bool> Pass<'_, B, MOVING, SEEN> {
    /// Finds the id's place.
    #[inline(always)]
    fn place(&mut self, i: usize) {
        let key = Key::new(self.batch.id(i));
        let Tables { current, old, cursor } = &self.tables;
        let old_home = if MOVING { old.home(key) } else { 0 };
        self.keys[i % BATCH] = key;
        self.places[i % BATCH] = if MOVING && old_home >= *cursor {
            self.in_old |= 1 << i;
            old_home
        } else {
            current.home(key)
        };
    }

    #[inline(always)]
    fn fetch(&self, i: usize) {
        let Tables { current, old, .. } = &self.tables;
        let table = if MOVING && self.in_old >> i & 1 != 0 { old } else { current };
        table.prefetch::<SEEN>(self.places[i % BATCH]);
    }

    #[inline(always)]
    fn look(&mut self, i: usize) {
        let (key, place) = (self.keys[i % BATCH], self.places[i % BATCH]);
        let in_old = MOVING && self.in_old >> i & 1 != 0;
        let Tables { current, old, .. } = &mut self.tables;
        let table = if in_old { old } else { current };
        let Some(bucket) = table.bucket_at::<SEEN>(place) else { return };
        let words = key.tagged(self.epochs.hot);
        let found = match bucket.find_words(key, words) {
            Err(Found::Here(slot)) if self.epochs.live >> bucket.tag(slot) & 1 != 0 => Ok(slot),
            found => found,
        };
        match found {
            Ok(slot) => {
                self.batch.known(i, if SEEN { table.seen(place, slot) } else { Sighting::default() });
            }
            Err(Found::Free(slot)) if self.overflow_parts >> key.part() & 1 == 0 => {
                bucket.set(slot, words);
                if SEEN {
                    table.set_seen(place, slot, self.batch.sighting(i));
                }
                if MOVING {
                    self.used[usize::from(in_old)] += 1;
                }
                self.new |= 1 << i;
            }
            _ => {
                self.pending |= 1 << i;
                table.prefetch::<SEEN>(place + 1);
            }
        }
    }

    /// Looks further for the ids that are pending, in the order of the batch. A bucket never becomes less full, so of two
    /// equal ids both are pending or neither is, and the first is still the one that is new.
    #[inline(always)]
    fn finish(&mut self, overflow: &mut Overflow) {
        while self.pending != 0 {
            let i = self.pending.trailing_zeros() as usize % BATCH;
            self.pending &= self.pending - 1;
            let in_old = MOVING && self.in_old >> i & 1 != 0;
            let Tables { current, old, .. } = &mut self.tables;
            let table = if in_old { old } else { current };
            let sighting = if SEEN { self.batch.sighting(i) } else { Sighting::default() };
            match insert_far(table, self.places[i], self.keys[i], self.epochs, sighting, overflow) {
                Far::Known(first) => self.batch.known(i, first),
                Far::Inserted { took_free_slot } => {
                    self.used[usize::from(in_old)] += usize::from(took_free_slot);
                    self.new |= 1 << i;
                }
            }
        }
    }
}

/// What became of an id that was not decided at first sight.
pub(super) enum Far {
    Known(Sighting),
    Inserted { took_free_slot: bool },
}

/// Looks for a key from its home on, over full buckets and in the overflow, and inserts it where it is not found: over an
/// id of a forgotten epoch if there is one, else into the first free slot, else into the overflow.
#[inline]
pub(super) fn insert_far(
    table: &mut TableMut<'_>,
    home: usize,
    key: Key,
    epochs: EpochTags,
    sighting: Sighting,
    overflow: &mut Overflow,
) -> Far {
    let all_live = epochs.live.count_ones() == 1 && epochs.hot == 0;
    let mut taken_over = None;
    let mut free = None;
    for at in home..home + PROBE_MAX {
        let Some(bucket) = table.bucket(at) else { break };
        match bucket.find(key) {
            Found::Here(slot) => {
                if epochs.live >> bucket.tag(slot) & 1 != 0 {
                    return Far::Known(table.seen(at, slot));
                }
                taken_over = Some((at, slot));
                break;
            }
            Found::Free(slot) => {
                free = Some((at, slot));
                break;
            }
            Found::Full => {}
        }
        if !all_live && taken_over.is_none() {
            let dead = (0..SLOTS).find(|&slot| epochs.live >> bucket.tag(slot) & 1 == 0);
            taken_over = dead.map(|slot| (at, slot));
        }
    }
    if let Some(first) = overflow.get(key) {
        return Far::Known(first);
    }
    let Some((at, slot)) = taken_over.or(free) else {
        overflow.insert(key, epochs.hot, sighting);
        return Far::Inserted { took_free_slot: false };
    };
    if let Some(bucket) = table.bucket_mut(at) {
        bucket.set(slot, key.tagged(epochs.hot));
    }
    table.set_seen(at, slot, sighting);
    Far::Inserted { took_free_slot: taken_over.is_none() }
}
