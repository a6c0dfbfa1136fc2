//! Promise: what began twice has to end twice, and what lies beyond a limit or a count is not called passed.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests are tests")]

mod verdicts_support;

use panther_events::event::{Level, Symbol, Value};
use panther_events::observe::results::{Outcome, ResultTree, Results};
use panther_events::pipeline::{Builder, PipelineOptions, Topology};
use verdicts_support::{Emitted, TOPOLOGIES, begin, end, run, step_fails, step_passes, verdicts};

fn limited(parts: usize, emit: impl Fn(&mut panther_events::emit::Emitter) -> Emitted) -> ResultTree {
    let mut builder =
        Builder::new(PipelineOptions { topology: Topology::Inline, ..PipelineOptions::default() });
    let key = builder.observer("results", move |setup| {
        Results::new(setup.catalogue, setup.symbols, setup.contexts).with_limit(parts)
    });
    let pipeline = builder.start().unwrap();
    let mut emitter = pipeline.emitter("runner").unwrap();
    emit(&mut emitter).unwrap();
    drop(emitter);
    pipeline.shutdown().report(key).unwrap().tree()
}

#[test]
fn a_failure_beyond_the_limit_keeps_the_whole_from_passing_where_no_test_is_followed() {
    let tree = limited(1, |e| {
        step_passes(e, "first")?;
        step_fails(e, "second")
    });
    assert_eq!((tree.steps.len(), tree.tests.len()), (1, 0));
    assert_eq!(tree.outcome(), Outcome::Unknown);
}

#[test]
fn an_experiment_of_which_not_all_tests_passed_has_not() {
    for topology in TOPOLOGIES {
        let tree = run(topology, |e| {
            let mut exp = e.experiment("e");
            exp.initialized(Value::Null)?;
            exp.plugin_loading_started(Default::default())?;
            exp.plugin_loading_completed(Value::Null, 0)?;
            exp.test_cases_initialized(3, Value::Null)?;
            exp.execution_started(Default::default())?;
            exp.execution_completed(1, 0, 3, Default::default())?;
            exp.completed(Value::Null)?;
            Ok(())
        });
        assert_eq!(tree.experiments[0].part.outcome, Outcome::Unknown);
    }
}

#[test]
fn a_step_that_began_twice_and_ended_once_has_not_passed() {
    for topology in TOPOLOGIES {
        let tree = run(topology, |e| {
            begin(e, "t")?;
            e.step("connect").execution_started(Value::Null, "connect", Default::default())?;
            step_passes(e, "connect")?;
            end(e, "t")
        });
        assert_eq!(tree.all_steps().find(|s| s.step == Symbol::of("connect")).unwrap().part.runs, 2);
        assert_ne!(tree.outcome(), Outcome::Passed);
    }
}

#[test]
fn a_test_that_was_created_twice_and_ended_once_has_not_passed() {
    for topology in TOPOLOGIES {
        let tree = run(topology, |e| {
            e.test("t").created("t", Value::Null, Default::default())?;
            begin(e, "t")?;
            end(e, "t")
        });
        assert_eq!(verdicts(&tree), ["incomplete"]);
    }
}

#[test]
fn an_assertion_that_was_begun_twice_and_told_once_has_not_passed() {
    for topology in TOPOLOGIES {
        let tree = run(topology, |e| {
            begin(e, "t")?;
            let mut e = e.within(Level::Test, "t")?;
            e.assertion("a").validation_started("a", Default::default())?;
            e.assertion("a").validation_started("a", Default::default())?;
            e.assertion("a").result(true, "", "a", Default::default())?;
            end(&mut e, "t")
        });
        assert_eq!(verdicts(&tree), ["incomplete"]);
    }
}

#[test]
fn a_step_of_which_a_test_tells_two_beginnings_and_one_end_has_not_passed() {
    for topology in TOPOLOGIES {
        let tree = run(topology, |e| {
            begin(e, "t")?;
            e.test("t").step_started("connect", Default::default())?;
            e.test("t").step_started("connect", Default::default())?;
            e.test("t").step_completed("connect", Default::default())?;
            end(e, "t")
        });
        assert_eq!(verdicts(&tree), ["incomplete"]);
    }
}

#[test]
fn an_end_that_a_test_told_before_a_retry_began_does_not_end_the_retry() {
    for topology in TOPOLOGIES {
        let tree = run(topology, |e| {
            begin(e, "t")?;
            e.test("t").at(10).step_started("connect", Default::default())?;
            let mut w = e.within(Level::Test, "t")?;
            w.step("connect").at(11).execution_started(Value::Null, "connect", Default::default())?;
            w.test("t").at(12).step_completed("connect", Default::default())?;
            w.step("connect").at(13).execution_failed("boom", 0, "connect", Default::default())?;
            w.step("connect").at(14).execution_started(Value::Null, "connect", Default::default())?;
            end(&mut w, "t")
        });
        assert_ne!(verdicts(&tree), ["passed"]);
    }
}

#[test]
fn an_end_of_one_check_does_not_end_a_check_that_began_after_it() {
    for topology in TOPOLOGIES {
        let tree = run(topology, |e| {
            begin(e, "t")?;
            e.test("t").assertions_completed(1, 1, 0, true)?;
            e.test("t").assertions_started(Value::Null)?;
            end(e, "t")
        });
        assert_eq!(verdicts(&tree), ["incomplete"]);
    }
}

#[test]
fn an_analysis_that_began_twice_and_ended_once_has_not_passed() {
    for topology in TOPOLOGIES {
        let tree = run(topology, |e| {
            begin(e, "t")?;
            let mut w = e.within(Level::Test, "t")?;
            w.service("checker").tester_analysis_started("checker", Value::Null, "x")?;
            w.service("checker").tester_analysis_started("checker", Value::Null, "y")?;
            w.service("checker").tester_analysis_completed(
                "checker",
                true,
                Value::Null,
                Value::Null,
                Default::default(),
            )?;
            end(&mut w, "t")
        });
        assert_eq!(verdicts(&tree), ["incomplete"]);
    }
}

#[test]
fn what_began_twice_and_ended_twice_has_passed() {
    for topology in TOPOLOGIES {
        let tree = run(topology, |e| {
            begin(e, "t")?;
            e.step("connect").execution_started(Value::Null, "connect", Default::default())?;
            step_passes(e, "connect")?;
            e.step("connect").execution_completed("connect", Default::default())?;
            e.test("t").assertions_started(Value::Null)?;
            e.test("t").assertions_started(Value::Null)?;
            e.test("t").assertions_completed(1, 1, 0, true)?;
            e.test("t").assertions_completed(1, 1, 0, true)?;
            end(e, "t")
        });
        assert_eq!(tree.outcome(), Outcome::Passed);
    }
}
