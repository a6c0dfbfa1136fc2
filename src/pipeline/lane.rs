//! A lane: polls its rings, asks dedup, and passes batches on.

use crate::dedup::{BATCH, Dedup, DedupStats, Verdict};
use crate::event::Record;
use crate::observe::worker::WorkerReport;
use crate::pipeline::crew::Handover;
use crate::pipeline::post::Post;
use crate::pipeline::processors::{ProcessorReport, Processors};
use crate::pipeline::station::{Order, Station};
use crate::ring::{Intake, Lane};
use crate::sync::mpsc::Sender;
use crate::sync::{Arc, AtomicBool, AtomicU64, Ordering};
use crate::wait::{Idle, WaitStrategy};
use crossbeam_utils::CachePadded;

/// Records taken from one ring before the next ring has its turn.
const BURST: usize = 1024;

/// What a lane has counted; written by its thread, read by anyone.
#[derive(Default)]
pub(crate) struct LaneCounts {
    pub(crate) unique: AtomicU64,
    pub(crate) duplicates: AtomicU64,
}

/// What a lane says when asked.
pub(crate) struct LaneReport {
    pub(crate) dedup: DedupStats,
    /// Of the observers, where the lane has them itself.
    pub(crate) observers: Option<WorkerReport>,
    /// Of the processors, in the order in which they were added.
    pub(crate) processors: Vec<ProcessorReport>,
}

/// What a pipeline may ask of a lane while it runs.
pub(crate) enum LaneOrder {
    /// Report.
    Report(Sender<LaneReport>),
    /// Take what is in the rings, and say so by dropping the sender.
    CatchUp(Sender<()>),
    /// Something for the lane's own observers.
    Station(Order),
}

/// Where a lane passes its batches.
pub(crate) enum Output {
    /// To observers on the same thread.
    Here(Box<Station>),
    /// To worker threads.
    Crew(Box<Handover>),
}

/// What a lane's thread and the pipeline share.
pub(crate) struct LaneDesk {
    pub(crate) lane: Arc<Lane>,
    pub(crate) counts: CachePadded<LaneCounts>,
    pub(crate) post: Post<LaneOrder>,
    /// No emitter is at work any more: what is in the rings is all there will be.
    pub(crate) last_orders: AtomicBool,
}

impl LaneDesk {
    pub(crate) fn new() -> LaneDesk {
        LaneDesk {
            lane: Lane::new(),
            counts: CachePadded::default(),
            post: Post::new(),
            last_orders: AtomicBool::new(false),
        }
    }
}

/// A lane at work.
pub(crate) struct LaneWork {
    desk: Arc<LaneDesk>,
    intake: Intake,
    rest: Rest,
}

/// What handles batches, apart from the intake that they are borrowed from.
struct Rest {
    dedup: Dedup,
    verdicts: Box<[Verdict; BATCH]>,
    processors: Option<Box<Processors>>,
    output: Output,
    unique: u64,
    duplicates: u64,
}

impl LaneWork {
    pub(crate) fn new(
        desk: Arc<LaneDesk>,
        dedup: Dedup,
        processors: Option<Box<Processors>>,
        output: Output,
    ) -> LaneWork {
        let intake = Intake::new(Arc::clone(&desk.lane));
        let verdicts = Box::new([Verdict::New; BATCH]);
        let rest = Rest { dedup, verdicts, processors, output, unique: 0, duplicates: 0 };
        LaneWork { desk, intake, rest }
    }

    /// Takes a burst from every ring; returns how many records.
    pub(crate) fn poll(&mut self) -> usize {
        let (rest, counts) = (&mut self.rest, &self.desk.counts);
        // The counts are stored before the batch's slots are given back, so that what is in flight never exceeds
        // the rings.
        let post = &self.desk.post;
        self.intake.poll(BURST, BATCH, || post.is_waiting(), |records| rest.take(records, counts))
    }

    /// Takes what is in the rings now, and not what comes meanwhile.
    fn catch_up(&mut self) {
        let (rest, counts) = (&mut self.rest, &self.desk.counts);
        self.intake.take_present(BATCH, |records| rest.take(records, counts));
    }

    /// Works until there is nothing left to do and nothing more will come.
    pub(crate) fn run(mut self, strategy: WaitStrategy) -> LaneReport {
        let desk = Arc::clone(&self.desk);
        let _owned = desk.post.owned();
        let mut idle = Idle::new(strategy);
        loop {
            // Acquire: partner is the store in `Pipeline::shutdown`, made after the last push. To be read before
            // the rings are.
            let last_orders = desk.last_orders.load(Ordering::Acquire);
            if self.poll() > 0 {
                idle.reset();
            } else if last_orders {
                break;
            } else {
                let intake = &self.intake;
                idle.wait(&desk.lane.sleeper, || {
                    intake.is_idle() && !desk.post.is_waiting() && !desk.last_orders.load(Ordering::Acquire)
                });
            }
            if desk.post.is_waiting() {
                self.answer();
            }
        }
        self.finish()
    }

    /// Flushes the observers and gives the last report.
    pub(crate) fn finish(mut self) -> LaneReport {
        self.rest.finish_processors(&self.desk.counts);
        if let Output::Here(station) = &mut self.rest.output {
            self.rest.unique += station.flush();
            self.desk.counts.unique.store(self.rest.unique, Ordering::Release);
        }
        let report = self.report();
        if let Output::Here(station) = &mut self.rest.output {
            station.dismiss();
        }
        report
    }

    pub(crate) fn report(&self) -> LaneReport {
        let observers = match &self.rest.output {
            Output::Here(station) => Some(station.report()),
            Output::Crew(_) => None,
        };
        let processors =
            self.rest.processors.as_ref().map_or_else(Vec::new, |processors| processors.reports());
        LaneReport { dedup: self.rest.dedup.stats(), observers, processors }
    }

    /// Does what the pipeline asks between two batches.
    #[cold]
    pub(crate) fn answer(&mut self) {
        for order in self.desk.post.take() {
            match (order, &mut self.rest.output) {
                (LaneOrder::CatchUp(pending), _) => {
                    self.catch_up();
                    drop(pending);
                }
                (LaneOrder::Report(reply), _) => {
                    // Whoever asked may have given up.
                    let _ = reply.send(self.report());
                }
                (LaneOrder::Station(order), Output::Here(station)) => station.obey(order),
                (LaneOrder::Station(_), Output::Crew(_)) => {}
            }
        }
    }
}

impl Rest {
    #[inline]
    fn take(&mut self, records: &mut [Record], counts: &LaneCounts) {
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
    fn take_derived(&mut self, counts: &LaneCounts) {
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

    fn finish_processors(&mut self, counts: &LaneCounts) {
        if let Some(processors) = &mut self.processors {
            processors.finish();
            self.take_derived(counts);
        }
    }

    /// Passes a batch with its verdicts on.
    #[inline]
    fn pass(&mut self, records: &[Record], new: u64, counts: &LaneCounts) {
        let n = records.len();
        let verdicts = self.verdicts.get(..n).unwrap_or(&[]);
        let own = match &mut self.output {
            Output::Here(station) => station.take(records, verdicts, new),
            Output::Crew(crew) => {
                crew.pass(records, verdicts);
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
