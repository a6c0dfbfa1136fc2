//! The thread that turns a coarse clock.

use crate::clock::Clock;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

/// So many turns for nobody, and the thread naps: an idle pipeline is to leave the machine idle.
const TURNS_IN_VAIN: u32 = 16;
/// How long; whoever asks meanwhile reads the counter.
const NAP: Duration = Duration::from_millis(64);

/// Turns the clock until it is dropped.
pub(crate) struct Ticker {
    /// What ends the thread when it is dropped.
    running: Option<SyncSender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Ticker {
    /// Starts the thread, if `clock` is to be turned. It has been turned once when this returns.
    pub(crate) fn start(clock: &Clock) -> io::Result<Option<Ticker>> {
        let Some(cached_time) = clock.cached().cloned() else { return Ok(None) };
        let first = Arc::clone(&cached_time);
        let (running, ended) = sync_channel::<()>(0);
        let turn = move || {
            let (resolution, mut in_vain) = (cached_time.resolution(), 0);
            loop {
                let naps = in_vain >= TURNS_IN_VAIN;
                // Ends at once when the other end is dropped.
                let wait = if naps { resolution.max(NAP) } else { resolution };
                let Err(RecvTimeoutError::Timeout) = ended.recv_timeout(wait) else { break };
                in_vain = if cached_time.is_asked() { 0 } else { (in_vain + 1).min(TURNS_IN_VAIN) };
                if in_vain < TURNS_IN_VAIN {
                    cached_time.tick();
                } else {
                    cached_time.leave();
                }
            }
            cached_time.leave();
        };
        // Before the thread is there: a turn by another, after the thread has begun to nap, would stand for as long.
        first.tick();
        let thread = std::thread::Builder::new().name(Ticker::NAME.to_owned()).spawn(turn);
        let thread = thread.inspect_err(|_| first.leave())?;
        Ok(Some(Ticker { running: Some(running), thread: Some(thread) }))
    }

    pub(crate) const NAME: &str = "pe-clock";
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.running = None;
        if let Some(thread) = self.thread.take() {
            // It cannot panic; if it did, the clock would stand, which nobody would look at any more.
            drop(thread.join());
        }
    }
}
