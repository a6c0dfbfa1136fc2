//! Worker threads: rings from shards to workers, and what runs at their ends.
//!
//! A record and its verdict travel in two rings of the same size, in step, so that both arrive as slices. The
//! verdicts are published first: where there is a record, its verdict is there.

use crate::dedup::{BATCH, Verdict};
use crate::emit::source::share;
use crate::event::{KindSet, Record};
use crate::observe::mask;
use crate::observe::worker::WorkerReport;
use crate::pipeline::command_queue::CommandQueue;
use crate::pipeline::observer_host::{ObserverCommand, ObserverHost};
use crate::pipeline::stall::Reply;
use crate::sync::inside;
use crate::sync::mpsc::Sender;
use crate::sync::{Arc, AtomicU64, Backoff, Ordering, rtrb};
use crate::wait::{Idle, Parker, WaitStrategy};
use crossbeam_utils::CachePadded;
use std::time::Duration;

/// What a worker's thread and the pipeline share.
pub(crate) struct WorkerShared {
    pub(crate) parker: Parker,
    /// Records taken, of all verdicts.
    pub(crate) taken: CachePadded<AtomicU64>,
    /// Events of its own that the worker emitted.
    pub(crate) own: AtomicU64,
    pub(crate) commands: CommandQueue<WorkerCommand>,
    /// A shard was given up: what is in the rings is all that is waited for. Not a variable that models see, since no thread stalls
    /// in them.
    left_behind: std::sync::atomic::AtomicBool,
}

impl WorkerShared {
    pub(crate) fn new() -> WorkerShared {
        WorkerShared {
            parker: Parker::new(),
            taken: CachePadded::default(),
            own: AtomicU64::new(0),
            commands: CommandQueue::new(),
            left_behind: Default::default(),
        }
    }

    /// Lets the worker end once its rings are empty, though shards that were given up still hold them.
    pub(crate) fn leave_behind(&self) {
        self.left_behind.store(true, Ordering::Release);
        self.parker.wake();
    }

    fn is_left_behind(&self) -> bool {
        self.left_behind.load(Ordering::Acquire)
    }
}

/// What a pipeline may ask of a worker while it runs.
pub(crate) enum WorkerCommand {
    /// Report on all observers.
    Report(Reply<WorkerReport>),
    /// Take what is in the rings, and say so by dropping the sender.
    CatchUp(Sender<()>),
    /// Something for the worker's observers.
    Host(ObserverCommand),
}

/// A shard's end of the rings to all workers.
pub(crate) struct Dispatcher {
    senders: Vec<WorkerSender>,
    whole: KindSet,
}

/// A shard's end of the rings to one worker.
pub(crate) struct WorkerSender {
    records: rtrb::Producer<Record>,
    verdicts: rtrb::Producer<Verdict>,
    shared: Arc<WorkerShared>,
    room: Arc<Parker>,
}

/// A worker's end of the rings from one shard.
pub(crate) struct WorkerReceiver {
    records: rtrb::Consumer<Record>,
    verdicts: rtrb::Consumer<Verdict>,
    room: Arc<Parker>,
}

/// Makes the rings from one shard to one worker.
pub(crate) fn connect(capacity: usize, shared: &Arc<WorkerShared>) -> (WorkerSender, WorkerReceiver) {
    let (records_in, records) = rtrb::RingBuffer::new(capacity.max(BATCH));
    let (verdicts_in, verdicts) = rtrb::RingBuffer::new(capacity.max(BATCH));
    let room = Arc::new(Parker::new());
    let sender = WorkerSender {
        records: records_in,
        verdicts: verdicts_in,
        shared: Arc::clone(shared),
        room: Arc::clone(&room),
    };
    (sender, WorkerReceiver { records, verdicts, room })
}

impl Dispatcher {
    pub(crate) fn new(senders: Vec<WorkerSender>, whole: KindSet) -> Dispatcher {
        Dispatcher { senders, whole }
    }

    /// Passes each record of a batch to the worker of its entity; waits where there is no room.
    pub(crate) fn pass(&mut self, records: &[Record], verdicts: &[Verdict]) {
        if let [sender] = &mut *self.senders {
            return sender.push(records, verdicts, mask(records.len()));
        }
        let mut shares = [0u64; WORKERS_MAX];
        for (at, record) in records.iter().enumerate() {
            let worker = share(record.kind(), record.entity(), &self.whole, self.senders.len(), 1);
            if let Some(share) = shares.get_mut(worker) {
                *share |= 1 << at;
            }
        }
        for (sender, share) in self.senders.iter_mut().zip(shares) {
            if share != 0 {
                sender.push(records, verdicts, share);
            }
        }
    }
}

/// Workers there can be.
pub(crate) const WORKERS_MAX: usize = 64;

impl WorkerSender {
    fn push(&mut self, records: &[Record], verdicts: &[Verdict], share: u64) {
        let n = share.count_ones() as usize;
        let backoff = Backoff::new();
        while self.records.slots() < n || self.verdicts.slots() < n {
            if self.records.is_abandoned() {
                // The worker's thread is gone: this shard was given up before, which the last snapshot has told. (Else only a bug can
                // bring it about, and the account will show it.)
                return;
            }
            if backoff.is_completed() {
                let full = || self.records.slots() < n || self.verdicts.slots() < n;
                self.room.sleep(Some(Duration::from_millis(10)), full);
            } else {
                backoff.snooze();
            }
        }
        let bits = |at: &usize| share >> at & 1 != 0;
        if let Ok(chunk) = self.verdicts.write_chunk_uninit(n) {
            chunk.fill_from_iter((0..records.len()).filter(bits).filter_map(|at| verdicts.get(at).copied()));
        }
        if let Ok(chunk) = self.records.write_chunk_uninit(n) {
            chunk.fill_from_iter((0..records.len()).filter(bits).filter_map(|at| records.get(at).copied()));
        }
        self.shared.parker.wake();
    }
}

impl Drop for Dispatcher {
    fn drop(&mut self) {
        for sender in self.senders.drain(..) {
            let shared = Arc::clone(&sender.shared);
            // First the rings are abandoned, then the worker is woken to see it.
            drop(sender);
            shared.parker.wake();
        }
    }
}

/// A worker at work.
pub(crate) struct WorkerThread {
    shared: Arc<WorkerShared>,
    receivers: Vec<WorkerReceiver>,
    host: ObserverHost,
    taken: u64,
    own: u64,
}

impl WorkerThread {
    pub(crate) fn new(
        shared: Arc<WorkerShared>,
        receivers: Vec<WorkerReceiver>,
        host: ObserverHost,
    ) -> WorkerThread {
        WorkerThread { shared, receivers, host, taken: 0, own: 0 }
    }

    /// Works until all shards are gone and their rings empty.
    pub(crate) fn run(mut self, strategy: WaitStrategy) -> WorkerReport {
        let shared = Arc::clone(&self.shared);
        let _owned = shared.commands.owned();
        inside::beat_on(&self.host.at_work().beats);
        let mut idle = Idle::new(strategy);
        loop {
            // Abandoned first, empty after: nothing can come any more.
            let gone = self.receivers.iter().all(|receiver| receiver.records.is_abandoned())
                || shared.is_left_behind();
            if self.poll() > 0 {
                idle.reset();
            } else if gone {
                break;
            } else {
                let (receivers, shared) = (&self.receivers, &self.shared);
                idle.wait(&shared.parker, || {
                    !shared.commands.is_waiting()
                        && !shared.is_left_behind()
                        && receivers.iter().all(|receiver| receiver.records.is_empty())
                        && !receivers.iter().all(|receiver| receiver.records.is_abandoned())
                });
            }
            if self.shared.commands.is_waiting() {
                self.answer();
            }
        }
        self.own += self.host.flush();
        self.shared.own.store(self.own, Ordering::Release);
        let report = self.host.report();
        self.host.dismiss();
        report
    }

    fn poll(&mut self) -> usize {
        let before = self.taken;
        for at in 0..self.receivers.len() {
            self.take_batch(at);
        }
        (self.taken - before) as usize
    }

    /// Takes what is in the rings now, and not what comes meanwhile.
    fn catch_up(&mut self) {
        let present: Vec<usize> = self.receivers.iter().map(|receiver| receiver.records.slots()).collect();
        for (at, mut left) in present.into_iter().enumerate() {
            while left > 0 {
                match self.take_batch(at) {
                    0 => break,
                    taken => left = left.saturating_sub(taken),
                }
            }
        }
    }

    /// Takes up to a batch from one shard; returns how many records.
    fn take_batch(&mut self, at: usize) -> usize {
        let before = self.taken;
        if let Some(receiver) = self.receivers.get_mut(at) {
            let n = receiver.records.slots().min(BATCH);
            let (Ok(records), Ok(verdicts)) =
                (receiver.records.read_chunk(n), receiver.verdicts.read_chunk(n))
            else {
                return 0;
            };
            let ((records_a, records_b), (verdicts_a, verdicts_b)) =
                (records.as_slices(), verdicts.as_slices());
            for (records, verdicts) in [(records_a, verdicts_a), (records_b, verdicts_b)] {
                if records.is_empty() {
                    continue;
                }
                let new = |(at, verdict): (usize, &Verdict)| u64::from(*verdict == Verdict::New) << at;
                let new = verdicts.iter().enumerate().map(new).fold(0, |set, bit| set | bit);
                self.own += self.host.take(records, verdicts, new);
                self.taken += records.len() as u64;
            }
            records.commit_all();
            verdicts.commit_all();
            if n > 0 {
                receiver.room.wake();
            }
        }
        self.shared.own.store(self.own, Ordering::Release);
        self.shared.taken.store(self.taken, Ordering::Release);
        (self.taken - before) as usize
    }

    #[cold]
    fn answer(&mut self) {
        for command in self.shared.commands.take() {
            match command {
                WorkerCommand::CatchUp(pending) => {
                    self.catch_up();
                    drop(pending);
                }
                WorkerCommand::Report(reply) => {
                    reply.send(self.host.report());
                }
                WorkerCommand::Host(command) => self.host.obey(command),
            }
        }
    }
}

#[cfg(all(test, loom))]
mod models {
    use super::*;
    use crate::clock::Clock;
    use crate::emit::source::{EmitShared, Router};
    use crate::event::{IdScope, Origin};
    use crate::observe::worker::Worker;
    use crate::pipeline::observer_host::SelfReporter;
    use crate::sync;
    use crate::wait::Gate;

    fn host() -> ObserverHost {
        let origin = Origin::from_bits(7);
        let emit_shared = EmitShared {
            origin,
            id_scope: IdScope::new(origin.bits()),
            router: Router::new([], KindSet::EMPTY, 1),
            sources: Arc::default(),
            contexts: Arc::default(),
            gate: Gate::new(),
        };
        let reporter = SelfReporter {
            emit_shared: Arc::new(emit_shared),
            clock: Clock::manual(0).0,
            symbols: Arc::default(),
            source: None,
        };
        ObserverHost::new(0, Worker::new(), reporter)
    }

    /// The shard waits for room with no time to wake it.
    #[test]
    fn a_full_ring_is_emptied_and_the_shard_woken() {
        let mut model = loom::model::Builder::new();
        model.preemption_bound = Some(2);
        model.check(|| {
            let shared = Arc::new(WorkerShared::new());
            let (sender, receiver) = connect(BATCH, &shared);
            let work = WorkerThread::new(Arc::clone(&shared), vec![receiver], host());
            let worker = sync::spawn("worker".to_owned(), move || work.run(WaitStrategy::Park));
            let mut shard = Dispatcher::new(vec![sender], KindSet::EMPTY);
            let records = [Record::from_words([0; 8]); BATCH];
            shard.pass(&records, &[Verdict::New; BATCH]);
            shard.pass(&records, &[Verdict::New; BATCH]);
            drop(shard);
            worker.unwrap().join().unwrap();
            assert_eq!(shared.taken.load(Ordering::Acquire), 2 * BATCH as u64);
        });
    }
}
