//! Clocks: nanoseconds since the Unix epoch, from the cycle counter, from what a thread notes of it now and then, or
//! set by a test.

mod coarse;

use coarse::CachedTime;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Tells the time for records: nanoseconds since the Unix epoch.
///
/// Cloning is cheap; clones agree with each other.
#[derive(Clone)]
pub struct Clock(Source);

#[derive(Clone)]
enum Source {
    Cycles(Cycles),
    Coarse(Arc<CachedTime>),
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
        Clock(Source::Cycles(Cycles::start()))
    }

    /// Makes a clock that is ticking every `resolution` by a thread of the pipelines that stamp with it, which is read
    /// faster than the cycle counter.
    ///
    /// The thread starts and ends with the pipeline. A time is that of the last turn: it lies before the true time by up
    /// to `resolution` and as long as the thread waits for a core, which on a busy machine can be some milliseconds. So
    /// many events have one time, and their order is that of their numbers; a delay that is measured from such a stamp to
    /// a time of [`Clock::cycles`] is too long by as much, and one between two such stamps is a multiple of what lay
    /// between two turns. Turning takes a wake-up each time (every millisecond: 1 to 3 % of a core in a virtual machine);
    /// when nobody has asked for the time for 16 turns, the thread looks only every 64 ms whether somebody does.
    ///
    /// It never goes back. While nobody turns it (before the start, after the end, until the thread finds that it is
    /// asked for again, and under [`Topology::Inline`](crate::pipeline::Topology::Inline)), it reads the cycle counter, and
    /// is as exact as [`Clock::cycles`].
    ///
    /// ```
    /// use panther_events::clock::Clock;
    /// use panther_events::pipeline::{Builder, PipelineOptions};
    /// use std::time::Duration;
    ///
    /// let clock = Clock::coarse(Duration::from_millis(1));
    /// let pipeline = Builder::new(PipelineOptions { clock, ..PipelineOptions::default() }).start()?;
    /// # Ok::<(), panther_events::pipeline::StartError>(())
    /// ```
    #[must_use]
    pub fn coarse(resolution: Duration) -> Clock {
        Clock(Source::Coarse(Arc::new(CachedTime::new(Cycles::start(), resolution))))
    }

    /// Makes a clock that stands at `start_ns` until the hand that comes with it moves.
    #[must_use]
    pub fn manual(start_ns: u64) -> (Clock, ManualClock) {
        let time = Arc::new(AtomicU64::new(start_ns));
        (Clock(Source::Manual(Arc::clone(&time))), ManualClock(time))
    }

    /// Returns the time.
    #[inline]
    #[must_use]
    pub fn now_ns(&self) -> u64 {
        match &self.0 {
            Source::Cycles(cycles) => cycles.now_ns(),
            Source::Coarse(cached) => cached.now_ns(),
            Source::Manual(time) => time.load(Ordering::Relaxed),
        }
    }

    /// Returns how often a [`Clock::coarse`] is ticking; `None` for others, which are as fine as their counter or hand.
    #[must_use]
    pub fn resolution(&self) -> Option<Duration> {
        self.cached().map(|cached| cached.resolution())
    }

    /// What a pipeline has to turn.
    pub(crate) fn cached(&self) -> Option<&Arc<CachedTime>> {
        match &self.0 {
            Source::Coarse(cached) => Some(cached),
            Source::Cycles(_) | Source::Manual(_) => None,
        }
    }
}

/// The cycle counter, tied to the wall clock at one moment.
#[derive(Clone)]
struct Cycles {
    counter: quanta::Clock,
    start_raw: u64,
    start_ns: u64,
    scale: Scale,
}

impl Cycles {
    fn start() -> Cycles {
        let counter = quanta::Clock::new();
        let scale = Scale::of(&counter);
        let start_raw = counter.raw();
        Cycles { counter, start_raw, start_ns: wall_clock_ns(), scale }
    }

    #[inline]
    fn now_ns(&self) -> u64 {
        self.start_ns + self.scale.ns(self.counter.raw().saturating_sub(self.start_raw))
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
            Source::Cycles(_) => "Clock::cycles",
            Source::Coarse(_) => "Clock::coarse",
            Source::Manual(_) => "Clock::manual",
        })
    }
}

/// Turns a [`Clock::manual`], from any thread.
#[derive(Clone, Debug)]
pub struct ManualClock(Arc<AtomicU64>);

impl ManualClock {
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
