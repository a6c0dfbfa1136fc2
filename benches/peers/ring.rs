//! Passing 64-byte records from one thread to another, one at a time unless a row says otherwise. The consumer adds up
//! the records' numbers; a lost or repeated record would show.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a bench checks its result and prints it"
)]

use crate::contest::Contest;
use crate::support::{Hop, Stream, WORK, last_core, on_first_core, options, pin_to_last_core};
use disruptor::{ProcessorSettings, Producer};
use panther_events::event::{Identity, Record};
use panther_events::observe::{Batch, Interest, Observer, Undelivered};
use panther_events::pipeline::{Builder, PipelineOptions};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

const COUNT: u64 = 1 << 20;
const CAPACITY: usize = 4096;
const SUM: u64 = COUNT * (COUNT - 1) / 2;

pub(crate) fn contests(_: &[u64]) -> Vec<Contest> {
    let mut contest = Contest::new(format!("ring of {CAPACITY}, thread to thread"), COUNT);
    contest.add("panther-events: emit_at, ring, dedup, observer", || ours(1));
    contest.add("panther-events: the same, emit_batch of 64", || ours(64));
    contest.add("rtrb", || {
        let (mut producer, mut consumer) = rtrb::RingBuffer::<Record>::new(CAPACITY);
        pass(move |record| producer.push(record).is_ok(), move || consumer.pop().ok())
    });
    contest.add("crossbeam-channel: bounded", || {
        let (sender, receiver) = crossbeam_channel::bounded::<Record>(CAPACITY);
        pass(move |record| sender.send(record).is_ok(), move || receiver.recv().ok())
    });
    contest.add("crossbeam-queue: ArrayQueue", || {
        let queue = Arc::new(crossbeam_queue::ArrayQueue::<Record>::new(CAPACITY));
        let twin = Arc::clone(&queue);
        pass(move |record| queue.push(record).is_ok(), move || twin.pop())
    });
    contest.add("std: mpsc::sync_channel", || {
        let (sender, receiver) = std::sync::mpsc::sync_channel::<Record>(CAPACITY);
        pass(move |record| sender.send(record).is_ok(), move || receiver.recv().ok())
    });
    contest.add("kanal: bounded", || {
        let (sender, receiver) = kanal::bounded::<Record>(CAPACITY);
        pass(move |record| sender.send(record).is_ok(), move || receiver.recv().ok())
    });
    contest.add("disruptor: BusySpin", disrupted);
    vec![contest]
}

fn record_of(stream: &Stream) -> impl Fn(u64) -> Record + use<> {
    let (entity, hop) = stream.numbered(1);
    move |number| Record::new(Identity::Content, number, entity, &hop)
}

/// Passes [`COUNT`] records; `push` and `pop` are tried again when they fail.
fn pass(
    mut push: impl FnMut(Record) -> bool + Send,
    mut pop: impl FnMut() -> Option<Record> + Send,
) -> Duration {
    let record = record_of(&Stream::new());
    let start = Instant::now();
    let sum: u64 = std::thread::scope(|scope| {
        let taken = scope.spawn(move || {
            pin_to_last_core();
            let (mut sum, mut left) = (0, COUNT);
            while left > 0 {
                match pop() {
                    Some(record) => {
                        sum += record.time_ns();
                        left -= 1;
                    }
                    None => std::hint::spin_loop(),
                }
            }
            sum
        });
        on_first_core(move || {
            for number in 0..COUNT {
                while !push(record(number)) {
                    std::hint::spin_loop();
                }
            }
        });
        taken.join().unwrap()
    });
    let time = start.elapsed();
    assert_eq!(sum, SUM);
    time
}

fn disrupted() -> Duration {
    let record = record_of(&Stream::new());
    let (sum, first) = (Arc::new(AtomicU64::new(0)), record(0));
    let twin = Arc::clone(&sum);
    let mut own = 0;
    let mut producer = disruptor::build_single_producer(CAPACITY, move || first, disruptor::BusySpin)
        .pin_at_core(last_core())
        .handle_events_with(move |record: &Record, _, _| {
            own += record.time_ns();
            twin.store(own, Ordering::Release);
        })
        .build();
    let start = Instant::now();
    on_first_core(|| {
        for number in 0..COUNT {
            producer.publish(|slot| *slot = record(number));
        }
    });
    while sum.load(Ordering::Acquire) < SUM {
        std::hint::spin_loop();
    }
    let time = start.elapsed();
    drop(producer);
    assert_eq!(sum.load(Ordering::Acquire), SUM);
    time
}

/// Adds up the times of all events, duplicates too.
struct Adding(u64, u64, Arc<AtomicU64>);

impl Observer for Adding {
    type Report = ();

    fn interest(&self) -> Interest {
        Interest { duplicates: true, ..Interest::ALL }
    }

    fn observe(&mut self, batch: &Batch<'_>) -> Result<(), Undelivered> {
        for (record, _) in batch.iter() {
            self.0 += record.time_ns();
            self.1 += 1;
        }
        if self.1 == COUNT {
            self.2.store(self.0, Ordering::Release);
        }
        Ok(())
    }

    fn report(&self) {}
}

fn ours(batch: u64) -> Duration {
    let mut builder = Builder::new(PipelineOptions { ring_capacity: CAPACITY, ..options(1) });
    let sum = Arc::new(AtomicU64::new(0));
    let twin = Arc::clone(&sum);
    builder.domain(&WORK);
    builder.observer("adding", move |_| Adding(0, 0, Arc::clone(&twin)));
    let pipeline = builder.start().unwrap();
    let mut emitter = pipeline.emitter("bench").unwrap();
    let (entity, hop) = Stream::new().numbered(1);
    let record = record_of(&Stream::new());
    let start = Instant::now();
    on_first_core(|| {
        if batch == 1 {
            (0..COUNT).for_each(|number| emitter.emit_at(number, entity, &Hop { ..hop }).unwrap());
        } else {
            for from in (0..COUNT).step_by(batch as usize) {
                assert_eq!(emitter.emit_records((from..from + batch).map(&record)).accepted, batch);
            }
        }
    });
    while sum.load(Ordering::Acquire) == 0 {
        std::hint::spin_loop();
    }
    let time = start.elapsed();
    assert_eq!(sum.load(Ordering::Acquire), SUM);
    drop(emitter);
    let account = pipeline.shutdown().account;
    assert_eq!((account.unique, account.duplicates), (1, COUNT - 1));
    time
}
