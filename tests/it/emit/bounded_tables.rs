//! Promise: tables that evict ask the pipeline how far it is, and neither that nor what is evicted changes what is emitted.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use panther_events::domain::{DomainDef, KindDef};
use panther_events::emit::FullPolicy;
use panther_events::event::{
    Context, Contexts, Detail, Domain, EventKind, Identity, Level, Record, Shared, Symbol, Symbols,
};
use panther_events::pipeline::{Builder, Pipeline, PipelineOptions, Topology};
use std::sync::Arc;

const SMALL: u64 = 1 << 16;

fn start(symbols: &Arc<Symbols>) -> Pipeline {
    let mut builder = Builder::new(PipelineOptions {
        topology: Topology::Inline,
        full_policy: FullPolicy::DropNewest,
        contexts_bytes: SMALL,
        ..PipelineOptions::default()
    });
    builder.domain(&SAMPLES).symbols(Arc::clone(symbols));
    builder.start().unwrap()
}

panther_events::payload! {
    struct Sample [EventKind::new(Domain::FIRST_USER, 0)] { value: u64 }
}

const SAMPLES: DomainDef = DomainDef {
    domain: Domain::FIRST_USER,
    name: Shared::Static("samples"),
    kinds: Shared::Static(&[KindDef::of::<Sample>("sample", Identity::Occurrence)]),
    states: None,
};

#[test]
fn an_inline_pipeline_that_is_asked_goes_on_to_serve_all_emitters() {
    let symbols = Arc::new(Symbols::with_limits(SMALL, SMALL));
    let pipeline = start(&symbols);
    let mut emitters = ["a", "b", "c"].map(|name| pipeline.emitter(name).unwrap());
    for round in 0..500 {
        for number in 0..20 {
            let name = symbols.intern(&format!("entity {round} {number}")).unwrap();
            for emitter in &mut emitters {
                emitter.emit(name, &Sample { value: 1 }).unwrap();
            }
        }
        while pipeline.poll() > 0 {}
    }
    assert!(symbols.evicted() > 9_000, "{symbols:?}");
    assert_eq!((symbols.evicted_early(), symbols.missed()), (0, 0));
    drop(emitters);
    let account = pipeline.shutdown().account;
    account.check().unwrap();
    assert_eq!(account.unique, 30_000);
}

#[test]
fn an_inline_pipeline_that_is_polled_forgets_contexts_and_refuses_none() {
    let symbols = Arc::new(Symbols::new());
    let pipeline = start(&symbols);
    let mut emitter = pipeline.emitter("runner").unwrap();
    for number in 0..3_000 {
        let name = format!("step {number}");
        let mut step = emitter.within(Level::Step, &name).unwrap();
        step.emit(Symbol::from_bits(7), &Sample { value: 1 }).unwrap();
        drop(step);
        while pipeline.poll() > 0 {}
    }
    assert!(pipeline.contexts().evicted() > 5_000);
    drop(emitter);
    pipeline.shutdown().account.check().unwrap();
}

#[test]
fn a_name_that_is_used_by_its_symbol_alone_is_kept_or_missed_but_never_silently() {
    let symbols = Arc::new(Symbols::with_limits(SMALL, SMALL));
    let pipeline = start(&symbols);
    let [kept, held] = ["kept", "held"].map(|name| symbols.intern(name).unwrap());
    assert!(symbols.keep(kept));
    for number in 0..10_000 {
        symbols.intern(&format!("entity {number}")).unwrap();
        pipeline.poll();
    }
    assert_eq!(symbols.name(kept).as_deref(), Some("kept"));
    assert_eq!((symbols.name(held), symbols.missed()), (None, 1));
    let warnings = pipeline.snapshot().warnings;
    assert!(warnings.iter().any(|warning| warning.starts_with("1 times, one of the names")), "{warnings:?}");
}

#[test]
fn a_context_whose_name_was_evicted_is_restored_as_it_was() {
    let symbols = Arc::new(Symbols::with_limits(SMALL, SMALL));
    let pipeline = start(&symbols);
    // What is kept takes its quarter before.
    for number in 0..1_000 {
        let name = symbols.intern(&format!("entity {number}")).unwrap();
        symbols.keep(name);
    }
    let mut emitter = pipeline.emitter("runner").unwrap();
    emitter.enter(Level::Test, "handshake").unwrap();
    for number in 1_000..20_000 {
        symbols.intern(&format!("entity {number}")).unwrap();
        pipeline.poll();
    }
    assert_eq!(symbols.name(Symbol::of("handshake")), None);
    emitter.enter(Level::Step, "connect").unwrap();
    let context = Context::of(Level::Test, "handshake").entered(Level::Step, Symbol::of("connect"));
    assert_eq!(emitter.context(), context);
    let mut told = None;
    symbols.details().for_each(|_: Detail, text| {
        if text.contains("connect") {
            told = Some(text.to_owned());
        }
    });
    let sample = Record::new(Identity::Occurrence, 1, Symbol::NONE, &Sample { value: 1 });
    let restored = Contexts::default();
    restored.restore(3, 0, told.as_deref()).unwrap();
    assert_eq!(restored.of(&sample.numbered(3, 1)), context);
    let warnings = pipeline.snapshot().warnings;
    assert!(warnings.iter().any(|warning| warning.contains("could not be kept")), "{warnings:?}");
}

/// A pipeline that nobody polls holds nothing back for good from another one that shares its names: the oldest go, and are counted.
#[test]
fn a_pipeline_that_is_never_polled_stops_no_other_that_shares_its_names() {
    let symbols = Arc::new(Symbols::with_limits(SMALL, SMALL));
    let (idle, busy) = (start(&symbols), start(&symbols));
    let mut held = idle.emitter("idle").unwrap();
    held.emit(symbols.intern("never handled").unwrap(), &Sample { value: 0 }).unwrap();
    let mut emitter = busy.emitter("busy").unwrap();
    for value in 0..10_000 {
        let name = symbols.intern(&format!("name {value}")).unwrap();
        emitter.emit(name, &Sample { value }).unwrap();
        busy.poll();
        assert!(symbols.bytes() <= SMALL, "{} bytes", symbols.bytes());
    }
    assert!(symbols.evicted_early() > 5000 && symbols.refused() == 0, "{symbols:?}");
    assert_eq!(symbols.came(), symbols.len() as u64 + symbols.evicted() + symbols.evicted_early());
    let _ = (idle.shutdown(), busy.shutdown());
}
