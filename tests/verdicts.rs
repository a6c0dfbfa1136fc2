//! Promise: nothing that failed, never ended or is not known is ever counted as passed; whatever the order in which it
//! is told.
//!
//! Replay a failure with `PANTHER_SEED=<the printed seed> cargo test --test verdicts`.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests are tests")]

mod support;

use panther_events::domain::{assertion, experiment, service, step, test};
use panther_events::emit::Emitter;
use panther_events::event::{Identity, Level, Symbol, Value};
use panther_events::observe::results::{Outcome, ResultTree, Results};
use panther_events::observe::state::{StateOptions, States};
use panther_events::pipeline::{Builder, PipelineOptions, Topology};
use std::error::Error;
use support::Rng;

type Emitted = Result<(), Box<dyn Error>>;

const TOPOLOGIES: [Topology; 2] = [Topology::Inline, Topology::Staged { dedup: 2, workers: 3 }];

/// Begins a pipeline in which no two events are one, however alike.
fn builder(topology: Topology) -> Builder {
    let mut builder = Builder::new(PipelineOptions { topology, ..PipelineOptions::default() });
    let domains = [&test::DOMAIN, &step::DOMAIN, &assertion::DOMAIN, &service::DOMAIN, &experiment::DOMAIN];
    for kind in domains.into_iter().flat_map(|domain| domain.kinds) {
        builder.identity(kind.kind, Identity::Occurrence);
    }
    builder
}

fn run(topology: Topology, emit: impl Fn(&mut Emitter) -> Emitted) -> ResultTree {
    let mut builder = builder(topology);
    let key =
        builder.observer("results", |setup| Results::new(setup.catalogue, setup.symbols, setup.contexts));
    let pipeline = builder.start().unwrap();
    let mut emitter = pipeline.emitter("runner").unwrap();
    emit(&mut emitter).unwrap();
    drop(emitter);
    let snapshot = pipeline.shutdown();
    snapshot.account.check().unwrap();
    snapshot.report(key).unwrap().tree()
}

/// Brings a test to where it executes steps; one of them, `work`, it names and ends itself.
fn begin(emitter: &mut Emitter, name: &str) -> Emitted {
    let mut test = emitter.test(name);
    test.created(name, Value::Null, Default::default())?;
    test.setup_started(Value::Null, Default::default())?;
    test.setup_completed(Value::Null, Default::default())?;
    test.environment_setup_started("docker", Default::default())?;
    test.environment_setup_completed("docker", Default::default())?;
    test.deployment_started(Value::Null)?;
    test.deployment_completed(Value::Null, Default::default())?;
    test.execution_started(Value::Null, Default::default())?;
    test.step_started("work", Default::default())?;
    test.step_completed("work", Default::default())?;
    Ok(())
}

fn end(emitter: &mut Emitter, name: &str) -> Emitted {
    let mut test = emitter.test(name);
    test.teardown_started()?;
    test.completed(name, Default::default())?;
    Ok(())
}

fn verdicts(tree: &ResultTree) -> Vec<&'static str> {
    tree.tests.iter().map(|test| test.outcome().name()).collect()
}

fn step_fails(emitter: &mut Emitter, step: &str) -> Emitted {
    let mut step_emitter = emitter.step(step);
    step_emitter.execution_started(Value::Null, step, Default::default())?;
    step_emitter.execution_failed("no answer", 0, step, Default::default())?;
    Ok(())
}

fn step_passes(emitter: &mut Emitter, step: &str) -> Emitted {
    let mut step_emitter = emitter.step(step);
    step_emitter.execution_started(Value::Null, step, Default::default())?;
    step_emitter.execution_completed(step, Default::default())?;
    Ok(())
}

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
    let cases: [(&str, Emit); 6] = [
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
fn a_test_that_ends_before_its_parts_is_incomplete() {
    type Emit = fn(&mut Emitter) -> Emitted;
    let cases: [(&str, Emit); 11] = [
        ("checks that began", |e| Ok(e.test("t").assertions_started(Value::Null)?)),
        ("checks that began again", |e| {
            e.test("t").assertions_started(Value::Null)?;
            e.test("t").assertion_checked("equal", true, Default::default())?;
            e.test("t").assertions_completed(1, 1, 0, true)?;
            Ok(e.test("t").assertions_started(Value::Null)?)
        }),
        ("a step by context", |e| {
            Ok(e.step("connect").execution_started(Value::Null, "connect", Default::default())?)
        }),
        ("a step that only progresses", |e| {
            Ok(e.step("connect").progress("half", "connect", Default::default())?)
        }),
        ("a step that is retried", |e| {
            step_fails(e, "connect")?;
            Ok(e.step("connect").execution_started(Value::Null, "connect", Default::default())?)
        }),
        ("a step that runs again", |e| {
            step_passes(e, "connect")?;
            Ok(e.step("connect").execution_started(Value::Null, "connect", Default::default())?)
        }),
        ("a step that the test names", |e| Ok(e.test("t").step_started("connect", Default::default())?)),
        ("a step that the test names again", |e| {
            let mut test = e.test("t");
            test.step_started("connect", Default::default())?;
            test.step_completed("connect", Default::default())?;
            test.step_started("connect", Default::default())?;
            step_passes(e, "connect")
        }),
        ("an assertion", |e| Ok(e.assertion("rtt").validation_started("rtt", Default::default())?)),
        ("an assertion that is validated again", |e| {
            let mut assertion = e.assertion("rtt");
            assertion.validation_started("rtt", Default::default())?;
            assertion.result(true, "", "rtt", Default::default())?;
            Ok(assertion.validation_started("rtt", Default::default())?)
        }),
        ("an assertion that passes without having begun", |e| {
            Ok(e.assertion("rtt").result(true, "", "rtt", Default::default())?)
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
            assert_eq!(verdicts(&tree), ["incomplete"], "{what}, {topology}");
        }
    }
    // By document.
    let tree = run(Topology::Inline, |emitter| {
        begin(emitter, "t")?;
        let more = step::ExecutionStarted { test_case_id: Some("t"), ..Default::default() };
        emitter.step("connect").execution_started(Value::Null, "connect", more)?;
        end(emitter, "t")
    });
    assert_eq!(verdicts(&tree), ["incomplete"]);
}

#[test]
fn a_test_that_never_ends_is_running_and_not_passed() {
    let tree = run(Topology::Inline, |emitter| {
        let mut emitter = emitter.within(Level::Test, "t")?;
        begin(&mut emitter, "t")?;
        step_passes(&mut emitter, "connect")
    });
    assert_eq!(verdicts(&tree), ["running"]);
    assert_eq!(tree.tests_tally().passed, 0);
}

#[test]
fn tests_of_one_name_in_two_experiments_are_two() {
    for first in ["one", "two"] {
        for topology in TOPOLOGIES {
            let tree = run(topology, |emitter| {
                for experiment in [first, if first == "one" { "two" } else { "one" }] {
                    let mut emitter = emitter.within(Level::Experiment, experiment)?;
                    let mut emitter = emitter.within(Level::Test, "t")?;
                    begin(&mut emitter, "t")?;
                    if experiment == "one" {
                        step_fails(&mut emitter, "connect")?;
                    } else {
                        step_passes(&mut emitter, "connect")?;
                        end(&mut emitter, "t")?;
                    }
                }
                Ok(())
            });
            let mut found: Vec<_> =
                tree.tests.iter().map(|test| (test.experiment, test.outcome().name())).collect();
            found.sort_unstable_by_key(|(_, outcome)| *outcome);
            let expected = [(Some(Symbol::of("one")), "failed"), (Some(Symbol::of("two")), "passed")];
            assert_eq!(found, expected, "{first}, {topology}");
        }
    }
}

#[test]
fn a_test_that_is_run_again_fails_where_either_run_failed() {
    type Emit = fn(&mut Emitter) -> Emitted;
    let passing: Emit = |e| {
        begin(e, "t")?;
        step_passes(e, "connect")?;
        end(e, "t")
    };
    let step_failing: Emit = |e| {
        begin(e, "t")?;
        step_fails(e, "connect")?;
        end(e, "t")
    };
    let failing: Emit = |e| {
        begin(e, "t")?;
        Ok(e.test("t").failed("t", "boom", Default::default())?)
    };
    let ending_never: Emit = |e| begin(e, "t");
    let runs =
        [("passed", passing), ("failed", step_failing), ("failed", failing), ("incomplete", ending_never)];
    for (one, first) in runs {
        for (other, second) in runs {
            for topology in TOPOLOGIES {
                let tree = run(topology, |emitter| {
                    let mut emitter = emitter.within(Level::Test, "t")?;
                    first(&mut emitter)?;
                    second(&mut emitter)
                });
                let expected = match (one, other) {
                    ("failed", _) | (_, "failed") => "failed",
                    (_, "incomplete") => "running",
                    ("incomplete", _) => "incomplete",
                    _ => "passed",
                };
                assert_eq!(verdicts(&tree), [expected], "{one}, then {other}, {topology}");
            }
        }
    }
}

#[test]
fn a_step_without_a_context_makes_no_test_pass_that_may_not_be_its_own() {
    for topology in TOPOLOGIES {
        let tree = run(topology, |emitter| {
            for test in ["a", "b"] {
                begin(emitter, test)?;
                emitter.test(test).step_started("connect", Default::default())?;
                end(emitter, test)?;
            }
            // One of both; nobody knows which.
            step_passes(emitter, "connect")
        });
        assert_eq!(verdicts(&tree), ["incomplete"; 2], "{topology}");
        assert_eq!(tree.steps.len(), 1);
        // A step of the same name in two tests, without saying so: the second does not undo the failure of the first.
        let tree = run(topology, |emitter| {
            begin(emitter, "a")?;
            step_fails(emitter, "connect")?;
            end(emitter, "a")?;
            begin(emitter, "b")?;
            step_passes(emitter, "connect")?;
            end(emitter, "b")
        });
        assert_eq!(tree.steps.len(), 1);
        assert_eq!(tree.steps[0].part.outcome.name(), "failed", "{topology}");
    }
}

#[test]
fn a_failure_counts_wherever_it_arrives_among_other_events() {
    let seed = support::seed();
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

/// The table of the module's documentation: the first row that fits counts. What it says of itself, and of its parts.
const ROWS: &[(Outcome, &[Outcome], &[Outcome])] = &[
    (Outcome::Failed, &[Outcome::Failed], &[Outcome::Failed]),
    (Outcome::Running, &[Outcome::Running], &[]),
    (Outcome::Incomplete, &[Outcome::Incomplete], &[Outcome::Running, Outcome::Incomplete]),
    (Outcome::Unknown, &[Outcome::Unknown], &[Outcome::Unknown]),
    (Outcome::Unsupported, &[Outcome::Unsupported], &[Outcome::Unsupported]),
    (Outcome::Skipped, &[Outcome::Skipped], &[]),
];

#[test]
fn a_verdict_follows_the_table_for_every_combination_of_parts() {
    let mut passed = 0;
    for own in Outcome::ALL {
        for set in 0..1_u32 << Outcome::ALL.len() {
            let parts: Vec<_> =
                Outcome::ALL.into_iter().enumerate().filter(|(at, _)| set >> at & 1 != 0).collect();
            let parts: Vec<Outcome> = parts.into_iter().map(|(_, part)| part).collect();
            let row = ROWS.iter().find(|(_, owns, of_parts)| {
                owns.contains(&own) || parts.iter().any(|part| of_parts.contains(part))
            });
            let expected = match row {
                Some((verdict, _, _)) => *verdict,
                None if parts == [Outcome::Skipped] => Outcome::Skipped,
                None => Outcome::Passed,
            };
            let verdict = own.with_parts(&parts.iter().copied().collect());
            assert_eq!(verdict, expected, "{own:?} with {parts:?}");
            if verdict == Outcome::Passed {
                let good = parts.iter().all(|part| matches!(part, Outcome::Passed | Outcome::Skipped));
                assert!(own == Outcome::Passed && good, "{own:?} with {parts:?}");
                passed += 1;
            }
        }
    }
    // Nothing; passed ones; passed and skipped ones.
    assert_eq!(passed, 3);
}

#[test]
fn what_is_not_known_of_a_part_is_not_known_of_its_test() {
    type Emit = fn(&mut Emitter) -> Emitted;
    let cases: [(&str, &str, Emit); 8] = [
        ("unknown", "fewer passed than there are", |e| {
            Ok(e.test("t").assertions_completed(3, 2, 0, true)?)
        }),
        ("unknown", "fewer passed than there are, of an assertion", |e| {
            e.assertion("rtt").validation_started("rtt", Default::default())?;
            Ok(e.assertion("rtt").validation_completed(2, 0, 3, "rtt", Default::default())?)
        }),
        ("unknown", "nobody knows", |e| {
            e.assertion("rtt").validation_started("rtt", Default::default())?;
            Ok(e.assertion("rtt").unknown("who knows", "rtt", Default::default())?)
        }),
        ("unknown", "nobody knows, after it passed", |e| {
            e.assertion("rtt").validation_started("rtt", Default::default())?;
            e.assertion("rtt").result(true, "", "rtt", Default::default())?;
            Ok(e.assertion("rtt").unknown("who knows", "rtt", Default::default())?)
        }),
        ("unsupported", "a step that cannot be done here", |e| {
            Ok(e.step("connect").unsupported("no IPv6", Value::Null, "connect", Default::default())?)
        }),
        ("passed", "a step that was left out", |e| {
            Ok(e.step("connect").skipped("not today", "connect", Default::default())?)
        }),
        ("passed", "a step whose end only its test tells", |e| {
            e.step("connect").execution_started(Value::Null, "connect", Default::default())?;
            Ok(e.test("t").step_completed("connect", Default::default())?)
        }),
        ("incomplete", "a tester that has not come to an end", |e| {
            Ok(e.service("ivy").tester_analysis_started("ivy", Value::Null, "all")?)
        }),
    ];
    for (expected, what, emit) in cases {
        for topology in TOPOLOGIES {
            let tree = run(topology, |emitter| {
                let mut emitter = emitter.within(Level::Test, "t")?;
                begin(&mut emitter, "t")?;
                emit(&mut emitter)?;
                end(&mut emitter, "t")
            });
            assert_eq!(verdicts(&tree), [expected], "{what}, {topology}");
        }
    }
}

#[test]
fn a_test_of_which_all_was_left_out_is_skipped() {
    let tree = run(Topology::Inline, |emitter| {
        let mut emitter = emitter.within(Level::Test, "t")?;
        let e = &mut emitter;
        let mut test = e.test("t");
        test.setup_started(Value::Null, Default::default())?;
        test.setup_completed(Value::Null, Default::default())?;
        test.environment_setup_started("docker", Default::default())?;
        test.environment_setup_completed("docker", Default::default())?;
        test.deployment_started(Value::Null)?;
        test.deployment_completed(Value::Null, Default::default())?;
        test.execution_started(Value::Null, Default::default())?;
        test.step_started("connect", Default::default())?;
        e.step("connect").skipped("not today", "connect", Default::default())?;
        end(e, "t")
    });
    assert_eq!(verdicts(&tree), ["skipped"]);
}

#[test]
fn runs_are_counted() {
    let tree = run(Topology::Inline, |emitter| {
        let mut emitter = emitter.within(Level::Test, "t")?;
        for _ in 0..3 {
            begin(&mut emitter, "t")?;
            step_passes(&mut emitter, "connect")?;
            end(&mut emitter, "t")?;
        }
        Ok(())
    });
    assert_eq!((verdicts(&tree), tree.tests[0].part.runs), (vec!["passed"], 3));
    assert!(tree.tests[0].steps.iter().all(|step| step.part.runs == 3), "{tree:?}");
}

#[test]
fn the_whole_passes_only_where_there_is_something_and_all_of_it_passed() {
    type Emit = fn(&mut Emitter) -> Emitted;
    let passing: Emit = |e| {
        let mut e = e.within(Level::Test, "t")?;
        begin(&mut e, "t")?;
        end(&mut e, "t")
    };
    let cases: [(&str, &str, Emit); 8] = [
        ("passed", "nothing beside", |_| Ok(())),
        ("failed", "a step of no test", |e| step_fails(e, "lone")),
        ("incomplete", "a step of no test that never ends", |e| {
            Ok(e.step("lone").execution_started(Value::Null, "lone", Default::default())?)
        }),
        ("failed", "a step of a test that is not known", |e| {
            let mut e = e.within(Level::Test, "other")?;
            step_fails(&mut e, "lone")
        }),
        ("failed", "an assertion of no test", |e| {
            Ok(e.assertion("lone").result(false, "no", "lone", Default::default())?)
        }),
        ("failed", "a tester of no test", |e| {
            Ok(e.service("ivy").test_results("ivy", Value::Null, false, Default::default())?)
        }),
        ("failed", "the experiment", |e| Ok(e.experiment("x").failed("no plugin", Default::default())?)),
        ("failed", "tests of which only the experiment tells", |e| {
            Ok(e.experiment("x").execution_completed(1, 1, 2, Default::default())?)
        }),
    ];
    for (expected, what, emit) in cases {
        for topology in TOPOLOGIES {
            let tree = run(topology, |emitter| {
                passing(emitter)?;
                emit(emitter)
            });
            assert_eq!(verdicts(&tree), ["passed"], "{what}");
            assert_eq!(tree.outcome().name(), expected, "{what}, {topology}");
        }
    }
    assert_eq!(ResultTree::default().outcome(), Outcome::Unknown);
}

#[test]
fn no_test_passes_where_a_part_may_be_missing() {
    let mut builder = builder(Topology::Inline);
    let key = builder.observer("results", |setup| {
        Results::new(setup.catalogue, setup.symbols, setup.contexts).with_limit(2)
    });
    let pipeline = builder.start().unwrap();
    let mut emitter = pipeline.emitter("runner").unwrap();
    {
        let mut emitter = emitter.within(Level::Test, "t").unwrap();
        begin(&mut emitter, "t").unwrap();
        step_fails(&mut emitter, "connect").unwrap();
        end(&mut emitter, "t").unwrap();
    }
    drop(emitter);
    let tree = pipeline.shutdown().report(key).unwrap().tree();
    assert_eq!(verdicts(&tree), ["unknown"]);
}

#[test]
fn invalid_transitions_are_among_the_warnings() {
    for topology in TOPOLOGIES {
        let mut builder = builder(topology);
        builder.observer("state", |setup| States::new(setup.catalogue, StateOptions::default()));
        let pipeline = builder.start().unwrap();
        let mut emitter = pipeline.emitter("runner").unwrap();
        for n in 1..=7 {
            let name = format!("rtt-{n}");
            emitter.assertion(&name).at(n).result(true, "", &name, Default::default()).unwrap();
        }
        emitter.test("t").at(9).teardown_started().unwrap();
        drop(emitter);
        let snapshot = pipeline.shutdown();
        let expected = [
            "1 invalid transition of domain test: \"t\" was created when teardown_started came",
            "7 invalid transitions of domain assertion: \"rtt-1\" was created when result came, \"rtt-2\" was created \
             when result came, \"rtt-3\" was created when result came, and 4 more",
        ];
        assert_eq!(snapshot.warnings, expected, "{topology}");
    }
}
