//! Sweeps over what a pipeline lets one choose, so that the defaults can be checked on other machines.
//!
//! `cargo bench --bench sweep -- [ring] [batch] [wait] [topology] [emitters] [--rounds N] [--ids N]`; all when none is named. The
//! figures are medians; the settings of a sweep are run in turn, round by round, and each result is checked.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a bench checks its result and prints it"
)]

mod support;

use panther_events::pipeline::{PipelineOptions, Topology, WaitStrategy};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use support::{Keys, Plan, Stream, Way, events, expected, options, run_pipeline, sum_of, whole};

struct Setting {
    name: String,
    run: Box<dyn FnMut() -> Duration>,
}

fn setting(name: impl Into<String>, run: impl FnMut() -> Duration + 'static) -> Setting {
    Setting { name: name.into(), run: Box::new(run) }
}

fn sweep(title: &str, events: u64, rounds: usize, mut settings: Vec<Setting>) {
    let mut times = vec![Vec::new(); settings.len()];
    for round in 0..=rounds {
        for (setting, times) in settings.iter_mut().zip(&mut times) {
            let time = (setting.run)().as_secs_f64();
            if round > 0 {
                times.push(time);
            }
        }
    }
    println!("\n{title}, {events} events, {rounds} rounds");
    println!("{:>32} {:>10} {:>10} {:>10}", "", "median M/s", "least", "most");
    for (setting, mut times) in settings.into_iter().zip(times) {
        times.sort_by(f64::total_cmp);
        let rate = |time: f64| events as f64 / time / 1e6;
        let (first, middle, last) = (times[0], times[times.len() / 2], times[times.len() - 1]);
        println!("{:>32} {:>10.2} {:>10.2} {:>10.2}", setting.name, rate(middle), rate(last), rate(first));
    }
}

fn checked(ids: u64, change: impl Fn(&mut PipelineOptions) + 'static, way: Way) -> impl FnMut() -> Duration {
    let expected = expected(ids);
    move || {
        let mut options = options(ids);
        change(&mut options);
        let (time, sum) = run_pipeline(ids, options, way);
        assert_eq!(sum, expected);
        time
    }
}

/// Where choices are swept: they may differ with the number of rings on the way.
const WHERE: [Topology; 2] = [Topology::Fused, Topology::Staged { dedup: 1, workers: 1 }];

fn rings(ids: u64, rounds: usize) {
    let sizes = [256, 1024, 4096, 16_384, 65_536];
    for topology in WHERE {
        for (name, way) in [("emit", Way::Single), ("emit_batch of 64", Way::Batch(64))] {
            let of = |capacity| {
                let change = move |options: &mut PipelineOptions| {
                    (options.topology, options.ring_capacity) = (topology, capacity);
                };
                setting(format!("ring of {capacity}"), checked(ids, change, way))
            };
            sweep(&format!("ring sizes, {topology}, {name}"), events(ids), rounds, sizes.map(of).into());
        }
    }
}

fn batches(ids: u64, rounds: usize) {
    for topology in WHERE {
        let of = |size| {
            let change = move |options: &mut PipelineOptions| options.topology = topology;
            setting(format!("emit_batch of {size}"), checked(ids, change, Way::Batch(size)))
        };
        let title = format!("emit_batch, {topology}");
        sweep(&title, events(ids), rounds, [1, 4, 16, 64, 256, 1024].map(of).into());
    }
}

fn waits(ids: u64, rounds: usize) {
    for topology in WHERE {
        let of = |wait| {
            let change =
                move |options: &mut PipelineOptions| (options.topology, options.wait) = (topology, wait);
            setting(format!("{wait:?}"), checked(ids, change, Way::Single))
        };
        let strategies = [WaitStrategy::Adaptive, WaitStrategy::Spin, WaitStrategy::Park];
        let title = format!("wait strategies, {topology}");
        sweep(&title, events(ids), rounds, strategies.map(of).into());
    }
}

fn topologies(ids: u64, rounds: usize) {
    let of = |topology: Topology| {
        setting(topology.to_string(), checked(ids, move |options| options.topology = topology, Way::Single))
    };
    let staged = |dedup, workers| Topology::Staged { dedup, workers };
    let topologies =
        [Topology::Inline, Topology::Fused, staged(1, 1), staged(1, 2), staged(2, 2), staged(4, 4)];
    sweep("topologies, more threads than cores too", events(ids), rounds, topologies.map(of).into());
}

/// The stream shared out over threads that block: nothing may be lost.
fn run_emitters(ids: u64, topology: Topology, emitters: u64) -> Duration {
    let plan = Plan::new(PipelineOptions { topology, ..options(ids) });
    let (keys, progress): (Keys, _) = (plan.keys(), plan.progress.clone());
    let pipeline = plan.builder.start().unwrap();
    let handle = pipeline.handle();
    let start = Instant::now();
    std::thread::scope(|scope| {
        for nth in 0..emitters {
            let mut emitter = handle.emitter("bench").unwrap();
            scope.spawn(move || {
                let stream = Stream::new();
                for place in (nth..events(ids)).step_by(emitters as usize) {
                    let (entity, hop) = stream.event(place);
                    emitter.emit(entity, &hop).unwrap();
                }
            });
        }
    });
    while progress.load(Ordering::Acquire) < ids {
        std::thread::yield_now();
    }
    let time = start.elapsed();
    let sum = sum_of(&pipeline.shutdown(), keys);
    // The order of one entity's events over threads is anyone's guess, and with it its state; all else is not.
    let expected = expected(ids);
    assert_eq!(
        (sum.unique, sum.duplicates, sum.counted, sum.delay_sum, sum.size_sum, sum.quantiles),
        (
            expected.unique,
            expected.duplicates,
            expected.counted,
            expected.delay_sum,
            expected.size_sum,
            expected.quantiles
        )
    );
    assert_eq!(sum.applied + sum.refused, ids);
    time
}

fn emitters(ids: u64, rounds: usize) {
    for topology in WHERE {
        let of =
            |emitters| setting(format!("{emitters} emitters"), move || run_emitters(ids, topology, emitters));
        let title = format!("emitter threads under Block, {topology}, none lost");
        sweep(&title, events(ids), rounds, [1, 2, 4, 16, 64].map(of).into());
    }
}

/// A part of the sweep: events and rounds.
type Part = fn(u64, usize);

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let value = |name: &str| {
        let at = arguments.iter().position(|argument| argument == name)?;
        arguments.get(at + 1)?.parse::<u64>().ok()
    };
    let rounds = value("--rounds").unwrap_or(5) as usize;
    let ids = whole(value("--ids").unwrap_or(500_000));
    let parts: [(&str, Part); 5] = [
        ("ring", rings),
        ("batch", batches),
        ("wait", waits),
        ("topology", topologies),
        ("emitters", emitters),
    ];
    let chosen = |name: &str| arguments.iter().any(|argument| argument == name);
    let all = !parts.iter().any(|(name, _)| chosen(name));
    for (name, part) in parts {
        if all || chosen(name) {
            part(ids, rounds);
        }
    }
}
