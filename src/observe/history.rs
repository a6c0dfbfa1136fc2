//! The observer `history`: the last events, to be looked at when something has gone wrong.

use crate::event::{Context, Contexts, KindSet, Record};
use crate::observe::{Batch, Interest, Observer, Report, Scope, Undelivered};

/// Keeps the last new events.
///
/// Each worker's instance keeps the last ones of its own share; the merged report holds the latest of all. A noisy
/// kind pushes others out: give it a history of its own, with [`History::of_kinds`].
pub struct History {
    capacity: usize,
    kinds: KindSet,
    ring: Vec<Record>,
    /// Where the next record goes once the ring is full: the place of the oldest.
    next: usize,
    taken: u64,
}

/// The events that a [`History`] holds, earliest first by their own times.
#[derive(Clone, Debug, Default)]
pub struct HistoryReport {
    records: Vec<Record>,
    capacity: usize,
    taken: u64,
}

impl History {
    /// Keeps the last `capacity` events, at 64 bytes each. Memory is taken as they come.
    #[must_use]
    pub fn new(capacity: usize) -> History {
        History { capacity, kinds: KindSet::ALL, ring: Vec::new(), next: 0, taken: 0 }
    }

    /// Keeps events of these kinds only.
    #[must_use]
    pub fn of_kinds(mut self, kinds: KindSet) -> History {
        self.kinds = kinds;
        self
    }
}

impl Observer for History {
    type Report = HistoryReport;

    fn interest(&self) -> Interest {
        Interest { kinds: self.kinds, duplicates: false, scope: Scope::Entity }
    }

    fn observe(&mut self, batch: &Batch<'_>) -> Result<(), Undelivered> {
        for (record, _) in batch.iter() {
            self.taken += 1;
            if self.ring.len() < self.capacity {
                self.ring.push(*record);
            } else if let Some(oldest) = self.ring.get_mut(self.next) {
                *oldest = *record;
                self.next = if self.next + 1 == self.capacity { 0 } else { self.next + 1 };
            }
        }
        Ok(())
    }

    fn report(&self) -> HistoryReport {
        let (newer, older) = self.ring.split_at_checked(self.next).unwrap_or_default();
        let mut records = Vec::with_capacity(self.ring.len());
        records.extend_from_slice(older);
        records.extend_from_slice(newer);
        // Stable: events of one time stay in the order in which they came.
        records.sort_by_key(Record::time_ns);
        HistoryReport { records, capacity: self.capacity, taken: self.taken }
    }
}

impl HistoryReport {
    /// Iterates over the events, earliest first.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &Record> + ExactSizeIterator {
        self.records.iter()
    }

    /// Iterates over the events of these kinds, earliest first; `.rev()` gives the latest first.
    pub fn of_kinds(&self, kinds: KindSet) -> impl DoubleEndedIterator<Item = &Record> {
        self.records.iter().filter(move |record| kinds.contains(record.kind()))
    }

    /// Iterates over the events that were emitted within `outer`, earliest first.
    ///
    /// `contexts` are those of the snapshot that the report is from.
    pub fn within<'a>(
        &'a self,
        contexts: &'a Contexts,
        outer: &'a Context,
    ) -> impl DoubleEndedIterator<Item = &'a Record> {
        self.records.iter().filter(move |record| contexts.of(record).is_within(outer))
    }

    /// Returns how many events are held.
    #[must_use]
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Tells whether no event is held.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// Returns how many events there were of which later ones have taken the place.
    #[must_use]
    pub fn forgotten(&self) -> u64 {
        self.taken - self.records.len() as u64
    }
}

impl Report for HistoryReport {
    fn merge(&mut self, other: HistoryReport) {
        self.records.extend(other.records);
        self.records.sort_by_key(Record::time_ns);
        self.capacity = self.capacity.max(other.capacity);
        let excess = self.records.len().saturating_sub(self.capacity);
        self.records.drain(..excess);
        self.taken += other.taken;
    }
}
