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
//! # Terms
//! - A *verdict* says of a record that it is new, or a duplicate, with the time and source of its *first sighting*.
//! - The *window* is what is remembered: everything, the last *n* ids, or a span of time. It is cut into *epochs*, which are
//!   forgotten one at a time, the oldest first.
//! - The *exact set* holds the remembered ids: a *table* in memory, of *buckets* of one cache line with a *slot* for each id, and
//!   *runs* on disk.
//! - The *memory budget* is what the table may take. When it is reached, the oldest part is *spilled*: written to disk as a run, ids in
//!   ascending order.
//! - The *filter* in front of the runs says of an id that it is certainly in none of them, or that one of them may have it.
//!
//! # Design
//!
//! - The set is one table of cache-line buckets, in the order of the ids, so that growing is a walk through memory
//!   and is spread over the batches.
//! - What does not fit into a memory budget lies on disk in sorted runs. A filter in front, of 16 bits an id, tells which run
//!   may hold an id, so that new ids seldom read the disk and known ones read one block.
//!   In front of the table in memory a filter only adds work: it costs a line of its own, and a new id must be
//!   inserted anyway.
//! - Epochs share the table: a slot says which epoch it belongs to, in the six bits that are the same in every id. A
//!   lookup costs one line however many epochs a window has, and forgetting an epoch costs nothing.

mod index;
mod memory;
mod options;
mod overflow;
mod probe;
mod run;
mod set;
mod simd;
mod spill;
mod stats;
mod table;
mod verdict;
mod window;

#[doc(hidden)] // Measured and tested by themselves; nobody else needs them.
pub use options::FilterUse;
pub use options::{BUDGET_MIN, DedupError, DedupOptions, EPOCHS_MAX, Window};
#[doc(hidden)]
pub use set::{ExactSet, SetCounts};
pub use stats::DedupStats;
pub use verdict::{BATCH, Sighting, Verdict};

use crate::event::{IdScope, Origin, Record};
use probe::Batch;
use run::RunWriter;
use spill::Spill;
use std::ops::Range;
use std::time::Duration;
use table::Key;
use window::Bounds;

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
    #[doc(hidden)]
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
            wild: self.bounds.wild(),
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
