//! How long the id of a record takes, one after another and beside the general hash function; and how long a name takes, by
//! how many there are.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a bench checks its result and prints it"
)]

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use panther_events::event::{
    Domain, EventId, EventKind, Field, FieldType, Identity, Origin, Payload, Record, Shared, Symbol, Symbols,
};
use std::hint::black_box;

const ORIGIN: Origin = Origin::from_bits(7);
const COUNT: usize = 1024;

#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
struct Number(u64);

impl Payload for Number {
    const KIND: EventKind = EventKind::new(Domain::PACKET, 1);
    const FIELDS: &'static [Field] =
        &[Field { name: Shared::Static("number"), ty: FieldType::U64, offset: 0 }];
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
            let hashed = [&ORIGIN.bits().to_le_bytes()[..], &bytemuck::bytes_of(record)[24..]].concat();
            assert_eq!(record.id_in(ORIGIN), EventId::digest(&hashed), "wrong before it is timed");
        }
        let mut filled = records.clone();
        Record::fill_ids(&mut filled, ORIGIN);
        assert!(filled.iter().zip(records).all(|(filled, record)| filled.id() == Some(record.id_in(ORIGIN))));
        group.bench_with_input(BenchmarkId::new("64 ids at once", name), records, |bencher, records| {
            let again = || records.clone();
            let fill = |records: &mut Vec<Record>| {
                records.chunks_mut(64).for_each(|batch| Record::fill_ids(batch, ORIGIN))
            };
            bencher.iter_batched_ref(again, fill, BatchSize::SmallInput);
        });
        group.bench_with_input(BenchmarkId::new("id", name), records, |bencher, records| {
            bencher.iter(|| {
                records.iter().fold(0, |sum: u128, record| sum ^ black_box(record).id_in(ORIGIN).bits())
            });
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

fn symbols(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("symbols");
    for count in [1_000, 100_000] {
        let names: Vec<String> = (0..count).map(|n| format!("entity-{n}")).collect();
        let put_in = || {
            let symbols = Symbols::new();
            for name in &names {
                symbols.intern(name).unwrap();
            }
            symbols
        };
        let full = put_in();
        let keys: Vec<Symbol> = names.iter().map(|name| Symbol::of(name)).collect();
        assert!(keys.iter().zip(&names).all(|(key, name)| full.name(*key).as_deref() == Some(name)));
        group.throughput(Throughput::Elements(count));
        group.bench_function(BenchmarkId::new("new", count), |bencher| {
            bencher.iter_with_large_drop(put_in);
        });
        group.bench_function(BenchmarkId::new("known", count), |bencher| {
            bencher.iter(|| names.iter().filter(|name| full.intern(name).is_ok()).count());
        });
        group.bench_function(BenchmarkId::new("looked up", count), |bencher| {
            bencher.iter(|| keys.iter().filter(|key| full.name(**key).is_some()).count());
        });
    }
    group.finish();
}

criterion_group!(benches, identity, symbols);
criterion_main!(benches);
