//! The processors of one dedup shard; a panic of one is caught and ends that one.

use crate::clock::Clock;
use crate::domain::pipeline::ProcessorFailed;
use crate::event::{Identity, KindSet, Record, Symbol};
use crate::observe::catch_panic::catch_panic;
use crate::process::{DerivedBuffer, Processing, Processor};
use std::sync::atomic::Ordering;

/// All processors of a shard, in the order in which they were added.
pub(crate) struct Processors {
    entries: Vec<Entry>,
    /// What they have derived and nobody has taken yet.
    derived: Vec<Record>,
    shard: u64,
    clock: Clock,
    last_ns: u64,
}

/// A processor that is to be part of a shard.
pub(crate) struct Entry {
    pub(crate) name: Box<str>,
    /// `None` once it was disabled.
    pub(crate) processor: Option<Box<dyn Processor>>,
    pub(crate) interest: KindSet,
    pub(crate) buffer: DerivedBuffer,
    pub(crate) trouble: Option<String>,
}

/// What a shard says of one of its processors.
pub(crate) struct ProcessorReport {
    pub(crate) counts: Processing,
    pub(crate) trouble: Option<String>,
}

impl Processors {
    pub(crate) fn new(entries: Vec<Entry>, shard: u64, clock: Clock) -> Processors {
        Processors { entries, derived: Vec::new(), shard, clock, last_ns: 0 }
    }

    /// Shows a batch to all of them. Bit `i` of `new` says that record `i` is new.
    pub(crate) fn process(&mut self, records: &[Record], new: u64) {
        let mut left = new;
        while let Some(record) = records.get(left.trailing_zeros() as usize) {
            left &= left.wrapping_sub(1);
            self.last_ns = record.time_ns();
            for entry in self.entries.iter_mut().filter(|entry| entry.interest.contains(record.kind())) {
                entry.call(&mut self.derived, 1, |processor, buffer| {
                    processor.process(record, &mut buffer.derived(record));
                });
            }
            self.tell();
        }
    }

    /// Lets all of them end.
    pub(crate) fn finish(&mut self) {
        let time_ns = self.last_ns;
        for entry in &mut self.entries {
            entry.call(&mut self.derived, 0, |processor, buffer| {
                processor.finish(&mut buffer.derived_at_end(time_ns));
            });
        }
        self.tell();
    }

    /// Gives what they have derived; empty it and give it back.
    pub(crate) fn take_derived(&mut self) -> Vec<Record> {
        std::mem::take(&mut self.derived)
    }

    pub(crate) fn has_derived(&self) -> bool {
        !self.derived.is_empty()
    }

    pub(crate) fn give_back(&mut self, mut emptied: Vec<Record>) {
        emptied.clear();
        self.derived = emptied;
    }

    pub(crate) fn reports(&self) -> Vec<ProcessorReport> {
        let report =
            |entry: &Entry| ProcessorReport { counts: entry.buffer.counts, trouble: entry.trouble.clone() };
        self.entries.iter().map(report).collect()
    }

    /// Derives an event for each processor that has just been disabled.
    fn tell(&mut self) {
        for entry in &mut self.entries {
            let Some(processor) = entry.processor.take_if(|_| entry.trouble.is_some()) else { continue };
            // Whatever it does when it is dropped.
            let _ = catch_panic(|| drop(processor));
            let message = entry.trouble.as_deref().unwrap_or_default();
            let payload = ProcessorFailed {
                message: crate::pipeline::observer_host::kept_message(&entry.buffer.symbols, message),
                seen: entry.buffer.counts.seen,
                shard: self.shard,
            };
            let entity = entry.buffer.symbols.intern(&entry.name).unwrap_or(Symbol::NONE);
            let record = Record::new(Identity::Occurrence, self.clock.now_ns(), entity, &payload);
            let Some(source) = &entry.buffer.source else { continue };
            let seq = source.counts.next_seq.fetch_add(1, Ordering::Relaxed);
            source.counts.accepted.fetch_add(1, Ordering::Relaxed);
            self.derived.push(record.numbered(source.number(), seq as u32));
        }
    }
}

impl Entry {
    /// Calls the processor for `events` events, and accepts what it derives.
    fn call(
        &mut self,
        derived: &mut Vec<Record>,
        events: u64,
        call: impl FnOnce(&mut dyn Processor, &mut DerivedBuffer),
    ) {
        let buffer = &mut self.buffer;
        let Some(processor) = self.processor.as_deref_mut().filter(|_| self.trouble.is_none()) else {
            buffer.counts.failed += events;
            return;
        };
        match catch_panic(|| call(processor, &mut *buffer)) {
            Ok(()) => {
                buffer.counts.seen += events;
                buffer.accept(derived);
            }
            Err(trouble) => {
                buffer.counts.failed += events;
                buffer.counts.panicked += 1;
                buffer.reject();
                self.trouble = Some(trouble);
            }
        }
    }
}
