//! What threads share and how they meet: `std`'s and `rtrb`'s, or, when the crate is built with `--cfg loom`, what loom sees.

pub(crate) mod inside;
#[cfg(loom)]
mod model;
#[cfg(loom)]
pub(crate) mod mpsc;
#[cfg(loom)]
pub(crate) mod rtrb;

#[cfg(not(loom))]
pub(crate) use ::rtrb;
#[cfg(not(loom))]
pub(crate) use crossbeam_utils::Backoff;
#[cfg(loom)]
pub(crate) use loom::{
    sync::atomic::{AtomicU64, Ordering, fence},
    sync::{Condvar, Mutex},
    thread::{self, Thread},
};
#[cfg(loom)]
pub(crate) use model::{AtomicBool, Backoff};
pub(crate) use std::sync::Arc;
#[cfg(not(loom))]
pub(crate) use std::{
    sync::atomic::{AtomicBool, AtomicU64, Ordering, fence},
    sync::mpsc,
    sync::{Condvar, Mutex},
    thread::{self, Thread},
};

use std::io;
use std::time::Duration;

/// Locks a mutex whose data stays whole when a thread panics while it holds the lock.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> impl std::ops::DerefMut<Target = T> + '_ {
    mutex.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// Starts a thread with a name.
pub(crate) fn spawn<T: Send + 'static>(
    name: String,
    run: impl FnOnce() -> T + Send + 'static,
) -> io::Result<thread::JoinHandle<T>> {
    let builder = thread::Builder::new().name(name);
    // A thread of loom's has 32 KiB unless it is told otherwise, in words.
    #[cfg(loom)]
    let builder = builder.stack_size(1 << 17);
    builder.spawn(run)
}

/// Gives the core away for `duration`.
pub(crate) fn sleep(duration: Duration) {
    #[cfg(not(loom))]
    thread::sleep(duration);
    // No time passes in a model: until another thread has done something.
    #[cfg(loom)]
    let _: (Duration, ()) = (duration, thread::yield_now());
}
