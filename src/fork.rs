//! Notices a fork: in the child there are none of the pipeline's threads, files are shared with the parent, and a lock that another
//! thread held is held for ever. What was made before the fork refuses to work there and touches nothing.
//!
//! `pthread_atfork(3)` tells of it, so nothing has to be asked of the system on the way of an event. A child that was made past the
//! C library (by `clone(2)` itself) is not noticed, and none is where there is no `fork`.

use std::sync::Once;
use std::sync::atomic::{AtomicU32, Ordering};

/// Forks between the process in which the program began and this one.
static GENERATION: AtomicU32 = AtomicU32::new(0);

/// The process in which something was made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Birthplace(u32);

impl Birthplace {
    /// This process. From now on forks are noticed.
    pub(crate) fn here() -> Birthplace {
        extern "C" fn one_more() {
            // Relaxed: the child has one thread.
            GENERATION.fetch_add(1, Ordering::Relaxed);
        }
        static WATCHED: Once = Once::new();
        WATCHED.call_once(|| in_child(one_more));
        Birthplace(GENERATION.load(Ordering::Relaxed))
    }

    /// Tells whether this is still that process, and not a child of it.
    #[inline]
    pub(crate) fn is_here(self) -> bool {
        self.0 == GENERATION.load(Ordering::Relaxed)
    }
}

/// Has `call` called in each child that is forked from now on. It may do no more than to touch atomic variables: in a child whose
/// other threads are gone, locks and memory may be in any state.
#[cfg(all(unix, not(loom), not(miri)))]
#[allow(unsafe_code, reason = "pthread_atfork has no safe form")]
pub(crate) fn in_child(call: extern "C" fn()) {
    // SAFETY: the handler keeps to what a child may do, and is there as long as the program's code: where that is a library that is
    // unloaded, the C library takes the handler out.
    let registered = unsafe { libc::pthread_atfork(None, None, Some(call)) };
    // It fails only without memory for a few words; a fork is then not noticed.
    debug_assert_eq!(registered, 0);
}

#[cfg(any(not(unix), loom, miri))]
pub(crate) fn in_child(_call: extern "C" fn()) {}

#[cfg(all(test, unix, not(loom), not(miri)))]
mod tests {
    use super::*;

    #[test]
    fn what_is_made_here_is_here() {
        let here = Birthplace::here();
        assert!(here.is_here());
        assert!(!Birthplace(here.0 + 1).is_here() && !Birthplace(here.0.wrapping_sub(1)).is_here());
    }
}
