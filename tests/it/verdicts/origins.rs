//! Promise: of what several processes tell, each is judged by what itself tells; what one began or ran, another neither ends nor covers.
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use crate::support::verdicts::{
    Emitted, TOPOLOGIES, begin_at, builder, end_at, replayed, results_of, sets_up, verdicts,
};
use panther_events::emit::Emitter;
use panther_events::event::{Level, Value};
use panther_events::observe::results::ResultTree;
use std::time::Duration;

type Tell<'a> = &'a dyn Fn(&mut Emitter) -> Emitted;

/// Gives what each process tells to one pipeline, one process after the other, as a reader does.
fn of_processes(processes: &[Tell<'_>]) -> ResultTree {
    results_of(builder(TOPOLOGIES[0]), |pipeline| {
        let mut emitter = pipeline.emitter("runner")?;
        for (number, tell) in processes.iter().enumerate() {
            if number > 0 {
                pipeline.contexts().forget_numbers();
            }
            tell(&mut emitter)?;
            pipeline.drain(Duration::from_secs(10))?;
        }
        Ok(())
    })
}

fn begins(e: &mut Emitter, time_ns: u64) -> Emitted {
    let more =
        panther_events::domain::step::ExecutionStarted { test_case_id: Some("t"), ..Default::default() };
    Ok(e.step("s").at(time_ns).execution_started(Value::Null, "s", more)?)
}

fn passes(e: &mut Emitter, time_ns: u64) -> Emitted {
    let more =
        panther_events::domain::step::ExecutionCompleted { test_case_id: Some("t"), ..Default::default() };
    Ok(e.step("s").at(time_ns).execution_completed("s", more)?)
}

fn fails(e: &mut Emitter, time_ns: u64) -> Emitted {
    let more =
        panther_events::domain::step::ExecutionFailed { test_case_id: Some("t"), ..Default::default() };
    Ok(e.step("s").at(time_ns).execution_failed("no", 0, "s", more)?)
}

#[test]
fn what_one_process_began_another_does_not_end() {
    let begin: Tell<'_> = &|e| {
        begin_at(e, "t", 1)?;
        begins(e, 10)
    };
    let end: Tell<'_> = &|e| {
        passes(e, 20)?;
        end_at(e, "t", 100)
    };
    let both: Tell<'_> = &|e| {
        begin(e)?;
        end(e)
    };
    assert_eq!(verdicts(&of_processes(&[both])), ["passed"]);
    assert_eq!(verdicts(&of_processes(&[begin, end])), ["running"]);
    assert_eq!(verdicts(&of_processes(&[begin, both])), ["running"]);
    assert_eq!(verdicts(&of_processes(&[both, begin])), ["running"]);
    assert_eq!(verdicts(&of_processes(&[both, both])), ["passed"]);
}

/// Two processes run the test at one time; that of the other is longer, or lies within.
#[test]
fn what_outlasts_its_test_in_one_process_is_not_within_the_run_of_another() {
    for (ended, verdict) in [(90, "passed"), (150, "incomplete")] {
        for other in [20..200, 20..30] {
            let other: Tell<'_> = &|e| {
                begin_at(e, "t", other.start)?;
                end_at(e, "t", other.end)
            };
            let step: Tell<'_> = &|e| {
                begin_at(e, "t", 10)?;
                begins(e, 15)?;
                passes(e, ended)?;
                end_at(e, "t", 100)
            };
            let checks: Tell<'_> = &|e| {
                begin_at(e, "t", 10)?;
                e.test("t").at(15).assertions_started(Value::Null)?;
                e.test("t").at(ended).assertions_completed(1, 1, 0, true)?;
                end_at(e, "t", 100)
            };
            for tell in [step, checks] {
                for processes in [[tell, other], [other, tell]] {
                    let tree = of_processes(&processes);
                    assert_eq!(verdicts(&tree), [verdict], "{ended}: {tree:?}");
                }
            }
        }
    }
}

#[test]
fn a_failure_is_not_retried_after_its_test_within_the_run_of_another_process() {
    for (retried, verdict) in [(50, "passed"), (110, "failed")] {
        let tree = of_processes(&[
            &|e| {
                begin_at(e, "t", 10)?;
                begins(e, 30)?;
                fails(e, 40)?;
                begins(e, retried)?;
                passes(e, retried + 10)?;
                end_at(e, "t", 100)
            },
            &|e| {
                begin_at(e, "t", 20)?;
                end_at(e, "t", 200)
            },
        ]);
        assert_eq!(verdicts(&tree), [verdict], "{retried}: {tree:?}");
    }
}

#[test]
fn a_test_that_one_process_lost_is_not_that_of_another_of_the_same_experiment() {
    fn process(e: &mut Emitter, at: u64, tests: &[&str]) -> Emitted {
        let mut x = e.experiment("x").at(at);
        x.initialized(Value::Null)?;
        x.plugin_loading_started(Default::default())?;
        x.plugin_loading_completed(Value::Null, 0)?;
        x.test_cases_initialized(2, Value::from(&["a", "b"]))?;
        x.execution_started(Default::default())?;
        for (time_ns, test) in (at + 10..).step_by(20).zip(tests) {
            begin_at(e, test, time_ns)?;
            end_at(e, test, time_ns + 10)?;
        }
        let mut x = e.experiment("x").at(at + 200);
        x.execution_completed(2, 0, 2, Default::default())?;
        Ok(x.completed(Value::Null)?)
    }
    for (first, second, verdict) in [
        (&["a", "b"][..], &["a", "b"][..], "passed"),
        (&["a", "b"], &["a"], "unknown"),
        (&["b"], &["a", "b"], "unknown"),
    ] {
        let tree = of_processes(&[&|e| process(e, 10, first), &|e| process(e, 11, second)]);
        assert_eq!(tree.outcome().name(), verdict, "{first:?} {second:?}: {tree:?}");
    }
}

/// Records of a tester without the documents in which it names what failed.
#[test]
fn what_a_tester_told_in_a_document_that_is_not_known_is_unknown() {
    for (known, outcome) in [(true, "failed"), (false, "unknown")] {
        let tree = replayed(known, |emitter| {
            let (checks, none) = (Value::from(&["bad checksum"]), Value::Null);
            Ok(emitter.service("ivy").tester_analysis_completed(
                "ivy",
                true,
                checks,
                none,
                Default::default(),
            )?)
        });
        assert_eq!(tree.assertions[0].part.outcome.name(), outcome);
    }
}

/// A log that was rotated within a step, which is run again in the second file.
#[cfg(feature = "panther")]
#[test]
fn a_step_whose_beginning_and_end_are_in_two_files_of_a_log_has_passed() {
    use crate::support::verdicts::panthers_line;
    use panther_events::ingest::panther::{PantherIds, PythonVersion, feed};
    let line = |second, event| panthers_line(second, event, "{}");
    let folder = tempfile::tempdir().unwrap();
    let paths = ["log.1.jsonl", "log.2.jsonl"].map(|name| folder.path().join(name));
    let lines = [
        line(1, "execution_started"),
        line(2, "execution_completed"),
        line(3, "execution_started"),
        line(4, "execution_completed"),
    ];
    for rotated_behind in 1..4 {
        let (first, second) = lines.split_at(rotated_behind);
        for (path, lines) in paths.iter().zip([first, second]) {
            std::fs::write(path, lines.concat()).unwrap();
        }
        let tree = of_processes(&[&|emitter| {
            let (ids, bytes) = (PantherIds::default(), std::sync::atomic::AtomicU64::new(0));
            feed(&paths, PythonVersion::default(), emitter, &ids, &bytes, || {});
            Ok(())
        }]);
        let part = &tree.steps[0].part;
        assert_eq!((part.outcome.name(), part.runs), ("passed", 2), "{rotated_behind}: {tree:?}");
    }
}

/// A process that leads one run of a test and helps in another is judged by the run in which it helps: as if one had led both.
#[test]
fn who_helps_in_anothers_run_is_judged_by_that() {
    let lead = |e: &mut Emitter, at| -> Emitted {
        begin_at(e, "t", at)?;
        end_at(e, "t", at + 100)
    };
    // A step that outlasts the run, of the one process and of the other.
    let tree = of_processes(&[&|e| lead(e, 100), &|e| {
        begins(e, 120)?;
        passes(e, 250)?;
        lead(e, 300)
    }]);
    assert_eq!(verdicts(&tree), ["incomplete"]);
    let late: Tell<'_> = &|e| {
        lead(e, 100)?;
        begins(e, 320)?;
        passes(e, 450)
    };
    assert_eq!(verdicts(&of_processes(&[late, &|e| lead(e, 300)])), ["incomplete"]);
    // One that hangs, and passes in the run that the helper leads.
    let tree = of_processes(&[&|e| lead(e, 100), &|e| {
        begins(e, 120)?;
        begin_at(e, "t", 300)?;
        e.test("t").at(320).step_started("s", Default::default())?;
        e.test("t").at(330).step_completed("s", Default::default())?;
        end_at(e, "t", 400)
    }]);
    assert_eq!(verdicts(&tree), ["incomplete"]);
    // Checks that began in the one and ended in the other.
    let tree = of_processes(&[&|e| lead(e, 100), &|e| {
        e.test("t").at(120).assertions_started(Value::Null)?;
        begin_at(e, "t", 300)?;
        e.test("t").at(350).assertions_completed(1, 1, 0, true)?;
        end_at(e, "t", 400)
    }]);
    assert_ne!(verdicts(&tree), ["passed"]);
    // A retry is one there, too, and what is in order stays so.
    let tree = of_processes(&[&|e| lead(e, 100), &|e| {
        begins(e, 120)?;
        fails(e, 130)?;
        begins(e, 140)?;
        passes(e, 150)?;
        lead(e, 300)
    }]);
    assert_eq!(verdicts(&tree), ["passed"]);
    // Runs of both at one time are each process's own.
    let tree = of_processes(&[&|e| lead(e, 100), &|e| {
        begin_at(e, "t", 150)?;
        begins(e, 160)?;
        passes(e, 220)?;
        end_at(e, "t", 250)
    }]);
    assert_eq!(verdicts(&tree), ["passed"]);
}

/// A runner that was started twice lists the steps of each run, and an agent does one of them in both.
#[test]
fn an_agents_steps_count_for_each_runner() {
    let lead = |e: &mut Emitter, at: u64| -> Emitted {
        let mut test = e.test("t").at(at);
        test.created("t", Value::Null, Default::default())?;
        sets_up(&mut test, Value::from(&["prepare", "s"]))?;
        test.step_started("prepare", Default::default())?;
        test.step_completed("prepare", Default::default())?;
        end_at(e, "t", at + 100)
    };
    let both: Tell<'_> = &|e| {
        begins(e, 120)?;
        passes(e, 130)?;
        begins(e, 320)?;
        passes(e, 330)
    };
    let once: Tell<'_> = &|e| {
        begins(e, 120)?;
        passes(e, 130)
    };
    let twice: Tell<'_> = &|e| {
        begins(e, 320)?;
        passes(e, 330)?;
        begins(e, 340)?;
        passes(e, 350)
    };
    for (agent, verdict) in [(both, "passed"), (once, "unknown"), (twice, "unknown")] {
        let tree = of_processes(&[&|e| lead(e, 100), &|e| lead(e, 300), agent]);
        assert_eq!(verdicts(&tree), [verdict]);
    }
}

/// A worker that tells of a failed service within an experiment does not lead that, and its tests are the leader's.
#[test]
fn who_tells_of_an_experiment_in_passing_does_not_lead_it() {
    let leads: Tell<'_> = &|e| {
        let mut x = e.experiment("x").at(10);
        x.initialized(Value::Null)?;
        x.plugin_loading_started(Default::default())?;
        x.plugin_loading_completed(Value::Null, 0)?;
        x.test_cases_initialized(1, Value::from(&["a"]))?;
        x.execution_started(Default::default())?;
        let mut x = e.experiment("x").at(1_000);
        x.execution_completed(1, 0, 1, Default::default())?;
        Ok(x.completed(Value::Null)?)
    };
    let works: Tell<'_> = &|e| {
        let mut e = e.within(Level::Experiment, "x")?;
        begin_at(&mut e, "a", 100)?;
        e.experiment("x").at(110).service_failure(
            "server",
            "killed by the test",
            "test",
            Default::default(),
        )?;
        end_at(&mut e, "a", 200)
    };
    let idles: Tell<'_> = &|e| {
        let mut e = e.within(Level::Experiment, "x")?;
        Ok(e.experiment("x").at(110).service_failure("server", "killed", "test", Default::default())?)
    };
    assert_eq!(of_processes(&[leads, works]).outcome().name(), "passed");
    assert_eq!(of_processes(&[leads, idles]).outcome().name(), "unknown");
}

/// A process that leads no run of the test executes it, or prepares to, when another has.
#[test]
fn what_another_process_executes_again_has_to_end_again() {
    let leads: Tell<'_> = &|e| {
        begin_at(e, "t", 10)?;
        e.test("t").at(20).execution_completed(Default::default())?;
        end_at(e, "t", 100)
    };
    type Helps<'a> = &'a dyn Fn(&mut Emitter) -> Emitted;
    let executes: Helps<'_> =
        &|e| Ok(e.test("t").at(50).execution_started(Value::Null, Default::default())?);
    let executes_whole: Helps<'_> = &|e| {
        executes(e)?;
        Ok(e.test("t").at(60).execution_completed(Default::default())?)
    };
    let deploys_again: Helps<'_> = &|e| Ok(e.test("t").at(110).deployment_started(Value::Null)?);
    let deploys: Helps<'_> = &|e| Ok(e.test("t").at(15).deployment_started(Value::Null)?);
    for (helps, verdict) in [
        (executes, "incomplete"),
        (executes_whole, "passed"),
        (deploys_again, "incomplete"),
        (deploys, "passed"),
    ] {
        for processes in [[leads, helps], [helps, leads]] {
            let tree = of_processes(&processes);
            assert_eq!(verdicts(&tree), [verdict], "{tree:?}");
        }
    }
}

/// Behind a new beginning of its steps in whichever process, a test that failed is not retried but executed again.
#[test]
fn a_failure_is_not_retried_across_an_execution_that_another_process_begins() {
    let cases = [(60, false, "failed"), (60, true, "failed"), (9, false, "passed"), (90, false, "passed")];
    for (again_ns, led_before, verdict) in cases {
        let leads: Tell<'_> = &|e| {
            begin_at(e, "t", 10)?;
            begins(e, 30)?;
            fails(e, 40)?;
            begins(e, 70)?;
            passes(e, 80)?;
            end_at(e, "t", 100)
        };
        let helps: Tell<'_> = &|e| {
            if led_before {
                begin_at(e, "t", 1)?;
                end_at(e, "t", 5)?;
            }
            e.test("t").at(again_ns).execution_started(Value::Null, Default::default())?;
            Ok(e.test("t").at(again_ns + 1).execution_completed(Default::default())?)
        };
        for processes in [[leads, helps], [helps, leads]] {
            let tree = of_processes(&processes);
            assert_eq!(verdicts(&tree), [verdict], "{again_ns}: {tree:?}");
        }
    }
}
