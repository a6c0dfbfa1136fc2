//! What is a little different in a model.

use loom::sync::atomic::{self, Ordering};
use loom::thread;

/// A flag whose stores are swaps.
///
/// Loom orders the stores to one variable only as far as threads have seen each other's. It does not know that what comes
/// after a value comes after the swap of that value too, and may then read what a swap has written although a newer
/// store happened before: a wake-up would seem lost that no machine loses. A swap is in the right order, and
/// synchronizes no more than a store does.
pub(crate) struct AtomicBool(atomic::AtomicBool);

impl AtomicBool {
    pub(crate) fn new(value: bool) -> AtomicBool {
        AtomicBool(atomic::AtomicBool::new(value))
    }

    pub(crate) fn load(&self, ordering: Ordering) -> bool {
        self.0.load(ordering)
    }

    pub(crate) fn store(&self, value: bool, ordering: Ordering) {
        self.0.swap(value, ordering);
    }

    pub(crate) fn swap(&self, value: bool, ordering: Ordering) -> bool {
        self.0.swap(value, ordering)
    }
}

impl Default for AtomicBool {
    fn default() -> AtomicBool {
        AtomicBool::new(false)
    }
}

/// Waits for another thread's next step, where `crossbeam` spins first.
pub(crate) struct Backoff;

impl Backoff {
    pub(crate) fn new() -> Backoff {
        Backoff
    }

    pub(crate) fn is_completed(&self) -> bool {
        true
    }

    pub(crate) fn snooze(&self) {
        thread::yield_now();
    }
}
