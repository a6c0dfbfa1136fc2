//! Atomics and threads: those of `std`, or loom's when the crate is built with `--cfg loom`.

#[cfg(loom)]
pub(crate) use loom::{
    sync::atomic::{AtomicBool, Ordering, fence},
    sync::{Condvar, Mutex},
    thread::{self, Thread},
};
pub(crate) use std::sync::Arc;
#[cfg(not(loom))]
pub(crate) use std::{
    sync::atomic::{AtomicBool, Ordering, fence},
    sync::{Condvar, Mutex},
    thread::{self, Thread},
};

/// Locks a mutex whose data stays whole when a thread panics while it holds the lock.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> impl std::ops::DerefMut<Target = T> + '_ {
    mutex.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}
