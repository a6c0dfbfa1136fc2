//! Which pipelines the current thread works for: whoever is called by one must not wait for it.

use std::cell::RefCell;

#[cfg(not(loom))]
thread_local! {
    /// The innermost last: an observer may poll a pipeline of its own.
    static INSIDE: RefCell<Vec<usize>> = const { RefCell::new(Vec::new()) };
}

// Loom's threads are not the system's.
#[cfg(loom)]
loom::thread_local! {
    static INSIDE: RefCell<Vec<usize>> = RefCell::new(Vec::new());
}

/// Says until it is dropped that this thread works for a pipeline.
pub(crate) struct Inside {
    pipeline: usize,
}

/// Begins to work for the pipeline that `owned` belongs to alone, whose address stands for it.
pub(crate) fn enter<T>(owned: &std::sync::Arc<T>) -> Inside {
    let pipeline = address(owned);
    // A thread whose memory is gone already calls no observer any more.
    let _ = INSIDE.try_with(|inside| inside.borrow_mut().push(pipeline));
    Inside { pipeline }
}

/// Tells whether this thread works for the pipeline of `owned`.
pub(crate) fn is_inside<T>(owned: &std::sync::Arc<T>) -> bool {
    INSIDE.try_with(|inside| inside.borrow().contains(&address(owned))).unwrap_or(false)
}

impl Drop for Inside {
    fn drop(&mut self) {
        let _ = INSIDE.try_with(|inside| {
            let mut inside = inside.borrow_mut();
            if let Some(at) = inside.iter().rposition(|known| *known == self.pipeline) {
                inside.remove(at);
            }
        });
    }
}

fn address<T>(owned: &std::sync::Arc<T>) -> usize {
    std::sync::Arc::as_ptr(owned).addr()
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use std::sync::Arc;

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
