//! Promise: of several that do the same at one time, each has to come to its own end, by what itself is told to have done.
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use crate::support::verdicts::{self, Emitted, TOPOLOGIES, begin_at, builder, end_at, sets_up, verdicts};
use panther_events::domain::{assertion::ValidationStarted, test::ExecutionCompleted};
use panther_events::emit::Emitter;
use panther_events::event::{Level, Value};
use panther_events::observe::results::ResultTree;
use panther_events::pipeline::Pipeline;

/// What is told, by whom (the runner, the client and the server, each with an emitter and the last two in contexts of theirs) and
/// when: the name of the part is `s`.
#[derive(Clone, Copy, Debug)]
enum Tell {
    Begins,
    Passes,
    Skips,
    TestBegins,
    TestPasses,
    Validates(u64),
    Result,
    ChecksBegin(u64),
    ChecksEnd(u64),
}
use Tell::*;

const RUNNER: usize = 0;
const CLIENT: usize = 1;
const SERVER: usize = 2;

fn tell(e: &mut Emitter, time_ns: u64, what: Tell) -> Emitted {
    let more = Default::default;
    match what {
        Begins => e.step("s").at(time_ns).execution_started(Value::Null, "s", more())?,
        Passes => e.step("s").at(time_ns).execution_completed("s", Default::default())?,
        Skips => e.step("s").at(time_ns).skipped("no", "s", Default::default())?,
        TestBegins => e.test("t").at(time_ns).step_started("s", Default::default())?,
        TestPasses => e.test("t").at(time_ns).step_completed("s", Default::default())?,
        Validates(has) => {
            let started = ValidationStarted { total_assertions: Some(has), ..Default::default() };
            e.assertion("s").at(time_ns).validation_started("s", started)?;
        }
        Result => e.assertion("s").at(time_ns).result(true, "", "s", Default::default())?,
        ChecksBegin(has) => {
            let names: Vec<String> = (0..has).map(|n| n.to_string()).collect();
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            e.test("t").at(time_ns).assertions_started(Value::from(names.as_slice()))?;
        }
        ChecksEnd(count) => e.test("t").at(time_ns).assertions_completed(count, count, 0, true)?,
    }
    Ok(())
}

/// Within the test `t`, from 1 to 100.
fn told(events: &[(usize, u64, Tell)]) -> ResultTree {
    results_of(|pipeline| {
        let mut emitters = ["", "client", "server"].map(|_| pipeline.emitter("emitter").unwrap());
        for (emitter, service) in emitters.iter_mut().zip(["", "client", "server"]) {
            emitter.enter(Level::Test, "t")?;
            if !service.is_empty() {
                emitter.enter(Level::Service, service)?;
            }
        }
        begin_at(&mut emitters[RUNNER], "t", 1)?;
        for (who, time_ns, what) in events {
            tell(&mut emitters[*who], *time_ns, *what)?;
        }
        end_at(&mut emitters[RUNNER], "t", 100)
    })
}

#[test]
fn one_that_outlasts_the_test_is_not_hidden_by_what_another_tells_twice() {
    for (begins, ends) in [(Begins, Passes), (Validates(1), Result), (ChecksBegin(0), ChecksEnd(0))] {
        for (ended, verdict) in [(90, "passed"), (5000, "incomplete")] {
            let tree = told(&[
                (CLIENT, 20, begins),
                (SERVER, 21, begins),
                (SERVER, 22, ends),
                (SERVER, 23, ends),
                (CLIENT, ended, ends),
            ]);
            assert_eq!(verdicts(&tree), [verdict], "{begins:?} {ended}: {tree:?}");
        }
    }
}

#[test]
fn what_a_test_tells_of_one_service_is_not_what_another_tells_of_itself() {
    for (events, verdict) in [
        (&[(CLIENT, 20, TestBegins), (SERVER, 22, Skips)][..], "incomplete"),
        (&[(CLIENT, 20, TestBegins), (SERVER, 21, Begins), (SERVER, 22, Passes)], "incomplete"),
        (&[(SERVER, 20, Begins), (CLIENT, 21, TestBegins), (CLIENT, 22, TestPasses)], "incomplete"),
        (&[(SERVER, 20, TestBegins), (SERVER, 21, Begins), (SERVER, 22, Passes)], "passed"),
        (&[(RUNNER, 20, TestBegins), (SERVER, 21, Begins), (SERVER, 22, Passes)], "passed"),
        // The test's own step passed.
        (&[(SERVER, 20, TestBegins), (SERVER, 22, Skips)], "passed"),
    ] {
        let tree = told(events);
        assert_eq!(verdicts(&tree), [verdict], "{events:?}: {tree:?}");
    }
}

#[test]
fn what_was_left_out_ends_nothing_that_began() {
    let begins = [
        (RUNNER, 20, TestBegins),
        (RUNNER, 21, TestBegins),
        (RUNNER, 23, Begins),
        (RUNNER, 24, Begins),
        (RUNNER, 25, Passes),
    ];
    for (more, verdict) in [
        (&[(RUNNER, 26, Passes)][..], "passed"),
        (&[], "incomplete"),
        (&[(RUNNER, 22, Skips)], "incomplete"),
        (&[(RUNNER, 22, Skips), (RUNNER, 5000, Passes)], "incomplete"),
    ] {
        let tree = told(&[&begins[..], more].concat());
        assert_eq!(verdicts(&tree), [verdict], "{more:?}: {tree:?}");
    }
}

#[test]
fn each_has_the_assertions_that_it_says() {
    let results = |who, many: u64| (0..many).map(move |n| (who, 30 + n, Result)).collect::<Vec<_>>();
    for (client, server, verdict) in
        [(3, 3, "passed"), (5, 1, "unknown"), (5, 3, "passed"), (3, 0, "incomplete")]
    {
        let begin = vec![(CLIENT, 20, Validates(3)), (SERVER, 21, Validates(3))];
        let tree = told(&[begin, results(CLIENT, client), results(SERVER, server)].concat());
        assert_eq!(verdicts(&tree), [verdict], "{client} {server}: {tree:?}");
    }
    for (client, server, verdict) in [(3, 2, "passed"), (3, 1, "unknown"), (2, 2, "unknown")] {
        let tree = told(&[
            (CLIENT, 10, ChecksBegin(3)),
            (SERVER, 11, ChecksBegin(2)),
            (CLIENT, 12, ChecksEnd(client)),
            (SERVER, 13, ChecksEnd(server)),
        ]);
        assert_eq!(verdicts(&tree), [verdict], "{client} {server}: {tree:?}");
    }
}

fn results_of(tell: impl FnOnce(&Pipeline) -> Emitted) -> ResultTree {
    verdicts::results_of(builder(TOPOLOGIES[0]), tell)
}

#[test]
fn a_test_that_hangs_in_one_thread_is_not_ended_by_what_another_tells_twice() {
    for (begins, hangs) in [(20, false), (20, true), (200, true)] {
        let tree = results_of(|pipeline| {
            let [mut one, mut other] = ["one", "other"].map(|name| pipeline.emitter(name).unwrap());
            begin_at(&mut one, "t", 10)?;
            if !hangs {
                end_at(&mut one, "t", 15)?;
            }
            begin_at(&mut other, "t", begins)?;
            end_at(&mut other, "t", 300)?;
            Ok(other.test("t").at(301).completed("t", Default::default())?)
        });
        assert_eq!(verdicts(&tree) == ["passed"], !hangs, "{begins} {hangs}: {tree:?}");
    }
}

#[test]
fn when_a_test_ended_does_not_depend_on_how_often_it_is_told() {
    for (ends, verdict) in [(90, "passed"), (120, "incomplete")] {
        for results in 0..3 {
            for told_at in [50, 150] {
                let tree = results_of(|pipeline| {
                    let mut e = pipeline.emitter("runner")?;
                    let mut e = e.within(Level::Test, "t")?;
                    begin_at(&mut e, "t", 10)?;
                    tell(&mut e, 50, Begins)?;
                    tell(&mut e, ends, Passes)?;
                    for n in 0..results {
                        e.test("t").at(told_at + n).result()?;
                    }
                    end_at(&mut e, "t", 100)
                });
                assert_eq!(verdicts(&tree), [verdict], "{ends} {results} {told_at}: {tree:?}");
            }
        }
    }
}

/// A helper names the test, and not the experiment.
#[test]
fn what_is_told_of_a_test_without_its_experiment_is_of_the_only_test_of_that_name() {
    for (experiments, tests) in [(&["x"][..], 1), (&["x", "y"], 3)] {
        let tree = results_of(|pipeline| {
            let [mut runner, mut helper] = ["runner", "helper"].map(|name| pipeline.emitter(name).unwrap());
            helper.enter(Level::Test, "t")?;
            for experiment in experiments {
                let mut runner = runner.within(Level::Experiment, experiment)?;
                begin_at(&mut runner, "t", 1)?;
                end_at(&mut runner, "t", 100)?;
            }
            tell(&mut helper, 20, TestBegins)?;
            tell(&mut helper, 30, TestPasses)?;
            Ok(helper.test("t").at(40).assertion_checked("equal", true, Default::default())?)
        });
        assert_eq!(tree.tests.len(), tests, "{tree:?}");
        assert_eq!(verdicts(&tree).iter().all(|verdict| *verdict == "passed"), tests == 1, "{tree:?}");
    }
}

#[test]
fn steps_that_a_test_counts_may_have_one_name() {
    for (completed, verdict) in [(2, "passed"), (3, "unknown")] {
        for names in [&["s"][..], &[]] {
            let tree = results_of(|pipeline| {
                let mut runner = pipeline.emitter("runner")?;
                let mut e = runner.within(Level::Test, "t")?;
                let mut t = e.test("t");
                t.created("t", Value::Null, Default::default())?;
                sets_up(&mut t, Value::from(names))?;
                for service in ["client", "server"] {
                    let mut e = e.within(Level::Service, service)?;
                    e.test("t").step_started("s", Default::default())?;
                    e.step("s").execution_started(Value::Null, "s", Default::default())?;
                    e.step("s").execution_completed("s", Default::default())?;
                    e.test("t").step_completed("s", Default::default())?;
                }
                let more = ExecutionCompleted { steps_completed: Some(completed), ..Default::default() };
                e.test("t").execution_completed(more)?;
                e.test("t").teardown_started()?;
                Ok(e.test("t").completed("t", Default::default())?)
            });
            assert_eq!(verdicts(&tree), [verdict], "{completed} {names:?}: {tree:?}");
        }
    }
}

#[test]
fn what_passed_where_nothing_began_has_not_passed() {
    for client in [5, 50, 5000] {
        let tree = told(&[(CLIENT, client, Passes), (SERVER, 20, Begins), (SERVER, 30, Passes)]);
        assert_eq!(verdicts(&tree), ["incomplete"], "{client}: {tree:?}");
    }
    // What one leaves out twice, it leaves out once.
    let begins = [(RUNNER, 20, TestBegins), (RUNNER, 21, TestBegins)];
    let tree = told(&[&begins[..], &[(SERVER, 22, Skips), (SERVER, 23, Skips)]].concat());
    assert_eq!(verdicts(&tree), ["incomplete"], "{tree:?}");
}

/// A planner tells that a test was created, and a worker runs it, twice.
#[test]
fn a_test_that_one_creates_and_another_runs_ends_when_that_one_says() {
    for (ended, verdict) in [(90, "passed"), (150, "incomplete")] {
        let tree = results_of(|pipeline| {
            let [mut planner, mut worker] = ["planner", "worker"].map(|name| pipeline.emitter(name).unwrap());
            worker.enter(Level::Test, "t")?;
            planner.test("t").at(10).created("t", Value::Null, Default::default())?;
            pipeline.drain(std::time::Duration::from_secs(10))?;
            for (began, ended_ns) in [(20, 100), (200, 300)] {
                let mut t = worker.test("t").at(began);
                sets_up(&mut t, Value::Null)?;
                t.step_started("work", Default::default())?;
                t.step_completed("work", Default::default())?;
                if began == 20 {
                    tell(&mut worker, 30, Begins)?;
                    tell(&mut worker, ended, Passes)?;
                }
                end_at(&mut worker, "t", ended_ns)?;
            }
            Ok(())
        });
        assert_eq!(verdicts(&tree), [verdict], "{ended}: {tree:?}");
    }
}
