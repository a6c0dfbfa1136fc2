//! The last reading of the cycle counter, kept where reading it costs a load.

use super::cycles::Cycles;
use super::steps::ClockSteps;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Set in the word while somebody refreshes the time.
const TICKING: u64 = 1 << 63;
/// Set in the word when the time is asked for; ticking takes it away.
const ASKED: u64 = 1 << 62;
/// 62 bits of nanoseconds last until 2116.
const TIME: u64 = ASKED - 1;

/// What was read of the counter last, whether it is read regularly, and whether anybody asks.
///
/// All are in one word, whose time is only ever raised. Whoever tells the time tells what the word holds, or raises it to
/// what it tells: so no thread sees the time go back, and none tells another an earlier one.
pub(crate) struct CachedTime {
    word: AtomicU64,
    cycles: Cycles,
    resolution: Duration,
}

impl CachedTime {
    pub(super) fn new(cycles: Cycles, resolution: Duration) -> CachedTime {
        CachedTime { word: AtomicU64::new(0), cycles, resolution }
    }

    pub(super) fn steps(&self) -> ClockSteps {
        self.cycles.steps()
    }

    pub(crate) fn resolution(&self) -> Duration {
        self.resolution
    }

    #[inline]
    pub(super) fn now_ns(&self) -> u64 {
        let word = self.word.load(Ordering::Relaxed);
        if word >= TICKING | ASKED { word & TIME } else { self.ask() }
    }

    /// The first to ask since the last tick, or no thread refreshes it: then the counter is read.
    #[cold]
    fn ask(&self) -> u64 {
        let now = self.cycles.now_ns() & TIME;
        let asked =
            |word: u64| Some(if word & TICKING != 0 { word | ASKED } else { (word & TIME).max(now) | ASKED });
        let before = self.update(asked);
        if before & TICKING != 0 { before & TIME } else { (before & TIME).max(now) }
    }

    /// Tells whether anybody has asked for the time since the last tick.
    pub(crate) fn is_asked(&self) -> bool {
        self.word.load(Ordering::Relaxed) & ASKED != 0
    }

    /// Caches the time; from here on it is told until the next call, or until [`CachedTime::leave`].
    pub(crate) fn tick(&self) {
        let now = self.cycles.now_ns() & TIME;
        self.update(|word| Some((word & TIME).max(now) | TICKING));
    }

    /// Nobody refreshes the time any more.
    pub(crate) fn leave(&self) {
        self.update(|word| Some(word & TIME));
    }

    /// Returns the word from before.
    fn update(&self, to: impl FnMut(u64) -> Option<u64>) -> u64 {
        // Never refused.
        self.word.fetch_update(Ordering::Relaxed, Ordering::Relaxed, to).unwrap_or_else(|word| word)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicBool;

    fn cached() -> CachedTime {
        CachedTime::new(Cycles::start(), Duration::from_millis(1))
    }

    #[test]
    fn a_turned_clock_stands_between_two_turns() {
        let cached = cached();
        let before = cached.now_ns();
        cached.tick();
        let first = cached.now_ns();
        std::thread::sleep(Duration::from_millis(2));
        assert_eq!(cached.now_ns(), first);
        assert!(first >= before);
        cached.tick();
        assert!(cached.now_ns() >= first + 2_000_000);
        assert!(cached.is_asked());
        cached.tick();
        assert!(!cached.is_asked());
        cached.leave();
        let left = cached.now_ns();
        std::thread::sleep(Duration::from_millis(2));
        assert!(cached.now_ns() >= left + 2_000_000, "nobody turns it, so it goes by itself");
    }

    #[test]
    fn no_thread_sees_the_time_go_back_whoever_turns_it() {
        let (cached, stop, newest) = (cached(), AtomicBool::new(false), AtomicU64::new(0));
        std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    while !stop.load(Ordering::Relaxed) {
                        // What another thread has told is not later than what is told now.
                        let told = newest.load(Ordering::Acquire);
                        let now = cached.now_ns();
                        assert!(now >= told, "{told} was told before {now}");
                        newest.fetch_max(now, Ordering::Release);
                    }
                });
            }
            for round in 0..20_000 {
                cached.tick();
                if round % 3 == 0 {
                    cached.leave();
                }
                if round % 64 == 0 {
                    std::thread::yield_now();
                }
            }
            stop.store(true, Ordering::Relaxed);
        });
    }
}
