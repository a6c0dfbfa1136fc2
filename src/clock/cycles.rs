//! The cycle counter, read as the time.
//!
//! The counter is tied to the system's monotonic clock, which steps never move and which runs alike for all processes of a
//! machine, and that to the wall clock once, at the start. Readings are *bracketed*: the counter is read between two readings of
//! the other clock, several times, and the narrowest pair counts.
//!
//! Each second (10 ms after the start, 20 ms after that, and so on up to a second) whoever reads the time ties the counter again:
//! it draws the next [`Line`] from the error that has come about and from how fast the counter was since the last time. The line
//! begins where the old one will be [`GRACE_NS`] later, and leads to where the monotonic clock will be at the next tying. Until it
//! begins, all read the old one, so that the time that a reading of the counter stands for depends on that reading alone, and never
//! goes back. (Only a thread that is stopped for milliseconds between two certain instructions publishes a line late; readings of
//! two threads then disagree by the error that was to be corrected, some microseconds.)

use crate::clock::steps::{ClockSteps, Lead, StepWatch};
use crate::sync::{Arc, AtomicBool, AtomicU64, Ordering, fence};
use std::hint::spin_loop;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// The clocks that a machine has.
pub(super) trait Machine {
    /// The fastest counter.
    fn raw(&self) -> u64;
    /// Nanoseconds that run alike for all processes, from any begin on; never back.
    fn monotonic_ns(&self) -> u64;
    /// Nanoseconds since the Unix epoch, as the system has them.
    fn system_ns(&self) -> u64;
    /// A first guess of how long 2^40 of the counter are, in nanoseconds.
    fn scale(&self) -> u64;
}

/// This machine.
pub(super) struct Here {
    pub(super) counter: quanta::Clock,
    start: Instant,
}

impl Here {
    fn new() -> Here {
        Here { counter: quanta::Clock::new(), start: Instant::now() }
    }
}

impl Machine for Here {
    #[inline]
    fn raw(&self) -> u64 {
        self.counter.raw()
    }

    fn monotonic_ns(&self) -> u64 {
        self.start.elapsed().as_nanos() as u64
    }

    fn system_ns(&self) -> u64 {
        wall_clock_ns()
    }

    fn scale(&self) -> u64 {
        // A counter that counts nanoseconds gets exactly 2^40.
        self.counter.delta_as_nanos(0, 1 << SHIFT)
    }
}

/// Times are `counter · scale / 2^40`: one multiplication and a shift by a constant, because
/// [`Clock::now_ns`](super::Clock::now_ns) stands in the way of every event.
const SHIFT: u32 = 40;

/// Between two tyings, when the clock has run for a while, and at first.
const PERIOD_NS: u64 = 1_000_000_000;
const FIRST_PERIOD_NS: u64 = 10_000_000;

/// A line begins so long after it is drawn.
const GRACE_NS: u64 = 5_000_000;

/// Pairs of readings, of which the narrowest counts.
const BRACKETS: usize = 8;

/// An error above this is no drift: the machine slept, say. Where the time is behind by so much, it goes on from where it is to be.
const DRIFT_MAX_NS: i64 = 1_000_000;

/// By which part of the first guess a counter's pace can differ from it.
const PACE_OFF_MAX: u64 = 1_000;

/// How often a line is drawn again because the thread was stopped meanwhile, and others may have used the old one for too long.
const DRAWS_MAX: usize = 16;

/// How long a thread that finds the line outdated looks for another thread's new one.
const SPINS_MAX: u32 = if cfg!(loom) { 2 } else { 20_000 };

/// From when on a reading of the counter stands for which time.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Line {
    pub(super) raw: u64,
    ns: u64,
    scale: u64,
}

impl Line {
    #[inline]
    fn at(self, raw: u64) -> u64 {
        self.behind(raw.saturating_sub(self.raw))
    }

    /// So many of the counter behind its begin.
    #[inline]
    pub(super) fn behind(self, cycles: u64) -> u64 {
        self.ns + ((u128::from(cycles) * u128::from(self.scale)) >> SHIFT) as u64
    }

    fn raw_for(self, ns: u64) -> u64 {
        ((u128::from(ns) << SHIFT) / u128::from(self.scale.max(1))) as u64
    }
}

/// Two lines, the second of which follows the first.
#[derive(Default)]
#[repr(C, align(64))]
struct Slot {
    earlier: AtomicLine,
    later: AtomicLine,
    /// From here on the next line is to be drawn, by whoever comes first.
    due: AtomicU64,
    /// From here on the line may not be used.
    end: AtomicU64,
}

#[derive(Default)]
struct AtomicLine {
    raw: AtomicU64,
    ns: AtomicU64,
    scale: AtomicU64,
}

impl AtomicLine {
    #[inline]
    fn load(&self) -> Line {
        Line {
            raw: self.raw.load(Ordering::Relaxed),
            ns: self.ns.load(Ordering::Relaxed),
            scale: self.scale.load(Ordering::Relaxed),
        }
    }

    fn store(&self, line: Line) {
        self.raw.store(line.raw, Ordering::Relaxed);
        self.ns.store(line.ns, Ordering::Relaxed);
        self.scale.store(line.scale, Ordering::Relaxed);
    }
}

/// The cycle counter, tied to the monotonic clock again and again. Clones share it.
pub(super) struct Cycles<M = Here>(Arc<Tied<M>>);

impl<M> Clone for Cycles<M> {
    fn clone(&self) -> Cycles<M> {
        Cycles(Arc::clone(&self.0))
    }
}

struct Tied<M> {
    machine: M,
    /// Lines drawn so far. The last one is in slot `drawn & 1`.
    drawn: AtomicU64,
    slots: [Slot; 2],
    drawing: AtomicBool,
    /// Written by whoever draws: where the last reading was taken, and how long it was to the one before.
    last_raw: AtomicU64,
    last_ns: AtomicU64,
    period_ns: AtomicU64,
    /// What the monotonic clock lacks to the Unix epoch, as it was at the start.
    epoch_ns: u64,
    /// The scale as it was at first.
    guess: u64,
    steps: StepWatch,
}

/// A line that may be published.
struct Drawing {
    reading: Reading,
    /// To the tying after this one.
    period_ns: u64,
    earlier: Line,
    later: Line,
}

/// What the clocks said at one moment.
struct Reading {
    raw: u64,
    monotonic_ns: u64,
}

impl Cycles<Here> {
    pub(super) fn start() -> Cycles<Here> {
        Cycles::on(Here::new())
    }
}

impl<M: Machine> Cycles<M> {
    fn on(machine: M) -> Cycles<M> {
        let scale = machine.scale();
        let lead_ns = lead_ns(&machine);
        let epoch_ns = lead_ns.value;
        let reading = read(&machine);
        let line = Line { raw: reading.raw, ns: reading.monotonic_ns.wrapping_add(epoch_ns), scale };
        let tied = Tied {
            machine,
            drawn: AtomicU64::new(0),
            slots: Default::default(),
            drawing: AtomicBool::new(false),
            last_raw: AtomicU64::new(reading.raw),
            last_ns: AtomicU64::new(reading.monotonic_ns),
            period_ns: AtomicU64::new(FIRST_PERIOD_NS),
            epoch_ns,
            guess: scale,
            steps: StepWatch::new(lead_ns.value),
        };
        let [slot, _] = &tied.slots;
        slot.put(line, line, FIRST_PERIOD_NS);
        Cycles(Arc::new(tied))
    }

    #[inline]
    pub(super) fn now_ns(&self) -> u64 {
        let tied = &*self.0;
        loop {
            let drawn = tied.drawn.load(Ordering::Acquire);
            let slot = tied.slot(drawn);
            let (later, due) = (slot.later.load(), slot.due.load(Ordering::Relaxed));
            let raw = tied.machine.raw();
            let now_ns = if raw >= later.raw { later.at(raw) } else { slot.earlier.load().at(raw) };
            // What was read is of one slot only if no other has been drawn since.
            fence(Ordering::Acquire);
            if tied.drawn.load(Ordering::Relaxed) != drawn {
                continue;
            }
            if raw < due {
                return now_ns;
            }
            if let Some(now_ns) = tied.draw_next(drawn, raw, now_ns) {
                return now_ns;
            }
        }
    }

    /// Returns the line by which the time is told now, and for how much of the counter from its begin it holds.
    pub(super) fn line(&self) -> (Line, u64) {
        let tied = &*self.0;
        loop {
            let drawn = tied.drawn.load(Ordering::Acquire);
            let slot = tied.slot(drawn);
            let (earlier, later) = (slot.earlier.load(), slot.later.load());
            let due = slot.due.load(Ordering::Relaxed);
            fence(Ordering::Acquire);
            if tied.drawn.load(Ordering::Relaxed) == drawn {
                let has_begun = tied.machine.raw() >= later.raw;
                let (line, end) = if has_begun { (later, due) } else { (earlier, later.raw) };
                return (line, end.saturating_sub(line.raw));
            }
        }
    }

    pub(super) fn machine(&self) -> &M {
        &self.0.machine
    }

    /// Returns how often the wall clock was set since the start.
    pub(super) fn steps(&self) -> ClockSteps {
        self.0.steps.so_far()
    }
}

impl Slot {
    fn put(&self, earlier: Line, later: Line, period_ns: u64) {
        self.earlier.store(earlier);
        self.later.store(later);
        let due = later.raw.saturating_add(later.raw_for(period_ns));
        self.due.store(due, Ordering::Relaxed);
        self.end.store(due.saturating_add(later.raw_for(GRACE_NS)), Ordering::Relaxed);
    }

    /// Half of the time for which the line is used on, once the next one is due.
    fn half_grace(&self) -> u64 {
        (self.end.load(Ordering::Relaxed) - self.due.load(Ordering::Relaxed)) / 2
    }
}

impl<M> Tied<M> {
    #[inline]
    fn slot(&self, drawn: u64) -> &Slot {
        let [even, odd] = &self.slots;
        if drawn & 1 == 0 { even } else { odd }
    }
}

impl<M: Machine> Tied<M> {
    /// Draws the line behind `drawn`, unless another thread does. The time `now_ns` of the reading `raw` stands where the old line
    /// may still be used; else there is another one now, or `None`: look again.
    #[cold]
    fn draw_next(&self, drawn: u64, raw: u64, now_ns: u64) -> Option<u64> {
        let [even, odd] = &self.slots;
        let (slot, next) = if drawn & 1 == 0 { (even, odd) } else { (odd, even) };
        let ended = raw >= slot.end.load(Ordering::Relaxed);
        if self.drawing.swap(true, Ordering::Acquire) {
            if !ended {
                return Some(now_ns);
            }
            for _ in 0..SPINS_MAX {
                if self.drawn.load(Ordering::Acquire) != drawn {
                    return None;
                }
                spin_loop();
            }
            // Whoever draws was stopped. What it will draw begins where the monotonic clock is.
            return Some(self.machine.monotonic_ns().wrapping_add(self.epoch_ns));
        }
        if self.drawn.load(Ordering::Relaxed) == drawn {
            let mut drawing = self.draw(slot, ended);
            // Others use the old line until the new one is published, which is to be well before it begins.
            for _ in 1..DRAWS_MAX {
                if ended || self.machine.raw().saturating_add(slot.half_grace()) < drawing.later.raw {
                    break;
                }
                drawing = self.draw(slot, ended);
            }
            // Who sees any of this sees that a line was drawn since it read the slot's number.
            fence(Ordering::Release);
            next.put(drawing.earlier, drawing.later, drawing.period_ns);
            self.drawn.store(drawn + 1, Ordering::Release);
            self.last_raw.store(drawing.reading.raw, Ordering::Relaxed);
            self.last_ns.store(drawing.reading.monotonic_ns, Ordering::Relaxed);
            self.period_ns.store(drawing.period_ns, Ordering::Relaxed);
            let now_ns = drawing.reading.monotonic_ns.wrapping_add(self.epoch_ns);
            self.steps.look(lead_ns(&self.machine), now_ns);
        }
        self.drawing.store(false, Ordering::Release);
        None
    }

    /// Draws the line that follows that of `slot`.
    fn draw(&self, slot: &Slot, ended: bool) -> Drawing {
        let old = slot.later.load();
        let reading = read(&self.machine);
        let (last_raw, last_ns) =
            (self.last_raw.load(Ordering::Relaxed), self.last_ns.load(Ordering::Relaxed));
        let (raws, nanos) =
            (reading.raw.saturating_sub(last_raw), reading.monotonic_ns.saturating_sub(last_ns));
        let measured = (u128::from(nanos) << SHIFT).checked_div(u128::from(raws)).unwrap_or(0);
        let measured = measured.min(u128::from(u64::MAX)) as u64;
        // Where it is far from the first guess, one of the clocks has leapt meanwhile.
        let is_sound = measured.abs_diff(self.guess) <= self.guess / PACE_OFF_MAX;
        let pace = if is_sound { measured } else { self.guess };
        let period_ns = self.period_ns.load(Ordering::Relaxed).saturating_mul(2).min(PERIOD_NS);
        let right =
            Line { raw: reading.raw, ns: reading.monotonic_ns.wrapping_add(self.epoch_ns), scale: pace };
        // Nobody has used the old line beyond its end.
        let from = if ended { reading.raw } else { reading.raw.saturating_add(right.raw_for(GRACE_NS)) };
        let told_ns = old.at(if ended { slot.end.load(Ordering::Relaxed) } else { from });
        let start_ns = if ended { told_ns.max(right.at(from)) } else { told_ns };
        let error_ns = (right.at(from) as i64).wrapping_sub(start_ns as i64);
        // The error is gone at the next tying; where it is large, at half the pace at least, or at once.
        let (ns, part) = if error_ns > DRIFT_MAX_NS {
            (right.at(from), 0)
        } else {
            (start_ns, i128::from(pace) * i128::from(error_ns) / i128::from(period_ns))
        };
        let scale = (i128::from(pace) + part.max(-i128::from(pace / 2))).max(1) as u64;
        let later = Line { raw: from, ns, scale };
        Drawing { reading, period_ns, earlier: if ended { later } else { old }, later }
    }
}

/// Reads the counter at a known time of the monotonic clock.
fn read(machine: &impl Machine) -> Reading {
    let pairs = (0..BRACKETS).map(|_| {
        let before = machine.monotonic_ns();
        let raw = machine.raw();
        let after = machine.monotonic_ns();
        (
            after.saturating_sub(before),
            Reading { raw, monotonic_ns: before + after.saturating_sub(before) / 2 },
        )
    });
    let narrowest = pairs.min_by_key(|(width, _)| *width);
    narrowest
        .map_or(Reading { raw: machine.raw(), monotonic_ns: machine.monotonic_ns() }, |(_, reading)| reading)
}

fn lead_ns(machine: &impl Machine) -> Lead {
    let leads = (0..BRACKETS).map(|_| {
        let before = machine.monotonic_ns();
        let system = machine.system_ns();
        let width_ns = machine.monotonic_ns().saturating_sub(before);
        Lead { value: system.wrapping_sub(before + width_ns / 2), width_ns }
    });
    let narrowest = leads.min_by_key(|lead| lead.width_ns);
    narrowest.unwrap_or(Lead { value: 0, width_ns: u64::MAX })
}

pub(super) fn wall_clock_ns() -> u64 {
    // Before 1970 there is nothing to measure; after 2554 the nanoseconds no longer fit.
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_nanos().min(u128::from(u64::MAX)) as u64)
}

#[cfg(all(test, loom))]
mod models;

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use std::cell::Cell;

    /// A machine whose true time moves by hand, a little with each reading.
    struct Simulated {
        true_ns: Cell<f64>,
        reading_ns: f64,
        /// Of the counter: cycles a nanosecond, and by how much the first guess is wrong.
        pace: Cell<f64>,
        guess: f64,
        /// Of the monotonic clock.
        slew: Cell<f64>,
        monotonic_ns: Cell<f64>,
        system_ahead_ns: Cell<f64>,
        counted: Cell<f64>,
    }

    impl Simulated {
        fn pass(&self, ns: f64) {
            self.true_ns.set(self.true_ns.get() + ns);
            self.counted.set(self.counted.get() + ns * self.pace.get());
            self.monotonic_ns.set(self.monotonic_ns.get() + ns * (1.0 + self.slew.get()));
        }
    }

    impl Machine for &Simulated {
        fn raw(&self) -> u64 {
            self.pass(self.reading_ns);
            self.counted.get() as u64
        }

        fn monotonic_ns(&self) -> u64 {
            self.pass(self.reading_ns);
            self.monotonic_ns.get() as u64
        }

        fn system_ns(&self) -> u64 {
            self.pass(self.reading_ns);
            (self.monotonic_ns.get() + self.system_ahead_ns.get()) as u64
        }

        fn scale(&self) -> u64 {
            ((1_u64 << SHIFT) as f64 / self.pace.get() * self.guess) as u64
        }
    }

    const EPOCH_NS: f64 = 1_790_000_000e9;

    fn simulated(pace: f64, guess: f64) -> Simulated {
        Simulated {
            true_ns: Cell::new(0.0),
            reading_ns: 20.0,
            pace: Cell::new(pace),
            guess,
            slew: Cell::new(0.0),
            monotonic_ns: Cell::new(3e12),
            system_ahead_ns: Cell::new(EPOCH_NS),
            counted: Cell::new(7e15),
        }
    }

    /// How far the clock is from the machine's own, which all processes share.
    fn error_ns(machine: &Simulated, now_ns: u64) -> f64 {
        now_ns as f64 - EPOCH_NS - machine.monotonic_ns.get()
    }

    #[test]
    fn ten_minutes_stay_within_microseconds_of_the_machines_clock_and_never_go_back() {
        let seed = 0x9e37_79b9_7f4a_7c15_u64;
        for (pace, guess, round) in
            [(2.6, 1.000_034, 1), (0.998, 0.999_950, 2), (1.0, 1.0, 3), (3.7, 1.000_2, 4)]
        {
            let machine = simulated(pace, guess);
            let cycles = Cycles::on(&machine);
            let (mut random, mut last, mut worst) = (seed ^ round, 0, 0.0_f64);
            while machine.true_ns.get() < 600e9 {
                random =
                    random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                // Mostly busy, and now and then nobody asks for seconds.
                let pause = if random >> 60 == 0 { 3e9 } else { 300_000.0 };
                machine.pass((random >> 40) as f64 / (1 << 24) as f64 * pause);
                // The counter's pace wanders, and the system's clock is slewed, as NTP does it.
                if random >> 32 & 0xff == 0 {
                    machine.pace.set(pace * (1.0 + ((random >> 20 & 0xff) as f64 - 128.0) * 1e-9));
                    machine.slew.set(((random >> 12 & 0xff) as f64 - 128.0) * 8e-9);
                }
                let now = cycles.now_ns();
                assert!(now >= last, "{last} then {now} after {} s", machine.true_ns.get() / 1e9);
                last = now;
                // At first as wrong as the guess, for 10 ms.
                if machine.true_ns.get() > 20e6 {
                    worst = worst.max(error_ns(&machine, now).abs());
                }
            }
            assert!(worst < 6_000.0, "{worst} ns, pace {pace}");
            assert_eq!(cycles.steps(), ClockSteps::default());
        }
    }

    #[test]
    fn a_step_of_the_wall_clock_is_told_and_not_followed() {
        let machine = simulated(2.5, 1.0);
        let cycles = Cycles::on(&machine);
        for (step_ns, count) in [(3e9, 1), (-1.5e9, 2), (40_000.0, 2)] {
            machine.system_ahead_ns.set(machine.system_ahead_ns.get() + step_ns);
            for _ in 0..30 {
                machine.pass(1e8);
                assert!(error_ns(&machine, cycles.now_ns()).abs() < 2_000.0);
            }
            assert_eq!(cycles.steps().count, count);
        }
        let steps = cycles.steps();
        assert!((steps.total_ns - 1_500_000_000).abs() < 10_000, "{steps:?}");
    }

    #[test]
    fn a_counter_that_slept_or_ran_away_is_brought_back_without_going_back() {
        // The counter leaps, or stands still while the other clock goes on.
        for ahead in [5e6, -5e6, 2e9, -2e9] {
            let machine = simulated(1.0, 1.0);
            let cycles = Cycles::on(&machine);
            machine.pass(5e9);
            let mut last = cycles.now_ns();
            if ahead > 0.0 {
                machine.counted.set(machine.counted.get() + ahead);
            } else {
                machine.monotonic_ns.set(machine.monotonic_ns.get() - ahead);
            }
            for _ in 0..200_000 {
                machine.pass(1e5);
                let now = cycles.now_ns();
                assert!(now >= last, "{ahead}: {last} then {now} after {} s", machine.true_ns.get() / 1e9);
                last = now;
            }
            assert!(error_ns(&machine, last).abs() < 5_000.0, "{ahead}: {}", error_ns(&machine, last));
        }
    }

    #[test]
    fn threads_never_see_the_time_go_back_while_lines_are_drawn() {
        let (cycles, stop, newest) = (Cycles::start(), AtomicBool::new(false), AtomicU64::new(0));
        std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    while !stop.load(Ordering::Relaxed) {
                        let told = newest.load(Ordering::Acquire);
                        // A core reads its counter before a load that it waits for; not before a call of the system.
                        std::thread::yield_now();
                        let now = cycles.now_ns();
                        assert!(now >= told, "{told} was told before {now}");
                        newest.fetch_max(now, Ordering::Release);
                    }
                });
            }
            std::thread::sleep(std::time::Duration::from_millis(1_500));
            stop.store(true, Ordering::Relaxed);
        });
        assert!(cycles.0.drawn.load(Ordering::Relaxed) >= 5);
    }
}
