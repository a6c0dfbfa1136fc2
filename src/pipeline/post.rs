//! Orders to a running thread, and its answers.

use crate::sync::{AtomicBool, Mutex, Ordering, lock};

/// A letter box that its owner looks into between batches: empty, it costs one load.
pub(crate) struct Post<T> {
    waiting: AtomicBool,
    letters: Mutex<Vec<T>>,
}

impl<T> Post<T> {
    pub(crate) fn new() -> Post<T> {
        Post { waiting: AtomicBool::new(false), letters: Mutex::new(Vec::new()) }
    }

    /// Puts a letter in; the caller wakes the owner.
    pub(crate) fn put(&self, letter: T) {
        lock(&self.letters).push(letter);
        // Release: partner is the load in `is_waiting`.
        self.waiting.store(true, Ordering::Release);
    }

    /// Tells whether there are letters.
    #[inline]
    pub(crate) fn is_waiting(&self) -> bool {
        // Acquire: partner is the store in `put`.
        self.waiting.load(Ordering::Acquire)
    }

    /// Takes all letters.
    pub(crate) fn take(&self) -> Vec<T> {
        let mut letters = lock(&self.letters);
        self.waiting.store(false, Ordering::Relaxed);
        std::mem::take(&mut letters)
    }
}
