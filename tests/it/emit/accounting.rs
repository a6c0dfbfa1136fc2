//! Promise: every event is accounted for, under every topology, window and full-ring policy, with emitters that come
//! and go on more threads than cores, and with an observer that panics half-way.
//!
//! Replay a failure with `PANTHER_SEED=<the printed seed> cargo test --test it emit::accounting`.
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use crate::support::random::Rng;
use panther_events::Shared;
use panther_events::dedup::{DedupOptions, Verdict, Window};
use panther_events::domain::{DomainDef, KindDef};
use panther_events::emit::{EmitError, EmitStats, FullPolicy};
use panther_events::event::{Domain, EventKind, Identity, KindSet, Payload, Record, Symbol};
use panther_events::observe::{Batch, Interest, Observer, Report, Scope, Undelivered};
use panther_events::pipeline::{
    Builder, ObserverOptions, Pipeline, PipelineOptions, Snapshot, Topology, WaitStrategy,
};
use std::collections::{HashMap, HashSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

panther_events::payload! {
    struct Tick [EventKind::new(Domain::FIRST_USER, 0)] { thread: u64, number: u64, zero: u64 }
}
panther_events::payload! {
    struct Sample [EventKind::new(Domain::FIRST_USER, 1)] { value: u64 }
}
panther_events::payload! {
    /// Of no registered kind.
    struct Foreign [EventKind::new(Domain::FIRST_USER, 9)] { value: u64 }
}

const DOMAIN: DomainDef = DomainDef {
    domain: Domain::FIRST_USER,
    name: Shared::Static("trial"),
    kinds: Shared::Static(&[
        KindDef::of::<Tick>("tick", Identity::Content),
        KindDef::of::<Sample>("sample", Identity::Occurrence),
    ]),
    states: None,
};

const EMITTERS: u64 = 4;
const EVENTS: u64 = 1_500;

/// Keeps every tick it is handed.
#[derive(Default)]
struct Keep {
    interest: Option<Interest>,
    ticks: Vec<(u64, u64)>,
    samples: u64,
    duplicates: u64,
    panic_at: Option<usize>,
}

#[derive(Default)]
struct Kept {
    ticks: Vec<(u64, u64)>,
    samples: u64,
    duplicates: u64,
}

impl Report for Kept {
    fn merge(&mut self, other: Kept) {
        self.ticks.extend(other.ticks);
        self.samples += other.samples;
        self.duplicates += other.duplicates;
    }
}

impl Observer for Keep {
    type Report = Kept;

    fn interest(&self) -> Interest {
        self.interest.unwrap_or(Interest { duplicates: true, ..Interest::ALL })
    }

    fn observe(&mut self, batch: &Batch<'_>) -> Result<(), Undelivered> {
        for (record, verdict) in batch.iter() {
            assert_eq!(record.id().unwrap().bits() >> 76 & 0xf, 8);
            if *verdict != Verdict::New {
                self.duplicates += 1;
            } else if let Some(tick) = record.payload::<Tick>() {
                self.ticks.push((tick.thread, tick.number));
            } else if record.payload::<Sample>().is_some() {
                self.samples += 1;
            }
        }
        assert!(self.panic_at.is_none_or(|at| self.ticks.len() < at), "as planned");
        Ok(())
    }

    fn report(&self) -> Kept {
        Kept { ticks: self.ticks.clone(), samples: self.samples, duplicates: self.duplicates }
    }
}

struct Run {
    snapshot: Snapshot,
    sent: EmitStats,
    kept: Kept,
    /// Ticks whose emission returned `Ok`.
    accepted_ticks: HashSet<(u64, u64)>,
    accepted_samples: u64,
}

fn run(options: PipelineOptions, seed: u64) -> Run {
    let inline = options.topology == Topology::Inline;
    let mut builder = panther_events::pipeline::Builder::new(options);
    builder.domain(&DOMAIN);
    builder.observer("panics", |_| Keep { panic_at: Some(500), ..Keep::default() });
    let keep = builder.observer(ObserverOptions { priority: 5, ..("keep").into() }, |_| Keep::default());
    let only_samples = KindSet::of(&[Sample::KIND]);
    let whole = Interest { kinds: only_samples, duplicates: false, scope: Scope::Whole };
    builder.observer("samples", move |_| Keep { interest: Some(whole), ..Keep::default() });
    let pipeline = builder.start().unwrap();
    let handle = pipeline.handle();
    let done = Arc::new(AtomicBool::new(false));
    let mut sent = EmitStats::default();
    let (mut accepted_ticks, mut accepted_samples) = (HashSet::new(), 0);
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..EMITTERS)
            .map(|thread| {
                let handle = handle.clone();
                scope.spawn(move || emit(&handle, thread, seed))
            })
            .collect();
        let watch = {
            let done = Arc::clone(&done);
            let pipeline = &pipeline;
            scope.spawn(move || {
                while !done.load(Ordering::Relaxed) {
                    if inline {
                        pipeline.poll();
                    }
                    let account = pipeline.snapshot().account;
                    assert_eq!(account.offered, account.accepted + account.dropped_full + account.rejected);
                    assert_eq!(account.accepted, account.unique + account.duplicates + account.in_flight);
                    assert!(account.in_flight <= 64 * 64 * 8, "{account:?}");
                }
            })
        };
        for thread in threads {
            let (thread_sent, ticks, samples) = thread.join().unwrap();
            sent.accepted += thread_sent.accepted;
            sent.dropped_full += thread_sent.dropped_full;
            sent.rejected += thread_sent.rejected;
            accepted_samples += samples;
            accepted_ticks.extend(ticks);
        }
        pipeline.drain(Duration::from_secs(20)).unwrap();
        done.store(true, Ordering::Relaxed);
        watch.join().unwrap();
    });
    let mut snapshot = pipeline.shutdown();
    let kept = snapshot.report(keep).unwrap();
    let kept = Kept { ticks: kept.ticks.clone(), samples: kept.samples, duplicates: kept.duplicates };
    assert_eq!(handle.emitter("too late").err(), Some(EmitError::Closed));
    snapshot.warnings.retain(|warning| !warning.contains("as planned"));
    Run { snapshot, sent, kept, accepted_ticks, accepted_samples }
}

/// Emits ticks, a fifth of them again, and samples; the emitter is dropped and made anew on the way.
fn emit(
    handle: &panther_events::pipeline::Handle,
    thread: u64,
    seed: u64,
) -> (EmitStats, Vec<(u64, u64)>, u64) {
    let mut rng = Rng::new(seed ^ thread);
    let mut sent = EmitStats::default();
    let (mut ticks, mut samples) = (Vec::new(), 0);
    let mut emitter = handle.emitter("trial").unwrap();
    let entity = |number: u64| Symbol::of(&format!("entity-{}", number % 50));
    for number in 0..EVENTS {
        if rng.below(1000) == 0 {
            add(&mut sent, emitter.sent());
            emitter = handle.emitter("trial again").unwrap();
        }
        match rng.below(10) {
            0 => {
                let batch: Vec<_> =
                    (0..rng.below(200)).map(|_| (entity(number), Sample { value: 7 })).collect();
                samples += emitter.emit_batch(batch).accepted;
            }
            1..=2 => {
                let back = number.saturating_sub(rng.below(30));
                let tick = Tick { thread, number: back, zero: 0 };
                if emitter.emit(entity(back), &tick).is_ok() {
                    ticks.push((thread, back));
                }
            }
            _ => {
                if emitter.emit(entity(number), &Tick { thread, number, zero: 0 }).is_ok() {
                    ticks.push((thread, number));
                }
            }
        }
    }
    add(&mut sent, emitter.sent());
    (sent, ticks, samples)
}

fn add(total: &mut EmitStats, more: EmitStats) {
    total.accepted += more.accepted;
    total.dropped_full += more.dropped_full;
    total.rejected += more.rejected;
}

#[test]
fn every_event_is_accounted_for() {
    let seed = crate::support::random::seed();
    let topologies = [
        Topology::Inline,
        Topology::Fused,
        Topology::Staged { dedup: 1, workers: 1 },
        Topology::Staged { dedup: 2, workers: 3 },
    ];
    let windows = [Window::Unbounded, Window::Last(1_000), Window::Sliding(Duration::from_millis(2))];
    let policies = [FullPolicy::DropNewest, FullPolicy::Block { timeout: Duration::from_secs(20) }];
    for topology in topologies {
        for window in windows {
            for full_policy in policies {
                let options = PipelineOptions {
                    topology,
                    full_policy,
                    ring_capacity: 64,
                    wait: WaitStrategy::Adaptive,
                    dedup: DedupOptions { window, ..DedupOptions::default() },
                    ..PipelineOptions::default()
                };
                let label = format!("{topology} {window:?} {full_policy:?} seed {seed}");
                check(&run(options, seed), window, full_policy, &label);
            }
        }
    }
}

fn check(run: &Run, window: Window, policy: FullPolicy, label: &str) {
    let account = &run.snapshot.account;
    assert_eq!(account.check(), Ok(()), "{label}");
    assert_eq!((account.in_flight, account.rejected), (0, 0), "{label}");
    assert_eq!(run.snapshot.warnings, Vec::<String>::new(), "{label}");
    let deliveries: HashMap<&str, _> =
        account.observers.iter().map(|(name, delivery)| (&**name, *delivery)).collect();
    let own = account.offered - run.sent.offered();
    // Each instance that panicked told of it once. Where events are dropped, few may reach it.
    let told_least = u64::from(policy != FullPolicy::DropNewest);
    assert!((told_least..=3).contains(&own), "{label}: {own} events of the pipeline's own");
    assert_eq!(account.accepted, run.sent.accepted + own, "{label}");
    assert_eq!(account.dropped_full, run.sent.dropped_full, "{label}");
    if policy != FullPolicy::DropNewest {
        assert_eq!(account.dropped_full, 0, "{label}");
    }
    let distinct: HashSet<_> = run.kept.ticks.iter().copied().collect();
    assert_eq!(distinct, run.accepted_ticks, "{label}: what was accepted is what arrived");
    if window == Window::Unbounded {
        assert_eq!(distinct.len(), run.kept.ticks.len(), "{label}: no event is new twice");
    }
    assert_eq!(run.kept.samples, run.accepted_samples, "{label}: equal samples are different events");
    assert_eq!(run.kept.duplicates, account.duplicates, "{label}");
    assert_eq!(deliveries["keep"].failed, 0, "{label}");
    assert_eq!(deliveries["samples"].handled, run.accepted_samples, "{label}");
    assert_eq!(deliveries["panics"].failed > 0, own > 0, "{label}");
}

#[test]
fn an_emitter_outlives_its_pipeline_and_is_told() {
    let mut builder = Pipeline::builder();
    builder.domain(&DOMAIN);
    let pipeline = builder.start().unwrap();
    let mut emitter = pipeline.emitter("survivor").unwrap();
    emitter.emit(Symbol::of("e"), &Sample { value: 1 }).unwrap();
    let snapshot = pipeline.shutdown();
    assert_eq!(snapshot.account.unique, 1);
    assert_eq!(emitter.emit(Symbol::of("e"), &Sample { value: 1 }), Err(EmitError::Closed));
    assert_eq!(emitter.emit_batch([(Symbol::of("e"), Sample { value: 1 })]).rejected, 1);
    assert_eq!(emitter.sent(), EmitStats { accepted: 1, dropped_full: 0, rejected: 2 });
}

#[test]
fn unknown_kinds_and_wrong_identities_are_refused_and_counted() {
    let pipeline = Pipeline::builder().start().unwrap();
    let mut emitter = pipeline.emitter("wrong").unwrap();
    let refused = emitter.emit(Symbol::of("e"), &Sample { value: 1 });
    assert_eq!(refused, Err(EmitError::UnknownKind(Sample::KIND)));
    let packet: panther_events::domain::packet::PacketSeen = bytemuck::Zeroable::zeroed();
    assert!(matches!(emitter.emit(Symbol::of("e"), &packet), Err(EmitError::WrongIdentity(_))));
    assert_eq!(emitter.emit_batch([(Symbol::of("e"), Sample { value: 1 }); 3]).rejected, 3);
    drop(emitter);
    let account = pipeline.shutdown().account;
    assert_eq!((account.offered, account.rejected, account.accepted), (5, 5, 0));
    assert_eq!(account.check(), Ok(()));
}

#[test]
fn a_drop_leaves_a_gap_in_the_numbers() {
    struct Numbers(Vec<u32>);
    impl Report for Numbers {
        fn merge(&mut self, other: Numbers) {
            self.0.extend(other.0);
        }
    }
    impl Observer for Numbers {
        type Report = Numbers;
        fn interest(&self) -> Interest {
            Interest::ALL
        }
        fn observe(&mut self, batch: &Batch<'_>) -> Result<(), Undelivered> {
            self.0.extend(batch.iter().map(|(record, _)| record.seq()));
            Ok(())
        }
        fn report(&self) -> Numbers {
            Numbers(self.0.clone())
        }
    }
    let options = PipelineOptions {
        topology: Topology::Inline,
        ring_capacity: 64,
        full_policy: FullPolicy::DropNewest,
        ..PipelineOptions::default()
    };
    let mut builder = panther_events::pipeline::Builder::new(options);
    builder.domain(&DOMAIN);
    let numbers = builder.observer("numbers", |_| Numbers(Vec::new()));
    let pipeline = builder.start().unwrap();
    let mut emitter = pipeline.emitter("gap").unwrap();
    for value in 0..70 {
        let outcome = emitter.emit(Symbol::of("e"), &Sample { value });
        assert_eq!(outcome.is_ok(), value < 64);
    }
    while pipeline.poll() > 0 {}
    emitter.emit(Symbol::of("e"), &Sample { value: 99 }).unwrap();
    let snapshot = pipeline.shutdown();
    let expected: Vec<_> = (0..64).chain([70]).collect();
    assert_eq!(snapshot.report(numbers).unwrap().0, expected);
    assert_eq!(snapshot.account.dropped_full, 6);
}

/// Whoever looks between two calls sees each event where it is: in a ring, or through.
#[test]
fn what_waits_in_a_ring_is_in_flight_until_it_is_taken() {
    panther_events::payload! {
        struct Keyed [EventKind::new(Domain::FIRST_USER, 2)] { value: u64 }
    }
    const KEYED: DomainDef = DomainDef {
        domain: Domain::FIRST_USER,
        name: Shared::Static("trial"),
        kinds: Shared::Static(&[KindDef::of::<Keyed>("keyed", Identity::Digest)]),
        states: None,
    };
    let seed = crate::support::random::seed();
    let mut rng = Rng::new(seed);
    let options = PipelineOptions {
        topology: Topology::Inline,
        ring_capacity: 64,
        full_policy: FullPolicy::DropNewest,
        ..PipelineOptions::default()
    };
    let mut builder = panther_events::pipeline::Builder::new(options);
    builder.domain(&KEYED);
    builder.observer("keep", |_| Keep::default());
    let pipeline = builder.start().unwrap();
    let mut emitters = [pipeline.emitter("a").unwrap(), pipeline.emitter("b").unwrap()];
    let mut rings = [Vec::new(), Vec::new()];
    let (mut seen, mut unique, mut duplicates, mut dropped) = (HashSet::new(), 0, 0, 0);
    for step in 0..400 {
        let at = rng.below(2) as usize;
        match rng.below(8) {
            0 => {
                while pipeline.poll() > 0 {}
                for id in rings.iter_mut().flat_map(|ring| ring.drain(..)) {
                    *(if seen.insert(id) { &mut unique } else { &mut duplicates }) += 1;
                }
            }
            _ => {
                for _ in 0..rng.below(12) {
                    let id = rng.below(300);
                    let digest = panther_events::event::EventId::digest(&u64::to_le_bytes(id));
                    let outcome = emitters[at].emit_digest(digest, step, Symbol::NONE, &Keyed { value: id });
                    assert_eq!(outcome.is_ok(), rings[at].len() < 64, "seed {seed}");
                    match outcome {
                        Ok(()) => rings[at].push(id),
                        Err(_) => dropped += 1,
                    }
                }
            }
        }
        let account = pipeline.snapshot().account;
        let in_flight = (rings[0].len() + rings[1].len()) as u64;
        let label = format!("step {step} seed {seed}");
        assert_eq!(
            (account.unique, account.duplicates, account.in_flight),
            (unique, duplicates, in_flight),
            "{label}"
        );
        assert_eq!(account.accepted, unique + duplicates + in_flight, "{label}");
        assert_eq!((account.dropped_full, account.rejected), (dropped, 0), "{label}");
        assert_eq!(account.offered, account.accepted + dropped, "{label}");
        let (_, delivery) = account.observers[0];
        assert_eq!((delivery.handled, delivery.duplicates), (unique, duplicates), "{label}");
        assert_eq!((delivery.skipped, delivery.failed), (0, 0), "{label}");
    }
    assert!(dropped > 0 && duplicates > 100 && unique > 100, "{dropped} {duplicates} {unique} seed {seed}");
}

/// What an iterator gave before it panicked was emitted, and is in the account, under every topology.
#[test]
fn what_came_before_an_iterator_panicked_is_emitted() {
    for topology in [
        Topology::Inline,
        Topology::Fused,
        Topology::Staged { dedup: 1, workers: 1 },
        Topology::Staged { dedup: 2, workers: 2 },
    ] {
        for fails_at in [0_u64, 1, 63, 64, 65, 200] {
            let mut builder = Builder::new(PipelineOptions { topology, ..PipelineOptions::default() });
            builder.domain(&DOMAIN);
            let pipeline = builder.start().unwrap();
            let mut emitter = pipeline.emitter("one").unwrap();
            let events = (0..).map(|value| {
                assert!(value < fails_at, "as it is told");
                (Symbol::of("e"), Sample { value })
            });
            let went = catch_unwind(AssertUnwindSafe(|| emitter.emit_batch(events)));
            assert!(went.is_err());
            assert_eq!(emitter.sent().accepted, fails_at, "{topology}");
            emitter.emit(Symbol::of("e"), &Sample { value: u64::MAX }).unwrap();
            drop(emitter);
            // What was refused before the panic is counted as well.
            let mut emitter = pipeline.emitter("other").unwrap();
            let foreign = Record::new(Identity::Occurrence, 0, Symbol::NONE, &Foreign { value: 0 });
            let records = (0..).map(|number| {
                assert!(number < fails_at, "as it is told");
                foreign
            });
            let went = catch_unwind(AssertUnwindSafe(|| emitter.emit_records(records)));
            assert!(went.is_err());
            drop(emitter);
            let account = pipeline.shutdown().account;
            account.check().unwrap();
            assert_eq!((account.unique, account.rejected), (fails_at + 1, fails_at), "{topology}");
        }
    }
}
