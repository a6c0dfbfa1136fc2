//! What is told of tests: facts, their tellers, their contexts, and the tree that is made of them.

use crate::check_growth;
use panther_events::emit::Emitter;
use panther_events::event::{Level, Value};
use panther_events::observe::results::{ResultTree, Results};
use panther_events::pipeline::{Builder, Pipeline, PipelineOptions, Topology};
use std::error::Error;

type Emitted = Result<(), Box<dyn Error>>;

/// Makes the tree of what is told; the time for it counts as well.
fn tree(tell: impl FnOnce(&Pipeline) -> Emitted) -> ResultTree {
    let mut builder = Builder::new(PipelineOptions {
        topology: Topology::Inline,
        ring_capacity: 1 << 18,
        ..PipelineOptions::default()
    });
    let key = builder.observer("results", |setup| Results::new(setup.schema, setup.symbols, setup.contexts));
    let pipeline = builder.start().unwrap();
    tell(&pipeline).unwrap();
    let snapshot = pipeline.shutdown();
    assert_eq!((snapshot.account.dropped_full, snapshot.account.rejected), (0, 0));
    snapshot.report(key).unwrap().tree()
}

fn step(emitter: &mut Emitter, name: &str, fails: bool) -> Emitted {
    let mut step = emitter.step(name);
    step.execution_started(Value::Null, name, Default::default())?;
    if fails {
        step.execution_failed("no answer", 0, name, Default::default())?;
    } else {
        step.execution_completed(name, Default::default())?;
    }
    Ok(())
}

/// Checks what `tell` tells of, `n` times, to one emitter.
fn check(name: &str, n: usize, tell: impl Fn(&mut Emitter, usize) -> Emitted) {
    check_growth(name, n, |n| {
        tree(|pipeline| {
            let mut emitter = pipeline.emitter("runner")?;
            (0..n).try_for_each(|at| tell(&mut emitter, at))
        });
    });
}

#[test]
fn steps_of_one_test() {
    check("steps of one test", 3_000, |emitter, at| {
        if at == 0 {
            emitter.enter(Level::Test, "t")?;
        }
        step(emitter, &format!("step {at}"), false)
    });
}

#[test]
fn runs_of_one_step() {
    check("runs of one step", 3_000, |emitter, at| step(emitter, "s", at % 3 == 0));
}

#[test]
fn facts_of_one_step_at_one_time() {
    check("facts at one time", 3_000, |emitter, at| {
        let mut step = emitter.step("s").at(7);
        match at % 3 {
            0 => step.execution_started(Value::Null, "s", Default::default())?,
            1 => step.execution_completed("s", Default::default())?,
            _ => step.execution_failed("no answer", 0, "s", Default::default())?,
        }
        Ok(())
    });
}

#[test]
fn tests_and_their_contexts() {
    check("tests", 2_000, |emitter, at| {
        let mut within = emitter.within(Level::Test, &format!("test {at}"))?;
        let name = format!("test {at}");
        within.test(&name).created(&name, Value::Null, Default::default())?;
        step(&mut within, "connect", false)
    });
}

#[test]
fn runs_of_one_test() {
    check("runs of one test", 2_000, |emitter, _| {
        emitter.test("t").created("t", Value::Null, Default::default())?;
        emitter.test("t").execution_started(Value::Null, Default::default())?;
        step(emitter, "s", false)?;
        emitter.test("t").completed("t", Default::default())?;
        Ok(())
    });
}

#[test]
fn assertions_of_one_step() {
    check("assertions of one step", 3_000, |emitter, at| {
        let name = format!("assertion {}", at % 1_000);
        let mut assertion = emitter.assertion(&name);
        assertion.validation_started(&name, Default::default())?;
        assertion.result(at % 2 == 0, "why", &name, Default::default())?;
        Ok(())
    });
}

#[test]
fn experiments() {
    check("experiments", 2_000, |emitter, at| {
        let name = format!("experiment {at}");
        let mut within = emitter.within(Level::Experiment, &name)?;
        step(&mut within, "s", false)
    });
}

#[test]
fn tellers_of_one_step() {
    check_growth("tellers of one step", 2_000, |n| {
        tree(|pipeline| {
            (0..n).try_for_each(|at| {
                let mut emitter = pipeline.emitter(&format!("teller {at}"))?;
                step(&mut emitter, "s", at % 2 == 0)?;
                if at % 16 == 0 {
                    pipeline.poll();
                }
                Ok(())
            })
        });
    });
}
