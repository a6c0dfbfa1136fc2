//! What is modelled: threads that read the time, and draw lines, while others do; that of the machine is the same for all, and the
//! counter's own order with other memory is not modelled, nor a thread that is stopped for milliseconds while it draws.

use super::*;
use std::sync::atomic;

/// A machine whose time is the same for all threads and goes on by one with each reading; its counter is ahead of the other
/// clock by `fast_ppm` of what has passed.
struct Shared {
    time: atomic::AtomicU64,
    fast_ppm: u64,
}

const BEGIN: u64 = 1_000_000_000;

impl Shared {
    fn pass(&self, ns: u64) -> u64 {
        self.time.fetch_add(ns, atomic::Ordering::Relaxed) + ns
    }
}

impl Machine for std::sync::Arc<Shared> {
    fn raw(&self) -> u64 {
        let time = self.pass(1);
        time + (time - BEGIN) * self.fast_ppm / 1_000_000
    }

    fn monotonic_ns(&self) -> u64 {
        self.pass(1)
    }

    fn system_ns(&self) -> u64 {
        self.pass(1)
    }

    fn scale(&self) -> u64 {
        1 << SHIFT
    }
}

fn machine(fast_ppm: u64) -> std::sync::Arc<Shared> {
    std::sync::Arc::new(Shared { time: atomic::AtomicU64::new(BEGIN), fast_ppm })
}

fn check(preemptions: usize, model: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.check(model);
}

/// One thread reads while another has two lines drawn, the second of which takes the place of that which the first may be
/// reading: whatever it makes of that is the time between its beginning and its end. A line of which one number is another's
/// would be off by milliseconds.
#[test]
fn no_reader_takes_a_line_for_another_that_is_drawn_meanwhile() {
    // Where the line before may still be used, and where it has ended.
    for pauses_ms in [[12, 27], [50, 50]] {
        draw_twice(pauses_ms);
    }
}

fn draw_twice(pauses_ms: [u64; 2]) {
    check(3, move || {
        let machine = machine(0);
        let cycles = Cycles::on(std::sync::Arc::clone(&machine));
        let (twin, twins_machine) = (cycles.clone(), std::sync::Arc::clone(&machine));
        // Loom notes the last access alone: it looks for other orders where a load follows a store, and so the reader runs last.
        let reading = loom::thread::spawn(move || {
            let before = twins_machine.pass(1);
            let now = twin.now_ns();
            let after = twins_machine.pass(1);
            // The middle of a bracket is rounded; a draw has dozens of readings.
            assert!(before <= now + 100 && now <= after + 100, "{before} to {after}: {now}");
        });
        for pause_ms in pauses_ms {
            machine.pass(pause_ms * 1_000_000);
            cycles.now_ns();
        }
        reading.join().unwrap();
        assert!(cycles.0.drawn.load(Ordering::Relaxed) >= 2);
    });
}

/// Both find that a line is due, one draws it, and the other is told the same time meanwhile: what one has been told is not
/// before what the other is told afterwards, nor is what either is told once the new line holds.
#[test]
fn time_does_not_go_back_between_threads_of_which_one_draws() {
    check(3, || {
        let machine = machine(200);
        let cycles = Cycles::on(std::sync::Arc::clone(&machine));
        machine.pass(FIRST_PERIOD_NS + 10_000);
        let newest = Arc::new(AtomicU64::new(0));
        let read = |cycles: &Cycles<_>, newest: &AtomicU64| {
            let told = newest.load(Ordering::Acquire);
            let now = cycles.now_ns();
            assert!(now >= told, "{told} was told before {now}");
            newest.fetch_max(now, Ordering::Release);
        };
        let (twin, twins_newest) = (cycles.clone(), Arc::clone(&newest));
        let other = loom::thread::spawn(move || read(&twin, &twins_newest));
        // Draws the line, and is told the time once more while the other may still use the old one.
        read(&cycles, &newest);
        read(&cycles, &newest);
        other.join().unwrap();
        assert_eq!(cycles.0.drawn.load(Ordering::Relaxed), 1);
        for _ in 0..3 {
            machine.pass(GRACE_NS / 2);
            read(&cycles, &newest);
        }
    });
}
