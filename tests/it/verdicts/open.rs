//! Promise: what never ended, may be another's, or is not known makes no test pass; and the whole passes only where all of
//! it did.
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use crate::support::verdicts::{
    Emitted, TOPOLOGIES, begin, builder, end, run, step_fails, step_passes, verdicts,
};
use panther_events::domain::step;
use panther_events::emit::Emitter;
use panther_events::event::{Level, Symbol, Value};
use panther_events::observe::results::{Outcome, ResultTree, Results};
use panther_events::observe::state::{StateOptions, States};
use panther_events::pipeline::Topology;

#[test]
fn a_test_that_ends_before_its_parts_is_incomplete() {
    type Emit = fn(&mut Emitter) -> Emitted;
    let cases: [(&str, Emit); 13] = [
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
        ("checks that began behind an end without a beginning", |e| {
            e.test("t").assertions_completed(0, 0, 0, true)?;
            Ok(e.test("t").assertions_started(Value::Null)?)
        }),
        ("a step that began twice and ended once", |e| {
            e.step("connect").at(5).execution_started(Value::Null, "connect", Default::default())?;
            e.step("connect").at(6).execution_started(Value::Null, "connect", Default::default())?;
            Ok(e.step("connect").at(7).execution_completed("connect", Default::default())?)
        }),
        ("a step of which the test tells two beginnings and one end", |e| {
            e.test("t").at(5).step_started("connect", Default::default())?;
            e.test("t").at(6).step_started("connect", Default::default())?;
            Ok(e.test("t").at(7).step_completed("connect", Default::default())?)
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
    let cases: [(&str, &str, Emit); 9] = [
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
        ("incomplete", "tests of which nobody tells", |e| {
            Ok(e.experiment("x").execution_completed(1, 0, 3, Default::default())?)
        }),
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
    // Without a test, what passed beside is not the whole.
    let tree = run(Topology::Inline, |e| {
        let mut assertion = e.assertion("lone");
        assertion.validation_started("lone", Default::default())?;
        Ok(assertion.result(true, "", "lone", Default::default())?)
    });
    assert_eq!(tree.assertions[0].part.outcome, Outcome::Passed);
    assert_eq!(tree.outcome(), Outcome::Unknown);
}

#[test]
fn no_test_passes_where_a_part_may_be_missing() {
    let mut builder = builder(Topology::Inline);
    let key = builder
        .observer("results", |setup| Results::new(setup.schema, setup.symbols, setup.contexts).with_limit(2));
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
        builder.observer("state", |setup| {
            States::new(setup.schema, setup.symbols, setup.contexts, StateOptions::default())
        });
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

#[test]
fn what_a_service_found_is_no_result_of_an_assertion_of_its_name() {
    for topology in TOPOLOGIES {
        for (ends, found, verdict) in [
            (false, true, "incomplete"),
            (true, true, "passed"),
            (true, false, "failed"),
            (false, false, "failed"),
        ] {
            let tree = run(topology, |e| {
                begin(e, "t")?;
                e.assertion("ivy").validation_started("ivy", Default::default())?;
                e.service("ivy").test_results("ivy", Value::Null, found, Default::default())?;
                if ends {
                    e.assertion("ivy").result(true, "", "ivy", Default::default())?;
                }
                end(e, "t")
            });
            // It names no test, and stands beside.
            assert_eq!(tree.outcome().name(), verdict, "{ends} {found}, {topology}: {tree:?}");
        }
    }
}
