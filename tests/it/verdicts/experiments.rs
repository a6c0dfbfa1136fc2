//! Promise: an experiment has passed only if all tests that it has, and names, came to their end in each of its runs.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests are tests")]

use crate::support::verdicts::{Emitted, TOPOLOGIES, begin, end, run};
use panther_events::domain::experiment;
use panther_events::emit::Emitter;
use panther_events::event::{Level, Value};
use panther_events::observe::results::{Outcome, ResultTree};

fn initializes(e: &mut Emitter, name: &str, names: &[&str]) -> Emitted {
    let mut exp = e.experiment(name);
    exp.initialized(Value::Null)?;
    exp.plugin_loading_started(Default::default())?;
    exp.plugin_loading_completed(Value::Null, 0)?;
    exp.test_cases_initialized(names.len() as u64, Value::from(names))?;
    Ok(exp.execution_started(Default::default())?)
}

fn completes(e: &mut Emitter, name: &str) -> Emitted {
    let mut exp = e.experiment(name);
    exp.execution_completed(1, 0, 1, experiment::ExecutionCompleted::default())?;
    Ok(exp.completed(Value::Null)?)
}

fn runs(e: &mut Emitter, tests: &[&str]) -> Emitted {
    for test in tests {
        begin(e, test)?;
        end(e, test)?;
    }
    Ok(())
}

/// Outcomes of the experiments, by name.
fn outcomes(tree: &ResultTree) -> Vec<Outcome> {
    assert!(tree.tests.iter().all(|test| test.outcome() == Outcome::Passed), "{tree:?}");
    tree.experiments.iter().map(|known| known.part.outcome).collect()
}

/// One experiment after the other: its name, which tests it names, which came.
fn one_after_the_other(experiments: &[(&str, &[&str], &[&str])], names_it: bool) -> Vec<Outcome> {
    let all = TOPOLOGIES.map(|topology| {
        outcomes(&run(topology, |e| {
            for (name, names, came) in experiments {
                initializes(e, name, names)?;
                if names_it {
                    runs(&mut *e.within(Level::Experiment, name)?, came)?;
                } else {
                    runs(e, came)?;
                }
                completes(e, name)?;
            }
            Ok(())
        }))
    });
    let [first, ..] = &all;
    assert!(all.iter().all(|outcomes| outcomes == first), "{all:?}");
    first.clone()
}

#[test]
fn a_test_run_again_is_none_that_never_came_in_another_experiment() {
    for names_it in [true, false] {
        let both: &[&str] = &["a", "b"];
        let complete = one_after_the_other(&[("one", both, both), ("two", both, &["b", "a", "a"])], names_it);
        assert_eq!(complete, [Outcome::Passed, Outcome::Passed]);
        let lost = one_after_the_other(&[("one", both, &["a"]), ("two", both, &["a", "b", "a"])], names_it);
        assert_eq!(lost, [Outcome::Unknown, Outcome::Passed]);
        let lost = one_after_the_other(&[("one", both, &["a", "b", "b"]), ("two", both, &["b"])], names_it);
        assert_eq!(lost, [Outcome::Passed, Outcome::Unknown]);
    }
}

#[test]
fn a_test_run_again_is_none_that_never_came_in_another_run_of_the_experiment() {
    for names_it in [true, false] {
        let both: &[&str] = &["a", "b"];
        let of =
            |first, second| one_after_the_other(&[("one", both, first), ("one", both, second)], names_it);
        assert_eq!(of(both, both), [Outcome::Passed]);
        assert_eq!(of(&["a"], &["a", "b", "a"]), [Outcome::Unknown]);
        assert_eq!(of(&["b", "a", "a"], &["b"]), [Outcome::Unknown]);
    }
}

#[test]
fn the_tests_that_came_are_those_that_the_experiment_names() {
    for names_it in [true, false] {
        let of = |names, came| one_after_the_other(&[("one", names, came)], names_it);
        assert_eq!(of(&["a", "b"], &["a", "c"]), [Outcome::Unknown]);
        assert_eq!(of(&["a", "b"], &["c", "d"]), [Outcome::Unknown]);
        assert_eq!(of(&["a", "b"], &["a", "b", "c"]), [Outcome::Passed]);
        assert_eq!(of(&["a", "a"], &["a"]), [Outcome::Unknown]);
        assert_eq!(of(&["a", "a"], &["a", "a"]), [Outcome::Passed]);
        assert_eq!(of(&["a", "a", "b"], &["a", "b", "b"]), [Outcome::Unknown]);
        assert_eq!(of(&["a \u{e9}\"\\"], &["a \u{e9}\"\\"]), [Outcome::Passed]);
    }
}

#[test]
fn of_experiments_at_one_time_a_test_is_of_the_only_one_that_has_it() {
    let of = |first: &[&str], second: &[&str], came: &[&str]| {
        outcomes(&run(TOPOLOGIES[0], |e| {
            initializes(e, "one", first)?;
            initializes(e, "two", second)?;
            runs(e, came)?;
            completes(e, "two")?;
            completes(e, "one")
        }))
    };
    assert_eq!(of(&["a"], &["b"], &["a", "b"]), [Outcome::Passed, Outcome::Passed]);
    assert_eq!(of(&["a"], &["b"], &["a", "a"]), [Outcome::Passed, Outcome::Unknown]);
    // Which of both ran it twice, nobody knows.
    assert_eq!(of(&["a"], &["a"], &["a", "a"]), [Outcome::Unknown, Outcome::Unknown]);
}

#[test]
fn a_test_before_or_after_its_experiment_is_none_of_it() {
    let of = |before: &[&str], within: &[&str], after: &[&str]| {
        outcomes(&run(TOPOLOGIES[0], |e| {
            runs(e, before)?;
            initializes(e, "one", &["a", "b"])?;
            runs(e, within)?;
            completes(e, "one")?;
            runs(e, after)
        }))
    };
    assert_eq!(of(&["a"], &["b", "a"], &[]), [Outcome::Passed]);
    assert_eq!(of(&["a"], &["b"], &[]), [Outcome::Unknown]);
    assert_eq!(of(&[], &["b"], &["a"]), [Outcome::Unknown]);
}

#[test]
fn an_experiment_that_only_counts_its_tests_has_not_passed_where_one_is_missing() {
    for (tests, has, verdict) in
        [(2, 2, "passed"), (2, 3, "unknown"), (0, 1, "unknown"), (3, 2, "passed"), (0, 0, "unknown")]
    {
        for topology in TOPOLOGIES {
            let tree = run(topology, |e| {
                let mut e = e.within(Level::Experiment, "exp")?;
                let mut exp = e.experiment("exp");
                exp.initialized(Value::Null)?;
                exp.plugin_loading_started(Default::default())?;
                exp.plugin_loading_completed(Value::Null, 0)?;
                exp.test_cases_initialized(has, Value::Null)?;
                let more = experiment::ExecutionStarted { test_count: Some(has) };
                exp.execution_started(more)?;
                for name in ["a", "b", "c"].iter().take(tests) {
                    begin(&mut e, name)?;
                    end(&mut e, name)?;
                }
                let mut exp = e.experiment("exp");
                exp.execution_completed(has, 0, has, Default::default())?;
                Ok(exp.completed(Value::Null)?)
            });
            assert_eq!(tree.outcome().name(), verdict, "{tests} of {has}, {topology}: {tree:?}");
        }
    }
}

#[test]
fn a_test_that_ended_after_its_experiment_is_none_that_ended_while_it_lasted() {
    for (names_it, ends_late) in [(false, false), (false, true), (true, false), (true, true)] {
        let outcomes = outcomes(&run(TOPOLOGIES[0], |e| {
            initializes(e, "one", &["a"])?;
            if names_it {
                e.enter(Level::Experiment, "one")?;
            }
            begin(e, "a")?;
            if ends_late {
                completes(e, "one")?;
            }
            end(e, "a")?;
            if !ends_late {
                completes(e, "one")?;
            }
            Ok(())
        }));
        let right = if ends_late { Outcome::Unknown } else { Outcome::Passed };
        assert_eq!(outcomes, [right], "{names_it}");
    }
}
