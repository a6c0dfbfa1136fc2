//! Events into two sinks.

use crate::emit::{EmitError, EventSink, TypedEvent};
use crate::event::{Context, Record};

/// Gives every event to two sinks, such as the emitters of two pipelines; for more, one of them is a tee again.
///
/// Both get it, whatever the other does. An event without a time is stamped by each sink for itself.
#[derive(Debug)]
pub struct Tee<A, B> {
    /// Gets events first.
    pub first: A,
    /// Gets them then.
    pub second: B,
}

impl<A: EventSink, B: EventSink> Tee<A, B> {
    /// Gives events to both.
    pub fn new(first: A, second: B) -> Tee<A, B> {
        Tee { first, second }
    }
}

/// The error is the first sink's, if it has one.
impl<A: EventSink, B: EventSink> EventSink for Tee<A, B> {
    fn emit_event(&mut self, event: &TypedEvent<'_>) -> Result<(), EmitError> {
        let first = self.first.emit_event(event);
        first.and(self.second.emit_event(event))
    }

    fn emit_record(&mut self, record: Record) -> Result<(), EmitError> {
        let first = self.first.emit_record(record);
        first.and(self.second.emit_record(record))
    }

    /// That of the first.
    fn context(&self) -> Context {
        self.first.context()
    }

    fn count_refused(&mut self, error: EmitError) -> Result<(), EmitError> {
        let first = self.first.count_refused(error.clone());
        first.and(self.second.count_refused(error))
    }
}
