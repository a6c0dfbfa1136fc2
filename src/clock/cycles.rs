//! The cycle counter, read as the time.

use std::time::{SystemTime, UNIX_EPOCH};

/// The cycle counter, tied to the wall clock at one moment.
#[derive(Clone)]
pub(super) struct Cycles {
    counter: quanta::Clock,
    start_raw: u64,
    start_ns: u64,
    scale: Scale,
}

impl Cycles {
    pub(super) fn start() -> Cycles {
        let counter = quanta::Clock::new();
        let scale = Scale::of(&counter);
        let start_raw = counter.raw();
        Cycles { counter, start_raw, start_ns: wall_clock_ns(), scale }
    }

    #[inline]
    pub(super) fn now_ns(&self) -> u64 {
        self.start_ns + self.scale.ns(self.counter.raw().saturating_sub(self.start_raw))
    }
}

/// How long a cycle of the counter takes: `multiplier / 2^40` nanoseconds. One multiplication and a shift by a
/// constant, because [`Clock::now_ns`](super::Clock::now_ns) stands in the way of every event.
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

pub(super) fn wall_clock_ns() -> u64 {
    // Before 1970 there is nothing to measure; after 2554 the nanoseconds no longer fit.
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_nanos().min(u128::from(u64::MAX)) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

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
}
