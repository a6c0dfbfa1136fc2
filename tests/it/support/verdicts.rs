//! What the tests of verdicts need: pipelines that give a tree of results, and tests that go through all their states.
#![allow(dead_code, reason = "each test uses its part")]
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use panther_events::domain::test::TestEmitter;
use panther_events::domain::{assertion, experiment, service, step, test};
use panther_events::emit::Emitter;
use panther_events::event::{Identity, Value};
use panther_events::observe::results::{ResultTree, Results};
use panther_events::pipeline::{Builder, PipelineOptions, Topology};
use std::error::Error;

pub(crate) type Emitted = Result<(), Box<dyn Error>>;

pub(crate) const TOPOLOGIES: [Topology; 2] = [Topology::Inline, Topology::Staged { dedup: 2, workers: 3 }];

/// Begins a pipeline in which no two events are one, however alike.
pub(crate) fn builder(topology: Topology) -> Builder {
    let mut builder = Builder::new(PipelineOptions { topology, ..PipelineOptions::default() });
    let domains = [&test::DOMAIN, &step::DOMAIN, &assertion::DOMAIN, &service::DOMAIN, &experiment::DOMAIN];
    for kind in domains.into_iter().flat_map(|domain| domain.kinds) {
        builder.identity(kind.kind, Identity::Occurrence);
    }
    builder
}

pub(crate) fn run(topology: Topology, emit: impl Fn(&mut Emitter) -> Emitted) -> ResultTree {
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
pub(crate) fn begin(emitter: &mut Emitter, name: &str) -> Emitted {
    begins(emitter.test(name), name)
}

/// As [`begin`], at one time.
pub(crate) fn begin_at(emitter: &mut Emitter, name: &str, time_ns: u64) -> Emitted {
    begins(emitter.test(name).at(time_ns), name)
}

fn begins(mut test: TestEmitter<'_>, name: &str) -> Emitted {
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

pub(crate) fn end(emitter: &mut Emitter, name: &str) -> Emitted {
    ends(emitter.test(name), name)
}

/// As [`end`], at one time.
pub(crate) fn end_at(emitter: &mut Emitter, name: &str, time_ns: u64) -> Emitted {
    ends(emitter.test(name).at(time_ns), name)
}

fn ends(mut test: TestEmitter<'_>, name: &str) -> Emitted {
    test.teardown_started()?;
    test.completed(name, Default::default())?;
    Ok(())
}

pub(crate) fn verdicts(tree: &ResultTree) -> Vec<&'static str> {
    tree.tests.iter().map(|test| test.outcome().name()).collect()
}

pub(crate) fn step_fails(emitter: &mut Emitter, step: &str) -> Emitted {
    let mut step_emitter = emitter.step(step);
    step_emitter.execution_started(Value::Null, step, Default::default())?;
    step_emitter.execution_failed("no answer", 0, step, Default::default())?;
    Ok(())
}

pub(crate) fn step_passes(emitter: &mut Emitter, step: &str) -> Emitted {
    let mut step_emitter = emitter.step(step);
    step_emitter.execution_started(Value::Null, step, Default::default())?;
    step_emitter.execution_completed(step, Default::default())?;
    Ok(())
}
