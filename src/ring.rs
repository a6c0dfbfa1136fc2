//! Rings between emitters and dedup lanes: one `rtrb` ring per emitter and lane, and the lane that polls them.

mod fill;

pub(crate) use fill::fill;

use crate::event::Record;
use crate::sync::{Arc, AtomicBool, Mutex, Ordering, lock, rtrb};
use crate::wait::Sleeper;

/// Producer's end: owned by an emitter.
pub(crate) struct Inlet {
    pub(crate) producer: rtrb::Producer<Record>,
    lane: Arc<Lane>,
}

/// Consumer's end: owned by a lane's thread.
struct Outlet {
    consumer: rtrb::Consumer<Record>,
}

impl Outlet {
    /// Takes up to `most` records in batches, until `interrupt` says stop; returns how many.
    fn take(
        &mut self,
        most: usize,
        batch: usize,
        interrupt: &impl Fn() -> bool,
        take: &mut impl FnMut(&mut [Record]),
    ) -> usize {
        let mut left = most;
        while left > 0 {
            let n = self.consumer.slots().min(left).min(batch);
            let Ok(mut chunk) = self.consumer.read_chunk(n) else { break };
            if n == 0 {
                break;
            }
            let (front, back) = chunk.as_mut_slices();
            for records in [front, back] {
                if !records.is_empty() {
                    take(records);
                }
            }
            chunk.commit_all();
            left -= n;
            if interrupt() {
                break;
            }
        }
        most - left
    }
}

/// Where a lane's new rings arrive, and where its thread sleeps.
pub(crate) struct Lane {
    pub(crate) sleeper: Sleeper,
    arrived: AtomicBool,
    inbox: Mutex<Vec<Outlet>>,
}

impl Lane {
    pub(crate) fn new() -> Arc<Lane> {
        let inbox = Mutex::new(Vec::new());
        Arc::new(Lane { sleeper: Sleeper::new(), arrived: AtomicBool::new(false), inbox })
    }

    /// Makes a ring that this lane will poll.
    pub(crate) fn connect(self: &Arc<Lane>, capacity: usize) -> Inlet {
        let (producer, consumer) = rtrb::RingBuffer::new(capacity);
        lock(&self.inbox).push(Outlet { consumer });
        // Release: partner is the swap in `Intake::admit`.
        self.arrived.store(true, Ordering::Release);
        self.sleeper.wake();
        Inlet { producer, lane: Arc::clone(self) }
    }
}

impl Inlet {
    /// Wakes the lane's thread if it sleeps; to be called after records were published.
    #[inline]
    pub(crate) fn published(&self) {
        self.lane.sleeper.wake();
    }

    /// Ends the ring, and wakes the lane's thread to let it go.
    pub(crate) fn close(self) {
        let Inlet { producer, lane } = self;
        // First the ring is abandoned, then the lane is woken to see it.
        drop(producer);
        lane.sleeper.wake();
    }
}

/// A lane's view of its rings.
pub(crate) struct Intake {
    lane: Arc<Lane>,
    outlets: Vec<Outlet>,
}

impl Intake {
    pub(crate) fn new(lane: Arc<Lane>) -> Intake {
        Intake { lane, outlets: Vec::new() }
    }

    /// Takes at most `burst` records from each ring, in batches of at most `batch`, in place, and returns how
    /// many. A batch's slots are given back after `take` has returned.
    ///
    /// Stops after a batch when `interrupt` says so.
    pub(crate) fn poll(
        &mut self,
        burst: usize,
        batch: usize,
        interrupt: impl Fn() -> bool,
        mut take: impl FnMut(&mut [Record]),
    ) -> usize {
        self.admit();
        let mut taken = 0;
        let mut gone = false;
        for outlet in &mut self.outlets {
            let n = outlet.take(burst, batch, &interrupt, &mut take);
            gone |= n == 0 && outlet.consumer.is_abandoned();
            taken += n;
            if interrupt() {
                break;
            }
        }
        if gone {
            // Abandoned first, empty after: nothing can come any more.
            self.outlets.retain(|outlet| !(outlet.consumer.is_abandoned() && outlet.consumer.is_empty()));
        }
        taken
    }

    /// Takes what is in the rings now, in batches as [`Intake::poll`] does.
    pub(crate) fn take_present(&mut self, batch: usize, mut take: impl FnMut(&mut [Record])) {
        self.admit();
        for outlet in &mut self.outlets {
            outlet.take(outlet.consumer.slots(), batch, &|| false, &mut take);
        }
    }

    /// Tells whether [`Intake::poll`] would find nothing to do: no record waits, and no ring comes or goes.
    pub(crate) fn is_idle(&self) -> bool {
        // Acquire: partner is the store in `Lane::connect`.
        !self.lane.arrived.load(Ordering::Acquire)
            && self.outlets.iter().all(|outlet| outlet.consumer.is_empty() && !outlet.consumer.is_abandoned())
    }

    fn admit(&mut self) {
        // Acquire: partner is the store in `Lane::connect`.
        if self.lane.arrived.load(Ordering::Relaxed) && self.lane.arrived.swap(false, Ordering::Acquire) {
            self.outlets.append(&mut lock(&self.lane.inbox));
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::event::{Domain, EventKind, Identity, Symbol};

    fn record(n: u64) -> Record {
        let kind = EventKind::new(Domain::PACKET, 0);
        Record::raw(0, Identity::Occurrence, n, Symbol::NONE, kind, [n, 0, 0])
    }

    #[test]
    fn a_dropped_inlet_loses_nothing_and_its_ring_goes() {
        let lane = Lane::new();
        let mut intake = Intake::new(Arc::clone(&lane));
        for emitter in 0..3 {
            let mut inlet = lane.connect(8);
            for n in 0..8 {
                inlet.producer.push(record(emitter * 8 + n)).unwrap();
            }
        }
        let mut times = Vec::new();
        assert!(!intake.is_idle());
        while intake.poll(
            5,
            2,
            || false,
            |records| {
                assert!(records.len() <= 2);
                times.extend(records.iter().map(Record::time_ns));
            },
        ) > 0
        {}
        times.sort_unstable();
        assert_eq!(times, (0..24).collect::<Vec<_>>());
        assert!(intake.is_idle() && intake.outlets.is_empty());
    }

    #[test]
    fn a_batch_is_given_back_only_after_it_was_taken() {
        let lane = Lane::new();
        let mut intake = Intake::new(Arc::clone(&lane));
        let mut inlet = lane.connect(2);
        inlet.producer.push(record(0)).unwrap();
        inlet.producer.push(record(1)).unwrap();
        intake.poll(8, 8, || false, |_| assert!(inlet.producer.is_full()));
        assert!(!inlet.producer.is_full());
    }
}

#[cfg(all(test, loom))]
mod models {
    use super::*;
    use crate::sync;

    /// Works as a lane does, asleep when there is nothing to do, until it has so many records and no ring any more.
    fn serve(intake: &mut Intake, records: usize) {
        let (lane, mut taken) = (Arc::clone(&intake.lane), 0);
        loop {
            taken += intake.poll(1, 1, || false, |_| ());
            if taken == records && intake.outlets.is_empty() {
                return;
            }
            lane.sleeper.sleep(None, || intake.is_idle());
        }
    }

    fn send(inlet: &mut Inlet) {
        assert!(inlet.producer.push(Record::from_words([0; 8])).is_ok());
        inlet.published();
    }

    /// Runs a lane on a thread of its own while `emit` works on this one.
    fn model(
        preemptions: usize,
        rings: usize,
        records: usize,
        emit: impl Fn(&Arc<Lane>, Vec<Inlet>) + Send + Sync + 'static,
    ) {
        let mut model = loom::model::Builder::new();
        model.preemption_bound = Some(preemptions);
        model.check(move || {
            let lane = Lane::new();
            let mut intake = Intake::new(Arc::clone(&lane));
            let inlets = (0..rings).map(|_| lane.connect(1)).collect();
            intake.admit();
            let thread = sync::spawn("lane".to_owned(), move || serve(&mut intake, records));
            emit(&lane, inlets);
            thread.unwrap().join().unwrap();
        });
    }

    #[test]
    fn a_ring_whose_emitter_is_gone_is_emptied_and_let_go() {
        model(3, 1, 1, |_, inlets| {
            for mut inlet in inlets {
                send(&mut inlet);
                inlet.close();
            }
        });
    }

    #[test]
    fn rings_that_come_while_the_lane_works_are_all_admitted() {
        let emit = |lane: &Arc<Lane>| {
            let mut inlet = lane.connect(1);
            send(&mut inlet);
            inlet.close();
        };
        model(1, 0, 2, move |lane, _| {
            let twin = Arc::clone(lane);
            let other = sync::spawn("emitter".to_owned(), move || emit(&twin));
            emit(lane);
            other.unwrap().join().unwrap();
        });
    }

    /// The second goes while the lane looks which ring has gone.
    #[test]
    fn of_two_rings_that_go_each_is_emptied_first() {
        model(2, 2, 1, |_, inlets| {
            let mut inlets = inlets.into_iter();
            inlets.next().unwrap().close();
            let mut other = inlets.next().unwrap();
            send(&mut other);
            other.close();
        });
    }
}
