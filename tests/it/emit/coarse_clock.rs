//! Promise: a pipeline turns its coarse clock while it runs, and no longer; stamps are never ahead of the time, and the
//! time never goes back.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests are tests")]

use panther_events::Shared;
use panther_events::clock::Clock;
use panther_events::domain::{DomainDef, KindDef};
use panther_events::event::{Domain, EventKind, Identity, Record, Symbol};
use panther_events::observe::{Batch, Interest, Observer, Report, Undelivered};
use panther_events::pipeline::{Builder, PipelineOptions, StartError, Topology};
use std::time::{Duration, Instant};

panther_events::payload! {
    /// A tick.
    struct Tick [EventKind::new(Domain::FIRST_USER, 0)] { number: u64 }
}

const LAB: DomainDef = DomainDef {
    domain: Domain::FIRST_USER,
    name: Shared::Static("lab"),
    kinds: Shared::Static(&[KindDef::of::<Tick>("tick", Identity::Content)]),
    states: None,
};

const RESOLUTION: Duration = Duration::from_millis(1);

#[derive(Default, Clone)]
struct Times(Vec<u64>);

impl Observer for Times {
    type Report = Times;

    fn interest(&self) -> Interest {
        Interest::ALL
    }

    fn observe(&mut self, batch: &Batch<'_>) -> Result<(), Undelivered> {
        self.0.extend(batch.iter().map(|(record, _): (&Record, _)| record.time_ns()));
        Ok(())
    }

    fn report(&self) -> Times {
        self.clone()
    }
}

impl Report for Times {
    fn merge(&mut self, other: Times) {
        self.0.extend(other.0);
    }
}

fn options(topology: Topology, clock: &Clock) -> PipelineOptions {
    PipelineOptions { topology, clock: clock.clone(), ..PipelineOptions::default() }
}

/// Waits until so many threads of this process turn a clock: a thread takes its name after it has started, and is listed
/// for a moment after its end.
fn wait_for_turning(threads: usize) {
    let turning = || {
        let tasks = std::fs::read_dir("/proc/self/task").ok()?;
        let names = tasks.filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("comm")).ok());
        Some(names.filter(|name| name.trim() == "pe-clock").count())
    };
    let start = Instant::now();
    // Where the system does not tell there is nothing to wait for.
    while turning().is_some_and(|found| found != threads) {
        assert!(start.elapsed() < Duration::from_secs(10), "{:?} threads turn the clock", turning());
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// One test, because the threads of others would be counted.
#[test]
fn a_pipeline_turns_its_clock_from_its_start_to_its_end() {
    for topology in [Topology::Fused, Topology::Staged { dedup: 1, workers: 1 }] {
        let (clock, exact) = (Clock::coarse(RESOLUTION), Clock::cycles());
        let stands = || {
            // While it is turned, most pairs of readings are of one turn; a counter moves between any two.
            (0..1000).filter(|_| clock.now_ns() == clock.now_ns()).count() > 500
        };
        assert!(!stands(), "nobody turns it yet");
        let mut builder = Builder::new(options(topology, &clock));
        builder.domain(&LAB);
        let key = builder.observer("times", |_| Times::default());
        let pipeline = builder.start().unwrap();
        wait_for_turning(1);
        // The thread may have slept, because nobody asked. It looks again soon.
        let asking = Instant::now();
        while !stands() {
            assert!(asking.elapsed() < Duration::from_secs(10), "nobody turns it, though it is asked for");
        }
        let mut emitter = pipeline.emitter("test").unwrap();
        let start = Instant::now();
        let (mut number, mut turns, mut last_ns) = (0, 0, 0);
        // Longer where the thread that turns it gets no core.
        while start.elapsed() < Duration::from_millis(200) || turns <= 10 {
            assert!(start.elapsed() < Duration::from_secs(30), "{turns} turns");
            emitter.emit(Symbol::of("clock"), &Tick { number }).unwrap();
            number += 1;
            let now_ns = clock.now_ns();
            turns += u64::from(std::mem::replace(&mut last_ns, now_ns) != now_ns);
        }
        let end_ns = exact.now_ns();
        drop(emitter);
        // With nobody who asks, it is not turned for nobody.
        std::thread::sleep(Duration::from_millis(200));
        let (exact_before, told, exact_after) = (exact.now_ns(), clock.now_ns(), exact.now_ns());
        let slack_ns = 20_000_000;
        assert!((exact_before - slack_ns..exact_after + slack_ns).contains(&told), "an old time is told");
        let snapshot = pipeline.shutdown();
        assert!(!stands(), "nobody turns it any more");
        wait_for_turning(0);
        let times = &snapshot.report(key).unwrap().0;
        assert_eq!(times.len() as u64, number);
        assert!(times.is_sorted());
        // Both clocks took the wall clock's time when they were made, one after the other: allow for its corrections.
        let slack_ns = 2_000_000;
        assert!(*times.last().unwrap() <= end_ns + slack_ns, "a stamp is ahead of the time");
        let turns = times.chunk_by(|a, b| a == b).count();
        assert!(turns >= 10, "{turns} turns");
        assert!(clock.now_ns() >= *times.last().unwrap());
    }
    // Nobody is there who could turn it.
    let clock = Clock::coarse(RESOLUTION);
    let pipeline = Builder::new(options(Topology::Inline, &clock)).start().unwrap();
    let before = clock.now_ns();
    std::thread::sleep(RESOLUTION / 10);
    assert!(clock.now_ns() >= before + 100_000);
    drop(pipeline);
}

#[test]
fn resolutions_that_nobody_can_mean_are_refused() {
    for resolution in [Duration::ZERO, Duration::from_micros(99), Duration::from_secs(2), Duration::MAX] {
        let refused = Builder::new(options(Topology::Fused, &Clock::coarse(resolution))).start();
        let Err(StartError::Option { option, .. }) = refused else { panic!("{resolution:?} was taken") };
        assert_eq!(option, "clock.resolution_ns");
    }
    assert_eq!(Clock::coarse(RESOLUTION).resolution(), Some(RESOLUTION));
    assert_eq!(Clock::cycles().resolution(), None);
}
