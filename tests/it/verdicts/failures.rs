//! Promise: nothing that failed, never ended or is not known is ever counted as passed; whatever the order in which it
//! is told.
//!
//! Replay a failure with `PANTHER_SEED=<the printed seed> cargo test --test it verdicts::failures`.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests are tests")]

use crate::support::random::Rng;
use crate::support::verdicts::{Emitted, TOPOLOGIES, begin, end, run, step_fails, step_passes, verdicts};
use panther_events::domain::test;
use panther_events::emit::Emitter;
use panther_events::event::{Level, Symbol, Value};
use panther_events::observe::results::ResultTree;
use panther_events::pipeline::Topology;

/// One event that says that something failed, and the message that is to be found with it.
type Telling = (&'static str, fn(&mut Emitter) -> Emitted, Option<&'static str>);

/// All events within a test that say that something failed.
const FAILURES: &[Telling] = &[
    ("setup_failed", |e| Ok(e.test("t").setup_failed("boom", Default::default())?), Some("boom")),
    (
        "environment_setup_failed",
        |e| Ok(e.test("t").environment_setup_failed("docker", "boom", Default::default())?),
        Some("boom"),
    ),
    (
        "deployment_failed",
        |e| Ok(e.test("t").deployment_failed("boom", Value::Null, Default::default())?),
        Some("boom"),
    ),
    ("step_failed", |e| Ok(e.test("t").step_failed("connect", "boom", Default::default())?), Some("boom")),
    ("assertion_checked", |e| Ok(e.test("t").assertion_checked("equal", false, Default::default())?), None),
    (
        "assertions_completed, not all passed",
        |e| Ok(e.test("t").assertions_completed(1, 0, 1, false)?),
        Some("1 of 1 assertions failed"),
    ),
    (
        "assertions_completed, some failed",
        |e| Ok(e.test("t").assertions_completed(3, 2, 1, true)?),
        Some("1 of 3 assertions failed"),
    ),
    (
        "assertions_completed, a flag alone",
        |e| Ok(e.test("t").assertions_completed(0, 0, 0, false)?),
        Some("not all assertions passed"),
    ),
    (
        "assertions_completed, more than its place holds",
        |e| Ok(e.test("t").assertions_completed(1 << 40, 0, 1 << 40, true)?),
        Some("1099511627776 of 1099511627776 assertions failed"),
    ),
    ("assertions_failed", |e| Ok(e.test("t").assertions_failed("boom", Default::default())?), Some("boom")),
    (
        "execution_completed",
        |e| {
            let more = test::ExecutionCompleted { assertions_passed: Some(false), ..Default::default() };
            Ok(e.test("t").execution_completed(more)?)
        },
        Some("not all assertions passed"),
    ),
    ("execution_failed", |e| Ok(e.test("t").execution_failed("boom", Default::default())?), Some("boom")),
    ("failed", |e| Ok(e.test("t").failed("t", "boom", Default::default())?), Some("boom")),
    (
        "step.execution_failed",
        |e| Ok(e.step("connect").execution_failed("boom", 0, "connect", Default::default())?),
        Some("boom"),
    ),
    (
        "assertion.result",
        |e| Ok(e.assertion("rtt").result(false, "boom", "rtt", Default::default())?),
        Some("boom"),
    ),
    (
        "assertion.error",
        |e| Ok(e.assertion("rtt").error("boom", "type", true, "rtt", Default::default())?),
        Some("boom"),
    ),
    (
        "assertion.validation_completed",
        |e| Ok(e.assertion("rtt").validation_completed(1, 2, 3, "rtt", Default::default())?),
        Some("2 of 3 assertions failed"),
    ),
    (
        "assertion.validation_completed, more than its place holds",
        |e| Ok(e.assertion("rtt").validation_completed(0, 1 << 30, 1 << 30, "rtt", Default::default())?),
        Some("1073741824 of 1073741824 assertions failed"),
    ),
    (
        "service.test_results",
        |e| Ok(e.service("ivy").test_results("ivy", Value::Null, false, Default::default())?),
        None,
    ),
    (
        "service.tester_analysis_completed",
        |e| {
            let mut service = e.service("ivy");
            Ok(service.tester_analysis_completed(
                "ivy",
                false,
                Value::Null,
                Value::Null,
                Default::default(),
            )?)
        },
        None,
    ),
];

/// All messages of a test and its parts.
fn messages(tree: &ResultTree) -> Vec<&str> {
    let test = &tree.tests[0];
    let parts = test.steps.iter().map(|step| &step.part);
    let parts = parts.chain(test.all_assertions().map(|assertion| &assertion.part)).chain([&test.part]);
    parts.filter_map(|part| part.message.as_deref()).collect()
}

#[test]
fn whatever_says_that_something_failed_fails_the_test() {
    for (what, fail, message) in FAILURES {
        for topology in TOPOLOGIES {
            // In any state: at the very first, in the middle, at the end, and after it.
            for place in 0..4 {
                let tree = run(topology, |emitter| {
                    let mut emitter = emitter.within(Level::Test, "t")?;
                    let fail_at = |at: usize, emitter: &mut Emitter| {
                        if at == place { fail(emitter) } else { Ok(()) }
                    };
                    fail_at(0, &mut emitter)?;
                    begin(&mut emitter, "t")?;
                    fail_at(1, &mut emitter)?;
                    emitter.test("t").teardown_started()?;
                    fail_at(2, &mut emitter)?;
                    emitter.test("t").completed("t", Default::default())?;
                    fail_at(3, &mut emitter)
                });
                assert_eq!(verdicts(&tree), ["failed"], "{what} at {place}, {topology}");
                if let Some(message) = message {
                    assert!(messages(&tree).contains(message), "{what}: {:?}", messages(&tree));
                }
            }
        }
    }
}

#[test]
fn a_test_that_says_nothing_bad_passes() {
    for topology in TOPOLOGIES {
        let tree = run(topology, |emitter| {
            let mut emitter = emitter.within(Level::Test, "t")?;
            begin(&mut emitter, "t")?;
            step_passes(&mut emitter, "connect")?;
            emitter.assertion("rtt").validation_started("rtt", Default::default())?;
            emitter.assertion("rtt").result(true, "", "rtt", Default::default())?;
            emitter.test("t").assertions_started(Value::Null)?;
            emitter.test("t").assertion_checked("equal", true, Default::default())?;
            emitter.test("t").assertions_completed(1, 1, 0, true)?;
            emitter.service("ivy").test_results("ivy", Value::Null, true, Default::default())?;
            end(&mut emitter, "t")
        });
        assert_eq!(verdicts(&tree), ["passed"], "{tree:?}");
    }
}

#[test]
fn a_failure_and_a_passing_end_of_one_assertion_make_a_failure_in_either_order() {
    for order in [[false, true], [true, false]] {
        let tree = run(Topology::Inline, |emitter| {
            let mut emitter = emitter.within(Level::Test, "t")?;
            begin(&mut emitter, "t")?;
            emitter.assertion("rtt").validation_started("rtt", Default::default())?;
            for passed in order {
                emitter.assertion("rtt").result(passed, "why", "rtt", Default::default())?;
            }
            end(&mut emitter, "t")
        });
        assert_eq!(verdicts(&tree), ["failed"], "{order:?}");
    }
}

#[test]
fn a_step_that_failed_was_retried_and_completed_passes() {
    for topology in TOPOLOGIES {
        let tree = run(topology, |emitter| {
            let mut emitter = emitter.within(Level::Test, "t")?;
            begin(&mut emitter, "t")?;
            step_fails(&mut emitter, "connect")?;
            step_fails(&mut emitter, "connect")?;
            step_passes(&mut emitter, "connect")?;
            end(&mut emitter, "t")
        });
        assert_eq!(verdicts(&tree), ["passed"], "{topology}");
        let step = tree.tests[0].steps.iter().find(|step| step.step == Symbol::of("connect")).unwrap();
        assert_eq!((step.part.outcome.name(), step.part.message.as_deref()), ("passed", None));
    }
}

#[test]
fn a_failed_step_that_only_looks_retried_fails_its_test() {
    type Emit = fn(&mut Emitter) -> Emitted;
    let cases: [(&str, Emit); 9] = [
        ("completed without a new start", |e| {
            step_fails(e, "connect")?;
            Ok(e.step("connect").execution_completed("connect", Default::default())?)
        }),
        ("failed before it started", |e| {
            e.step("connect").execution_failed("no", 0, "connect", Default::default())?;
            step_passes(e, "connect")
        }),
        ("failed after it had completed", |e| {
            step_passes(e, "connect")?;
            Ok(e.step("connect").execution_failed("no", 0, "connect", Default::default())?)
        }),
        ("the start is older than the failure", |e| {
            let mut step = e.step("connect").at(100);
            step.execution_started(Value::Null, "connect", Default::default())?;
            step.execution_failed("no", 0, "connect", Default::default())?;
            let mut step = e.step("connect").at(50);
            step.execution_started(Value::Null, "connect", Default::default())?;
            Ok(step.execution_completed("connect", Default::default())?)
        }),
        ("the test says that it failed", |e| {
            e.test("t").step_failed("connect", "no", Default::default())?;
            step_fails(e, "connect")?;
            step_passes(e, "connect")
        }),
        ("the retry never ends", |e| {
            step_fails(e, "connect")?;
            Ok(e.step("connect").execution_started(Value::Null, "connect", Default::default())?)
        }),
        ("the retry never ends, and the test had told of an end", |e| {
            e.step("connect").execution_started(Value::Null, "connect", Default::default())?;
            e.test("t").step_completed("connect", Default::default())?;
            e.step("connect").execution_failed("no", 0, "connect", Default::default())?;
            Ok(e.step("connect").execution_started(Value::Null, "connect", Default::default())?)
        }),
        ("the test tells of a retry that never ends, and the step of an end", |e| {
            step_passes(e, "connect")?;
            e.test("t").step_failed("connect", "no", Default::default())?;
            Ok(e.test("t").step_started("connect", Default::default())?)
        }),
        ("another run of the same step", |e| {
            step_passes(e, "connect")?;
            step_fails(e, "connect")
        }),
    ];
    for (what, emit) in cases {
        for topology in TOPOLOGIES {
            let tree = run(topology, |emitter| {
                let mut emitter = emitter.within(Level::Test, "t")?;
                begin(&mut emitter, "t")?;
                emit(&mut emitter)?;
                end(&mut emitter, "t")
            });
            assert_eq!(verdicts(&tree), ["failed"], "{what}, {topology}");
        }
    }
}
#[test]
fn a_failure_counts_wherever_it_arrives_among_other_events() {
    let seed = crate::support::random::seed();
    let mut rng = Rng::new(seed);
    for round in 0..300 {
        let (what, fail, _) = FAILURES[rng.below(FAILURES.len() as u64) as usize];
        // The events of two threads, one of which brings the failure, meet in any order and with any times.
        let at = rng.below(14);
        let time_ns = 1 + rng.below(1_000);
        let tree = run(Topology::Inline, |emitter| {
            let mut emitter = emitter.within(Level::Test, "t")?;
            let mut number = 0;
            let mut next = |emitter: &mut Emitter, emit: &dyn Fn(&mut Emitter, u64) -> Emitted| {
                if number == at {
                    fail(emitter)?;
                }
                number += 1;
                emit(emitter, number * time_ns)
            };
            let e = &mut emitter;
            next(e, &|e, at| Ok(e.test("t").at(at).setup_started(Value::Null, Default::default())?))?;
            next(e, &|e, at| Ok(e.test("t").at(at).setup_completed(Value::Null, Default::default())?))?;
            next(e, &|e, at| Ok(e.test("t").at(at).environment_setup_started("d", Default::default())?))?;
            next(e, &|e, at| Ok(e.test("t").at(at).environment_setup_completed("d", Default::default())?))?;
            next(e, &|e, at| Ok(e.test("t").at(at).deployment_started(Value::Null)?))?;
            next(e, &|e, at| {
                Ok(e.test("t").at(at).deployment_completed(Value::Null, Default::default())?)
            })?;
            next(e, &|e, at| Ok(e.test("t").at(at).execution_started(Value::Null, Default::default())?))?;
            next(e, &|e, at| Ok(e.test("t").at(at).step_started("connect", Default::default())?))?;
            next(e, &|e, at| {
                let mut step = e.step("connect").at(at);
                Ok(step.execution_completed("connect", Default::default())?)
            })?;
            next(e, &|e, at| Ok(e.test("t").at(at).step_completed("connect", Default::default())?))?;
            next(e, &|e, at| Ok(e.assertion("rtt").at(at).validation_started("rtt", Default::default())?))?;
            next(e, &|e, at| Ok(e.assertion("rtt").at(at).result(true, "", "rtt", Default::default())?))?;
            next(e, &|e, at| Ok(e.test("t").at(at).teardown_started()?))?;
            next(e, &|e, at| Ok(e.test("t").at(at).completed("t", Default::default())?))?;
            if at >= 13 { fail(e) } else { Ok(()) }
        });
        assert_eq!(verdicts(&tree), ["failed"], "{what} before number {at}, round {round}, seed {seed}");
    }
}
