//! What a flight recorder costs an emission: the same events by an emitter without one and by one with, in alternating
//! rounds. `RECORDER_DIR` says where the file is; it is a temporary one without.
//!
//! First on one thread: nothing is consumed while the clock runs, and the ring's lines are in the emitter's own cache. Then
//! as pipelines are, with a consumer on another core, which takes the lines there while more are written. Every block of
//! events is counted before the next, and the recording is checked at the end.
//!
//! Where a pipeline's memory happens to lie makes an emission up to a quarter dearer, as long as the pipeline lives. So rounds
//! are shared out among pairs of pipelines that all exist at once.
//!
//! Figures are medians over the rounds, in nanoseconds an event; the ratio is the median of the rounds' ratios.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a bench checks its result and prints it"
)]

mod support;

use panther_events::emit::{Emitter, FullPolicy};
use panther_events::event::{Record, Symbol};
use panther_events::pipeline::{Pinning, Pipeline, PipelineOptions, Topology};
use panther_events::recorder::{FlightRecorder, RecorderOptions};
use std::hint::black_box;
use std::path::Path;
use std::time::{Duration, Instant};
use support::{Hop, Plan, Stream, on_first_core};

/// Events emitted between two polls; what the rings hold.
const BLOCK: usize = 2048;
const BLOCKS: usize = 200;
/// Events emitted before the clock runs.
const WAKE: usize = 64;
const PAIRS: usize = 8;
/// By each pair.
const ROUNDS: usize = 6;

struct Bench {
    pipeline: Pipeline,
    emitter: Emitter,
    topology: Topology,
}

impl Bench {
    fn new(topology: Topology, recorder: Option<&FlightRecorder>) -> Bench {
        let options = PipelineOptions {
            topology,
            pinning: Pinning::Auto,
            ring_capacity: BLOCK,
            full_policy: FullPolicy::DropNewest,
            ..PipelineOptions::default()
        };
        let mut plan = Plan::new(options);
        if let Some(recorder) = recorder {
            plan.builder.recorder(recorder);
        }
        let pipeline = plan.builder.start().unwrap();
        let emitter = pipeline.emitter("bench").unwrap();
        Bench { pipeline, emitter, topology }
    }

    /// Returns nanoseconds an event.
    fn round(&mut self, emit: &impl Fn(&mut Emitter, usize)) -> f64 {
        let (mut time, before) = (Duration::ZERO, self.emitter.sent());
        for _ in 0..BLOCKS {
            // A consumer that has just had something to do is awake.
            emit(&mut self.emitter, WAKE);
            self.drain();
            let start = Instant::now();
            emit(&mut self.emitter, BLOCK);
            time += start.elapsed();
            self.drain();
        }
        let sent = self.emitter.sent();
        assert_eq!(sent.accepted - before.accepted, (BLOCKS * (BLOCK + WAKE)) as u64);
        assert_eq!((sent.dropped_full, sent.rejected), (0, 0));
        time.as_nanos() as f64 / (BLOCKS * BLOCK) as f64
    }
}

impl Bench {
    fn drain(&self) {
        while self.topology == Topology::Inline && self.pipeline.poll() > 0 {}
        self.pipeline.drain(Duration::from_secs(10)).unwrap();
    }
}

fn main() {
    let base = std::env::var_os("RECORDER_DIR").map_or_else(std::env::temp_dir, Into::into);
    let dir = tempfile::tempdir_in(base).unwrap();
    println!("{PAIRS} pairs, {ROUNDS} rounds of {} events each, in {}", BLOCKS * BLOCK, dir.path().display());
    for (topology, consumer) in [(Topology::Inline, "the same thread"), (Topology::Fused, "another core")] {
        println!("\nconsumer on {consumer}\nslots      emission              plain  recorded  ratio");
        for slots in [256, 4096, 65_536] {
            on_first_core(|| measure(dir.path(), topology, slots));
        }
    }
}

fn measure(dir: &Path, topology: Topology, slots: usize) {
    let path = dir.join(format!("{topology:?}-{slots}"));
    let options = RecorderOptions { slots, tracks: PAIRS, ..RecorderOptions::default() };
    let recorder = FlightRecorder::create(&path, &options, 0).unwrap();
    let mut pairs: Vec<[Bench; 2]> =
        (0..PAIRS).map(|_| [Bench::new(topology, None), Bench::new(topology, Some(&recorder))]).collect();
    let (entity, hop) = Stream::new().numbered(1);
    let batch = vec![(entity, hop); 64];
    row(slots, "emit", &mut pairs, &|emitter, events| {
        for _ in 0..events {
            emitter.emit(black_box(entity), black_box(&hop)).unwrap();
        }
    });
    row(slots, "emit_at", &mut pairs, &|emitter, events| {
        for _ in 0..events {
            emitter.emit_at(7, black_box(entity), black_box(&hop)).unwrap();
        }
    });
    row(slots, "emit_batch of 64", &mut pairs, &|emitter, events| {
        for _ in 0..events / 64 {
            emitter.emit_batch(black_box(&batch).iter().copied());
        }
    });
    check(&recorder, &pairs, entity, &hop);
}

fn row(slots: usize, name: &str, pairs: &mut [[Bench; 2]], emit: &impl Fn(&mut Emitter, usize)) {
    let rounds: Vec<[f64; 2]> = pairs
        .iter_mut()
        .flat_map(|pair| (0..ROUNDS).map(|_| pair.each_mut().map(|bench| bench.round(emit))))
        .collect();
    let median = |of: fn(&[f64; 2]) -> f64| {
        let mut figures: Vec<f64> = rounds.iter().map(of).collect();
        figures.sort_by(f64::total_cmp);
        figures[figures.len() / 2]
    };
    let (plain, recorded, ratio) = (median(|[a, _]| *a), median(|[_, b]| *b), median(|[a, b]| b / a));
    println!("{slots:<10} {name:<20} {plain:>6.1} {recorded:>9.1} {ratio:>6.2}");
}

/// The last events of each emitter are there, all of them.
fn check(recorder: &FlightRecorder, pairs: &[[Bench; 2]], entity: Symbol, hop: &Hop) {
    let recording = recorder.snapshot().unwrap();
    assert_eq!(recording.tracks.len(), pairs.len());
    for (track, [_, recorded]) in recording.tracks.iter().zip(pairs) {
        assert_eq!((track.recorded, track.damaged), (recorded.emitter.sent().offered(), 0));
        assert_eq!(track.records.len() as u64 + track.overwritten, track.recorded);
        let right = |record: &&Record| {
            record.entity() == entity && record.payload::<Hop>().is_some_and(|got| got.number == hop.number)
        };
        assert!(track.records.iter().all(|record| right(&record)) && !track.records.is_empty());
    }
}
