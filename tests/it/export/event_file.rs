//! Promise: what the account says was handled is in `events.jsonl`, or its commit was refused.
#![cfg(feature = "json")]
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use panther_events::Shared;
use panther_events::domain::{DomainDef, KindDef};
use panther_events::event::Symbol;
use panther_events::event::{Domain, EventKind, Identity};
use panther_events::export::from_snapshot::EventFile;
use panther_events::export::{Overwrite, ResultDir};
use panther_events::pipeline::{Builder, Pipeline, PipelineOptions, Topology};

panther_events::payload! {
    struct Echo [EventKind::new(Domain::FIRST_USER, 0)] { number: u64 }
}

const LAB: DomainDef = DomainDef {
    domain: Domain::FIRST_USER,
    name: Shared::Static("lab"),
    kinds: Shared::Static(&[KindDef::of::<Echo>("echo", Identity::Occurrence)]),
    states: None,
};

const EVENTS: u64 = 1_000;

fn start(topology: Topology, file: &EventFile) -> Pipeline {
    let mut builder = Builder::new(PipelineOptions { topology, ..PipelineOptions::default() });
    builder.domain(&LAB);
    let file = file.clone();
    builder.observer("events", move |setup| file.observer(setup, false));
    builder.start().unwrap()
}

fn emit(pipeline: &Pipeline) {
    let mut emitter = pipeline.emitter("client").unwrap();
    for number in 0..EVENTS {
        emitter.emit(Symbol::of("server"), &Echo { number }).unwrap();
    }
}

#[test]
fn a_commit_before_the_shutdown_is_refused_and_one_after_it_has_every_line() {
    for topology in [Topology::Inline, Topology::Fused, Topology::Staged { dedup: 2, workers: 2 }] {
        let temp = tempfile::tempdir().unwrap();
        let dir = ResultDir::create(temp.path().join("run"), Overwrite::Refuse).unwrap();
        let file = EventFile::new(dir.file("events.jsonl").unwrap());
        let pipeline = start(topology, &file);
        emit(&pipeline);
        let refused = file.commit();
        let snapshot = pipeline.shutdown();
        let _ = file.commit();
        dir.commit().unwrap();
        let text = std::fs::read_to_string(temp.path().join("run/events.jsonl")).unwrap();
        let lines = text.lines().count() as u64;
        let delivery = snapshot.account.observers[0].1;
        assert_eq!((delivery.handled, lines), (EVENTS, EVENTS), "{topology}");
        let error = refused.unwrap_err().to_string();
        assert!(error.contains("events.jsonl") && error.contains("shut the pipeline down"), "{error}");
    }
}

#[test]
fn what_comes_after_the_commit_counts_as_failed() {
    let temp = tempfile::tempdir().unwrap();
    let dir = ResultDir::create(temp.path().join("run"), Overwrite::Refuse).unwrap();
    let file = EventFile::new(dir.file("events.jsonl").unwrap());
    file.commit().unwrap();
    let pipeline = start(Topology::Inline, &file);
    emit(&pipeline);
    let snapshot = pipeline.shutdown();
    snapshot.account.check().unwrap();
    let delivery = snapshot.account.observers[0].1;
    assert_eq!(delivery.handled, 0);
    assert!(delivery.failed >= EVENTS, "{delivery:?}");
    assert!(snapshot.warnings.iter().any(|warning| warning.contains("committed")), "{:?}", snapshot.warnings);
}
