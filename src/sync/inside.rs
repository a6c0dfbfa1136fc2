//! Which pipelines the current thread works for: whoever is called by one must not wait for it.

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

#[cfg(not(loom))]
thread_local! {
    /// The innermost last: an observer may poll a pipeline of its own.
    static INSIDE: RefCell<Vec<Entered>> = const { RefCell::new(Vec::new()) };
}

// Loom's threads are not the system's.
#[cfg(loom)]
loom::thread_local! {
    static INSIDE: RefCell<Vec<Entered>> = RefCell::new(Vec::new());
}

/// A pipeline that the thread works for.
struct Entered {
    pipeline: usize,
    /// Where the thread says that it is at work.
    beats: Option<Arc<Beats>>,
}

/// How often a thread has said that it is at work, for whoever waits for it. Not a variable that models see: nothing depends on it.
#[derive(Default, Debug)]
pub(crate) struct Beats(AtomicU64);

impl Beats {
    pub(crate) fn beat(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Says until it is dropped that this thread works for a pipeline.
pub(crate) struct Inside {
    pipeline: usize,
}

/// Begins to work for the pipeline that `owned` belongs to alone, whose address stands for it.
pub(crate) fn enter<T>(owned: &Arc<T>) -> Inside {
    let pipeline = address(owned);
    // A thread whose memory is gone already calls no observer any more.
    let _ = INSIDE.try_with(|inside| inside.borrow_mut().push(Entered { pipeline, beats: None }));
    Inside { pipeline }
}

/// Says where this thread says from now on that it is at work for the pipeline that it entered last.
pub(crate) fn beat_on(beats: &Arc<Beats>) {
    let _ = INSIDE.try_with(|inside| {
        if let Some(entered) = inside.borrow_mut().last_mut() {
            entered.beats = Some(Arc::clone(beats));
        }
    });
}

/// Says that this thread is at work for the pipelines that it works for.
pub(crate) fn beat() {
    let _ = INSIDE.try_with(|inside| {
        inside.borrow().iter().filter_map(|entered| entered.beats.as_ref()).for_each(|beats| beats.beat());
    });
}

/// Tells whether this thread works for the pipeline of `owned`.
pub(crate) fn is_inside<T>(owned: &Arc<T>) -> bool {
    let own = |inside: &RefCell<Vec<Entered>>| {
        inside.borrow().iter().any(|entered| entered.pipeline == address(owned))
    };
    INSIDE.try_with(own).unwrap_or(false)
}

impl Drop for Inside {
    fn drop(&mut self) {
        let _ = INSIDE.try_with(|inside| {
            let mut inside = inside.borrow_mut();
            if let Some(at) = inside.iter().rposition(|entered| entered.pipeline == self.pipeline) {
                inside.remove(at);
            }
        });
    }
}

fn address<T>(owned: &Arc<T>) -> usize {
    Arc::as_ptr(owned).addr()
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_thread_that_says_so_is_at_work_for_all_that_it_is_inside_of() {
        let (one, other) = (Arc::new(1), Arc::new(2));
        let (beats, inner_beats) = (Arc::new(Beats::default()), Arc::new(Beats::default()));
        beat();
        let _outer = enter(&one);
        beat_on(&beats);
        beat();
        {
            let _inner = enter(&other);
            beat();
            beat_on(&inner_beats);
            beat();
        }
        beat();
        assert_eq!((beats.count(), inner_beats.count()), (4, 1));
    }

    #[test]
    fn a_thread_is_inside_of_what_it_has_entered_and_not_left() {
        let (one, other) = (Arc::new(1), Arc::new(2));
        let outer = enter(&one);
        {
            let _inner = enter(&other);
            let _again = enter(&one);
            assert!(is_inside(&one) && is_inside(&other));
        }
        assert!(is_inside(&one) && !is_inside(&other));
        std::thread::scope(|scope| scope.spawn(|| assert!(!is_inside(&one))).join().unwrap());
        drop(outer);
        assert!(!is_inside(&one));
    }
}
