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
//! [keeps](Table::keep) it, for as long as the table lives; kept texts take at most a quarter of the limit.

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

/// A text's state: its last era, or one of these.
const KEPT: u64 = 1 << 63;
const GONE: u64 = u64::MAX;

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
    kept_bytes: AtomicU64,
    /// Of all texts that ever came.
    bytes_ever: AtomicU64,
    count_ever: AtomicU64,
    refused: AtomicU64,
    evicted: AtomicU64,
    evicted_early: AtomicU64,
    missed: AtomicU64,
    keep_refused: AtomicU64,
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
    /// Hashes of texts that are not kept, and of some that are, in the order in which they came or were put back; and the last era
    /// in which each had been used then.
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
            kept_bytes: AtomicU64::new(0),
            bytes_ever: AtomicU64::new(0),
            count_ever: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            evicted: AtomicU64::new(0),
            evicted_early: AtomicU64::new(0),
            missed: AtomicU64::new(0),
            keep_refused: AtomicU64::new(0),
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
        // What is kept is above all eras, and what is gone above that.
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
        if self.kept_bytes.load(Ordering::Relaxed) + cost > self.limit {
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
        let mut looks = LOOKS_MAX;
        while with_new() > self.limit {
            let which = if looks > 0 { Which::Unused } else { Which::Any };
            looks = looks.saturating_sub(1);
            if !self.evict(&mut ages, which) {
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
        if state & KEPT != 0 {
            // It has left the queue for good.
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

    /// Keeps the text as long as the table lives; false when it is not there, or what is kept takes a quarter of the limit.
    pub(super) fn keep(&self, hash: u64) -> bool {
        let texts = self.texts.pin();
        let Some(entry) = texts.get(&hash) else { return false };
        let cost = cost(&entry.text);
        let mut state = entry.state.load(Ordering::Relaxed);
        while state & KEPT == 0 {
            if self.kept_bytes.fetch_add(cost, Ordering::Relaxed) + cost > self.limit / 4 {
                self.kept_bytes.fetch_sub(cost, Ordering::Relaxed);
                self.keep_refused.fetch_add(1, Ordering::Relaxed);
                return false;
            }
            match entry.state.compare_exchange(state, KEPT, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return true,
                Err(other) => state = other,
            }
            self.kept_bytes.fetch_sub(cost, Ordering::Relaxed);
        }
        state != GONE
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

    /// How often a text could not be kept because those that are take their quarter.
    pub(super) fn keep_refused(&self) -> u64 {
        self.keep_refused.load(Ordering::Relaxed)
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
mod tests {
    use super::*;
    use crate::event::stages::Slow;

    const LIMIT: u64 = 1 << 16;

    fn insert(table: &Table, text: &str) -> bool {
        table.insert(Table::hash(text), text).is_ok()
    }

    fn has(table: &Table, text: &str) -> bool {
        table.get(Table::hash(text)).as_deref() == Some(text)
    }

    /// Checks that the account of a table is that of its content.
    fn check(table: &Table) {
        let (mut bytes, mut len) = (0, 0);
        table.for_each(|_, text| (bytes, len) = (bytes + cost(text), len + 1));
        assert_eq!((table.bytes(), table.len()), (bytes, len));
        let went = table.evicted() + table.evicted_early();
        assert_eq!(table.count_ever(), len as u64 + went);
    }

    #[test]
    fn new_texts_for_ever_take_bounded_memory_and_those_in_use_stay() {
        let table = Table::new(64, LIMIT);
        assert!(insert(&table, "kept") && table.keep(Table::hash("kept")) && insert(&table, "looked up"));
        for number in 0..100_000 {
            assert!(insert(&table, &format!("text {number}")));
            if number % 20 == 0 {
                assert!(insert(&table, "used") && has(&table, "looked up"));
            }
            assert!(table.bytes() <= LIMIT / 2 + 1000, "{} bytes", table.bytes());
            // In an era an eighth of the limit comes: 60 such texts, and more than that.
            assert!(
                (number.max(50) - 50..=number).all(|number| has(&table, &format!("text {number}")))
                    || number % 500 != 0
            );
        }
        assert!(has(&table, "used") && has(&table, "kept"));
        assert_eq!((table.evicted_early(), table.refused()), (0, 0));
        assert!(table.evicted() > 99_000);
        check(&table);
    }

    #[test]
    fn what_stages_have_not_handled_stays_until_there_is_no_room() {
        let (table, stages) = (Table::new(64, LIMIT), Arc::new(Slow::default()));
        let served: Arc<dyn Stages> = stages.clone();
        table.serve(Arc::downgrade(&served));
        let mut number = 0;
        while table.bytes() + 200 < LIMIT {
            assert!(insert(&table, &format!("text {number}")));
            number += 1;
        }
        assert_eq!((table.evicted(), table.len()), (0, number));
        assert_eq!(stages.asked.load(Ordering::Relaxed), 1, "asked once until it has answered");
        // It stands still: the oldest go all the same, and it is told.
        for more in 0..100 {
            assert!(insert(&table, &format!("more {more}")));
        }
        assert!(has(&table, "more 99") && !has(&table, "text 0") && has(&table, "text 200"));
        assert!(table.evicted() == 0 && table.evicted_early() >= 99, "{} early", table.evicted_early());
        assert!(table.bytes() <= LIMIT);
        // It has handled everything: what goes from now on is no loss.
        stages.handled.store(u64::MAX, Ordering::Relaxed);
        // What they had been asked was long ago.
        assert!(insert(&table, "later"));
        let early = table.evicted_early();
        for more in 0..2000 {
            assert!(insert(&table, &format!("later {more}")));
        }
        assert_eq!(table.evicted_early(), early);
        assert!(table.bytes() <= LIMIT / 2 + 1000);
        check(&table);
    }

    #[test]
    fn kept_texts_take_a_quarter_and_what_does_not_fit_is_refused() {
        let table = Table::new(1 << 20, LIMIT);
        let kept = (0..1000).filter(|number| {
            let text = format!("text {number}");
            insert(&table, &text) && table.keep(Table::hash(&text)) && table.keep(Table::hash(&text))
        });
        let kept: Vec<_> = kept.collect();
        assert!((80..=LIMIT as usize / 4 / 128).contains(&kept.len()), "{}", kept.len());
        let long = "x".repeat(LIMIT as usize);
        assert!(!insert(&table, &long) && table.refused() == 1);
        for number in 0..10_000 {
            assert!(insert(&table, &format!("more {number}")));
        }
        assert!(kept.iter().all(|number| has(&table, &format!("text {number}"))));
        check(&table);
    }

    #[test]
    fn a_long_text_makes_room_for_itself() {
        let table = Table::new(1 << 20, LIMIT);
        for number in 0..1000 {
            assert!(insert(&table, &format!("text {number}")));
            assert!(insert(&table, &format!("{number:0$}", LIMIT as usize / 3)));
            assert!(table.bytes() <= LIMIT);
        }
        check(&table);
    }

    #[test]
    fn threads_find_what_they_have_put_in_while_others_evict() {
        let table = Table::new(64, 1 << 22);
        std::thread::scope(|scope| {
            for thread in 0..4_u64 {
                let table = &table;
                scope.spawn(move || {
                    let mut rng = fastrand::Rng::with_seed(thread);
                    for number in 0..100_000_u64 {
                        // Some are new, some come again after a while, and some are used by all.
                        let text = match rng.u64(0..4) {
                            0 => format!("{thread} {number}"),
                            1 => format!("all {}", rng.u64(0..20)),
                            _ => format!("all {}", (number + rng.u64(0..3000)) / 3),
                        };
                        let era = table.era.load(Ordering::Relaxed);
                        assert!(insert(table, &text));
                        // It may go when its thread was away for an era and more.
                        let is_late = || table.era.load(Ordering::Relaxed) > era + 1;
                        assert!(has(table, &text) || is_late(), "{text}");
                    }
                });
            }
        });
        assert_eq!((table.evicted_early(), table.refused()), (0, 0));
        assert!(table.evicted() > 10_000);
        check(&table);
    }
}
