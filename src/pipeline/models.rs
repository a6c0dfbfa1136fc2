//! Models of every hand-over between the pipeline's threads: whole pipelines, as they are used, in every order of steps up
//! to a number of preemptions. Threads sleep at once and for ever (no time passes in a model), so a wake-up that is lost
//! is a deadlock, which loom reports.
//!
//! `RUSTFLAGS="--cfg loom" cargo test --lib models`

use super::*;
use crate::clock::Clock;
use crate::dedup::DedupOptions;
use crate::domain::{DomainDef, KindDef};
use crate::emit::EmitStats;
use crate::event::Shared;
use crate::event::{Domain, EventKind, Identity, Symbol};
use crate::observe::{Batch, Interest, Observer, Report, Undelivered};
use crate::sync;
use crate::sync::thread::{self, JoinHandle};
use std::time::Duration;

crate::payload! {
    /// A sample.
    pub(crate) struct Sample [EventKind::new(Domain::FIRST_USER, 0)] {
        value: u64,
    }
}

const LAB: DomainDef = DomainDef {
    domain: Domain::FIRST_USER,
    name: Shared::Static("lab"),
    kinds: Shared::Static(&[KindDef::of::<Sample>("sample", Identity::Occurrence)]),
    states: None,
};

/// The least that a ring holds.
const RING: usize = 64;

const STAGED: Topology = Topology::Staged { dedup: 1, workers: 1 };

/// Runs `run` in all orders of steps with at most so many preemptions.
fn model(preemptions: usize, run: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.max_branches = 20_000;
    let run = Arc::new(run);
    builder.check(move || {
        let run = Arc::clone(&run);
        // Loom's first thread has too small a stack.
        sync::spawn("owner".to_owned(), move || run()).unwrap().join().unwrap();
    });
}

#[derive(Default, Clone, PartialEq, Eq, Debug)]
struct Count(u64);

impl Observer for Count {
    type Report = Count;

    fn interest(&self) -> Interest {
        Interest::ALL
    }

    fn observe(&mut self, batch: &Batch<'_>) -> Result<(), Undelivered> {
        self.0 += batch.records.len() as u64;
        Ok(())
    }

    fn report(&self) -> Count {
        self.clone()
    }
}

impl Report for Count {
    fn merge(&mut self, other: Count) {
        self.0 += other.0;
    }
}

fn start(topology: Topology) -> (Pipeline, ReportKey<Count>) {
    let mut builder = Builder::new(PipelineOptions {
        topology,
        wait: WaitStrategy::Park,
        ring_capacity: RING,
        full_policy: FullPolicy::Block { timeout: Duration::from_secs(3600) },
        dedup: DedupOptions { expected_ids: 64, ..DedupOptions::default() },
        clock: Clock::manual(1).0,
        ..PipelineOptions::default()
    });
    builder.domain(&LAB);
    let key = builder.observer("count", |_| Count::default());
    (builder.start().unwrap(), key)
}

fn emit(emitter: &mut Emitter, value: u64) -> bool {
    emitter.emit(Symbol::NONE, &Sample { value }).is_ok()
}

fn emit_many(emitter: &mut Emitter, n: usize) -> EmitStats {
    emitter.emit_batch((0..n as u64).map(|value| (Symbol::NONE, Sample { value })))
}

/// Emits on a thread of its own, and returns how many were accepted.
fn emit_elsewhere(handle: &Handle, n: u64) -> JoinHandle<u64> {
    let handle = handle.clone();
    let run = move || {
        // It may be closed already.
        let Ok(mut emitter) = handle.emitter("elsewhere") else { return 0 };
        (0..n).map(|value| u64::from(emit(&mut emitter, value))).sum()
    };
    sync::spawn("emitter".to_owned(), run).unwrap()
}

/// What was accepted was handled, all of it and nothing else, by what the last snapshot says.
fn check(last: &Snapshot, key: ReportKey<Count>, accepted: u64) {
    assert_eq!(
        (last.account.accepted, last.account.unique, last.account.duplicates),
        (accepted, accepted, 0)
    );
    assert_eq!(last.account.check_final(), Ok(()));
    assert_eq!(last.report(key), Some(&Count(accepted)));
    assert!(last.warnings.is_empty(), "{:?}", last.warnings);
}

#[test]
fn what_is_accepted_while_a_pipeline_closes_is_delivered() {
    model(2, || {
        let (pipeline, key) = start(Topology::Fused);
        let emitter = emit_elsewhere(&pipeline.handle(), 1);
        let last = pipeline.shutdown();
        check(&last, key, emitter.join().unwrap());
    });
}

#[test]
fn what_is_accepted_while_a_staged_pipeline_closes_is_delivered() {
    model(1, || {
        let (pipeline, key) = start(STAGED);
        let emitter = emit_elsewhere(&pipeline.handle(), 1);
        let last = pipeline.shutdown();
        check(&last, key, emitter.join().unwrap());
    });
}

/// Waits without a step that could wake a shard. Waiting for ever shows as too many branches.
fn wait_until_unique(pipeline: &Pipeline, n: u64) {
    while pipeline.shared.verdicts().0 < n {
        thread::yield_now();
    }
}

/// Nobody closes, asks or emits anything that would wake a shard that has missed a wake-up.
#[test]
fn each_event_alone_wakes_the_shard() {
    model(2, || {
        let (pipeline, key) = start(Topology::Fused);
        let mut emitter = pipeline.emitter("one").unwrap();
        for n in 1..=2 {
            assert!(emit(&mut emitter, n));
            wait_until_unique(&pipeline, n);
        }
        drop(emitter);
        check(&pipeline.shutdown(), key, 2);
    });
}

#[test]
fn each_event_alone_wakes_the_worker() {
    model(1, || {
        let (pipeline, key) = start(STAGED);
        let mut emitter = pipeline.emitter("one").unwrap();
        assert!(emit(&mut emitter, 1));
        while pipeline.shared.workers[0].taken.load(Ordering::Acquire) < 1 {
            thread::yield_now();
        }
        drop(emitter);
        check(&pipeline.shutdown(), key, 1);
    });
}

#[test]
fn an_event_that_had_to_wait_for_room_wakes_the_shard() {
    model(1, || {
        let (pipeline, key) = start(Topology::Fused);
        let mut emitter = pipeline.emitter("one").unwrap();
        assert_eq!(emit_many(&mut emitter, RING).accepted, RING as u64);
        assert!(emit(&mut emitter, 64));
        wait_until_unique(&pipeline, RING as u64 + 1);
        drop(emitter);
        check(&pipeline.shutdown(), key, RING as u64 + 1);
    });
}

#[test]
fn each_command_is_carried_out_once() {
    for topology in [Topology::Fused, STAGED] {
        model(1, move || {
            let (pipeline, key) = start(topology);
            let pipeline = Arc::new(pipeline);
            let twin = Arc::clone(&pipeline);
            let other = sync::spawn("other".to_owned(), move || {
                assert_eq!(twin.drain(Duration::ZERO), Ok(()));
            });
            assert!(pipeline.snapshot().report(key).is_some());
            other.unwrap().join().unwrap();
            let pipeline = Arc::into_inner(pipeline).unwrap();
            check(&pipeline.shutdown(), key, 0);
        });
    }
}

#[test]
fn what_was_accepted_before_a_drain_is_handled_after_it() {
    for topology in [Topology::Fused, STAGED] {
        model(1, move || {
            let (pipeline, key) = start(topology);
            let mut emitter = pipeline.emitter("one").unwrap();
            assert!(emit(&mut emitter, 0));
            assert_eq!(pipeline.drain(Duration::ZERO), Ok(()));
            // By the counts, and not by a snapshot: before a thread answers, it takes what is in its rings.
            assert_eq!(pipeline.shared.verdicts(), (1, 0));
            assert!(pipeline.shared.workers.iter().all(|shared| shared.taken.load(Ordering::Acquire) == 1));
            drop(emitter);
            check(&pipeline.shutdown(), key, 1);
        });
    }
}

#[test]
fn an_observer_that_comes_and_goes_sees_what_is_emitted_meanwhile() {
    model(1, || {
        let (pipeline, key) = start(Topology::Fused);
        let late = pipeline.add_observer("late", |_| Count::default()).unwrap();
        let mut emitter = pipeline.emitter("one").unwrap();
        assert!(emit(&mut emitter, 0));
        assert_eq!(pipeline.drain(Duration::ZERO), Ok(()));
        assert_eq!(pipeline.remove_observer(late), Ok(Count(1)));
        drop(emitter);
        check(&pipeline.shutdown(), key, 1);
    });
}
