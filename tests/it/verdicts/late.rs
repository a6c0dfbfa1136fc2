//! Promise: what is still running when its test ends has not passed, whatever comes later; and what comes at one time from two
//! tellers undoes nothing.
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use crate::support::random::Rng;
use crate::support::verdicts::{Emitted, TOPOLOGIES, begin_at, builder, end_at, replayed, run, verdicts};
use panther_events::emit::Emitter;
use panther_events::event::{Level, Value};
use panther_events::observe::results::Results;
use panther_events::pipeline::Topology;

type Tell = fn(&mut Emitter, u64, u64) -> Emitted;

/// Parts that begin at one time and pass at another.
const PARTS: [(&str, Tell); 5] = [
    ("a step", |e, begins, ends| {
        e.step("s").at(begins).execution_started(Value::Null, "s", Default::default())?;
        Ok(e.step("s").at(ends).execution_completed("s", Default::default())?)
    }),
    ("a step that the test names", |e, begins, ends| {
        e.test("t").at(begins).step_started("s", Default::default())?;
        Ok(e.test("t").at(ends).step_completed("s", Default::default())?)
    }),
    ("an assertion", |e, begins, ends| {
        e.assertion("a").at(begins).validation_started("a", Default::default())?;
        Ok(e.assertion("a").at(ends).result(true, "", "a", Default::default())?)
    }),
    ("checks", |e, begins, ends| {
        e.test("t").at(begins).assertions_started(Value::Null)?;
        Ok(e.test("t").at(ends).assertions_completed(0, 0, 0, true)?)
    }),
    ("a retried step", |e, begins, ends| {
        e.step("s").at(1).execution_started(Value::Null, "s", Default::default())?;
        e.step("s").at(2).execution_failed("no", 0, "s", Default::default())?;
        e.step("s").at(begins).execution_started(Value::Null, "s", Default::default())?;
        Ok(e.step("s").at(ends).execution_completed("s", Default::default())?)
    }),
];

#[test]
fn what_passes_after_its_test_has_ended_has_not_passed() {
    for (what, tell) in PARTS {
        for topology in TOPOLOGIES {
            for (begins, ends, verdict) in [
                (500, 999, "passed"),
                (500, 1000, "passed"),
                (500, 1001, "incomplete"),
                (999, 5000, "incomplete"),
            ] {
                // In the order of time, and the part's end told before that of the test.
                for is_told_last in [true, false] {
                    let tree = run(topology, |e| {
                        let mut e = e.within(Level::Test, "t")?;
                        begin_at(&mut e, "t", 1)?;
                        if is_told_last && what != "checks" {
                            end_at(&mut e, "t", 1000)?;
                        }
                        tell(&mut e, begins, ends)?;
                        if !is_told_last || what == "checks" {
                            end_at(&mut e, "t", 1000)?;
                        }
                        Ok(())
                    });
                    let told = if is_told_last { "behind" } else { "before" };
                    assert_eq!(
                        verdicts(&tree),
                        [verdict],
                        "{what} {begins}..{ends}, {told}, {topology}: {tree:?}"
                    );
                    assert_eq!(tree.outcome().name(), verdict);
                }
            }
        }
    }
}

#[test]
fn what_outlasts_says_by_how_much() {
    let tree = run(Topology::Inline, |e| {
        let mut e = e.within(Level::Test, "t")?;
        begin_at(&mut e, "t", 1)?;
        PARTS[0].1(&mut e, 500, 2_001_000)?;
        end_at(&mut e, "t", 1000)
    });
    let step = tree.tests[0].steps.iter().find(|step| step.part.message.is_some()).unwrap();
    let message = step.part.message.as_deref().unwrap();
    assert_eq!(message, "was still running when its test ended, and ended 2ms later");
}

/// Runs of a test one after the other, each with runs of a step, one of which may end after its test's.
#[test]
fn a_run_that_outlasts_its_run_of_the_test_keeps_all_from_passing() {
    let mut rng = Rng::new(crate::support::random::seed());
    let mut seen = [0; 2];
    for round in 0..400 {
        let (runs, steps) = (1 + rng.below(5), 1 + rng.below(3));
        let late = (rng.below(2) == 0).then(|| rng.below(runs));
        let tree = run(TOPOLOGIES[round % 2], |e| {
            let mut e = e.within(Level::Test, "t")?;
            for at in 0..runs {
                let start = 1 + at * 1000;
                begin_at(&mut e, "t", start)?;
                for step in 0..steps {
                    let is_late = late == Some(at) && step + 1 == steps;
                    let ends = start + if is_late { 501 } else { 20 + step * 10 };
                    e.step("s").at(start + 11 + step * 10).execution_started(
                        Value::Null,
                        "s",
                        Default::default(),
                    )?;
                    e.step("s").at(ends).execution_completed("s", Default::default())?;
                }
                end_at(&mut e, "t", start + 500)?;
            }
            Ok(())
        });
        seen[usize::from(late.is_some())] += 1;
        let right = if late.is_some() { "incomplete" } else { "passed" };
        assert_eq!(verdicts(&tree), [right], "{runs} runs, {steps} of the step, late {late:?}");
    }
    assert!(seen.iter().all(|seen| *seen > 100), "{seen:?}");
}

#[test]
fn a_beginning_that_another_tells_at_the_time_of_a_failure_is_no_retry() {
    for (sources, verdict) in [([0, 0], "passed"), ([0, 1], "failed")] {
        let mut builder = builder(Topology::Inline);
        let key =
            builder.observer("results", |setup| Results::new(setup.schema, setup.symbols, setup.contexts));
        let pipeline = builder.start().unwrap();
        let mut emitters = [pipeline.emitter("one").unwrap(), pipeline.emitter("other").unwrap()];
        for emitter in &mut emitters {
            emitter.enter(Level::Test, "t").unwrap();
        }
        begin_at(&mut emitters[0], "t", 1).unwrap();
        let mut step = emitters[0].step("s").at(10);
        step.execution_started(Value::Null, "s", Default::default()).unwrap();
        let mut step = emitters[sources[0]].step("s").at(20);
        step.execution_failed("no", 0, "s", Default::default()).unwrap();
        pipeline.drain(std::time::Duration::from_secs(10)).unwrap();
        let mut step = emitters[sources[1]].step("s").at(20);
        step.execution_started(Value::Null, "s", Default::default()).unwrap();
        step.execution_completed("s", Default::default()).unwrap();
        pipeline.drain(std::time::Duration::from_secs(10)).unwrap();
        end_at(&mut emitters[0], "t", 100).unwrap();
        drop(emitters);
        let snapshot = pipeline.shutdown();
        assert_eq!(verdicts(&snapshot.report(key).unwrap().tree()), [verdict], "{sources:?}");
    }
}

/// By the times, the run that began last has not ended, in whichever order the events come.
#[test]
fn an_end_that_was_earlier_than_the_beginning_is_not_its_end() {
    for (began, ended, verdict) in [(5, 8, "passed"), (8, 8, "passed"), (8, 5, "incomplete")] {
        for topology in TOPOLOGIES {
            let tree = run(topology, |e| {
                begin_at(e, "t", 1)?;
                {
                    let mut e = e.within(Level::Test, "t")?;
                    e.step("s").at(began).execution_started(Value::Null, "s", Default::default())?;
                    e.step("s").at(ended).execution_completed("s", Default::default())?;
                }
                end_at(e, "t", 100)
            });
            assert_eq!(verdicts(&tree), [verdict], "step {began} {ended}, {topology}: {tree:?}");
            let tree = run(topology, |e| {
                begin_at(e, "t", 1)?;
                e.test("t").at(began).step_started("s", Default::default())?;
                e.test("t").at(ended).step_completed("s", Default::default())?;
                end_at(e, "t", 100)
            });
            assert_eq!(verdicts(&tree), [verdict], "told {began} {ended}, {topology}: {tree:?}");
        }
    }
}

/// A failure told late, with an earlier time, does not hide that the run which began last has not ended.
#[test]
fn a_failure_told_late_hides_no_run_that_goes_on() {
    for topology in TOPOLOGIES {
        let tree = run(topology, |e| {
            begin_at(e, "t", 1)?;
            {
                let mut e = e.within(Level::Test, "t")?;
                e.step("s").at(13).execution_started(Value::Null, "s", Default::default())?;
                e.step("s").at(10).execution_failed("no", 0, "s", Default::default())?;
                e.step("s").at(11).execution_started(Value::Null, "s", Default::default())?;
                e.step("s").at(12).execution_completed("s", Default::default())?;
            }
            end_at(e, "t", 100)
        });
        assert_ne!(verdicts(&tree), ["passed"], "{topology}: {tree:?}");
    }
}

/// A step that names no test can only be of the only one, and is not retried after its end.
#[test]
fn a_step_without_a_test_is_not_retried_after_the_only_test_has_ended() {
    for (ended, passes) in [(100, true), (30, false)] {
        for topology in TOPOLOGIES {
            let tree = run(topology, |e| {
                begin_at(e, "t", 1)?;
                e.step("s").at(20).execution_started(Value::Null, "s", Default::default())?;
                e.step("s").at(21).execution_failed("no", 0, "s", Default::default())?;
                if !passes {
                    end_at(e, "t", ended)?;
                }
                e.step("s").at(40).execution_started(Value::Null, "s", Default::default())?;
                e.step("s").at(41).execution_completed("s", Default::default())?;
                if passes {
                    end_at(e, "t", ended)?;
                }
                Ok(())
            });
            assert_eq!(
                tree.outcome().name(),
                if passes { "passed" } else { "failed" },
                "{topology}: {tree:?}"
            );
        }
    }
}

/// Records without the documents that they refer to: nobody knows what these said.
#[test]
fn what_is_told_in_a_document_that_is_not_known_is_unknown() {
    for (known, verdict) in [(true, "passed"), (false, "unknown")] {
        let tree = replayed(known, |emitter| {
            begin_at(emitter, "t", 1)?;
            end_at(emitter, "t", 100)
        });
        assert_eq!(verdicts(&tree), [verdict]);
    }
}
