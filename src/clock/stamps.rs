//! A clock as one thread reads it, again and again.

use super::cycles::{Here, Line};
use super::{Clock, Source};

/// Reads a clock for one emitter: keeps the line by which [`Clock::cycles`] tells the time, so that a reading is no more than the
/// counter and a multiplication. A line holds for the readings of the counter from its begin until the next one is due, whoever
/// draws that; so nothing is to be asked meanwhile.
pub(crate) struct Stamps {
    clock: Clock,
    counter: Option<quanta::Clock>,
    line: Line,
    span: u64,
}

impl Stamps {
    pub(crate) fn of(clock: Clock) -> Stamps {
        let counter = match &clock.0 {
            Source::Cycles(cycles) => Some(cycles.machine().counter()),
            _ => None,
        };
        Stamps { clock, counter, line: Line::default(), span: 0 }
    }

    pub(crate) fn clock(&self) -> &Clock {
        &self.clock
    }

    #[inline]
    pub(crate) fn now_ns(&mut self) -> u64 {
        let Some(counter) = &self.counter else { return self.clock.now_ns() };
        let since = counter.raw().wrapping_sub(self.line.raw);
        if since < self.span { self.line.behind(since) } else { self.renew() }
    }

    #[cold]
    fn renew(&mut self) -> u64 {
        let now_ns = self.clock.now_ns();
        if let Source::Cycles(cycles) = &self.clock.0 {
            (self.line, self.span) = cycles.line();
        }
        now_ns
    }
}

impl Here {
    fn counter(&self) -> quanta::Clock {
        self.counter.clone()
    }
}
