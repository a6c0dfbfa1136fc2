//! Promise: what began twice has to end twice, and what lies beyond a limit or a count is not called passed.
#![cfg(feature = "panther")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests are tests")]

use crate::support::verdicts::{Emitted, TOPOLOGIES, begin, end, run, step_fails, step_passes, verdicts};
use panther_events::domain::assertion;
use panther_events::event::{Level, Symbol, Value};
use panther_events::ingest::panther::{Limits, PantherEvent, PantherRecords, PythonVersion};
use panther_events::observe::results::{Outcome, ResultTree, Results};
use panther_events::pipeline::{Builder, PipelineOptions, Topology};
use std::sync::Arc;

fn limited(parts: usize, emit: impl Fn(&mut panther_events::emit::Emitter) -> Emitted) -> ResultTree {
    let mut builder =
        Builder::new(PipelineOptions { topology: Topology::Inline, ..PipelineOptions::default() });
    let key = builder.observer("results", move |setup| {
        Results::new(setup.schema, setup.symbols, setup.contexts).with_limit(parts)
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

/// Lets a part begin, be told to have passed in each of the ways that there are, and begin again: before the first of them, or
/// behind it.
fn told_in_every_way(topology: Topology, begin_again_at: usize, part: &str) -> ResultTree {
    run(topology, |e| {
        begin(e, "t")?;
        let mut e = e.within(Level::Test, "t")?;
        let none = || Value::Null;
        let begins = |e: &mut panther_events::emit::Emitter| -> Emitted {
            match part {
                "assertion" => e.assertion("a").validation_started("a", Default::default())?,
                "service" => e.service("a").tester_analysis_started("a", none(), "x")?,
                _ => {}
            }
            Ok(())
        };
        begins(&mut e)?;
        for at in 0..2 {
            if at == begin_again_at {
                begins(&mut e)?;
            }
            match (part, at) {
                ("assertion", 0) => e.assertion("a").result(true, "", "a", Default::default())?,
                ("assertion", _) => {
                    e.assertion("a").validation_completed(1, 0, 1, "a", Default::default())?
                }
                (_, 0) => {
                    e.service("a").tester_analysis_completed(
                        "a",
                        true,
                        none(),
                        none(),
                        Default::default(),
                    )?;
                }
                _ => e.service("a").test_results("a", none(), true, Default::default())?,
            }
        }
        end(&mut e, "t")
    })
}

#[test]
fn what_began_twice_and_was_told_to_end_in_two_ways_has_not_passed() {
    for topology in TOPOLOGIES {
        for part in ["assertion", "service"] {
            for begin_again_at in [0, 1] {
                let tree = told_in_every_way(topology, begin_again_at, part);
                assert_eq!(verdicts(&tree), ["incomplete"], "{part}, {begin_again_at}");
            }
            // Once is enough for what began once.
            let tree = told_in_every_way(topology, usize::MAX, part);
            assert_eq!(verdicts(&tree), ["passed"], "{part}");
        }
    }
}

#[test]
fn a_test_that_was_created_twice_and_told_to_end_in_three_ways_has_not_passed() {
    for topology in TOPOLOGIES {
        for (times, verdict) in [(1, "passed"), (2, "incomplete")] {
            let tree = run(topology, |e| {
                for _ in 1..times {
                    e.test("t").created("t", Value::Null, Default::default())?;
                }
                begin(e, "t")?;
                end(e, "t")?;
                e.test("t").result()?;
                e.test("t").enhanced_result("smoke", Value::Null, Default::default())?;
                Ok(())
            });
            assert_eq!(verdicts(&tree), [verdict], "created {times} times");
        }
    }
}

/// Runs a test within which PANTHER tells these events: type of the entity, event, data.
fn told_by_panther(lines: &[(&str, &str, &str)]) -> ResultTree {
    told_by_panther_at(|at| at, lines)
}

fn told_by_panther_at(second: impl Fn(usize) -> usize, lines: &[(&str, &str, &str)]) -> ResultTree {
    run(Topology::Inline, |e| {
        // The test is as old as the lines.
        e.test("t").at(1).assertion_checked("x", true, Default::default())?;
        begin(e, "t")?;
        let mut e = e.within(Level::Test, "t")?;
        let mut records = PantherRecords::new(Arc::clone(e.symbols()), PythonVersion::default());
        for (at, (entity, event, data)) in lines.iter().enumerate() {
            let at = second(at);
            let line = format!(
                r#"{{"name":"{event}","type":"{entity}.{event}","entity_type":"{entity}","entity_id":"t",
                    "timestamp":"2025-01-01T00:00:{at:02}","data":{data}}}"#
            );
            let record = records.record(&PantherEvent::from_json(line.as_bytes(), &Limits::default())?)?;
            e.emit_records([record]);
        }
        end(&mut e, "t")
    })
}

/// The order of lines of two files at one time is nobody's.
#[test]
fn a_beginning_at_the_time_of_a_failure_is_no_retry_among_lines_of_panther() {
    let lines = [
        ("step", "execution_started", "{}"),
        ("step", "execution_failed", r#"{"error_message":"no"}"#),
        ("step", "execution_started", r#"{"step_name":"again"}"#),
        ("step", "execution_completed", "{}"),
    ];
    assert_eq!(verdicts(&told_by_panther_at(|at| at, &lines)), ["passed"]);
    assert_eq!(verdicts(&told_by_panther_at(|at| [0, 1, 1, 2][at], &lines)), ["failed"]);
}

#[test]
fn counts_that_cannot_be_read_are_not_taken_for_equal() {
    for (total, passed) in [("3.0", "2.0"), (r#""3""#, r#""2""#), ("3", "2.0"), ("3.0", "null"), ("-3", "-2")]
    {
        let data = format!(
            r#"{{"total_assertions":{total},"passed_assertions":{passed},"failed_assertions":0,"all_passed":true}}"#
        );
        let tree = told_by_panther(&[("test", "assertions_completed", &data)]);
        assert_eq!(verdicts(&tree), ["unknown"], "{data}");
    }
    for failed in ["0.0", "-1", r#""0""#] {
        let data = format!(
            r#"{{"total_assertions":3,"passed_assertions":3,"failed_assertions":{failed},"all_passed":true}}"#
        );
        let tree = told_by_panther(&[("test", "assertions_completed", &data)]);
        assert_eq!(verdicts(&tree), ["unknown"], "{data}");
    }
}

#[test]
fn flags_that_cannot_be_read_make_nothing_pass() {
    let (begins, passes) = (("assertion", "validation_started", "{}"), r#"{"assertion_passed":true}"#);
    for flag in [r#""false""#, "0", "null", "[]"] {
        let data = format!(r#"{{"assertion_passed":{flag}}}"#);
        let (passes, odd) = (("assertion", "result", passes), ("assertion", "result", data.as_str()));
        for lines in [[begins, passes, odd], [begins, odd, passes]] {
            assert_eq!(verdicts(&told_by_panther(&lines)), ["unknown"], "{lines:?}");
        }
    }
    for (data, verdict) in [
        (r#"{"action":"service_test_results","overall_success":true}"#, "passed"),
        (r#"{"action":"service_test_results","overall_success":true,"failed_checks":[ ]}"#, "passed"),
        (r#"{"action":"service_test_results","overall_success":true,"failed_checks":["rtt"]}"#, "failed"),
        (r#"{"action":"tester_analysis_completed","passed":true,"failed_checks":{"rtt":1}}"#, "failed"),
        (r#"{"action":"service_test_results","overall_success":"false"}"#, "unknown"),
        (r#"{"action":"service_test_results","overall_success":"false","passed":true}"#, "unknown"),
        (r#"{"action":"service_test_results","overall_success":true,"passed":false}"#, "failed"),
        (r#"{"action":"tester_analysis_completed","passed":true,"overall_success":false}"#, "failed"),
    ] {
        assert_eq!(verdicts(&told_by_panther(&[("service", "test_results", data)])), [verdict], "{data}");
    }
}

#[test]
fn a_test_of_which_a_step_without_a_name_began_has_not_passed() {
    for data in ["{}", r#"{"step_name":null}"#, r#"{"step_name":7}"#] {
        let lines = [("test", "step_started", data), ("test", "step_completed", data)];
        assert_eq!(verdicts(&told_by_panther(&lines[..1])), ["unknown"], "{data}");
        assert_eq!(verdicts(&told_by_panther(&lines[1..])), ["passed"], "{data}");
    }
}

#[test]
fn a_step_whose_name_has_half_a_surrogate_pair_is_no_retry_of_another_such_step() {
    let [fails, other] = [r#"{"step_name":"\ud800"}"#, r#"{"step_name":"\udc80"}"#];
    let lines = [
        ("test", "step_started", fails),
        ("test", "step_failed", fails),
        ("test", "step_started", other),
        ("test", "step_completed", other),
    ];
    let tree = told_by_panther(&lines);
    // Beside these, the step that the test itself names.
    assert_eq!((verdicts(&tree), tree.tests[0].steps.len()), (vec!["failed"], 3));
}

#[test]
fn a_run_that_a_step_said_was_unsupported_is_not_hidden_by_what_its_test_says() {
    for topology in TOPOLOGIES {
        let tree = run(topology, |e| {
            begin(e, "t")?;
            let mut e = e.within(Level::Test, "t")?;
            for _ in 0..2 {
                e.test("t").at(20).step_started("connect", Default::default())?;
                e.test("t").at(20).step_completed("connect", Default::default())?;
            }
            e.step("connect").at(5).execution_started(Value::Null, "connect", Default::default())?;
            e.step("connect").at(6).unsupported("no", Value::Null, "connect", Default::default())?;
            e.step("connect").at(7).execution_started(Value::Null, "connect", Default::default())?;
            end(&mut e, "t")
        });
        assert_eq!(verdicts(&tree), ["unsupported"]);
    }
}

#[test]
fn a_validation_that_looked_at_fewer_assertions_than_it_said_has_not_passed() {
    let started = |total| assertion::ValidationStarted { total_assertions: total, ..Default::default() };
    /// What each run says at its beginning, and how many it looks at.
    type Runs = &'static [(Option<u64>, u64)];
    let cases: [(Runs, &str); 8] = [
        (&[(Some(5), 3)], "unknown"),
        (&[(Some(5), 5)], "passed"),
        (&[(Some(3), 5)], "passed"),
        (&[(None, 3)], "passed"),
        (&[(Some(5), 5), (Some(3), 3)], "passed"),
        (&[(Some(5), 3), (Some(5), 5)], "unknown"),
        (&[(Some(5), 5), (None, 3)], "passed"),
        (&[(Some(5), 3), (None, 7)], "unknown"),
    ];
    for topology in TOPOLOGIES {
        for (runs, verdict) in &cases {
            let tree = run(topology, |e| {
                begin(e, "t")?;
                let mut e = e.within(Level::Test, "t")?;
                for (said, looked_at) in *runs {
                    e.assertion("a").validation_started("a", started(*said))?;
                    e.assertion("a").validation_completed(
                        *looked_at,
                        0,
                        *looked_at,
                        "a",
                        Default::default(),
                    )?;
                }
                end(&mut e, "t")
            });
            assert_eq!(verdicts(&tree), [*verdict], "{runs:?}");
        }
        // The beginning is told when the end is known.
        let tree = run(topology, |e| {
            begin(e, "t")?;
            let mut e = e.within(Level::Test, "t")?;
            e.assertion("a").at(20).validation_started("a", Default::default())?;
            e.assertion("a").at(30).validation_completed(3, 0, 3, "a", Default::default())?;
            e.assertion("a").at(21).validation_started("a", started(Some(4)))?;
            e.assertion("a").at(31).validation_completed(3, 0, 3, "a", Default::default())?;
            end(&mut e, "t")
        });
        assert_eq!(verdicts(&tree), ["unknown"]);
    }
}
