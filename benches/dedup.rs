//! The deduplication at sizes that a benchmark can repeat; `dedup_scale` measures the large ones.
#![allow(clippy::unwrap_used, reason = "a measurement may fail")]

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use panther_events::dedup::{BATCH, Dedup, DedupOptions, Verdict, Window};
use panther_events::event::{Domain, EventKind, Field, FieldType, Identity, Payload, Record, Shared, Symbol};

#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
struct Number(u64);

impl Payload for Number {
    const KIND: EventKind = EventKind::new(Domain::PACKET, 1);
    const FIELDS: &'static [Field] =
        &[Field { name: Shared::Static("number"), ty: FieldType::U64, offset: 0 }];
}

fn records(numbers: std::ops::Range<u64>) -> Vec<Record> {
    numbers.map(|i| Record::new(Identity::Content, i, Symbol::from_bits(i), &Number(i))).collect()
}

/// Checks all records and returns how many were new.
fn check(dedup: &mut Dedup, records: &mut [Record]) -> u64 {
    let mut verdicts = [Verdict::New; BATCH];
    records.chunks_mut(BATCH).map(|batch| u64::from(dedup.check(batch, &mut verdicts).count_ones())).sum()
}

fn options(first_sightings: bool, expected_ids: usize) -> DedupOptions {
    DedupOptions { first_sightings, expected_ids, ..DedupOptions::default() }
}

fn dedup(criterion: &mut Criterion) {
    for size in [10_000u64, 1_000_000] {
        let mut group = criterion.benchmark_group(format!("dedup/{size}"));
        group.throughput(Throughput::Elements(size)).sample_size(10);
        let fresh = records(0..size);
        for sightings in [false, true] {
            let name = if sightings { "with sightings" } else { "ids alone" };
            for (case, expected) in [("new, presized", size as usize), ("new, growing", 0)] {
                group.bench_function(BenchmarkId::new(case, name), |bencher| {
                    let setup = || (Dedup::new(&options(sightings, expected)).unwrap(), fresh.clone());
                    let routine = |(dedup, records): &mut (Dedup, Vec<Record>)| {
                        assert_eq!(check(dedup, records), size);
                    };
                    bencher.iter_batched_ref(setup, routine, BatchSize::PerIteration);
                });
            }
            group.bench_function(BenchmarkId::new("known", name), |bencher| {
                let mut dedup = Dedup::new(&options(sightings, size as usize)).unwrap();
                assert_eq!(check(&mut dedup, &mut fresh.clone()), size);
                let routine = |records: &mut Vec<Record>| assert_eq!(check(&mut dedup, records), 0);
                bencher.iter_batched_ref(|| fresh.clone(), routine, BatchSize::PerIteration);
            });
        }
        group.bench_function("window of a tenth", |bencher| {
            let window =
                DedupOptions { window: Window::Last(size / 10), ..options(true, size as usize / 10) };
            let mut dedup = Dedup::new(&window).unwrap();
            let mut next = 0;
            let setup = || {
                next += size;
                records(next - size..next)
            };
            let routine = |records: &mut Vec<Record>| assert_eq!(check(&mut dedup, records), size);
            bencher.iter_batched_ref(setup, routine, BatchSize::PerIteration);
        });
        group.finish();
    }
}

criterion_group!(benches, dedup);
criterion_main!(benches);
