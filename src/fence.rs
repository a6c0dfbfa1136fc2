//! An asymmetric memory fence: free on the side that runs often, dear on the side that runs rarely.
//!
//! Two places need a store to be visible before a later load of another variable (Dekker's pattern): an
//! emitter publishes and then looks whether the consumer sleeps; it says that it is busy and then looks
//! whether the pipeline closes. A full fence there would cost more than the rest of the emit path. Linux's
//! `membarrier(2)` moves that cost to the other side: [`heavy`] makes every running thread of the process
//! pass a full fence, so [`light`] only has to stop the compiler. Where the system call is missing, both
//! sides use full fences. (The idea is that of folly's `AsymmetricMemoryBarrier` and of C++'s P1202.)

use crate::fork::{self, Birthplace};
use crate::sync::fence;
use std::sync::Once;
use std::sync::atomic::{AtomicU8, Ordering, compiler_fence};

const UNKNOWN: u8 = 0;
const FULL: u8 = 1;
const MEMBARRIER: u8 = 2;
const BROKEN: u8 = 3;
/// The process is the child of a fork: both sides use full fences, and [`light_at`] asks where it is.
const FORKED: u8 = 4;

static MODE: AtomicU8 = AtomicU8::new(UNKNOWN);

/// Finds out once what this system offers. To be called before the first [`light`] that matters.
pub(crate) fn prepare() {
    extern "C" fn forked() {
        MODE.store(FORKED, Ordering::Relaxed);
    }
    if MODE.load(Ordering::Acquire) == UNKNOWN {
        static WATCHED: Once = Once::new();
        WATCHED.call_once(|| fork::in_child(forked));
        let mode = if cfg!(not(loom)) && membarrier::register() { MEMBARRIER } else { FULL };
        // Several threads may get here; all find the same.
        MODE.store(mode, Ordering::Release);
    }
}

/// The frequent side. Pairs with [`heavy`] on the other side.
#[inline(always)]
pub(crate) fn light() {
    if MODE.load(Ordering::Relaxed) == MEMBARRIER {
        compiler_fence(Ordering::SeqCst);
    } else {
        fence(Ordering::SeqCst);
    }
}

/// As [`light`]; false where the process is a child of the one that `birthplace` stands for, which costs nothing where nothing was
/// forked.
#[inline(always)]
pub(crate) fn light_at(birthplace: Birthplace) -> bool {
    if MODE.load(Ordering::Relaxed) == MEMBARRIER {
        compiler_fence(Ordering::SeqCst);
        true
    } else {
        fence(Ordering::SeqCst);
        birthplace.is_here()
    }
}

/// The rare side. Pairs with [`light`]: of a store before the one and a store before the other, at least one
/// is seen by the loads after the other.
pub(crate) fn heavy() {
    if MODE.load(Ordering::Relaxed) == MEMBARRIER {
        if membarrier::all_threads() {
            return;
        }
        // It was there, and is forbidden now (by a system-call filter, say). From here on both sides use full
        // fences; who is between the two already may miss one.
        MODE.store(BROKEN, Ordering::Relaxed);
    }
    fence(Ordering::SeqCst);
}

/// Tells whether a wake-up may be missed, because `membarrier` went away while threads relied on it. Sleepers then
/// look again by themselves.
pub(crate) fn is_broken() -> bool {
    MODE.load(Ordering::Relaxed) == BROKEN
}

#[cfg(target_os = "linux")]
mod membarrier {
    use rustix::thread::{MembarrierCommand, membarrier};

    pub(super) fn register() -> bool {
        membarrier(MembarrierCommand::RegisterPrivateExpedited).is_ok() && all_threads()
    }

    pub(super) fn all_threads() -> bool {
        membarrier(MembarrierCommand::PrivateExpedited).is_ok()
    }
}

#[cfg(not(target_os = "linux"))]
mod membarrier {
    pub(super) fn register() -> bool {
        false
    }

    pub(super) fn all_threads() -> bool {
        false
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use std::sync::Barrier;
    use std::sync::atomic::AtomicUsize;

    /// Dekker's pattern: both sides store, fence, load. Without the fence both read 0 now and then.
    #[test]
    fn of_two_sides_at_least_one_sees_the_other() {
        prepare();
        const ROUNDS: usize = 5_000;
        let (left, right) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let (saw_left, saw_right) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let meet = Barrier::new(2);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for round in 1..=ROUNDS {
                    meet.wait();
                    left.store(round, Ordering::Relaxed);
                    light();
                    saw_right.store(right.load(Ordering::Relaxed), Ordering::Relaxed);
                    meet.wait();
                }
            });
            for round in 1..=ROUNDS {
                meet.wait();
                right.store(round, Ordering::Relaxed);
                heavy();
                saw_left.store(left.load(Ordering::Relaxed), Ordering::Relaxed);
                meet.wait();
                let seen = saw_left.load(Ordering::Relaxed).max(saw_right.load(Ordering::Relaxed));
                assert_eq!(seen, round, "neither side saw the other");
            }
        });
    }
}
