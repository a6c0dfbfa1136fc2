//! The threads of a pipeline, and what says that they have ended.

use crate::observe::worker::WorkerReport;
use crate::pipeline::shard::{ShardReport, ShardThread};
use crate::pipeline::stall::Reply;
use crate::pipeline::ticker::Ticker;
use crate::sync::thread::JoinHandle;
use crate::sync::{Mutex, mpsc};

/// One of a pipeline's threads.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum ThreadOf {
    Shard(usize),
    Worker(usize),
}

/// The threads of a pipeline, or what does their work.
#[derive(Default)]
pub(super) struct Threads {
    pub(super) inline: Option<Mutex<ShardThread>>,
    pub(super) shards: Group<ShardReport>,
    pub(super) workers: Group<WorkerReport>,
    pub(super) ticker: Option<Ticker>,
}

/// Threads of one kind, and where each says that it has ended.
pub(super) struct Group<T> {
    handles: Vec<JoinHandle<T>>,
    /// Locked by nobody: a receiver alone would make a pipeline one thread's.
    ended: Mutex<mpsc::Receiver<(usize, ())>>,
    sender: mpsc::Sender<(usize, ())>,
}

/// Says when it is dropped that a thread has ended, by a panic too.
pub(super) struct Ending(Option<Reply<()>>);

impl<T> Default for Group<T> {
    fn default() -> Group<T> {
        let (sender, ended) = mpsc::channel();
        Group { handles: Vec::new(), ended: Mutex::new(ended), sender }
    }
}

impl<T> Group<T> {
    /// Returns what the next thread drops last.
    pub(super) fn next_ending(&self) -> Ending {
        Ending(Some(Reply::of(self.handles.len(), &self.sender)))
    }

    pub(super) fn add(&mut self, thread: JoinHandle<T>) {
        self.handles.push(thread);
    }

    /// Waits for all, however long it takes.
    pub(super) fn join(self) {
        for thread in self.handles {
            // Whatever it says, nobody wants it.
            drop(thread.join());
        }
    }

    /// Gives the threads, and what says which has ended.
    pub(super) fn into_parts(self) -> (Vec<JoinHandle<T>>, mpsc::Receiver<(usize, ())>) {
        let Group { handles, ended, sender } = self;
        drop(sender);
        (handles, ended.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner()))
    }

    pub(super) fn len(&self) -> usize {
        self.handles.len()
    }
}

impl Drop for Ending {
    fn drop(&mut self) {
        if let Some(reply) = self.0.take() {
            reply.send(());
        }
    }
}

impl Threads {
    /// Tells whether they have not been taken out.
    pub(super) fn are_there(&self) -> bool {
        self.inline.is_some() || self.shards.len() > 0
    }
}
