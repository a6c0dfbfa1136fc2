//! Promise: at one time, events of one emitter are in its order, whoever else tells something then; so a clock that ticks seldom
//! makes no verdict wrong.
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use crate::support::verdicts::{
    Emitted, TOPOLOGIES, begin, end, results_of, step_fails, step_passes, verdicts,
};
use panther_events::clock::Clock;
use panther_events::event::{Level, Value};
use panther_events::observe::results::ResultTree;
use panther_events::pipeline::{Builder, Pipeline, PipelineOptions, Topology};
use std::time::Duration;

/// Runs with a clock that stands.
fn in_one_tick(topology: Topology, tell: impl FnOnce(&Pipeline) -> Emitted) -> ResultTree {
    let (clock, _manual) = Clock::manual(1000);
    with_clock(topology, clock, tell)
}

fn with_clock(topology: Topology, clock: Clock, tell: impl FnOnce(&Pipeline) -> Emitted) -> ResultTree {
    results_of(Builder::new(PipelineOptions { topology, clock, ..PipelineOptions::default() }), tell)
}

#[test]
fn what_a_step_and_its_test_tell_in_one_tick_is_in_the_order_in_which_they_were_emitted() {
    for topology in TOPOLOGIES {
        for name in 0..8 {
            let step = format!("step-{name}");
            for (hangs, verdict) in [(false, "passed"), (true, "incomplete")] {
                let tree = in_one_tick(topology, |pipeline| {
                    let mut e = pipeline.emitter("runner")?;
                    let mut e = e.within(Level::Test, "t")?;
                    begin(&mut e, "t")?;
                    if !hangs {
                        e.test("t").step_started(&step, Default::default())?;
                    }
                    step_passes(&mut e, &step)?;
                    if hangs {
                        e.test("t").step_started(&step, Default::default())?;
                    }
                    end(&mut e, "t")
                });
                assert_eq!(verdicts(&tree), [verdict], "{step} {hangs} {topology}: {tree:?}");
            }
        }
    }
}

#[test]
fn another_turns_nothing_around() {
    for topology in TOPOLOGIES {
        for other_tells in [false, true] {
            for (hangs, verdict) in [(false, "passed"), (true, "incomplete")] {
                let tree = in_one_tick(topology, |pipeline| {
                    let mut e = pipeline.emitter("runner")?;
                    let mut other = pipeline.emitter("other")?;
                    e.enter(Level::Test, "t")?;
                    other.enter(Level::Test, "t")?;
                    begin(&mut e, "t")?;
                    step_fails(&mut e, "close")?;
                    step_passes(&mut e, "close")?;
                    if hangs {
                        e.step("close").execution_started(Value::Null, "close", Default::default())?;
                    }
                    if other_tells {
                        other.step("close").progress("half", "close", Default::default())?;
                    }
                    end(&mut e, "t")
                });
                assert_eq!(verdicts(&tree), [verdict], "{other_tells} {hangs} {topology}: {tree:?}");
            }
        }
    }
}

#[test]
fn a_test_that_is_run_again_in_one_tick_has_what_was_told_in_each_run() {
    for topology in TOPOLOGIES {
        for (hangs, passes) in [(None, true), (Some(0), false), (Some(1), false)] {
            let tree = in_one_tick(topology, |pipeline| {
                let mut e = pipeline.emitter("runner")?;
                let mut e = e.within(Level::Test, "t")?;
                for run in 0..2 {
                    begin(&mut e, "t")?;
                    step_fails(&mut e, "s")?;
                    if hangs != Some(run) {
                        step_passes(&mut e, "s")?;
                    }
                    end(&mut e, "t")?;
                }
                Ok(())
            });
            assert_eq!(verdicts(&tree) == ["passed"], passes, "{hangs:?} {topology}: {tree:?}");
        }
    }
}

#[test]
fn tests_of_two_threads_with_retries_pass_by_a_coarse_clock() {
    let clock = Clock::coarse(Duration::from_millis(1));
    let tree = with_clock(TOPOLOGIES[1], clock, |pipeline| {
        let [mut runner, mut client] = ["runner", "client"].map(|name| pipeline.emitter(name).unwrap());
        for test in 0..50 {
            let test = format!("test-{test}");
            begin(&mut runner, &test)?;
            let mut client = client.within(Level::Test, &test)?;
            runner.test(&test).step_started("connect", Default::default())?;
            step_fails(&mut client, "connect")?;
            step_passes(&mut client, "connect")?;
            runner.test(&test).step_completed("connect", Default::default())?;
            end(&mut runner, &test)?;
        }
        Ok(())
    });
    assert_eq!(tree.tests_tally().passed, 50, "{:?}", tree.tests_tally());
}
