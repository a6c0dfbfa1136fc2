//! Cold ids on disk, within a memory budget.
//!
//! ```text
//!  hot set ──full──► draining table ──a little at every batch──► run (sorted, on disk)
//!                    (still asked)                              + 16 bits an id in an index
//! ```
//!
//! When the hot set has its share of the budget, its table is put aside and written to disk, in the order of the ids,
//! while a new one fills. Before a batch is checked against the hot set, those of its ids are found that are cold; the rest
//! goes to the set. So an id that is remembered lies in one place. The indexes ([`RunIndex`]) keep most ids from reading the
//! disk at all, and let the others read one block; what was read lately is kept in a small cache.
//!
//! Of the budget, up to three fifths go to an index when one is begun, and half of what is left to each of the hot
//! table and the one that is being written. So runs become shorter while the indexes grow. There are few and large
//! indexes, because each costs every lookup a cache line. When there is no room for an index any more (at some 2.6 bytes
//! of budget an id), the last one is filled beyond what is good for it, and after that all further runs are read for
//! every id that is not in the hot set: slow, and still exact.

use crate::dedup::index::{RUNS_MAX, RunIndex};
use crate::dedup::options::{DedupOptions, FilterUse};
use crate::dedup::run::{Entry, Run, RunWriter, order};
use crate::dedup::set::ExactSet;
use crate::dedup::table::{Found, Key, SLOTS, Table};
use crate::dedup::verdict::{BATCH, Sighting};
use std::path::PathBuf;

/// Buckets that are written for every record checked, and the least at every batch.
const DRAIN_PER_ID: usize = 3;
const DRAIN_MIN: usize = 32;
/// Buckets of a written table that are given back at a time.
const RETIRE: usize = (16 << 20) / 64;
/// The hot table gets at least this part of the budget.
const HOT_MIN: usize = 20;
/// The part of the budget that ids take which were read lately.
const LATELY: usize = 64;

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
    with_index: bool,
    /// The disk refused: what is in memory stays there, over the budget.
    is_broken: bool,
    draining: Option<Draining>,
    retiring: Option<(Table, usize)>,
    groups: Vec<Group>,
    /// Ids that the next table put aside will have, at most.
    run_ids: usize,
    asked: Vec<Asked>,
    /// Ids that were read lately, by their low bits; a power of two.
    lately: Vec<Fetched>,
    counts: SpillCounts,
}

/// An id that was found on disk, in a run put aside when `newest_epoch` was the hot one.
#[derive(Clone, Copy, Default)]
struct Fetched {
    entry: Entry,
    newest_epoch: u64,
}

struct Draining {
    table: Table,
    cursor: usize,
    writer: RunWriter,
    newest_epoch: u64,
    cluster: Vec<Entry>,
}

/// Runs that share an index; where there is none, all are read for every id.
struct Group {
    index: Option<RunIndex>,
    /// Ids that the index was made for.
    made_for: usize,
    /// Ids and number of the runs begun, one that is being written included.
    ids: usize,
    begun: usize,
    runs: Vec<ColdRun>,
}

struct ColdRun {
    run: Run,
    newest_epoch: u64,
    /// Its number in the index.
    number: usize,
}

/// An id of a batch, and the runs of a group in which it may be.
struct Asked {
    at: usize,
    group: usize,
    runs: u64,
}

impl Spill {
    pub(super) fn new(options: &DedupOptions, dir: PathBuf, budget: usize) -> Spill {
        Spill {
            dir,
            budget,
            with_index: options.filter != FilterUse::Off,
            is_broken: false,
            draining: None,
            retiring: None,
            groups: Vec::new(),
            run_ids: 0,
            asked: Vec::new(),
            lately: vec![Fetched::default(); Spill::lately_len(budget)],
            counts: SpillCounts::default(),
        }
    }

    /// Asks indexes from now on, and makes new ones, or not.
    pub(super) fn use_index(&mut self, with_index: bool) {
        self.with_index = with_index;
    }

    /// A power of two: those places fit into their part of the budget.
    fn lately_len(budget: usize) -> usize {
        1 << (budget / LATELY / size_of::<Fetched>()).max(1).ilog2()
    }

    /// Returns the bytes that the hot set's table may take.
    pub(super) fn hot_bytes(&self) -> usize {
        if self.is_broken {
            return usize::MAX;
        }
        let left = self.budget.saturating_sub(self.cold_bytes());
        let index = if self.needs_group(self.run_ids) { self.next_index_bytes().unwrap_or(0) } else { 0 };
        ((left - index) / 2).max(self.budget / HOT_MIN)
    }

    /// Does a batch's share of the writing, and puts the hot table aside when it is full.
    pub(super) fn advance(&mut self, records: usize, set: &mut ExactSet) {
        if let Some((table, released)) = &mut self.retiring {
            *released += RETIRE;
            table.release_front(*released);
            if *released >= table.len() {
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

    /// Returns the mask of those of the `keys`, at most [`BATCH`], that are cold and not in the set, and writes their first
    /// sightings to `firsts`.
    pub(super) fn recall(&mut self, keys: &[Key], set: &ExactSet, firsts: &mut [Sighting; BATCH]) -> u64 {
        let mut cold = self.recall_draining(keys, set, firsts);
        let asks = self.with_index;
        let indexes = || self.groups.iter().filter_map(|group| group.index.as_ref().filter(|_| asks));
        for index in indexes() {
            keys.iter().for_each(|key| index.prefetch(*key));
        }
        let is_filtered = indexes().next().is_some();
        let (mut asked, mut passed) = (std::mem::take(&mut self.asked), 0u64);
        for (number, group) in self.groups.iter().enumerate() {
            let live = group.runs.iter().fold(0, |mask, cold| mask | 1u64 << cold.number);
            for (at, key) in keys.iter().enumerate().take(BATCH) {
                let index = group.index.as_ref().filter(|_| asks);
                let runs = index.map_or(live, |index| index.runs(*key) & live);
                if runs != 0 {
                    asked.push(Asked { at, group: number, runs });
                    passed |= 1 << at;
                }
            }
        }
        if is_filtered {
            self.counts.filter_negatives += (keys.len() - passed.count_ones() as usize) as u64;
        }
        for Asked { at, group, runs } in asked.drain(..) {
            if let (Some(key), Some(first)) = (keys.get(at), firsts.get_mut(at))
                && cold >> at & 1 == 0
                && set.get(*key).is_none()
                && let Some(sighting) = self.find(*key, group, runs, set)
            {
                *first = sighting;
                cold |= 1 << at;
            }
        }
        self.asked = asked;
        self.counts.cold_hits += u64::from(cold.count_ones());
        cold
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
        let lately = self.lately.len() * size_of::<Fetched>();
        let groups = self.groups.iter().map(|group| {
            let firsts: usize = group.runs.iter().map(|cold| cold.run.bytes_in_memory()).sum();
            group.index.as_ref().map_or(0, RunIndex::bytes) + firsts
        });
        lately + groups.sum::<usize>()
    }

    /// Tells whether a run of `ids` ids would begin a group.
    fn needs_group(&self, ids: usize) -> bool {
        let next_bytes = self.next_index_bytes();
        self.groups.last().is_none_or(|group| match &group.index {
            // An overfull index is slower. Without one, each run costs a look at the disk.
            Some(index) => {
                let most = group.made_for + group.made_for / if next_bytes.is_some() { 27 } else { 9 };
                group.begun == index.runs_max() || group.ids + ids > most
            }
            None => group.begun == RUNS_MAX || next_bytes.is_some(),
        })
    }

    /// Returns the bytes that the next index may take, or `None` when there is no room for one.
    fn next_index_bytes(&self) -> Option<usize> {
        let left = self.budget.saturating_sub(self.cold_bytes());
        // A twentieth of an index is what the places of its ids' runs on disk take.
        let free = left.saturating_sub(2 * (self.budget / HOT_MIN)) / 20 * 19;
        let bytes = free.min(self.budget / 5 * 3);
        (self.with_index && bytes >= self.budget / HOT_MIN / 4).then_some(bytes)
    }

    fn recall_draining(&self, keys: &[Key], set: &ExactSet, firsts: &mut [Sighting; BATCH]) -> u64 {
        let Some(draining) = &self.draining else { return 0 };
        let epochs = set.live_epochs();
        keys.iter().for_each(|key| draining.table.prefetch(draining.table.home(*key)));
        let mut cold = 0;
        for (at, (key, first)) in keys.iter().zip(firsts).enumerate() {
            if let Some(entry) = find_in(&draining.table, *key)
                && epochs.holds(entry.words, draining.newest_epoch)
            {
                *first = entry.sighting;
                cold |= 1 << at;
            }
        }
        cold
    }

    /// Looks for `key` among the ids that were read lately, and then in those of a group's runs in which it may be, the newest
    /// first.
    fn find(&mut self, key: Key, group: usize, runs: u64, set: &ExactSet) -> Option<Sighting> {
        let epochs = set.live_epochs();
        let place = key.low as usize & (self.lately.len() - 1);
        let lately = self.lately.get_mut(place)?;
        if lately.entry.is(key) && epochs.holds(lately.entry.words, lately.newest_epoch) {
            return Some(lately.entry.sighting);
        }
        let group = self.groups.get(group)?;
        for cold in group.runs.iter().rev().filter(|cold| runs >> cold.number & 1 != 0) {
            match cold.run.find(key) {
                Ok(Some(entry)) if epochs.holds(entry.words, cold.newest_epoch) => {
                    *lately = Fetched { entry, newest_epoch: cold.newest_epoch };
                    return Some(entry.sighting);
                }
                Ok(Some(_)) => {}
                Ok(None) => {
                    let was_asked = self.with_index && group.index.is_some();
                    self.counts.filter_false_positives += u64::from(was_asked);
                }
                Err(_) => self.counts.read_failures += 1,
            }
        }
        None
    }

    #[cold]
    fn begin(&mut self, set: &mut ExactSet) {
        let Ok(writer) = RunWriter::create(&self.dir, set.with_sightings()) else {
            self.counts.write_failures += 1;
            self.is_broken = true;
            return;
        };
        let ids = set.table_ids();
        if self.needs_group(ids) {
            let group = self.open_group(ids, set);
            self.groups.push(group);
        }
        // The run counts first: the next table gets its part of what is left then.
        self.run_ids = ids;
        self.count_run(ids);
        let Some(table) = set.take_table(self.hot_bytes()) else {
            self.uncount_run(ids);
            return;
        };
        let newest_epoch = set.live_epochs().hot();
        self.draining = Some(Draining { table, cursor: 0, writer, newest_epoch, cluster: Vec::new() });
    }

    fn count_run(&mut self, ids: usize) {
        if let Some(group) = self.groups.last_mut() {
            group.begun += 1;
            group.ids += ids;
        }
    }

    fn uncount_run(&mut self, ids: usize) {
        if let Some(group) = self.groups.last_mut() {
            group.begun -= 1;
            group.ids -= ids;
        }
    }

    /// Begins a group of which the first run has `ids` ids, with an index as far as the budget goes.
    fn open_group(&self, ids: usize, set: &ExactSet) -> Group {
        let bytes = self.next_index_bytes().unwrap_or(0);
        let left = self.budget.saturating_sub(self.cold_bytes() + bytes);
        let run_ids = set.ids_in((left / 2).max(self.budget / HOT_MIN)).max(1);
        let made_for = RunIndex::ids_for(bytes).min(run_ids.saturating_mul(RUNS_MAX - 2));
        let index = if made_for >= ids { RunIndex::new(made_for, made_for / run_ids + 2).ok() } else { None };
        Group { index, made_for, ids: 0, begun: 0, runs: Vec::new() }
    }

    fn drain(&mut self, count: usize, set: &ExactSet) {
        let (Some(group), Some(draining)) = (self.groups.last_mut(), &mut self.draining) else { return };
        match draining.advance(count, group, set) {
            Ok(None) => {}
            Ok(Some(run)) => {
                let number = group.begun.saturating_sub(1);
                group.runs.push(ColdRun { run, newest_epoch: draining.newest_epoch, number });
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
        let end = self.cursor.saturating_add(count);
        let number = group.begun.saturating_sub(1);
        while let Some(bucket) = self.table.bucket(self.cursor) {
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
            if bucket.low[SLOTS - 1] == 0 || self.cursor == self.table.len() {
                self.cluster.sort_unstable_by_key(|entry| order(Key::untag(entry.words.0, entry.words.1).0));
                for entry in self.cluster.drain(..) {
                    self.writer.push(&entry)?;
                    if let Some(index) = &mut group.index {
                        index.insert(Key::untag(entry.words.0, entry.words.1).0, number);
                    }
                }
                if self.cursor >= end {
                    break;
                }
            }
        }
        if self.cursor < self.table.len() { Ok(None) } else { self.writer.finish().map(Some) }
    }
}

fn find_in(table: &Table, key: Key) -> Option<Entry> {
    for (at, bucket) in table.reach(table.home(key)) {
        match bucket.find(key) {
            Found::Here(slot) => {
                let words = (bucket.low[slot % SLOTS], bucket.high[slot % SLOTS]);
                return Some(Entry { words, sighting: table.seen(at, slot) });
            }
            Found::Free(_) => return None,
            Found::Full => {}
        }
    }
    None
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::dedup::Window;
    use crate::event::EventId;

    /// Gives ids to a set within `budget` bytes until they are far more than its indexes have room for, one in eight of them
    /// an earlier one again, and demands exact verdicts and sightings.
    fn outgrow(
        dir: &std::path::Path,
        budget: usize,
        ids: u64,
        first_sightings: bool,
    ) -> Result<(Spill, ExactSet), crate::dedup::DedupError> {
        let options = DedupOptions { first_sightings, window: Window::Unbounded, ..DedupOptions::default() };
        let mut spill = Spill::new(&options, dir.to_path_buf(), budget);
        let mut set = ExactSet::new(64, first_sightings)?;
        let (mut known, mut most_bytes) = (0u64, 0);
        while known < ids {
            let number = |i: u64| match i % 8 {
                _ if known == 0 => i,
                7 => (known + i).wrapping_mul(0x9e37_79b9_7f4a_7c15) % known,
                _ => known + i - i / 8,
            };
            let numbers: [u64; BATCH] = std::array::from_fn(|i| number(i as u64));
            let batch = numbers.map(|number| EventId::digest(&number.to_le_bytes()));
            let seen = numbers.map(|number| Sighting { time_ns: number.max(known), source: 3 });
            set.limit_bytes(spill.hot_bytes());
            spill.advance(BATCH, &mut set);
            let mut firsts = [Sighting::default(); BATCH];
            let cold = spill.recall(&batch.map(|id| Key::new(id.bits())), &set, &mut firsts);
            let mut new = 0;
            for i in (0..BATCH).filter(|i| cold >> i & 1 == 0) {
                let one = set.insert_batch(&batch[i..=i], &seen[i..=i], &mut firsts[i..=i]);
                new |= one << i;
            }
            for (i, number) in numbers.into_iter().enumerate() {
                assert_eq!(new >> i & 1 != 0, number >= known, "id {number} of {known}");
                if number < known && first_sightings {
                    assert_eq!(firsts[i].time_ns, number, "id {number} of {known}");
                }
            }
            known += u64::from(new.count_ones());
            if spill.groups.iter().all(|group| group.index.is_some()) {
                most_bytes = most_bytes.max(spill.memory_bytes() + set.memory_bytes());
            }
        }
        assert!(most_bytes < budget + budget / 16, "{most_bytes} bytes held of {budget}");
        Ok((spill, set))
    }

    #[test]
    fn verdicts_are_exact_when_ids_are_more_than_the_indexes_have_room_for() {
        for first_sightings in [false, true] {
            let dir = tempfile::tempdir().unwrap();
            let (spill, set) = outgrow(dir.path(), 1 << 20, 440_000, first_sightings).unwrap();
            let without = spill.groups.iter().filter(|group| group.index.is_none()).count();
            assert!(spill.groups.len() >= 3 && without > 0, "{} groups, {without}", spill.groups.len());
            assert!(set.len() >= 440_000 && spill.counts().cold_hits > 10_000);
        }
    }
}
