//! Clocks: nanoseconds since the Unix epoch, from the cycle counter, from what a thread notes of it now and then, from the
//! system, or set by a test.

mod coarse;
mod cycles;
mod stamps;
mod steps;

use coarse::CachedTime;
use cycles::{Cycles, wall_clock_ns};
pub(crate) use stamps::Stamps;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
pub use steps::ClockSteps;

/// Tells the time for records: nanoseconds since the Unix epoch.
///
/// Cloning is cheap; clones agree with each other.
#[derive(Clone)]
pub struct Clock(Source);

#[derive(Clone)]
enum Source {
    Cycles(Cycles),
    Coarse(Arc<CachedTime>),
    System,
    Manual(Arc<AtomicU64>),
}

impl Clock {
    /// Makes a clock that reads the CPU's cycle counter, tied to the system's clock at this moment and again each second in
    /// which it is read, by whoever reads it.
    ///
    /// It never goes back (a core may read its counter some microseconds before a load that stands before that in the program),
    /// and runs as the system's monotonic clock does, which all processes of a machine share: two of
    /// them agree to within some microseconds, for hours. At the first 10 ms it is as wrong as the frequency that is measured
    /// once per process, which can take 200 ms. It does not follow steps of the wall clock that come later, but
    /// [tells](Clock::steps) of them; a process that starts after one is apart by as much. Where the CPU has no steady counter,
    /// the system's monotonic clock is read instead.
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

    /// Makes a clock that reads the system's wall clock each time: it costs some 25 ns, and goes where that is set, back too.
    #[must_use]
    pub fn system() -> Clock {
        Clock(Source::System)
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
            Source::System => wall_clock_ns(),
            Source::Manual(time) => time.load(Ordering::Relaxed),
        }
    }

    /// Returns how often the system's wall clock was set since this clock was made, which does not follow it; none for
    /// [`Clock::system`], which does, and for [`Clock::manual`].
    #[must_use]
    pub fn steps(&self) -> ClockSteps {
        match &self.0 {
            Source::Cycles(cycles) => cycles.steps(),
            Source::Coarse(cached) => cached.steps(),
            Source::System | Source::Manual(_) => ClockSteps::default(),
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
            Source::Cycles(_) | Source::System | Source::Manual(_) => None,
        }
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Source::Cycles(_) => "Clock::cycles",
            Source::Coarse(_) => "Clock::coarse",
            Source::System => "Clock::system",
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
    fn the_systems_clock_is_told_as_it_is() {
        let (before, now, after) = (wall_clock_ns(), Clock::system().now_ns(), wall_clock_ns());
        assert!(before <= now && now <= after, "{before} {now} {after}");
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
