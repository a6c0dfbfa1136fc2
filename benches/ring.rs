//! What passing records from one thread to another costs, by ring size and by how many are passed at once.
//!
//! The consumer adds up the numbers of all records, and the sum is checked in every round.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a bench checks its result and prints it"
)]

mod support;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use panther_events::event::{Identity, Record};
use std::time::{Duration, Instant};
use support::{Stream, on_first_core, pin_to_last_core};

const COUNT: u64 = 1 << 20;

/// Passes [`COUNT`] records; `push` and `pop` say how many at once.
fn pass(capacity: usize, push: usize, pop: usize) -> Duration {
    let (mut producer, mut consumer) = rtrb::RingBuffer::<Record>::new(capacity);
    let (entity, hop) = Stream::new().numbered(1);
    let start = Instant::now();
    let sum: u64 = std::thread::scope(|scope| {
        let taken = scope.spawn(move || {
            pin_to_last_core();
            let (mut sum, mut left) = (0, COUNT);
            while left > 0 {
                let ready = consumer.slots().min(pop);
                let Ok(chunk) = consumer.read_chunk(ready) else { continue };
                if ready == 0 {
                    std::hint::spin_loop();
                }
                let (front, back) = chunk.as_slices();
                sum += front.iter().chain(back).map(Record::time_ns).sum::<u64>();
                chunk.commit_all();
                left -= ready as u64;
            }
            sum
        });
        on_first_core(|| {
            let record = |number| Record::new(Identity::Content, number, entity, &hop);
            let mut number = 0;
            while number < COUNT {
                if push == 1 {
                    match producer.push(record(number)) {
                        Ok(()) => number += 1,
                        Err(_) => std::hint::spin_loop(),
                    }
                    continue;
                }
                let room = producer.slots().min(push).min((COUNT - number) as usize);
                let Ok(chunk) = producer.write_chunk_uninit(room) else { continue };
                number += chunk.fill_from_iter((number..).map(record)) as u64;
            }
        });
        taken.join().unwrap()
    });
    let time = start.elapsed();
    assert_eq!(sum, COUNT * (COUNT - 1) / 2);
    time
}

fn ring(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("ring");
    group.sample_size(10).measurement_time(Duration::from_secs(2)).throughput(Throughput::Elements(COUNT));
    for capacity in [256, 1024, 4096, 16_384, 65_536] {
        for (push, pop) in [(1, 1), (1, 64), (64, 64)] {
            let name = format!("push {push}, pop {pop}");
            group.bench_with_input(BenchmarkId::new(name, capacity), &capacity, |bencher, &capacity| {
                bencher.iter_custom(|rounds| (0..rounds).map(|_| pass(capacity, push, pop)).sum());
            });
        }
    }
    group.finish();
}

criterion_group!(benches, ring);
criterion_main!(benches);
