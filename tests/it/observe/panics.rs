//! Promise: a bad observer harms nobody but itself, wherever it panics; and what the pipeline says while it runs or
//! closes is true.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests are tests")]

use panther_events::Shared;
use panther_events::domain::{DomainDef, KindDef};
use panther_events::event::{Domain, EventId, EventKind, Identity, KindSet, Payload, Symbol};
use panther_events::observe::{Batch, Interest, Observer, Report, Scope, Undelivered};
use panther_events::pipeline::{Builder, Pipeline, PipelineOptions, StartError, Topology};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

panther_events::payload! {
    struct Tick [EventKind::new(Domain::FIRST_USER, 0)] { number: u64 }
}
panther_events::payload! {
    struct Digested [EventKind::new(Domain::FIRST_USER, 1)] { number: u64 }
}

const DOMAIN: DomainDef = DomainDef {
    domain: Domain::FIRST_USER,
    name: Shared::Static("trial"),
    kinds: Shared::Static(&[
        KindDef::of::<Tick>("tick", Identity::Content),
        KindDef::of::<Digested>("digested", Identity::Digest),
    ]),
    states: None,
};

const TOPOLOGIES: [Topology; 3] =
    [Topology::Inline, Topology::Fused, Topology::Staged { dedup: 2, workers: 2 }];

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Where {
    Nowhere,
    Interest,
    Observe,
    ObserveWithBomb,
    Flush,
    Report,
    Merge,
    Drop,
}

struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            panic!("as planned: a payload that panics");
        }
    }
}

struct Panics {
    place: Where,
    seen: u64,
}

struct Seen {
    place: Where,
    events: u64,
}

impl Report for Seen {
    fn merge(&mut self, other: Seen) {
        assert!(self.place != Where::Merge, "as planned");
        self.events += other.events;
    }
}

impl Observer for Panics {
    type Report = Seen;

    fn interest(&self) -> Interest {
        assert!(self.place != Where::Interest, "as planned");
        Interest { kinds: KindSet::of(&[Tick::KIND]), duplicates: false, scope: Scope::Entity }
    }

    fn observe(&mut self, batch: &Batch<'_>) -> Result<(), Undelivered> {
        match self.place {
            Where::Observe => panic!("as planned"),
            Where::ObserveWithBomb => std::panic::panic_any(Bomb),
            _ => self.seen += batch.len() as u64,
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Undelivered> {
        assert!(self.place != Where::Flush, "as planned");
        Ok(())
    }

    fn report(&self) -> Seen {
        assert!(self.place != Where::Report, "as planned");
        Seen { place: self.place, events: self.seen }
    }
}

impl Drop for Panics {
    fn drop(&mut self) {
        assert!(self.place != Where::Drop, "as planned");
    }
}

fn start(
    topology: Topology,
    place: Where,
) -> Result<(Pipeline, [panther_events::pipeline::ReportKey<Seen>; 2]), StartError> {
    let mut builder = Builder::new(PipelineOptions { topology, ..PipelineOptions::default() });
    builder.domain(&DOMAIN);
    let bad = builder.observer("bad", move |_| Panics { place, seen: 0 });
    let good = builder.observer("good", |_| Panics { place: Where::Nowhere, seen: 0 });
    Ok((builder.start()?, [bad, good]))
}

#[test]
fn wherever_an_observer_panics_the_others_and_the_account_are_whole() {
    for topology in TOPOLOGIES {
        for place in
            [Where::Observe, Where::ObserveWithBomb, Where::Flush, Where::Report, Where::Merge, Where::Drop]
        {
            let label = format!("{topology} {place:?}");
            let (pipeline, [bad, good]) = start(topology, place).unwrap();
            let mut emitter = pipeline.emitter("trial").unwrap();
            for number in 0..500 {
                emitter.emit(Symbol::of(&format!("e{}", number % 32)), &Tick { number }).unwrap();
            }
            pipeline.drain(Duration::from_secs(20)).unwrap();
            let while_running = pipeline.snapshot();
            assert_eq!(while_running.report(good).unwrap().events, 500, "{label}");
            let snapshot = pipeline.shutdown();
            assert_eq!(snapshot.report(good).unwrap().events, 500, "{label}");
            assert_eq!(snapshot.account.check(), Ok(()), "{label}");
            let told = snapshot.warnings.iter().any(|warning| warning.contains("bad"));
            let merged = topology != Topology::Inline && topology != Topology::Fused;
            if place == Where::Report || (place == Where::Merge && merged) {
                assert!(snapshot.report(bad).is_none() && told, "{label}: {:?}", snapshot.warnings);
            } else if place != Where::Merge && place != Where::Drop {
                assert!(told, "{label}: {:?}", snapshot.warnings);
            }
        }
    }
}

#[test]
fn an_observer_that_cannot_say_what_it_wants_stops_the_start_and_only_that() {
    let refused = start(Topology::Fused, Where::Interest).map(|_| ()).unwrap_err();
    assert!(matches!(refused, StartError::ObserverPanicked { .. }), "{refused}");
    let (pipeline, _) = start(Topology::Fused, Where::Nowhere).unwrap();
    assert!(pipeline.add_observer("late", |_| Panics { place: Where::Interest, seen: 0 }).is_err());
    assert_eq!(pipeline.shutdown().account.check(), Ok(()));
}

#[test]
fn the_last_account_adds_up_though_emitters_go_on() {
    for topology in TOPOLOGIES {
        for _ in 0..40 {
            let (pipeline, _) = start(topology, Where::Nowhere).unwrap();
            let done = AtomicBool::new(false);
            let accepted = AtomicU64::new(0);
            let snapshot = std::thread::scope(|scope| {
                for thread in 0..3 {
                    let mut emitter = pipeline.emitter("stubborn").unwrap();
                    let (done, accepted) = (&done, &accepted);
                    scope.spawn(move || {
                        let mut number = thread;
                        while !done.load(Ordering::Relaxed) {
                            let _ = emitter.emit(Symbol::of("e"), &Tick { number });
                            number += 3;
                        }
                        accepted.fetch_add(emitter.sent().accepted, Ordering::Relaxed);
                    });
                }
                if topology == Topology::Inline {
                    pipeline.poll();
                }
                std::thread::yield_now();
                let snapshot = pipeline.shutdown();
                done.store(true, Ordering::Relaxed);
                snapshot
            });
            assert_eq!(snapshot.warnings, Vec::<String>::new(), "{topology}");
            assert_eq!(snapshot.account.accepted, accepted.load(Ordering::Relaxed), "{topology}");
            assert_eq!((snapshot.account.check(), snapshot.account.in_flight), (Ok(()), 0), "{topology}");
        }
    }
}

#[test]
fn what_snapshots_say_never_goes_back_and_never_says_too_much() {
    let (pipeline, _) = start(Topology::Fused, Where::Nowhere).unwrap();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let mut emitter = pipeline.emitter("one event").unwrap();
        let done = &done;
        scope.spawn(move || {
            while !done.load(Ordering::Relaxed) {
                emitter.emit(Symbol::of("e"), &Tick { number: 7 }).unwrap();
            }
        });
        let mut before = 0;
        for _ in 0..3_000 {
            let account = pipeline.snapshot().account;
            assert!(account.unique <= 1, "one event is unique {} times", account.unique);
            assert!(account.duplicates >= before);
            before = account.duplicates;
        }
        done.store(true, Ordering::Relaxed);
    });
}

#[test]
fn a_drain_brings_through_what_was_accepted_before_it() {
    for topology in TOPOLOGIES {
        let (pipeline, [_, good]) = start(topology, Where::Nowhere).unwrap();
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let mut noise = pipeline.emitter("noise").unwrap();
            let done = &done;
            scope.spawn(move || {
                while !done.load(Ordering::Relaxed) {
                    let _ = noise.emit(Symbol::of("noise"), &Tick { number: u64::MAX });
                }
            });
            let mut emitter = pipeline.emitter("trial").unwrap();
            for round in 1..=20 {
                for number in 0..200 {
                    let number = round * 1_000 + number;
                    emitter.emit(Symbol::of(&format!("e{}", number % 32)), &Tick { number }).unwrap();
                    if topology == Topology::Inline {
                        pipeline.poll();
                    }
                }
                pipeline.drain(Duration::from_secs(20)).unwrap();
                let events = pipeline.snapshot().report(good).unwrap().events;
                assert!(events >= round * 200, "{topology}: {events} of {}", round * 200);
            }
            done.store(true, Ordering::Relaxed);
        });
        drop(pipeline);
    }
}

#[test]
fn one_digest_with_different_entities_is_one_event_under_every_topology() {
    for topology in TOPOLOGIES.into_iter().chain([Topology::Staged { dedup: 4, workers: 1 }]) {
        let (pipeline, _) = start(topology, Where::Nowhere).unwrap();
        let mut emitter = pipeline.emitter("trial").unwrap();
        for number in 0..1_000u64 {
            for entity in ["a", "b"] {
                let digest = EventId::digest(&number.to_le_bytes());
                emitter.emit_digest(digest, number, Symbol::of(entity), &Digested { number }).unwrap();
            }
        }
        let account = pipeline.shutdown().account;
        assert_eq!((account.unique, account.duplicates), (1_000, 1_000), "{topology}");
    }
}
