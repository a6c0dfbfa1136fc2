//! Runs a worker's observers and reports their failures.

use crate::clock::Clock;
use crate::dedup::Verdict;
use crate::domain::pipeline::{DeliveryFailed, ObserverFailed};
use crate::emit::source::{EmitShared, Source};
use crate::event::json::beginning;
use crate::event::{Identity, Record, Symbol, Symbols};
use crate::observe::worker::{AtWork, Placed, SlotReport, Trouble, Worker, WorkerReport};
use crate::pipeline::stall::Reply;
use crate::sync::{Arc, Ordering};

/// Runs a worker's observers and emits an event for each that is disabled or cannot deliver.
pub(crate) struct ObserverHost {
    number: u32,
    worker: Worker,
    reporter: SelfReporter,
}

/// What a pipeline may ask of a host while it runs.
pub(crate) enum ObserverCommand {
    /// Take an observer in.
    Add {
        /// The observer.
        placed: Box<Placed>,
        /// Where it is told that it is in.
        reply: Reply<()>,
    },
    /// Take the observer with this number out.
    Remove {
        /// Its number.
        number: usize,
        /// Where the last report goes; `None` where it was not.
        reply: Reply<Option<SlotReport>>,
    },
}

/// What a host needs to emit events of its own.
pub(crate) struct SelfReporter {
    pub(crate) emit_shared: Arc<EmitShared>,
    pub(crate) clock: Clock,
    pub(crate) symbols: Arc<Symbols>,
    pub(crate) source: Option<Arc<Source>>,
}

impl ObserverHost {
    pub(crate) fn new(number: u32, worker: Worker, reporter: SelfReporter) -> ObserverHost {
        ObserverHost { number, worker, reporter }
    }

    /// Dispatches a batch; returns how many events of its own it emitted because of it.
    #[inline]
    pub(crate) fn take(&mut self, records: &[Record], verdicts: &[Verdict], new: u64) -> u64 {
        self.worker.dispatch(records, verdicts, new);
        if self.worker.has_trouble() { self.tell() } else { 0 }
    }

    /// Flushes all observers; returns how many events of its own were emitted because of it.
    pub(crate) fn flush(&mut self) -> u64 {
        self.worker.flush();
        if self.worker.has_trouble() { self.tell() } else { 0 }
    }

    /// Drops all observers; to be called after the last report.
    pub(crate) fn dismiss(&mut self) {
        self.worker.dismiss();
    }

    /// Returns where it says which observer it is calling.
    pub(crate) fn at_work(&self) -> Arc<AtWork> {
        self.worker.at_work()
    }

    /// Reports on all observers.
    pub(crate) fn report(&self) -> WorkerReport {
        self.worker.report()
    }

    /// Does what the pipeline asks between two batches.
    pub(crate) fn obey(&mut self, command: ObserverCommand) {
        match command {
            ObserverCommand::Add { placed, reply } => {
                self.worker.add(*placed);
                reply.send(());
            }
            ObserverCommand::Remove { number, reply } => reply.send(self.worker.remove(number)),
        }
    }

    /// Tells the observers; one of them may be disabled by that in turn, each of them once, or be unable to deliver it,
    /// of which each tells more and more rarely.
    #[cold]
    fn tell(&mut self) -> u64 {
        let mut told = 0;
        while self.worker.has_trouble() {
            for trouble in self.worker.take_troubles() {
                let Some(record) = self.reporter.failed(self.number, &trouble) else { continue };
                told += 1;
                self.worker.dispatch(&[record], &[Verdict::New], 1);
            }
        }
        told
    }
}

/// Puts a message into the table, or as much of it as a name can have.
pub(crate) fn kept_message(symbols: &Symbols, message: &str) -> Symbol {
    symbols.intern(beginning(message, Symbols::NAME_LEN_MAX)).unwrap_or(Symbol::NONE)
}

impl SelfReporter {
    /// Makes the record, offered and accepted at once. `None` when no source number is left.
    fn failed(&mut self, worker: u32, trouble: &Trouble) -> Option<Record> {
        if self.source.is_none() {
            self.source = self.emit_shared.sources.open("pipeline");
        }
        let source = self.source.as_ref()?;
        // A message that the table refuses is in the snapshot all the same.
        let message = kept_message(&self.symbols, &trouble.message);
        let entity = self.symbols.intern(&trouble.observer).unwrap_or(Symbol::NONE);
        let (time_ns, handled, failed) = (self.clock.now_ns(), trouble.handled, trouble.failed);
        let record = if trouble.panicked {
            let failed = u32::try_from(failed).unwrap_or(u32::MAX);
            let payload = ObserverFailed { message, handled, worker, failed };
            Record::new(Identity::Occurrence, time_ns, entity, &payload)
        } else {
            let payload = DeliveryFailed { message, handled, failed };
            Record::new(Identity::Occurrence, time_ns, entity, &payload)
        };
        let seq = source.counts.next_seq.fetch_add(1, Ordering::Relaxed);
        source.counts.accepted.fetch_add(1, Ordering::Relaxed);
        let mut record = record.numbered(source.number(), seq as u32);
        record.set_id(&self.emit_shared.id_scope);
        Some(record)
    }
}
