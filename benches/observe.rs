//! What observers cost on one batch of 64 records, and what their parts cost alone.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a bench checks its result and prints it"
)]

mod support;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use hdrhistogram::Histogram;
use panther_events::dedup::{BATCH, Verdict};
use panther_events::domain::Catalogue;
use panther_events::event::{Identity, Record};
use panther_events::observe::metrics::Metrics;
use panther_events::observe::{Batch, Observer};
use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use support::{Hop, Machines, Stream, WORK};

/// Batches that are observed in turn: 4,096 records, 256 KiB.
const BATCHES: u64 = 64;

fn observe(criterion: &mut Criterion) {
    let stream = Stream::new();
    let records: Vec<Record> = (0..BATCHES * BATCH as u64)
        .map(|number| {
            let (entity, hop) = stream.numbered(number);
            Record::new(Identity::Content, number, entity, &hop)
        })
        .collect();
    let hops: Vec<Hop> = records.iter().filter_map(Record::payload).collect();
    let verdicts = [Verdict::New; BATCH];
    let batches: Vec<Batch<'_>> =
        records.chunks(BATCH).map(|records| Batch::new(records, &verdicts, u64::MAX)).collect();
    let size_sum: u128 = hops.iter().map(|hop| u128::from(hop.size_bytes)).sum();

    let mut group = criterion.benchmark_group("observe");
    group
        .sample_size(20)
        .measurement_time(Duration::from_secs(2))
        .throughput(Throughput::Elements(records.len() as u64));

    group.bench_function("nothing: iterate", |bencher| {
        bencher.iter(|| {
            let times = black_box(&batches).iter().flat_map(|batch| batch.iter());
            let sum: u64 = times.map(|(record, _)| record.time_ns()).sum();
            assert_eq!(sum, (0..records.len() as u64).sum::<u64>());
        });
    });

    let mut catalogue = Catalogue::new();
    catalogue.register(&WORK).unwrap();
    let mut metrics = Metrics::new(&catalogue);
    let mut rounds = 0;
    group.bench_function("metrics: a counter and two histograms", |bencher| {
        bencher.iter(|| {
            for batch in black_box(&batches) {
                metrics.observe(batch).unwrap();
            }
            rounds += 1;
        });
    });
    let report = metrics.report();
    assert_eq!(report.kinds[0].new, rounds * records.len() as u64);
    assert_eq!(report.measures[1].sum, u128::from(rounds) * size_sum);
    assert_eq!(report.measures[0].histogram.len(), rounds * records.len() as u64);

    let mut histograms = [Histogram::<u64>::new(3).unwrap(), Histogram::<u64>::new(3).unwrap()];
    let mut rounds = 0;
    group.bench_function("hdrhistogram: two records alone", |bencher| {
        bencher.iter(|| {
            for hop in black_box(&hops) {
                histograms[0].record(hop.delay_ns).unwrap();
                histograms[1].record(u64::from(hop.size_bytes)).unwrap();
            }
            rounds += 1;
        });
    });
    assert_eq!(histograms[1].len(), rounds * records.len() as u64);

    let progress = Arc::new(AtomicU64::new(0));
    let mut machines = Machines::new(Arc::clone(&progress));
    let mut rounds = 0;
    group.bench_function("machines: 1,000 entities", |bencher| {
        bencher.iter(|| {
            for batch in black_box(&batches) {
                machines.observe(batch).unwrap();
            }
            rounds += 1;
        });
    });
    assert_eq!(progress.load(Ordering::Acquire), rounds * records.len() as u64);
    group.finish();
}

criterion_group!(benches, observe);
criterion_main!(benches);
