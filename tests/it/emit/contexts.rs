//! What is set once on an emitter holds for all that it emits, and can be asked for; records do not carry it.
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use crate::support::random::{Rng, seed};
use panther_events::domain::step;
use panther_events::emit::{ContextEntered, ContextError, Emitter};
use panther_events::event::{
    Context, ContextRefused, Detail, Domain, Identity, KindSet, Level, Payload, Record, Symbol, Symbols,
    Value,
};
use panther_events::observe::history::History;
use panther_events::observe::state::{StateOptions, StateQuery};
use panther_events::pipeline::{Builder, Pipeline, PipelineOptions, Topology};
use std::collections::HashMap;

const TOPOLOGIES: [Topology; 3] =
    [Topology::Inline, Topology::Fused, Topology::Staged { dedup: 3, workers: 2 }];

fn builder(topology: Topology) -> Builder {
    Builder::new(PipelineOptions { topology, ..PipelineOptions::default() })
}

fn progress(emitter: &mut Emitter, step: &str) {
    emitter.step(step).progress("going on", step, step::Progress::default()).unwrap();
}

/// Emitters enter and leave at random; a map says what each number should belong to.
#[test]
fn every_event_belongs_to_the_context_that_its_emitter_was_in() {
    for topology in TOPOLOGIES {
        let mut rng = Rng::new(seed());
        let mut builder = builder(topology);
        let key = builder.observer("history", |_| History::new(1 << 16));
        let pipeline = builder.start().unwrap();
        let mut oracle: HashMap<(u16, u32), Context> = HashMap::new();
        let mut emitters: Vec<_> =
            (0..4).map(|_| (pipeline.emitter("e").unwrap(), Context::NONE, 0)).collect();
        for _ in 0..2_000 {
            let which = rng.below(4) as usize;
            let (emitter, context, next) = &mut emitters[which];
            match rng.below(8) {
                0 => {
                    let level = Level::ALL[rng.below(6) as usize];
                    let name = format!("{}-{}", level.name(), rng.below(3));
                    let entered = context.entered(level, Symbol::of(&name));
                    emitter.enter(level, &name).unwrap();
                    // The definition has a number too, unless nothing changed.
                    if entered != *context {
                        oracle.insert((emitter.source(), *next), entered);
                        *next += 1;
                    }
                    *context = entered;
                }
                1 => {
                    // In a part and out of it again.
                    let entered = context.entered(Level::Step, Symbol::of("guarded"));
                    if entered == *context {
                        continue;
                    }
                    let mut within = emitter.within(Level::Step, "guarded").unwrap();
                    progress(&mut within, "s");
                    drop(within);
                    oracle.insert((emitter.source(), *next), entered);
                    oracle.insert((emitter.source(), *next + 1), entered);
                    oracle.insert((emitter.source(), *next + 2), *context);
                    *next += 3;
                }
                _ => {
                    progress(emitter, "s");
                    oracle.insert((emitter.source(), *next), *context);
                    *next += 1;
                }
            }
            assert_eq!(emitter.context(), *context);
            pipeline.poll();
        }
        drop(emitters);
        let snapshot = pipeline.shutdown();
        snapshot.account.check().unwrap();
        let history = snapshot.report(key).unwrap();
        assert_eq!(history.len(), oracle.len(), "{topology}");
        for record in history.iter() {
            let wanted = oracle[&(record.source(), record.seq())];
            assert_eq!(snapshot.contexts.of(record), wanted, "{topology} {record:?}");
        }
        let outer = Context::of(Level::Test, "test-1");
        let within = oracle.values().filter(|context| context.is_within(&outer)).count();
        assert!(within > 0);
        assert_eq!(history.within(&snapshot.contexts, &outer).count(), within, "{topology}");
    }
}

#[test]
fn definitions_are_events_from_which_the_contexts_can_be_had_back() {
    let mut builder = builder(Topology::Inline);
    let key = builder.observer("history", |_| History::new(1 << 10));
    let pipeline = builder.start().unwrap();
    let mut emitter = pipeline.emitter("runner").unwrap();
    emitter.enter(Level::Experiment, "exp \"1\"").unwrap();
    let mut test = emitter.within(Level::Test, "t").unwrap();
    progress(&mut test, "s");
    drop(test);
    progress(&mut emitter, "s");
    emitter.set_context(Context::NONE).unwrap();
    progress(&mut emitter, "s");
    drop(emitter);
    let snapshot = pipeline.shutdown();
    let history = snapshot.report(key).unwrap();
    let elsewhere = Builder::default().start().unwrap();
    let definitions = history.of_kinds(KindSet::of(&[ContextEntered::KIND]));
    for record in definitions {
        let detail = record.payload::<ContextEntered>().unwrap().context;
        let document = snapshot.symbols.details().text(detail);
        elsewhere.contexts().restore(record.source(), record.seq(), document.as_deref()).unwrap();
    }
    let contexts = |of: &dyn Fn(&Record) -> Context| history.iter().map(of).collect::<Vec<_>>();
    let known = contexts(&|record| snapshot.contexts.of(record));
    assert_eq!(known, contexts(&|record| elsewhere.contexts().of(record)));
    assert_eq!(known.iter().filter(|context| context.is_none()).count(), 2);
}

#[test]
fn the_states_of_what_belongs_to_a_test_can_be_asked_for() {
    let mut builder = builder(Topology::Inline);
    let query = StateQuery::new(StateOptions::default());
    let observed = query.clone();
    builder.observer("state", move |setup| observed.observer(setup.schema, setup.symbols, setup.contexts));
    let pipeline: Pipeline = builder.start().unwrap();
    let mut emitter = pipeline.emitter("runner").unwrap();
    for test in ["a", "b"] {
        let mut within = emitter.within(Level::Test, test).unwrap();
        within.test(test).teardown_started().unwrap();
        for service in ["shared", test] {
            within.service(service).created(service, "quic", "picoquic", Value::Null).unwrap();
        }
    }
    emitter.service("alone").created("alone", "quic", "picoquic", Value::Null).unwrap();
    while pipeline.poll() > 0 {}
    let of = |test| {
        let states = query.within(pipeline.contexts(), &Context::of(Level::Test, test));
        states.iter().map(|state| (state.domain, state.entity)).collect::<Vec<_>>()
    };
    let mut wanted = vec![
        (Domain::TEST, Symbol::of("a")),
        (Domain::SERVICE, Symbol::of("shared")),
        (Domain::SERVICE, Symbol::of("a")),
    ];
    wanted.sort_unstable();
    assert_eq!(of("a"), wanted);
    assert_eq!(of("b").len(), 3);
    assert_eq!(of("c"), []);
    let shared = pipeline.contexts().of_entity(Domain::SERVICE, Symbol::of("shared"));
    assert_eq!(shared, [Context::of(Level::Test, "a"), Context::of(Level::Test, "b")]);
}

/// The number of an emitter that is gone may be another's, which is in no context.
#[test]
fn a_context_ends_with_its_emitter() {
    let pipeline = builder(Topology::Inline).start().unwrap();
    let mut emitter = pipeline.emitter("short").unwrap();
    emitter.enter(Level::Test, "t").unwrap();
    let (source, after) = (emitter.source(), emitter.sent().offered());
    drop(emitter);
    let kind = step::KINDS[3].kind;
    let symbols = Symbols::new();
    let record = |seq: u64| {
        let payload = ContextEntered { context: symbols.details().intern("1").unwrap() };
        let identity = panther_events::event::Identity::Occurrence;
        Record::new(identity, 0, Symbol::NONE, &payload).numbered(source, seq as u32)
    };
    assert_eq!(kind.domain(), Domain::STEP);
    assert!(!pipeline.contexts().of(&record(after - 1)).is_none());
    assert!(pipeline.contexts().of(&record(after)).is_none());
}

#[cfg(feature = "json")]
#[test]
fn the_event_log_writes_contexts_and_can_keep_to_one() {
    use panther_events::export::from_snapshot::EventFile;
    use panther_events::export::{Overwrite, ResultDir};
    let dir = tempfile::tempdir().unwrap();
    let results = ResultDir::create(dir.path().join("r"), Overwrite::Refuse).unwrap();
    let all = EventFile::new(results.file("all.jsonl").unwrap());
    let one = EventFile::new(results.file("one.jsonl").unwrap()).within(Context::of(Level::Step, "2"));
    let mut builder = builder(Topology::Inline);
    for (name, file) in [("all", all.clone()), ("one", one.clone())] {
        builder.observer(name, move |setup| file.observer(setup, false));
    }
    let pipeline = builder.start().unwrap();
    let mut emitter = pipeline.emitter("runner").unwrap();
    progress(&mut emitter, "0");
    emitter.enter(Level::Test, "t \u{1b}").unwrap();
    for step in ["1", "2"] {
        let mut within = emitter.within(Level::Step, step).unwrap();
        progress(&mut within, step);
    }
    drop(emitter);
    pipeline.shutdown().account.check().unwrap();
    all.commit().unwrap();
    one.commit().unwrap();
    results.commit().unwrap();
    let lines = |name: &str| -> Vec<serde_json::Value> {
        let text = std::fs::read_to_string(dir.path().join("r").join(name)).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    let contexts = |name: &str| -> Vec<serde_json::Value> {
        let progress = |line: &serde_json::Value| line["kind"] == "step.progress";
        lines(name).into_iter().filter(progress).map(|mut line| line["context"].take()).collect()
    };
    let step = |step: &str| serde_json::json!({"test": "t \u{1b}", "step": step});
    assert_eq!(contexts("all.jsonl"), [serde_json::Value::Null, step("1"), step("2")]);
    assert_eq!(contexts("one.jsonl"), [step("2")]);
    // The definition of the context that was entered, and the event in it.
    assert_eq!(lines("one.jsonl").len(), 2);
}

/// A record that was emitted elsewhere under the source and a number of an emitter here is in no context of that one.
#[test]
fn events_that_were_numbered_elsewhere_come_into_no_context_of_this_pipeline() {
    let old = Record::new(
        Identity::Occurrence,
        7,
        Symbol::of("connect"),
        &ContextEntered { context: Detail::NONE },
    )
    .numbered(0, 4);
    for topology in TOPOLOGIES {
        let pipeline = builder(topology).start().unwrap();
        let mut live = pipeline.emitter("live").unwrap();
        let mut replay = pipeline.emitter("replay").unwrap();
        {
            let mut within = live.within(Level::Test, "t").unwrap();
            let sent = replay.emit_numbered([old; 3]);
            assert_eq!((sent.accepted, sent.rejected), (0, 3), "{topology}");
            assert_eq!(
                pipeline.contexts().restore(0, 9, Some("{\"test\":\"u\"}")),
                Err(ContextRefused::Mixed)
            );
            progress(&mut within, "connect");
        }
        drop((live, replay));
        let account = pipeline.shutdown().account;
        account.check().unwrap();
        assert_eq!(account.rejected, 3, "{topology}");
        // The other way round.
        let pipeline = builder(topology).start().unwrap();
        let mut live = pipeline.emitter("live").unwrap();
        let mut replay = pipeline.emitter("replay").unwrap();
        assert_eq!(replay.emit_numbered([old]).accepted, 1, "{topology}");
        let refused = live.within(Level::Test, "t").err();
        assert_eq!(refused, Some(ContextError::Refused(ContextRefused::Mixed)), "{topology}");
        assert!(pipeline.contexts().of(&old).is_none());
        assert_eq!(pipeline.contexts().restore(0, 0, Some("{\"test\":\"u\"}")), Ok(()));
    }
}
