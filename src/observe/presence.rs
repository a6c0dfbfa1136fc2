//! Whether an observer is still at its place, for the query that it fills: an observer is told of neither its removal nor
//! that it was disabled, and may be wrapped in another one.

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

/// Of one instance of an observer.
#[derive(Default)]
pub(crate) struct Presence(AtomicU8);

/// Why an observer is no longer fed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(crate) enum Left {
    Removed = 1,
    Panicked = 2,
}

#[cfg(not(loom))]
thread_local! {
    /// What was begun within the innermost call of [`collect`], if there is one.
    static MADE: RefCell<Option<Vec<Arc<Presence>>>> = const { RefCell::new(None) };
}

// Loom's threads are not the system's.
#[cfg(loom)]
loom::thread_local! {
    static MADE: RefCell<Option<Vec<Arc<Presence>>>> = RefCell::new(None);
}

impl Presence {
    /// Begins one, for the instance that is being made.
    pub(crate) fn begin() -> Arc<Presence> {
        let presence = Arc::new(Presence::default());
        let note = |made: &RefCell<Option<Vec<_>>>| {
            if let Some(made) = made.borrow_mut().as_mut() {
                made.push(Arc::clone(&presence));
            }
        };
        // A thread whose memory is gone already makes no observer any more.
        let _ = MADE.try_with(note);
        presence
    }

    /// Says that the instance is no longer fed. The first reason counts.
    pub(crate) fn leave(&self, why: Left) {
        // Release: partner is the load in `left`.
        let _ = self.0.compare_exchange(0, why as u8, Ordering::Release, Ordering::Relaxed);
    }

    /// Returns why the instance is no longer fed.
    pub(crate) fn left(&self) -> Option<Left> {
        // Acquire: partner is the exchange in `leave`.
        match self.0.load(Ordering::Acquire) {
            0 => None,
            1 => Some(Left::Removed),
            _ => Some(Left::Panicked),
        }
    }
}

/// Instances that have been made and have no place yet; dropped, it says that they never will.
#[derive(Default)]
pub(crate) struct Unplaced(Vec<Arc<Presence>>);

impl Unplaced {
    pub(crate) fn take_note(&mut self, presences: &[Arc<Presence>]) {
        self.0.extend_from_slice(presences);
    }

    pub(crate) fn have_a_place(mut self) {
        self.0.clear();
    }
}

impl Drop for Unplaced {
    fn drop(&mut self) {
        self.0.iter().for_each(|presence| presence.leave(Left::Removed));
    }
}

/// Calls `make`, and returns beside what it makes the presences that it began on this thread.
pub(crate) fn collect<T>(make: impl FnOnce() -> T) -> (T, Vec<Arc<Presence>>) {
    let put = |presences| MADE.try_with(|made| made.replace(presences)).unwrap_or_default();
    // What is made may start a pipeline of its own.
    let outer = put(Some(Vec::new()));
    let made = make();
    (made, put(outer).unwrap_or_default())
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn what_is_begun_while_an_observer_is_made_is_its_own() {
        drop(Presence::begin());
        let ((inner, first), outer) = collect(|| {
            let first = Presence::begin();
            let inner = collect(Presence::begin);
            (inner, first)
        });
        assert!(matches!(&*outer, [only] if Arc::ptr_eq(only, &first)));
        assert!(matches!(&*inner.1, [only] if Arc::ptr_eq(only, &inner.0)));
        first.leave(Left::Panicked);
        first.leave(Left::Removed);
        assert_eq!((first.left(), inner.0.left()), (Some(Left::Panicked), None));
    }
}
