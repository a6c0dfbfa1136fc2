//! Waiting: strategies, and a sleep from which no wake-up is lost.

use crate::fence;
use crate::fork::Birthplace;
use crate::sync::{AtomicBool, Mutex, Ordering, Thread, lock, thread};
use std::time::Duration;

/// Says what a thread does while there is nothing to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum WaitStrategy {
    /// Look again at once. Lowest delay; keeps a core busy for ever.
    Spin,
    /// Look again at once for some microseconds, then yield, then sleep until woken. An idle pipeline uses
    /// no CPU.
    #[default]
    Adaptive,
    /// Sleep at once until woken.
    Park,
}

/// How long a sleep lasts where wake-ups may be missed.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

const SPINS: u32 = 200;
const YIELDS: u32 = 16;

/// Counts how often a thread has looked in vain, and waits accordingly.
pub(crate) struct Idle {
    strategy: WaitStrategy,
    looks: u32,
}

impl Idle {
    pub(crate) fn new(strategy: WaitStrategy) -> Idle {
        Idle { strategy, looks: 0 }
    }

    /// There was something to do.
    pub(crate) fn reset(&mut self) {
        self.looks = 0;
    }

    /// Waits a little, or on `parker` until woken while `idle` holds.
    pub(crate) fn wait(&mut self, parker: &Parker, idle: impl FnMut() -> bool) {
        self.looks = self.looks.saturating_add(1);
        match self.strategy {
            WaitStrategy::Spin => std::hint::spin_loop(),
            WaitStrategy::Adaptive if self.looks <= SPINS => std::hint::spin_loop(),
            WaitStrategy::Adaptive if self.looks <= SPINS + YIELDS => thread::yield_now(),
            WaitStrategy::Adaptive | WaitStrategy::Park => parker.sleep(None, idle),
        }
    }
}

/// Parks one thread; any other may wake it.
///
/// The parked thread says that it sleeps and then looks for work once more; the waker publishes work and then looks
/// whether somebody sleeps. The fences between (see [`fence`]) make sure that one of them sees the other.
pub(crate) struct Parker {
    asleep: AtomicBool,
    thread: Mutex<Option<Thread>>,
}

impl Parker {
    pub(crate) fn new() -> Parker {
        fence::prepare();
        Parker { asleep: AtomicBool::new(false), thread: Mutex::new(None) }
    }

    /// Sleeps while `idle` holds, until woken or `timeout` has passed. Only one thread may sleep here at a time.
    pub(crate) fn sleep(&self, timeout: Option<Duration>, mut idle: impl FnMut() -> bool) {
        *lock(&self.thread) = Some(thread::current());
        // Release: partner is the swap in `wake`, which must find the thread's handle.
        self.asleep.store(true, Ordering::Release);
        fence::heavy();
        let timeout = match timeout {
            None if fence::is_broken() => Some(LOOK_AGAIN),
            given => given,
        };
        if idle() {
            park(timeout);
        }
        self.asleep.store(false, Ordering::Relaxed);
    }

    /// Wakes the thread if it sleeps; to be called after work was published. Costs one load when it does not.
    #[inline]
    pub(crate) fn wake(&self) {
        fence::light();
        if self.asleep.load(Ordering::Relaxed) {
            self.rouse();
        }
    }

    #[cold]
    fn rouse(&self) {
        // Acquire: partner is the store of `true` in `sleep`. The swap lets one of several wakers call.
        if self.asleep.swap(false, Ordering::Acquire)
            && let Some(thread) = &*lock(&self.thread)
        {
            thread.unpark();
        }
    }
}

#[cfg(not(loom))]
fn park(timeout: Option<Duration>) {
    match timeout {
        Some(timeout) => thread::park_timeout(timeout),
        None => thread::park(),
    }
}

#[cfg(loom)]
fn park(_timeout: Option<Duration>) {
    thread::park();
}

/// Says whether a pipeline takes events: not once it was closed, and never in a child of the process in which it was made.
pub(crate) struct Gate {
    closed: AtomicBool,
    birthplace: Birthplace,
}

impl Gate {
    /// Makes an open one.
    pub(crate) fn new() -> Gate {
        Gate { closed: AtomicBool::new(false), birthplace: Birthplace::here() }
    }

    /// Closes it for all emitters that watch it.
    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::Release);
        fence::heavy();
    }

    /// Tells whether it was closed.
    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// Tells whether this is a child of the process in which it was made.
    pub(crate) fn is_forked(&self) -> bool {
        !self.birthplace.is_here()
    }
}

/// Lets a pipeline close while emitters are at work, without a lock or a fence on their side.
///
/// An emitter enters before it pushes and leaves after it has counted. Once [`Gate::close`] has been called and
/// [`ActiveFlag::is_occupied`] says no, nothing is pushed any more.
pub(crate) struct ActiveFlag {
    occupied: AtomicBool,
}

impl ActiveFlag {
    pub(crate) fn new() -> ActiveFlag {
        fence::prepare();
        ActiveFlag { occupied: AtomicBool::new(false) }
    }

    /// Enters unless the gate is closed, or this is a child of the process in which it was made; to be called by the flag's one
    /// owner.
    #[inline]
    pub(crate) fn enter(&self, gate: &Gate) -> Option<ActiveGuard<'_>> {
        self.occupied.store(true, Ordering::Relaxed);
        let inside = ActiveGuard(self);
        // Partner: `close`. Either this load sees the closing, or `is_occupied` sees us.
        let is_here = fence::light_at(gate.birthplace);
        if gate.closed.load(Ordering::Relaxed) || !is_here { None } else { Some(inside) }
    }

    /// Tells whether the owner is inside; meant for after [`Gate::close`].
    pub(crate) fn is_occupied(&self) -> bool {
        // Acquire: partner is the store in `ActiveGuard::drop`.
        self.occupied.load(Ordering::Acquire)
    }
}

/// The owner is inside its call until this is dropped, by a panic too. What was pushed and counted before is
/// visible to whoever then finds the flag down.
pub(crate) struct ActiveGuard<'a>(&'a ActiveFlag);

impl Drop for ActiveGuard<'_> {
    #[inline]
    fn drop(&mut self) {
        // Release: partner is the load in `is_occupied`.
        self.0.occupied.store(false, Ordering::Release);
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::sync::Arc;
    use std::sync::atomic::AtomicUsize;

    #[test]
    fn no_wake_up_is_lost_in_many_rounds() {
        let parker = Arc::new(Parker::new());
        let work = Arc::new(AtomicUsize::new(0));
        const ROUNDS: usize = 20_000;
        let consumer = {
            let (parker, work) = (Arc::clone(&parker), Arc::clone(&work));
            std::thread::spawn(move || {
                let mut done = 0;
                while done < ROUNDS {
                    let seen = work.load(Ordering::Acquire);
                    if seen == done {
                        // A lost wake-up would hang the test here.
                        parker.sleep(None, || work.load(Ordering::Acquire) == done);
                    }
                    done = done.max(seen);
                }
            })
        };
        for round in 1..=ROUNDS {
            work.store(round, Ordering::Release);
            parker.wake();
            if round % 64 == 0 {
                std::thread::yield_now();
            }
        }
        consumer.join().unwrap();
    }

    #[test]
    fn a_closed_gate_lets_nobody_in() {
        let (active, gate) = (ActiveFlag::new(), Gate::new());
        let inside = active.enter(&gate);
        assert!(inside.is_some() && active.is_occupied());
        drop(inside);
        gate.close();
        assert!(active.enter(&gate).is_none() && !active.is_occupied());
    }
}

#[cfg(all(test, loom))]
mod models {
    use super::*;
    use loom::sync::Arc;
    use loom::sync::atomic::AtomicUsize;

    /// `RUSTFLAGS="--cfg loom" cargo test --release --lib models`
    #[test]
    fn a_sleeper_is_woken_in_every_interleaving() {
        loom::model(|| {
            let shared = Arc::new((Parker::new(), AtomicUsize::new(0)));
            let twin = Arc::clone(&shared);
            let waker = loom::thread::spawn(move || {
                twin.1.store(1, Ordering::Release);
                twin.0.wake();
            });
            while shared.1.load(Ordering::Acquire) == 0 {
                shared.0.sleep(None, || shared.1.load(Ordering::Acquire) == 0);
            }
            waker.join().unwrap();
        });
    }

    #[test]
    fn after_closing_a_free_gate_means_that_all_pushes_are_counted() {
        loom::model(|| {
            let shared = Arc::new((ActiveFlag::new(), Gate::new(), AtomicUsize::new(0)));
            let twin = Arc::clone(&shared);
            let emitter = loom::thread::spawn(move || {
                let mut pushed = 0;
                for _ in 0..2 {
                    if let Some(_inside) = twin.0.enter(&twin.1) {
                        pushed += 1;
                        twin.2.store(pushed, Ordering::Relaxed);
                    }
                }
                pushed
            });
            shared.1.close();
            while shared.0.is_occupied() {
                loom::thread::yield_now();
            }
            let counted = shared.2.load(Ordering::Relaxed);
            assert_eq!(emitter.join().unwrap(), counted);
        });
    }
}
