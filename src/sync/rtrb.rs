//! A ring with as much of `rtrb`'s interface as is used here, for models: `rtrb`'s own loads and stores are invisible to
//! loom, these are not. Loads, stores, orderings and cached counts are those of `rtrb`.
//!
//! A slot that is read before it was written, or written before it was given back, is a panic.
#![allow(unsafe_code, reason = "slots that a caller writes are not initialized before")]
#![allow(clippy::panic, clippy::expect_used, reason = "a model fails by panicking")]

use loom::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::cell::Cell;
use std::mem::MaybeUninit;
use std::sync::{Arc, Mutex};

/// What both ends share; positions count on and never wrap.
pub(crate) struct RingBuffer<T> {
    head: AtomicUsize,
    tail: AtomicUsize,
    is_abandoned: AtomicBool,
    /// Never contended: loom's threads change at its own operations only, and none of them is made under this lock.
    slots: Mutex<Vec<Option<T>>>,
    capacity: usize,
}

impl<T> RingBuffer<T> {
    #[allow(clippy::new_ret_no_self, reason = "as in rtrb")]
    pub(crate) fn new(capacity: usize) -> (Producer<T>, Consumer<T>) {
        let ring = Arc::new(RingBuffer {
            head: AtomicUsize::new(0),
            tail: AtomicUsize::new(0),
            is_abandoned: AtomicBool::new(false),
            slots: Mutex::new((0..capacity).map(|_| None).collect()),
            capacity,
        });
        let (head, tail) = (Cell::new(0), Cell::new(0));
        let producer = Producer { ring: Arc::clone(&ring), head: head.clone(), tail: tail.clone() };
        (producer, Consumer { ring, head, tail })
    }

    pub(crate) fn capacity(&self) -> usize {
        self.capacity
    }

    fn change<R>(&self, at: usize, change: impl FnOnce(&mut Option<T>) -> R) -> R {
        let mut slots = self.slots.lock().expect("no model goes on after a panic");
        change(&mut slots[at % self.capacity])
    }

    fn write(&self, at: usize, value: T) {
        let before = self.change(at, |slot| slot.replace(value));
        assert!(before.is_none(), "a slot was written before it was given back");
    }

    /// How many of `n` slots from `at` on lie before the ring's end.
    fn front(&self, at: usize, n: usize) -> usize {
        n.min(self.capacity - at % self.capacity)
    }
}

pub(crate) struct Producer<T> {
    ring: Arc<RingBuffer<T>>,
    /// As last seen.
    head: Cell<usize>,
    tail: Cell<usize>,
}

impl<T> Producer<T> {
    pub(crate) fn push(&mut self, value: T) -> Result<(), T> {
        if self.is_full() {
            return Err(value);
        }
        self.ring.write(self.tail.get(), value);
        self.publish(1);
        Ok(())
    }

    pub(crate) fn slots(&self) -> usize {
        self.head.set(self.ring.head.load(Ordering::Acquire));
        self.cached_slots()
    }

    pub(crate) fn cached_slots(&self) -> usize {
        self.ring.capacity - (self.tail.get() - self.head.get())
    }

    pub(crate) fn is_full(&self) -> bool {
        self.cached_slots() == 0 && self.slots() == 0
    }

    pub(crate) fn is_abandoned(&self) -> bool {
        self.ring.is_abandoned.load(Ordering::Acquire)
    }

    pub(crate) fn buffer(&self) -> &RingBuffer<T> {
        &self.ring
    }

    pub(crate) fn write_chunk_uninit(&mut self, n: usize) -> Result<chunks::WriteChunkUninit<'_, T>, ()> {
        if self.cached_slots() < n && self.slots() < n {
            return Err(());
        }
        let values = (0..n).map(|_| MaybeUninit::uninit()).collect();
        Ok(chunks::WriteChunkUninit { producer: self, values })
    }

    fn publish(&self, n: usize) {
        self.tail.set(self.tail.get() + n);
        self.ring.tail.store(self.tail.get(), Ordering::Release);
    }
}

impl<T> Drop for Producer<T> {
    fn drop(&mut self) {
        self.ring.is_abandoned.store(true, Ordering::Release);
    }
}

pub(crate) struct Consumer<T> {
    ring: Arc<RingBuffer<T>>,
    head: Cell<usize>,
    /// As last seen.
    tail: Cell<usize>,
}

impl<T> Consumer<T> {
    pub(crate) fn slots(&self) -> usize {
        self.tail.set(self.ring.tail.load(Ordering::Acquire));
        self.tail.get() - self.head.get()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.head.get() == self.tail.get() && self.slots() == 0
    }

    pub(crate) fn is_abandoned(&self) -> bool {
        self.ring.is_abandoned.load(Ordering::Acquire)
    }
}

impl<T: Copy> Consumer<T> {
    pub(crate) fn read_chunk(&mut self, n: usize) -> Result<ReadChunk<'_, T>, ()> {
        if self.tail.get() - self.head.get() < n && self.slots() < n {
            return Err(());
        }
        let head = self.head.get();
        let read = |at| self.ring.change(at, |slot| slot.expect("a slot was read before it was written"));
        let values = (head..head + n).map(read).collect();
        Ok(ReadChunk { values, front: self.ring.front(head, n), consumer: self })
    }
}

impl<T> Drop for Consumer<T> {
    fn drop(&mut self) {
        self.ring.is_abandoned.store(true, Ordering::Release);
    }
}

/// Copies of what is in the slots, which stay taken until [`ReadChunk::commit_all`].
pub(crate) struct ReadChunk<'a, T> {
    consumer: &'a Consumer<T>,
    values: Vec<T>,
    front: usize,
}

impl<T> ReadChunk<'_, T> {
    pub(crate) fn as_slices(&self) -> (&[T], &[T]) {
        self.values.split_at(self.front)
    }

    pub(crate) fn as_mut_slices(&mut self) -> (&mut [T], &mut [T]) {
        self.values.split_at_mut(self.front)
    }

    pub(crate) fn commit_all(self) {
        let (head, ring) = (self.consumer.head.get(), &self.consumer.ring);
        let behind = head + self.values.len();
        for at in head..behind {
            ring.change(at, Option::take);
        }
        self.consumer.head.set(behind);
        ring.head.store(behind, Ordering::Release);
    }
}

pub(crate) mod chunks {
    use super::{MaybeUninit, Producer};

    /// Slots that are published once they are written.
    pub(crate) struct WriteChunkUninit<'a, T> {
        pub(super) producer: &'a Producer<T>,
        pub(super) values: Vec<MaybeUninit<T>>,
    }

    impl<T> WriteChunkUninit<'_, T> {
        pub(crate) fn as_mut_slices(&mut self) -> (&mut [MaybeUninit<T>], &mut [MaybeUninit<T>]) {
            let tail = self.producer.tail.get();
            let front = self.producer.ring.front(tail, self.values.len());
            self.values.split_at_mut(front)
        }

        /// # Safety
        /// The first `n` slots have been written.
        pub(crate) unsafe fn commit(self, n: usize) {
            // SAFETY: the caller has written them.
            let values = self.values.into_iter().take(n).map(|value| unsafe { value.assume_init() });
            for (at, value) in (self.producer.tail.get()..).zip(values) {
                self.producer.ring.write(at, value);
            }
            self.producer.publish(n);
        }

        pub(crate) fn fill_from_iter(self, values: impl IntoIterator<Item = T>) -> usize {
            let (tail, mut n) = (self.producer.tail.get(), 0);
            for value in values.into_iter().take(self.values.len()) {
                self.producer.ring.write(tail + n, value);
                n += 1;
            }
            self.producer.publish(n);
            n
        }
    }
}
