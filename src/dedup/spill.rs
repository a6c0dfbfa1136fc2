//! Cold ids on disk, within a memory budget.
//!
//! ```text
//!  hot set ──full──► draining table ──a little at every batch──► run (sorted, on disk)
//!                    (still asked)                              + filter
//! ```
//!
//! When the hot set has its share of the budget, its table is put aside and written to disk, in the order of the ids,
//! while a new one fills. Before a batch is checked against the hot set, ids that are known to be cold are put back into
//! it, with the epoch and the sighting they had; so the set gives the verdicts. The filters keep most ids from reading the
//! disk at all.

use crate::dedup::filter::BloomFilter;
use crate::dedup::memory::prefetch;
use crate::dedup::run::{Entry, Run, RunWriter, order};
use crate::dedup::set::ExactSet;
use crate::dedup::table::{Found, Key, PROBE_MAX, SLOTS, Table};
use crate::dedup::{BATCH, DedupOptions, FilterUse};
use std::path::PathBuf;

/// Buckets that are written for every record checked, and the least at every batch.
const DRAIN_PER_ID: usize = 3;
const DRAIN_MIN: usize = 32;
/// Runs, of about the size of the first one, whose filters lie side by side.
const COLUMNS: usize = 4;
/// Buckets of a written table that are given back at a time.
const RETIRE: usize = (16 << 20) / 64;

/// What the cold side has done.
#[derive(Clone, Copy, Default)]
pub(super) struct SpillCounts {
    pub(super) filter_negatives: u64,
    pub(super) filter_false_positives: u64,
    pub(super) read_failures: u64,
    pub(super) write_failures: u64,
    pub(super) cold_hits: u64,
}

/// Everything that is not in the hot set.
pub(super) struct Spill {
    dir: PathBuf,
    budget: usize,
    with_filters: bool,
    /// The disk refused: what is in memory stays there, over the budget.
    is_broken: bool,
    draining: Option<Draining>,
    retiring: Option<(Table, usize)>,
    groups: Vec<Group>,
    counts: SpillCounts,
}

struct Draining {
    table: Table,
    cursor: usize,
    writer: RunWriter,
    newest_epoch: u64,
    cluster: Vec<Entry>,
    /// Keys on their way into the filter.
    written: Vec<Key>,
}

/// Runs whose filters lie side by side; without a filter, each of their lookups reads the disk.
struct Group {
    filter: Option<BloomFilter>,
    /// Ids that each filter was made for.
    room: usize,
    /// Filters in use, that of a run that is being written included.
    columns: usize,
    columns_max: usize,
    runs: Vec<ColdRun>,
}

struct ColdRun {
    run: Run,
    newest_epoch: u64,
    column: usize,
}

impl Spill {
    pub(super) fn new(options: &DedupOptions, dir: PathBuf, budget: usize) -> Spill {
        Spill {
            dir,
            budget,
            with_filters: options.filter != FilterUse::Off,
            is_broken: false,
            draining: None,
            retiring: None,
            groups: Vec::new(),
            counts: SpillCounts::default(),
        }
    }

    /// Returns the bytes that the hot set's table may take.
    pub(super) fn hot_bytes(&self) -> usize {
        if self.is_broken {
            return usize::MAX;
        }
        // An even share, so that runs are about equal and their filters fit; less when those need more. What is draining
        // and what is growing overlap by an eighth.
        let left = self.budget.saturating_sub(self.cold_bytes()).max(self.budget / 8);
        left.min(self.budget / 8 * 3) / 8 * 7
    }

    /// Does a batch's share of the writing, and puts the hot table aside when it is full.
    pub(super) fn advance(&mut self, records: usize, set: &mut ExactSet) {
        if let Some((table, released)) = &mut self.retiring {
            *released += RETIRE;
            table.release_front(*released);
            if *released >= table.buckets().len() {
                self.retiring = None;
            }
        }
        if self.is_broken {
            return;
        }
        if self.draining.is_some() {
            self.drain((records * DRAIN_PER_ID).max(DRAIN_MIN), set);
        } else if set.is_full() {
            self.begin(set);
        }
    }

    /// Puts those of the `keys` that are cold back into the set.
    pub(super) fn recall(&mut self, keys: &[Key], set: &mut ExactSet) {
        let epochs = set.live_epochs();
        if let Some(draining) = &self.draining {
            let buckets = draining.table.buckets();
            keys.iter().for_each(|key| prefetch(buckets, draining.table.home(*key)));
            for key in keys {
                if let Some(entry) = find_in(&draining.table, *key)
                    && set.get(*key).is_none()
                    && epochs.holds(entry.words, draining.newest_epoch)
                {
                    set.restore(*key, &entry);
                    self.counts.cold_hits += 1;
                }
            }
        }
        for group in &mut self.groups {
            let live = group.runs.iter().fold(0, |mask, cold| mask | 1u32 << cold.column);
            let mut maybe = [live; BATCH];
            if let Some(filter) = &group.filter {
                keys.iter().for_each(|key| filter.prefetch(*key));
                for (maybe, key) in maybe.iter_mut().zip(keys) {
                    *maybe &= filter.may_contain(*key);
                    self.counts.filter_negatives += u64::from(*maybe == 0);
                }
            }
            for (key, maybe) in keys.iter().zip(maybe).filter(|(_, maybe)| *maybe != 0) {
                if set.get(*key).is_some() {
                    continue;
                }
                for cold in group.runs.iter().rev().filter(|cold| maybe >> cold.column & 1 != 0) {
                    match cold.run.find(*key) {
                        Ok(Some(entry)) if epochs.holds(entry.words, cold.newest_epoch) => {
                            set.restore(*key, &entry);
                            self.counts.cold_hits += 1;
                            break;
                        }
                        Ok(Some(_)) => {}
                        Ok(None) => {
                            self.counts.filter_false_positives += u64::from(group.filter.is_some());
                        }
                        Err(_) => self.counts.read_failures += 1,
                    }
                }
            }
        }
    }

    /// Drops the runs of which no epoch is live.
    pub(super) fn forget(&mut self, set: &ExactSet) {
        let oldest = set.live_epochs().oldest();
        for group in &mut self.groups {
            group.runs.retain(|cold| cold.newest_epoch >= oldest);
        }
        // The last group may still have room for more.
        let last = self.groups.len().saturating_sub(1);
        let mut at = 0;
        self.groups.retain(|group| {
            at += 1;
            !group.runs.is_empty() || at > last
        });
    }

    pub(super) fn memory_bytes(&self) -> usize {
        let draining = self.draining.as_ref().map_or(0, |draining| draining.table.bytes());
        let retiring = self.retiring.as_ref().map_or(0, |(table, _)| table.bytes());
        draining + retiring + self.cold_bytes()
    }

    pub(super) fn counts(&self) -> SpillCounts {
        self.counts
    }

    /// Returns the ids and the bytes on disk.
    pub(super) fn on_disk(&self) -> (u64, u64) {
        let runs = self.groups.iter().flat_map(|group| &group.runs);
        runs.fold((0, 0), |(ids, bytes), cold| (ids + cold.run.ids(), bytes + cold.run.bytes_on_disk()))
    }

    fn cold_bytes(&self) -> usize {
        let groups = self.groups.iter().map(|group| {
            let indexes: usize = group.runs.iter().map(|cold| cold.run.bytes_in_memory()).sum();
            group.filter.as_ref().map_or(0, BloomFilter::bytes) + indexes
        });
        groups.sum()
    }

    #[cold]
    fn begin(&mut self, set: &mut ExactSet) {
        let Ok(writer) = RunWriter::create(&self.dir, set.with_sightings()) else {
            self.counts.write_failures += 1;
            self.is_broken = true;
            return;
        };
        let Some(table) = set.take_table() else { return };
        let ids = table.used;
        if self.groups.last().is_none_or(|group| group.columns == group.columns_max || ids > group.room) {
            let group = self.open_group(ids);
            self.groups.push(group);
        }
        if let Some(group) = self.groups.last_mut() {
            group.columns += 1;
        }
        let newest_epoch = set.live_epochs().hot();
        self.draining = Some(Draining {
            table,
            cursor: 0,
            writer,
            newest_epoch,
            cluster: Vec::new(),
            written: Vec::new(),
        });
    }

    /// Makes filters side by side for runs of about `ids` ids: as many as the budget allows, or none.
    fn open_group(&self, ids: usize) -> Group {
        // Promoted ids and a table's last batches may make a run a little longer than this one.
        let room = ids + ids / 16;
        let left = (self.budget / 8 * 7).saturating_sub(self.cold_bytes());
        let fits = |columns: &usize| self.with_filters && BloomFilter::bytes_for(room, *columns) <= left;
        let columns = [COLUMNS, COLUMNS / 2, 1].into_iter().find(fits);
        let filter = columns.and_then(|columns| BloomFilter::side_by_side(room, columns).ok());
        Group { filter, room, columns: 0, columns_max: columns.unwrap_or(COLUMNS), runs: Vec::new() }
    }

    fn drain(&mut self, count: usize, set: &ExactSet) {
        let (Some(group), Some(draining)) = (self.groups.last_mut(), &mut self.draining) else { return };
        match draining.advance(count, group, set) {
            Ok(None) => {}
            Ok(Some(run)) => {
                let column = group.columns - 1;
                group.runs.push(ColdRun { run, newest_epoch: draining.newest_epoch, column });
                self.retiring = self.draining.take().map(|draining| (draining.table, 0));
            }
            // The table stays and is asked from memory: exact before frugal.
            Err(_) => {
                self.counts.write_failures += 1;
                self.is_broken = true;
            }
        }
    }
}

impl Draining {
    /// Writes at least `count` buckets; returns the run when all are written.
    fn advance(&mut self, count: usize, group: &mut Group, set: &ExactSet) -> std::io::Result<Option<Run>> {
        let epochs = set.live_epochs();
        let buckets = self.table.buckets();
        let end = self.cursor.saturating_add(count);
        while let Some(bucket) = buckets.get(self.cursor) {
            for slot in 0..SLOTS {
                let words = (bucket.low[slot], bucket.high[slot]);
                if words.0 == 0 {
                    break;
                }
                if epochs.holds(words, self.newest_epoch) {
                    self.cluster.push(Entry { words, sighting: self.table.seen(self.cursor, slot) });
                }
            }
            self.cursor += 1;
            // Behind a bucket that is not full, all ids are greater.
            if bucket.low[SLOTS - 1] == 0 || self.cursor == buckets.len() {
                self.cluster.sort_unstable_by_key(|entry| order(Key::untag(entry.words.0, entry.words.1).0));
                for entry in self.cluster.drain(..) {
                    self.writer.push(&entry)?;
                    if let Some(filter) = &mut group.filter {
                        let key = Key::untag(entry.words.0, entry.words.1).0;
                        filter.prefetch(key);
                        self.written.push(key);
                    }
                }
                if self.cursor >= end {
                    break;
                }
            }
        }
        if let Some(filter) = &mut group.filter {
            let column = group.columns - 1;
            self.written.drain(..).for_each(|key| filter.insert(key, column));
        }
        if self.cursor < buckets.len() { Ok(None) } else { self.writer.finish().map(Some) }
    }
}

fn find_in(table: &Table, key: Key) -> Option<Entry> {
    let home = table.home(key);
    for (step, bucket) in table.buckets().get(home..home + PROBE_MAX)?.iter().enumerate() {
        match bucket.find(key) {
            Found::Here(slot) => {
                let words = (bucket.low[slot % SLOTS], bucket.high[slot % SLOTS]);
                return Some(Entry { words, sighting: table.seen(home + step, slot) });
            }
            Found::Free(_) => return None,
            Found::Full => {}
        }
    }
    None
}
