//! Promise: observers come and go while events flow, and the account of each adds up all the same.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use panther_events::Shared;
use panther_events::domain::{DomainDef, KindDef};
use panther_events::event::{Domain, EventKind, Identity, KindSet, Payload, Symbol};
use panther_events::observe::{Batch, Interest, Observer, Report, Scope, Undelivered};
use panther_events::pipeline::{
    AddError, Builder, ObserverOptions, Pipeline, PipelineOptions, RemoveError, Topology,
};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

panther_events::payload! {
    struct Tick [EventKind::new(Domain::FIRST_USER, 0)] { number: u64 }
}

const DOMAIN: DomainDef = DomainDef {
    domain: Domain::FIRST_USER,
    name: Shared::Static("trial"),
    kinds: Shared::Static(&[KindDef::of::<Tick>("tick", Identity::Content)]),
    states: None,
};

const TOPOLOGIES: [Topology; 4] = [
    Topology::Inline,
    Topology::Fused,
    Topology::Staged { dedup: 1, workers: 1 },
    Topology::Staged { dedup: 2, workers: 3 },
];

/// Keeps the numbers it sees, and whether it was flushed.
#[derive(Clone, Default)]
struct Keep {
    numbers: Vec<u64>,
    flushed: bool,
    whole: bool,
    panics: bool,
}

impl Report for Keep {
    fn merge(&mut self, other: Keep) {
        self.numbers.extend(other.numbers);
        self.flushed &= other.flushed;
    }
}

impl Observer for Keep {
    type Report = Keep;

    fn interest(&self) -> Interest {
        let scope = if self.whole { Scope::Whole } else { Scope::Entity };
        Interest { kinds: KindSet::of(&[Tick::KIND]), duplicates: false, scope }
    }

    fn observe(&mut self, batch: &Batch<'_>) -> Result<(), Undelivered> {
        assert!(!self.panics, "as planned");
        self.numbers
            .extend(batch.iter().filter_map(|(record, _)| record.payload::<Tick>()).map(|tick| tick.number));
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Undelivered> {
        self.flushed = true;
        Ok(())
    }

    fn report(&self) -> Keep {
        self.clone()
    }
}

fn start(topology: Topology) -> Pipeline {
    let mut builder = Builder::new(PipelineOptions { topology, ..PipelineOptions::default() });
    builder.domain(&DOMAIN);
    builder.start().unwrap()
}

fn emit(pipeline: &Pipeline, numbers: std::ops::Range<u64>) {
    let mut emitter = pipeline.emitter("trial").unwrap();
    for number in numbers {
        emitter.emit(Symbol::of(&format!("e{}", number % 20)), &Tick { number }).unwrap();
    }
    pipeline.drain(Duration::from_secs(20)).unwrap();
}

fn sorted(keep: &Keep) -> Vec<u64> {
    let mut numbers = keep.numbers.clone();
    numbers.sort_unstable();
    numbers
}

#[test]
fn an_observer_sees_exactly_what_comes_while_it_is_there() {
    for topology in TOPOLOGIES {
        let pipeline = start(topology);
        emit(&pipeline, 0..100);
        let key = pipeline.add_observer("late", |_| Keep::default()).unwrap();
        assert_eq!(
            pipeline.add_observer("late", |_| Keep::default()).err(),
            Some(AddError::Name("late".into()))
        );
        emit(&pipeline, 100..300);
        let snapshot = pipeline.snapshot();
        assert_eq!(sorted(snapshot.report(key).unwrap()), (100..300).collect::<Vec<_>>(), "{topology}");
        let last = pipeline.remove_observer(key).unwrap();
        assert_eq!((sorted(&last), last.flushed), ((100..300).collect(), true), "{topology}");
        assert!(matches!(pipeline.remove_observer(key), Err(RemoveError::NotThere)));
        emit(&pipeline, 300..350);
        let again = pipeline.add_observer("late", |_| Keep::default()).unwrap();
        emit(&pipeline, 350..360);
        let snapshot = pipeline.shutdown();
        assert_eq!(snapshot.account.check(), Ok(()), "{topology}");
        assert_eq!(snapshot.warnings, Vec::<String>::new(), "{topology}");
        assert_eq!(sorted(snapshot.report(again).unwrap()), (350..360).collect::<Vec<_>>());
        let handled: Vec<_> =
            snapshot.account.observers.iter().map(|(_, delivery)| delivery.handled).collect();
        assert_eq!(handled, [210], "{topology}");
    }
}

#[test]
fn a_scope_goes_at_once() {
    for topology in TOPOLOGIES {
        let pipeline = start(topology);
        for name in ["a", "b", "c"] {
            let scope = (name != "c").then(|| "test-1".to_owned());
            pipeline.add_observer(ObserverOptions { scope, ..name.into() }, |_| Keep::default()).unwrap();
        }
        emit(&pipeline, 0..10);
        assert_eq!((pipeline.remove_scope("test-1"), pipeline.remove_scope("test-1")), (Ok(2), Ok(0)));
        emit(&pipeline, 10..30);
        let account = pipeline.shutdown().account;
        assert_eq!(account.check(), Ok(()), "{topology}");
        let handled: Vec<_> = account.observers.iter().map(|(_, delivery)| delivery.handled).collect();
        assert_eq!(handled, [10, 10, 30], "{topology}");
    }
}

#[test]
fn observers_come_and_go_under_load() {
    for topology in TOPOLOGIES {
        let pipeline = start(topology);
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let mut emitter = pipeline.emitter("load").unwrap();
                let mut number = 0;
                while !done.load(Ordering::Relaxed) {
                    emitter.emit(Symbol::of(&format!("e{}", number % 20)), &Tick { number }).unwrap();
                    number += 1;
                    if topology == Topology::Inline && number % 64 == 0 {
                        pipeline.poll();
                    }
                }
            });
            for round in 0..30 {
                let panics = round % 5 == 0;
                let key = pipeline.add_observer("visitor", |_| Keep { panics, ..Keep::default() }).unwrap();
                std::thread::yield_now();
                let last = pipeline.remove_observer(key);
                assert!(panics || last.is_ok_and(|last| last.flushed), "{topology}");
            }
            done.store(true, Ordering::Relaxed);
        });
        let account = pipeline.shutdown().account;
        assert_eq!(account.check(), Ok(()), "{topology}: {account:?}");
    }
}

#[test]
fn kinds_that_are_shared_out_cannot_be_had_whole_later() {
    let pipeline = start(Topology::Staged { dedup: 1, workers: 2 });
    let refused = pipeline.add_observer("whole", |_| Keep { whole: true, ..Keep::default() });
    assert_eq!(refused.err(), Some(AddError::NotWhole("whole".into())));
    let pipeline = start(Topology::Fused);
    assert!(pipeline.add_observer("whole", |_| Keep { whole: true, ..Keep::default() }).is_ok());
}

/// What one name handled in all its times adds up, in every export, and no name appears twice.
#[test]
fn an_observer_that_is_added_again_keeps_its_account() {
    for topology in TOPOLOGIES {
        let pipeline = start(topology);
        let mut expected = 0;
        for round in 0..3 {
            let key = pipeline.add_observer("again", |_| Keep::default()).unwrap();
            emit(&pipeline, round * 100..round * 100 + 40);
            expected += 40;
            if round < 2 {
                pipeline.remove_observer(key).unwrap();
            }
            emit(&pipeline, round * 100 + 40..round * 100 + 50);
            expected += if round < 2 { 0 } else { 10 };
            let snapshot = pipeline.snapshot();
            assert_eq!(snapshot.account.check(), Ok(()), "{topology}");
            assert_eq!(snapshot.account.observers.len(), 1, "{topology}");
            let (name, delivery) = &snapshot.account.observers[0];
            assert_eq!((&**name, delivery.handled), ("again", expected), "{topology}");
        }
        let snapshot = pipeline.shutdown();
        assert_eq!(snapshot.account.check(), Ok(()), "{topology}");
        let (_, delivery) = &snapshot.account.observers[0];
        assert_eq!((delivery.handled, delivery.skipped, delivery.failed), (130, 20, 0), "{topology}");
        #[cfg(feature = "json")]
        {
            let summary = panther_events::export::summary::Summary::new(&snapshot, "any", 0.0);
            assert_eq!(summary.accounting.observers["again"].handled, 130);
        }
        #[cfg(feature = "openmetrics")]
        {
            let mut text = Vec::new();
            panther_events::export::from_snapshot::write_exposition(&mut text, &snapshot, &[], None, None)
                .unwrap();
            let text = String::from_utf8(text).unwrap();
            let line = "panther_events_observed_total{observer=\"again\",outcome=\"handled\"} 130\n";
            assert!(text.contains(line), "{topology}: {text}");
        }
    }
}

/// Five thousand of them, of one name and of as many.
#[test]
fn observers_that_come_and_go_leave_a_bounded_account() {
    for topology in [Topology::Inline, Topology::Staged { dedup: 1, workers: 2 }] {
        for names in [1, 5_000] {
            let pipeline = start(topology);
            for round in 0..5_000_u64 {
                let name = format!("visitor-{}", round % names);
                let key = pipeline.add_observer(&*name, |_| Keep::default()).unwrap();
                if round % 100 == 0 {
                    emit(&pipeline, round..round + 2);
                }
                assert!(pipeline.remove_observer(key).is_ok());
            }
            let stays = pipeline.add_observer("stays", |_| Keep::default()).unwrap();
            emit(&pipeline, 10_000..10_003);
            let snapshot = pipeline.shutdown();
            assert_eq!(snapshot.report(stays).unwrap().numbers.len(), 3);
            let account = &snapshot.account;
            assert_eq!((account.unique, account.check()), (103, Ok(())), "{topology}, {names} names");
            assert!(account.observers.len() <= 1_025, "{} accounts", account.observers.len());
            let handled: u64 = account.observers.iter().map(|(_, delivery)| delivery.handled).sum();
            assert_eq!(handled + handled_further(account), 103, "{topology}, {names} names");
        }
    }
}

fn handled_further(account: &panther_events::pipeline::Account) -> u64 {
    account.further_observers.delivery.handled
}
