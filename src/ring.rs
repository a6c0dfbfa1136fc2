//! Rings between emitters and dedup shards: one `rtrb` ring per emitter and shard, and the shard that polls them.

mod fill;

pub(crate) use fill::fill;

use crate::event::Record;
use crate::sync::{Arc, AtomicBool, Mutex, Ordering, lock, rtrb};
use crate::wait::Parker;

/// Producer's end: owned by an emitter.
pub(crate) struct ShardSender {
    pub(crate) producer: rtrb::Producer<Record>,
    rings: Arc<ShardRings>,
}

/// Consumer's end: owned by a shard's thread.
struct ShardReceiver {
    consumer: rtrb::Consumer<Record>,
}

impl ShardReceiver {
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

/// Where a shard's new rings arrive, and where its thread sleeps.
pub(crate) struct ShardRings {
    pub(crate) parker: Parker,
    arrived: AtomicBool,
    inbox: Mutex<Vec<ShardReceiver>>,
}

impl ShardRings {
    pub(crate) fn new() -> Arc<ShardRings> {
        let inbox = Mutex::new(Vec::new());
        Arc::new(ShardRings { parker: Parker::new(), arrived: AtomicBool::new(false), inbox })
    }

    /// Makes a ring that this shard will poll.
    pub(crate) fn connect(self: &Arc<ShardRings>, capacity: usize) -> ShardSender {
        let (producer, consumer) = rtrb::RingBuffer::new(capacity);
        lock(&self.inbox).push(ShardReceiver { consumer });
        // Release: partner is the swap in `ReceiverSet::admit`. The first record wakes the shard, or the ring's end.
        self.arrived.store(true, Ordering::Release);
        ShardSender { producer, rings: Arc::clone(self) }
    }
}

impl ShardSender {
    /// Wakes the shard's thread if it sleeps; to be called after records were published.
    #[inline]
    pub(crate) fn published(&self) {
        self.rings.parker.wake();
    }

    /// Ends the ring, and wakes the shard's thread to let it go.
    pub(crate) fn close(self) {
        let ShardSender { producer, rings } = self;
        // First the ring is abandoned, then the shard is woken to see it.
        drop(producer);
        rings.parker.wake();
    }
}

/// A shard's view of its rings.
pub(crate) struct ReceiverSet {
    rings: Arc<ShardRings>,
    receivers: Vec<ShardReceiver>,
    /// Which ring comes first next time: whoever interrupts again and again lets no ring wait for ever.
    first: usize,
}

impl ReceiverSet {
    pub(crate) fn new(rings: Arc<ShardRings>) -> ReceiverSet {
        ReceiverSet { rings, receivers: Vec::new(), first: 0 }
    }

    /// Takes at most `burst` records from each ring, in batches of at most `batch`, in place, and returns how
    /// many. A batch's slots are given back after `take` has returned.
    ///
    /// Stops after a batch when `interrupt` says so, and begins with the next ring the next time.
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
        let first = if self.first < self.receivers.len() { self.first } else { 0 };
        let len = self.receivers.len();
        let (before, from_first) = self.receivers.split_at_mut(first);
        for (turn, receiver) in from_first.iter_mut().chain(before).enumerate() {
            let n = receiver.take(burst, batch, &interrupt, &mut take);
            gone |= n == 0 && receiver.consumer.is_abandoned();
            taken += n;
            if interrupt() {
                self.first = (first + turn) % len + 1;
                break;
            }
        }
        if gone {
            // Abandoned first, empty after: nothing can come any more.
            self.receivers
                .retain(|receiver| !(receiver.consumer.is_abandoned() && receiver.consumer.is_empty()));
        }
        taken
    }

    /// Takes what is in the rings now, in batches as [`ReceiverSet::poll`] does.
    pub(crate) fn take_present(&mut self, batch: usize, mut take: impl FnMut(&mut [Record])) {
        self.admit();
        for receiver in &mut self.receivers {
            receiver.take(receiver.consumer.slots(), batch, &|| false, &mut take);
        }
    }

    /// Tells whether [`ReceiverSet::poll`] would find nothing to do: no record waits, and no ring comes or goes.
    pub(crate) fn is_idle(&self) -> bool {
        // Acquire: partner is the store in `ShardRings::connect`.
        !self.rings.arrived.load(Ordering::Acquire)
            && self
                .receivers
                .iter()
                .all(|receiver| receiver.consumer.is_empty() && !receiver.consumer.is_abandoned())
    }

    fn admit(&mut self) {
        // Acquire: partner is the store in `ShardRings::connect`.
        if self.rings.arrived.load(Ordering::Relaxed) && self.rings.arrived.swap(false, Ordering::Acquire) {
            self.receivers.append(&mut lock(&self.rings.inbox));
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
    fn a_dropped_sender_loses_nothing_and_its_ring_goes() {
        let rings = ShardRings::new();
        let mut receivers = ReceiverSet::new(Arc::clone(&rings));
        for emitter in 0..3 {
            let mut sender = rings.connect(8);
            for n in 0..8 {
                sender.producer.push(record(emitter * 8 + n)).unwrap();
            }
        }
        let mut times = Vec::new();
        assert!(!receivers.is_idle());
        while receivers.poll(
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
        assert!(receivers.is_idle() && receivers.receivers.is_empty());
    }

    #[test]
    fn whoever_interrupts_after_each_batch_lets_no_ring_wait_for_ever() {
        let rings = ShardRings::new();
        let mut receivers = ReceiverSet::new(Arc::clone(&rings));
        let mut senders: Vec<_> = (0..3).map(|_| rings.connect(64)).collect();
        let mut taken = [0; 3];
        for _ in 0..30 {
            for (number, sender) in senders.iter_mut().enumerate() {
                // They are never empty.
                while sender.producer.push(record(number as u64)).is_ok() {}
            }
            receivers.poll(
                8,
                2,
                || true,
                |records| {
                    records.iter().for_each(|record| taken[record.time_ns() as usize] += 1);
                },
            );
        }
        assert_eq!(taken, [20, 20, 20]);
        // One goes, and the others have their turns.
        drop(senders.pop());
        while receivers.poll(8, 2, || true, |_| ()) > 0 {}
        receivers.poll(8, 2, || false, |_| ());
        assert_eq!(receivers.receivers.len(), 2);
    }

    #[test]
    fn a_batch_is_given_back_only_after_it_was_taken() {
        let rings = ShardRings::new();
        let mut receivers = ReceiverSet::new(Arc::clone(&rings));
        let mut sender = rings.connect(2);
        sender.producer.push(record(0)).unwrap();
        sender.producer.push(record(1)).unwrap();
        receivers.poll(8, 8, || false, |_| assert!(sender.producer.is_full()));
        assert!(!sender.producer.is_full());
    }
}

#[cfg(all(test, loom))]
mod models {
    use super::*;
    use crate::sync;

    /// Works as a shard does, asleep when there is nothing to do, until it has so many records and no ring any more.
    fn serve(receivers: &mut ReceiverSet, records: usize) {
        let (rings, mut taken) = (Arc::clone(&receivers.rings), 0);
        loop {
            taken += receivers.poll(1, 1, || false, |_| ());
            if taken == records && receivers.receivers.is_empty() {
                return;
            }
            rings.parker.sleep(None, || receivers.is_idle());
        }
    }

    fn send(sender: &mut ShardSender) {
        assert!(sender.producer.push(Record::from_words([0; 8])).is_ok());
        sender.published();
    }

    /// Runs a shard on a thread of its own while `emit` works on this one.
    fn model(
        preemptions: usize,
        count: usize,
        records: usize,
        emit: impl Fn(&Arc<ShardRings>, Vec<ShardSender>) + Send + Sync + 'static,
    ) {
        let mut model = loom::model::Builder::new();
        model.preemption_bound = Some(preemptions);
        model.check(move || {
            let rings = ShardRings::new();
            let mut receivers = ReceiverSet::new(Arc::clone(&rings));
            let senders = (0..count).map(|_| rings.connect(1)).collect();
            receivers.admit();
            let thread = sync::spawn("rings".to_owned(), move || serve(&mut receivers, records));
            emit(&rings, senders);
            thread.unwrap().join().unwrap();
        });
    }

    #[test]
    fn a_ring_whose_emitter_is_gone_is_emptied_and_let_go() {
        model(3, 1, 1, |_, senders| {
            for mut sender in senders {
                send(&mut sender);
                sender.close();
            }
        });
    }

    #[test]
    fn rings_that_come_while_the_shard_works_are_all_admitted() {
        let emit = |rings: &Arc<ShardRings>| {
            let mut sender = rings.connect(1);
            send(&mut sender);
            sender.close();
        };
        model(1, 0, 2, move |rings, _| {
            let twin = Arc::clone(rings);
            let other = sync::spawn("emitter".to_owned(), move || emit(&twin));
            emit(rings);
            other.unwrap().join().unwrap();
        });
    }

    /// The second goes while the shard looks which ring has gone.
    #[test]
    fn of_two_rings_that_go_each_is_emptied_first() {
        model(2, 2, 1, |_, senders| {
            let mut senders = senders.into_iter();
            senders.next().unwrap().close();
            let mut other = senders.next().unwrap();
            send(&mut other);
            other.close();
        });
    }
}
