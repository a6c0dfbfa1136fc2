//! The whole way of an event: emit, ring, dedup, state machines, two histograms and a counter.
//!
//! A run begins with the first emit and ends when the last event has been through everything; the pipeline is
//! started before. What each run found is compared with what [`support::expected`] says.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a bench checks its result and prints it"
)]

mod support;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use panther_events::pipeline::{PipelineOptions, Topology, WaitStrategy};
use std::time::Duration;
use support::{Way, events, expected, options, run_pipeline, whole};

fn pipeline(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("pipeline");
    group.sample_size(10).measurement_time(Duration::from_secs(5));
    let topologies = [Topology::Inline, Topology::Fused, Topology::Staged { dedup: 1, workers: 1 }];
    for (million, ids) in [(1, whole(1_000_000)), (20, whole(20_000_000))] {
        let expected = expected(ids);
        group.throughput(Throughput::Elements(events(ids)));
        for topology in topologies {
            for (name, way) in [("emit", Way::Single), ("emit_batch of 64", Way::Batch(64))] {
                if million == 20 && topology != Topology::Fused {
                    continue;
                }
                group.bench_function(format!("{topology}, {name}, {million} M ids"), |bencher| {
                    bencher.iter_custom(|rounds| {
                        let mut time = Duration::ZERO;
                        for _ in 0..rounds {
                            let options =
                                PipelineOptions { topology, wait: WaitStrategy::Adaptive, ..options(ids) };
                            let (elapsed, sum) = run_pipeline(ids, options, way);
                            assert_eq!(sum, expected);
                            time += elapsed;
                        }
                        time
                    });
                });
            }
        }
    }
    group.finish();
}

criterion_group!(benches, pipeline);
criterion_main!(benches);
