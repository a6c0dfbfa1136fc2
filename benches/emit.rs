//! What emitting costs on the emitting thread: against the floor of one counter read and one 64-byte store, and
//! against a bare push into a ring.
//!
//! Nothing is consumed while the clock runs, and every block of events is counted after it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a bench checks its result and prints it"
)]

mod support;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use panther_events::clock::Clock;
use panther_events::emit::{Emitter, FullPolicy};
use panther_events::event::{Identity, Record, Symbol};
use panther_events::pipeline::{Pipeline, PipelineOptions, Topology};
use std::hint::black_box;
use std::time::{Duration, Instant};
use support::{Hop, Plan, Stream};

/// Events emitted between two polls; what the rings hold.
const BLOCK: u64 = 2048;

struct Inline {
    pipeline: Pipeline,
    emitter: Emitter,
}

impl Inline {
    fn new(clock: Clock) -> Inline {
        let options = PipelineOptions {
            topology: Topology::Inline,
            ring_capacity: BLOCK as usize,
            full_policy: FullPolicy::DropNewest,
            clock,
            ..PipelineOptions::default()
        };
        let pipeline = Plan::new(options).builder.start().unwrap();
        let emitter = pipeline.emitter("bench").unwrap();
        Inline { pipeline, emitter }
    }

    /// Times `emit`, which emits [`BLOCK`] events, until `count` are through.
    fn time(&mut self, count: u64, mut emit: impl FnMut(&mut Emitter)) -> Duration {
        let (mut time, before, blocks) = (Duration::ZERO, self.emitter.sent(), count.div_ceil(BLOCK));
        for _ in 0..blocks {
            let start = Instant::now();
            emit(&mut self.emitter);
            time += start.elapsed();
            let mut polled = 0;
            while polled < BLOCK as usize {
                polled += self.pipeline.poll();
            }
        }
        let sent = self.emitter.sent();
        assert_eq!(sent.accepted - before.accepted, blocks * BLOCK);
        assert_eq!((sent.dropped_full, sent.rejected), (0, 0));
        time.mul_f64(count as f64 / (blocks * BLOCK) as f64)
    }
}

fn emit(criterion: &mut Criterion) {
    let (entity, hop) = Stream::new().numbered(1);
    let record = |time_ns| Record::new(Identity::Content, time_ns, entity, &hop);
    let clock = Clock::cycles();
    let counter = quanta::Clock::new();

    let mut group = criterion.benchmark_group("emit");
    group.sample_size(20).measurement_time(Duration::from_secs(2)).throughput(Throughput::Elements(1));
    group.bench_function("floor: counter", |bencher| bencher.iter(|| counter.raw()));
    group.bench_function("floor: clock", |bencher| bencher.iter(|| clock.now_ns()));
    // A pipeline with a thread of its own turns it.
    let coarse = Clock::coarse(Duration::from_millis(1));
    let turning = PipelineOptions { clock: coarse.clone(), ..PipelineOptions::default() };
    let turning = Plan::new(turning).builder.start().unwrap();
    group.bench_function("floor: coarse clock", |bencher| bencher.iter(|| coarse.now_ns()));
    let mut lines = vec![record(0); BLOCK as usize];
    group.bench_function("floor: counter and store", |bencher| {
        bencher.iter_custom(|count| {
            let start = Instant::now();
            for at in 0..count {
                lines[(at % BLOCK) as usize] = record(counter.raw());
                black_box(&mut lines);
            }
            start.elapsed()
        });
    });
    let (mut producer, mut consumer) = rtrb::RingBuffer::<Record>::new(BLOCK as usize);
    group.bench_function("rtrb push, no stamp", |bencher| {
        bencher.iter_custom(|count| {
            let mut time = Duration::ZERO;
            let blocks = count.div_ceil(BLOCK);
            for _ in 0..blocks {
                let start = Instant::now();
                for _ in 0..BLOCK {
                    producer.push(record(black_box(7))).unwrap();
                }
                time += start.elapsed();
                let chunk = consumer.read_chunk(BLOCK as usize).unwrap();
                assert!(chunk.as_slices().0.iter().all(|got| *got == record(7)));
                chunk.commit_all();
            }
            time.mul_f64(count as f64 / (blocks * BLOCK) as f64)
        });
    });

    for (name, clock) in [("emit, coarse clock", coarse), ("emit", clock.clone())] {
        let mut inline = Inline::new(clock);
        check(&mut inline, entity, &hop);
        group.bench_function(name, |bencher| {
            bencher.iter_custom(|count| {
                inline.time(count, |emitter| {
                    for _ in 0..BLOCK {
                        emitter.emit(black_box(entity), black_box(&hop)).unwrap();
                    }
                })
            });
        });
    }
    let mut inline = Inline::new(clock);
    group.bench_function("emit_at", |bencher| {
        bencher.iter_custom(|count| {
            inline.time(count, |emitter| {
                for _ in 0..BLOCK {
                    emitter.emit_at(7, black_box(entity), black_box(&hop)).unwrap();
                }
            })
        });
    });
    for size in [1, 8, 64, BLOCK as usize] {
        group.bench_function(format!("emit_batch of {size}"), |bencher| {
            let events = vec![(entity, hop); size];
            bencher.iter_custom(|count| {
                inline.time(count, |emitter| {
                    for _ in 0..BLOCK as usize / size {
                        emitter.emit_batch(black_box(&events).iter().copied());
                    }
                })
            });
        });
    }
    drop(turning.shutdown());
    group.finish();
}

/// Every way of emitting arrives as the same event.
fn check(inline: &mut Inline, entity: Symbol, hop: &Hop) {
    inline.emitter.emit(entity, hop).unwrap();
    inline.emitter.emit_at(7, entity, hop).unwrap();
    assert_eq!(inline.emitter.emit_batch([(entity, *hop); 3]).accepted, 3);
    while inline.pipeline.poll() > 0 {}
    let account = inline.pipeline.snapshot().account;
    assert_eq!((account.offered, account.unique, account.duplicates), (5, 1, 4));
}

criterion_group!(benches, emit);
criterion_main!(benches);
