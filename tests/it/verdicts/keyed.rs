//! Promise: of several who tell of one fact under a key, the worst counts, whoever was first.
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use crate::support::verdicts::{Emitted, TOPOLOGIES, begin_at, builder, end_at, verdicts};
use panther_events::domain::{TypedSink, test};
use panther_events::emit::Emitter;
use panther_events::event::{EventId, Level, Value};
use panther_events::observe::results::Results;
use std::time::Duration;

/// Tells of one fact, well or ill.
type Tell = fn(&mut Emitter, bool) -> Emitted;

fn key() -> EventId {
    EventId::key(&["run 7", "attempt 1", "rtt"])
}

const FACTS: [(&str, Tell); 6] = [
    ("a result", |e, is_good| {
        Ok(e.keyed(key()).assertion("rtt").at(40).result(is_good, "", "rtt", Default::default())?)
    }),
    ("a validation", |e, is_good| {
        let passed = u64::from(is_good);
        let mut keyed = e.keyed(key());
        Ok(keyed.assertion("rtt").at(40).validation_completed(
            passed,
            1 - passed,
            1,
            "rtt",
            Default::default(),
        )?)
    }),
    ("a check", |e, is_good| {
        Ok(e.keyed(key()).test("t").at(40).assertion_checked("rtt", is_good, Default::default())?)
    }),
    ("checks", |e, is_good| {
        let passed = u64::from(is_good);
        Ok(e.keyed(key()).test("t").at(40).assertions_completed(1, passed, 1 - passed, is_good)?)
    }),
    ("an execution", |e, is_good| {
        let more = test::ExecutionCompleted { assertions_passed: Some(is_good), ..Default::default() };
        Ok(e.keyed(key()).test("t").at(40).execution_completed(more)?)
    }),
    ("what a tester found", |e, is_good| {
        Ok(e.keyed(key()).service("ivy").at(40).test_results(
            "ivy",
            Value::Null,
            is_good,
            Default::default(),
        )?)
    }),
];

/// The verdict on the test, how many said worse, and how many warnings say so.
fn told(topology: usize, tell: Tell, says: &[bool]) -> (Vec<&'static str>, u64, usize) {
    let mut builder = builder(TOPOLOGIES[topology]);
    let results =
        builder.observer("results", |setup| Results::new(setup.schema, setup.symbols, setup.contexts));
    let pipeline = builder.start().unwrap();
    let mut runner = pipeline.emitter("runner").unwrap();
    runner.enter(Level::Test, "t").unwrap();
    begin_at(&mut runner, "t", 1).unwrap();
    runner.assertion("rtt").at(30).validation_started("rtt", Default::default()).unwrap();
    runner.test("t").at(30).assertions_started(Value::Null).unwrap();
    let mut tellers: Vec<Emitter> = says.iter().map(|_| pipeline.emitter("teller").unwrap()).collect();
    for (teller, says) in tellers.iter_mut().zip(says) {
        teller.enter(Level::Test, "t").unwrap();
        tell(teller, *says).unwrap();
        pipeline.drain(Duration::from_secs(10)).unwrap();
    }
    // What the fact is not ends by itself.
    runner.assertion("rtt").at(50).result(true, "", "rtt", Default::default()).unwrap();
    runner.test("t").at(50).assertions_completed(1, 1, 0, true).unwrap();
    end_at(&mut runner, "t", 100).unwrap();
    drop((runner, tellers));
    let snapshot = pipeline.shutdown();
    snapshot.account.check().unwrap();
    assert_eq!(snapshot.account.duplicates, says.len() as u64 - 1);
    let report = snapshot.report(results).unwrap();
    let warnings = snapshot.warnings.iter().filter(|warning| warning.contains("teller of their key"));
    (verdicts(&report.tree()), report.contrary(), warnings.count())
}

#[test]
fn the_worst_that_is_told_under_a_key_counts() {
    for (what, tell) in FACTS {
        for topology in 0..TOPOLOGIES.len() {
            for (says, verdict, contrary) in [
                (&[true][..], "passed", 0),
                (&[true, true], "passed", 0),
                (&[true, false], "failed", 1),
                (&[true, true, false, false, true], "failed", 1),
                (&[false, true], "failed", 0),
                (&[false, false], "failed", 0),
            ] {
                let right = (vec![verdict], contrary, usize::from(contrary > 0));
                assert_eq!(told(topology, tell, says), right, "{what} {says:?} {topology}");
            }
        }
    }
}

/// What all say of a step that failed and was retried.
#[test]
fn a_failure_that_several_tell_under_a_key_can_be_retried() {
    let mut builder = builder(TOPOLOGIES[0]);
    let results =
        builder.observer("results", |setup| Results::new(setup.schema, setup.symbols, setup.contexts));
    let pipeline = builder.start().unwrap();
    let [mut runner, mut other] = ["runner", "other"].map(|name| pipeline.emitter(name).unwrap());
    for emitter in [&mut runner, &mut other] {
        emitter.enter(Level::Test, "t").unwrap();
    }
    begin_at(&mut runner, "t", 1).unwrap();
    runner.step("s").at(10).execution_started(Value::Null, "s", Default::default()).unwrap();
    for emitter in [&mut runner, &mut other] {
        emitter.keyed(key()).step("s").at(20).execution_failed("boom", 0, "s", Default::default()).unwrap();
    }
    runner.step("s").at(30).execution_started(Value::Null, "s", Default::default()).unwrap();
    runner.step("s").at(40).execution_completed("s", Default::default()).unwrap();
    end_at(&mut runner, "t", 100).unwrap();
    drop((runner, other));
    let snapshot = pipeline.shutdown();
    assert_eq!(snapshot.account.duplicates, 1);
    let report = snapshot.report(results).unwrap();
    assert_eq!((verdicts(&report.tree()), report.contrary()), (vec!["passed"], 0));
}

/// The first one told that all is well before the observer was there, and the second one that it is not when it was.
#[test]
fn a_failure_counts_of_which_the_first_teller_was_not_seen() {
    for topology in TOPOLOGIES {
        let mut builder = builder(topology);
        // Late observers see whole what one has seen so from the start.
        builder.observer("first", |setup| Results::new(setup.schema, setup.symbols, setup.contexts));
        let pipeline = builder.start().unwrap();
        let mut tellers = ["one", "other"].map(|name| pipeline.emitter(name).unwrap());
        let tell = |teller: &mut Emitter, is_good| {
            teller.enter(Level::Test, "t").unwrap();
            teller
                .keyed(key())
                .assertion("rtt")
                .at(40)
                .result(is_good, "", "rtt", Default::default())
                .unwrap();
            pipeline.drain(Duration::from_secs(10)).unwrap();
        };
        tell(&mut tellers[0], true);
        let late = pipeline
            .add_observer("late", |setup| Results::new(setup.schema, setup.symbols, setup.contexts))
            .unwrap();
        let mut runner = pipeline.emitter("runner").unwrap();
        runner.enter(Level::Test, "t").unwrap();
        begin_at(&mut runner, "t", 1).unwrap();
        tell(&mut tellers[1], false);
        end_at(&mut runner, "t", 100).unwrap();
        drop((runner, tellers));
        let snapshot = pipeline.shutdown();
        assert_eq!(verdicts(&snapshot.report(late).unwrap().tree()), ["failed"], "{topology}");
    }
}

/// What a worker that does not return has not told may be a failure, though all that the observer of results had passed.
#[cfg(feature = "json")]
#[test]
fn a_worker_that_does_not_answer_leaves_a_doubt() {
    use panther_events::Shared;
    use panther_events::domain::{DomainDef, KindDef};
    use panther_events::event::{Domain, EventKind, Identity, KindSet, Payload, Symbol};
    use panther_events::export::summary::ResultsSummary;
    use panther_events::observe::{Batch, Interest, Observer, Scope, Undelivered};
    use panther_events::pipeline::{Builder, PipelineOptions, Topology};
    use std::sync::mpsc::{Receiver, channel};
    use std::sync::{Arc, Mutex};

    panther_events::payload! {
        struct Sample [EventKind::new(Domain::FIRST_USER, 0)] { value: u64 }
    }
    const LAB: DomainDef = DomainDef {
        domain: Domain::FIRST_USER,
        name: Shared::Static("lab"),
        kinds: Shared::Static(&[KindDef::of::<Sample>("sample", Identity::Occurrence)]),
        states: None,
    };

    struct Stuck(usize, Arc<Mutex<Receiver<()>>>);
    impl Observer for Stuck {
        type Report = ();
        fn interest(&self) -> Interest {
            Interest { kinds: KindSet::of(&[Sample::KIND]), duplicates: false, scope: Scope::Entity }
        }
        fn observe(&mut self, _: &Batch<'_>) -> Result<(), Undelivered> {
            if self.0 == 1 {
                let _ = self.1.lock().unwrap().recv();
            }
            Ok(())
        }
        fn report(&self) {}
    }

    for is_stuck in [false, true] {
        let (release, released) = channel::<()>();
        let released = Arc::new(Mutex::new(released));
        let mut builder = Builder::new(PipelineOptions {
            topology: Topology::Staged { dedup: 1, workers: 2 },
            stall_timeout: Duration::from_millis(300),
            ..PipelineOptions::default()
        });
        builder.domain(&LAB);
        let key =
            builder.observer("results", |setup| Results::new(setup.schema, setup.symbols, setup.contexts));
        builder.observer("stuck", move |setup| Stuck(setup.worker, Arc::clone(&released)));
        let pipeline = builder.start().unwrap();
        let mut runner = pipeline.emitter("runner").unwrap();
        begin_at(&mut runner, "t", 1).unwrap();
        end_at(&mut runner, "t", 100).unwrap();
        // They are of both workers.
        for number in 0..if is_stuck { 32 } else { 0 } {
            runner.emit(Symbol::of(&format!("entity {number}")), &Sample { value: 1 }).unwrap();
        }
        drop(runner);
        let snapshot = pipeline.shutdown();
        let report = snapshot.report(key).unwrap();
        assert_eq!(verdicts(&report.tree()), ["passed"]);
        let summary = ResultsSummary::new(report, &snapshot);
        let doubts =
            summary.doubts.iter().filter(|doubt| doubt.contains("within observer \"stuck\"")).count();
        let right = if is_stuck { ("unknown", 1) } else { ("passed", 0) };
        assert_eq!((summary.outcome, doubts), right, "{:?}", summary.doubts);
        drop(release);
    }
}
