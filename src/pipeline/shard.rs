//! A shard: polls its rings, asks dedup, and passes batches on.

use crate::dedup::{BATCH, Dedup, DedupStats, Verdict};
use crate::event::Record;
use crate::observe::worker::WorkerReport;
use crate::pipeline::command_queue::CommandQueue;
use crate::pipeline::observer_host::{ObserverCommand, ObserverHost};
use crate::pipeline::processors::{ProcessorReport, Processors};
use crate::pipeline::stall::Reply;
use crate::pipeline::worker::Dispatcher;
use crate::ring::{ReceiverSet, ShardRings};
use crate::sync::mpsc::Sender;
use crate::sync::{Arc, AtomicBool, AtomicU64, Ordering};
use crate::wait::{Idle, WaitStrategy};
use crossbeam_utils::CachePadded;

/// Records taken from one ring before the next ring has its turn.
const BURST: usize = 1024;

/// What a shard has counted; written by its thread, read by anyone.
#[derive(Default)]
pub(crate) struct ShardCounts {
    pub(crate) unique: AtomicU64,
    pub(crate) duplicates: AtomicU64,
}

/// What a shard says when asked.
pub(crate) struct ShardReport {
    pub(crate) dedup: DedupStats,
    /// Of the observers, where the shard has them itself.
    pub(crate) observers: Option<WorkerReport>,
    /// Of the processors, in the order in which they were added.
    pub(crate) processors: Vec<ProcessorReport>,
}

/// What a pipeline may ask of a shard while it runs.
pub(crate) enum ShardCommand {
    /// Report.
    Report(Reply<ShardReport>),
    /// Take what is in the rings, and say so by dropping the sender.
    CatchUp(Sender<()>),
    /// Something for the shard's own observers.
    Host(ObserverCommand),
}

/// Where a shard passes its batches.
pub(crate) enum Output {
    /// To observers on the same thread.
    Here(Box<ObserverHost>),
    /// To worker threads.
    Workers(Box<Dispatcher>),
}

/// What a shard's thread and the pipeline share.
pub(crate) struct ShardShared {
    pub(crate) rings: Arc<ShardRings>,
    pub(crate) counts: CachePadded<ShardCounts>,
    pub(crate) commands: CommandQueue<ShardCommand>,
    /// No emitter is at work any more: what is in the rings is all there will be.
    pub(crate) draining: AtomicBool,
}

impl ShardShared {
    pub(crate) fn new() -> ShardShared {
        ShardShared {
            rings: ShardRings::new(),
            counts: CachePadded::default(),
            commands: CommandQueue::new(),
            draining: AtomicBool::new(false),
        }
    }
}

/// A shard at work.
pub(crate) struct ShardThread {
    shared: Arc<ShardShared>,
    receivers: ReceiverSet,
    rest: Rest,
}

/// What handles batches, apart from the receivers that they are borrowed from.
struct Rest {
    dedup: Dedup,
    verdicts: Box<[Verdict; BATCH]>,
    processors: Option<Box<Processors>>,
    output: Output,
    unique: u64,
    duplicates: u64,
}

impl ShardThread {
    pub(crate) fn new(
        shared: Arc<ShardShared>,
        dedup: Dedup,
        processors: Option<Box<Processors>>,
        output: Output,
    ) -> ShardThread {
        let receivers = ReceiverSet::new(Arc::clone(&shared.rings));
        let verdicts = Box::new([Verdict::New; BATCH]);
        let rest = Rest { dedup, verdicts, processors, output, unique: 0, duplicates: 0 };
        ShardThread { shared, receivers, rest }
    }

    /// Takes a burst from every ring; returns how many records.
    pub(crate) fn poll(&mut self) -> usize {
        let (rest, counts) = (&mut self.rest, &self.shared.counts);
        // The counts are stored before the batch's slots are given back, so that what is in flight never exceeds
        // the rings.
        let commands = &self.shared.commands;
        // Acquire: as in `run`. Once nothing more will come, no ring is put off: an end is when all are empty.
        let draining = self.shared.draining.load(Ordering::Acquire);
        let interrupt = || !draining && commands.is_waiting();
        self.receivers.poll(BURST, BATCH, interrupt, |records| rest.take(records, counts))
    }

    /// Does what the pipeline asks, and takes a burst from every ring; returns how many records. Tables ask now and then how far
    /// the stages are, and who waits for an answer lets the rings wait.
    pub(crate) fn answer_and_poll(&mut self) -> usize {
        let shared = Arc::clone(&self.shared);
        let mut taken = 0;
        loop {
            if shared.commands.is_waiting() {
                self.answer();
            }
            taken += self.poll();
            if !shared.commands.is_waiting() {
                return taken;
            }
        }
    }

    /// Takes what is in the rings now, and not what comes meanwhile.
    fn catch_up(&mut self) {
        let (rest, counts) = (&mut self.rest, &self.shared.counts);
        self.receivers.take_present(BATCH, |records| rest.take(records, counts));
    }

    /// Works until there is nothing left to do and nothing more will come.
    pub(crate) fn run(mut self, strategy: WaitStrategy) -> ShardReport {
        let shared = Arc::clone(&self.shared);
        let _owned = shared.commands.owned();
        let mut idle = Idle::new(strategy);
        loop {
            // Acquire: partner is the store in `Pipeline::shutdown`, made after the last push. To be read before
            // the rings are.
            let draining = shared.draining.load(Ordering::Acquire);
            if self.poll() > 0 {
                idle.reset();
            } else if draining {
                break;
            } else {
                let receivers = &self.receivers;
                idle.wait(&shared.rings.parker, || {
                    receivers.is_idle()
                        && !shared.commands.is_waiting()
                        && !shared.draining.load(Ordering::Acquire)
                });
            }
            if shared.commands.is_waiting() {
                self.answer();
            }
        }
        self.finish()
    }

    /// Flushes the observers and gives the last report.
    pub(crate) fn finish(mut self) -> ShardReport {
        self.rest.finish_processors(&self.shared.counts);
        if let Output::Here(host) = &mut self.rest.output {
            self.rest.unique += host.flush();
            self.shared.counts.unique.store(self.rest.unique, Ordering::Release);
        }
        let report = self.report();
        if let Output::Here(host) = &mut self.rest.output {
            host.dismiss();
        }
        report
    }

    pub(crate) fn report(&self) -> ShardReport {
        let observers = match &self.rest.output {
            Output::Here(host) => Some(host.report()),
            Output::Workers(_) => None,
        };
        let processors =
            self.rest.processors.as_ref().map_or_else(Vec::new, |processors| processors.reports());
        ShardReport { dedup: self.rest.dedup.stats(), observers, processors }
    }

    /// Does what the pipeline asks between two batches.
    #[cold]
    pub(crate) fn answer(&mut self) {
        for command in self.shared.commands.take() {
            match (command, &mut self.rest.output) {
                (ShardCommand::CatchUp(pending), _) => {
                    self.catch_up();
                    drop(pending);
                }
                (ShardCommand::Report(reply), _) => {
                    reply.send(self.report());
                }
                (ShardCommand::Host(command), Output::Here(host)) => host.obey(command),
                (ShardCommand::Host(_), Output::Workers(_)) => {}
            }
        }
    }
}

impl Rest {
    #[inline]
    fn take(&mut self, records: &mut [Record], counts: &ShardCounts) {
        let new = self.dedup.check(records, &mut self.verdicts);
        if let Some(processors) = &mut self.processors {
            processors.process(records, new);
        }
        self.pass(records, new, counts);
        if self.processors.as_ref().is_some_and(|processors| processors.has_derived()) {
            self.take_derived(counts);
        }
    }

    /// Brings what processors have derived through dedup to the observers.
    #[cold]
    fn take_derived(&mut self, counts: &ShardCounts) {
        let Some(mut derived) = self.processors.as_mut().map(|processors| processors.take_derived()) else {
            return;
        };
        for batch in derived.chunks_mut(BATCH) {
            let new = self.dedup.check(batch, &mut self.verdicts);
            self.pass(batch, new, counts);
        }
        if let Some(processors) = &mut self.processors {
            processors.give_back(derived);
        }
    }

    fn finish_processors(&mut self, counts: &ShardCounts) {
        if let Some(processors) = &mut self.processors {
            processors.finish();
            self.take_derived(counts);
        }
    }

    /// Passes a batch with its verdicts on.
    #[inline]
    fn pass(&mut self, records: &[Record], new: u64, counts: &ShardCounts) {
        let n = records.len();
        let verdicts = self.verdicts.get(..n).unwrap_or(&[]);
        let own = match &mut self.output {
            Output::Here(host) => host.take(records, verdicts, new),
            Output::Workers(workers) => {
                workers.pass(records, verdicts);
                0
            }
        };
        let unique = u64::from(new.count_ones());
        self.unique += unique + own;
        self.duplicates += n as u64 - unique;
        counts.unique.store(self.unique, Ordering::Release);
        counts.duplicates.store(self.duplicates, Ordering::Release);
    }
}
