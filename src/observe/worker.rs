//! A worker: a set of observers, fed batch by batch; a panic of one is caught and ends that one.

use crate::dedup::{BATCH, Verdict};
use crate::domain::Schema;
use crate::event::{EventKind, KindSet, Record, Symbols};
use crate::observe::catch_panic::catch_panic;
use crate::observe::presence::{Left, Presence};
use crate::observe::{Batch, Interest, Observer, Report, Undelivered, mask};
use crate::sync::inside::Beats;
use std::any::Any;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// What became of the new events that one observer could have had.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Delivery {
    /// Events that the observer took.
    pub handled: u64,
    /// Events that it had no interest in.
    pub skipped: u64,
    /// Events that it wanted and did not take: it panicked, or could not deliver them.
    pub failed: u64,
    /// Duplicates that it took beside.
    pub duplicates: u64,
}

impl Delivery {
    pub(crate) fn add(&mut self, other: Delivery) {
        self.handled += other.handled;
        self.skipped += other.skipped;
        self.failed += other.failed;
        self.duplicates += other.duplicates;
    }
}

/// An observer whose type is forgotten; its report is remembered in a box.
pub(crate) trait AnyObserver: Send {
    fn interest(&self) -> Interest;
    fn start(&mut self, missed: u64);
    fn observe(&mut self, batch: &Batch<'_>) -> Result<(), Undelivered>;
    fn flush(&mut self) -> Result<(), Undelivered>;
    fn report(&self) -> Box<dyn AnyReport>;
}

impl<O: Observer> AnyObserver for O {
    fn interest(&self) -> Interest {
        Observer::interest(self)
    }

    fn start(&mut self, missed: u64) {
        Observer::start(self, missed);
    }

    fn observe(&mut self, batch: &Batch<'_>) -> Result<(), Undelivered> {
        Observer::observe(self, batch)
    }

    fn flush(&mut self) -> Result<(), Undelivered> {
        Observer::flush(self)
    }

    fn report(&self) -> Box<dyn AnyReport> {
        Box::new(Observer::report(self))
    }
}

/// A report whose type is forgotten.
pub(crate) trait AnyReport: Any + Send {
    /// Merges a report of the same type; another type is left alone.
    fn merge(&mut self, other: Box<dyn AnyReport>);

    /// As [`Report::warnings`].
    fn warnings(&self, schema: &Schema, symbols: &Symbols) -> Vec<String>;
}

impl<R: Report> AnyReport for R {
    fn merge(&mut self, other: Box<dyn AnyReport>) {
        let other: Box<dyn Any> = other;
        if let Ok(other) = other.downcast::<R>() {
            Report::merge(self, *other);
        }
    }

    fn warnings(&self, schema: &Schema, symbols: &Symbols) -> Vec<String> {
        Report::warnings(self, schema, symbols)
    }
}

/// The reports of an observer's instances, merged so far.
#[derive(Default)]
pub(crate) enum Merged {
    /// None has reported.
    #[default]
    Empty,
    /// What they found.
    Report(Box<dyn AnyReport>),
    /// One of them panicked while it reported, or was merged: what is left would pass for the whole.
    Spoiled,
}

impl Merged {
    /// Takes in what one more instance said; says what went wrong.
    pub(crate) fn take_in(&mut self, report: Result<Option<Box<dyn AnyReport>>, String>) -> Option<String> {
        let trouble = match (std::mem::take(self), report) {
            (Merged::Report(mut merged), Ok(Some(report))) => match catch_panic(|| merged.merge(report)) {
                Ok(()) => {
                    *self = Merged::Report(merged);
                    return None;
                }
                Err(trouble) => trouble,
            },
            (Merged::Empty, Ok(Some(report))) => {
                *self = Merged::Report(report);
                return None;
            }
            (before, Ok(None)) => {
                *self = before;
                return None;
            }
            (Merged::Spoiled, Ok(Some(_))) => {
                *self = Merged::Spoiled;
                return None;
            }
            (_, Err(trouble)) => trouble,
        };
        *self = Merged::Spoiled;
        Some(format!("{trouble}, while reporting; its report is left out"))
    }

    /// Returns the report, if it is whole.
    pub(crate) fn report(&self) -> Option<&dyn AnyReport> {
        match self {
            Merged::Report(report) => Some(&**report),
            Merged::Empty | Merged::Spoiled => None,
        }
    }

    /// Gives the report, if it is whole.
    pub(crate) fn into_report(self) -> Option<Box<dyn AnyReport>> {
        match self {
            Merged::Report(report) => Some(report),
            Merged::Empty | Merged::Spoiled => None,
        }
    }
}

/// What a worker says of its observers.
#[derive(Default)]
pub(crate) struct WorkerReport {
    /// New events that have come.
    pub(crate) unique: u64,
    /// Of those that are there.
    pub(crate) slots: Vec<SlotReport>,
    /// By account: of those that were removed.
    pub(crate) gone: Vec<Stay>,
}

/// What a worker says of one of its observers.
pub(crate) struct SlotReport {
    pub(crate) number: usize,
    pub(crate) name: Arc<str>,
    pub(crate) account: usize,
    pub(crate) stay: Stay,
    /// The panic's message when the observer panicked.
    pub(crate) report: Result<Option<Box<dyn AnyReport>>, String>,
    /// Why the observer was disabled, or could not deliver.
    pub(crate) trouble: Option<String>,
}

/// What became of the new events that came while observers of one account were there.
#[derive(Clone, Copy, Default)]
pub(crate) struct Stay {
    /// Of the new events that came, all but `delivery.duplicates` add up to them.
    pub(crate) delivery: Delivery,
    /// New events that came.
    pub(crate) came: u64,
}

impl Stay {
    pub(crate) fn add(&mut self, other: Stay) {
        self.delivery.add(other.delivery);
        self.came += other.came;
    }
}

/// What went wrong with an observer in the batch that was just dispatched.
pub(crate) struct Trouble {
    pub(crate) observer: Arc<str>,
    pub(crate) message: String,
    pub(crate) handled: u64,
    /// Of the batch, where it panicked; else in all.
    pub(crate) failed: u64,
    /// It panicked and was disabled; else it could not deliver, and goes on.
    pub(crate) panicked: bool,
}

/// Which observer a worker is calling, for whoever waits for it. Not variables that models see: nothing depends on them.
#[derive(Default)]
pub(crate) struct AtWork {
    number: AtomicUsize,
    /// How often an observer has said that it goes on.
    pub(crate) beats: Arc<Beats>,
}

impl AtWork {
    /// Returns the number of the observer that is being called now.
    pub(crate) fn number(&self) -> Option<usize> {
        self.number.load(Ordering::Relaxed).checked_sub(1)
    }

    fn call(&self, number: usize) {
        self.number.store(number + 1, Ordering::Relaxed);
    }

    fn rest(&self) {
        self.number.store(0, Ordering::Relaxed);
    }
}

/// Owns one instance of every observer that this worker serves.
pub(crate) struct Worker {
    /// In the order in which they are called.
    slots: Vec<Slot>,
    /// By account.
    gone: Vec<Stay>,
    unique: u64,
    troubles: Vec<Trouble>,
    at_work: Arc<AtWork>,
}

/// An observer with its place among the others.
pub(crate) struct Placed {
    pub(crate) number: usize,
    pub(crate) name: Arc<str>,
    /// The account that it counts in; see the pipeline's registry of observers.
    pub(crate) account: usize,
    pub(crate) priority: i32,
    pub(crate) interest: Interest,
    pub(crate) observer: Box<dyn AnyObserver>,
    /// Those of the instances that fill queries, this one's own or within it.
    pub(crate) presences: Vec<Arc<Presence>>,
}

impl Worker {
    pub(crate) fn new() -> Worker {
        let (slots, gone, troubles) = (Vec::new(), Vec::new(), Vec::new());
        Worker { slots, gone, unique: 0, troubles, at_work: Arc::default() }
    }

    /// Returns where it says which observer it is calling.
    pub(crate) fn at_work(&self) -> Arc<AtWork> {
        Arc::clone(&self.at_work)
    }

    /// Adds an observer, behind those of the same priority.
    pub(crate) fn add(&mut self, placed: Placed) {
        let behind = self.slots.partition_point(|other| other.priority >= placed.priority);
        let mut slot = Slot::new(placed, self.unique);
        let missed = self.unique;
        self.at_work.call(slot.number);
        slot.guarded(
            |observer| {
                observer.start(missed);
                Ok(())
            },
            0,
        );
        self.at_work.rest();
        self.slots.insert(behind, slot);
    }

    /// Flushes an observer and takes it out, with a last report.
    pub(crate) fn remove(&mut self, number: usize) -> Option<SlotReport> {
        let at = self.slots.iter().position(|slot| slot.number == number)?;
        let mut slot = self.slots.remove(at);
        slot.leave(Left::Removed);
        self.at_work.call(number);
        slot.guarded(|observer| observer.flush(), 0);
        let mut report = slot.report(self.unique);
        if let Err(trouble) = slot.dismiss() {
            report.trouble = Some(trouble);
        }
        self.at_work.rest();
        if self.gone.len() <= slot.account {
            self.gone.resize_with(slot.account + 1, Stay::default);
        }
        if let Some(gone) = self.gone.get_mut(slot.account) {
            gone.add(report.stay);
        }
        Some(report)
    }

    /// Hands a batch of at most 64 records to all observers. Bit `i` of `new` says that record `i` is new.
    pub(crate) fn dispatch(&mut self, records: &[Record], verdicts: &[Verdict], new: u64) {
        debug_assert!(records.len() <= BATCH && records.len() == verdicts.len());
        let new = new & mask(records.len());
        self.unique += u64::from(new.count_ones());
        let kinds = Kinds::of(records);
        for slot in &mut self.slots {
            let failed_before = slot.delivery.failed;
            self.at_work.call(slot.number);
            if !slot.take(records, verdicts, new, &kinds) {
                self.troubles.push(slot.cut_off(slot.delivery.failed - failed_before));
            } else if slot.delivery.failed > slot.failed_bearable {
                self.troubles.extend(slot.undelivered());
            }
        }
        self.at_work.rest();
    }

    /// Takes what went wrong since the last call.
    pub(crate) fn take_troubles(&mut self) -> Vec<Trouble> {
        std::mem::take(&mut self.troubles)
    }

    /// Tells whether [`Worker::take_troubles`] has something to take.
    pub(crate) fn has_trouble(&self) -> bool {
        !self.troubles.is_empty()
    }

    /// Flushes all observers, in the order in which they are called.
    pub(crate) fn flush(&mut self) {
        for slot in &mut self.slots {
            self.at_work.call(slot.number);
            if !slot.cut_off && !slot.guarded(|observer| observer.flush(), 0) {
                self.troubles.push(slot.cut_off(0));
            } else if slot.delivery.failed > slot.failed_bearable {
                self.troubles.extend(slot.undelivered());
            }
        }
        self.at_work.rest();
    }

    /// Drops all observers, whatever they do then.
    pub(crate) fn dismiss(&mut self) {
        for slot in &mut self.slots {
            self.at_work.call(slot.number);
            // There is no report any more in which it could be told.
            let _ = slot.dismiss();
        }
        self.at_work.rest();
    }

    /// Reports on all observers.
    pub(crate) fn report(&self) -> WorkerReport {
        let report = |slot: &Slot| {
            self.at_work.call(slot.number);
            slot.report(self.unique)
        };
        let slots = self.slots.iter().map(report).collect();
        self.at_work.rest();
        WorkerReport { unique: self.unique, slots, gone: self.gone.clone() }
    }
}

/// The kinds that occur in a batch: often few, so that most observers want all of it or nothing.
struct Kinds {
    set: KindSet,
    domains: u32,
    /// The kind, where there is one.
    only: Option<EventKind>,
}

impl Kinds {
    fn of(records: &[Record]) -> Kinds {
        let mut last = records.first().map(Record::kind);
        let mut kinds = Kinds { set: KindSet::EMPTY, domains: 0, only: last };
        if let Some(kind) = last {
            kinds.take(kind);
        }
        for record in records {
            let kind = record.kind();
            // Like comes after like.
            if last != Some(kind) {
                kinds.take(kind);
                kinds.only = None;
                last = Some(kind);
            }
        }
        kinds
    }

    fn take(&mut self, kind: EventKind) {
        self.set = self.set.with(kind);
        self.domains |= 1 << kind.domain().number();
    }

    /// Returns the bits of the records whose kind is in the interest.
    fn select(&self, records: &[Record], interest: &Interest) -> u64 {
        let mut left = self.domains;
        let (mut all, mut none) = (true, true);
        while left != 0 {
            let domain = EventKind::from_index((left.trailing_zeros() << 6) as u16).domain();
            let (here, wanted) = (self.set.codes(domain), interest.kinds.codes(domain));
            all &= here & !wanted == 0;
            none &= here & wanted == 0;
            left &= left - 1;
        }
        if all {
            return mask(records.len());
        }
        if none {
            return 0;
        }
        let bit = |(at, record): (usize, &Record)| u64::from(interest.kinds.contains(record.kind())) << at;
        records.iter().enumerate().map(bit).fold(0, |set, bit| set | bit)
    }
}

struct Slot {
    number: usize,
    name: Arc<str>,
    account: usize,
    priority: i32,
    /// Unique events that had come when it was added.
    added_at: u64,
    /// `None` once it was dismissed.
    observer: Option<Box<dyn AnyObserver>>,
    presences: Vec<Arc<Presence>>,
    interest: Interest,
    delivery: Delivery,
    cut_off: bool,
    trouble: Option<String>,
    /// Failed events up to which nothing more is told.
    failed_bearable: u64,
}

impl Slot {
    fn new(placed: Placed, added_at: u64) -> Slot {
        let Placed { number, name, account, priority, interest, observer, presences } = placed;
        Slot {
            number,
            name,
            account,
            priority,
            added_at,
            observer: Some(observer),
            presences,
            interest,
            delivery: Delivery::default(),
            cut_off: false,
            trouble: None,
            failed_bearable: 0,
        }
    }

    fn cut_off(&self, failed: u64) -> Trouble {
        let (observer, message) = (Arc::clone(&self.name), self.trouble.clone().unwrap_or_default());
        Trouble { observer, message, handled: self.delivery.handled, failed, panicked: true }
    }

    /// Tells of events that could not be delivered: at the first one, and each time their number has doubled. The
    /// event that tells it may fail in turn, and this ends that.
    #[cold]
    fn undelivered(&mut self) -> Option<Trouble> {
        let Delivery { handled, failed, .. } = self.delivery;
        self.failed_bearable = failed.saturating_mul(2).saturating_sub(1).max(failed);
        // What comes after a panic was told with it.
        (!self.cut_off).then(|| {
            let (observer, message) = (Arc::clone(&self.name), self.trouble.clone().unwrap_or_default());
            Trouble { observer, message, handled, failed, panicked: false }
        })
    }

    /// Drops the observer; says so where it panics then.
    fn dismiss(&mut self) -> Result<(), String> {
        let observer = self.observer.take();
        self.cut_off = true;
        catch_panic(|| drop(observer))
    }

    /// False when the observer was disabled by this batch.
    fn take(&mut self, records: &[Record], verdicts: &[Verdict], new: u64, kinds: &Kinds) -> bool {
        let wanted = kinds.select(records, &self.interest);
        let handled = u64::from((wanted & new).count_ones());
        self.delivery.skipped += u64::from(new.count_ones()) - handled;
        let selected = if self.interest.duplicates { wanted } else { wanted & new };
        if selected == 0 {
            return true;
        }
        if self.cut_off {
            self.delivery.failed += handled;
            return true;
        }
        let batch = Batch { records, verdicts, selected, new, kind: kinds.only };
        let held = self.guarded(|observer| observer.observe(&batch), handled);
        if held {
            self.delivery.duplicates += u64::from((selected & !new).count_ones());
        }
        held
    }

    /// Calls the observer and counts `events` as handled or failed. False when it panicked, after which it is cut
    /// off.
    fn guarded(
        &mut self,
        call: impl FnOnce(&mut dyn AnyObserver) -> Result<(), Undelivered>,
        events: u64,
    ) -> bool {
        let Some(observer) = self.observer.as_deref_mut().filter(|_| !self.cut_off) else { return false };
        match catch_panic(|| call(observer)) {
            Ok(Ok(())) => self.delivery.handled += events,
            Ok(Err(undelivered)) => {
                // It may speak of events of earlier batches, which it had only buffered.
                self.delivery.handled += events;
                let failed = undelivered.events.min(self.delivery.handled);
                self.delivery.handled -= failed;
                self.delivery.failed += failed;
                self.trouble = Some(undelivered.reason);
            }
            Err(trouble) => {
                self.cut_off = true;
                self.leave(Left::Panicked);
                self.delivery.failed += events;
                self.trouble = Some(trouble);
                return false;
            }
        }
        true
    }

    fn leave(&self, why: Left) {
        self.presences.iter().for_each(|presence| presence.leave(why));
    }

    fn report(&self, unique: u64) -> SlotReport {
        let report = match &self.observer {
            Some(observer) => catch_panic(|| observer.report()).map(Some),
            None => Ok(None),
        };
        SlotReport {
            number: self.number,
            name: Arc::clone(&self.name),
            account: self.account,
            stay: Stay { delivery: self.delivery, came: unique - self.added_at },
            report,
            trouble: self.trouble.clone(),
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests;
