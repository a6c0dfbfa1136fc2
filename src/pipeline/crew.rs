//! Worker threads: rings from lanes to workers, and what runs at their ends.
//!
//! A record and its verdict travel in two rings of the same size, in step, so that both arrive as slices. The
//! verdicts are published first: where there is a record, its verdict is there.

use crate::dedup::{BATCH, Verdict};
use crate::emit::source::share;
use crate::event::{KindSet, Record};
use crate::observe::mask;
use crate::observe::worker::WorkerReport;
use crate::pipeline::post::Post;
use crate::pipeline::station::{Order, Station};
use crate::sync::mpsc::Sender;
use crate::sync::{Arc, AtomicU64, Backoff, Ordering, rtrb};
use crate::wait::{Idle, Sleeper, WaitStrategy};
use crossbeam_utils::CachePadded;
use std::time::Duration;

/// What a worker's thread and the pipeline share.
pub(crate) struct CrewDesk {
    pub(crate) sleeper: Sleeper,
    /// Records taken, of all verdicts.
    pub(crate) taken: CachePadded<AtomicU64>,
    /// Events of its own that the worker emitted.
    pub(crate) own: AtomicU64,
    pub(crate) post: Post<CrewOrder>,
}

impl CrewDesk {
    pub(crate) fn new() -> CrewDesk {
        CrewDesk {
            sleeper: Sleeper::new(),
            taken: CachePadded::default(),
            own: AtomicU64::new(0),
            post: Post::new(),
        }
    }
}

/// What a pipeline may ask of a worker while it runs.
pub(crate) enum CrewOrder {
    /// Report on all observers.
    Report(Sender<WorkerReport>),
    /// Take what is in the rings, and say so by dropping the sender.
    CatchUp(Sender<()>),
    /// Something for the worker's observers.
    Station(Order),
}

/// A lane's end of the rings to all workers.
pub(crate) struct Handover {
    inlets: Vec<CrewInlet>,
    whole: KindSet,
}

/// A lane's end of the rings to one worker.
pub(crate) struct CrewInlet {
    records: rtrb::Producer<Record>,
    verdicts: rtrb::Producer<Verdict>,
    desk: Arc<CrewDesk>,
    room: Arc<Sleeper>,
}

/// A worker's end of the rings from one lane.
pub(crate) struct CrewOutlet {
    records: rtrb::Consumer<Record>,
    verdicts: rtrb::Consumer<Verdict>,
    room: Arc<Sleeper>,
}

/// Makes the rings from one lane to one worker.
pub(crate) fn connect(capacity: usize, desk: &Arc<CrewDesk>) -> (CrewInlet, CrewOutlet) {
    let (records_in, records) = rtrb::RingBuffer::new(capacity.max(BATCH));
    let (verdicts_in, verdicts) = rtrb::RingBuffer::new(capacity.max(BATCH));
    let room = Arc::new(Sleeper::new());
    let inlet = CrewInlet {
        records: records_in,
        verdicts: verdicts_in,
        desk: Arc::clone(desk),
        room: Arc::clone(&room),
    };
    (inlet, CrewOutlet { records, verdicts, room })
}

impl Handover {
    pub(crate) fn new(inlets: Vec<CrewInlet>, whole: KindSet) -> Handover {
        Handover { inlets, whole }
    }

    /// Passes each record of a batch to the worker of its entity; waits where there is no room.
    pub(crate) fn pass(&mut self, records: &[Record], verdicts: &[Verdict]) {
        if let [inlet] = &mut *self.inlets {
            return inlet.push(records, verdicts, mask(records.len()));
        }
        let mut shares = [0u64; WORKERS_MAX];
        for (at, record) in records.iter().enumerate() {
            let worker = share(record.kind(), record.entity(), &self.whole, self.inlets.len(), 1);
            if let Some(share) = shares.get_mut(worker) {
                *share |= 1 << at;
            }
        }
        for (inlet, share) in self.inlets.iter_mut().zip(shares) {
            if share != 0 {
                inlet.push(records, verdicts, share);
            }
        }
    }
}

/// Workers there can be.
pub(crate) const WORKERS_MAX: usize = 64;

impl CrewInlet {
    fn push(&mut self, records: &[Record], verdicts: &[Verdict], share: u64) {
        let n = share.count_ones() as usize;
        let backoff = Backoff::new();
        while self.records.slots() < n || self.verdicts.slots() < n {
            if self.records.is_abandoned() {
                // The worker's thread is gone, which only a bug can bring about: the account will show it.
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
        self.desk.sleeper.wake();
    }
}

impl Drop for Handover {
    fn drop(&mut self) {
        for inlet in self.inlets.drain(..) {
            let desk = Arc::clone(&inlet.desk);
            // First the rings are abandoned, then the worker is woken to see it.
            drop(inlet);
            desk.sleeper.wake();
        }
    }
}

/// A worker at work.
pub(crate) struct CrewWork {
    desk: Arc<CrewDesk>,
    outlets: Vec<CrewOutlet>,
    station: Station,
    taken: u64,
    own: u64,
}

impl CrewWork {
    pub(crate) fn new(desk: Arc<CrewDesk>, outlets: Vec<CrewOutlet>, station: Station) -> CrewWork {
        CrewWork { desk, outlets, station, taken: 0, own: 0 }
    }

    /// Works until all lanes are gone and their rings empty.
    pub(crate) fn run(mut self, strategy: WaitStrategy) -> WorkerReport {
        let desk = Arc::clone(&self.desk);
        let _owned = desk.post.owned();
        let mut idle = Idle::new(strategy);
        loop {
            // Abandoned first, empty after: nothing can come any more.
            let gone = self.outlets.iter().all(|outlet| outlet.records.is_abandoned());
            if self.poll() > 0 {
                idle.reset();
            } else if gone {
                break;
            } else {
                let (outlets, desk) = (&self.outlets, &self.desk);
                idle.wait(&desk.sleeper, || {
                    !desk.post.is_waiting()
                        && outlets.iter().all(|outlet| outlet.records.is_empty())
                        && !outlets.iter().all(|outlet| outlet.records.is_abandoned())
                });
            }
            if self.desk.post.is_waiting() {
                self.answer();
            }
        }
        self.own += self.station.flush();
        self.desk.own.store(self.own, Ordering::Release);
        let report = self.station.report();
        self.station.dismiss();
        report
    }

    fn poll(&mut self) -> usize {
        let before = self.taken;
        for at in 0..self.outlets.len() {
            self.take_batch(at);
        }
        (self.taken - before) as usize
    }

    /// Takes what is in the rings now, and not what comes meanwhile.
    fn catch_up(&mut self) {
        let present: Vec<usize> = self.outlets.iter().map(|outlet| outlet.records.slots()).collect();
        for (at, mut left) in present.into_iter().enumerate() {
            while left > 0 {
                match self.take_batch(at) {
                    0 => break,
                    taken => left = left.saturating_sub(taken),
                }
            }
        }
    }

    /// Takes up to a batch from one lane; returns how many records.
    fn take_batch(&mut self, at: usize) -> usize {
        let before = self.taken;
        if let Some(outlet) = self.outlets.get_mut(at) {
            let n = outlet.records.slots().min(BATCH);
            let (Ok(records), Ok(verdicts)) = (outlet.records.read_chunk(n), outlet.verdicts.read_chunk(n))
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
                self.own += self.station.take(records, verdicts, new);
                self.taken += records.len() as u64;
            }
            records.commit_all();
            verdicts.commit_all();
            if n > 0 {
                outlet.room.wake();
            }
        }
        self.desk.own.store(self.own, Ordering::Release);
        self.desk.taken.store(self.taken, Ordering::Release);
        (self.taken - before) as usize
    }

    #[cold]
    fn answer(&mut self) {
        for order in self.desk.post.take() {
            match order {
                CrewOrder::CatchUp(pending) => {
                    self.catch_up();
                    drop(pending);
                }
                CrewOrder::Report(reply) => {
                    // Whoever asked may have given up.
                    let _ = reply.send(self.station.report());
                }
                CrewOrder::Station(order) => self.station.obey(order),
            }
        }
    }
}

#[cfg(all(test, loom))]
mod models {
    use super::*;
    use crate::clock::Clock;
    use crate::emit::source::{Entrance, Routes, Sources};
    use crate::event::{IdScope, Origin};
    use crate::observe::worker::Worker;
    use crate::pipeline::station::Voice;
    use crate::sync::{self, AtomicBool};

    fn station() -> Station {
        let origin = Origin::from_bits(7);
        let entrance = Entrance {
            origin,
            id_scope: IdScope::new(origin.bits()),
            routes: Routes::new([], KindSet::EMPTY, 1),
            sources: Sources::default(),
            contexts: Arc::default(),
            closed: AtomicBool::new(false),
        };
        let voice = Voice {
            entrance: Arc::new(entrance),
            clock: Clock::manual(0).0,
            symbols: Arc::default(),
            source: None,
        };
        Station::new(0, Worker::new(), voice)
    }

    /// The lane waits for room with no time to wake it.
    #[test]
    fn a_full_ring_is_emptied_and_the_lane_woken() {
        let mut model = loom::model::Builder::new();
        model.preemption_bound = Some(2);
        model.check(|| {
            let desk = Arc::new(CrewDesk::new());
            let (inlet, outlet) = connect(BATCH, &desk);
            let work = CrewWork::new(Arc::clone(&desk), vec![outlet], station());
            let worker = sync::spawn("worker".to_owned(), move || work.run(WaitStrategy::Park));
            let mut lane = Handover::new(vec![inlet], KindSet::EMPTY);
            let records = [Record::from_words([0; 8]); BATCH];
            lane.pass(&records, &[Verdict::New; BATCH]);
            lane.pass(&records, &[Verdict::New; BATCH]);
            drop(lane);
            worker.unwrap().join().unwrap();
            assert_eq!(desk.taken.load(Ordering::Acquire), 2 * BATCH as u64);
        });
    }
}
