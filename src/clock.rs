//! Clocks: nanoseconds since the Unix epoch, from the cycle counter or from a hand that turns it.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// Tells the time for records: nanoseconds since the Unix epoch.
///
/// Cloning is cheap; clones agree with each other.
#[derive(Clone)]
pub struct Clock(Source);

#[derive(Clone)]
enum Source {
    Cycles { counter: quanta::Clock, start_raw: u64, start_ns: u64, scale: Scale },
    Manual(Arc<AtomicU64>),
}

impl Clock {
    /// Makes a clock that reads the CPU's cycle counter, tied to the system's wall clock at this moment.
    ///
    /// It never goes back and does not follow later steps of the wall clock. The counter's frequency is
    /// measured once per process, which can take 200 ms. Where the CPU has no steady counter, the system's
    /// monotonic clock is read instead.
    #[must_use]
    pub fn cycles() -> Clock {
        let counter = quanta::Clock::new();
        let scale = Scale::of(&counter);
        let start_raw = counter.raw();
        Clock(Source::Cycles { counter, start_raw, start_ns: wall_clock_ns(), scale })
    }

    /// Makes a clock that stands at `start_ns` until the hand that comes with it moves.
    #[must_use]
    pub fn manual(start_ns: u64) -> (Clock, ClockHand) {
        let time = Arc::new(AtomicU64::new(start_ns));
        (Clock(Source::Manual(Arc::clone(&time))), ClockHand(time))
    }

    /// Returns the time.
    #[inline]
    #[must_use]
    pub fn now_ns(&self) -> u64 {
        match &self.0 {
            Source::Cycles { counter, start_raw, start_ns, scale } => {
                start_ns + scale.ns(counter.raw().saturating_sub(*start_raw))
            }
            Source::Manual(time) => time.load(Ordering::Relaxed),
        }
    }
}

/// How long a cycle of the counter takes: `multiplier / 2^40` nanoseconds. One multiplication and a shift by a
/// constant, because [`Clock::now_ns`] stands in the way of every event.
#[derive(Clone, Copy)]
struct Scale {
    multiplier: u64,
}

impl Scale {
    const SHIFT: u32 = 40;

    fn of(counter: &quanta::Clock) -> Scale {
        // A counter that counts nanoseconds gets exactly 2^40.
        Scale { multiplier: counter.delta_as_nanos(0, 1 << Scale::SHIFT) }
    }

    #[inline]
    fn ns(self, cycles: u64) -> u64 {
        ((u128::from(cycles) * u128::from(self.multiplier)) >> Scale::SHIFT) as u64
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Source::Cycles { .. } => "Clock::cycles",
            Source::Manual(_) => "Clock::manual",
        })
    }
}

/// Turns a [`Clock::manual`], from any thread.
#[derive(Clone, Debug)]
pub struct ClockHand(Arc<AtomicU64>);

impl ClockHand {
    /// Sets the time.
    pub fn set_ns(&self, time_ns: u64) {
        self.0.store(time_ns, Ordering::Relaxed);
    }

    /// Moves the time on.
    pub fn advance_ns(&self, by_ns: u64) {
        self.0.fetch_add(by_ns, Ordering::Relaxed);
    }
}

fn wall_clock_ns() -> u64 {
    // Before 1970 there is nothing to measure; after 2554 the nanoseconds no longer fit.
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_nanos().min(u128::from(u64::MAX)) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cycle_clock_agrees_with_the_wall_clock_and_never_goes_back() {
        let clock = Clock::cycles();
        let mut last = clock.now_ns();
        for _ in 0..10_000 {
            let now = clock.now_ns();
            assert!(now >= last);
            last = now;
        }
        assert!(last.abs_diff(wall_clock_ns()) < 1_000_000_000);
    }

    #[test]
    fn the_scale_is_that_of_the_counter() {
        let counter = quanta::Clock::new();
        let scale = Scale::of(&counter);
        for shift in 0..56 {
            let cycles = (1u64 << shift) + 12_345;
            let exact = counter.delta_as_nanos(0, cycles);
            assert!(scale.ns(cycles).abs_diff(exact) <= 1 + exact / 1_000_000_000, "{cycles}");
        }
    }

    #[test]
    fn a_manual_clock_moves_only_by_hand() {
        let (clock, hand) = Clock::manual(5);
        let twin = clock.clone();
        assert_eq!(clock.now_ns(), 5);
        hand.advance_ns(10);
        assert_eq!((clock.now_ns(), twin.now_ns()), (15, 15));
        hand.set_ns(1);
        assert_eq!(clock.now_ns(), 1);
    }
}
