//! Promise: what passed somewhere else, or of which nobody has seen all, undoes no failure and fills no gap.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests are tests")]

use crate::support::verdicts::{Emitted, TOPOLOGIES, begin, builder, end, run, sets_up, verdicts};
use panther_events::domain::{TypedSink, assertion, test};
use panther_events::emit::{EmitError, EventSink};
use panther_events::event::{Level, Value};
use panther_events::observe::results::{Outcome, Results};

fn fails(sink: &mut impl EventSink, time_ns: u64) -> Result<(), EmitError> {
    sink.step("connect").at(time_ns).execution_started(Value::Null, "connect", Default::default())?;
    sink.step("connect").at(time_ns + 1).execution_failed("boom", 0, "connect", Default::default())
}

fn passes(sink: &mut impl EventSink, time_ns: u64) -> Result<(), EmitError> {
    sink.step("connect").at(time_ns).execution_started(Value::Null, "connect", Default::default())?;
    sink.step("connect").at(time_ns + 1).execution_completed("connect", Default::default())
}

#[test]
fn a_step_of_one_name_in_another_context_is_no_retry() {
    for topology in TOPOLOGIES {
        for level in [Level::Step, Level::Service, Level::Environment] {
            let tree = run(topology, |e| {
                begin(e, "t")?;
                let mut e = e.within(Level::Test, "t")?;
                let now = e.clock().now_ns();
                fails(&mut *e.within(level, "one")?, now)?;
                passes(&mut *e.within(level, "two")?, now + 10)?;
                end(&mut e, "t")
            });
            assert_eq!(verdicts(&tree), ["failed"], "{level:?}");
        }
        // In the same one it is.
        let tree = run(topology, |e| {
            begin(e, "t")?;
            let mut e = e.within(Level::Test, "t")?;
            let now = e.clock().now_ns();
            fails(&mut *e.within(Level::Service, "one")?, now)?;
            passes(&mut *e.within(Level::Service, "one")?, now + 10)?;
            end(&mut e, "t")
        });
        assert_eq!(verdicts(&tree), ["passed"]);
    }
}

#[test]
fn a_failure_before_the_test_began_is_not_retried_by_the_test() {
    for topology in TOPOLOGIES {
        let tree = run(topology, |e| {
            fails(&mut *e.within(Level::Test, "t")?, 10)?;
            begin(e, "t")?;
            let mut e = e.within(Level::Test, "t")?;
            let now = e.clock().now_ns();
            passes(&mut *e, now)?;
            end(&mut e, "t")
        });
        assert_eq!(verdicts(&tree), ["failed"]);
        // The test was run before, and tells no beginning of its second run but that of its steps.
        let tree = run(topology, |e| {
            begin(e, "t")?;
            let mut e = e.within(Level::Test, "t")?;
            let now = e.clock().now_ns();
            fails(&mut *e, now)?;
            e.test("t").at(now + 5).execution_started(Value::Null, Default::default())?;
            passes(&mut *e, now + 10)?;
            end(&mut e, "t")
        });
        assert_eq!(verdicts(&tree), ["failed"]);
    }
}

/// What a test says of its steps, and what came of them.
fn of_steps(listed: &[&str], completed: Option<u64>, run_steps: &[&str]) -> Vec<&'static str> {
    let tree = run(TOPOLOGIES[0], |e| -> Emitted {
        let mut e = e.within(Level::Test, "t")?;
        let mut t = e.test("t");
        t.created("t", Value::Null, Default::default())?;
        sets_up(&mut t, Value::from(listed))?;
        for step in run_steps {
            e.test("t").step_started(step, Default::default())?;
            e.step(step).execution_started(Value::Null, step, Default::default())?;
            e.step(step).execution_completed(step, Default::default())?;
            e.test("t").step_completed(step, Default::default())?;
        }
        let completed = test::ExecutionCompleted { steps_completed: completed, ..Default::default() };
        e.test("t").execution_completed(completed)?;
        e.test("t").teardown_started()?;
        e.test("t").completed("t", Default::default())?;
        Ok(())
    });
    verdicts(&tree)
}

#[test]
fn a_test_of_which_fewer_steps_ran_than_it_has_has_not_passed() {
    assert_eq!(of_steps(&["a", "b"], None, &["a", "b"]), ["passed"]);
    assert_eq!(of_steps(&[], Some(2), &["a", "b"]), ["passed"]);
    assert_eq!(of_steps(&["a", "a"], Some(2), &["a", "a"]), ["passed"], "a step that is run twice");
    assert_eq!(of_steps(&["a", "b"], None, &["a", "a"]), ["unknown"], "one that is run twice is no other");
    assert_eq!(of_steps(&["a", "b", "c"], None, &["a"]), ["unknown"]);
    assert_eq!(of_steps(&[], Some(3), &["a", "b"]), ["unknown"]);
    assert_eq!(of_steps(&["a", "b"], Some(1), &["a"]), ["unknown"]);
}

#[test]
fn a_test_that_looked_at_fewer_assertions_than_it_lists_has_not_passed() {
    for (looked_at, verdict) in [(3, "passed"), (2, "unknown"), (0, "unknown")] {
        let tree = run(TOPOLOGIES[0], |e| {
            begin(e, "t")?;
            e.test("t").assertions_started(Value::from(&["a", "b", "c"]))?;
            e.test("t").assertions_completed(looked_at, looked_at, 0, true)?;
            end(e, "t")
        });
        assert_eq!(verdicts(&tree), [verdict], "{looked_at}");
    }
    for (results, verdict) in [(1, "unknown"), (3, "passed")] {
        let tree = run(TOPOLOGIES[0], |e| {
            begin(e, "t")?;
            let mut e = e.within(Level::Test, "t")?;
            let started = assertion::ValidationStarted { total_assertions: Some(3), ..Default::default() };
            e.assertion("a").validation_started("a", started)?;
            for _ in 0..results {
                e.assertion("a").result(true, "", "a", Default::default())?;
            }
            end(&mut e, "t")
        });
        assert_eq!(verdicts(&tree), [verdict], "{results} results");
    }
}

#[test]
fn an_experiment_has_at_least_the_tests_that_it_names() {
    let tree = run(TOPOLOGIES[0], |e| {
        let mut exp = e.experiment("e");
        exp.initialized(Value::Null)?;
        exp.plugin_loading_started(Default::default())?;
        exp.plugin_loading_completed(Value::Null, 0)?;
        exp.test_cases_initialized(1, Value::from(&["a", "b"]))?;
        exp.execution_started(Default::default())?;
        let mut within = e.within(Level::Experiment, "e")?;
        begin(&mut within, "a")?;
        end(&mut within, "a")?;
        within.experiment("e").execution_completed(1, 0, 1, Default::default())?;
        within.experiment("e").completed(Value::Null)?;
        Ok(())
    });
    assert_eq!(tree.experiments[0].part.outcome, Outcome::Unknown);
}

/// While a step has failed, a failure of a step of that name is told of which no beginning is known: the retry is none of it.
#[test]
fn a_second_failure_without_a_beginning_is_not_undone() {
    for (second, verdict) in [(None, "passed"), (Some(0), "failed"), (Some(1), "failed")] {
        let mut builder = builder(TOPOLOGIES[0]);
        let key =
            builder.observer("results", |setup| Results::new(setup.schema, setup.symbols, setup.contexts));
        let pipeline = builder.start().unwrap();
        let mut emitters = ["one", "other"].map(|name| pipeline.emitter(name).unwrap());
        emitters.iter_mut().for_each(|e| e.enter(Level::Test, "t").unwrap());
        begin(&mut emitters[0], "t").unwrap();
        let now = emitters[0].clock().now_ns();
        fails(&mut emitters[0], now).unwrap();
        if let Some(emitter) = second {
            let mut step = emitters[emitter].step("connect").at(now + 5);
            step.execution_failed("boom", 0, "connect", Default::default()).unwrap();
        }
        pipeline.drain(std::time::Duration::from_secs(10)).unwrap();
        passes(&mut emitters[0], now + 10).unwrap();
        end(&mut emitters[0], "t").unwrap();
        drop(emitters);
        let snapshot = pipeline.shutdown();
        assert_eq!(verdicts(&snapshot.report(key).unwrap().tree()), [verdict], "{second:?}");
    }
}

/// Each run has the assertions that it says; those of another are none of them.
#[test]
fn results_of_another_run_are_no_results_of_this_one() {
    for (results, verdict) in [([2, 2], "passed"), ([1, 3], "unknown"), ([3, 1], "unknown")] {
        let tree = run(TOPOLOGIES[0], |e| {
            begin(e, "t")?;
            let mut e = e.within(Level::Test, "t")?;
            for results in results {
                let started =
                    assertion::ValidationStarted { total_assertions: Some(2), ..Default::default() };
                e.assertion("a").validation_started("a", started)?;
                for _ in 0..results {
                    e.assertion("a").result(true, "", "a", Default::default())?;
                }
            }
            end(&mut e, "t")
        });
        assert_eq!(verdicts(&tree), [verdict], "{results:?}");
    }
}
