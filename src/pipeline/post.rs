//! Orders to a running thread, and its answers.

use crate::sync::{AtomicBool, Mutex, Ordering, lock};

/// A letter box that its owner looks into between batches: empty, it costs one load.
///
/// Letters hold the sender's means to be answered; a letter that is dropped says that no answer comes.
pub(crate) struct Post<T> {
    waiting: AtomicBool,
    letters: Mutex<Letters<T>>,
}

struct Letters<T> {
    waiting: Vec<T>,
    /// The owner is gone: letters are dropped.
    closed: bool,
}

impl<T> Post<T> {
    pub(crate) fn new() -> Post<T> {
        let letters = Letters { waiting: Vec::new(), closed: false };
        Post { waiting: AtomicBool::new(false), letters: Mutex::new(letters) }
    }

    /// Puts a letter in; the caller wakes the owner.
    pub(crate) fn put(&self, letter: T) {
        let mut letters = lock(&self.letters);
        if !letters.closed {
            letters.waiting.push(letter);
            // Release: partner is the load in `is_waiting`.
            self.waiting.store(true, Ordering::Release);
        }
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
        std::mem::take(&mut letters.waiting)
    }

    /// Returns what closes the box when the owner's thread ends, by a panic too.
    pub(crate) fn owned(&self) -> Owned<'_, T> {
        Owned(self)
    }
}

/// Closes the box when dropped.
pub(crate) struct Owned<'a, T>(&'a Post<T>);

impl<T> Drop for Owned<'_, T> {
    fn drop(&mut self) {
        let mut letters = lock(&self.0.letters);
        letters.closed = true;
        letters.waiting.clear();
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use std::sync::mpsc::{RecvError, Sender, channel};

    #[test]
    fn whoever_writes_to_one_who_is_gone_is_not_left_waiting() {
        let post: Post<Sender<()>> = Post::new();
        let (letter, answer) = channel();
        let owned = post.owned();
        post.put(letter);
        assert!(post.is_waiting());
        drop(owned);
        assert_eq!(answer.recv(), Err(RecvError));
        let (letter, answer) = channel();
        post.put(letter);
        assert_eq!(answer.recv(), Err(RecvError));
    }
}

#[cfg(all(test, loom))]
mod models {
    use super::*;
    use crate::sync::mpsc::{Sender, channel};
    use crate::sync::{self, Arc};

    #[test]
    fn whoever_writes_to_one_who_goes_is_not_left_waiting() {
        loom::model(|| {
            let post: Arc<Post<Sender<()>>> = Arc::new(Post::new());
            let twin = Arc::clone(&post);
            let owner = sync::spawn("owner".to_owned(), move || drop(twin.owned()));
            let (letter, answer) = channel();
            post.put(letter);
            assert!(answer.recv().is_err());
            owner.unwrap().join().unwrap();
        });
    }

    #[test]
    fn a_letter_is_taken_once_however_many_write() {
        loom::model(|| {
            let post: Arc<Post<u32>> = Arc::new(Post::new());
            let writers = [1, 2].map(|letter| {
                let twin = Arc::clone(&post);
                sync::spawn("writer".to_owned(), move || twin.put(letter)).unwrap()
            });
            let mut taken = if post.is_waiting() { post.take() } else { Vec::new() };
            for writer in writers {
                writer.join().unwrap();
            }
            if post.is_waiting() {
                taken.extend(post.take());
            }
            taken.sort_unstable();
            assert_eq!(taken, [1, 2]);
        });
    }
}
