//! A worker: a set of observers, fed batch by batch, each behind a wall that holds its panics.

use crate::dedup::Verdict;
use crate::event::{EventKind, KindSet, Record};
use crate::observe::{Batch, Interest, Observer, Report, Undelivered, mask};
use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

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
    fn observe(&mut self, batch: &Batch<'_>) -> Result<(), Undelivered>;
    fn flush(&mut self) -> Result<(), Undelivered>;
    fn report(&self) -> Box<dyn AnyReport>;
}

impl<O: Observer> AnyObserver for O {
    fn interest(&self) -> Interest {
        Observer::interest(self)
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
}

impl<R: Report> AnyReport for R {
    fn merge(&mut self, other: Box<dyn AnyReport>) {
        let other: Box<dyn Any> = other;
        if let Ok(other) = other.downcast::<R>() {
            Report::merge(self, *other);
        }
    }
}

/// What a worker says of one of its observers.
pub(crate) struct SlotReport {
    pub(crate) delivery: Delivery,
    /// `None` when the observer was cut off and its report panics too.
    pub(crate) report: Option<Box<dyn AnyReport>>,
    /// Why the observer was cut off, or could not deliver.
    pub(crate) trouble: Option<String>,
}

/// An observer was cut off in the batch that was just dispatched.
pub(crate) struct CutOff {
    pub(crate) observer: usize,
    pub(crate) message: String,
    pub(crate) handled: u64,
    pub(crate) failed: u64,
}

/// Owns one instance of every observer that this worker serves.
pub(crate) struct Worker {
    /// By number of the observer; `None` where another worker has the only instance.
    slots: Vec<Option<Slot>>,
    /// Numbers in the order in which they are called.
    order: Vec<usize>,
    unique: u64,
    cut_off: Vec<CutOff>,
}

impl Worker {
    /// Takes the observers by number, and the order in which they are to be called.
    pub(crate) fn new(observers: Vec<Option<Box<dyn AnyObserver>>>, order: &[usize]) -> Worker {
        let slots = observers.into_iter().map(|observer| observer.map(Slot::new)).collect();
        Worker { slots, order: order.to_vec(), unique: 0, cut_off: Vec::new() }
    }

    /// Hands a batch of at most 64 records to all observers. Bit `i` of `new` says that record `i` is new.
    pub(crate) fn dispatch(&mut self, records: &[Record], verdicts: &[Verdict], new: u64) {
        let new = new & mask(records.len());
        self.unique += u64::from(new.count_ones());
        let kinds = Kinds::of(records);
        for observer in self.order.iter().copied() {
            let Some(Some(slot)) = self.slots.get_mut(observer) else { continue };
            let failed_before = slot.delivery.failed;
            if !slot.take(records, verdicts, new, &kinds) {
                let message = slot.trouble.clone().unwrap_or_default();
                let Delivery { handled, failed, .. } = slot.delivery;
                self.cut_off.push(CutOff { observer, message, handled, failed: failed - failed_before });
            }
        }
    }

    /// Takes the observers that were cut off since the last call.
    pub(crate) fn take_cut_off(&mut self) -> Vec<CutOff> {
        std::mem::take(&mut self.cut_off)
    }

    /// Tells whether [`Worker::take_cut_off`] has something to take.
    pub(crate) fn has_cut_off(&self) -> bool {
        !self.cut_off.is_empty()
    }

    pub(crate) fn flush(&mut self) {
        for slot in self.slots.iter_mut().flatten() {
            slot.guarded(|observer| observer.flush(), 0);
        }
    }

    /// Reports on all observers, by number.
    pub(crate) fn reports(&self) -> Vec<SlotReport> {
        let absent = || SlotReport {
            // The kinds that it wants do not come here.
            delivery: Delivery { skipped: self.unique, ..Delivery::default() },
            report: None,
            trouble: None,
        };
        self.slots.iter().map(|slot| slot.as_ref().map_or_else(absent, Slot::report)).collect()
    }
}

/// The kinds that occur in a batch: often few, so that most observers want all of it or nothing.
struct Kinds {
    set: KindSet,
    domains: u32,
}

impl Kinds {
    fn of(records: &[Record]) -> Kinds {
        let mut kinds = Kinds { set: KindSet::EMPTY, domains: 0 };
        let mut last = None;
        for record in records {
            let kind = record.kind();
            // Like comes after like.
            if last != Some(kind) {
                kinds.set = kinds.set.with(kind);
                kinds.domains |= 1 << kind.domain().number();
                last = Some(kind);
            }
        }
        kinds
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
    observer: Box<dyn AnyObserver>,
    interest: Interest,
    delivery: Delivery,
    cut_off: bool,
    trouble: Option<String>,
}

impl Slot {
    fn new(observer: Box<dyn AnyObserver>) -> Slot {
        // An observer whose interest cannot even be asked for is cut off from the start.
        let asked = catch_unwind(AssertUnwindSafe(|| observer.interest()));
        let (interest, cut_off, trouble) = match asked {
            Ok(interest) => (interest, false, None),
            Err(panic) => (Interest::ALL, true, Some(message(&*panic))),
        };
        Slot { observer, interest, delivery: Delivery::default(), cut_off, trouble }
    }

    /// False when the observer was cut off by this batch.
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
        let batch = Batch::new(records, verdicts, selected);
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
        if self.cut_off {
            return false;
        }
        match catch_unwind(AssertUnwindSafe(|| call(&mut *self.observer))) {
            Ok(Ok(())) => self.delivery.handled += events,
            Ok(Err(undelivered)) => {
                // It may speak of events of earlier batches, which it had only buffered.
                self.delivery.handled += events;
                let failed = undelivered.events.min(self.delivery.handled);
                self.delivery.handled -= failed;
                self.delivery.failed += failed;
                self.trouble = Some(undelivered.reason);
            }
            Err(panic) => {
                self.cut_off = true;
                self.delivery.failed += events;
                self.trouble = Some(message(&*panic));
                return false;
            }
        }
        true
    }

    fn report(&self) -> SlotReport {
        let report = catch_unwind(AssertUnwindSafe(|| self.observer.report())).ok();
        SlotReport { delivery: self.delivery, report, trouble: self.trouble.clone() }
    }
}

fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("a panic without a message");
    format!("panicked: {text}")
}
