//! So many events a second.

use crate::clock::Clock;
use crate::emit::{EmitError, EventSink, TypedEvent};
use crate::event::{Context, EventKind, KindSet, Record};

/// Lets at most `per_second` events a second through, with bursts of up to `burst` after a pause (a token bucket).
///
/// To leave an event out is no error; [`RateLimited::left_out`] counts. What is left out was never offered to the sink
/// behind, so it stands in no pipeline's account.
#[derive(Debug)]
pub struct RateLimited<S> {
    sink: S,
    kinds: KindSet,
    clock: Clock,
    per_second: u64,
    /// What a full bucket holds, in billionths of an event.
    full: u128,
    tokens: u128,
    last_ns: u64,
    left_out: u64,
}

/// Billionths of an event: what a rate of one a second gives in a nanosecond.
const ONE: u128 = 1_000_000_000;

impl<S: EventSink> RateLimited<S> {
    /// Limits the events of these kinds, all together; all others pass. The bucket is full at first.
    ///
    /// Time is that of `clock`, not that of the events.
    pub fn new(sink: S, kinds: KindSet, per_second: u64, burst: u64, clock: Clock) -> RateLimited<S> {
        let full = u128::from(burst) * ONE;
        let last_ns = clock.now_ns();
        RateLimited { sink, kinds, clock, per_second, full, tokens: full, last_ns, left_out: 0 }
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
        let now_ns = self.clock.now_ns();
        let gained = u128::from(now_ns.saturating_sub(self.last_ns)) * u128::from(self.per_second);
        // A clock that was set back gives nothing, until it is past where it was.
        self.last_ns = self.last_ns.max(now_ns);
        self.tokens = (self.tokens + gained).min(self.full);
        match self.tokens.checked_sub(ONE) {
            Some(left) => {
                self.tokens = left;
                true
            }
            None => {
                self.left_out += 1;
                false
            }
        }
    }
}

impl<S: EventSink> EventSink for RateLimited<S> {
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
