//! One event in so many.

use crate::emit::{EmitError, EventSink, TypedEvent};
use crate::event::kind::KIND_COUNT;
use crate::event::{Context, EventKind, KindSet, Record};
use std::num::NonZeroU32;

/// Lets one in `every` events of each kind through: the first, and then each that is as many later.
///
/// To leave an event out is no error; [`Sampled::left_out`] counts. What is left out was never offered to the sink
/// behind, so it stands in no pipeline's account.
#[derive(Debug)]
pub struct Sampled<S> {
    sink: S,
    kinds: KindSet,
    every: NonZeroU32,
    /// By kind: how many are to be left out before the next.
    skip: Box<[u32]>,
    left_out: u64,
}

impl<S: EventSink> Sampled<S> {
    /// Samples the events of these kinds; all others pass. Lifecycle events are better not among them: states would
    /// miss them.
    pub fn new(sink: S, kinds: KindSet, every: NonZeroU32) -> Sampled<S> {
        Sampled { sink, kinds, every, skip: vec![0; KIND_COUNT].into(), left_out: 0 }
    }

    /// Returns how many events were left out.
    #[must_use]
    pub fn left_out(&self) -> u64 {
        self.left_out
    }

    /// Returns the sink behind.
    pub fn get_mut(&mut self) -> &mut S {
        &mut self.sink
    }

    fn passes(&mut self, kind: EventKind) -> bool {
        if !self.kinds.contains(kind) {
            return true;
        }
        let Some(skip) = self.skip.get_mut(kind.index()) else { return true };
        if *skip == 0 {
            *skip = self.every.get() - 1;
            return true;
        }
        *skip -= 1;
        self.left_out += 1;
        false
    }
}

impl<S: EventSink> EventSink for Sampled<S> {
    fn emit_event(&mut self, event: &TypedEvent<'_>) -> Result<(), EmitError> {
        if self.passes(event.kind) { self.sink.emit_event(event) } else { Ok(()) }
    }

    fn emit_record(&mut self, record: Record) -> Result<(), EmitError> {
        if self.passes(record.kind()) { self.sink.emit_record(record) } else { Ok(()) }
    }

    fn context(&self) -> Context {
        self.sink.context()
    }

    fn count_refused(&mut self, error: EmitError) -> Result<(), EmitError> {
        self.sink.count_refused(error)
    }
}
