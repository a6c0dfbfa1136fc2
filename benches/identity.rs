//! How long the id of a record takes, one after another and beside the general hash function.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a bench checks its result and prints it"
)]

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use panther_events::event::{
    Domain, EventId, EventKind, Field, FieldType, Identity, Payload, Record, Symbol,
};
use std::hint::black_box;

const COUNT: usize = 1024;

#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
struct Number(u64);

impl Payload for Number {
    const KIND: EventKind = EventKind::new(Domain::PACKET, 1);
    const FIELDS: &'static [Field] = &[Field { name: "number", ty: FieldType::U64, offset: 0 }];
}

fn records(identity: impl Fn(u64) -> Identity) -> Vec<Record> {
    let record = |i: u64| Record::new(identity(i), i, Symbol::from_bits(i), &Number(i)).numbered(1, i as u32);
    (0..COUNT as u64).map(record).collect()
}

fn identity(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("identity");
    group.throughput(Throughput::Elements(COUNT as u64));
    let sets = [
        ("occurrence", records(|_| Identity::Occurrence)),
        ("content", records(|_| Identity::Content)),
        // No pattern that a branch predictor could learn.
        (
            "mixed",
            records(|i| {
                if i.wrapping_mul(0x9e37_79b9) >> 16 & 1 == 0 {
                    Identity::Content
                } else {
                    Identity::Occurrence
                }
            }),
        ),
    ];
    for (name, records) in &sets {
        for record in records.iter().filter(|record| record.identity() == Some(Identity::Occurrence)) {
            assert_eq!(
                record.id(),
                EventId::digest(&bytemuck::bytes_of(record)[24..]),
                "wrong before it is timed"
            );
        }
        let mut filled = records.clone();
        Record::fill_ids(&mut filled);
        assert!(filled.iter().zip(records).all(|(filled, record)| filled.id() == record.id()));
        group.bench_with_input(BenchmarkId::new("64 ids at once", name), records, |bencher, records| {
            let again = || records.clone();
            let fill = |records: &mut Vec<Record>| records.chunks_mut(64).for_each(Record::fill_ids);
            bencher.iter_batched_ref(again, fill, BatchSize::SmallInput);
        });
        group.bench_with_input(BenchmarkId::new("id", name), records, |bencher, records| {
            bencher.iter(|| records.iter().fold(0, |sum: u128, record| sum ^ black_box(record).id().bits()));
        });
    }
    let (_, records) = &sets[0];
    group.bench_function("general hash of 40 bytes", |bencher| {
        bencher.iter(|| {
            let id = |record: &Record| EventId::digest(&bytemuck::bytes_of(record)[24..]).bits();
            records.iter().fold(0, |sum: u128, record| sum ^ id(black_box(record)))
        });
    });
    group.finish();
}

criterion_group!(benches, identity);
criterion_main!(benches);
