//! Draining: waiting until what was accepted has gone through, and reads that have all of it.

use crate::event::Stages;
use crate::observe::state::{Standing, StateQuery};
use crate::pipeline::close::REST;
use crate::pipeline::shard::{ShardCommand, ShardThread};
use crate::pipeline::stall::Unanswered;
use crate::pipeline::topology::Topology;
use crate::pipeline::worker::WorkerCommand;
use crate::pipeline::{Handle, Pipeline, Shared};
use crate::sync::{Mutex, mpsc};
use std::sync::{Arc, TryLockError};
use std::time::{Duration, Instant};

/// Why it is not known that everything that had been accepted was processed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DrainError {
    /// It was not in time.
    #[error("the pipeline did not drain within {timeout:?}; give it more time, or look for a slow observer")]
    Timeout {
        /// How long was waited.
        timeout: Duration,
    },
    /// The caller is called by the pipeline (it is an observer or a processor), which would wait for itself.
    #[error("a thread of the pipeline cannot wait for what it has to do itself; ask from another thread")]
    OwnThread,
    /// The process is a child of the one in which the pipeline was made.
    #[error(
        "the pipeline was made before this process was forked, and its threads are not here; wait in the parent"
    )]
    Forked,
    /// The pipeline has no thread that would do the work, and a [`Handle`] does not own it.
    #[error("the pipeline is inline, so whoever owns it does the work; call this on the pipeline itself")]
    Inline,
}

/// Why a read that has everything accepted before it was not given.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SettleError {
    /// The pipeline did not drain.
    #[error(transparent)]
    Drain(#[from] DrainError),
    /// No observer was made for the query.
    #[error("no observer fills the query; add the one that `StateQuery::observer` makes to the pipeline")]
    NeverAdded,
    /// An observer of another pipeline fills the query.
    #[error(
        "the query is filled by another pipeline; ask that one, and give each pipeline a query of its own"
    )]
    Elsewhere,
    /// The observer was taken out of the pipeline.
    #[error(
        "the observer that fills the query was removed, and later events are not in it; add it again, or ask before"
    )]
    Removed,
    /// The observer panicked, and was disabled.
    #[error(
        "the observer that fills the query panicked, and later events are not in it; the snapshot's warnings say why"
    )]
    Panicked,
    /// Events were of more entities than are followed.
    #[error("the query lacks {0} events of entities beyond its limit; raise `entities_max`")]
    Untracked(u64),
}

impl Pipeline {
    /// Waits until everything that was accepted before this call has gone through all stages, whatever is emitted
    /// meanwhile.
    ///
    /// Under [`Topology::Inline`] it is this thread that does the work, and once it has begun it does it whatever the
    /// time.
    ///
    /// # Errors
    /// When that takes longer than `timeout`; and at once when an observer or a processor of this pipeline calls it.
    pub fn drain(&self, timeout: Duration) -> Result<(), DrainError> {
        self.shared.drain(timeout, self.threads.inline.as_ref())
    }

    /// Waits as [`Pipeline::drain`] does, and returns `states`, which then know everything that was accepted before this
    /// call.
    ///
    /// ```
    /// use panther_events::event::{Domain, Symbol, Value};
    /// use panther_events::observe::state::{StateOptions, StateQuery};
    /// use panther_events::pipeline::Pipeline;
    /// use std::time::Duration;
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let states = StateQuery::new(StateOptions::default());
    /// let mut builder = Pipeline::builder();
    /// let query = states.clone();
    /// builder.observer("state", move |setup| query.observer(setup.schema, setup.symbols, setup.contexts));
    /// let pipeline = builder.start()?;
    /// let mut emitter = pipeline.emitter("runner")?;
    /// emitter.service("server").created("server", "quic", "picoquic", Value::Null)?;
    /// // `states.state(…)` may still answer `None` here.
    /// let settled = pipeline.settled(&states, Duration::from_secs(10))?;
    /// let server = settled.state(Domain::SERVICE, Symbol::of("server")).ok_or("no server")?;
    /// assert_eq!(server.state, "created");
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// Of an observer that was added while the pipeline ran, `states` know what came since.
    ///
    /// # Errors
    /// As for [`Pipeline::drain`]; and when no observer of this pipeline fills `states`, or none does any more: it was
    /// never added, was removed, or panicked.
    pub fn settled<'q>(
        &self,
        states: &'q StateQuery,
        timeout: Duration,
    ) -> Result<&'q StateQuery, SettleError> {
        self.drain(timeout)?;
        self.shared.filled(states)
    }
}

impl Handle {
    /// Waits until everything that was accepted before this call has gone through all stages; see [`Pipeline::drain`].
    /// After a shutdown it has.
    ///
    /// # Errors
    /// When that takes longer than `timeout`; at once when an observer or a processor of this pipeline calls it; and
    /// under [`Topology::Inline`], where only the owner of the pipeline can do the work.
    pub fn drain(&self, timeout: Duration) -> Result<(), DrainError> {
        self.0.may_drain()?;
        if self.0.options.topology == Topology::Inline {
            return Err(DrainError::Inline);
        }
        self.0.drain(timeout, None)
    }

    /// Waits as [`Handle::drain`] does, and returns `states`, which then know everything that was accepted before this
    /// call; see [`Pipeline::settled`].
    ///
    /// # Errors
    /// As for [`Handle::drain`], and as for [`Pipeline::settled`].
    pub fn settled<'q>(
        &self,
        states: &'q StateQuery,
        timeout: Duration,
    ) -> Result<&'q StateQuery, SettleError> {
        self.drain(timeout)?;
        self.0.filled(states)
    }
}

impl Shared {
    /// Gives the query, where it has what has gone through the pipeline.
    fn filled<'q>(&self, states: &'q StateQuery) -> Result<&'q StateQuery, SettleError> {
        match states.standing(&self.emit_shared.contexts, self.threads_have_ended()) {
            Standing::Filled => Ok(states),
            Standing::NeverAdded => Err(SettleError::NeverAdded),
            Standing::Elsewhere => Err(SettleError::Elsewhere),
            Standing::Removed => Err(SettleError::Removed),
            Standing::Panicked => Err(SettleError::Panicked),
            Standing::Untracked(events) => Err(SettleError::Untracked(events)),
        }
    }

    fn may_drain(&self) -> Result<(), DrainError> {
        match self.may_wait() {
            Ok(()) => Ok(()),
            Err(Unanswered::Forked) => Err(DrainError::Forked),
            Err(_) => Err(DrainError::OwnThread),
        }
    }

    /// Lets the shards hand on what is in their rings; the channel is closed when they have.
    fn catch_up_shards(&self) -> mpsc::Receiver<()> {
        let (pending, done) = mpsc::channel();
        for shard in &self.shards {
            shard.commands.put(ShardCommand::CatchUp(pending.clone()));
            shard.rings.parker.wake();
        }
        done
    }

    /// The same for the workers.
    fn catch_up_workers(&self) -> mpsc::Receiver<()> {
        let (pending, done) = mpsc::channel();
        for worker in &self.workers {
            worker.commands.put(WorkerCommand::CatchUp(pending.clone()));
            worker.parker.wake();
        }
        done
    }

    fn drain(&self, timeout: Duration, inline: Option<&Mutex<ShardThread>>) -> Result<(), DrainError> {
        self.may_drain()?;
        let (start, late) = (Instant::now(), DrainError::Timeout { timeout });
        // First the shards hand on what is in their rings, then the workers take it.
        let done = self.catch_up_shards();
        if let Some(work) = inline {
            // Whoever has it may be an observer that waits for something itself.
            let mut work = loop {
                match work.try_lock() {
                    Ok(work) => break work,
                    Err(TryLockError::Poisoned(poisoned)) => break poisoned.into_inner(),
                    Err(TryLockError::WouldBlock) if start.elapsed() >= timeout => return Err(late),
                    Err(TryLockError::WouldBlock) => std::thread::sleep(REST),
                }
            };
            let _inside = self.enter();
            work.answer();
        }
        if !wait_until_dropped(&done, timeout.saturating_sub(start.elapsed())) {
            return Err(late);
        }
        let done = self.catch_up_workers();
        if wait_until_dropped(&done, timeout.saturating_sub(start.elapsed())) { Ok(()) } else { Err(late) }
    }
}

impl Stages for Shared {
    fn catch_up(self: Arc<Shared>) -> Box<dyn FnMut() -> bool + Send> {
        let mut done = self.catch_up_shards();
        let mut shared = Some(Arc::downgrade(&self));
        Box::new(move || {
            if !matches!(done.try_recv(), Err(mpsc::TryRecvError::Disconnected)) {
                return false;
            }
            match shared.take() {
                // First the shards, then the workers.
                Some(shared) => {
                    let Some(shared) = shared.upgrade() else { return true };
                    done = shared.catch_up_workers();
                    false
                }
                None => true,
            }
        })
    }
}

/// Waits until all senders are gone; false when that takes longer than `timeout`.
fn wait_until_dropped(done: &mpsc::Receiver<()>, timeout: Duration) -> bool {
    !matches!(done.recv_timeout(timeout), Err(mpsc::RecvTimeoutError::Timeout))
}
