//! Texts under 64-bit hashes of their content; what [`Symbols`](super::Symbols) and [`Details`](super::Details) share.
//!
//! A table is bounded in bytes. Texts stand in a queue in the order in which they came; where there are many, whoever brings a new
//! one looks at a few from the front: one that was used not long ago goes to the back again, one that nobody needs any more is
//! removed (the second-chance, or clock, algorithm; Corbató, "A Paging Experiment with the Multics System", 1968). Age is measured
//! in *eras*: the time in which an eighth of the limit came in new texts.
//!
//! ```text
//!  0          1/4         1/2                              limit
//!  ├───────────┼───────────┼────────────────────────────────┤
//!   all stay    stages are  texts that are old and have      the oldest go, needed
//!               asked       gone through all stages go       or not, and are counted
//! ```
//!
//! A text is needed by events on their way: those emitted in its last era, or in the one after it, until all stages of all
//! pipelines that use the table have handled what was emitted by then ([`Stages`]). Who needs one longer
//! [holds](Table::hold) it, and [releases](Table::release) it afterwards. Holds are counted; a text that is held stays in the
//! queue and goes to its back when it is looked at. What is held takes at most a quarter of the limit, or three eighths with what is
//! held by those who emit ([`Holder`]), so that reports leave them room.

use crate::event::stages::{Handled, Stages};
use crate::hash::Keyed;
use std::collections::VecDeque;
use std::fmt;
use std::hint;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, Weak};
use xxhash_rust::xxh3::xxh3_64;

/// What a text takes beside its bytes, about: its entry, its place in the queue, and what the allocator keeps of each.
const ENTRY_BYTES: u64 = 128;

/// Texts at the front of the queue that are looked at for a new one, and one more for each [`ENTRY_BYTES`] of it.
const LOOKS: u64 = 4;

/// Texts that are looked at where there is no room: after so many, the next one goes even if it was used.
const LOOKS_MAX: usize = 256;

/// A text's state: its last era; or this and by how many it is held; or that it is gone.
const HELD: u64 = 1 << 63;
const GONE: u64 = u64::MAX;

/// Who holds a text.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Holder {
    /// Who emits events that refer to it.
    Emission,
    /// Who will report it.
    Report,
}

/// Is told of each text before it can be found in a table.
pub(crate) trait Tap: Send + Sync {
    /// `text` comes into the table under `hash`; perhaps again, and perhaps not after all, where two threads put texts
    /// in at once.
    fn comes(&self, hash: u64, text: &str);
}

/// Holds texts by hash. Looking one up, or putting in one that is there, takes no lock.
pub(super) struct Table {
    texts: papaya::HashMap<u64, Entry, Keyed>,
    len_max: usize,
    limit: u64,
    /// An era's bytes are 2 to the power of this.
    era_bits: u32,
    era: AtomicU64,
    /// Of the texts that are there, with [`ENTRY_BYTES`] each.
    bytes: AtomicU64,
    /// Of those that are held.
    held_bytes: AtomicU64,
    /// Of all texts that ever came.
    bytes_ever: AtomicU64,
    count_ever: AtomicU64,
    refused: AtomicU64,
    evicted: AtomicU64,
    evicted_early: AtomicU64,
    missed: AtomicU64,
    hold_refused: AtomicU64,
    ages: Mutex<Ages>,
    /// Held for reading while a text is put in, so that none comes between a tap's first look and its first call.
    taps: RwLock<Vec<Weak<dyn Tap>>>,
}

struct Entry {
    text: Arc<str>,
    state: AtomicU64,
}

/// What decides which texts go.
#[derive(Default)]
struct Ages {
    /// Hashes of all texts, in the order in which they came or were put back; and the last era in which each had been used then.
    queue: VecDeque<(u64, u64)>,
    handled: Handled,
    /// Texts of eras before this may go.
    old: u64,
}

/// Why a text was not taken in.
pub(super) enum Refused {
    Collision { known: Arc<str> },
    TooLong,
    Full,
}

/// Which texts may go.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Which {
    Old,
    /// Any that was not used since it was looked at last.
    Unused,
    Any,
}

impl Table {
    /// Makes a table for texts of at most `len_max` bytes each, and `limit` bytes in all, [`ENTRY_BYTES`] for each included.
    /// Threads that put something in at the same moment may each go one text over it.
    pub(super) fn new(len_max: usize, limit: u64) -> Table {
        Table {
            texts: papaya::HashMap::default(),
            len_max,
            limit,
            era_bits: (limit / 8).max(1).ilog2(),
            era: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            held_bytes: AtomicU64::new(0),
            bytes_ever: AtomicU64::new(0),
            count_ever: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            evicted: AtomicU64::new(0),
            evicted_early: AtomicU64::new(0),
            missed: AtomicU64::new(0),
            hold_refused: AtomicU64::new(0),
            ages: Mutex::default(),
            taps: RwLock::default(),
        }
    }

    /// Returns the hash of `text`; never 0.
    #[inline]
    pub(super) fn hash(text: &str) -> u64 {
        // A text whose hash is 0 (one in 2^64) shares its place with one whose hash is 1; a table would detect both
        // in one run.
        xxh3_64(text.as_bytes()).max(1)
    }

    /// Puts `text` under `hash`, which is its own.
    pub(super) fn insert(&self, hash: u64, text: &str) -> Result<(), Refused> {
        self.put(hash, text).inspect_err(|_| {
            self.refused.fetch_add(1, Ordering::Relaxed);
        })
    }

    fn put(&self, hash: u64, text: &str) -> Result<(), Refused> {
        let texts = self.texts.pin();
        loop {
            match texts.get(&hash) {
                Some(known) if !self.is_used(known) => {
                    // Whoever evicts it has yet to take it out.
                    hint::spin_loop();
                    let _ = texts.remove_if(&hash, |_, known| known.is_gone());
                }
                Some(known) if *known.text == *text => return Ok(()),
                Some(known) => return Err(Refused::Collision { known: Arc::clone(&known.text) }),
                None if text.len() > self.len_max => return Err(Refused::TooLong),
                None if !self.make_room(cost(text)) => return Err(Refused::Full),
                None => {
                    let taps = self.taps.read().unwrap_or_else(PoisonError::into_inner);
                    taps.iter().filter_map(Weak::upgrade).for_each(|tap| tap.comes(hash, text));
                    let era = self.era.load(Ordering::Relaxed);
                    // Not `get_or_insert_with`: with papaya 0.2 a map that grows by that one alone is never moved to its
                    // larger table as a whole, and who looks for a text goes through all the tables that there ever were.
                    if texts
                        .try_insert(hash, Entry { text: Arc::from(text), state: AtomicU64::new(era) })
                        .is_ok()
                    {
                        self.came(hash, era, cost(text));
                        return Ok(());
                    }
                }
            }
        }
    }

    /// Counts a text that has come.
    fn came(&self, hash: u64, era: u64, cost: u64) {
        self.bytes.fetch_add(cost, Ordering::Relaxed);
        self.count_ever.fetch_add(1, Ordering::Relaxed);
        let ever = self.bytes_ever.fetch_add(cost, Ordering::Relaxed) + cost;
        self.era.fetch_max(ever >> self.era_bits, Ordering::Relaxed);
        self.ages().queue.push_back((hash, era));
    }

    /// Notes that a text is used; false when it is no longer there.
    #[inline]
    fn is_used(&self, entry: &Entry) -> bool {
        let era = self.era.load(Ordering::Relaxed);
        let mut state = entry.state.load(Ordering::Relaxed);
        // What is held is above all eras, and what is gone above that.
        while state < era {
            match entry.state.compare_exchange_weak(state, era, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return true,
                Err(other) => state = other,
            }
        }
        state != GONE
    }

    /// Removes texts where there are many; false when there is no room for `cost` bytes nevertheless.
    fn make_room(&self, cost: u64) -> bool {
        if self.held_bytes() + cost > self.limit {
            return false;
        }
        let with_new = || self.bytes() + cost;
        if with_new() <= self.limit / 4 {
            return true;
        }
        let mut ages = self.ages();
        // Texts are put in before their events are emitted, in the same era or in the next one.
        ages.old = ages.handled.before(self.era.load(Ordering::Relaxed)).saturating_sub(1);
        let mut looks = LOOKS + cost / ENTRY_BYTES;
        while with_new() > self.limit / 2 && looks > 0 && self.evict(&mut ages, Which::Old) {
            looks -= 1;
        }
        // Then each in the queue once: those that are held go to its back.
        let all = ages.queue.len();
        for looks in 0..LOOKS_MAX + all {
            let which = if looks < LOOKS_MAX { Which::Unused } else { Which::Any };
            if with_new() <= self.limit || !self.evict(&mut ages, which) {
                break;
            }
        }
        with_new() <= self.limit
    }

    /// Removes the text at the front of the queue, or puts it back; false when it may not go, nor one behind it.
    fn evict(&self, ages: &mut Ages, which: Which) -> bool {
        let Some((hash, queued)) = ages.queue.pop_front() else { return false };
        let texts = self.texts.pin();
        let Some(entry) = texts.get(&hash) else { return true };
        let state = entry.state.load(Ordering::Relaxed);
        if state == GONE {
            return true;
        }
        if state & HELD != 0 {
            ages.queue.push_back((hash, queued));
            return true;
        }
        let is_old = state < ages.old;
        if !is_old && state != queued && which != Which::Any {
            // It was used since.
            ages.queue.push_back((hash, state));
            return true;
        }
        if !is_old && which == Which::Old {
            ages.queue.push_front((hash, queued));
            return false;
        }
        if entry.state.compare_exchange(state, GONE, Ordering::Relaxed, Ordering::Relaxed).is_err() {
            ages.queue.push_front((hash, queued));
            return true;
        }
        self.bytes.fetch_sub(cost(&entry.text), Ordering::Relaxed);
        let counter = if is_old { &self.evicted } else { &self.evicted_early };
        counter.fetch_add(1, Ordering::Relaxed);
        // Whoever brings it again may have taken it out already, and put it in anew.
        let _ = texts.remove_if(&hash, |_, entry| entry.is_gone());
        true
    }

    fn ages(&self) -> MutexGuard<'_, Ages> {
        // Each change leaves it whole.
        self.ages.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Holds the text: it stays until it has been [released](Table::release) as often as it was held. False when it is not there, or
    /// what is held takes the share of `holder`. Takes no lock.
    pub(super) fn hold(&self, hash: u64, holder: Holder) -> bool {
        let texts = self.texts.pin();
        let Some(entry) = texts.get(&hash) else { return false };
        let cost = cost(&entry.text);
        let mut state = entry.state.load(Ordering::Relaxed);
        while state != GONE {
            let is_first = state & HELD == 0;
            if is_first && !self.take_share(cost, holder) {
                self.hold_refused.fetch_add(1, Ordering::Relaxed);
                return false;
            }
            let held = if is_first { HELD | 1 } else { state + 1 };
            match entry.state.compare_exchange(state, held, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return true,
                Err(other) => state = other,
            }
            if is_first {
                self.held_bytes.fetch_sub(cost, Ordering::Relaxed);
            }
        }
        false
    }

    fn take_share(&self, cost: u64, holder: Holder) -> bool {
        let share = match holder {
            Holder::Report => self.limit / 4,
            Holder::Emission => self.limit / 8 * 3,
        };
        let has_room = self.held_bytes.fetch_add(cost, Ordering::Relaxed) + cost <= share;
        if !has_room {
            self.held_bytes.fetch_sub(cost, Ordering::Relaxed);
        }
        has_room
    }

    /// Lets go of a text that was [held](Table::hold). Once all have, it was used just now. Takes no lock.
    pub(super) fn release(&self, hash: u64) {
        let texts = self.texts.pin();
        // It is there, being held.
        let Some(entry) = texts.get(&hash) else { return };
        let mut state = entry.state.load(Ordering::Relaxed);
        while state & HELD != 0 && state != GONE {
            let is_last = state == HELD | 1;
            let released = if is_last { self.era.load(Ordering::Relaxed) } else { state - 1 };
            match entry.state.compare_exchange(state, released, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) if is_last => {
                    self.held_bytes.fetch_sub(cost(&entry.text), Ordering::Relaxed);
                    return;
                }
                Ok(_) => return,
                Err(other) => state = other,
            }
        }
    }

    /// Lets texts stay as long as events that `stages` handle may need them.
    pub(super) fn serve(&self, stages: Weak<dyn Stages>) {
        self.ages().handled.by(stages);
    }

    /// Tells `tap` of all texts that there are, and of each new one as long as it lives.
    pub(super) fn tap(&self, tap: &Arc<dyn Tap>) {
        self.taps.write().unwrap_or_else(PoisonError::into_inner).push(Arc::downgrade(tap));
        self.for_each(|hash, text| tap.comes(hash, text));
    }

    pub(super) fn get(&self, hash: u64) -> Option<Arc<str>> {
        self.with_entry(hash, |entry| entry.map(|entry| Arc::clone(&entry.text)))
    }

    /// Calls `with` on the text, without counting a reference.
    pub(super) fn with<R>(&self, hash: u64, with: impl FnOnce(Option<&str>) -> R) -> R {
        self.with_entry(hash, |entry| with(entry.map(|entry| &*entry.text)))
    }

    fn with_entry<R>(&self, hash: u64, with: impl FnOnce(Option<&Entry>) -> R) -> R {
        let texts = self.texts.pin();
        let entry = texts.get(&hash).filter(|entry| self.is_used(entry));
        if entry.is_none() && hash != 0 && self.evicted() + self.evicted_early() > 0 {
            self.missed.fetch_add(1, Ordering::Relaxed);
        }
        with(entry)
    }

    /// Calls `each` for every text there is; those that come meanwhile may be missed.
    pub(super) fn for_each(&self, mut each: impl FnMut(u64, &str)) {
        for (hash, entry) in &self.texts.pin() {
            each(*hash, &entry.text);
        }
    }

    pub(super) fn len(&self) -> usize {
        self.texts.len()
    }

    pub(super) fn limit(&self) -> u64 {
        self.limit
    }

    /// Bytes of text, with [`ENTRY_BYTES`] for each.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// How many texts have come so far, each as often as it came anew.
    pub(super) fn count_ever(&self) -> u64 {
        self.count_ever.load(Ordering::Relaxed)
    }

    pub(super) fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    pub(super) fn evicted(&self) -> u64 {
        self.evicted.load(Ordering::Relaxed)
    }

    /// How often a text was looked for in vain since the first was evicted.
    pub(super) fn missed(&self) -> u64 {
        self.missed.load(Ordering::Relaxed)
    }

    /// Of the texts that are held, with [`ENTRY_BYTES`] for each.
    pub(super) fn held_bytes(&self) -> u64 {
        self.held_bytes.load(Ordering::Relaxed)
    }

    /// How often a text could not be held because those that are take their share.
    pub(super) fn hold_refused(&self) -> u64 {
        self.hold_refused.load(Ordering::Relaxed)
    }

    pub(super) fn evicted_early(&self) -> u64 {
        self.evicted_early.load(Ordering::Relaxed)
    }
}

impl Entry {
    fn is_gone(&self) -> bool {
        self.state.load(Ordering::Relaxed) == GONE
    }
}

fn cost(text: &str) -> u64 {
    text.len() as u64 + ENTRY_BYTES
}

impl fmt::Debug for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Table").field("len", &self.len()).field("limit", &self.limit).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
