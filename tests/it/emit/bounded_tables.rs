//! Promise: tables that evict ask the pipeline how far it is, and neither that nor what is evicted changes what is emitted.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use panther_events::domain::{DomainDef, KindDef};
use panther_events::emit::FullPolicy;
use panther_events::event::{
    Context, Contexts, Detail, Domain, EventKind, Held, Identity, Level, Record, Shared, Symbol, Symbols,
    Value,
};
use panther_events::observe::results::Results;
use panther_events::observe::state::{StateOptions, StateQuery};
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
fn a_name_that_is_used_by_its_symbol_alone_is_held_or_missed_but_never_silently() {
    let symbols = Arc::new(Symbols::with_limits(SMALL, SMALL));
    let pipeline = start(&symbols);
    let [known, used] = ["known", "used"].map(|name| symbols.intern(name).unwrap());
    let held = Held::name(&symbols, known).unwrap();
    for number in 0..10_000 {
        symbols.intern(&format!("entity {number}")).unwrap();
        pipeline.poll();
    }
    assert_eq!(symbols.name(known).as_deref(), Some("known"));
    assert_eq!((symbols.name(used), symbols.missed()), (None, 1));
    let warnings = pipeline.snapshot().warnings;
    assert!(warnings.iter().any(|warning| warning.starts_with("1 times, one of the names")), "{warnings:?}");
    drop(held);
    fill(&symbols, 10_000);
    assert_eq!(symbols.name(known), None);
}

/// Brings so many new names that all go that are neither held nor looked up.
fn fill(symbols: &Symbols, names: usize) {
    static NEXT: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);
    for _ in 0..names {
        let number = NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        symbols.intern(&format!("filling {number}")).unwrap();
    }
}

#[test]
fn contexts_for_ever_hold_the_names_of_those_in_which_an_emitter_is_and_no_others() {
    let symbols = Arc::new(Symbols::with_limits(SMALL, SMALL));
    let pipeline = start(&symbols);
    let mut emitter = pipeline.emitter("runner").unwrap();
    let cost = |names: &[&str]| names.iter().map(|name| name.len() as u64 + 128).sum::<u64>();
    emitter.enter(Level::Experiment, "exp").unwrap();
    emitter.enter(Level::Step, "outer").unwrap();
    for number in 0..30_000 {
        let (test, step) = (format!("test {number}"), format!("step {number}"));
        let mut within = emitter.within(Level::Test, &test).unwrap();
        let mut within = within.within(Level::Step, &step).unwrap();
        within.emit(Symbol::from_bits(7), &Sample { value: 1 }).unwrap();
        // The step that was left for the test is held by the guard.
        assert_eq!(symbols.held_bytes(), cost(&["exp", "outer", &test, &step]));
        drop(within);
        while pipeline.poll() > 0 {}
    }
    assert_eq!(symbols.held_bytes(), cost(&["exp", "outer"]));
    assert_eq!(symbols.name(Symbol::of("outer")).as_deref(), Some("outer"));
    assert!(symbols.evicted() > 50_000, "{symbols:?}");
    assert_eq!((symbols.evicted_early(), symbols.hold_refused(), symbols.refused()), (0, 0, 0));
    drop(emitter);
    assert_eq!(symbols.held_bytes(), 0);
    let snapshot = pipeline.shutdown();
    snapshot.account.check().unwrap();
}

#[test]
fn the_name_that_a_typed_emitter_uses_is_never_lost_and_let_go_with_its_emitter() {
    let symbols = Arc::new(Symbols::with_limits(SMALL, SMALL));
    let pipeline = start(&symbols);
    let mut emitter = pipeline.emitter("runner").unwrap();
    for number in 0..1_000 {
        emitter
            .service(&format!("service {number}"))
            .created("name", "quic", "picoquic", Value::Null)
            .unwrap();
        while pipeline.poll() > 0 {}
    }
    let few = symbols.held_bytes();
    assert!((128 * 32..=145 * 64).contains(&few), "{few} bytes of some 64 names");
    let mut server = emitter.service("server");
    for _ in 0..200 {
        fill(&symbols, 100);
        server.created("name", "quic", "picoquic", Value::Null).unwrap();
        while pipeline.poll() > 0 {}
    }
    assert_eq!(symbols.name(Symbol::of("server")).as_deref(), Some("server"));
    drop(emitter);
    assert_eq!(symbols.held_bytes(), 0);
    fill(&symbols, 10_000);
    assert_eq!(symbols.name(Symbol::of("server")), None);
    pipeline.shutdown().account.check().unwrap();
}

/// Runs one after the other fill nothing up for good: what each report holds goes with it.
#[test]
fn reports_hold_the_names_that_they_tell_of_and_let_them_go() {
    let symbols = Arc::new(Symbols::with_limits(SMALL, 1 << 20));
    for run in 0..100 {
        let mut builder =
            Builder::new(PipelineOptions { topology: Topology::Inline, ..PipelineOptions::default() });
        let results =
            builder.observer("results", |setup| Results::new(setup.schema, setup.symbols, setup.contexts));
        let query = StateQuery::new(StateOptions::default());
        let states = builder
            .observer("state", move |setup| query.observer(setup.schema, setup.symbols, setup.contexts));
        builder.symbols(Arc::clone(&symbols));
        let pipeline = builder.start().unwrap();
        let mut emitter = pipeline.emitter("runner").unwrap();
        let names: Vec<_> =
            (0..20).map(|number| (format!("test {run} {number}"), format!("step {run} {number}"))).collect();
        for (test, step) in &names {
            let mut within = emitter.within(Level::Test, test).unwrap();
            within.test(test).setup_started(Value::Null, Default::default()).unwrap();
            within.step(step).execution_started(Value::Null, "step", Default::default()).unwrap();
            while pipeline.poll() > 0 {}
        }
        drop(emitter);
        let snapshot = pipeline.shutdown();
        fill(&symbols, 1_000);
        let tree = snapshot.report(results).unwrap().tree();
        let told: Vec<_> = tree
            .tests
            .iter()
            .map(|test| {
                (
                    symbols.name(test.test).unwrap().to_string(),
                    symbols.name(test.steps[0].step).unwrap().to_string(),
                )
            })
            .collect();
        assert_eq!(told, names);
        let states = snapshot.report(states).unwrap();
        let mut known = 0;
        for entity in states.entities() {
            let parts: Vec<_> = entity.context.parts().map(|(_, name)| symbols.name(name).unwrap()).collect();
            assert!(symbols.name(entity.entity).is_some() && parts.len() <= 1);
            known += 1;
        }
        assert_eq!(known, 40);
        drop(snapshot);
        assert_eq!(symbols.held_bytes(), 0, "run {run}");
    }
    assert_eq!((symbols.hold_refused(), symbols.missed()), (0, 0));
}

#[test]
fn a_context_whose_name_was_evicted_is_restored_as_it_was() {
    let symbols = Arc::new(Symbols::with_limits(SMALL, SMALL));
    let pipeline = start(&symbols);
    // What is held takes all it may before: a quarter by whoever likes, an eighth by emitters.
    let mut held = Vec::new();
    let mut others: Vec<_> = (0..8).map(|_| pipeline.emitter("other").unwrap()).collect();
    for number in 0..1_000 {
        let name = format!("entity {number}");
        held.extend(Held::name(&symbols, symbols.intern(&name).unwrap()));
        for (at, other) in others.iter_mut().enumerate() {
            let _held = other.service(&format!("{at} {name}"));
        }
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
    assert!(warnings.iter().any(|warning| warning.contains("could not be held")), "{warnings:?}");
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
