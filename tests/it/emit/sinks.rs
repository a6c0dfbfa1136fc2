//! Ways to distribute events other than one emitter: into two pipelines, some of them only, checked before, by name.
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use panther_events::clock::Clock;
use panther_events::domain::{TypedSink, metrics, step};
use panther_events::emit::sink::Keyed;
use panther_events::emit::{EmitError, Emitter, EventSink, NotAllowed, RateLimited, Sampled, Tee};
use panther_events::event::{Context, Domain, EventId, KindSet, Level, Record, Symbol, Value};
use panther_events::observe::history::{History, HistoryReport};
use panther_events::observe::state::{StateOptions, StateQuery};
use panther_events::pipeline::{
    Builder, EmitterPool, Pipeline, PipelineOptions, ReportKey, Topology, Validated,
};
use std::num::NonZeroU32;
use std::sync::Arc;

fn start() -> (Pipeline, Emitter, ReportKey<HistoryReport>) {
    let mut builder =
        Builder::new(PipelineOptions { topology: Topology::Fused, ..PipelineOptions::default() });
    let key = builder.observer("history", |_| History::new(1 << 16));
    let pipeline = builder.start().unwrap();
    let emitter = pipeline.emitter("e").unwrap();
    (pipeline, emitter, key)
}

fn timing(sink: &mut impl EventSink, time_ns: u64) -> Result<(), EmitError> {
    let duration = std::time::Duration::from_nanos(time_ns);
    sink.metrics("rtt").at(time_ns).timing("echo", duration, metrics::TimingMetric::default())
}

#[test]
fn a_tee_gives_two_pipelines_the_same_events_with_all_their_names() {
    let (one, first, first_key) = start();
    let (other, second, second_key) = start();
    let mut tee = Tee::new(first, second);
    let config = [("nested", Value::from(&["a", "b"]))];
    tee.test("handshake").at(7).created("handshake", Value::Map(&config), Default::default()).unwrap();
    timing(&mut tee, 8).unwrap();
    drop(tee);
    let lines = [(one, first_key), (other, second_key)].map(|(pipeline, key)| {
        let snapshot = pipeline.shutdown();
        let line = |record: &Record| {
            let kind = snapshot.schema.name(record.kind()).unwrap().to_owned();
            let detail = snapshot.schema.fields(record.kind()).unwrap()[0].read(record.payload_bytes());
            let Some(panther_events::event::payload::FieldValue::Detail(detail)) = detail else {
                return None;
            };
            let document = snapshot.symbols.details().text(detail)?;
            let entity = snapshot.symbols.name(record.entity())?;
            // Two pipelines, two happenings: the ids differ.
            assert_eq!(
                record.id(),
                Some(record.numbered(record.source(), record.seq()).id_in(snapshot.origin))
            );
            Some((record.time_ns(), kind, entity, document))
        };
        snapshot.report(key).unwrap().iter().map(|record| line(record).unwrap()).collect::<Vec<_>>()
    });
    assert_eq!(lines[0].len(), 2);
    assert_eq!(lines[0], lines[1]);
    assert!(lines[0][0].3.contains("nested"));
}

/// A typed emitter over a sink makes the same records as one over an emitter.
#[test]
fn a_sink_gets_what_an_emitter_gets() {
    let (pipeline, mut emitter, key) = start();
    let events = |test: &mut panther_events::domain::test::TestEmitter<'_>| {
        test.created("t", Value::from(4), Default::default()).unwrap();
        test.teardown_started().unwrap();
        test.assertion_checked("equal", true, Default::default()).unwrap();
    };
    events(&mut emitter.test("t"));
    events(&mut TypedSink::test(&mut emitter, "t"));
    drop(emitter);
    let snapshot = pipeline.shutdown();
    assert_eq!((snapshot.account.unique, snapshot.account.duplicates), (6, 0));
    let content = |record: &Record| (record.kind(), record.entity(), *record.payload_bytes());
    let records: Vec<_> = snapshot.report(key).unwrap().iter().map(content).collect();
    let (emitted, sunk) = records.split_at(3);
    assert_eq!(emitted, sunk);
}

#[test]
fn sampling_takes_every_nth_of_each_kind_and_counts_the_rest() {
    let (pipeline, emitter, key) = start();
    let every = NonZeroU32::new(10).unwrap();
    let mut sampled = Sampled::new(emitter, KindSet::domain(Domain::METRICS), every);
    for n in 0..95 {
        timing(&mut sampled, n).unwrap();
        sampled.metrics("load").at(n).resource("cpu", 0.5, Default::default()).unwrap();
        sampled.step("s").at(n).progress("on", "s", step::Progress::default()).unwrap();
    }
    assert_eq!(sampled.left_out(), 85 + 85);
    drop(sampled);
    let snapshot = pipeline.shutdown();
    assert_eq!(snapshot.account.offered, 10 + 10 + 95);
    let timings = snapshot.schema.select("metrics.timing");
    let times: Vec<u64> = snapshot.report(key).unwrap().of_kinds(timings).map(Record::time_ns).collect();
    assert_eq!(times, [0, 10, 20, 30, 40, 50, 60, 70, 80, 90]);
}

#[test]
fn a_rate_limit_lets_bursts_through_and_then_the_rate() {
    let (pipeline, emitter, _) = start();
    let (clock, hand) = Clock::manual(1_000);
    let mut limited = RateLimited::new(emitter, KindSet::domain(Domain::METRICS), 100, 5, clock);
    let passed = |limited: &mut RateLimited<Emitter>, events: u64| {
        let before = limited.left_out();
        (0..events).for_each(|n| timing(limited, n).unwrap());
        events - (limited.left_out() - before)
    };
    assert_eq!(passed(&mut limited, 20), 5);
    hand.set_ns(1_000 + 9_999_999);
    assert_eq!(passed(&mut limited, 20), 0);
    hand.set_ns(1_000 + 10_000_000);
    assert_eq!(passed(&mut limited, 20), 1);
    // A clock that goes back, and one that stands still for long.
    hand.set_ns(500);
    assert_eq!(passed(&mut limited, 20), 0);
    hand.set_ns(1_000_000_000_000);
    assert_eq!(passed(&mut limited, 20), 5);
    limited.step("s").progress("on", "s", step::Progress::default()).unwrap();
    let left_out = limited.left_out();
    drop(limited);
    assert_eq!(pipeline.shutdown().account.offered + left_out, 100 + 1);
}

#[test]
fn what_a_state_does_not_allow_is_refused_with_what_it_would_allow() {
    for topology in [Topology::Inline, Topology::Fused] {
        let states = StateQuery::new(StateOptions::default());
        let query = states.clone();
        let mut builder = Builder::new(PipelineOptions { topology, ..PipelineOptions::default() });
        builder.observer("state", move |setup| query.observer(setup.schema, setup.symbols, setup.contexts));
        let pipeline = builder.start().unwrap();
        let mut checked = Validated::new(pipeline.emitter("runner").unwrap(), states.clone(), &pipeline);
        // Where its own events lead is known before they are observed.
        let started = step::ExecutionStarted::default();
        checked.step("s").execution_started(Value::Null, "s", started).unwrap();
        checked.step("s").progress("on", "s", step::Progress::default()).unwrap();
        // The observer is behind by what comes from here on.
        pipeline.drain(std::time::Duration::from_secs(10)).unwrap();
        checked.step("s").execution_completed("s", step::ExecutionCompleted::default()).unwrap();
        let refused = checked.step("s").execution_started(Value::Null, "s", started).unwrap_err();
        let expected = NotAllowed {
            domain: "step".into(),
            entity: "s".into(),
            state: "completed".into(),
            event: "execution_started".into(),
            allowed: Vec::new(),
        };
        assert_eq!(refused, EmitError::NotAllowed(Box::new(expected)));
        let text = refused.to_string();
        assert!(text.contains("step \"s\" is completed") && text.contains("none, it has ended"), "{text}");
        // Another emitter moves an entity; the observer knows.
        pipeline.emitter("other").unwrap().step("t").skipped("no time", "t", Default::default()).unwrap();
        pipeline.drain(std::time::Duration::from_secs(10)).unwrap();
        assert!(checked.step("t").execution_started(Value::Null, "t", started).is_err());
        assert_eq!(checked.refused(), 2);
        drop(checked);
        let snapshot = pipeline.shutdown();
        let account = snapshot.account;
        assert_eq!((account.accepted, account.rejected, states.invalid().len()), (4, 2, 0), "{topology}");
    }
}

/// It may have told of a failure: no account may pass over it.
#[test]
fn what_a_sink_refuses_is_counted_through_all_others() {
    let states = StateQuery::new(StateOptions::default());
    let query = states.clone();
    let options = PipelineOptions { topology: Topology::Inline, ..PipelineOptions::default() };
    let mut builder = Builder::new(options);
    builder.observer("state", move |setup| query.observer(setup.schema, setup.symbols, setup.contexts));
    let pipeline = builder.start().unwrap();
    let (other, second, _) = start();
    let rate = |sink| RateLimited::new(sink, KindSet::EMPTY, 1, 1, Clock::manual(0).0);
    let first: Box<dyn EventSink> = Box::new(rate(pipeline.emitter("runner").unwrap()));
    let mut tee = Tee::new(Sampled::new(first, KindSet::EMPTY, NonZeroU32::MIN), second);
    let validated = Validated::new(&mut tee, states.clone(), &pipeline);
    let mut keyed = Keyed::new(Validated::new(validated, states, &pipeline), EventId::key(&["k"]));
    let refused = keyed.step("s").execution_completed("s", Default::default()).unwrap_err();
    assert!(matches!(refused, EmitError::NotAllowed(_)), "{refused}");
    keyed.step("s").execution_started(Value::Null, "s", Default::default()).unwrap();
    let refused = keyed.step("s").execution_failed("boom", 0, "s", Default::default()).unwrap_err();
    assert!(matches!(refused, EmitError::KeyUsed(_)), "{refused}");
    drop(tee);
    for account in [pipeline.shutdown().account, other.shutdown().account] {
        assert_eq!((account.offered, account.accepted, account.rejected), (3, 1, 2));
    }
}

#[test]
fn the_emitter_of_an_entity_is_had_by_its_name_from_any_thread() {
    let (pipeline, own, key) = start();
    drop(own);
    let context = Context::of(Level::Test, "handshake");
    let emitters = EmitterPool::sharing(pipeline.handle(), 2.try_into().unwrap()).within(context);
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let emitters = emitters.clone();
            scope.spawn(move || {
                for n in 0..50 {
                    let step = emitters.step(&format!("step-{n}")).unwrap();
                    let message = format!("{thread}");
                    step.emit(|mut step| step.progress(&message, "s", step::Progress::default())).unwrap();
                }
            });
        }
    });
    let service = emitters.service("server").unwrap();
    assert_eq!(service.name(), "server");
    service.emit(|mut service| service.created("server", "quic", "picoquic", Value::Null)).unwrap();
    let snapshot = pipeline.shutdown();
    // And the definition of the context by each of both.
    assert_eq!(snapshot.account.unique, 4 * 50 + 1 + 2);
    let report = snapshot.report(key).unwrap();
    assert!(report.iter().all(|record| snapshot.contexts.of(record) == context));
    // Each entity's events are of one source.
    for n in 0..50 {
        let entity = Symbol::of(&format!("step-{n}"));
        let mut sources: Vec<u16> =
            report.iter().filter(|record| record.entity() == entity).map(Record::source).collect();
        sources.dedup();
        assert_eq!(sources.len(), 1);
    }
    assert!(matches!(
        emitters.service("late").unwrap().emit(|mut s| s.ready("late", Default::default())),
        Err(EmitError::Closed)
    ));
    let fresh = EmitterPool::new(pipeline_handle_of_a_closed_one());
    assert_eq!(fresh.service("server").err(), Some(EmitError::Closed));
}

#[test]
fn emissions_by_name_may_nest_whichever_emitters_the_names_share() {
    let (pipeline, own, _) = start();
    drop(own);
    let emitters = EmitterPool::new(pipeline.handle());
    let (done, ended) = std::sync::mpsc::channel();
    // On a thread of its own, so that a deadlock fails the test.
    std::thread::spawn(move || {
        for n in 0..100 {
            let inner = format!("b{n}");
            for name in ["a", &inner] {
                let (outer, inner) = (emitters.service(name).unwrap(), emitters.service(&inner).unwrap());
                outer.emit(|mut service| {
                    inner.emit(|mut service| service.ready("inner", Default::default())).unwrap();
                    service.ready("outer", Default::default()).unwrap();
                });
            }
        }
        done.send(()).unwrap();
    });
    ended.recv_timeout(std::time::Duration::from_secs(10)).unwrap();
    assert_eq!(pipeline.shutdown().account.offered, 100 * 4);
}

fn pipeline_handle_of_a_closed_one() -> panther_events::pipeline::Handle {
    let (pipeline, _, _) = start();
    let handle = pipeline.handle();
    drop(pipeline.shutdown());
    handle
}

/// A sink from outside of the crate: it keeps names.
#[derive(Default)]
struct Names(Vec<Arc<str>>);

impl EventSink for Names {
    fn emit_event(&mut self, event: &panther_events::emit::TypedEvent<'_>) -> Result<(), EmitError> {
        self.0.push(format!("{} {:?} {}", event.entity, event.time_ns, event.document).into());
        Ok(())
    }

    fn emit_record(&mut self, _: Record) -> Result<(), EmitError> {
        Err(EmitError::Closed)
    }

    fn context(&self) -> Context {
        Context::NONE
    }
}

/// Behind a tee each emitter has a context of its own: one may be in two tests, and the other in none.
#[test]
fn a_key_names_one_fact_in_each_test_whatever_sink_is_between() {
    let (one, mut first, _) = start();
    let (other, mut second, _) = start();
    for test in ["a", "b"] {
        let mut within = second.within(Level::Test, test).unwrap();
        let mut keyed = Keyed::new(Tee::new(&mut first, &mut *within), EventId::key(&["k"]));
        keyed.assertion("rtt").result(test == "a", "", "rtt", Default::default()).unwrap();
    }
    drop((first, second));
    assert_eq!(one.shutdown().account.duplicates, 1, "it was in no test both times");
    assert_eq!(other.shutdown().account.duplicates, 0);
}

#[test]
fn a_sink_of_the_users_own_gets_names_and_documents_as_text() {
    let mut names = Names::default();
    names.assertion("a").at(5).unknown("who knows", "a", Default::default()).unwrap();
    let mut service = names.test("t");
    service.teardown_started().unwrap();
    service.teardown_started().unwrap();
    let document = r#"{"reason":"who knows","assertion_name":"a","action":"assertion_unknown","context":null,"test_case_id":null,"step_id":null}"#;
    assert_eq!(*names.0[0], format!("a Some(5) {document}"));
    assert_eq!((names.0.len(), &*names.0[2]), (3, "t None "));
}
