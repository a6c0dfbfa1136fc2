//! What observers cost on one batch of 64 records, and what their parts cost alone.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a bench checks its result and prints it"
)]

mod support;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use hdrhistogram::Histogram;
use panther_events::dedup::{BATCH, Verdict};
use panther_events::domain::Schema;
use panther_events::event::{Identity, Level, Record, Value};
use panther_events::observe::history::History;
use panther_events::observe::metrics::Metrics;
use panther_events::observe::results::{Results, Tally};
use panther_events::observe::{Batch, Observer};
use panther_events::pipeline::{Builder, PipelineOptions, Topology};
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

    let mut schema = Schema::new();
    schema.register(&WORK).unwrap();
    let mut metrics = Metrics::new(&schema);
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

/// A thousand tests of ten steps, each of which is told by itself and by its test.
fn results(criterion: &mut Criterion) {
    const TESTS: usize = 1000;
    let mut builder =
        Builder::new(PipelineOptions { topology: Topology::Inline, ..PipelineOptions::default() });
    let key = builder.observer("history", |_| History::new(1 << 20));
    let pipeline = builder.start().unwrap();
    let mut emitter = pipeline.emitter("runner").unwrap();
    for test in 0..TESTS {
        let name = format!("test-{test}");
        let mut emitter = emitter.within(Level::Test, &name).unwrap();
        let mut test = emitter.test(&name);
        test.created(&name, Value::Null, Default::default()).unwrap();
        test.setup_started(Value::Null, Default::default()).unwrap();
        test.setup_completed(Value::Null, Default::default()).unwrap();
        test.environment_setup_started("docker", Default::default()).unwrap();
        test.environment_setup_completed("docker", Default::default()).unwrap();
        test.deployment_started(Value::Null).unwrap();
        test.deployment_completed(Value::Null, Default::default()).unwrap();
        test.execution_started(Value::Null, Default::default()).unwrap();
        for step in 0..10 {
            let step = format!("step-{step}");
            emitter.test(&name).step_started(&step, Default::default()).unwrap();
            emitter.step(&step).execution_started(Value::Null, &step, Default::default()).unwrap();
            emitter.step(&step).execution_completed(&step, Default::default()).unwrap();
            emitter.test(&name).step_completed(&step, Default::default()).unwrap();
        }
        emitter.test(&name).teardown_started().unwrap();
        emitter.test(&name).completed(&name, Default::default()).unwrap();
        pipeline.poll();
    }
    drop(emitter);
    let snapshot = pipeline.shutdown();
    let verdicts = [Verdict::New; BATCH];
    let new = || Results::new(&snapshot.schema, &snapshot.symbols, &snapshot.contexts);
    let kinds = new().interest().kinds;
    let records = snapshot.report(key).unwrap().iter().copied();
    let records: Vec<Record> = records.filter(|record| kinds.contains(record.kind())).collect();
    assert_eq!(records.len(), TESTS * 50);
    let observed = |mut results: Results| {
        for records in records.chunks(BATCH) {
            results.observe(&Batch::new(records, &verdicts, u64::MAX)).unwrap();
        }
        results
    };
    let mut group = criterion.benchmark_group("results");
    group.sample_size(10).throughput(Throughput::Elements(records.len() as u64));
    group.bench_function("observe: 1,000 tests of 10 steps", |bencher| {
        bencher.iter_batched(new, observed, BatchSize::LargeInput);
    });
    let report = observed(new()).report();
    let passed = |tally: Tally| (tally.passed, tally.total());
    assert_eq!(passed(report.tree().tests_tally()), (TESTS as u64, TESTS as u64));
    group.bench_function("tree: 1,000 tests of 10 steps", |bencher| {
        bencher.iter(|| black_box(&report).tree().tests.len());
    });
    group.finish();
}

criterion_group!(benches, observe, results);
criterion_main!(benches);
