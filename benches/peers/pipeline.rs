//! The whole way of an event, from the first emit until the last one is through: one thread emits, one consumes. All
//! contestants come to the same [`Sum`].
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a bench checks its result and prints it"
)]

use crate::contest::Contest;
use crate::shelf::Shelf;
use crate::support::{
    Machines, Stream, Sum, WORK, Way, events, expected, last_core, on_first_core, options, pin_to_last_core,
    run_pipeline, whole,
};
use disruptor::{ProcessorSettings, Producer};
use panther_events::clock::Clock;
use panther_events::dedup::{BATCH, Dedup, Verdict};
use panther_events::domain::Schema;
use panther_events::event::{Identity, Record};
use panther_events::observe::metrics::Metrics;
use panther_events::observe::{Batch, Observer};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

const CAPACITY: usize = 4096;

pub(crate) fn contests(sizes: &[u64]) -> Vec<Contest> {
    sizes.iter().map(|size| contest(whole(*size))).collect()
}

fn contest(ids: u64) -> Contest {
    let sum = Arc::new(expected(ids));
    let mut contest = Contest::new(format!("whole pipeline, {ids} ids, 2 threads"), events(ids));
    let mut add = |name, mut work: Box<dyn FnMut() -> (Duration, Sum)>| {
        let sum = Arc::clone(&sum);
        contest.add(name, move || {
            let (time, found) = work();
            assert_eq!(found, *sum, "{name}");
            time
        });
    };
    add("panther-events: emit", Box::new(move || run_pipeline(ids, options(ids), Way::Single)));
    add(
        "panther-events: emit_batch of 64",
        Box::new(move || run_pipeline(ids, options(ids), Way::Batch(64))),
    );
    add("shelf: rtrb, fastbloom, hashbrown, hdrhistogram", Box::new(move || shelf(ids)));
    add("disruptor: BusySpin, the shelf's handlers", Box::new(move || disrupted_shelf(ids)));
    add("disruptor: BusySpin, our handlers in batches", Box::new(move || disrupted_ours(ids)));
    contest
}

/// Makes the stream's records, each with its own stamp, and gives them to `push`; times until all are through.
fn feed(ids: u64, progress: &AtomicU64, push: impl FnMut(Record) + Send) -> Duration {
    let clock = Clock::cycles();
    let mut push = push;
    on_first_core(|| {
        let stream = Stream::new();
        let start = Instant::now();
        for place in 0..events(ids) {
            let (entity, hop) = stream.event(place);
            push(Record::new(Identity::Content, clock.now_ns(), entity, &hop));
        }
        while progress.load(Ordering::Acquire) < events(ids) {
            std::hint::spin_loop();
        }
        start.elapsed()
    })
}

fn shelf(ids: u64) -> (Duration, Sum) {
    let (mut producer, mut consumer) = rtrb::RingBuffer::<Record>::new(CAPACITY);
    let progress = AtomicU64::new(0);
    let mut handlers = Shelf::new(ids);
    std::thread::scope(|scope| {
        let consumer = scope.spawn(|| {
            pin_to_last_core();
            let mut taken = 0;
            while taken < events(ids) {
                match consumer.pop() {
                    Ok(record) => {
                        handlers.take(&record);
                        taken += 1;
                    }
                    Err(_) => std::hint::spin_loop(),
                }
            }
            progress.store(taken, Ordering::Release);
            handlers.sum()
        });
        let time = feed(ids, &progress, |record| {
            let mut record = record;
            while let Err(rtrb::PushError::Full(back)) = producer.push(record) {
                record = back;
                std::hint::spin_loop();
            }
        });
        (time, consumer.join().unwrap())
    })
}

fn disrupted_shelf(ids: u64) -> (Duration, Sum) {
    let mut handlers = Shelf::new(ids);
    let mut taken = 0;
    disrupted(ids, move |record, _| {
        handlers.take(record);
        taken += 1;
        (taken == events(ids)).then(|| handlers.sum())
    })
}

fn disrupted_ours(ids: u64) -> (Duration, Sum) {
    let mut schema = Schema::new();
    schema.register(&WORK).unwrap();
    let mut dedup = Dedup::new(&options(ids).dedup).unwrap();
    let mut metrics = Metrics::new(&schema);
    let mut machines = Machines::new(Arc::new(AtomicU64::new(0)));
    let mut verdicts = [Verdict::New; BATCH];
    let mut records = Vec::with_capacity(BATCH);
    let (mut taken, mut unique) = (0, 0);
    disrupted(ids, move |record, end_of_batch| {
        records.push(*record);
        taken += 1;
        if records.len() == BATCH || end_of_batch {
            let new = dedup.check(&mut records, &mut verdicts);
            unique += u64::from(new.count_ones());
            let verdicts = &verdicts[..records.len()];
            metrics.observe(&Batch::new(&records, verdicts, u64::MAX)).unwrap();
            machines.observe(&Batch::new(&records, verdicts, new)).unwrap();
            records.clear();
        }
        (taken == events(ids)).then(|| {
            let mut sum = Sum { unique, duplicates: taken - unique, ..Sum::default() };
            machines.add_to(&mut sum);
            crate::support::add_metrics(&metrics.report(), &mut sum);
            sum
        })
    })
}

/// Runs `handle`, which returns the sum with the last event, behind a disruptor.
fn disrupted(
    ids: u64,
    mut handle: impl FnMut(&Record, bool) -> Option<Sum> + Send + 'static,
) -> (Duration, Sum) {
    let (progress, sum) = (Arc::new(AtomicU64::new(0)), Arc::new(Mutex::new(Sum::default())));
    let (twin, result) = (Arc::clone(&progress), Arc::clone(&sum));
    let (entity, hop) = Stream::new().numbered(0);
    let empty = Record::new(Identity::Content, 0, entity, &hop);
    let mut producer = disruptor::build_single_producer(CAPACITY, move || empty, disruptor::BusySpin)
        .pin_at_core(last_core())
        .handle_events_with(move |record: &Record, _, end_of_batch| {
            if let Some(sum) = handle(record, end_of_batch) {
                twin.store(events(ids), Ordering::Release);
                *result.lock().unwrap() = sum;
            }
        })
        .build();
    let time = feed(ids, &progress, |record| producer.publish(|slot| *slot = record));
    drop(producer);
    let sum = sum.lock().unwrap().clone();
    (time, sum)
}
