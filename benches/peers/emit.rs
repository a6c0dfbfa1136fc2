//! Emitting against `tracing` with a layer that counts, and against a bare push into an `rtrb` ring. One thread; what was
//! emitted is taken away between the blocks that are timed.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a bench checks its result and prints it"
)]

use crate::contest::Contest;
use crate::support::{Hop, Plan, Stream};
use panther_events::clock::Clock;
use panther_events::event::{Identity, Record};
use panther_events::pipeline::{PipelineOptions, Topology};
use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};

const BLOCK: u64 = 2048;
const BLOCKS: u64 = 500;

pub(crate) fn contests(_: &[u64]) -> Vec<Contest> {
    let (entity, hop) = Stream::new().numbered(1);
    let clock = Clock::cycles();
    let mut contest = Contest::new("emit".into(), BLOCK * BLOCKS);
    contest.add("panther-events: emit, stamped", || {
        ours(|emitter, entity, hop| {
            for _ in 0..BLOCK {
                emitter.emit(black_box(entity), black_box(hop)).unwrap();
            }
        })
    });
    contest.add("panther-events: emit_batch of 64", || {
        ours(|emitter, entity, hop| {
            for _ in 0..BLOCK / 64 {
                let events = [(entity, *hop); 64];
                assert_eq!(emitter.emit_batch(black_box(&events).iter().copied()).accepted, 64);
            }
        })
    });
    let counter = quanta::Clock::new();
    let record = move |time_ns| Record::new(Identity::Content, time_ns, black_box(entity), black_box(&hop));
    let mut lines = vec![record(0); BLOCK as usize];
    contest.add("floor: counter read and 64-byte store", move || {
        let start = Instant::now();
        for _ in 0..BLOCKS {
            for line in &mut lines {
                *black_box(line) = record(counter.raw());
            }
        }
        start.elapsed()
    });
    let stamp = clock.clone();
    contest.add("rtrb: push, stamped", move || push(|| record(stamp.now_ns())));
    contest.add("rtrb: push", move || push(|| record(black_box(7))));
    contest.add("tracing: event to a counting layer", traced);
    vec![contest]
}

fn ours(
    mut emit: impl FnMut(&mut panther_events::emit::Emitter, panther_events::event::Symbol, &Hop),
) -> Duration {
    let options = PipelineOptions {
        topology: Topology::Inline,
        ring_capacity: BLOCK as usize,
        ..PipelineOptions::default()
    };
    let pipeline = Plan::new(options).builder.start().unwrap();
    let mut emitter = pipeline.emitter("bench").unwrap();
    let (entity, hop) = Stream::new().numbered(1);
    let mut time = Duration::ZERO;
    for _ in 0..BLOCKS {
        let start = Instant::now();
        emit(&mut emitter, entity, &hop);
        time += start.elapsed();
        while pipeline.poll() > 0 {}
    }
    drop(emitter);
    let account = pipeline.shutdown().account;
    assert_eq!((account.unique, account.duplicates), (1, BLOCK * BLOCKS - 1));
    time
}

fn push(record: impl Fn() -> Record) -> Duration {
    let (mut producer, mut consumer) = rtrb::RingBuffer::<Record>::new(BLOCK as usize);
    let (mut time, mut taken) = (Duration::ZERO, 0);
    for _ in 0..BLOCKS {
        let start = Instant::now();
        for _ in 0..BLOCK {
            producer.push(record()).unwrap();
        }
        time += start.elapsed();
        let chunk = consumer.read_chunk(BLOCK as usize).unwrap();
        taken += chunk.as_slices().0.len() as u64;
        chunk.commit_all();
    }
    assert_eq!(taken, BLOCK * BLOCKS);
    time
}

struct Counting(Arc<AtomicU64>);

impl<S: tracing::Subscriber> Layer<S> for Counting {
    fn on_event(&self, _: &tracing::Event<'_>, _: Context<'_, S>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

fn traced() -> Duration {
    let count = Arc::new(AtomicU64::new(0));
    let subscriber = tracing_subscriber::registry().with(Counting(Arc::clone(&count)));
    let (entity, hop) = Stream::new().numbered(1);
    let time = tracing::subscriber::with_default(subscriber, || {
        let start = Instant::now();
        for _ in 0..BLOCK * BLOCKS {
            let (entity, hop) = (black_box(entity), black_box(&hop));
            tracing::info!(
                entity = entity.bits(),
                number = hop.number,
                delay_ns = hop.delay_ns,
                size_bytes = hop.size_bytes,
                phase = hop.phase
            );
        }
        start.elapsed()
    });
    assert_eq!(count.load(Ordering::Relaxed), BLOCK * BLOCKS);
    time
}
