//! Observing: what is done with events after dedup.
//!
//! An [`Observer`] is handed batches of records with dedup's verdicts (new, or a duplicate) by the worker that owns it, or
//! the shard where there are no workers. It knows
//! neither rings nor threads nor other observers. With several workers there are several instances of an
//! observer, each seeing its share of the entities; their [`Report`]s are merged when a snapshot is taken.

pub(crate) mod catch_panic;
#[cfg(feature = "channel")]
pub mod channel;
pub mod history;
#[cfg(feature = "log")]
pub mod log;
pub mod metrics;
pub(crate) mod presence;
pub mod results;
pub mod state;
pub(crate) mod worker;

use crate::dedup::Verdict;
use crate::domain::Schema;
use crate::event::{EventKind, KindSet, Record, Symbols};

/// Says that the observer that this is called from goes on with its work, however long it has been at it: whoever waits for the
/// pipeline goes on waiting ([`PipelineOptions::stall_timeout`](crate::pipeline::PipelineOptions::stall_timeout)). For a long flush;
/// a journal's does it. Does nothing on a thread that works for no pipeline.
pub fn still_at_work() {
    crate::sync::inside::beat();
}

/// Does something with events.
///
/// # Panics
/// An observer may panic, wherever it is called: it is disabled then, the events that it would have had are counted
/// as failed, a `pipeline.observer_failed` event tells the observers of the same worker, and the rest of the
/// pipeline goes on. What it had taken before counts as handled, even if it only held it back.
pub trait Observer: Send + 'static {
    /// What a snapshot holds of this observer.
    type Report: Report;

    /// Says which events the observer wants. Asked once, before the first batch.
    fn interest(&self) -> Interest;

    /// Is told, once and before the first batch, how many new events of its worker's came before it was there: none where it
    /// was added before the start.
    fn start(&mut self, missed: u64) {
        let _ = missed;
    }

    /// Takes a batch with at least one event of interest.
    ///
    /// # Errors
    /// When events could not be delivered (a full disk, say): they are counted as failed, the reason is kept in
    /// the snapshot, a `pipeline.delivery_failed` event tells the observers of the same worker, and the observer goes on
    /// to get batches.
    fn observe(&mut self, batch: &Batch<'_>) -> Result<(), Undelivered>;

    /// Brings to an end what is in the works: no more events will come.
    ///
    /// # Errors
    /// As for [`Observer::observe`].
    fn flush(&mut self) -> Result<(), Undelivered> {
        Ok(())
    }

    /// Says what the observer has found so far.
    fn report(&self) -> Self::Report;
}

/// What an observer found; reports of one observer's instances are merged into one.
pub trait Report: Send + 'static {
    /// Takes in what another instance found.
    fn merge(&mut self, other: Self);

    /// Says what in the merged report is to be among the warnings of the snapshot, a line each. The schema has the
    /// names of kinds, the symbol table those of entities.
    fn warnings(&self, schema: &Schema, symbols: &Symbols) -> Vec<String> {
        let _ = (schema, symbols);
        Vec::new()
    }
}

impl Report for () {
    fn merge(&mut self, (): ()) {}
}

/// Says which events an observer wants.
#[derive(Clone, Copy, Debug)]
pub struct Interest {
    /// The kinds.
    pub kinds: KindSet,
    /// Whether duplicates are wanted beside new events.
    pub duplicates: bool,
    /// Whether one instance must see all events of these kinds.
    pub scope: Scope,
}

impl Interest {
    /// New events of all kinds.
    pub const ALL: Interest = Interest { kinds: KindSet::ALL, duplicates: false, scope: Scope::Entity };
}

/// Says how the events that an observer wants may be shared out among workers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Scope {
    /// Each instance sees some entities, and all events of these in the order in which each emitter sent them.
    Entity,
    /// One instance sees all events of the kinds of interest, in the order in which each emitter sent them. These
    /// kinds then take one shard and one worker, for all observers, and so do the other kinds of their domains where those
    /// have states.
    Whole,
}

/// Tells of events that an observer was given and could not deliver.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Undelivered {
    /// How many new events were lost to this observer.
    pub events: u64,
    /// Why.
    pub reason: String,
}

/// Up to 64 records with their verdicts, as one observer sees them.
#[derive(Clone, Copy)]
pub struct Batch<'a> {
    pub(crate) records: &'a [Record],
    pub(crate) verdicts: &'a [Verdict],
    pub(crate) selected: u64,
    /// The records of which the verdict is new.
    pub(crate) new: u64,
    /// The kind of all records, where they have one.
    pub(crate) kind: Option<EventKind>,
}

impl<'a> Batch<'a> {
    /// Makes a batch of those records whose bit is set in `selected`. `records` and `verdicts` have one length, at
    /// most 64; what lies beyond is cut.
    #[must_use]
    pub fn new(records: &'a [Record], verdicts: &'a [Verdict], selected: u64) -> Batch<'a> {
        let len = records.len().min(verdicts.len()).min(crate::dedup::BATCH);
        let (records, verdicts) = (records.get(..len).unwrap_or(&[]), verdicts.get(..len).unwrap_or(&[]));
        let bit = |(at, verdict): (usize, &Verdict)| u64::from(*verdict == Verdict::New) << at;
        let new = verdicts.iter().enumerate().map(bit).fold(0, |set, bit| set | bit);
        Batch { records, verdicts, selected: selected & mask(len), new, kind: None }
    }

    /// Returns how many events of interest the batch has.
    #[must_use]
    pub fn len(&self) -> usize {
        self.selected.count_ones() as usize
    }

    /// Tells whether nothing in the batch is of interest.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.selected == 0
    }

    /// Divides the events of interest by kind, each kind with the mask of its events.
    #[inline]
    pub(crate) fn by_kind(&self) -> impl Iterator<Item = (EventKind, u64)> + use<'a> {
        let (records, only) = (self.records, self.kind);
        let mut left = self.selected;
        std::iter::from_fn(move || {
            let kind = records.get(left.trailing_zeros() as usize)?.kind();
            let share = if only.is_some() {
                left
            } else {
                let bit = |(at, record): (usize, &Record)| u64::from(record.kind() == kind) << at;
                left & records.iter().take(64).enumerate().map(bit).fold(0, |set, bit| set | bit)
            };
            left &= !share;
            Some((kind, share))
        })
    }

    /// Iterates over the events of interest.
    #[inline]
    pub fn iter(&self) -> impl Iterator<Item = (&'a Record, &'a Verdict)> + use<'a> {
        let (records, verdicts) = (self.records, self.verdicts);
        let mut left = self.selected;
        std::iter::from_fn(move || {
            let at = left.trailing_zeros() as usize;
            left &= left.wrapping_sub(1);
            Some((records.get(at)?, verdicts.get(at)?))
        })
    }
}

/// Returns those records that are in `set`.
#[inline]
pub(crate) fn members(records: &[Record], mut set: u64) -> impl Iterator<Item = &Record> {
    std::iter::from_fn(move || {
        let record = records.get(set.trailing_zeros() as usize).filter(|_| set != 0);
        set &= set.wrapping_sub(1);
        record
    })
}

/// The lowest `len` bits.
#[inline]
pub(crate) fn mask(len: usize) -> u64 {
    if len >= 64 { u64::MAX } else { (1 << len) - 1 }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::event::{Domain, EventKind, Identity, Symbol};

    #[test]
    fn a_batch_iterates_over_what_is_selected() {
        let kind = EventKind::new(Domain::PACKET, 0);
        let records: Vec<_> =
            (0..64).map(|n| Record::raw(0, Identity::Content, n, Symbol::NONE, kind, [0; 3])).collect();
        let verdicts = vec![Verdict::New; 64];
        for selected in [0, 1, 1 << 63, u64::MAX, 0x8000_0000_0001_0002] {
            let batch = Batch::new(&records, &verdicts, selected);
            let times: Vec<_> = batch.iter().map(|(record, _)| record.time_ns()).collect();
            let expected: Vec<_> = (0..64).filter(|n| selected >> n & 1 != 0).collect();
            assert_eq!(times, expected);
            assert_eq!(batch.len(), expected.len());
        }
        assert_eq!(Batch::new(&records[..3], &verdicts, u64::MAX).len(), 3);
    }
}
