//! Exact deduplication: which records are seen for the first time.
//!
//! ```text
//!  records ──► ids ──► exact set ──► verdicts: New | Duplicate { first sighting }
//!            (hash)   one cache line each, prefetched, 64 at a time
//! ```
//!
//! A verdict `Duplicate` is only ever given because the set holds all 122 bits of the id. Records that come without an id get
//! theirs here: see [`crate::event::identity`]. Within a window the set
//! forgets its oldest epoch whole and counts what it forgot: that can let a duplicate through, and can never drop
//! a new event.
//!
//! # Design
//!
//! - The set is one table of cache-line buckets, in the order of the ids, so that growing is a walk through memory
//!   and is spread over the batches ([`ExactSet`]).
//! - What does not fit into a memory budget lies on disk in sorted runs. A filter in front, of 16 bits an id, tells which run
//!   may hold an id, so that new ids seldom read the disk and known ones read one block.
//!   In front of the table in memory a filter only adds work: it costs a line of its own, and a new id must be
//!   inserted anyway.
//! - Epochs share the table: a slot says which epoch it belongs to, in the six bits that are the same in every id. A
//!   lookup costs one line however many epochs a window has, and forgetting an epoch costs nothing.

mod index;
mod memory;
mod overflow;
mod probe;
mod run;
mod set;
mod simd;
mod spill;
mod table;
mod window;

pub use set::{ExactSet, SetCounts};

use crate::event::{IdScope, Origin, Record};
use probe::Batch;
use run::RunWriter;
use spill::Spill;
use std::ops::Range;
use std::path::PathBuf;
use std::time::Duration;
use table::Key;
use window::Bounds;

/// Records that are checked at once.
pub const BATCH: usize = 64;

/// Bytes that a memory budget has at least.
pub const BUDGET_MIN: usize = 4 << 20;

/// Epochs that a window may have.
pub const EPOCHS_MAX: usize = 24;

/// How far back a [`Dedup`] remembers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Window {
    /// Everything.
    Unbounded,
    /// At least the last so many distinct ids, counted when first seen, and at most one epoch more.
    Last(u64),
    /// Every id first seen within this duration of the newest time, by the records' own times, and at most one
    /// epoch more. Records that come late, with a time older than that, are remembered with the epoch they came
    /// in.
    Sliding(Duration),
}

/// When a filter is asked before the exact set.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FilterUse {
    /// Where they pay: in front of what lies on disk.
    Auto,
    /// As `Auto`, and said so.
    On,
    /// Never: each run on disk is read for every id that is not in memory. See [`Dedup::set_filter`].
    Off,
}

/// What a [`Dedup`] remembers, and how.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DedupOptions {
    /// How far back it remembers.
    pub window: Window,
    /// Parts in which a window forgets, 1 to [`EPOCHS_MAX`]: more forget more smoothly.
    pub epochs: usize,
    /// Whether each id keeps when and by which source it was first seen, at 16 more bytes a slot.
    pub first_sightings: bool,
    /// Ids to have room for from the start, in memory that is touched at once.
    pub expected_ids: usize,
    /// Bytes of memory that may be held; what is more goes to `spill_dir`. `None` is no bound.
    ///
    /// An id on disk takes some 2.6 bytes of it; with less than that for all ids that are remembered, lookups become slow.
    /// Ids that are crafted to overflow together ([`DedupStats::overflowed`]) stay in memory all the same.
    pub memory_budget_bytes: Option<usize>,
    /// When filters are used.
    pub filter: FilterUse,
    /// Where cold ids go when the memory budget is reached.
    pub spill_dir: Option<PathBuf>,
}

impl Default for DedupOptions {
    fn default() -> DedupOptions {
        DedupOptions {
            window: Window::Unbounded,
            epochs: 8,
            first_sightings: true,
            expected_ids: 4096,
            memory_budget_bytes: None,
            filter: FilterUse::Auto,
            spill_dir: None,
        }
    }
}

/// When, and by which source, an event was first seen.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Sighting {
    /// Nanoseconds since the Unix epoch.
    pub time_ns: u64,
    /// The emitter.
    pub source: u16,
}

/// Whether a record is a new event.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// Not remembered: the event is seen for the first time, or was forgotten.
    New,
    /// Seen before.
    Duplicate {
        /// The first sighting; `None` when sightings are not kept.
        first: Option<Sighting>,
    },
}

/// Why a [`Dedup`] cannot be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DedupError {
    /// A window of nothing.
    #[error("option `window` is {window:?}, which remembers nothing; give at least one id or one nanosecond")]
    EmptyWindow {
        /// The value given.
        window: Window,
    },
    /// More or fewer epochs than there can be.
    #[error("option `epochs` is {epochs}; give 1 to {EPOCHS_MAX}")]
    Epochs {
        /// The value given.
        epochs: usize,
    },
    /// A budget too small to work with.
    #[error("option `memory_budget_bytes` is {budget_bytes}; give at least {}", BUDGET_MIN)]
    Budget {
        /// The value given.
        budget_bytes: usize,
    },
    /// A budget, and nowhere to put what is more.
    #[error("option `memory_budget_bytes` is given without `spill_dir`; give a directory, or no budget")]
    NoSpillDir,
    /// The directory for cold ids cannot be made or written to.
    #[error(
        "option `spill_dir` is {path}, in which no file can be made; give a directory that can be written to"
    )]
    SpillDir {
        /// The value given.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// The memory for the expected ids cannot be had.
    #[error("option `expected_ids` is {expected_ids}, and the memory for that cannot be had; give fewer")]
    Memory {
        /// The value given.
        expected_ids: usize,
        /// What the system says.
        source: std::io::Error,
    },
}

/// What a [`Dedup`] holds and has done.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct DedupStats {
    /// Ids remembered now.
    pub remembered: u64,
    /// Ids forgotten since the start because their window had passed.
    pub forgotten: u64,
    /// Records that came with a time older than what a sliding window remembers.
    pub late: u64,
    /// Live epochs, the hot one included.
    pub epochs: u64,
    /// Bytes of memory held.
    pub memory_bytes: usize,
    /// Bytes of memory that the kernel holds in huge pages.
    pub huge_page_bytes: usize,
    /// Lookups that the filters answered with "certainly not on disk".
    pub filter_negatives: u64,
    /// Reads of a run for which a filter was the reason, and that found nothing.
    pub filter_false_positives: u64,
    /// Times ids began to move to a larger, smaller or cleaner table.
    pub growths: u64,
    /// Times no memory could be had to grow.
    pub growth_failures: u64,
    /// Ids that found their part of the table full and are kept beside it: a sign of crafted digests.
    pub overflowed: u64,
    /// Ids that lie on disk.
    pub spilled_ids: u64,
    /// Bytes on disk.
    pub spilled_bytes: u64,
    /// Duplicates that were found on disk, or on their way there.
    pub cold_hits: u64,
    /// Times cold ids could not be written; they stay in memory, over the budget.
    pub spill_write_failures: u64,
    /// Times cold ids could not be read: a duplicate may have passed as new.
    pub spill_read_failures: u64,
}

/// Tells new records from duplicates, exactly.
///
/// Owned by one thread. Where several share the work, each takes the ids of its own share.
pub struct Dedup {
    set: ExactSet,
    bounds: Bounds,
    spill: Option<Box<Spill>>,
    first_sightings: bool,
    forgotten: u64,
    late: u64,
    origin: IdScope,
}

impl Dedup {
    /// Makes an empty one, with an origin of its own.
    ///
    /// # Errors
    ///
    /// [`DedupError`] names the option, its value and what would be valid.
    pub fn new(options: &DedupOptions) -> Result<Dedup, DedupError> {
        let window = options.window;
        if matches!(window, Window::Last(0) | Window::Sliding(Duration::ZERO)) {
            return Err(DedupError::EmptyWindow { window });
        }
        if !(1..=EPOCHS_MAX).contains(&options.epochs) {
            return Err(DedupError::Epochs { epochs: options.epochs });
        }
        let most_ids = Bounds::most_ids(window, options.epochs).unwrap_or(u64::MAX);
        let expected_ids = options.expected_ids.min(usize::try_from(most_ids).unwrap_or(usize::MAX));
        let spill = Dedup::spill(options)?;
        // With a budget the set begins small: it would be put aside before it is full.
        let expected_ids = if spill.is_some() { expected_ids.min(4096) } else { expected_ids };
        let mut set = ExactSet::new(expected_ids, options.first_sightings)?;
        if let Some(spill) = &spill {
            set.limit_bytes(spill.hot_bytes());
        }
        Ok(Dedup {
            set,
            bounds: Bounds::new(window, options.epochs),
            spill: spill.map(Box::new),
            first_sightings: options.first_sightings,
            forgotten: 0,
            late: 0,
            origin: IdScope::new(Origin::random().bits()),
        })
    }

    /// Takes over an origin: records that come without an id get the one that a pipeline of this origin gives them.
    #[must_use]
    pub fn with_origin(mut self, origin: Origin) -> Dedup {
        self.origin = IdScope::new(origin.bits());
        self
    }

    /// Fills in the ids of `records`, writes a verdict for each, and returns the bit mask of the new ones: bit `i` is
    /// set when record `i` is new. Verdicts beyond the last record are left alone.
    ///
    /// # Panics
    ///
    /// When there are more than [`BATCH`] records.
    pub fn check(&mut self, records: &mut [Record], verdicts: &mut [Verdict; BATCH]) -> u64 {
        assert!(records.len() <= BATCH, "a batch has at most {BATCH} records, not {}", records.len());
        let mut new = 0;
        let mut done = 0;
        while let Some(rest) = records.get_mut(done..).filter(|rest| !rest.is_empty()) {
            let span = self.bounds.span(rest);
            let (now, _) = rest.split_at_mut(span);
            let verdicts = verdicts.get_mut(done..).unwrap_or_default();
            self.late += self.bounds.count_late(now);
            let before = self.bounds.before(now, &mut self.set);
            let cold = if self.spill.is_some() { self.recall(now, verdicts) } else { 0 };
            new |= self.check_span(now, verdicts, cold) << done;
            let forgotten = before + self.bounds.after(&mut self.set);
            self.forgotten += forgotten;
            if forgotten > 0
                && let Some(spill) = &mut self.spill
            {
                spill.forget(&self.set);
            }
            done += span;
        }
        new
    }

    /// Changes when filters are used; without a memory budget there are none, and this does nothing. Verdicts stay exact.
    ///
    /// Under [`FilterUse::Off`] the filters that are there are kept, but not asked. Ids that go to disk meanwhile have none, now
    /// or later, unless those before them left room in theirs: after a change back they are still looked for in each of their
    /// runs. For measurements, and where a filter is in doubt.
    pub fn set_filter(&mut self, filter: FilterUse) {
        if let Some(spill) = &mut self.spill {
            spill.use_index(filter != FilterUse::Off);
        }
    }

    /// Returns what it holds and has done. Takes a while: the kernel is asked about huge pages.
    #[must_use]
    pub fn stats(&self) -> DedupStats {
        let counts = self.set.counts();
        let spill = self.spill.as_deref();
        let cold = spill.map(Spill::counts).unwrap_or_default();
        let (spilled_ids, spilled_bytes) = spill.map(Spill::on_disk).unwrap_or_default();
        DedupStats {
            remembered: self.set.len(),
            forgotten: self.forgotten,
            late: self.late,
            epochs: self.set.epochs(),
            memory_bytes: self.set.memory_bytes() + spill.map_or(0, Spill::memory_bytes),
            huge_page_bytes: self.set.huge_page_bytes(),
            growths: counts.sweeps,
            growth_failures: counts.growth_failures,
            overflowed: counts.overflowed,
            filter_negatives: cold.filter_negatives,
            filter_false_positives: cold.filter_false_positives,
            spilled_ids,
            spilled_bytes,
            cold_hits: cold.cold_hits,
            spill_write_failures: cold.write_failures,
            spill_read_failures: cold.read_failures,
        }
    }

    fn spill(options: &DedupOptions) -> Result<Option<Spill>, DedupError> {
        let Some(budget_bytes) = options.memory_budget_bytes else { return Ok(None) };
        if budget_bytes < BUDGET_MIN {
            return Err(DedupError::Budget { budget_bytes });
        }
        let Some(dir) = options.spill_dir.clone() else { return Err(DedupError::NoSpillDir) };
        let tried = std::fs::create_dir_all(&dir).and_then(|()| RunWriter::create(&dir, false)).map(drop);
        tried.map_err(|source| DedupError::SpillDir { path: dir.clone(), source })?;
        Ok(Some(Spill::new(options, dir, budget_bytes)))
    }

    /// Writes and reads what is cold: gives the verdicts on those of `records` that are, and returns their mask.
    fn recall(&mut self, records: &mut [Record], verdicts: &mut [Verdict]) -> u64 {
        let Some(spill) = &mut self.spill else { return 0 };
        spill.advance(records.len(), &mut self.set);
        self.set.limit_bytes(spill.hot_bytes());
        let mut keys = [Key::default(); BATCH];
        Record::fill_ids_in(records, &self.origin);
        for (record, key) in records.iter().zip(&mut keys) {
            *key = Key::new(record.id_bits());
            self.set.prefetch(*key);
        }
        let mut firsts = [Sighting::default(); BATCH];
        let cold = spill.recall(keys.get(..records.len()).unwrap_or_default(), &self.set, &mut firsts);
        for (at, (verdict, first)) in verdicts.iter_mut().zip(firsts).enumerate() {
            if cold >> at & 1 != 0 {
                *verdict = Verdict::Duplicate { first: self.first_sightings.then_some(first) };
            }
        }
        cold
    }

    /// Checks those of `records` that are not in `cold` against the set.
    #[inline]
    fn check_span(&mut self, records: &mut [Record], verdicts: &mut [Verdict], cold: u64) -> u64 {
        if cold == 0 {
            return self.check_run(records, verdicts);
        }
        let (mut new, mut from) = (0, 0);
        while let Some(rest) = records.get_mut(from..).filter(|rest| !rest.is_empty()) {
            let hot = ((cold >> from).trailing_zeros() as usize).min(rest.len());
            let (run, _) = rest.split_at_mut(hot);
            if let Some(verdicts) = verdicts.get_mut(from..).filter(|_| hot > 0) {
                new |= self.check_run(run, verdicts) << from;
            }
            // The one behind the run is cold.
            from += hot + 1;
        }
        new
    }

    #[inline]
    fn check_run(&mut self, records: &mut [Record], verdicts: &mut [Verdict]) -> u64 {
        let origin = &self.origin;
        if self.first_sightings {
            self.set.insert_each(&mut RecordBatch::<true> { records, verdicts, origin })
        } else {
            self.set.insert_each(&mut RecordBatch::<false> { records, verdicts, origin })
        }
    }
}

/// Records on their way to verdicts; `SEEN` when first sightings are kept.
struct RecordBatch<'a, const SEEN: bool> {
    records: &'a mut [Record],
    verdicts: &'a mut [Verdict],
    origin: &'a IdScope,
}

impl<const SEEN: bool> Batch for RecordBatch<'_, SEEN> {
    #[inline(always)]
    fn len(&self) -> usize {
        self.records.len()
    }

    #[inline(always)]
    fn compute(&mut self, ids: Range<usize>) {
        if let Some(records) = self.records.get_mut(ids) {
            Record::fill_ids_in(records, self.origin);
        }
    }

    #[inline(always)]
    fn id(&mut self, i: usize) -> u128 {
        self.verdicts[i] = Verdict::New;
        self.records[i].id_bits()
    }

    #[inline(always)]
    fn sighting(&self, i: usize) -> Sighting {
        Sighting { time_ns: self.records[i].time_ns(), source: self.records[i].source() }
    }

    #[inline(always)]
    fn known(&mut self, i: usize, first: Sighting) {
        self.verdicts[i] = Verdict::Duplicate { first: SEEN.then_some(first) };
    }
}
